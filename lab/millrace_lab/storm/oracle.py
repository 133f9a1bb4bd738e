"""What must be true once a given set of events has been delivered: any set, in any order, however often.

It is folded by the true order of what happened, which only the double knows, and never by arrival. So it is a
yardstick for every part of a storm, and the shrinker may leave out whatever it likes. With everything
delivered it is what the account itself holds: `held` reads that, and both must agree.

States are those of the newest snapshot that was delivered. Money is counted by facts: each claim, payment,
credit note, refund and balance transaction once, by its own id. Where the delivered events cannot decide (a
payment of an invoice that nobody has told of), the answer is OPEN.

aspect       of                      value
status       subscription            its status
items        subscription            (price, quantity) …, by price
cancel_at    subscription            second of its planned end
pausing      subscription            behavior of its pause_collection
invoice      finalised invoice       its status
receivable   finalised invoice       what is still owed, in minor units
balance      finalised invoice       what it moved on the customer's balance; positive took from the credit
settled      payment intent, refund  net on the Stripe balance, with its currency
refunded     refund                  given back to the customer, failed or not, in minor units
outcome      invoice that failed     paid credited voided uncollectible gave_up gone open; None where not dunned
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from millrace_lab.account import Account
from millrace_lab.errors import Body
from millrace_lab.storm.arrivals import Arrival
from millrace_lab.storm.comparing import OPEN, Key

ASPECTS = (
    "status", "items", "cancel_at", "pausing", "invoice", "receivable", "balance", "settled", "refunded", "outcome",
)  # fmt: skip
ON_THE_BALANCE = frozenset(
    {"charge", "payment", "refund", "payment_refund", "refund_failure", "payment_failure_refund"}
)
SETTLES = (  # events that carry what moved on the Stripe balance
    "charge.succeeded", "charge.captured", "charge.updated",
    "refund.created", "refund.updated", "refund.failed", "charge.refund.updated",
)  # fmt: skip
Values = dict[Key, Any]


@dataclass(slots=True)
class Facts:
    """What was told, sorted by what it is about: the newest body of each (type, object), and of each object."""

    of_type: dict[str, dict[str, Body]] = field(default_factory=lambda: defaultdict(dict))
    newest: dict[str, dict[str, Body]] = field(default_factory=lambda: defaultdict(dict))

    def by_invoice(self, type_: str) -> dict[str, list[Body]]:
        """Bodies of a type that belong to an invoice."""
        found: dict[str, list[Body]] = defaultdict(list)
        for body in self.of_type[type_].values():
            found[_id(body["invoice"]) or ""].append(body)
        return found


def of(arrivals: Iterable[Arrival]) -> Values:
    """What the delivered events say must be true."""
    facts = _facts(arrivals)
    values: Values = {}
    for body in facts.newest["subscription"].values():
        values |= _subscription(body)
    for aspect, answers in (
        ("invoice", _finalized(facts)),
        ("receivable", _receivables(facts)),
        ("balance", _balances(facts)),
        ("settled", _settled(facts)),
        ("refunded", _refunded(facts.newest["refund"].values())),
        ("outcome", _outcomes(facts)),
    ):
        values |= {(aspect, id_): value for id_, value in answers.items()}
    return values


def newest(arrivals: Iterable[Arrival], kind: str) -> dict[str, Body]:
    """The newest body of each object of a kind."""
    return _facts(arrivals).newest[kind]


def held(account: Account) -> Values:
    """What the account holds now, read from its own objects and never from its events. Outcomes apart."""
    values: Values = {}
    for body in account.all("subscription"):
        values |= _subscription(body)
    for invoice in account.all("invoice"):
        if invoice["status"] != "draft":
            values["invoice", invoice["id"]] = invoice["status"]
            values["receivable", invoice["id"]] = (
                invoice["amount_remaining"] if invoice["status"] == "open" else 0
            )
    values |= {("settled", id_): net for id_, net in _nets(_balance_transactions(account)).items()}
    values |= {("refunded", id_): amount for id_, amount in _refunded(account.all("refund")).items()}
    return values


def outcome_of(invoice: Body) -> str:
    """How an invoice stands that once failed, by its own body."""
    match invoice["status"]:
        case "paid":
            return "paid" if invoice["amount_paid"] or not _noted(invoice) else "credited"
        case "void":
            return "voided"
        case "uncollectible":
            return "gave_up" if _gave_up(invoice) else "uncollectible"
    return "open"


def _facts(arrivals: Iterable[Arrival]) -> Facts:
    facts = Facts()
    once = {arrival.id: arrival for arrival in arrivals}
    for arrival in sorted(once.values(), key=lambda each: each.number):
        body = arrival.object
        if id_ := body.get("id"):
            facts.of_type[arrival.type][id_] = body
            facts.newest[body["object"]][id_] = body
    return facts


# Subscriptions: the newest snapshot.


def _subscription(body: Body) -> Values:
    items = [(each["price"]["id"], each.get("quantity")) for each in body["items"]["data"]]
    return {
        ("status", body["id"]): body["status"],
        ("items", body["id"]): tuple(sorted(items, key=str)),
        ("cancel_at", body["id"]): _ends_at(body),
        ("pausing", body["id"]): (body["pause_collection"] or {}).get("behavior"),
    }


def _ends_at(body: Body) -> int | None:
    """Scheduled to end if either field says so. Source: docs/lab/behaviours.md, scheduled cancel."""
    at: int | None = body["cancel_at"]
    if at is not None or not body["cancel_at_period_end"]:
        return at
    return max((each["current_period_end"] for each in body["items"]["data"]), default=None)


# Invoices: claims and what takes something off them.


def _finalized(facts: Facts) -> dict[str, Any]:
    return {id_: facts.newest["invoice"][id_]["status"] for id_ in facts.of_type["invoice.finalized"]}


def _receivables(facts: Facts) -> dict[str, Any]:
    payments, notes = facts.by_invoice("invoice_payment.paid"), _standing_notes(facts)
    claims = facts.of_type["invoice.finalized"]
    touched = claims.keys() | payments.keys() | notes.keys() | _ended(facts)
    return {
        id_: _owed(facts, claims[id_], payments.get(id_, []), notes.get(id_, [])) if id_ in claims else OPEN
        for id_ in touched
    }


def _ended(facts: Facts) -> set[str]:
    return {
        *facts.of_type["invoice.voided"],
        *facts.of_type["invoice.marked_uncollectible"],
        *facts.of_type["invoice.paid"],
    }


def _owed(facts: Facts, claim: Body, payments: list[Body], notes: list[Body]) -> Any:
    """What remains of a claim, or OPEN where an end was told that does not add up with the facts so far."""
    id_ = claim["id"]
    credited = sum(note["pre_payment_amount"] for note in notes)
    if void := facts.of_type["invoice.voided"].get(id_):
        return 0 if credited == _noted(void) and not payments else OPEN
    left = claim["total"] - _from_balance(claim) - credited
    paid = {each["id"]: each for each in payments if each["payment"]["type"] != "payment_record"}
    outside = facts.of_type["invoice.paid"].get(id_, {}).get("amount_paid_off_stripe") or 0
    if loss := facts.of_type["invoice.marked_uncollectible"].get(id_):
        return _written_off(loss, left, paid.values())
    return left - outside - sum(each["amount_paid"] for each in paid.values())


def _written_off(loss: Body, left: int, paid: Iterable[Body]) -> Any:
    """A loss takes what remained; payments after it are recoveries."""
    at = loss["status_transitions"]["marked_uncollectible_at"]
    before = sum(each["amount_paid"] for each in paid if each["status_transitions"]["paid_at"] < at)
    return 0 if left - before == loss["amount_remaining"] else OPEN


def _standing_notes(facts: Facts) -> dict[str, list[Body]]:
    voided = facts.of_type["credit_note.voided"]
    made = facts.by_invoice("credit_note.created")
    return {id_: [note for note in notes if note["id"] not in voided] for id_, notes in made.items()}


def _balances(facts: Facts) -> dict[str, Any]:
    """Positive: the customer's credit paid for it. A voided invoice gives it back; a note may add to it."""
    notes = _standing_notes(facts)
    return {
        id_: OPEN if id_ in facts.of_type["invoice.voided"] or notes.get(id_) else _from_balance(claim)
        for id_, claim in facts.of_type["invoice.finalized"].items()
    } | dict.fromkeys(notes.keys() - facts.of_type["invoice.finalized"].keys(), OPEN)


