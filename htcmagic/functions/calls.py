"""Calls made into tasks: packed once where that will do, and not at all where their results are known."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from htcmagic.functions import payload
from htcmagic.functions.batches import Task
from htcmagic.functions.packing import Packer
from htcmagic.functions.payload import Function
from htcmagic.functions.place import OWN, Place
from htcmagic.functions.remote.records import Record
from htcmagic.functions.results import Outcome
from htcmagic.functions.spool import Spool
from htcmagic.functions.taskfuture import TaskFuture

LARGEST_BATCH = 250
BATCH_BYTES = 8 << 20


class Calls:
    """Makes tasks of calls for one spool.

    Parameters
    ----------
    tasks : Spool
        Where the functions' files go.
    place : Place
        Where Python comes from, which is part of what a result depends on.
    """

    def __init__(self, tasks: Spool, place: Place) -> None:
        self.caches = False
        """Whether results are looked up and kept."""
        self._spool = tasks
        self._environment = "" if place.about == OWN else place.about
        self._packer = Packer()
        self._kept: set[str] = set()
        self._keys: dict[int, str] = {}
        self._lock = threading.Lock()

    def pack(self, call: Callable[..., Any]) -> Function:
        """Pack a function."""
        return self._packer.function(call)

    def task(
        self,
        future: TaskFuture,
        call: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        packed: Function | None,
    ) -> Task:
        """Pack a call.

        Raises
        ------
        CellError
            Something of it cannot be pickled, or is too large.
        """
        function = packed or self.pack(call)
        body = payload.arguments(tuple(args), kwargs, future.label)
        with self._lock:
            if function.name not in self._kept:
                self._spool.keep(function)
                self._kept.add(function.name)
        return {"id": future.id, "function": function.name, "label": future.label}, body

    def known(
        self, future: TaskFuture, call: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Outcome | None:
        """Return what came of such a call before; None if it has to be run, and is then kept."""
        from htcmagic.functions import memo  # noqa: PLC0415 - only where it is asked for

        key = memo.key(call, tuple(args), dict(kwargs), environment=self._environment)
        if key is None:
            return None
        record = memo.get(key, self._spool.path / "found")
        if record is None:
            self._keys[future.id] = key
            return None
        return Outcome(record, self._files(future.id), label=future.label)

    def ended(self, future: TaskFuture, record: Record, stderr: str) -> Outcome:
        """Return what has come of a call now; keep it if that is wanted."""
        key = self._keys.pop(future.id, None)
        if key is not None and record.header["ok"]:
            from htcmagic.functions import memo  # noqa: PLC0415 - only where it is asked for

            memo.put(key, record, future.label.partition("(")[0])
        return Outcome(record, self._files(future.id), stderr, future.label)

    def _files(self, number: int) -> Path:
        return self._spool.path / "files" / str(number)


def batches(tasks: list[Task], most: int) -> Iterator[list[Task]]:
    """Yield tasks in batches of not too many tasks, and not too many bytes."""
    batch: list[Task] = []
    size = 0
    for task in tasks:
        if batch and (len(batch) >= min(most, LARGEST_BATCH) or size > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(task)
        size += len(task[1])
    if batch:
        yield batch
