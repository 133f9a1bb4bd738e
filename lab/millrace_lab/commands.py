"""millrace-lab: the command.

Exit codes: 0 done · 1 it could not be done · 2 wrong usage · 3 a storm found a difference.
"""

from __future__ import annotations

from typing import Annotated

import typer
import uvicorn

from millrace_lab.account import Account
from millrace_lab.api import Api
from millrace_lab.clockwork import furnished
from millrace_lab.edge.app import App

app = typer.Typer(no_args_is_help=True, help=__doc__)
stripe = typer.Typer(no_args_is_help=True, help="A stateful double of Stripe Billing.")
app.add_typer(stripe, name="stripe")


@stripe.command()
def serve(
    port: Annotated[int, typer.Option(help="Where to listen, on the loopback.")] = 12111,
    seed: Annotated[int, typer.Option(help="Another seed makes other ids.")] = 1,
) -> None:
    """Serve the double until it is stopped."""
    account = furnished(Account(seed))
    uvicorn.run(App(Api(account)), host="127.0.0.1", port=port, log_level="warning")


def main() -> None:
    app()
