"""The access API: what may this customer do, why, and how fresh is the answer?

    GET /v1/access/{customer}             every feature
    GET /v1/access/{customer}/{feature}   one of them
        ?at=RFC3339      as it was known to be then; without it, now
        ?account=acct_…  needed only where two Stripe accounts know the same customer id

It answers from what the consumer has committed, and writes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg
import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from entitlement import metrics, store
from entitlement.domain import access
from entitlement.domain.access import Verdict
from entitlement.domain.plans import Catalog
from millrace.clock import Clock
from millrace.events import instant
from millrace.postgres import Pool
from millrace.telemetry import describe

log = logging.getLogger("entitlement.http")


class Refused(Exception):
    """A question that cannot be answered as it is asked."""

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(problem)
        self.status, self.problem = status, problem


@dataclass(frozen=True, slots=True)
class Known:
    """What is stored about a customer, ready to be asked. `account` is '' for one nobody has heard of."""

    account: str
    catalog: str
    features: Mapping[str, Verdict]
    as_of: datetime | None


@dataclass(frozen=True, slots=True)
class Answers:
    """The questions of the API and where their answers come from."""

    pool: Pool
    catalog: Callable[[], Catalog]
    clock: Clock

    async def one(self, request: Request) -> dict[str, Any]:
        feature, catalog = request.path_params["feature"], self.catalog()
        known, at, staleness = await self._known(request)
        verdict = known.features.get(feature)
        if verdict is None and feature not in catalog.features:
            raise Refused(404, f"no feature {feature!r}; known: {', '.join(sorted(catalog.features))}")
        shown = access.in_force(verdict, at) if verdict else self._unjudged(catalog, feature, known)
        metrics.ANSWERS.labels(shown["verdict"]).inc()
        return {**_shown(shown), **_frame(request, known, staleness), "feature": feature}

    async def every(self, request: Request) -> dict[str, Any]:
        catalog = self.catalog()
        known, at, staleness = await self._known(request)
        verdicts = {name: access.in_force(verdict, at) for name, verdict in known.features.items()}
        for name in catalog.features.keys() - verdicts.keys():
            verdicts[name] = self._unjudged(catalog, name, known)
        metrics.ANSWERS.labels("all").inc()
        features = {name: _shown(verdict) for name, verdict in sorted(verdicts.items())}
        return {**_frame(request, known, staleness), "features": features}

    def _unjudged(self, catalog: Catalog, feature: str, known: Known) -> Verdict:
        """For a customer never heard of, or a feature newer than the customer's last event."""
        verdict = access.nobody(catalog.features[feature].kind)
        if known.account:
            reason = f"catalog {known.catalog}, by which this customer was last judged, does not have it"
            verdict |= {"reason": reason, "rule": "not_in_catalog"}
        return verdict

    async def _known(self, request: Request) -> tuple[Known, datetime, float | None]:
        now, at = self.clock.now(), _at(request)
        account = request.query_params.get("account")
        async with self.pool.acquire() as connection:
            rows = await store.access_of(connection, request.path_params["customer"], account, at)  # type: ignore[arg-type]  # asyncpg's proxy of a connection
            heard = await store.freshest(connection)  # type: ignore[arg-type]  # the same
        if len(rows) > 1:
            raise Refused(400, f"account: name one of {', '.join(row['account'] for row in rows)}")
        staleness = max(0.0, (now - heard).total_seconds()) if heard else None
        return _row(rows), at or now, staleness


def _row(rows: list[dict[str, Any]]) -> Known:
    if not rows:
        return Known("", "", {}, None)
    row = rows[0]
    return Known(row["account"], row["catalog"], row["features"], row["as_of"])


def _at(request: Request) -> datetime | None:
    text = request.query_params.get("at")
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text.replace(" ", "+"))  # a bare + in a query means a blank
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise Refused(400, f"at: {text[:40]!r} is not RFC 3339 with a zone, such as 2026-07-01T14:03:00Z")
    return at.astimezone(UTC)


def _shown(verdict: Verdict) -> dict[str, Any]:
    """A verdict without what comes after it; a limit only where there is one."""
    hidden = {"then"} | {name for name in ("limit", "until") if verdict[name] is None}
    return {name: value for name, value in verdict.items() if name not in hidden}


def _frame(request: Request, known: Known, staleness: float | None) -> dict[str, Any]:
    """What every answer says of itself.

    `staleness_seconds` is the age of the newest event this service has heard, of whomever: an upper bound of
    how far it may be behind Stripe. Null before the first event.
    """
    return {
        "customer": request.path_params["customer"],
        "account": known.account or None,
        "catalog": known.catalog or None,
        "as_of": instant(known.as_of) if known.as_of else None,
        "staleness_seconds": staleness,
    }


def api(pool: Pool, catalog: Callable[[], Catalog], clock: Clock) -> Starlette:
    """The ASGI application."""
    answers = Answers(pool, catalog, clock)
    return Starlette(
        routes=[
            Route("/v1/access/{customer}", _json(answers.every)),
            Route("/v1/access/{customer}/{feature}", _json(answers.one)),
        ]
    )


def _json(answer: Callable[[Request], Any]) -> Callable[[Request], Any]:
    async def respond(request: Request) -> Response:
        with metrics.ANSWER_SECONDS.time():
            try:
                body, status = await _while_the_database_answers(answer(request)), 200
            except Refused as refused:
                metrics.ANSWERS.labels(str(refused.status)).inc()
                body, status = {"problem": refused.problem}, refused.status
        return Response(orjson.dumps(body), status, media_type="application/json")

    return respond


async def _while_the_database_answers(answer: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    try:
        return await answer
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as problem:
        log.warning("database does not answer", extra={"error": describe(problem)})
        raise Refused(503, "the database does not answer; ask again") from problem


class Served:
    """The API on a port, as a part of the process."""

    name = "http"

    def __init__(self, app: Starlette, host: str, port: int) -> None:
        config = uvicorn.Config(
            app, host=host, port=port, log_config=None, access_log=False, lifespan="off",
            timeout_graceful_shutdown=10,
        )  # fmt: skip
        self.server = _Quiet(config)

    def ready(self) -> str:
        return "" if self.server.started else "does not listen yet"

    @property
    def port(self) -> int:
        """The port it listens on, when that was left to the system. Only once it is ready."""
        return int(self.server.servers[0].sockets[0].getsockname()[1])

    async def run(self, stop: asyncio.Event) -> None:
        serving = asyncio.create_task(self.server.serve())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        self.server.should_exit = True
        stopping.cancel()
        await serving


class _Quiet(uvicorn.Server):
    """Leaves the signals to the process, which has other parts to stop as well."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield
