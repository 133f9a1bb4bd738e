"""What a page's form sent."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.requests import Request

Form = dict[str, str]


async def posted(request: Request) -> Form:
    """The fields of a plain form; of one that was sent twice, the last."""
    body = (await request.body()).decode("utf-8", errors="replace")
    return dict(parse_qsl(body, keep_blank_values=True))
