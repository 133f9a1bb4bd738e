"""How a payment method is made: from a test card, a test account, or one of Stripe's documented test ids.

No number is kept: only brand, last four digits, expiry and a fingerprint. The metadata key `lab_last4`, ours,
lets a test card end in other digits, with a fingerprint of its own: for a company whose customers do not all
have the same card.
Source: docs.stripe.com/testing, docs.stripe.com/api/payment_methods/create.
"""

from __future__ import annotations

from typing import Literal

from millrace_lab import ids
from millrace_lab.account import Step, refuse_unless
from millrace_lab.catalog.asking import Address, MethodType
from millrace_lab.errors import Body, StripeError, missing
from millrace_lab.params import Metadata, NotHere, Params, Text
from millrace_lab.payments import banks, instruments
from millrace_lab.payments.instruments import Account, Card
from millrace_lab.periods import moment

EXPIRES_AFTER_YEARS = 4  # what a test card gets that names no date of its own; ours
LONGEST_YEARS = 50  # that a card can be valid for; our reading
ROUTING_NUMBER = "110000000"
BANKS = {"DE": "37040044", "AT": "19043"}


class CardParams(Params):
    number: str | None = None
    exp_month: int | None = None
    exp_year: int | None = None
    cvc: str | None = None
    token: str | None = None
    networks: NotHere = None


class SepaParams(Params):
    iban: str


class BankParams(Params):
    account_number: str
    routing_number: str
    account_holder_type: Literal["company", "individual"] = "individual"
    account_type: Literal["checking", "savings"] = "checking"
    financial_connections_account: NotHere = None


class BillingParams(Params):
    address: Address | None = None
    email: Text = None
    name: Text = None
    phone: Text = None
    tax_id: Text = None


Redisplay = Literal["always", "limited", "unspecified"]


class CreateMethod(Params):
    type: MethodType
    card: CardParams | None = None
    sepa_debit: SepaParams | None = None
    us_bank_account: BankParams | None = None
    billing_details: BillingParams | None = None
    metadata: Metadata = None
    allow_redisplay: Redisplay | None = None


def create(step: Step, params: CreateMethod) -> Body:
    banks.check_keys(params.metadata or {})
    match params.type:
        case "card":
            refuse_unless(
                params.card is not None, "Missing required param: card.", "card", "parameter_missing"
            )
            assert params.card is not None
            method = _ending_in(step, _from_card(step, params.card), params.metadata or {})
        case _:
            method = _from_account(step, params)
    changes: Body = {
        "metadata": params.metadata or {},
        "billing_details": billing_details(params.billing_details),
    }
    if params.allow_redisplay:
        changes["allow_redisplay"] = params.allow_redisplay
    return step.change(method["id"], **changes)


def resolve(step: Step, id_: str, param: str = "payment_method") -> Body:
    """A payment method by its id. One of Stripe's documented test ids makes a new one each time."""
    if (card := instruments.CARD_BY_ID.get(id_)) is not None:
        return _new_card(step, card)
    if (account := instruments.ACCOUNT_BY_ID.get(id_)) is not None:
        return _new_account(step, account)
    return step.get("payment_method", id_, param)


def _from_card(step: Step, params: CardParams) -> Body:
    if params.token is not None:
        card = instruments.CARD_BY_TOKEN.get(params.token)
        if card is None:
            raise missing("token", params.token, "card[token]")
        return _new_card(step, card)
    for name in ("number", "exp_month", "exp_year"):
        refuse_unless(
            getattr(params, name) is not None,
            f"Missing required param: card[{name}].",
            f"card[{name}]",
            "parameter_missing",
        )
    assert params.number is not None
    card = instruments.CARD_BY_NUMBER.get(params.number)
    if card is None:
        raise _unknown_card(params.number)
    return _new_card(step, card, params.exp_month, params.exp_year)


def _ending_in(step: Step, method: Body, metadata: dict[str, str]) -> Body:
    last4 = metadata.get("lab_last4")
    if last4 is None:
        return method
    well_formed = len(last4) == 4 and last4.isdecimal()
    refuse_unless(well_formed, "lab_last4 is four digits.", "metadata[lab_last4]")
    card = method["card"]
    own = {"last4": last4, "fingerprint": _fingerprint(step, f"{card['fingerprint']} {last4}")}
    return step.change(method["id"], card={**card, **own})


def _unknown_card(number: str) -> StripeError:
    if not instruments.well_formed(number):
        return banks.card_error("incorrect_number", "Your card number is incorrect.", "number")
    message = "Your card was declined. Your request was in test mode, but used a non test card."
    return banks.card_error("card_declined", message, "number", decline_code="test_mode_live_card")


