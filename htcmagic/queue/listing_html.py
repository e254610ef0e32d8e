"""Any table to HTML, in the queue's style: foreign text made harmless, some hundred rows drawn, the rest counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice

from htcmagic.queue.html import LIMIT, LONGEST, escape

WIDEST = 30
"""Columns drawn; whole ads have more than a hundred."""
_BOX = "font-size:13px;line-height:1.45;max-width:100%;overflow-x:auto;margin:2px 0 8px"
_TABLE = "border-collapse:collapse;margin:6px 0 4px;font-size:12px;font-variant-numeric:tabular-nums"
_RULE = "border:0;border-bottom:1px solid #8887;padding:2px 10px;font-weight:600;white-space:nowrap"
_CELL = "padding:2px 10px;white-space:nowrap;max-width:36em;overflow:hidden;text-overflow:ellipsis"
_FAINT = "opacity:.62"


def table(
    columns: Sequence[str],
    rows: Sequence[Mapping[str, object]],
    *,
    title: str = "",
    note: str = "",
    seconds: bool = False,
) -> str:
    """Return rows as an HTML table.

    Parameters
    ----------
    columns : sequence of str
        Keys of the rows, in order.
    rows : sequence of mapping
        The data; the first `LIMIT` are drawn.
    title, note : str
        Lines above and below.
    seconds : bool
        Whether times are shown to the second; else to the minute.
    """
    moment = "%b %d %H:%M:%S" if seconds else "%b %d %H:%M"
    shown = columns[:WIDEST]
    right = {name for name in shown if _numeric([row.get(name) for row in rows[:LIMIT]])}
    parts = [f'<div style="{_BOX}">', _heading(title, len(rows))]
    if rows:
        head = "".join(f'<th style="{_RULE};text-align:{_side(name, right)}">{escape(name)}</th>' for name in shown)
        parts.append(f'<table style="{_TABLE}"><thead style="border:0"><tr style="background:none">{head}</tr></thead>')
        parts.append("<tbody>")
        for row in islice(rows, LIMIT):
            cells = "".join(
                f'<td style="{_CELL};text-align:{_side(name, right)}">{_cell(row.get(name), moment)}</td>'
                for name in shown
            )
            parts.append(f'<tr style="background:none;border:0;border-bottom:1px solid #8883">{cells}</tr>')
        parts.append("</tbody></table>")
    left_out = [(len(rows) - LIMIT, "row"), (len(columns) - WIDEST, "column")]
    parts += [_faint(f"… and {more:,} more {noun}{'' if more == 1 else 's'}") for more, noun in left_out if more > 0]
    return "".join([*parts, _faint(escape(note)) if note else "", "</div>"])


def plain(text: str, *, title: str = "", note: str = "") -> str:
    """Return a program's text as it is, in a fixed font, the first `LIMIT` lines of it."""
    lines = text.strip("\n").split("\n")
    body = "\n".join(escape(line.expandtabs(), limit=5 * LONGEST) for line in lines[:LIMIT])
    more = len(lines) - LIMIT
    counted = _faint(f"… and {more:,} more line{'' if more == 1 else 's'}") if more > 0 else ""
    return (
        f'<div style="{_BOX}">{f"<div><b>{escape(title)}</b></div>" if title else ""}'
        f'<pre style="font-size:12px;line-height:1.35;margin:4px 0;white-space:pre">{body}</pre>'
        f"{counted}{_faint(escape(note)) if note else ''}</div>"
    )


def _heading(title: str, number: int) -> str:
    counted = f'<span style="{_FAINT}">{number:,} row{"" if number == 1 else "s"}</span>'
    return f"<div>{f'<b>{escape(title)}</b>&ensp;' if title else ''}{counted}</div>"


def _faint(inner: str) -> str:
    return f'<div style="{_FAINT};padding:0 10px">{inner}</div>'


def _side(name: str, right: set[str]) -> str:
    return "right" if name in right else "left"


def _numeric(values: Sequence[object]) -> bool:
    kinds = {type(value) for value in values} - {type(None)}
    return bool(kinds) and kinds <= {int, float, timedelta}


def _cell(value: object, moment: str) -> str:
    if value is None:
        return f'<span style="{_FAINT}">—</span>'
    text = _words(value, moment)
    return f'<span title="{escape(text, limit=2 * LONGEST)}">{escape(text)}</span>' if len(text) > 40 else escape(text)


def _words(value: object, moment: str) -> str:
    if isinstance(value, datetime):
        return value.astimezone().strftime(moment)
    if isinstance(value, timedelta):
        return _clock(value)
    if isinstance(value, float):
        return f"{value:,.1f}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _clock(value: timedelta) -> str:
    minutes, seconds = divmod(max(int(value.total_seconds()), 0), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{f'{days} d ' if days else ''}{hours}:{minutes:02}:{seconds:02}"
