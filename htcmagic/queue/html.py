"""Rows to HTML: inline styles only, readable on light and dark pages, foreign text made harmless."""

from __future__ import annotations

import html
import time
from collections.abc import Iterable, Sequence

from htcmagic.queue.rows import BatchRow, JobRow, Snapshot, Totals

LIMIT = 300
"""Rows drawn; the rest is counted in one line."""
LONGEST = 400
"""Characters of one cell that are kept."""

_DONE, _RUN, _IDLE, _HELD, _REMOVED, _SUSPENDED = "#2c9a5b", "#2f7de1", "#8b929a", "#dc4046", "#8a63d2", "#c9741a"
_COLOURS = {1: _IDLE, 2: _RUN, 3: _REMOVED, 4: _DONE, 5: _HELD, 6: _RUN, 7: _SUSPENDED, 8: _HELD, 9: _SUSPENDED}
_STATES = {1: "idle", 2: "running", 3: "removed", 4: "completed", 5: "held", 6: "sending output", 7: "suspended"}
_TOTALS = (
    ("idle", "I", _IDLE),
    ("running", "R", _RUN),
    ("held", "H", _HELD),
    ("suspended", "S", _SUSPENDED),
    ("completed", "C", _DONE),
    ("removed", "X", _REMOVED),
)
_BOX = "font-size:13px;line-height:1.45;max-width:100%;overflow-x:auto;margin:2px 0 8px"
_TABLE = "border-collapse:collapse;margin:6px 0 4px;font-size:12px;font-variant-numeric:tabular-nums"
_RULE = "border:0;border-bottom:1px solid #8887"
_LINE = "background:none;border:0;border-bottom:1px solid #8883"
_CELL = "padding:2px 10px;white-space:nowrap"
_LEFT, _RIGHT = f"{_CELL};text-align:left", f"{_CELL};text-align:right"
_LONG = f"{_LEFT};max-width:36em;overflow:hidden;text-overflow:ellipsis"
_FAINT = "opacity:.62"

_HARMLESS = {
    **{code: chr(0x2400 + code) for code in range(0x20)},
    0x7F: "\u2421",
    **dict.fromkeys([*range(0x80, 0xA0), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF], "\ufffd"),
    # marks that turn or hide the text around them
    **dict.fromkeys([0x61C, *range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2060, 0x2070), 0xFEFF], "\ufffd"),
}


def escape(text: object, *, limit: int = LONGEST) -> str:
    """Return foreign text that can stand in a page or an attribute: no markup, no control codes, no endless lines."""
    shown = str(text)
    if len(shown) > limit:
        shown = shown[: limit - 1] + "…"
    return html.escape(shown.translate(_HARMLESS))


def render(snapshot: Snapshot, rows: Sequence[JobRow | BatchRow], *, left_out: int = 0, nobatch: bool = False) -> str:
    """Return a snapshot as a piece of HTML.

    Parameters
    ----------
    snapshot : Snapshot
        For what stands above and below the table.
    rows : sequence of JobRow or BatchRow
        The rows to draw.
    left_out : int
        How many more there are.
    nobatch : bool
        Rows are jobs; else batches.
    """
    parts = [f'<div style="{_BOX}">', _heading(snapshot)]
    if rows:
        held = any(isinstance(row, BatchRow) and row.hold for row in rows)
        body = [_job(row) if isinstance(row, JobRow) else _batch(row, held=held) for row in rows]
        parts += [
            f'<table style="{_TABLE}">',
            _columns(nobatch=nobatch, held=held),
            "<tbody>",
            *body,
            "</tbody></table>",
        ]
    if left_out:
        noun = ("job" if nobatch else "batch") + ("" if left_out == 1 else "s" if nobatch else "es")
        parts.append(f'<div style="{_FAINT};padding:0 10px">… and {left_out:,} more {noun}</div>')
    parts += [_footing(snapshot), "</div>"]
    return "".join(parts)


def _heading(snapshot: Snapshot) -> str:
    clock = time.strftime("%H:%M:%S", time.localtime(snapshot.time))
    title = f"{snapshot.address} @ {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(snapshot.time))}"
    return (
        f'<div title="{escape(title)}"><b>{escape(snapshot.schedd)}</b> <span style="{_FAINT}">{clock}</span>'
        f"&ensp;{_counts(snapshot.query)}</div>"
    )


def _counts(totals: Totals) -> str:
    if not totals.jobs:
        return f'<span style="{_FAINT}">no jobs</span>'
    states = "&ensp;".join(
        f"{_pill(letter, colour, name)}&thinsp;{number:,} {name}"
        for name, letter, colour in _TOTALS
        if (number := getattr(totals, name))
    )
    return f"{totals.jobs:,} job{'' if totals.jobs == 1 else 's'}&ensp;{states}"


