"""One thread that follows the event logs of all clusters, and one that polls where there is no log.

Following a log costs the schedd nothing: the file is looked at with ``stat`` and, when it has grown, read by a child
process (the reader of logs is part of HTCondor's bindings, which never enter the kernel).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from htcmagic.errors import HTCMagicError
from htcmagic.jobs.model import Exit, Hold
from htcmagic.jobs.rundir import Record
from htcmagic.jobs.tracker import Tracker
from htcmagic.pool.client import Client, Door

LOOK_S = 0.1
"""How often a log is looked at while its jobs are active."""
POLL_S = (1.0, 15.0)
"""Shortest and longest time between two polls; doubled as long as nothing changes."""
LOG_MISSING_S = 10.0
"""A log that is not there this long after its cluster was sent will not come."""
READ_S = 60.0


class Followed(Protocol):
    """What the follower wants of a cluster."""

    record: Record
    tracker: Tracker

    def changed(self, procs: set[int]) -> None:
        """Be told that these jobs' states changed."""

    def tick(self) -> None:
        """Be told that time passes."""

    def lost(self, why: str) -> None:
        """Be told that the log cannot be followed any more and polling takes its place."""


class Log:
    """One event log, and how far it was read."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.size = -1
        self.inode = 0
        self.fresh = True
        self.born = time.monotonic()

    def look(self) -> str:
        """Return ``"same"``, ``"grown"``, ``"missing"`` or ``"broken"`` (deleted, replaced or cut short under us)."""
        try:
            info = Path(self.path).stat()
        except OSError:
            if self.size >= 0:
                return "broken"
            return "broken" if time.monotonic() - self.born > LOG_MISSING_S else "missing"
        if self.size >= 0 and (info.st_size < self.size or info.st_ino != self.inode):
            return "broken"
        if info.st_size == self.size:
            return "same"
        self.size, self.inode = info.st_size, info.st_ino
        return "grown"

    def complaint(self) -> str:
        """Say what is wrong with a broken log."""
        return f"{self.path} {'was deleted, replaced or cut short' if self.size >= 0 else 'does not appear'}"


class Follower:
    """Follows clusters until all their jobs have ended."""

    def __init__(self) -> None:
        self._logs: dict[Followed, Log] = {}
        self._polled: dict[Followed, Poll] = {}
        self._wake = threading.Condition()
        self._threads: dict[str, threading.Thread] = {}
        self._door = Door({**os.environ, "CONDOR_CONFIG": "ONLY_ENV"})

    def follow(self, cluster: Followed) -> None:
        """Begin to follow a cluster: by its log where there is one, else by polling."""
        with self._wake:
            if cluster.record.log:
                self._logs[cluster] = Log(cluster.record.log)
                self._run("htcmagic-follow", self._follow)
            else:
                self._polled[cluster] = Poll(cluster)
                self._run("htcmagic-poll", self._poll)
            self._wake.notify_all()

    def catch_up(self, cluster: Followed) -> None:
        """Read what the log holds right now, in the calling thread."""
        with self._wake:
            log = self._logs.get(cluster)
        if log is not None:
            self._read(cluster, log)

    def _run(self, name: str, work: Callable[[], None]) -> None:
        thread = self._threads.get(name)
        if thread is None or not thread.is_alive():
            self._threads[name] = threading.Thread(target=work, name=name, daemon=True)
            self._threads[name].start()

    def _follow(self) -> None:
        while True:
            with self._wake:
                while not self._logs:
                    self._wake.wait()
                logs = list(self._logs.items())
            for cluster, log in logs:
                self._read(cluster, log)
            time.sleep(LOOK_S)

    def _read(self, cluster: Followed, log: Log) -> None:
        try:
            seen = log.look()
            if seen == "broken":
                self._to_polling(cluster, log.complaint())
                return
            if seen == "grown":
                arguments = {"path": log.path, "restart": log.fresh}
                log.fresh = False
                events = self._door.call("events", None, READ_S, arguments)
                changed = cluster.tracker.apply(events)
                if changed:
                    cluster.changed(changed)
            cluster.tick()
        except HTCMagicError as error:
            self._to_polling(cluster, error.message)
            return
        if cluster.tracker.summary().final:
            with self._wake:
                self._logs.pop(cluster, None)
            self._door.call("forget", None, READ_S, {"path": log.path})

    def _to_polling(self, cluster: Followed, why: str) -> None:
        with self._wake:
            if self._logs.pop(cluster, None) is None:
                return
            self._polled[cluster] = Poll(cluster)
            self._run("htcmagic-poll", self._poll)
            self._wake.notify_all()
        cluster.lost(why)

    def _poll(self) -> None:
        while True:
            with self._wake:
                while not self._polled:
                    self._wake.wait()
                polled = list(self._polled.items())
            for cluster, poll in polled:
                if poll.due():
                    changed = poll.look(cluster.tracker)
                    if changed:
                        cluster.changed(changed)
                cluster.tick()
                if cluster.tracker.summary().final:
                    with self._wake:
                        self._polled.pop(cluster, None)
            time.sleep(LOOK_S)


class Poll:
    """Asks the schedd after one cluster, less often as long as nothing happens."""

    QUEUED = ("ProcId", "JobStatus", "HoldReason", "HoldReasonCode", "HoldReasonSubCode")
    ENDED = (
        "ProcId",
        "JobStatus",
        "ExitCode",
        "ExitBySignal",
        "ExitSignal",
        "LastRemoteHost",
        "JobCurrentStartDate",
        "CompletionDate",
        "RemoveReason",
        "EnteredCurrentStatus",
    )

    def __init__(self, cluster: Followed) -> None:
        self.constraint = f"ClusterId == {cluster.record.cluster}"
        self.client = Client(cluster.record.pool)  # of its own: a slow answer must not make the user wait
        self.every_s = POLL_S[0]
        self.next = 0.0

    def due(self) -> bool:
        """Whether it is time to ask again."""
        return time.monotonic() >= self.next

    def look(self, tracker: Tracker) -> set[int]:
        """Ask, and return the procs that changed; a schedd that does not answer is asked again later."""
        try:
            rows = self.client.query(self.constraint, self.QUEUED).rows
            changed = tracker.poll(_queued(row) for row in rows)
            gone = {p for p in range(tracker.procs) if not tracker.state(p).final} - {int(str(row[0])) for row in rows}
            if gone:
                ended = self.client.history(self.constraint, self.ENDED)
                changed |= tracker.poll(_ended(row) for row in ended if row[0] in gone)
        except HTCMagicError:
            changed = set()
        self.every_s = POLL_S[0] if changed else min(self.every_s * 1.5, POLL_S[1])
        self.next = time.monotonic() + self.every_s
        return changed


def _queued(row: tuple[object, ...]) -> tuple[int, int, Hold | None, Exit | None, str]:
    proc, status, reason, code, subcode = row
    hold = Hold(str(reason or ""), int(str(code or 0)), int(str(subcode or 0))) if status == 5 else None
    return int(str(proc)), int(str(status)), hold, None, ""


def _ended(row: tuple[object, ...]) -> tuple[int, int, Hold | None, Exit | None, str]:
    proc, status, code, by_signal, signal, host, started, ended, reason, entered = row
    exited = None
    if status == 4:
        exited = Exit(
            None if by_signal else int(str(code or 0)),
            int(str(signal or 0)) if by_signal else None,
            str(host or ""),
            float(str(started)) if started else None,
            float(str(ended or entered or 0)),
        )
    return int(str(proc)), int(str(status)), None, exited, str(reason or "")


_follower: Follower | None = None


def follower() -> Follower:
    """Return this process's follower."""
    global _follower  # noqa: PLW0603
    if _follower is None:
        _follower = Follower()
    return _follower


def readable(path: str) -> bool:
    """Whether an event log can be, or could become, readable on this machine."""
    return bool(path) and Path(path).parent.is_dir()
