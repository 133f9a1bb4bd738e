"""Every SQL statement, each a named constant above the one function that runs it."""

from __future__ import annotations

from datetime import date

from millrace.consumer import TABLES
from millrace.postgres import Schema, Series, Transaction

from newcomer import metrics

SCHEMA = Schema(
    "newcomer",
    (*TABLES, Series("newcomer", "newcomer.migrations")),
)

PLAN_LETTER = """
-- A customer's first letter.
insert into newcomer.letter (account, customer, day) values ($1, $2, $3)
"""


async def plan_letter(tx: Transaction, account: str, customer: str, day: date) -> None:
    await tx.execute(PLAN_LETTER, account, customer, day)
    metrics.LETTERS_PLANNED.inc()


DROP_LETTER = """
-- The letter of a customer who has left.
delete from newcomer.letter where account = $1 and customer = $2
"""


async def drop_letter(tx: Transaction, account: str, customer: str) -> None:
    await tx.execute(DROP_LETTER, account, customer)
