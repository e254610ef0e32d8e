"""An event log as a table: what happened to which job, and when."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from htcmagic.errors import HTCMagicError
from htcmagic.jobs.display import clean
from htcmagic.jobs.tracker import ABORTED, CLUSTER_REMOVE, EXECUTE, HELD, SUBMIT, TERMINATED
from htcmagic.pool.client import Door
from htcmagic.queue.listing import Listing, Record

COLUMNS = ("TIME", "JOB", "EVENT", "DETAILS")
EVENTS = {
    0: "submitted",
    1: "started",
    2: "could not start",
    3: "checkpointed",
    4: "evicted",
    5: "ended",
    6: "grew",
    7: "failed to run",
    8: "note",
    9: "removed",
    10: "suspended",
    11: "continued",
    12: "held",
    13: "released",
    14: "node started",
    15: "node ended",
    16: "post script ended",
    21: "remote error",
    22: "disconnected",
    23: "reconnected",
    24: "not reconnected",
    27: "sent to grid",
    28: "ad",
    33: "changed",
    35: "cluster submitted",
    36: "cluster removed",
    37: "factory paused",
    38: "factory resumed",
    40: "transfer",
}
IMAGE_SIZE, CLUSTER_SUBMIT = 6, 35
READ_S = 60.0
LOOK_S = 0.2
TAIL = 30
"""Events drawn of a log that is being followed; the earlier ones are counted."""
LONGEST = 300


class EventLog:
    """A log, and what was read of it so far.

    Parameters
    ----------
    path : Path
        The log.
    cluster : int
        Only this cluster's events; 0 for all.
    """

    def __init__(self, path: Path, cluster: int = 0) -> None:
        self.path = path
        self.cluster = cluster
        self.rows: list[Record] = []
        self._open: set[tuple[int, int]] = set()
        self._seen = False
        self._stamp: tuple[int, int, int] | None = None
        self._door = Door({**os.environ, "CONDOR_CONFIG": "ONLY_ENV"})

    def read(self) -> list[Record]:
        """Take in what is new, and return that.

        Raises
        ------
        HTCMagicError
            The log is not there, is no event log, or was deleted, replaced or cut short.
        """
        before = self._stamp
        try:
            info = self.path.stat()
        except OSError as error:
            raise HTCMagicError(
                f"The event log {self.path} cannot be read: {error.strerror}.",
                hint="What is known of the jobs otherwise: %condor_q, %condor_history",
            ) from None
        if not self.path.is_file():
            raise HTCMagicError(f"{self.path} is no file, so no event log.", hint="Logs of my clusters: %condor_jobs")
        stamp = (info.st_dev, info.st_ino, info.st_size)
        if stamp == before:
            return []
        if before is not None and (stamp[:2] != before[:2] or stamp[2] < before[2]):
            raise HTCMagicError(
                f"The event log {self.path} was replaced or cut short while it was followed.", hint="Start again."
            )
        if before is None and stamp[2]:
            _must_be_a_log(self.path)
        self._stamp = stamp
        told = self._door.call("told", None, READ_S, {"path": str(self.path), "restart": before is None})
        new = [row for kind, *event in told if (row := self._row(kind, *event)) is not None]
        self.rows += new
        return new

    @property
    def ended(self) -> bool:
        """Whether every job that the log tells of has ended."""
        return self._seen and not self._open

    def table(self, *, last: int = 0) -> Listing:
        """Return the events as a table, or the last ones of them."""
        shown = self.rows[-last:] if last else self.rows
        left = len(self.rows) - len(shown)
        note = f"{left:,} earlier event{'' if left == 1 else 's'} not shown" if left else ""
        name = clean(str(self.path), LONGEST)
        return Listing(text(shown), columns=COLUMNS, rows=shown, title=name, note=note, seconds=True)

    def close(self) -> None:
        """End the process that reads."""
        self._door.close()

    def _row(
        self, kind: int, cluster: int, proc: int, when: float, said: str, values: Mapping[str, Any]
    ) -> Record | None:
        if self.cluster and cluster != self.cluster:
            return None
        self._seen = True
        if kind in {TERMINATED, ABORTED}:
            self._open.discard((cluster, proc))
        elif kind == SUBMIT:
            self._open.add((cluster, proc))
        elif kind == CLUSTER_SUBMIT:  # its jobs are made bit by bit
            self._open.add((cluster, -1))
        elif kind == CLUSTER_REMOVE:
            self._open = {job for job in self._open if job[0] != cluster}
        return {
            "TIME": datetime.fromtimestamp(when, UTC),
            "JOB": f"{cluster}.{proc}" if proc >= 0 else str(cluster),
            "EVENT": EVENTS.get(kind, f"event {kind}"),
            "DETAILS": clean(details(kind, said, values), LONGEST),
        }


def details(kind: int, said: str, values: Mapping[str, Any]) -> str:
    """Return what an event says beside its kind, in a line."""
    known = {
        SUBMIT: lambda: f"from {_host(values.get('SubmitHost'))}",
        EXECUTE: lambda: f"on {values.get('SlotName') or _host(values.get('ExecuteHost'))}",
        TERMINATED: lambda: (
            f"exit code {values.get('ReturnValue')}"
            if values.get("TerminatedNormally")
            else f"signal {values.get('TerminatedBySignal')}"
        ),
        HELD: lambda: f"{values.get('HoldReason', '')} (code {values.get('HoldReasonCode', 0)})",
        IMAGE_SIZE: lambda: f"memory {values.get('MemoryUsage', '?')} MB",
    }
    if kind in known:
        return known[kind]()
    return str(values.get("Reason") or values.get("Message") or " ".join(said.split()))


def text(rows: Sequence[Record]) -> str:
    """Return events as lines, in the time of this place."""
    head = [*COLUMNS]
    body = [[_clock(row["TIME"]), *(str(row[name]) for name in COLUMNS[1:])] for row in rows]
    widths = [max(len(line[at]) for line in [head, *body]) for at in range(3)]
    lines = ["  ".join([*(line[at].ljust(widths[at]) for at in range(3)), line[3]]).rstrip() for line in [head, *body]]
    return "\n".join(lines)


def line_of(row: Record) -> str:
    """Return one event as a line, for a terminal."""
    return f"{_clock(row['TIME'])}  {row['JOB']!s:<10}  {row['EVENT']!s:<12}  {row['DETAILS']}".rstrip()


def pause() -> None:
    """Wait until it is worth to look again."""
    time.sleep(LOOK_S)


def _clock(when: object) -> str:
    return when.astimezone().strftime("%Y-%m-%d %H:%M:%S") if isinstance(when, datetime) else ""


def _host(sinful: object) -> str:
    """Return the host of an address like ``<10.0.0.1:9618?addrs=…&alias=ap1.example.org>``."""
    whole = str(sinful or "?").strip("<>")
    alias = [part.removeprefix("alias=") for part in whole.partition("?")[2].split("&") if part.startswith("alias=")]
    return alias[0] if alias else whole.partition("?")[0]


def _must_be_a_log(path: Path) -> None:
    """HTCondor's reader finds no event in any other file, and says nothing."""
    try:
        with path.open("rb") as file:
            begun = file.read(64)
    except OSError as error:
        raise HTCMagicError(f"The event log {path} cannot be read: {error.strerror}.") from None
    if not (begun[:3].isdigit() and begun[3:5] == b" (") and not begun.lstrip().startswith((b"<", b"{")):
        raise HTCMagicError(
            f"{path} is no event log of HTCondor's.", hint="Logs of my clusters: %condor_log CLUSTER; %condor_jobs"
        )
