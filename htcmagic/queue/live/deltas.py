"""A live table for the browser: everything once, then only what has changed.

The browser gets all it needs to sort, filter and open batches by itself, since a kernel answers it only between two
cells: a letter for each job, and what is known of jobs in states that somebody wants to look into.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from htcmagic.queue.live.model import LiveBatch, LiveJob, LiveTable

FEW = 500
"""Batches with so many jobs are told completely."""
TELLING = ("held", "failed", "suspended", "running", "removed")
"""In greater ones, jobs in these states are."""
PIECE = 256
REST = 20.0
"""So many times longer than it took to look at a batch's jobs, they are not looked at again."""
LONGEST_NAME, LONGEST_REASON, LONGEST_HOST = 400, 1000, 120

Info = tuple[float | None, float | None, str, str, str]
"""Submitted, started, host, reason, command."""


class Deltas:
    """What one browser knows, and how to bring it up to date."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, Any]] = {}
        self._jobs: dict[str, _Jobs] = {}
        self._order: list[str] = []
        self._number = 0
        self.late = False
        """Whether some jobs' details were put off: ask again soon, though nothing changes."""

    def forget(self) -> None:
        """Tell everything next time."""
        self._rows, self._jobs, self._order, self._number = {}, {}, [], 0

    def message(self, table: LiveTable, ended: str = "") -> dict[str, Any]:
        """Return what is new, in plain Python.

        Parameters
        ----------
        table : LiveTable
            What is known now.
        ended : str
            Why the view is no longer live; empty if it is.
        """
        said = heading(table, ended) | {"kind": "table", "number": self._number}
        self._number += 1
        order = [batch.key for batch in table.batches]
        if order != self._order or not said["number"]:
            said["order"] = self._order = order
            for gone in self._rows.keys() - set(order):
                self._rows.pop(gone)
                self._jobs.pop(gone, None)
        rows, jobs = [], []
        self.late = False
        for batch in table.batches:
            new = row(batch)
            if self._rows.get(batch.key) != new:
                self._rows[batch.key] = new
                rows.append(new)
            known = self._jobs.setdefault(batch.key, _Jobs())
            change = known.change(batch)
            self.late |= known.late
            if change:
                jobs.append({"key": batch.key, **change})
        return said | {"rows": rows, "jobs": jobs}


def heading(table: LiveTable, ended: str = "") -> dict[str, Any]:
    """Return what stands above the table; times by this machine's clock, `now` to compare it with the browser's."""
    return {
        "kind": "seen",
        "now": time.time(),
        "seen": table.seen,
        "stale": table.stale,
        "note": _cut(table.note, LONGEST_REASON),
        "where": _cut(table.where, LONGEST_NAME),
        "finished": table.finished,
        "ended": ended,
        "nobatch": table.nobatch,
    }


def row(batch: LiveBatch) -> dict[str, Any]:
    """Return a batch's line."""
    return {
        "key": batch.key,
        "name": _cut(batch.name, LONGEST_NAME),
        "owner": _cut(batch.owner, LONGEST_NAME),
        "submitted": batch.submitted,
        "ids": batch.ids,
        "own": batch.own,
        "total": batch.total,
        "counts": {state: number for state, number in batch.counts.items() if number},
        "hold": _cut(batch.hold, LONGEST_REASON),
        "progress": batch.progress,
    }


class _Jobs:
    """What is known of one batch's jobs."""

    def __init__(self) -> None:
        self._spans: tuple[tuple[int, int, int], ...] | None = None
        self._letters = ""
        self._infos: dict[int, Info] = {}
        self._next = 0.0
        self.late = False

    def change(self, batch: LiveBatch) -> dict[str, Any]:
        said: dict[str, Any] = {}
        before, anew = self._letters, batch.spans != self._spans
        if anew:
            said |= {"spans": batch.spans, "letters": packed(batch.letters)}
            self._infos = {}
        elif before != batch.letters:
            said["set"] = list(changes(before, batch.letters))
        if not anew and before == batch.letters and not self.late:
            return said
        self._spans, self._letters = batch.spans, batch.letters
        self.late = time.monotonic() < self._next and not anew
        if self.late:
            return said
        began = time.monotonic()
        infos = _infos(batch)
        new = {index: info for index, info in infos.items() if self._infos.get(index) != info}
        self._infos = infos
        if new:
            said["infos"] = list(runs(new))
        self._next = time.monotonic() + REST * (time.monotonic() - began)
        return said


def _infos(batch: LiveBatch) -> dict[int, Info]:
    if len(batch.letters) <= FEW:
        return dict(enumerate(map(_info, batch.jobs())))
    starts: dict[str, list[tuple[int, int, int]]] = {}
    offset = 0
    for number, first, jobs in batch.spans:
        starts.setdefault(str(number), []).append((first, jobs, offset))
        offset += jobs
    states = [state for state in TELLING if batch.counts.get(state)]
    found = {}
    for job in batch.jobs(None, 0, states) if states else ():
        cluster, _, proc = job.id.partition(".")
        for first, jobs, at in starts.get(cluster, ()):
            if first <= int(proc) < first + jobs:
                found[at + int(proc) - first] = _info(job)
    return found


def _info(job: LiveJob) -> Info:
    return (
        job.submitted,
        job.started,
        _cut(job.host, LONGEST_HOST),
        _cut(job.reason, LONGEST_REASON),
        _cut(job.command, LONGEST_NAME),
    )


def packed(letters: str) -> list[list[Any]]:
    """Return a text as runs of equal letters.

    Examples
    --------
    >>> packed("IIIR")
    [[3, 'I'], [1, 'R']]
    """
    found: list[list[Any]] = []
    for letter in letters:
        if found and found[-1][1] == letter:
            found[-1][0] += 1
        else:
            found.append([1, letter])
    return found


def changes(before: str, after: str) -> Iterator[tuple[int, str]]:
    """Return where a text has changed, and to what.

    Examples
    --------
    >>> list(changes("IIII", "IRRI")), list(changes("I", "IDD"))
    ([(1, 'RR')], [(1, 'DD')])
    """
    start = -1
    for piece in range(0, len(after), PIECE):
        old, new = before[piece : piece + PIECE], after[piece : piece + PIECE]
        if old == new:
            if start >= 0:
                yield start, after[start:piece]
                start = -1
            continue
        for offset, letter in enumerate(new):
            same = offset < len(old) and old[offset] == letter
            if not same and start < 0:
                start = piece + offset
            elif same and start >= 0:
                yield start, after[start : piece + offset]
                start = -1
    if start >= 0:
        yield start, after[start:]


def runs(infos: Mapping[int, Info]) -> Iterator[Sequence[Any]]:
    """Return what is known of jobs, neighbours of which the same is known taken together: index, number, what."""
    first, number, last = 0, 0, None
    for index in sorted(infos):
        if last is not None and infos[index] == last and index == first + number:
            number += 1
            continue
        if last is not None:
            yield [first, number, *last]
        first, number, last = index, 1, infos[index]
    if last is not None:
        yield [first, number, *last]


def _cut(text: str, longest: int) -> str:
    if not text.isascii():  # halves of characters cannot be sent
        text = text.encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= longest else text[: longest - 1] + "…"
