"""Who a customer is in person: made up from its id, so a seed's people are the same every time.

Everything personal that a body says of a customer comes from here or from `Customer` itself. The services
read none of it; it is there so that a search can show where it lies, and that it does not.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from lab.stripe.model import Customer

GIVEN = ("Noor", "Ayumi", "Søren", "Imani", "Tadeusz", "Yara", "Lucía", "Oskar", "Priya", "Mael")
FAMILY = ("Haddad", "Lindqvist", "Okafor", "Brzezicki", "Tanabe", "Quiroga", "Vandermeer", "Achterberg")
STREETS = ("Larkspur Row", "Mühlengasse", "Tannery Quay", "Rua da Oliveira", "Foxglove Steps")
CITIES = ("Ulverscombe", "Bad Erlenbrück", "Port Halloway", "Nether Wickstead")
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Person:
    """The person behind a customer, and where to find them."""

    name: str
    phone: str
    line1: str
    line2: str
    postal_code: str
    city: str

    @property
    def note(self) -> str:
        """What somebody typed into a field that is for anything."""
        return f"ask for {self.name} ({self.phone}), not before nine"


def person(of: Customer) -> Person:
    """The same person for the same customer, and hardly ever for another one."""
    drawn = _Drawn(int.from_bytes(hashlib.sha256(f"person of {of.id}".encode()).digest(), "big"))
    return Person(
        name=f"{drawn.one(GIVEN)} {drawn.one(FAMILY)}-{drawn.one(FAMILY)}",
        phone=f"+49 30 {drawn.below(10**8):08d}",
        line1=f"{100 + drawn.below(900)}{drawn.one(LETTERS)} {drawn.one(STREETS)}",
        line2=f"Stairwell {drawn.one(LETTERS)}-{drawn.below(10**4):04d}",
        postal_code=f"{drawn.one(LETTERS)}{drawn.one(LETTERS)}{drawn.below(90) + 10} {drawn.below(10)}"
        f"{drawn.one(LETTERS)}{drawn.one(LETTERS)}",
        city=drawn.one(CITIES),
    )


class _Drawn:
    """One large number, spent piece by piece."""

    def __init__(self, number: int) -> None:
        self.left = number

    def below(self, most: int) -> int:
        self.left, drawn = divmod(self.left, most)
        return drawn

    def one(self, of: tuple[str, ...] | str) -> str:
        return of[self.below(len(of))]
