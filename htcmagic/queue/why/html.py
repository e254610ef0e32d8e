"""Explanations as HTML: inline styles only, readable on light and dark pages, foreign text made harmless."""

from __future__ import annotations

from collections.abc import Sequence

from htcmagic.queue.html import escape
from htcmagic.queue.why.model import Explanation, Fix
from htcmagic.queue.why.text import others, telling

LONGEST = 2000
MOST = 100
"""Explanations drawn; the rest is counted."""
_COLOURS = {
    "idle": "#8b929a",
    "held": "#dc4046",
    "running": "#2f7de1",
    "suspended": "#c9741a",
    "completed": "#2c9a5b",
    "removed": "#8a63d2",
}
_BOX = "font-size:13px;line-height:1.5;max-width:64em;margin:2px 0 8px"
_FAINT = "opacity:.72"
_TABLE = "border-collapse:collapse;margin:4px 0;font-size:12px;font-variant-numeric:tabular-nums"
_LINE = "background:none;border:0;border-bottom:1px solid #8883"
_RIGHT = "padding:1px 8px;text-align:right;white-space:nowrap"
_LEFT = "padding:1px 8px;text-align:left"
_CODE = "background:#8882;padding:1px 5px;border-radius:3px;white-space:pre-wrap;overflow-wrap:anywhere"


def render(explanations: Sequence[Explanation], notes: Sequence[str], *, place: str = "") -> str:
    """Return explanations as a piece of HTML; `place` is the class by which the buttons' program finds it."""
    mark = ' class="htcmagic-fix"' if place else ""
    name = f' class="htcmagic-why {place}"' if place else ""
    parts = [f'<div{name} style="{_BOX}">', *(_one(one, mark) for one in explanations[:MOST])]
    left = len(explanations) - MOST
    if left > 0:
        parts.append(f'<div style="{_FAINT}">… and {left:,} more</div>')
    parts += [f'<div style="{_FAINT}">{_text(note)}</div>' for note in notes]
    return "".join([*parts, "</div>"])


def _one(one: Explanation, mark: str) -> str:
    colour = _COLOURS.get(one.state, "#2f7de1")
    details = "".join(f"<div>{_text(detail)}</div>" for detail in one.details)
    return (
        f'<div style="margin:0 0 12px;padding:2px 0 2px 10px;border-left:4px solid {colour}">'
        f"<div><b>{_text(one.headline)}</b></div>"
        f'<div style="{_FAINT}">{details}</div>{_table(one)}{"".join(_fix(fix, mark) for fix in one.fixes)}</div>'
    )


def _table(one: Explanation) -> str:
    shown = telling(one)
    if not one.slots or not shown:
        return ""
    head = "".join(
        f'<th style="border:0;border-bottom:1px solid #8887;font-weight:600;{style}">{name}</th>'
        for name, style in (
            ("slots", _RIGHT),
            ("now", _RIGHT),
            (f"satisfy (of {one.slots:,})", _LEFT),
            ("", _LEFT),
        )
    )
    rows = "".join(
        f'<tr style="{_LINE}"><td style="{_RIGHT}">{c.ever:,}</td><td style="{_RIGHT}">{c.now:,}</td>'
        f'<td style="{_LEFT}">{_text(c.text)}</td><td style="{_LEFT};{_FAINT}">{_text(c.note)}</td></tr>'
        for c in shown
    )
    left = others(one)
    more = f'<div style="{_FAINT};font-size:12px;padding:0 8px">{left}</div>' if left else ""
    return (
        f'<table style="{_TABLE}"><thead style="border:0"><tr style="background:none">{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table>{more}"
    )


def _fix(fix: Fix, mark: str) -> str:
    lines = "".join(f'<div><code style="{_CODE}">{_text(line)}</code></div>' for line in fix.lines)
    submit = (
        f'<div><span style="{_FAINT}">next time, in the description:</span> '
        f'<code style="{_CODE}">{_text(fix.submit)}</code></div>'
        if fix.submit
        else ""
    )
    return (
        f'<div{mark} style="margin-top:4px">→ {_text(fix.says)}'
        f'<div style="padding-left:1.4em">{lines}{submit}</div></div>'
    )


def _text(text: str) -> str:
    return escape(text, limit=LONGEST)
