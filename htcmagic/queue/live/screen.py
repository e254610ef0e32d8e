"""A live table in a terminal: drawn anew on a screen of its own until Ctrl-C, or once where there is no terminal."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
import unicodedata
from collections.abc import Sequence
from typing import TextIO

from htcmagic.jobs.display import clean
from htcmagic.queue.live.html import BAR, age, columns, percent, title, totals
from htcmagic.queue.live.model import LiveBatch, LiveJob, LiveTable
from htcmagic.queue.live.source import LiveSource

REDRAW_S = 1.0
"""Longest time between two drawings: the age goes on."""
SHORTEST_S = 0.25
WIDE = 120
"""Columns where there is no terminal."""
NARROWEST = 24
LONGEST_NAME, SHORT_NAME, SHORTEST_NAME = 40, 16, 6
FOR_STARTED, FOR_HOST = 45, 75
"""Columns that a screen needs to show when a job has started, and where."""
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?1049l\x1b[?25h"
_CODES = {"done": "32", "running": "34", "held": "33", "suspended": "35", "failed": "31", "removed": "90", "idle": "2"}
_BLOCKS = {"idle": "░", "held": "▒", "suspended": "▒", "running": "▓"}
_HEADS = {"done": "DONE", "running": "RUN", "idle": "IDLE", "held": "HELD", "suspended": "SUSP", "failed": "FAIL"}


def lines(
    table: LiveTable,
    width: int = WIDE,
    height: int = 0,
    *,
    colours: bool = False,
    ended: str = "",
    now: float | None = None,
) -> list[str]:
    """Return a table as lines of text.

    Parameters
    ----------
    table : LiveTable
        What is known.
    width : int
        Columns of the screen; columns of the table are left out until it fits.
    height : int
        Lines of the screen; 0: as many as it takes.
    colours : bool
        Colour it by a terminal's codes.
    ended : str
        Why the view is no longer live; empty if it is.
    now : float, optional
        Seconds since 1970; the present time if not given.
    """
    width = max(width, NARROWEST)
    drawn = _heading(table, width, ended, time.time() if now is None else now)
    room = height - len(drawn) - 3 if height else sys.maxsize
    if table.nobatch:
        jobs: list[LiveJob] = []
        for batch in table.batches:
            jobs += batch.jobs(max(room - len(jobs), 0) if height else None)
        number = sum(len(batch.letters) for batch in table.batches)
        body = [_job(job, width, colours=colours) for job in jobs[: max(room, 0)]]
        left, noun = number - len(body), "jobs"
        head = [_job_line("ID", "ST", "STARTED", "HOST", "WHY OR WHAT", width)] if jobs else []
    else:
        head, groups = _batches(table.batches, width, colours=colours)
        body = []
        left, noun = len(groups), "batches"
        for group in groups:
            if len(body) + len(group) > room:
                break
            body += group
            left -= 1
    more = [_fitted(f"… and {left:,} more {noun}", width)] if left > 0 else []
    return [*drawn, *head, *body, *more]


def _heading(table: LiveTable, width: int, ended: str, now: float) -> list[str]:
    counts = totals(table.batches)
    told = ", ".join(f"{counts[state]:,} {state}" for state in BAR if counts[state]) or "no jobs"
    clock = time.strftime("%H:%M:%S", time.localtime(table.seen)) if table.seen else "no answer yet"
    when = f"{age(table, now)} old" if table.stale and table.seen else clock
    where = clean(table.where, LONGEST_NAME) or "own clusters"
    heading = [_fitted(" · ".join(part for part in (where, when, told, ended) if part), width)]
    if table.note:
        heading.append(_fitted(f"! {clean(table.note, 300)}", width))
    return heading


def _batches(batches: Sequence[LiveBatch], width: int, *, colours: bool) -> tuple[list[str], list[list[str]]]:
    if not batches:
        return [], []
    states = columns(batches)
    owners = len({batch.owner for batch in batches}) > 1
    rows = [_cells(batch, states) for batch in batches]
    heads = ["BATCH", "OWNER", "SUBMITTED", "PROGRESS", "", *(_HEADS.get(s, "GONE") for s in states), "TOTAL", "JOBS"]
    number = len(heads)
    widths = [max(_wide(row[i]) for row in [heads, *rows]) for i in range(number)]
    widths[0], widths[3] = min(widths[0], LONGEST_NAME), 12
    shown = [i for i in range(number) if owners or i != 1]
    for leave in (number - 1, 2, 0, 1, 3, number - 2, 4):  # what is least missed goes first
        if not leave:  # the end of long names
            widths[0] = max(min(widths[0], SHORT_NAME), widths[0] - max(0, _total(widths, shown) - width))
        elif _total(widths, shown) > width and leave in shown:
            shown.remove(leave)
    widths[0] = max(min(widths[0], SHORTEST_NAME), widths[0] - max(0, _total(widths, shown) - width))
    while _total(widths, shown) > width and len(shown) > 2:
        shown.pop()
    right = {4, *range(5, number - 1)}

    def drawn(row: Sequence[str]) -> str:
        return "  ".join(_padded(row[i], widths[i], right=i in right) for i in shown)

    groups = []
    for batch, row in zip(batches, rows, strict=True):
        text = _fitted(drawn(row), width).rstrip()
        if 3 in shown:
            text = text.replace(row[3], _bar(batch, widths[3], colours=colours), 1)
        hold = [_coloured(_fitted(f"    held: {clean(batch.hold, 300)}", width), "held", on=colours)]
        groups.append([text, *(hold if batch.hold else [])])
    return [_fitted(drawn(heads), width).rstrip()], groups


def _cells(batch: LiveBatch, states: Sequence[str]) -> list[str]:
    submitted = time.strftime("%m/%d %H:%M", time.localtime(batch.submitted)) if batch.submitted else ""
    counts = [f"{batch.counts[state]:,}" if batch.counts.get(state) else "_" for state in states]
    name, owner = clean(title(batch), 200), clean(batch.owner, 20)
    return [name, owner, submitted, "\0" * 12, percent(batch), *counts, f"{batch.total:,}", clean(batch.ids, 60)]


def _bar(batch: LiveBatch, wide: int, *, colours: bool) -> str:
    """Return a bar of as many cells; none of its states is so small that it is not seen."""
    whole = max(batch.total, sum(batch.counts.values()), 1)
    cells = {state: max(1, wide * n // whole) for state in BAR if (n := batch.counts.get(state, 0))}
    while sum(cells.values()) > wide:
        greatest = max(cells, key=cells.__getitem__)
        cells[greatest] -= 1
    if cells and sum(cells.values()) < wide and sum(batch.counts.values()) >= whole:
        greatest = max(cells, key=lambda state: batch.counts.get(state, 0))
        cells[greatest] += wide - sum(cells.values())
    drawn = "".join(_coloured(_BLOCKS.get(state, "█") * number, state, on=colours) for state, number in cells.items())
    return drawn + " " * (wide - sum(cells.values()))


def _job(job: LiveJob, width: int, *, colours: bool) -> str:
    started = time.strftime("%H:%M:%S", time.localtime(job.started)) if job.started else ""
    told = clean(job.reason or job.command, 300)
    text = _job_line(job.id, job.state[:4], started, clean(job.host, 60), told, width)
    return _coloured(text, job.state, on=colours and job.state in {"held", "failed"})


def _job_line(number: str, state: str, started: str, host: str, told: str, width: int) -> str:
    """Return the cells of one job, those left out first that are least missed."""
    middle = [f"{started:<8}"] if width >= FOR_STARTED else []
    middle += [_padded(host, 24)] if width >= FOR_HOST else []
    return _fitted("  ".join([f"{number:<10} {state:<4}", *middle, told]), width).rstrip()


def _coloured(text: str, state: str, *, on: bool) -> str:
    return f"\x1b[{_CODES[state]}m{text}\x1b[0m" if on else text


def _total(widths: Sequence[int], shown: Sequence[int]) -> int:
    return sum(widths[i] for i in shown) + 2 * (len(shown) - 1)


def _wide(text: str) -> int:
    """Return how many cells of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _fitted(text: str, width: int) -> str:
    if _wide(text) <= width:
        return text
    kept, room = [], width - 1
    for character in text:
        room -= _wide(character)
        if room < 0:
            break
        kept.append(character)
    return "".join(kept) + "…"


