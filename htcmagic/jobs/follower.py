"""One thread that follows the event logs of all clusters, and one that polls where there is no log.

Following a log costs the schedd nothing: the file is looked at with ``stat`` and, when it has grown, read by a child
process (the reader of logs is part of HTCondor's bindings, which never enter the kernel).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from htcmagic.errors import HTCMagicError, PoolError
from htcmagic.jobs.model import Exit, Hold
from htcmagic.jobs.rundir import Record
from htcmagic.jobs.tracker import Event, Seen, Tracker
from htcmagic.pool.address import Pool
from htcmagic.pool.client import Client, Door

LOOK_S = 0.1
"""How often a log is looked at while its jobs are active."""
POLL_S = (1.0, 15.0)
"""Shortest and longest time between two polls; doubled as long as nothing changes."""
LOG_MISSING_S = 10.0
"""A log that is not there this long after its cluster was sent will not come."""
READ_S = 60.0
UNTRACED = 8
"""Polls in a row that find a job nowhere before it is given up."""
_readers = itertools.count()


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
    """One cluster's event log, and how far it was read."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.reader = next(_readers)
        self.lock = threading.Lock()
        self.born = time.monotonic()
        self.known = False
        self.regular = True
        self.restart()

    def restart(self) -> None:
        """Read it from its beginning next time."""
        self.size = -1
        self.inode = 0
        self.fresh = True

    def look(self) -> str:
        """Return ``"same"``, ``"grown"``, ``"missing"`` or ``"broken"`` (deleted, replaced or cut short under us)."""
        try:
            info = Path(self.path).stat()
        except OSError:
            return "broken" if self.known or time.monotonic() - self.born > LOG_MISSING_S else "missing"
        self.known = self.regular = stat.S_ISREG(info.st_mode)
        if not self.regular:
            return "broken"
        if self.size >= 0 and (info.st_size < self.size or info.st_ino != self.inode):
            return "broken"
        if info.st_size == self.size:
            return "same"
        self.size, self.inode = info.st_size, info.st_ino
        return "grown"

    def complaint(self) -> str:
        """Say what is wrong with a broken log."""
        if not self.regular:
            return f"{self.path} is no file to read"
        return f"{self.path} {'was deleted, replaced or cut short' if self.known else 'does not appear'}"


class Follower:
    """Follows clusters until all their jobs have ended."""

    def __init__(self) -> None:
        self._logs: dict[Followed, Log] = {}
        self._polled: dict[Followed, Poll] = {}
        self._wake = threading.Condition()
        self._threads: dict[str, threading.Thread] = {}
        self._door = Door({**os.environ, "CONDOR_CONFIG": "ONLY_ENV"})
        self._clients: dict[Pool, Client] = {}

    def follow(self, cluster: Followed) -> None:
        """Begin to follow a cluster: by its log where there is one, else by polling."""
        with self._wake:
            if cluster.record.log:
                self._logs[cluster] = Log(cluster.record.log)
                self._run("htcmagic-follow", self._follow)
                self._wake.notify_all()
            else:
                self._start_polling(cluster)

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
                try:
                    self._read(cluster, log)
                except Exception as error:  # noqa: BLE001 - one cluster's trouble must not stop the others
                    self._to_polling(cluster, f"Following the log failed ({error})")
            time.sleep(LOOK_S)

    def _read(self, cluster: Followed, log: Log) -> None:
        with log.lock:
            seen = log.look()
            if seen == "broken":
                self._to_polling(cluster, log.complaint())
                return
            try:
                changed = cluster.tracker.apply(self._events(log)) if seen == "grown" else set()
            except HTCMagicError as error:
                self._to_polling(cluster, error.message.rstrip("."))
                return
        if changed:
            cluster.changed(changed)
        cluster.tick()
        if cluster.tracker.summary().final:
            with self._wake:
                followed = self._logs.pop(cluster, None)
            if followed is not None:
                self._door.call("forget", None, READ_S, {"reader": log.reader})

    def _events(self, log: Log) -> list[Event]:
        """Return what is new; after the reading process was killed, everything anew."""
        arguments: dict[str, Any] = {"path": log.path, "reader": log.reader}
        fresh, log.fresh = log.fresh, False
        try:
            events: list[Event] = self._door.call("events", None, READ_S, {**arguments, "restart": fresh})
        except PoolError as error:
            if not error.transient:
                raise
            events = self._door.call("events", None, READ_S, {**arguments, "restart": True})
        return events

    def _to_polling(self, cluster: Followed, why: str) -> None:
        with self._wake:
            if self._logs.pop(cluster, None) is None:
                return
            self._start_polling(cluster)
        cluster.lost(why)

    def _start_polling(self, cluster: Followed) -> None:
        pool = cluster.record.pool
        if pool not in self._clients:
            self._clients[pool] = Client(pool)  # not the user's own: a slow answer must not make them wait
        self._polled[cluster] = Poll(cluster, self._clients[pool])
        self._run("htcmagic-poll", self._poll)
        self._wake.notify_all()

    def _poll(self) -> None:
        while True:
            with self._wake:
                while not self._polled:
                    self._wake.wait()
                polled = list(self._polled.items())
            for cluster, poll in polled:
                with contextlib.suppress(Exception):  # one cluster's trouble must not stop the others
                    self._ask(cluster, poll)
            time.sleep(LOOK_S)

    def _ask(self, cluster: Followed, poll: Poll) -> None:
        if poll.due():
            changed = poll.look(cluster.tracker)
            if changed:
                cluster.changed(changed)
        if cluster.tracker.summary().final:
            with self._wake:
                self._polled.pop(cluster, None)
        cluster.tick()


