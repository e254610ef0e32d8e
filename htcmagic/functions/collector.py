"""The one thread that brings results home, for everything in this process that waits for some."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from typing import Protocol

AFTER_TROUBLE_S = 1.0


class Collected(Protocol):
    """What the collector calls, in its thread."""

    def collect(self) -> float:
        """Do what there is to do; return after how many seconds to come again at the latest."""


class Collector:
    """Calls everything that was added, as often as it wants; its thread lives as long as there is something."""

    def __init__(self) -> None:
        self.troubles: deque[Exception] = deque(maxlen=20)
        """What went wrong lately."""
        self._due: dict[Collected, float] = {}
        self._lock = threading.Lock()
        self._call = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, what: Collected) -> None:
        """Call it from now on."""
        with self._lock:
            self._due[what] = 0.0
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="htcmagic-collect", daemon=True)
                self._thread.start()
        self._call.set()

    def remove(self, what: Collected) -> None:
        """Call it no more."""
        with self._lock:
            self._due.pop(what, None)
        self._call.set()

    def wake(self, what: Collected) -> None:
        """Call it at once."""
        if what in self._due:
            self._due[what] = 0.0
            self._call.set()

    def _run(self) -> None:
        while True:
            self._call.clear()
            with self._lock:
                if not self._due:
                    self._thread = None
                    return
                now = time.monotonic()
                due = [what for what, when in self._due.items() if when <= now]
                for what in due:
                    self._due[what] = float("inf")
            for what in due:
                self._serve(what)
            del due
            with contextlib.suppress(ValueError, RuntimeError):
                self._call.wait(max(0.0, min(self._due.values()) - time.monotonic()))

    def _serve(self, what: Collected) -> None:
        try:
            after_s = what.collect()
        except Exception as error:  # noqa: BLE001 - trouble of one must not stop the others
            self.troubles.append(error)
            after_s = AFTER_TROUBLE_S
        with self._lock:
            if what in self._due:
                self._due[what] = min(self._due[what], time.monotonic() + after_s)


_collector = Collector()


def collector() -> Collector:
    """Return this process's collector."""
    return _collector
