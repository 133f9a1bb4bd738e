"""One kept body, seen through any version of the API. See `table` for what each version changed.

Bodies are kept in the shape of the newest version, with hidden keys for what only older versions show. To
render is to walk the changes from the newest to the asked version, object by object, and then to hide what
is ours.
"""

from millrace_lab.versions.known import KNOWN, NEWEST
from millrace_lab.versions.rendering import previous_attributes, rendered

__all__ = ["KNOWN", "NEWEST", "previous_attributes", "rendered"]
