"""Who asks: secret keys may everything, restricted ones what they were given.

Any `sk_test_…` is this account's. Restricted keys are made in the dashboard, here by the account's setting
`restricted_keys`: {"rk_test_metering": ["billing_meter_event_write"]}. Writing includes reading.
Source: docs.stripe.com/keys, docs.stripe.com/keys/restricted-api-keys; the words are those that users of
restricted keys quote (stripe/stripe-node#2246).
"""

from __future__ import annotations

from millrace_lab.account import Account
from millrace_lab.errors import StripeError
from millrace_lab.operations import Operation

NO_KEY = (
    "You did not provide an API key. You need to provide your API key in the Authorization header, using "
    "Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY'). See https://stripe.com/docs/api#authentication "
    "for details, or we can help at https://support.stripe.com/."
)
PUBLISHABLE = (
    "This API call cannot be made with a publishable API key. Please use a secret API key. You can find a list "
    "of your API keys at https://dashboard.stripe.com/account/apikeys."
)
SPACES = frozenset({"billing", "billing_portal", "checkout", "core", "entitlements", "test_helpers"})
SESSION = "mes_"  # a token of the meter event stream: its operation looks at it itself


def check(account: Account, key: str | None) -> None:
    """Raises StripeError 401 for a key that is not one of this account's."""
    if not key:
        raise StripeError(401, NO_KEY)
    mode = "live" if account.livemode else "test"
    if key.startswith("pk_"):
        raise StripeError(401, PUBLISHABLE, code="secret_key_required")
    secret = key.startswith(f"sk_{mode}_") and len(key) > len(f"sk_{mode}_")
    if not (secret or key.startswith(SESSION) or key in _restricted(account)):
        raise StripeError(401, f"Invalid API Key provided: {masked(key)}", code=None)


def permit(account: Account, key: str | None, operation: Operation) -> None:
    """Raises StripeError 403, naming the permission that a restricted key lacks."""
    given = _restricted(account).get(key or "")
    if given is None and not (key or "").startswith(SESSION):
        return
    needed = permission(operation)
    if key and key.startswith(SESSION) and operation.path.startswith("/v2/billing/meter_event_stream"):
        return
    if given and (needed in given or needed.replace("_read", "_write") in given):
        return
    raise StripeError(
        403,
        f"The provided key '{masked(key or '')}' does not have the required permissions for this endpoint on "
        f"account '{account.id}'. Having the 'rak_{needed}' permission would allow this request to continue.",
    )


def permission(operation: Operation) -> str:
    """What a restricted key needs for an operation: the first noun of its route, to read or to write."""
    if operation.permission:
        return operation.permission
    nouns = [part for part in operation.path.split("/")[2:] if not part.startswith("{")]
    name = "_".join(nouns[:2]) if nouns[0] in SPACES else nouns[0]
    return f"{name.removesuffix('s')}_{'read' if operation.method == 'GET' else 'write'}"


def masked(key: str) -> str:
    return key[:8] + "*" * max(0, len(key) - 12) + key[8:][-4:]


def _restricted(account: Account) -> dict[str, list[str]]:
    found: dict[str, list[str]] = account.settings["restricted_keys"]
    return found
