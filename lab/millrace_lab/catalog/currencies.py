"""Currencies: how many decimals their minor unit has at Stripe, which differs from ISO 4217.

Source: docs.stripe.com/currencies; docs/lab/behaviours.md.
"""

from __future__ import annotations

from millrace_lab.account import refuse_unless


def _codes(text: str) -> frozenset[str]:
    return frozenset(text.split())


ZERO_DECIMAL = _codes("bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf")  # whole units
THREE_DECIMAL = _codes("bhd jod kwd omr tnd")  # thousandths, whose last digit is 0
TWO_DECIMAL = _codes("""
    usd aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bmd bnd bob brl bsd bwp byn bzd cad cdf
    chf cny cop crc cve czk dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gtq gyd hkd hnl htg huf idr
    ils inr isk jmd kes kgs khr kyd kzt lak lbp lkr lrd lsl mad mdl mkd mmk mnt mop mur mvr mwk mxn myr
    mzn nad ngn nio nok npr nzd pab pen pgk php pkr pln qar ron rsd rub sar sbd scr sek sgd shp sle sos
    srd std szl thb tjs top try ttd twd tzs uah ugx uyu uzs wst xcd xcg yer zar zmw
""")
WHOLE_UNITS_OF_TWO = frozenset({"isk", "ugx"})  # zero-decimal by now, still written with two


def decimals(currency: str) -> int:
    """How many digits of an amount stand behind the point."""
    if currency in ZERO_DECIMAL:
        return 0
    return 3 if currency in THREE_DECIMAL else 2


def grain(currency: str) -> int:
    """What every amount that is paid in it is a multiple of: what is computed is rounded to it."""
    if currency in THREE_DECIMAL:
        return 10
    return 100 if currency in WHOLE_UNITS_OF_TWO else 1


def check_currency(currency: str, param: str = "currency") -> None:
    """Raises StripeError 400 for what is no currency."""
    known = currency in ZERO_DECIMAL or currency in THREE_DECIMAL or currency in TWO_DECIMAL
    refuse_unless(known, f"Invalid currency: {currency}", param)


def check_amount(amount: int, currency: str, param: str) -> None:
    """Raises StripeError 400 for an amount that this currency cannot be paid in."""
    if currency in THREE_DECIMAL:
        refuse_unless(
            amount % 10 == 0,
            f"Invalid amount: the last digit of an amount in {currency} must be 0.",
            param,
        )
    if currency in WHOLE_UNITS_OF_TWO:
        refuse_unless(
            amount % 100 == 0, f"Invalid amount: amounts in {currency} are whole: they end in 00.", param
        )
