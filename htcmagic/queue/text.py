"""Rows to text: byte by byte what ``condor_q`` writes into a pipe."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from htcmagic.queue.batches import batches
from htcmagic.queue.rows import (
    JOB_PROJECTION,
    LETTERS,
    TRANSFERRING_OUTPUT,
    BatchRow,
    Row,
    Snapshot,
    Totals,
    whole,
    words,
)

_PRIORITY, _IMAGE, _MEMORY = (JOB_PROJECTION.index(name) for name in ("JobPrio", "ImageSize", "MemoryUsage"))
_BLANKS = " \t\n\v\f\r"
_RUNS = (2, 6, 7)
_WAITS = (1, 5, 9)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SHOWN = {
    **{code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\t\n"},
    **dict.fromkeys(range(0x80, 0xA0), "\ufffd"),
    0x7F: "\u2421",
}


def harmless(shown: str) -> str:
    """Return a text with the codes that would steer a terminal made visible; all else stays as it is."""
    return shown.translate(_SHOWN) if _CONTROL.search(shown) else shown


def render(snapshot: Snapshot, *, nobatch: bool) -> str:
    """Return what condor_q would write.

    Parameters
    ----------
    snapshot : Snapshot
        With rows of `JOB_PROJECTION` if `nobatch`, else of `BATCH_PROJECTION`.
    nobatch : bool
        One line a job in place of one a batch.
    """
    lines = job_lines(snapshot) if nobatch else batch_lines(batches(snapshot), snapshot.rows)
    return "\n".join(["", "", heading(snapshot), *lines, "", footer(snapshot), "", ""])


def heading(snapshot: Snapshot) -> str:
    """Return the line that tells the schedd and the time."""
    address, options, _ = snapshot.address.partition("?")
    stamp = time.strftime("%m/%d/%y %H:%M:%S", time.localtime(snapshot.time))
    return f"-- Schedd: {snapshot.schedd} : {address}{'?...' if options else ''} @ {stamp}"


def footer(snapshot: Snapshot) -> str:
    """Return the lines of totals."""
    lines = [("query", snapshot.query), (snapshot.me, snapshot.mine), ("all users", snapshot.everyone)]
    return " \n".join(_total(name, totals) for name, totals in lines if totals is not None)


def _total(name: str, totals: Totals) -> str:
    return (
        "Total for %s: %d jobs; %d completed, %d removed, %d idle, %d running, %d held, %d suspended"  # noqa: UP031
        % (name, *totals)
    )


def job_lines(snapshot: Snapshot) -> list[str]:
    """Return the header of the columns and a line a job."""
    rows = snapshot.rows
    cluster_width, proc_width, size_width = _widths(rows)
    priority_width = max([3, *(len(str(priority)) for priority in {row[_PRIORITY] for row in rows})])
    head = (
        f" ID{'':{cluster_width - 2}}{'':{proc_width}} {'OWNER':14}   SUBMITTED     RUN_TIME ST "
        f"{'PRI':{priority_width}} {'SIZE':{size_width}} CMD"
    )
    line = f"%{cluster_width}d.%-{proc_width}d %s %11s %s %s %-{priority_width}s %{size_width}.{size_width}s %s"
    now = snapshot.time
    owners, dates, names, durations = _Once(fit_owner), _Once(date), _Once(program_name), _Once(duration)
    states = _Once(lambda flags: state(*flags, now=now))
    sizes = _Once(size_text)
    lines = [head]
    add = lines.append
    # the hot loop: what jobs share is looked up, and nothing is called without need
    # fmt: off
    for (cluster, proc, status, _, owner, queued, start, last, taking, giving, waiting, cool, priority,
         image, memory, program, v1, v2, description, match) in rows:
        # fmt: on
        if (start and status in _RUNS) or (last and status in _WAITS):
            run = durations[run_seconds(status, start, last, now)]
        else:
            run = "  0+00:00:00"
        if type(v1) is str and v1 and v2 is None and description is None and match is None:
            command = f"{names[program]} {v1}"
        else:
            command = command_of(program, v1, v2, description, match)
        if priority is None:
            priority = "undefined"  # noqa: PLW2901
        flags, pair = states[status, taking, giving, waiting, cool], sizes[image, memory]
        text = line % (cluster, proc, owners[owner], dates[queued], run, flags, priority, pair, command)
        add(text if command and command[-1] not in _BLANKS else text.rstrip(_BLANKS))
    return lines


class _Once(dict[Any, str]):
    """What a function makes of each value, made once."""

    def __init__(self, make: Callable[[Any], str]) -> None:
        super().__init__()
        self.make = make

    def __missing__(self, value: object) -> str:
        self[value] = text = self.make(value)
        return text


def command_of(program: object, v1: object, v2: object, description: object, match: object) -> str:
    """Return what condor_q calls CMD: the program's name and arguments, or the job's description."""
    description = words(match if isinstance(match, str) else description)
    if description:
        return f"({description})"
    if not isinstance(program, str):
        return ""
    name = program_name(program)
    arguments = v2 if isinstance(v2, str) else v1
    return f"{name} {arguments}" if arguments and isinstance(arguments, str) else name


def program_name(program: object) -> str:
    """Return the last part of a path."""
    return words(program).rpartition("/")[2]


def run_seconds(status: object, start: object, last: object, now: int) -> int:
    """Return the length of the present run, of the last one for a job that waits, else 0."""
    if status in _RUNS and whole(start):
        return now - whole(start)
    return whole(last) if status in _WAITS else 0


def duration(seconds: int) -> str:
    """Return days+hours:minutes:seconds; below 0 every part is, as in C."""
    sign, seconds = (-1, -seconds) if seconds < 0 else (1, seconds)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{sign * days:3}+{sign * hours:02}:{sign * minutes:02}:{sign * seconds:02}"[:12]


def size_of(image_size: object, memory_usage: object) -> float | None:
    """Return the megabytes condor_q calls SIZE: the use if it is known, else the image's."""
    if isinstance(memory_usage, int | float):
        return float(whole(memory_usage))
    return whole(image_size) / 1024 if isinstance(image_size, int | float) else None


