"""The one thread that looks after the maps of this process: new results, vanished workers, views."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Protocol

SHORTEST_S, LONGEST_S = 0.005, 0.1
"""Between two looks: soon after something was new, and later."""
SHARE = 0.02
"""Most of a processor that looking may take."""


class Watched(Protocol):
    """What is looked after."""

    def tick(self) -> tuple[bool, bool]:
        """Look; return whether there was something new, and whether to come again."""


_watched: list[Watched] = []
_wake = threading.Condition()
_threads: list[threading.Thread] = []


def watch(one: Watched) -> None:
    """Look after a map until it says that it is over."""
    with _wake:
        if one not in _watched:
            _watched.append(one)
        if not _threads or not _threads[0].is_alive():
            _threads[:] = [threading.Thread(target=_run, name="htcmagic-map", daemon=True)]
            _threads[0].start()
        _wake.notify_all()


def hurry() -> None:
    """Look now, and soon again: somebody waits."""
    with _wake:
        _wake.notify_all()


def _run() -> None:
    pause_s = rest_s = SHORTEST_S
    while True:
        with _wake:
            if _wake.wait(rest_s):
                pause_s = SHORTEST_S
            while not _watched:
                _wake.wait()
            ones = list(_watched)
        began = time.monotonic()
        new = False
        for one in ones:
            again = True
            with contextlib.suppress(Exception):  # one map's trouble must not stop the others
                changed, again = one.tick()
                new |= changed
            if not again:
                with _wake:
                    _watched.remove(one)
        spent_s = time.monotonic() - began
        pause_s = SHORTEST_S if new else min(pause_s * 1.2, LONGEST_S)
        rest_s = max(pause_s, spent_s / SHARE if not new else spent_s)
