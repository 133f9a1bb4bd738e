"""The pages that Stripe hosts, served: Checkout, the customer portal, an invoice's page. See `hosted`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from millrace_lab.account import Step
from millrace_lab.edge.house import House
from millrace_lab.edge.posting import posted
from millrace_lab.errors import StripeError
from millrace_lab.hosted import clicking, pages

Shown = Callable[[Step, str, str | None], str]
Clicked = Callable[[Step, str, dict[str, str]], str]
PAGES: dict[str, tuple[Shown, Clicked]] = {
    "/pay/{id}": (pages.checkout, clicking.checkout),
    "/portal/{id}": (pages.portal, clicking.portal),
    "/invoice/{id}": (pages.invoice, clicking.invoice),
}
PRINTED = "/invoice/{id}/pdf"  # what an invoice's `invoice_pdf` leads to
HEADERS = {  # no form-action: the answer to a form leads on to the shop
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
Handler = Callable[[Request], Awaitable[Response]]


def routes(house: House) -> list[Route]:
    return [Route(PRINTED, _showing(house, pages.printed), methods=["GET"])] + [
        route
        for path, (show, click) in PAGES.items()
        for route in (
            Route(path, _showing(house, show), methods=["GET"]),
            Route(path, _clicking(house, show, click), methods=["POST"]),
        )
    ]


def _showing(house: House, show: Shown) -> Handler:
    async def handle(request: Request) -> Response:
        return _page(house, show, request.path_params["id"])

    return handle


def _clicking(house: House, show: Shown, click: Clicked) -> Handler:
    """What was clicked happens in one step; what is refused is shown on the page that it was clicked on."""

    async def handle(request: Request) -> Response:
        id_ = request.path_params["id"]
        given = await posted(request)
        try:
            onward = house.act(lambda step: click(step, id_, given), automatic=False)
        except StripeError as error:
            return _page(house, show, id_, error)
        return RedirectResponse(onward, 303)

    return handle


def _page(house: House, show: Shown, id_: str, refused: StripeError | None = None) -> Response:
    try:
        whole = show(house.account.step(automatic=True), id_, refused.message if refused else None)
    except StripeError as error:
        return HTMLResponse(
            f"<!doctype html><title>{error.status}</title><p>Nothing is here.", error.status, HEADERS
        )
    return HTMLResponse(whole, refused.status if refused else 200, HEADERS)
