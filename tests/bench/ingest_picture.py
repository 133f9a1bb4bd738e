"""The ratios as a picture that a person sees at once: bars in an SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

WIDTH, LABEL, ROW, TOP = 860, 230, 30, 62
OURS, OTHER = "#0b6e4f", "#9aa5b1"


class Panel(NamedTuple):
    """One chart: a title, what is better, and a value for each name."""

    title: str
    unit: str
    values: Mapping[str, float]


def svg(panels: Sequence[Panel]) -> str:
    """The panels, one below the other; whoever begins with `ours` has our colour, and 'ours' is the measure."""
    drawn, y = [], 0
    for panel in panels:
        drawn.append(f'<g transform="translate(0,{y})">{_panel(panel)}</g>')
        y += TOP + ROW * len(panel.values)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 20}" '
        f'font-family="sans-serif" font-size="14"><rect width="100%" height="100%" fill="white"/>'
        + "".join(drawn)
        + "</svg>\n"
    )


def _panel(panel: Panel) -> str:
    longest, ours = max(panel.values.values()), panel.values["ours"]
    rows = [
        _bar(number, name, value, value / longest, f"{value:,.0f} {panel.unit} · {value / ours:.2f} of ours")
        for number, (name, value) in enumerate(panel.values.items())
    ]
    return f'<text x="16" y="36" font-size="17" font-weight="bold">{escape(panel.title)}</text>' + "".join(
        rows
    )


def _bar(number: int, name: str, value: float, share: float, words: str) -> str:
    y, length = TOP - 8 + ROW * number, max(2, share * (WIDTH - LABEL - 260))
    fill = OURS if name.startswith("ours") else OTHER
    return (
        f'<text x="{LABEL - 10}" y="{y + 15}" text-anchor="end">{escape(name)}</text>'
        f'<rect x="{LABEL}" y="{y}" width="{length:.0f}" height="20" rx="3" fill="{fill}"/>'
        f'<text x="{LABEL + length + 8:.0f}" y="{y + 15}" fill="#333">{escape(words)}</text>'
    )