def _from_balance(invoice: Body) -> int:
    if invoice["ending_balance"] is None:
        return 0
    return int(invoice["ending_balance"] - (invoice["starting_balance"] or 0))


def _noted(invoice: Body) -> int:
    return int(invoice.get("pre_payment_credit_notes_amount") or 0)


# The Stripe balance: each balance transaction once, by its id.


def _settled(facts: Facts) -> dict[str, Any]:
    moved: dict[str, tuple[str, Body]] = {}
    for type_ in SETTLES:
        for body in facts.of_type[type_].values():
            moved |= {each["id"]: (_open_item(body), each) for each in _carried(body)}
    return _nets(moved.values())


def _carried(body: Body) -> Iterator[Body]:
    for name in ("balance_transaction", "failure_balance_transaction"):
        if isinstance(found := body.get(name), Mapping):
            yield dict(found)


def _open_item(body: Body) -> str:
    """What both sides of a payment name: its intent, or the charge where there is none; a refund itself."""
    paying = _id(body.get("payment_intent")) if body["object"] == "charge" else None
    return paying or str(body["id"])


def _balance_transactions(account: Account) -> Iterator[tuple[str, Body]]:
    for moved in account.all("balance_transaction"):
        if moved["type"] in ON_THE_BALANCE and (source := account.find(moved["source"])):
            yield _open_item(source), moved


def _nets(moved: Iterable[tuple[str, Body]]) -> dict[str, Any]:
    nets: Counter[tuple[str, str]] = Counter()
    for item, each in moved:
        nets[item, each["currency"]] += each["net"]
    return {item: (net, currency) for (item, currency), net in nets.items() if net}


def _refunded(refunds: Iterable[Body]) -> dict[str, Any]:
    return {each["id"]: 0 if each["status"] == "canceled" else each["amount"] for each in refunds}


# Invoices that failed: how that ended.


def _outcomes(facts: Facts) -> dict[str, Any]:
    """By the ends that were told; the strongest wins, as a paid invoice stays paid."""
    failed = facts.of_type["invoice.payment_failed"]
    return {
        id_: None
        if body["billing_reason"] == "subscription_create"
        else _outcome(facts, id_, body["customer"])
        for id_, body in failed.items()
    }


def _outcome(facts: Facts, id_: str, customer: str) -> str:
    for type_ in ("invoice.paid", "invoice.voided", "invoice.marked_uncollectible"):
        if end := facts.of_type[type_].get(id_):
            return "gone" if type_.endswith("uncollectible") and _gone(facts, customer) else outcome_of(end)
    return "gone" if _gone(facts, customer) else "open"


def _gone(facts: Facts, customer: str) -> bool:
    return customer in facts.of_type["customer.deleted"]


def _gave_up(invoice: Body) -> bool:
    details = (invoice.get("status_details") or {}).get("uncollectible") or {}
    return details.get("reason") == "max_payment_attempts"


def _id(of_: Any) -> str | None:
    return of_.get("id") if isinstance(of_, Mapping) else of_
