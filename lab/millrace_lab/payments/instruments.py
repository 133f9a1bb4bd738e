"""Stripe's test cards and test accounts: what each of them is made to do.

A number is only ever looked up here: what is kept of it is brand, last four digits and a fingerprint.
Sources: docs.stripe.com/testing, docs.stripe.com/payments/ach-direct-debit/accept-a-payment and
docs.stripe.com/payments/sepa-debit/accept-a-payment (their sections on testing).
"""

from __future__ import annotations

from typing import NamedTuple

OK = "ok"


class Card(NamedTuple):
    """One row of the table of test cards.

    `names` follow `pm_card_` and `tok_`. `bank` is what the bank says to every charge: `ok` or a decline code.
    `authentication` says when the customer must be asked: always, unless_set_up, on_session.
    `later` is what becomes of a charge that succeeded; `saves` is whether it can be attached to a customer.
    """

    number: str
    names: tuple[str, ...]
    brand: str = "visa"
    country: str = "US"
    funding: str = "credit"
    bank: str = OK
    authentication: str = ""
    later: str = ""
    saves: bool = True


def _declining(number: str, code: str, *names: str) -> Card:
    """The cards of the table of declines cannot be attached to a customer, as its note says."""
    return Card(number, names, bank=code, saves=False)


CARDS = (
    # by brand
    Card("4242424242424242", ("visa", "us")),
    Card("4000056655665556", ("visa_debit",), funding="debit"),
    Card("5555555555554444", ("mastercard",), "mastercard"),
    Card("5200828282828210", ("mastercard_debit",), "mastercard", funding="debit"),
    Card("5105105105105100", ("mastercard_prepaid",), "mastercard", funding="prepaid"),
    Card("378282246310005", ("amex",), "amex"),
    Card("6011111111111117", ("discover",), "discover"),
    Card("3056930009020004", ("diners",), "diners"),
    Card("3566002020360505", ("jcb",), "jcb"),
    Card("6200000000000005", ("unionpay",), "unionpay"),
    # by country
    Card("4000000360000006", ("au",), country="AU"),
    Card("4000000760000002", ("br",), country="BR"),
    Card("4000001240000000", ("ca",), country="CA"),
    Card("4000007560000009", ("ch",), country="CH"),
    Card("4000002760000016", ("de",), country="DE"),
    Card("4000007240000007", ("es",), country="ES"),
    Card("4000002500000003", ("fr",), country="FR"),
    Card("4000008260000000", ("gb",), country="GB"),
    Card("4000003560000008", ("in",), country="IN"),
    Card("4000003800000008", ("it",), country="IT"),
    Card("4000003920000003", ("jp",), country="JP"),
    Card("4000005280000002", ("nl",), country="NL"),
    # declines
    _declining("4000000000000002", "generic_decline", "visa_chargeDeclined", "chargeDeclined"),
    _declining(
        "4000000000009995",
        "insufficient_funds",
        "visa_chargeDeclinedInsufficientFunds",
        "chargeDeclinedInsufficientFunds",
    ),
    _declining("4000000000009987", "lost_card", "visa_chargeDeclinedLostCard"),
    _declining("4000000000009979", "stolen_card", "visa_chargeDeclinedStolenCard"),
    _declining("4000000000000069", "expired_card", "chargeDeclinedExpiredCard"),
    _declining("4000000000000127", "incorrect_cvc", "chargeDeclinedIncorrectCvc"),
    _declining("4000000000000119", "processing_error", "chargeDeclinedProcessingError"),
    _declining("4000000000006975", "card_velocity_exceeded", "visa_chargeDeclinedVelocityLimitExceeded"),
    _declining("4100000000000019", "highest_risk_level", "radarBlock", "chargeDeclinedFraudulent"),
    _declining("4000000000004954", "highest_risk_level", "riskLevelHighest"),
    Card("4000000000000341", ("chargeCustomerFail",), bank="generic_decline"),
    # authentication
    Card("4000002500003155", ("authenticationRequiredOnSetup",), authentication="unless_set_up"),
    Card("4000002760003184", ("authenticationRequired",), country="DE", authentication="always"),
    Card(
        "4000003800000446",
        ("authenticationRequiredSetupForOffSession",),
        country="IT",
        authentication="on_session",
    ),
    Card(
        "4000008260003178",
        ("authenticationRequiredChargeDeclinedInsufficientFunds",),
        country="GB",
        bank="insufficient_funds",
        authentication="always",
    ),
    Card("4000000000003220", ("threeDSecure2Required",), authentication="always"),
    # what comes later
    Card("4000000000000259", ("createDispute",), later="fraudulent"),
    Card("4000000000002685", ("createDisputeProductNotReceived",), later="product_not_received"),
    Card("4000000000001976", ("createDisputeInquiry",), later="inquiry"),
    Card("4000000000007726", ("pendingRefund",), later="refund_pending"),
    Card("4000000000005126", ("refundFail",), later="refund_fails"),
    Card("4000000000000077", ("bypassPending",), later="available"),
    Card("4000003720000278", ("bypassPendingInternational",), country="IE", later="available"),
)


