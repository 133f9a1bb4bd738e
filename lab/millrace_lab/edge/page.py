"""The page at /: customers, subscriptions, invoices, events with every delivery, and the clock to turn.

Rendered here from the account as it is; the browser's script only fetches it again when something happened.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from millrace_lab.delivery.letters import envelope
from millrace_lab.edge import buttons, control, views
from millrace_lab.edge.house import House
from millrace_lab.edge.posting import Form, posted
from millrace_lab.errors import Body, StripeError, missing
from millrace_lab.markup import Html
from millrace_lab.platform import thin

STATIC = {"page.css": "text/css", "hosted.css": "text/css", "page.js": "text/javascript"}
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
Handler = Callable[[Request], Awaitable[Response]]


def routes(house: House) -> list[Route]:
    shows: dict[str, Callable[[Request], tuple[str, Html]]] = {
        "/": lambda _: ("Overview", views.overview(house.account, house.mail)),
        "/customers": lambda _: ("Customers", views.customers(house.account)),
        "/subscriptions": lambda _: ("Subscriptions", _listed(house, "subscription", views.subscriptions)),
        "/invoices": lambda _: ("Invoices", _listed(house, "invoice", views.invoices)),
        "/events": lambda _: ("Events", views.events(house.account, house.mail)),
        "/deliveries": lambda _: ("Deliveries", _deliveries(house)),
        "/objects/{id}": lambda request: _object(house, request.path_params["id"]),
        "/events/{id}": lambda request: _event(house, request.path_params["id"]),
    }
    does: dict[str, Callable[[Request, Form], Awaitable[None]]] = {
        "/clock": lambda _, form: _turn(house, form),
        "/schedule": lambda _, form: _ignored(control.schedule(house, {"profile": form["profile"]}, {})),
        "/objects/{id}": lambda request, form: _press(house, request.path_params["id"], form),
        "/events/{id}/resend": lambda request, _: _ignored(
            control.resend(house, {}, {"event": request.path_params["id"]})
        ),
    }
    return [
        *(Route(path, _showing(house, path, show), methods=["GET"]) for path, show in shows.items()),
        *(Route(path, _doing(house, do), methods=["POST"]) for path, do in does.items()),
        Route("/static/{name}", _static),
        Route("/favicon.ico", _no_icon),
        Route("/state", _state(house)),
    ]


# Showing.


def _showing(house: House, path: str, show: Callable[[Request], tuple[str, Html]]) -> Handler:
    async def handle(request: Request) -> Response:
        try:
            title, content = show(request)
        except StripeError as error:
            return _page(house, "Not here", Html(), error=error.message, status=error.status)
        return _page(house, title, content, tab=path, error=request.query_params.get("error", ""))

    return handle


def _page(
    house: House, title: str, content: Html, *, tab: str = "", error: str = "", status: int = 200
) -> Response:
    top = views.Top(house.account, house.life.is_running, _seen(house))
    whole = views.page(top, title, content, tab=tab, error=error)
    return HTMLResponse(whole, status, HEADERS)


def _listed(house: House, kind: str, view: Callable[..., Html]) -> Html:
    return view(house.account, views.newest(house.account, kind))


def _deliveries(house: House) -> Html:
    attempts, waiting = house.mail.log[-views.MOST :][::-1], house.mail.waiting()[: views.MOST]
    return views.deliveries(house.account, attempts, waiting)


def _object(house: House, id_: str) -> tuple[str, Html]:
    body = _found(house, id_)
    return f"{body['object']} {id_}", views.object_page(house.account, house.mail, body)


def _event(house: House, id_: str) -> tuple[str, Html]:
    told = house.account.told(id_)
    if told is None:
        raise missing("event", id_)
    whole = thin.fetched(house.account, told) if told.thin else envelope(house.account, told)
    return told.type, views.event_page(house.account, house.mail, told, whole)


def _found(house: House, id_: str) -> Body:
    body = house.account.find(id_)
    if body is None:
        raise missing("object", id_)
    return body


# Doing.


def _doing(house: House, do: Callable[[Request, Form], Awaitable[None]]) -> Handler:
    """Do it, then back to the page that it was asked from, with what was refused."""

    async def handle(request: Request) -> Response:
        given = await posted(request)
        try:
            await do(request, given)
        except StripeError as error:
            return RedirectResponse(_back(request, error.message), 303)
        except (KeyError, IndexError, ValueError):
            return PlainTextResponse("The form is not one of this page.", 400)
        return RedirectResponse(_back(request), 303)

    return handle


def _back(request: Request, error: str = "") -> str:
    """The path of the page on which the button was; never another site's."""
    path = urlsplit(request.headers.get("referer", "/")).path or "/"
    return f"/{path.lstrip('/')}" + (f"?{urlencode({'error': error})}" if error else "")


async def _turn(house: House, form: Form) -> None:
    if form.get("mode") == "run":
        house.life.let_run()
    elif form.get("mode") == "hold":
        house.life.hold()
    else:
        await control.advance(house, {"by": form["by"]}, {})


async def _press(house: House, id_: str, form: Form) -> None:
    await buttons.press(house, _found(house, id_), int(form["button"]))
    await house.life.settle()


async def _ignored(answer: Awaitable[Body]) -> None:
    await answer


# What the browser keeps.


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in STATIC:
        return PlainTextResponse("Not found", 404)
    content = (files("millrace_lab.edge") / "static" / name).read_bytes()
    return Response(content, media_type=STATIC[name], headers={"Cache-Control": "no-cache"})


async def _no_icon(_: Request) -> Response:
    return Response(status_code=204)


def _state(house: House) -> Handler:
    async def handle(_: Request) -> Response:
        return PlainTextResponse(_seen(house), headers={"Cache-Control": "no-store"})

    return handle


def _seen(house: House) -> str:
    """A short text that differs whenever a page would."""
    seen = (house.account.id, len(house.account.events), len(house.mail.log), house.account.now)
    return "-".join(map(str, seen))
