"""`/_lab`: what is ours and not Stripe's, as JSON: the clock, the schedule, deliveries, and acts of the world.

A person has the same through the page and the command. Refusals look like Stripe's.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from millrace_lab import clockwork, saving
from millrace_lab.account import DAY, SETTINGS, Step, refuse_unless
from millrace_lab.api.refusals import read
from millrace_lab.delivery.mail import Attempt, Letter
from millrace_lab.delivery.schedule import KNOBS, PROFILES, Schedule
from millrace_lab.edge.house import House
from millrace_lab.edge.triggers import trigger
from millrace_lab.errors import Body, StripeError, invalid
from millrace_lab.operations import Operation
from millrace_lab.params import Count, Params, Second
from millrace_lab.payments import charging, disputes, methods, payouts
from millrace_lab.platform import endpoints
from millrace_lab.rendering import shown

UNITS = {"s": 1, "m": 60, "h": 3600, "d": DAY, "w": 7 * DAY}
Number = TypeVar("Number", int, float)
Act = Callable[["House", Body, dict[str, str]], Awaitable[Body]]


def seconds_of(text: str) -> int:
    """A stretch of time in seconds: "31d", "2h", "1d 30s". Raises StripeError."""
    parts = re.findall(r"(\d+)\s*([smhdw])", text)
    refuse_unless(
        "".join(n + unit for n, unit in parts) == re.sub(r"\s", "", text) != "", f"Not a time: {text}"
    )
    return sum(int(number) * UNITS[unit] for number, unit in parts)


# The clock.


async def clock(house: House, _: Body, __: dict[str, str]) -> Body:
    now = house.account.now
    return {
        "now": now,
        "iso": datetime.fromtimestamp(now, UTC).isoformat(),
        "running": house.life.is_running,
        "next_due": clockwork.next_due(house.account),
        "next_delivery": house.mail.next_at(),
    }


async def advance(house: House, given: Body, names: dict[str, str]) -> Body:
    """Let time pass: `by` ("31d") or `until` (seconds since 1970). Answers when every delivery on the way is made."""
    now = house.account.now
    until = int(given["until"]) if "until" in given else now + seconds_of(str(given.get("by", "")))
    refuse_unless(until >= now, "The clock cannot be turned back.", "until")
    await house.life.advance(until)
    return await clock(house, given, names)


async def stop(house: House, given: Body, names: dict[str, str]) -> Body:
    house.life.stop()
    return await clock(house, given, names)


async def run(house: House, given: Body, names: dict[str, str]) -> Body:
    house.life.let_run()
    return await clock(house, given, names)


async def hold(house: House, given: Body, names: dict[str, str]) -> Body:
    house.life.hold()
    return await clock(house, given, names)


# What a person sets.

KINDS: dict[str, tuple[type, ...]] = {
    "twins": (int, float)
}  # where a value may be of another kind than the default


async def settings(house: House, given: Body, _: dict[str, str]) -> Body:
    unknown = given.keys() - SETTINGS.keys()
    refuse_unless(not unknown, f"Unknown setting: {', '.join(sorted(unknown))}")
    for name, value in given.items():
        fits = SETTINGS[name] is None or isinstance(value, KINDS.get(name, type(SETTINGS[name])))
        refuse_unless(fits, f"Not a value of this setting: {name}", name)
    house.account.settings |= given
    return house.account.settings


async def schedule(house: House, given: Body, _: dict[str, str]) -> Body:
    """Another schedule for what is decided from now on: `profile` by name, any knob by its own, `seed`.

    Answers the knobs, and how many attempts met with what so far: `gone` are those that are lost for good.
    """
    current = house.mail.schedule
    if given:
        house.mail.schedule = _schedule(current, given)
    made = house.mail.schedule
    odd = Counter(oddity for each in made.records for oddity in each.oddities)
    return {
        "seed": made.seed,
        "profile": asdict(made.profile),
        "decisions": len(made.records),
        "odd": dict(sorted(odd.items())),
    }


def _schedule(current: Schedule, given: Body) -> Schedule:
    unknown = given.keys() - {"seed", "profile", *KNOBS}
    refuse_unless(not unknown, f"No such knob: {', '.join(sorted(unknown))}. There are: {', '.join(KNOBS)}.")
    name = None if given.get("profile") is None else str(given["profile"])
    refuse_unless(
        name is None or name in PROFILES, f"No such profile: {name}. There are: {', '.join(PROFILES)}."
    )
    profile = PROFILES[name] if name else current.profile
    profile = replace(profile, **{knob: _number(float, given, knob) for knob in KNOBS if knob in given})
    seed = _number(int, given, "seed") if "seed" in given else current.seed
    made = Schedule(seed, profile, current.records)
    for each in current.records:
        made.decide(each.event, each.endpoint, each.attempt, 0)
    return made


def _number(kind: Callable[[Any], Number], given: Body, name: str) -> Number:
    try:
        return kind(given[name])
    except (TypeError, ValueError):
        raise invalid(f"Not a number: {name}", name) from None


# Deliveries.


async def deliveries(house: House, given: Body, _: dict[str, str]) -> Body:
    """Attempts in the order in which they were made, and letters still to be sent; of one event, of one endpoint.

    `after` leaves out the first so many of all: what the last answer gave as `next`. More than there are is none.
    """
    limit = int(given.get("limit", 1000))
    after = min(int(given.get("after", 0)), len(house.mail.log))
    made = house.mail.log[after : after + limit]
    return {
        "attempts": [attempted(house, each) for each in made if _asked(each.letter, given)],
        "waiting": [_letter(house, each) for each in house.mail.waiting() if _asked(each, given)][:limit],
        "next": after + len(made),
    }


async def resend(house: House, given: Body, names: dict[str, str]) -> Body:
    """Send an event again by hand."""
    letters = house.mail.resend(names["event"], given.get("endpoint"))
    await house.life.settle()
    made = [each for each in house.mail.attempts(names["event"]) if each.letter in letters]
    return {"attempts": [attempted(house, each) for each in made]}


async def unplug(house: House, _: Body, names: dict[str, str]) -> Body:
    """From now on nothing reaches the endpoint."""
    house.mail.unplugged.add(_endpoint(house, names["endpoint"])["id"])
    return {"endpoint": names["endpoint"], "up": False}


async def plug(house: House, _: Body, names: dict[str, str]) -> Body:
    house.mail.unplugged.discard(_endpoint(house, names["endpoint"])["id"])
    return {"endpoint": names["endpoint"], "up": True}


async def roll(house: House, given: Body, names: dict[str, str]) -> Body:
    """A new signing secret; the old one stays good for `overlap` seconds."""
    return house.act(lambda step: endpoints.roll(step, names["endpoint"], int(given.get("overlap", DAY))))


def attempted(house: House, attempt: Attempt) -> Body:
    return _letter(house, attempt.letter) | asdict(attempt.answer) | {"accepted": attempt.answer.accepted}


def _letter(house: House, letter: Letter) -> Body:
    told = house.account.told(letter.event)
    return asdict(letter) | {"type": told.type if told else None}


def _asked(letter: Letter, given: Body) -> bool:
    return given.get("event") in (None, letter.event) and given.get("endpoint") in (None, letter.endpoint)


def _endpoint(house: House, id_: str) -> Body:
    found = next((each for each in house.mail.endpoints() if each["id"] == id_), None)
    if found is None:
        raise invalid(f"No such endpoint: '{id_}'", "endpoint")
    return found


# The world outside: customers, banks.


async def triggered(house: House, given: Body, names: dict[str, str]) -> Body:
    """Bring an event about, as the Stripe CLI does.."""
    since = len(house.account.events)
    trigger(house.api, names["type"])
    house.life.wake()
    told = house.account.events[since:]
    return {"events": [{"id": each.id, "type": each.type} for each in told]}


async def authenticate(house: House, given: Body, names: dict[str, str]) -> Body:
    """The customer answers the bank's question; `succeeds` false is a wrong answer."""
    succeeds = bool(given.get("succeeds", True))
    return house.act(lambda step: charging.authenticate(step, names["intent"], succeeds))