def _new_card(step: Step, card: Card, exp_month: int | None = None, exp_year: int | None = None) -> Body:
    month, year = exp_month or 8, exp_year or moment(step.now).year + EXPIRES_AFTER_YEARS
    check_expiry(step, month, year)
    shown = {
        "brand": card.brand,
        "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "unchecked"},
        "country": card.country,
        "display_brand": card.brand,
        "exp_month": month,
        "exp_year": year,
        "fingerprint": _fingerprint(step, card.number),
        "funding": card.funding,
        "generated_from": None,
        "last4": card.number[-4:],
        "networks": {"available": [card.brand], "preferred": None},
        "regulated_status": "unregulated",
        "three_d_secure_usage": {"supported": True},
        "wallet": None,
    }
    hidden = {"_bank": card.bank, "_authentication": card.authentication, "_later": card.later}
    return _new(step, "card", shown, **hidden, _saves=card.saves)


def check_expiry(step: Step, month: int, year: int) -> None:
    """Raises StripeError 402 for a month that is none, and for a card that has expired or never will."""
    if not 1 <= month <= 12:
        raise banks.card_error(
            "invalid_expiry_month", "Your card's expiration month is invalid.", "exp_month"
        )
    this_year = moment(step.now).year
    if not this_year <= year <= this_year + LONGEST_YEARS or banks.end_of(month, year) <= step.now:
        raise banks.card_error("invalid_expiry_year", "Your card's expiration year is invalid.", "exp_year")


def _from_account(step: Step, params: CreateMethod) -> Body:
    given = params.sepa_debit if params.type == "sepa_debit" else params.us_bank_account
    if given is None:
        name = params.type
        raise StripeError(400, f"Missing required param: {name}.", code="parameter_missing", param=name)
    number = given.iban if isinstance(given, SepaParams) else given.account_number
    account = instruments.ACCOUNT_BY_NUMBER.get(number)
    refuse_unless(
        account is not None and account.type == params.type,
        "You must use a test bank account number when making this request in test mode.",
        f"{params.type}[{'iban' if params.type == 'sepa_debit' else 'account_number'}]",
    )
    assert account is not None
    return _new_account(step, account, given if isinstance(given, BankParams) else None)


def _new_account(step: Step, account: Account, given: BankParams | None = None) -> Body:
    details: Body = {"fingerprint": _fingerprint(step, account.number), "last4": account.number[-4:]}
    if account.type == "sepa_debit":
        own: Body = {"bank_code": BANKS[account.country], "branch_code": "", "country": account.country}
        details |= own | {"generated_from": {"charge": None, "setup_attempt": None}}
    else:
        details |= _us_account(given)
    return _new(step, account.type, details, _bank=account.bank, _authentication="", _later=account.later)


def _us_account(given: BankParams | None) -> Body:
    refuse_unless(
        given is None or given.routing_number == ROUTING_NUMBER,
        "You must use a test routing number when making this request in test mode.",
        "us_bank_account[routing_number]",
    )
    return {
        "account_holder_type": given.account_holder_type if given else "individual",
        "account_type": given.account_type if given else "checking",
        "bank_name": "STRIPE TEST BANK",
        "financial_connections_account": None,
        "networks": {"preferred": "ach", "supported": ["ach"]},
        "routing_number": ROUTING_NUMBER,
        "status_details": {},
    }


def _fingerprint(step: Step, number: str) -> str:
    """The same for the same number, and no way back to it."""
    return ids.letters(ids.digest(step.account.seed, "fingerprint", number), 16)


def _new(step: Step, type_: str, details: Body, *, _saves: bool = True, **hidden: str) -> Body:
    return step.add(
        {
            "id": step.new_id("pm"),
            "object": "payment_method",
            "allow_redisplay": "unspecified",
            "billing_details": billing_details(None),
            "created": step.now,
            "customer": None,
            "customer_account": None,
            "livemode": step.account.livemode,
            "metadata": {},
            "type": type_,
            type_: details,
            **hidden,
            "_attempts": 0,
            "_saves": _saves,
            "_set_up": False,
            "_used": False,
        }
    )


def billing_details(params: BillingParams | None) -> Body:
    given = params.model_dump() if params is not None else {}
    blank = dict.fromkeys(Address.model_fields)
    details = {name: given.get(name) for name in ("email", "name", "phone", "tax_id")}
    return {"address": {**blank, **(given.get("address") or {})}, **details}
