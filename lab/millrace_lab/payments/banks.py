"""What the bank behind a payment method says, one word an attempt: `ok`, a decline code, or
`authentication_required`.

It comes from the test card (see `instruments`), or from the metadata key `lab_bank`, ours:
"insufficient_funds,ok" declines once and then succeeds; the last word stays. A card that has expired is
declined where its bank would have said ok (our reading: at Stripe many banks accept it).
"""

from __future__ import annotations

from millrace_lab.account import Step, refuse_unless
from millrace_lab.errors import Body, StripeError
from millrace_lab.payments import instruments, ledgering
from millrace_lab.payments.declines import DECLINES
from millrace_lab.periods import period_end

_YEAR_2000 = 946_684_800
NEVER = "never"  # the word of a bank debit that stays in processing


def answer(step: Step, method: Body) -> str:
    """What the bank says to one more attempt: `ok`, a decline code, or `authentication_required`."""
    words = _words(method["metadata"].get("lab_bank", method["_bank"]))
    word: str = words[min(method["_attempts"], len(words) - 1)]
    step.change(method["id"], _attempts=method["_attempts"] + 1, _used=True)
    if word == instruments.OK and method["type"] == "card" and expired(step, method):
        return "expired_card"
    return word


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


def check_keys(metadata: dict[str, str]) -> None:
    """Raises StripeError 400 for a key of ours that means nothing: at once, not when the bank is asked."""
    for word in _words(metadata.get("lab_bank", instruments.OK)):
        refuse_unless(
            word in (instruments.OK, NEVER) or word in DECLINES,
            f"lab_bank knows ok, never and the decline codes; it does not know {word}.",
            "metadata[lab_bank]",
        )
    currency = metadata.get("lab_settles_in", "usd")
    refuse_unless(
        currency in ledgering.DOLLARS_MICRO,
        f"There is no exchange rate for {currency}.",
        "metadata[lab_settles_in]",
    )
    seconds(metadata, "lab_settles_after")


def seconds(metadata: dict[str, str], name: str) -> int | None:
    """A time of ours in metadata. Raises StripeError 400 for what is no number."""
    given = metadata.get(name)
    refuse_unless(given is None or given.isdigit(), f"{name} is a number of seconds.", f"metadata[{name}]")
    return None if given is None else int(given)


def asks_customer(method: Body, *, off_session: bool) -> bool:
    """Whether the card itself wants the customer to authenticate, whatever its bank would say."""
    match method["_authentication"]:
        case "always":
            return True
        case "on_session":
            return not off_session
        case "unless_set_up":
            return not (off_session and method["_set_up"])
    return False


def expired(step: Step, method: Body) -> bool:
    return end_of(method["card"]["exp_month"], method["card"]["exp_year"]) <= step.now


def end_of(month: int, year: int) -> int:
    """The second at which a card of this date is no longer good: its month is over."""
    return period_end(_YEAR_2000, _YEAR_2000, "month", (year - 2000) * 12 + month)


def card_error(
    code: str, message: str, param: str | None = None, decline_code: str | None = None
) -> StripeError:
    details: Body = {} if decline_code is None else {"decline_code": decline_code}
    return StripeError(402, message, type="card_error", code=code, param=param, **details)
