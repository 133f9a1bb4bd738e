"""HTML from nested calls: every text is escaped, unless it is markup already."""

from __future__ import annotations

from html import escape

VOID = frozenset({"input", "link", "meta", "br"})


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


Piece = str | int | None


def el(tag: str, /, *children: Piece, **attributes: Piece | bool) -> Html:
    """An element. `class_` is `class`, `aria_label` is `aria-label`; True is an attribute without a value."""
    opening = tag + "".join(_attribute(key, value) for key, value in attributes.items())
    return Html(f"<{opening}>" if tag in VOID else f"<{opening}>{joined(*children)}</{tag}>")


def joined(*children: Piece) -> Html:
    """Pieces after each other; None is nothing."""
    return Html("".join(_text(child) for child in children if child is not None))


def _text(child: str | int) -> str:
    return child if isinstance(child, Html) else escape(str(child))


def _attribute(key: str, value: Piece | bool) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'
