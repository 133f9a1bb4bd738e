"""millrace-lab: a Stripe of one's own, with a clock one can turn and webhooks that misbehave on purpose.

Exit codes: 0 done · 1 it could not be done · 2 wrong usage · 3 a storm found a difference.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

import typer

if TYPE_CHECKING:  # the server's modules are imported when it is started: everything else starts fast
    from millrace_lab.edge.house import House

KEY = "sk_test_millrace_lab"
PORT = 12111
POLL_SECONDS = 0.2
PLUGINS = "millrace_lab.commands"  # entry points: register(app)
Answer = dict[str, Any]

app = typer.Typer(no_args_is_help=True, help=__doc__, rich_markup_mode=None, add_completion=False)
stripe = typer.Typer(no_args_is_help=True, help="The double itself.")
clock = typer.Typer(no_args_is_help=True, help="Look at the double's clock, and turn it.")
app.add_typer(stripe, name="stripe")
app.add_typer(clock, name="clock")

AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
Server = Annotated[
    str, typer.Option("--server", envvar="MILLRACE_LAB", help="Where the double is served.", show_envvar=True)
]
HERE = f"http://127.0.0.1:{PORT}"


# Serving.


@stripe.command(
    epilog="Example: millrace-lab stripe serve --schedule usual --forward-to http://localhost:8000/hook"
)
def serve(
    port: Annotated[int, typer.Option(help="Where to listen; 0 takes a free one.")] = PORT,
    host: Annotated[
        str, typer.Option(help="The double has no locks: keep it on the loopback.")
    ] = "127.0.0.1",
    seed: Annotated[int, typer.Option(help="Another seed makes other ids and other mishaps.")] = 1,
    state: Annotated[
        Path | None, typer.Option(help="Go on from this file if it is there, and write it at the end.")
    ] = None,
    clock: Annotated[
        Literal["running", "held"], typer.Option(help="Let time pass by itself, or only when it is turned.")
    ] = "running",
    start: Annotated[
        datetime | None, typer.Option(help="The account's time at the start, in UTC. Default: now.")
    ] = None,
    schedule: Annotated[
        Literal["kind", "usual", "hostile"], typer.Option(help="How badly webhooks are delivered.")
    ] = "kind",
    forward_to: Annotated[
        str | None, typer.Option(help="Make a webhook endpoint for all events at this URL.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Serve the double until it is stopped."""
    import socket

    import uvicorn

    from millrace_lab.edge.serving import Serving

    listening = socket.create_server((host, port))
    url = f"http://{host}:{listening.getsockname()[1]}"
    house = _house(url, seed, state, clock == "running", start, schedule)
    secret = None
    if forward_to:
        endpoint = house.api.post("/v1/webhook_endpoints", url=forward_to, enabled_events=["*"])
        secret = endpoint["secret"]
    about = {"url": url, "key": KEY, "now": house.account.now, "secret": secret}
    serving = Serving(house, ready=lambda: _say(about, as_json, _greeting(about)))
    config = uvicorn.Config(serving, log_level="warning", access_log=False)
    with contextlib.suppress(KeyboardInterrupt):  # it raises the signal again that ended it
        uvicorn.Server(config).run(sockets=[listening])


def _house(
    site: str, seed: int, state: Path | None, running: bool, start: datetime | None, profile: str
) -> House:
    from millrace_lab import saving
    from millrace_lab.account import Account
    from millrace_lab.clockwork import furnished
    from millrace_lab.delivery.mail import Mail
    from millrace_lab.delivery.schedule import Schedule
    from millrace_lab.edge.house import House

    if state and state.exists():
        try:
            account, mail = saving.load(state)
        except saving.Unreadable as problem:
            _fail(str(problem))
    else:
        now = int(start.replace(tzinfo=UTC).timestamp() if start else time.time())
        account = furnished(Account(seed, now))
        mail = Mail(account, Schedule(seed, profile))
    return House(account, mail, running=running, site=site, state=state)


