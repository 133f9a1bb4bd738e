"""The Stripe double for tests: every answer and every event is held against Stripe's own description."""

from __future__ import annotations

from typing import Any

from millrace_lab import clockwork
from millrace_lab.account import Account, Told
from millrace_lab.api import Api, Reply, Request
from millrace_lab.rendering import shown
from tests.support.stripe_spec import answer_problems, problems

OPENS = 1_782_864_000  # 1 July 2026, midnight UTC
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
Body = dict[str, Any]


class Refused(AssertionError):
    """The double refused a request that a test expected to go through."""


class Double:
    """An account of its own, asked as Stripe is asked.

    post, get and delete raise `Refused` with the error's message; `refusal` returns the error object.
    Whatever the double answers or tells must fit Stripe's description, or the test fails there and then.
    """

    def __init__(self, seed: int = 7, now: int = OPENS, **settings: Any) -> None:
        self.account = clockwork.furnished(Account(seed, now))
        self.account.settings |= settings
        self.account.listeners.append(self._heard)
        self.api = Api(self.account)

    def call(self, method: str, path: str, **params: Any) -> Reply:
        key = "sk_live_lab" if self.account.livemode else "sk_test_lab"
        return self.api.call(Request(method, path, params, key=key))

    def post(self, path: str, /, **params: Any) -> Body:
        return self._asked("POST", path, params)

    def get(self, path: str, /, **params: Any) -> Body:
        return self._asked("GET", path, params)

    def delete(self, path: str, /, **params: Any) -> Body:
        return self._asked("DELETE", path, params)

    def refusal(self, method: str, path: str, /, **params: Any) -> Body:
        """The error of a request that has to be refused, with its `status`."""
        reply = self.call(method, path, **params)
        assert reply.status >= 400, f"{method} {path} was not refused: {reply.body}"
        error: Body = reply.body["error"]
        return {**error, "status": reply.status}

    def wait(self, how_long: str) -> None:
        """Let time pass on the account's clock: "31d", "2h", "1d 30s"."""
        seconds = sum(int(part[:-1]) * UNITS[part[-1]] for part in how_long.split())
        clockwork.advance(self.account, self.account.now + seconds)

    @property
    def now(self) -> int:
        return self.account.now

    def told(self, *types: str, since: int = 0) -> list[Told]:
        """What was told, in order; of some types only. `since` is a number of `mark`."""
        return [told for told in self.account.events[since:] if not types or told.type in types]

    def types(self, since: int = 0) -> list[str]:
        return [told.type for told in self.account.events[since:]]

    def mark(self) -> int:
        """Where the telling stands now, for `since`."""
        return len(self.account.events)

    def _asked(self, method: str, path: str, params: Body) -> Body:
        reply = self.call(method, path, **params)
        if reply.status >= 400:
            raise Refused(f"{method} {path}: {reply.status} {reply.body}")
        if path.startswith("/v1/"):
            found = answer_problems(method, self._route(method, path), reply.body)
            assert not found, f"{method} {path} answers what Stripe would not: {found}"
        return reply.body

    def _route(self, method: str, path: str) -> str:
        return self.api.find(method, path)[0].path

    def _heard(self, told: Told) -> None:
        if told.thin:
            return
        found = problems(shown(told.object))
        assert not found, f"{told.type} carries what Stripe would not send: {found}"