class Poll:
    """Asks the schedd after one cluster, less often as long as nothing happens."""

    WANTED = (
        "ProcId",
        "JobStatus",
        "HoldReason",
        "HoldReasonCode",
        "HoldReasonSubCode",
        "ExitCode",
        "ExitBySignal",
        "ExitSignal",
        "LastRemoteHost",
        "JobCurrentStartDate",
        "CompletionDate",
        "RemoveReason",
        "EnteredCurrentStatus",
    )

    def __init__(self, cluster: Followed, client: Client) -> None:
        self.constraint = f"ClusterId == {cluster.record.cluster}"
        self.client = client
        self.every_s = POLL_S[0]
        self.next = 0.0
        self._untraced = 0

    def due(self) -> bool:
        """Whether it is time to ask again."""
        return time.monotonic() >= self.next

    def look(self, tracker: Tracker) -> set[int]:
        """Ask, and return the procs that changed; a schedd that does not answer is asked again later."""
        try:
            changed = self._look(tracker)
        except HTCMagicError:
            changed = set()
        self.every_s = POLL_S[0] if changed else min(self.every_s * 1.5, POLL_S[1])
        self.next = time.monotonic() + self.every_s
        return changed

    def _look(self, tracker: Tracker) -> set[int]:
        rows = self.client.query(self.constraint, self.WANTED).rows
        changed = tracker.poll(_seen(row) for row in rows)
        queued = {_int(row[0]) for row in rows}
        made = max(queued) + 1 if queued else tracker.procs  # the others are still to be materialized
        gone = {proc for proc in range(made) if not tracker.state(proc).final} - queued
        if gone:
            ended = self.client.history(self.constraint, self.WANTED)
            changed |= tracker.poll(_seen(row) for row in ended if row[0] in gone)
        self._untraced = self._untraced + 1 if gone and not changed and not queued else 0
        if self._untraced >= UNTRACED:
            changed |= tracker.poll((p, 3, None, None, "it is in neither the queue nor the history") for p in gone)
        return changed


def _seen(row: tuple[object, ...]) -> Seen:
    proc, status, reason, hold_code, subcode, code, by_signal, signal, host, started, ended, removed, entered = row
    hold = Hold(str(reason or ""), _int(hold_code), _int(subcode)) if status == 5 else None
    exited = None
    if status == 4:
        exited = Exit(
            None if by_signal else _int(code),
            _int(signal) if by_signal else None,
            str(host or ""),
            float(_int(started)) if started else None,
            float(_int(ended or entered)),
        )
    return _int(proc), _int(status), hold, exited, str(removed or "")


def _int(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0


_follower: Follower | None = None


def follower() -> Follower:
    """Return this process's follower."""
    global _follower  # noqa: PLW0603
    if _follower is None:
        _follower = Follower()
    return _follower
