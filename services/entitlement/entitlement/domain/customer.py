"""One customer: all subscriptions, dunning's restrictions, and the access that follows from both.

An event either changes what is known (`Changed`, with what to publish) or nothing (a sentence that says why).
Replay: the same events in any order, over the same catalog, end in the same customer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from entitlement.domain import access, newer
from entitlement.domain.access import Restriction, Verdict
from entitlement.domain.newer import Standing
from entitlement.domain.plans import Catalog
from entitlement.domain.subscription import Snapshot, snapshot
from millrace.errors import Poison
from millrace.events import Event, stripe
from millrace.events.ours import (
    DunningChanged,
    EntitlementChanged,
    EntitlementState,
    Payload,
    RefreshRequested,
)


@dataclass(frozen=True, slots=True)
class Access:
    """What the customer may do. `version` grows by one a change, and is published."""

    version: int
    catalog: str
    features: Mapping[str, Verdict]
    as_of: datetime  # of the newest event that has been heard
    cause: str  # the event that changed it last


@dataclass(frozen=True, slots=True)
class Customer:
    """Everything entitlement knows of one customer. `revision` is the row's, as it was read; 0 when new."""

    account: str
    id: str
    revision: int = 0
    subscriptions: Mapping[str, tuple[Snapshot, ...]] = field(default_factory=dict)
    restrictions: Mapping[str, Restriction] = field(default_factory=dict)  # by invoice
    access: Access | None = None

    def standings(self) -> dict[str, Standing]:
        """What stands of each subscription, in a fixed order."""
        return {id_: newer.standing(known) for id_, known in sorted(self.subscriptions.items())}


@dataclass(frozen=True, slots=True)
class Changed:
    """The customer after an event, and what others should hear of it."""

    customer: Customer
    reason: str
    effects: tuple[Payload, ...]


def subscription_told(customer: Customer, event: Event, catalog: Catalog) -> Changed | str:
    """A `customer.subscription.*` event: keep its snapshot if it matters, and see what stands now."""
    new, id_ = snapshot(event), stripe.text(stripe.object_of(event), "id")
    known = customer.subscriptions.get(id_, ())
    kept = newer.add(known, new)
    if kept == known:
        return _nothing_new(known, new)
    before = newer.standing(known) if known else None
    now = newer.standing(kept)
    told = replace(customer, subscriptions={**customer.subscriptions, id_: kept})
    return _reassessed(told, event, catalog, _said(id_, new, now), _asks(customer, id_, event, before, now))


RESTRICTS = {"given": False, "restricted": True}  # a word that is not here is never guessed at


def dunning_changed(customer: Customer, event: Event, catalog: Catalog) -> Changed | str:
    """Dunning's word on an invoice: the newest version of its case holds."""
    told = DunningChanged.of(event)
    known = customer.restrictions.get(told.invoice)
    if known and known.version >= told.case_version:
        return f"invoice {told.invoice}: version {known.version} of its case is already known"
    if told.access not in RESTRICTS:
        raise Poison(f"access {told.access[:40]!r} is not known here")
    restricted = RESTRICTS[told.access]
    word = Restriction(told.invoice, told.subscription, restricted, told.case_version, told.reason, event.id)
    after = replace(customer, restrictions={**customer.restrictions, told.invoice: word})
    return _reassessed(after, event, catalog, f"invoice {told.invoice}: access {told.access}", ())


def _nothing_new(known: tuple[Snapshot, ...], new: Snapshot) -> str:
    if any(s.same_as(new) for s in known):
        return "this change is known already, from this or another event"
    head = newer.standing(known).head
    return f"it has ended: {head.event}" if head.ended else f"newer events are known already: {head.event}"


def _said(id_: str, new: Snapshot, now: Standing) -> str:
    if now.head.event == new.event:
        return f"subscription {id_} is {now.head.after.status}"
    return f"subscription {id_} stays {now.head.after.status}, by {now.head.event}"


def _asks(
    customer: Customer, id_: str, event: Event, before: Standing | None, now: Standing
) -> tuple[Payload, ...]:
    """Ask for a refresh when the subscription has come into doubt, or into another one."""
    status = now.head.after.status
    doubt = now.doubt or ("" if status in access.GIVES_ACCESS else f"status {status} is not known here")
    if not doubt or (before and before.doubt == doubt):
        return ()
    asked = RefreshRequested(
        account=customer.account, customer=customer.id, object=id_, reason=doubt, cause=event.id
    )
    return (asked,)


def _reassessed(
    customer: Customer, event: Event, catalog: Catalog, reason: str, asks: tuple[Payload, ...]
) -> Changed:
    """Judge every feature again; publish when, and only if, the access is another one.

    Newer proof of the same access is kept, and not published.
    """
    was = customer.access
    as_of = max(was.as_of, event.time) if was else event.time
    heads = {id_: stands.head for id_, stands in customer.standings().items()}
    restrictions = [word for _, word in sorted(customer.restrictions.items())]
    features = access.verdicts(heads, restrictions, catalog, as_of)
    if was and was.catalog == catalog.version and access.same(was.features, features):
        return Changed(replace(customer, access=replace(was, features=features, as_of=as_of)), reason, asks)
    version = was.version + 1 if was else 1
    now = Access(version, catalog.version, features, as_of, event.id)
    published = _published(customer, was, now)
    return Changed(replace(customer, access=now), reason, (*published, *asks))


def _published(customer: Customer, was: Access | None, now: Access) -> tuple[Payload, ...]:
    state = EntitlementState(
        account=customer.account,
        customer=customer.id,
        version=now.version,
        catalog=now.catalog,
        features=dict(now.features),
        as_of=now.as_of,
    )
    changes = [
        {"feature": name, "before": _brief(was, name), "after": _brief(now, name), "reason": _why(now, name)}
        for name in sorted({*now.features, *(was.features if was else ())})
        if _brief(was, name) != _brief(now, name)
    ]
    if not changes:
        return (state,)  # the same access for another reason, or by another catalog
    changed = EntitlementChanged(
        account=customer.account,
        customer=customer.id,
        version=now.version,
        catalog=now.catalog,
        changes=changes,
        cause=now.cause,
    )
    return (state, changed)


def _brief(known: Access | None, name: str) -> dict[str, object] | None:
    verdict = known.features.get(name) if known else None
    return {part: verdict[part] for part in ("verdict", "limit", "until")} if verdict else None


def _why(now: Access, name: str) -> str:
    verdict = now.features.get(name)
    return verdict["reason"] if verdict else f"catalog {now.catalog} no longer knows it"