def _widths(rows: list[Row]) -> tuple[int, int, int]:
    """Return the widths of cluster, proc and size, which all three grow once one of the first two must."""
    if not rows:
        return 4, 3, 4
    cluster, proc = whole(rows[-1][0]), max(whole(proc) for proc in {row[1] for row in rows})
    owners = {row[4] for row in rows if isinstance(row[4], str)}
    if cluster < 9999 and proc < 999 and max((_bytes(owner) for owner in owners), default=0) <= 14:
        return 4, 3, 4
    sizes = [size_of(*pair) or 0.0 for pair in {(row[_IMAGE], row[_MEMORY]) for row in rows}]
    return (
        min(max(4, len(str(cluster))), 9),
        min(max(3, len(str(proc))), 9),
        max(4, len(f"{max(sizes):.1f}")),
    )


def size_text(pair: tuple[object, object]) -> str:
    """Return what stands in the SIZE column."""
    size = size_of(*pair)
    return "" if size is None else f"{size:.1f}"


def state(status: object, taking: object, giving: object, queued: object, cool: object, *, now: int) -> str:
    """Return the two letters of the ST column."""
    letters = LETTERS.get(whole(status), " ") + " "
    if giving is True or status == TRANSFERRING_OUTPUT:
        letters = "q>" if queued is True else " >"
    elif taking is True:
        letters = "<q" if queued is True else "< "
    return letters[0] + "c" if whole(cool) > now else letters


def date(when: object) -> str:
    """Return month/day hour:minute of epoch seconds."""
    if not isinstance(when, int | float):
        return ""
    try:
        local = time.localtime(when)
    except (ValueError, OverflowError):
        return ""
    return f"{local.tm_mon:2}/{local.tm_mday:<2} {local.tm_hour:02}:{local.tm_min:02}"


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogateescape"))


def fit_owner(owner: object) -> str:
    """Return what stands in the OWNER column of the jobs."""
    return fit(owner, 14)


def fit(text: object, width: int) -> str:
    """Return a text cut and filled to so many bytes, to the left."""
    if not isinstance(text, str):
        return "[" + "?" * (width - 2) + "]"
    if not text.isascii():
        text = text.encode("utf-8", "surrogateescape")[:width].decode("utf-8", "surrogateescape")
    return text[:width] + " " * (width - _bytes(text))


def batch_lines(rows: list[BatchRow], jobs: list[Row]) -> list[str]:
    """Return the header of the columns and a line a batch.

    Parameters
    ----------
    rows : list of BatchRow
        The lines.
    jobs : list of tuple
        What they were made of: a longer owner among the jobs folded away has made the column elastic.
    """
    if not rows:
        return ["OWNER BATCH_NAME      SUBMITTED   DONE   RUN    IDLE   HOLD  TOTAL JOB_IDS"]
    longest = max(_bytes(row.owner) for row in rows)
    widest = max(5, *(_bytes(owner) for owner in {words(job[4]) for job in jobs}))
    owner_width = longest if longest >= widest else max(8, longest)
    name_width = max(10, *(_bytes(row.batch_name) for row in rows))
    any_held = any(row.hold for row in rows)
    head = f"{'OWNER':{owner_width}} {'BATCH_NAME':{name_width}}    SUBMITTED   DONE   RUN    IDLE "
    lines = [f"{head}{'  HOLD ' if any_held else ''} TOTAL JOB_IDS"]
    for row in rows:
        submitted = date(row.submitted.timestamp()) if row.submitted else ""
        numbers = [row.done, row.run, row.idle, row.total]
        if any_held:
            numbers.insert(3, row.hold)
        counted = " ".join(f"{number or '_':>6}" for number in numbers)
        owner = fit(row.owner or None, owner_width)
        lines.append(f"{owner} {fit(row.batch_name, name_width)} {submitted:>12} {counted} {row.job_ids}")
    return lines