def _greeting(about: Answer) -> str:
    lines = [
        f"Stripe's double is at {about['url']}, its page too. Ctrl-C stops it.",
        f"  key     {about['key']}   (any sk_test_… will do)",
        f"  clock   {_when(about['now'])}",
    ]
    return "\n".join([*lines, *([f"  secret  {about['secret']}"] if about["secret"] else [])])


# The clock.


@clock.command("show")
def clock_show(server: Server = HERE, as_json: AsJson = False) -> None:
    """What time it is for the account."""
    at = _get(server, "/_lab/clock")
    _say(at, as_json, f"{_when(at['now'])}, {'running' if at['running'] else 'held'}")


@clock.command(
    "advance", epilog="Examples: millrace-lab clock advance 31d · millrace-lab clock advance '1d 12h'"
)
def clock_advance(
    by: Annotated[str, typer.Argument(help="How far: 31d, 2h, '1d 30m'.")],
    server: Server = HERE,
    as_json: AsJson = False,
) -> None:
    """Let time pass, every renewal, retry and webhook on the way included. Ctrl-C stops where it is."""
    at = _advanced(server, by, shown=sys.stderr.isatty() and not as_json)
    _say(at, as_json, _when(at["now"]))


def _advanced(server: str, by: str, *, shown: bool) -> Answer:
    """Ask for the advance, and show how far it is while it goes on."""
    if not shown:
        return _post(server, "/_lab/clock/advance", by=by)
    from concurrent.futures import ThreadPoolExecutor, wait

    from rich.console import Console

    with ThreadPoolExecutor(1) as pool, Console(stderr=True).status("") as status:
        asked = pool.submit(_post, server, "/_lab/clock/advance", by=by)
        try:
            while not wait([asked], POLL_SECONDS).done:
                status.update(_when(_get(server, "/_lab/clock")["now"]))
        except KeyboardInterrupt:
            _post(server, "/_lab/clock/stop")
        return asked.result()


# Events and webhooks.


@app.command(epilog="Example: millrace-lab trigger invoice.payment_failed")
def trigger(
    type: Annotated[str, typer.Argument(help="An event type, such as invoice.paid.")],
    server: Server = HERE,
    as_json: AsJson = False,
) -> None:
    """Bring an event about by the calls that lead to it. A wrong type lists those that there are."""
    answer = _post(server, f"/_lab/trigger/{quote(type)}")
    _say(answer, as_json, "\n".join(f"{each['id']}  {each['type']}" for each in answer["events"]))