def _footing(snapshot: Snapshot) -> str:
    lines = []
    if snapshot.mine is not None:
        lines.append(f"{escape(snapshot.me)}: {snapshot.mine.jobs:,} jobs")
    if snapshot.everyone is not None:
        everyone = snapshot.everyone
        lines.append(f"all users: {everyone.jobs:,} jobs, {everyone.running:,} running, {everyone.idle:,} idle")
    return f'<div style="{_FAINT};font-size:11px">{"&ensp;·&ensp;".join(lines)}</div>' if lines else ""


def _pill(letters: str, colour: str, title: str) -> str:
    return (
        f'<span title="{escape(title)}" style="display:inline-block;min-width:1em;padding:0 4px;border-radius:4px;'
        f"background:{colour};color:#fff;font:600 11px/16px monospace;text-align:center"
        f'">{escape(letters)}</span>'
    )


def _columns(*, nobatch: bool, held: bool) -> str:
    if nobatch:
        names = ("ID", "OWNER", "SUBMITTED", ">RUN_TIME", "ST", ">PRI", ">SIZE", "CMD")
    else:
        hold = (">HOLD",) if held else ()
        names = ("OWNER", "BATCH_NAME", "SUBMITTED", "", ">DONE", ">RUN", ">IDLE", *hold, ">TOTAL", "JOB_IDS")
    cells = "".join(
        f'<th style="{_RULE};padding:2px 10px;font-weight:600;white-space:nowrap;'
        f'text-align:{"right" if name.startswith(">") else "left"}">{name.removeprefix(">")}</th>'
        for name in names
    )
    return f'<thead style="border:0"><tr style="background:none">{cells}</tr></thead>'


def _row(cells: Iterable[tuple[str, str]]) -> str:
    inner = "".join(f'<td style="{style}">{content}</td>' for style, content in cells)
    return f'<tr style="{_LINE}">{inner}</tr>'


def _when(row: JobRow | BatchRow) -> str:
    return row.submitted.astimezone().strftime("%b %d %H:%M") if row.submitted else ""


def _job(row: JobRow) -> str:
    seconds = int(row.run_time.total_seconds())
    minutes, seconds = divmod(max(seconds, 0), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    clock = f"{f'{days} d ' if days else ''}{hours}:{minutes:02}:{seconds:02}"
    return _row(
        [
            (_LEFT, row.id),
            (_LEFT, escape(row.owner)),
            (_LEFT, _when(row)),
            (_RIGHT, clock if row.run_time else f'<span style="{_FAINT}">—</span>'),
            (_LEFT, _pill(row.state, _COLOURS.get(row.status, _IDLE), _STATES.get(row.status, "blocked or failed"))),
            (_RIGHT, str(row.priority)),
            (_RIGHT, "" if row.size_mb is None else f"{row.size_mb:,.1f}"),
            (_LONG, _shortened(row.command)),
        ]
    )


def _batch(row: BatchRow, *, held: bool) -> str:
    hold = [(_RIGHT, _number(row.hold, _HELD))] if held else []
    return _row(
        [
            (_LEFT, escape(row.owner)),
            (_LONG, _shortened(row.batch_name)),
            (_LEFT, _when(row)),
            (_LEFT, _bar(row)),
            (_RIGHT, _number(row.done, _DONE)),
            (_RIGHT, _number(row.run, _RUN)),
            (_RIGHT, _number(row.idle, _IDLE)),
            *hold,
            (_RIGHT, _number(row.total, "inherit")),
            (_LEFT, row.job_ids),
        ]
    )


def _shortened(text: str) -> str:
    return f'<span title="{escape(text, limit=2 * LONGEST)}">{escape(text)}</span>' if len(text) > 40 else escape(text)


def _number(number: int, colour: str) -> str:
    return f'<b style="color:{colour}">{number:,}</b>' if number else f'<span style="{_FAINT}">—</span>'


def _bar(row: BatchRow) -> str:
    """Return a bar of the batch's states, which the numbers beside it tell in words."""
    parts = ((row.done, _DONE), (row.run, _RUN), (row.hold, _HELD), (row.idle, _IDLE))
    whole = max(row.total, sum(number for number, _ in parts), 1)
    inner = "".join(
        f'<span style="width:{100 * number / whole:.4g}%;background:{colour}"></span>'
        for number, colour in parts
        if number
    )
    return (
        '<span style="display:inline-flex;width:84px;height:8px;border-radius:4px;overflow:hidden;'
        f'background:#8884;vertical-align:middle">{inner}</span>'
    )