async def renew(house: House, _: Body, names: dict[str, str]) -> Body:
    """The card network replaces a customer's card."""

    def do(step: Step) -> Body:
        method = step.get("payment_method", names["method"])
        refuse_unless(method["type"] == "card", "Only cards are replaced.")
        methods.renew(step, method)
        return step.get("payment_method", names["method"])

    return house.act(do)


async def dispute(house: House, given: Body, names: dict[str, str]) -> Body:
    """A customer's bank takes a charge back; `inquiry` only asks."""
    return house.act(lambda step: disputes.open_against(step, names["charge"], **given))


async def decide(house: House, given: Body, names: dict[str, str]) -> Body:
    """The bank decides a dispute: `won` or not."""
    return house.act(lambda step: disputes.decide(step, names["dispute"], won=bool(given.get("won", False))))


async def fail_payout(house: House, _: Body, names: dict[str, str]) -> Body:
    """The bank sends a payout back."""
    return house.act(lambda step: payouts.fail(step, names["payout"]))


# Keeping.


async def save(house: House, given: Body, _: dict[str, str]) -> Body:
    """Write the account and its deliveries to a file."""
    path = Path(str(given.get("path", "")))
    refuse_unless(bool(path.name), "Missing required param: path.", "path")
    await house.life.settle()
    return {"saved": str(path), "bytes": saving.save(path, house.account, house.mail)}


