"""Who a customer is in person: made up from a seed and a number, so a seed's people are the same every time.

The services read none of it; it is there so that a search can show where it lies, and that it does not.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from millrace_lab.errors import Body

GIVEN = ("Noor", "Ayumi", "Søren", "Imani", "Tadeusz", "Yara", "Lucía", "Oskar", "Priya", "Mael")
FAMILY = ("Haddad", "Lindqvist", "Okafor", "Brzezicki", "Tanabe", "Quiroga", "Vandermeer", "Achterberg")
STREETS = ("Larkspur Row", "Mühlengasse", "Tannery Quay", "Rua da Oliveira", "Foxglove Steps")
CITIES = ("Ulverscombe", "Bad Erlenbrück", "Port Halloway", "Nether Wickstead")
FIRST = ("Amber", "Birch", "Cobalt", "Delta", "Ember", "Fjord", "Granite", "Harbor", "Indigo", "Juniper")
SECOND = (
    "Analytics",
    "Bakery",
    "Clinics",
    "Design",
    "Energy",
    "Foods",
    "Games",
    "Hotels",
    "Logistics",
    "Media",
)
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Person:
    """A company that is a customer, the person behind it, and where to find them."""

    company: str
    email: str
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

    def address(self, country: str) -> Body:
        return {
            "line1": self.line1,
            "line2": self.line2,
            "postal_code": self.postal_code,
            "city": self.city,
            "country": country,
        }

    def customer(self, country: str) -> Body:
        """The parameters of POST /v1/customers."""
        address = self.address(country)
        return {
            "name": self.company,
            "email": self.email,
            "phone": self.phone,
            "address": address,
            "shipping": {"name": self.name, "phone": self.phone, "address": address},
            "description": self.note,
            "metadata": {"contact": self.name},
        }

    def billing(self, country: str) -> Body:
        """The `billing_details` of their payment method."""
        return {
            "name": self.company,
            "email": self.email,
            "phone": self.phone,
            "address": self.address(country),
        }


def person(seed: int, number: int) -> Person:
    """The same person for the same customer, and hardly ever for another one."""
    drawn = _Drawn(int.from_bytes(hashlib.sha256(f"person {number} of {seed}".encode()).digest(), "big"))
    first = drawn.one(FIRST)
    return Person(
        company=f"{first} {drawn.one(SECOND)} {number}",
        email=f"billing+{number}@{first.lower()}.example",
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
