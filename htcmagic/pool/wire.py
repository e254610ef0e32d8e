"""Frames between a kernel and the process that holds HTCondor's bindings: a length, then a pickle.

Both ends are ours and of the same user, so pickle is safe here; it is also by far the fastest for tuples.
"""

from __future__ import annotations

import pickle
import struct
from typing import IO, Any

HEADER = struct.Struct("!Q")


def write(stream: IO[bytes], value: Any) -> None:
    """Send one value."""
    body = pickle.dumps(value, protocol=5)
    stream.write(HEADER.pack(len(body)))
    stream.write(body)
    stream.flush()


def read(stream: IO[bytes]) -> Any:
    """Receive one value; ``EOFError`` when the other end is gone."""
    head = stream.read(HEADER.size)
    if len(head) < HEADER.size:
        raise EOFError
    (length,) = HEADER.unpack(head)
    body = stream.read(length)
    if len(body) < length:
        raise EOFError
    return pickle.loads(body)  # noqa: S301