class Account(NamedTuple):
    """One row of the tables of test bank accounts: the debit's end, days after it was sent."""

    type: str  # us_bank_account or sepa_debit
    number: str  # an account number or an IBAN
    names: tuple[str, ...]  # whole ids of payment methods
    bank: str = OK
    later: str = ""
    country: str = "US"


_ACH, _SEPA = "us_bank_account", "sepa_debit"
ACCOUNTS = (
    Account(_ACH, "000123456789", ("pm_usBankAccount_success", "pm_usBankAccount")),
    Account(_ACH, "000111111113", ("pm_usBankAccount_accountClosed",), "account_closed"),
    Account(_ACH, "000111111116", ("pm_usBankAccount_noAccount",), "no_account"),
    Account(_ACH, "000222222227", ("pm_usBankAccount_insufficientFunds",), "bank_insufficient_funds"),
    Account(_ACH, "000333333335", ("pm_usBankAccount_debitNotAuthorized",), "debit_not_authorized"),
    Account(_ACH, "000444444440", ("pm_usBankAccount_invalidCurrency",), "invalid_currency"),
    Account(_ACH, "000555555559", ("pm_usBankAccount_dispute",), later="debit_not_authorized"),
    Account(_ACH, "000000000009", ("pm_usBankAccount_processing",), "never"),
    Account(_SEPA, "DE89370400440532013000", ("pm_success_de",), country="DE"),
    Account(_SEPA, "DE62370400440532013001", ("pm_failed_de",), "bank_insufficient_funds", country="DE"),
    Account(_SEPA, "DE35370400440532013002", ("pm_disputed_de",), later="bank_cannot_process", country="DE"),
    Account(_SEPA, "AT611904300234573201", ("pm_success_at",), country="AT"),
    Account(_SEPA, "AT861904300235473202", ("pm_failed_at",), "bank_insufficient_funds", country="AT"),
    Account(_SEPA, "AT591904300235473203", ("pm_disputed_at",), later="bank_cannot_process", country="AT"),
)

CARD_BY_NUMBER = {card.number: card for card in CARDS}
CARD_BY_TOKEN = {f"tok_{name}": card for card in CARDS for name in card.names}
CARD_BY_ID = {f"pm_card_{name}": card for card in CARDS for name in card.names}
ACCOUNT_BY_NUMBER = {account.number: account for account in ACCOUNTS}
ACCOUNT_BY_ID = {name: account for account in ACCOUNTS for name in account.names}


def well_formed(number: str) -> bool:
    """Whether the digits of a card number can be one at all (the check digit of ISO/IEC 7812)."""
    if not number.isdigit() or not 12 <= len(number) <= 19:
        return False
    doubled = [2 * int(digit) for digit in number[-2::-2]]
    return (sum(map(int, number[-1::-2])) + sum(d // 10 + d % 10 for d in doubled)) % 10 == 0