async def load(house: House, given: Body, _: dict[str, str]) -> Body:
    """Go on from a file; what is here now is forgotten."""
    try:
        account, mail = saving.load(Path(str(given.get("path", ""))))
    except saving.Unreadable as problem:
        raise invalid(str(problem), "path") from None
    await house.move_in(account, mail)
    return {"loaded": str(given["path"]), "now": account.now, "objects": len(account.objects)}


ACTS: dict[str, Act] = {
    "GET /_lab/clock": clock,
    "POST /_lab/clock/advance": advance,
    "POST /_lab/clock/stop": stop,
    "POST /_lab/clock/run": run,
    "POST /_lab/clock/hold": hold,
    "GET /_lab/settings": settings,
    "POST /_lab/settings": settings,
    "GET /_lab/schedule": schedule,
    "POST /_lab/schedule": schedule,
    "GET /_lab/deliveries": deliveries,
    "POST /_lab/events/{event}/resend": resend,
    "POST /_lab/endpoints/{endpoint}/down": unplug,
    "POST /_lab/endpoints/{endpoint}/up": plug,
    "POST /_lab/endpoints/{endpoint}/roll": roll,
    "POST /_lab/trigger/{type}": triggered,
    "POST /_lab/payment_intents/{intent}/authenticate": authenticate,
    "POST /_lab/payment_methods/{method}/renew": renew,
    "POST /_lab/charges/{charge}/dispute": dispute,
    "POST /_lab/disputes/{dispute}/decide": decide,
    "POST /_lab/payouts/{payout}/fail": fail_payout,
    "POST /_lab/save": save,
    "POST /_lab/load": load,
}


class Advance(Params):
    by: str | None = None
    until: Second | None = None


class Watch(Params):
    after: Count | None = None
    endpoint: str | None = None
    event: str | None = None
    limit: Count | None = None


class Resend(Params):
    endpoint: str | None = None


class Roll(Params):
    overlap: Count | None = None


class Authenticate(Params):
    succeeds: bool | None = None


class Dispute(Params):
    amount: Count | None = None
    inquiry: bool | None = None
    reason: str | None = None


class Decide(Params):
    won: bool | None = None


class File(Params):
    path: str


ASKED: dict[str, type[Params]] = {
    # what an act takes; the knobs of a schedule and the settings are checked where they are set
    "POST /_lab/clock/advance": Advance,
    "GET /_lab/deliveries": Watch,
    "POST /_lab/events/{event}/resend": Resend,
    "POST /_lab/endpoints/{endpoint}/roll": Roll,
    "POST /_lab/payment_intents/{intent}/authenticate": Authenticate,
    "POST /_lab/charges/{charge}/dispute": Dispute,
    "POST /_lab/disputes/{dispute}/decide": Decide,
    "POST /_lab/save": File,
    "POST /_lab/load": File,
}


def routes(house: House) -> list[Route]:
    return [
        Route(route.split(" ")[1], _handler(house, route, act), methods=[route.split(" ")[0]])
        for route, act in ACTS.items()
    ]


def _handler(house: House, route: str, act: Act) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        try:
            given = await _given(request)
            if (asked := ASKED.get(route)) is not None:
                given = {
                    name: value for name, value in _read(route, asked, given).items() if value is not None
                }
            return _json(200, shown(await act(house, given, dict(request.path_params))))
        except StripeError as error:
            return _json(error.status, error.body())

    return handle


def _read(route: str, asked: type[Params], given: Body) -> Body:
    """What was asked, in words and kinds. Raises StripeError 400, as Stripe's own operations do."""
    return read(Operation(route, dict, asked), given).changes()


async def _given(request: Request) -> Body:
    body = await request.body()
    if not body:
        return dict(request.query_params)
    try:
        given: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise invalid("The body is not JSON.") from None
    refuse_unless(isinstance(given, dict), "The body has to be a JSON object.")
    return dict(given)


def _json(status: int, body: Body) -> Response:
    return Response(orjson.dumps(body, option=orjson.OPT_INDENT_2), status, media_type="application/json")
