"""One request: who asks, for what, with which parameters; and the answer in the caller's version.

keys        who asks, and whether they may
limits      how often
refusals    which parameters are wrong, in Stripe's words
replays     what the same idempotency key was answered before
expanding   the answer: rendered in a version, ids replaced by what they name
calls       the order of all that
"""

from millrace_lab.api.calls import Api
from millrace_lab.api.requests import Reply, Request

__all__ = ["Api", "Reply", "Request"]
