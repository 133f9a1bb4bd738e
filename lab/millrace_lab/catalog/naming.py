"""Ids that a caller chooses where Stripe chooses them: the metadata key `lab_id`, which is ours.

A catalog that names prices by their id can so be put into the double as it is.
"""

from __future__ import annotations

from millrace_lab.account import Step, refuse_unless

KEY = "lab_id"


def id_for(step: Step, prefix: str, metadata: dict[str, str] | None) -> str:
    """The id of a new object: the one that its metadata asks for, else one from the seed. Raises StripeError 400."""
    chosen = (metadata or {}).get(KEY)
    if not chosen:
        return step.new_id(prefix)
    param = f"metadata[{KEY}]"
    refuse_unless(chosen.startswith(f"{prefix}_"), f"An id of this kind begins with {prefix}_.", param)
    refuse_unless(step.find(chosen) is None, f"{chosen} already exists.", param, "resource_already_exists")
    return chosen
