"""What 2026-03-25.dahlia changed. Source: docs.stripe.com/changelog/dahlia."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Body = dict[str, Any]
Find = Callable[[str], Body | None]

UI_MODES = {"hosted_page": "hosted", "embedded_page": "embedded", "elements": "custom"}


def session(body: Body, _: Find) -> Body:
    """The ways to show a Checkout page had other names."""
    mode = body.get("ui_mode")
    return {**body, "ui_mode": UI_MODES.get(mode or "", mode)}
