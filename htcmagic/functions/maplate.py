"""Items of a map that wait for futures: sent when these have come, some at a time."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from htcmagic.errors import HTCMagicError
from htcmagic.functions import dataflow, mapitems
from htcmagic.functions.mapindex import LOCAL
from htcmagic.functions.maprun import KEY_BYTES, Run

TOGETHER_S = 0.2
"""So long items are gathered that become ready one after the other."""


def wait(run: Run, packer: mapitems.Packer, late: Sequence[tuple[int, tuple[Any, ...], list[Future[Any]]]]) -> None:
    """Send each item when its futures have come; one whose future failed fails with it."""
    gatherer = _Gatherer(run, packer)
    for item, args, futures in late:
        dataflow.after(
            futures,
            lambda item=item, args=args: gatherer.ready(item, args),  # type: ignore[misc]
            lambda error, item=item: gatherer.failed(item, error),  # type: ignore[misc]
            dataflow.label(packer.call, args, {}),
        )


class _Gatherer:
    def __init__(self, run: Run, packer: mapitems.Packer) -> None:
        self._run = run
        self._packer = packer
        self._lock = threading.Lock()
        self._ready: list[tuple[int, tuple[Any, ...]]] = []
        self._timer: threading.Timer | None = None

    def ready(self, item: int, args: tuple[Any, ...]) -> None:
        """Take an item whose inputs are there."""
        with self._lock:
            self._ready.append((item, args))
            if self._timer is None:
                self._timer = threading.Timer(TOGETHER_S, self._send)
                self._timer.daemon = True
                self._timer.start()

    def failed(self, item: int, error: BaseException) -> None:
        """Take an item that will not be run."""
        self._run.late.discard(item)
        mapitems.failed(self._run.folder.results_dir / f"failed-{item}", item, error)
        self._run.take_local()

    def _send(self) -> None:
        with self._lock:
            some, self._ready, self._timer = sorted(self._ready), [], None
        items: list[int] = []
        for item, args in some:
            if item not in self._run.late:  # it was cancelled meanwhile
                continue
            try:
                filled, _ = dataflow.filled(args, {})
                if self._write(item, filled):
                    items.append(item)
            except Exception as error:  # noqa: BLE001 - a value that cannot be sent, a full disk
                self.failed(item, error)
        self._run.late.difference_update(items)
        if items:
            try:
                self._run.send(items)
            except HTCMagicError as error:
                for item in items:
                    self.failed(item, error)

    def _write(self, item: int, args: tuple[Any, ...]) -> bool:
        """Write an item's call; False if its result was in the cache."""
        with self._run.folder.tasks_file.open("ab") as stream:
            key, hit = self._packer.write(stream, item, args)
        if key:
            with (self._run.folder.path / "keys").open("r+b") as keys:
                keys.seek(item * KEY_BYTES)
                keys.write(bytes.fromhex(key))
        if hit is None:
            return True
        self._run.late.discard(item)
        self._run.index.begin([item], LOCAL)
        mapitems.keep(self._run.folder.results_dir / f"cached-{item}", [(item, hit)])
        self._run.take_local()
        return False
