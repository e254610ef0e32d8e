"""The process in which tasks run: takes one after the other from a pipe and answers over another.

A token a task lies in the pipe until somebody takes it: this process, to run the task, or its parent, to hand the task
to other workers. So both always agree on what has begun.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import struct
from pathlib import Path
from typing import IO

from htcmagic.functions.remote import core, records
from htcmagic.functions.remote.records import Header, Part

TOKEN = struct.Struct("<IIQQ")
"""Batch, index in it, where its record begins, how long it is."""
ANSWER = struct.Struct("<IIIQ")
"""Batch, index, kind, bytes that follow."""
INLINE, BY_FILE = range(2)
LARGE = 256 << 10
"""Results larger than this do not pass through the pipe: they are written where they will stay."""
_DIE_WITH_PARENT = 1
_libc = ctypes.CDLL(None)


def batch_file(scratch: Path, number: int) -> Path:
    """Return where the child finds the tasks of a batch."""
    return scratch / f".batch-{number}"


def function_file(scratch: Path, name: str) -> Path:
    """Return where it finds a function."""
    return scratch / f".function-{name}"


class Child:
    """Runs tasks; never returns to the code that forked it.

    Parameters
    ----------
    context : Context
        Where tasks run.
    tokens, answers : int
        Its ends of the two pipes.
    room : Path
        Where large results are written.
    """

    def __init__(self, context: core.Context, tokens: int, answers: int, room: Path, name: str) -> None:
        self._context = context
        self._tokens = tokens
        self._answers = answers
        self._room = room
        self._name = name
        self._open: tuple[int, IO[bytes]] | None = None

    def serve(self) -> None:
        """Run tasks until the pipe ends."""
        _libc.prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        me = os.getpid()
        while token := os.read(self._tokens, TOKEN.size):
            number, index, offset, size = TOKEN.unpack(token)
            header, body = self._task(number, offset, size)
            function = function_file(self._context.scratch, header["function"])
            result, parts = core.execute(self._context, header, body, function.read_bytes)
            if os.getpid() != me:  # the task has forked and returned twice
                os._exit(0)
            if "label" in header:
                result["label"] = header["label"]
            folder = result.pop("folder", "")
            self._answer(number, index, result, parts)
            if folder:
                records.remove(Path(folder))

    def _task(self, number: int, offset: int, size: int) -> tuple[Header, bytes]:
        if self._open is None or self._open[0] != number:
            if self._open is not None:
                self._open[1].close()
            self._open = number, batch_file(self._context.scratch, number).open("rb")
        stream = self._open[1]
        stream.seek(offset)
        line, _, body = stream.read(size).partition(b"\n")
        return json.loads(line), body

    def _answer(self, number: int, index: int, header: Header, parts: list[Part]) -> None:
        small = [(name, body) for name, body in parts if isinstance(body, bytes)]
        if len(small) == len(parts) and sum(len(body) for _, body in small) <= LARGE:
            data, kind = records.packed(header, small), INLINE
        else:
            file = self._room / f".{self._name}-{number}-{index}.large"
            with file.open("wb") as stream:
                records.write(stream, header, parts)
            data, kind = os.fsencode(file), BY_FILE
        send(self._answers, ANSWER.pack(number, index, kind, len(data)) + data)


def send(pipe: int, data: bytes) -> None:
    """Write all of it."""
    view = memoryview(data)
    while view:
        view = view[os.write(pipe, view) :]
