"""The thread that follows DAGs: the log of their nodes' jobs and what DAGMan writes, never the schedd."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
from pathlib import Path
from typing import Protocol

from htcmagic.engines.dag.states import Event, Tracker
from htcmagic.errors import HTCMagicError, PoolError
from htcmagic.pool.client import Door

LOOK_S = 0.1
READ_S = 60.0
MOST = 1 << 22
"""Bytes of DAGMan's own output that are taken in at a time."""
_readers = itertools.count()


class Followed(Protocol):
    """What the follower wants of a DAG."""

    tracker: Tracker

    @property
    def over(self) -> bool:
        """Whether DAGMan has ended."""

    def changed(self, *, anything: bool) -> None:
        """Be told whether anything happened."""

    def finish(self) -> None:
        """Be told that everything was read."""


class Watch:
    """How far a DAG's two files were read."""

    def __init__(self, node_log: str, said: Path) -> None:
        self.node_log = node_log
        self.said = said
        self.reader = next(_readers)
        self.lock = threading.Lock()
        self._size = -1
        self._offset = 0
        self._fresh = True
        self._rest = b""

    def read(self, tracker: Tracker, door: Door) -> bool:
        """Take in what is new; return whether something changed."""
        with self.lock:
            heard = tracker.hear(self._lines())  # after a POST script has failed, its event tells the same
            return tracker.apply(self._events(door)) or heard

    def _events(self, door: Door) -> list[Event]:
        try:
            size = Path(self.node_log).stat().st_size
        except OSError:
            return []
        if size == self._size:
            return []
        fresh, self._fresh = self._fresh, False
        for again in (fresh, True):
            try:
                events: list[Event] = door.call(
                    "dag_events", None, READ_S, {"path": self.node_log, "reader": self.reader, "restart": again}
                )
            except PoolError as error:
                if not error.transient or again is True is not fresh:
                    raise
                continue
            self._size = size
            return events
        return []

    def _lines(self) -> list[str]:
        try:
            with self.said.open("rb") as stream:
                stream.seek(self._offset)
                data = stream.read(MOST)
        except OSError:
            return []
        if not data:
            return []
        self._offset += len(data)
        *whole, self._rest = (self._rest + data).split(b"\n")
        return [line.decode(errors="replace") for line in whole]

    def forget(self, door: Door) -> None:
        """Close what is open."""
        with contextlib.suppress(HTCMagicError):
            door.call("dag_forget", None, READ_S, {"reader": self.reader})


class Follower:
    """Follows DAGs until DAGMan has ended."""

    def __init__(self) -> None:
        self._followed: dict[Followed, Watch] = {}
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self.door = Door({**os.environ, "CONDOR_CONFIG": "ONLY_ENV"})

    def follow(self, dag: Followed, watch: Watch) -> None:
        """Begin to follow a DAG."""
        with self._wake:
            self._followed[dag] = watch
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._follow, name="htcmagic-dag", daemon=True)
                self._thread.start()
            self._wake.notify_all()

    def catch_up(self, dag: Followed) -> None:
        """Read what there is right now, in the calling thread."""
        with self._wake:
            watch = self._followed.get(dag)
        if watch is not None:
            self._read(dag, watch)

    def _follow(self) -> None:
        while True:
            with self._wake:
                while not self._followed:
                    self._wake.wait()
                followed = list(self._followed.items())
            for dag, watch in followed:
                with contextlib.suppress(Exception):  # one DAG's trouble must not stop the others
                    self._read(dag, watch)
            time.sleep(LOOK_S)

    def _read(self, dag: Followed, watch: Watch) -> None:
        over = dag.over  # looked at first: what is read then is all there is
        changed = True
        while changed:
            try:
                changed = watch.read(dag.tracker, self.door)
            except HTCMagicError:  # the log is damaged: what DAGMan says is all there is
                changed = False
            dag.changed(anything=changed)
            if not over:
                return
        with self._wake:
            followed = self._followed.pop(dag, None)
        if followed is not None:
            watch.forget(self.door)
            dag.finish()


_follower: Follower | None = None


def follower() -> Follower:
    """Return this process's follower."""
    global _follower  # noqa: PLW0603
    if _follower is None:
        _follower = Follower()
    return _follower