@app.command(epilog="Example: millrace-lab listen --forward-to localhost:8000/webhooks --events invoice.paid")
def listen(
    forward_to: Annotated[str, typer.Option(help="Where your handler is.")],
    events: Annotated[str, typer.Option(help="Types to forward, with commas between; * is all.")] = "*",
    server: Server = HERE,
    as_json: AsJson = False,
) -> None:
    """Forward events to a handler and print what it answers, until Ctrl-C."""
    url = forward_to if "://" in forward_to else f"http://{forward_to}"
    after = _get(server, "/_lab/deliveries", limit=0, after=10**9)["next"]
    endpoint = _ask(
        server, "POST", "/v1/webhook_endpoints", {"url": url, "enabled_events": events.split(",")}
    )
    _say(endpoint, as_json, f"Ready. Your webhook signing secret is {endpoint['secret']}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while True:
            after = _print_new(server, endpoint["id"], after, as_json)
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        _ask(server, "DELETE", f"/v1/webhook_endpoints/{endpoint['id']}")


def _print_new(server: str, endpoint: str, after: int, as_json: bool) -> int:
    answer = _get(server, "/_lab/deliveries", endpoint=endpoint, after=after)
    for attempt in answer["attempts"]:
        _say(attempt, as_json, _line(attempt))
    return int(answer["next"])


@app.command(epilog="Example: millrace-lab resend evt_1AbC")
def resend(
    event: str,
    endpoint: Annotated[str | None, typer.Option(help="To this one only.")] = None,
    server: Server = HERE,
    as_json: AsJson = False,
) -> None:
    """Send an event again. Automatic retries go on as they were."""
    given = {"endpoint": endpoint} if endpoint else {}
    answer = _post(server, f"/_lab/events/{quote(event)}/resend", **given)
    _say(answer, as_json, "\n".join(map(_line, answer["attempts"])))


@app.command()
def deliveries(
    event: Annotated[str | None, typer.Option(help="Of this event only.")] = None,
    server: Server = HERE,
    as_json: AsJson = False,
) -> None:
    """Every attempt so far, then what is still to be sent."""
    answer = _get(server, "/_lab/deliveries", **({"event": event} if event else {}))
    later = [
        f"{_when(each['at'])}  {'to come':24}  {each['type']}  {each['event']}" for each in answer["waiting"]
    ]
    _say(answer, as_json, "\n".join([*map(_line, answer["attempts"]), *later]))


# Keeping.


@app.command()
def save(path: Path, server: Server = HERE, as_json: AsJson = False) -> None:
    """Write the account and its deliveries to one file."""
    answer = _post(server, "/_lab/save", path=str(path.absolute()))
    _say(answer, as_json, f"{answer['saved']}: {answer['bytes']} bytes")


@app.command()
def load(path: Path, server: Server = HERE, as_json: AsJson = False) -> None:
    """Go on from a file; what the double holds now is forgotten."""
    answer = _post(server, "/_lab/load", path=str(path.absolute()))
    _say(answer, as_json, f"{answer['objects']} objects, {_when(answer['now'])}")


# Asking and saying.


def _get(server: str, path: str, /, **params: Any) -> Answer:
    return _ask(server, "GET", f"{path}?{urlencode(params)}" if params else path)


def _post(server: str, path: str, /, **params: Any) -> Answer:
    return _ask(server, "POST", path, params)


def _ask(server: str, method: str, path: str, params: Answer | None = None) -> Answer:
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    body = None if params is None else json.dumps(params).encode()
    if body is not None and path.startswith("/v1/"):
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        body = urlencode(_form(params or {})).encode()
    try:
        request = Request(server.rstrip("/") + path, body, headers, method=method)  # noqa: S310
        with urlopen(request) as answer:  # noqa: S310 - the server is the user's own setting
            found: Answer = json.load(answer)
            return found
    except HTTPError as problem:
        _fail(_message(problem.read()))
    except URLError as problem:
        _fail(f"No double at {server}: {problem.reason}. Start one with `millrace-lab stripe serve`.")
    except ValueError:  # no URL, or somebody else's answer
        _fail(f"{server} is not a double's address. It looks like http://127.0.0.1:{PORT}.")


def _form(params: Answer) -> list[tuple[str, str]]:
    return [
        (f"{name}[{number}]" if isinstance(value, list) else name, str(each))
        for name, value in params.items()
        for number, each in enumerate(value if isinstance(value, list) else [value])
    ]


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")


def _say(answer: Answer, as_json: bool, text: str) -> None:
    typer.echo(json.dumps(answer) if as_json else text)
    sys.stdout.flush()


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)


def _when(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _line(attempt: Answer) -> str:
    got = str(attempt["status"] or attempt["error"])
    way = "" if attempt["way"] == "automatic" and attempt["attempt"] == 1 else f" ({_way(attempt)})"
    outcome = f"{got} in {attempt['milliseconds']} ms{way}"
    return f"{_when(attempt['at'])}  {outcome:24}  {attempt['type']}  {attempt['event']}"


def _way(attempt: Answer) -> str:
    return f"attempt {attempt['attempt']}" if attempt["way"] == "automatic" else str(attempt["way"])


def main() -> None:
    for plugin in entry_points(group=PLUGINS):
        plugin.load()(app)
    app()


if __name__ == "__main__":
    main()