def _padded(text: str, width: int, *, right: bool = False) -> str:
    text = _fitted(text, width)
    blanks = " " * (width - _wide(text))
    return blanks + text if right else text + blanks


def live(stream: TextIO) -> bool:
    """Whether a stream is a terminal that can be drawn on again and again."""
    return stream.isatty() and os.environ.get("TERM", "dumb") not in {"dumb", ""}


def watch(source: LiveSource, stream: TextIO | None = None) -> None:
    """Draw until all that is watched has ended, or Ctrl-C; without a terminal, draw once.

    Parameters
    ----------
    source : LiveSource
        Not yet started; it is closed in the end.
    stream : text stream, optional
        Standard output if not given.
    """
    stream = stream or sys.stdout
    changed = threading.Event()
    source.start(changed.set)
    ended = ""
    try:
        if live(stream):
            ended = _redraw(source, stream, changed)
        else:
            _first_answer(source, changed)
    finally:
        source.close()
    if not live(stream):
        stream.write("\n".join([*lines(source.table()), ""]))
    else:
        width = shutil.get_terminal_size().columns
        stream.write("\n".join([*lines(source.table(), width, colours=True, ended=ended), ""]))
    stream.flush()


def _first_answer(source: LiveSource, changed: threading.Event, within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not source.table().seen and not source.table().note and time.monotonic() < deadline:
        changed.wait(0.1)
        changed.clear()


def _redraw(source: LiveSource, stream: TextIO, changed: threading.Event) -> str:
    stream.write(_ENTER)
    try:
        while True:
            changed.clear()
            table = source.table()
            size = shutil.get_terminal_size()
            shown = lines(table, size.columns, size.lines, colours=True)
            foot = "Ctrl-C ends the view; the jobs go on."
            shown = [*shown, *[""] * (size.lines - len(shown) - 1), _fitted(foot, size.columns)][: size.lines]
            stream.write("\x1b[H" + "\n".join(f"{text}\x1b[K" for text in shown) + "\x1b[J")
            stream.flush()
            if table.finished:
                return "all ended"
            time.sleep(SHORTEST_S)
            changed.wait(REDRAW_S - SHORTEST_S)
    except KeyboardInterrupt:
        return "stopped"
    finally:
        stream.write(_LEAVE)
        stream.flush()
