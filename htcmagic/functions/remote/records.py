"""Files of tasks and of results: records of one JSON line and its parts; nothing is unpickled to look at them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

Header = dict[str, Any]
Part = tuple[str, bytes | Path]
"""Its name, and its bytes or the file that has them."""
CHUNK = 1 << 20


class Record(NamedTuple):
    """One record of a file.

    Attributes
    ----------
    header : dict
        Its JSON line; ``"parts"`` names and sizes of its parts, in their order.
    path : str
        The file.
    offset : int
        Where its first part begins.
    """

    header: Header
    path: str
    offset: int

    def part(self, name: str) -> bytes | None:
        """Return one part; None without it."""
        offset = self.offset
        for part, size in self.header["parts"]:
            if part == name:
                with Path(self.path).open("rb") as stream:
                    stream.seek(offset)
                    return stream.read(size)
            offset += size
        return None

    def save(self, name: str, target: Path) -> None:
        """Copy one part into a file, bit by bit."""
        offset = self.offset
        for part, size in self.header["parts"]:
            if part == name:
                with Path(self.path).open("rb") as stream, target.open("wb") as out:
                    stream.seek(offset)
                    _copy(stream, out, size)
                return
            offset += size
        raise KeyError(name)

    def names(self, prefix: str) -> list[str]:
        """Return the names of parts that begin so, without that beginning."""
        return [part[len(prefix) :] for part, _ in self.header["parts"] if part.startswith(prefix)]


def write(stream: IO[bytes], header: Header, parts: Sequence[Part]) -> None:
    """Append one record."""
    sizes = [(name, len(body) if isinstance(body, bytes) else body.stat().st_size) for name, body in parts]
    stream.write(json.dumps({**header, "parts": sizes}, separators=(",", ":")).encode() + b"\n")
    for (_, body), (_, size) in zip(parts, sizes, strict=True):
        if isinstance(body, bytes):
            stream.write(body)
        else:
            with body.open("rb") as source:
                _copy(source, stream, size)


def packed(header: Header, parts: Sequence[tuple[str, bytes]]) -> bytes:
    """Return one record as bytes."""
    line = json.dumps({**header, "parts": [(name, len(body)) for name, body in parts]}, separators=(",", ":"))
    return b"".join([line.encode(), b"\n", *(body for _, body in parts)])


def _copy(source: IO[bytes], target: IO[bytes], size: int) -> None:
    while size:
        block = source.read(min(size, CHUNK))
        if not block:
            raise EOFError(f"{getattr(source, 'name', 'a file')} has become shorter")
        target.write(block)
        size -= len(block)


def scan(path: str | Path) -> Iterator[Record]:
    """Yield the records of a file; what is cut off at its end is none."""
    with Path(path).open("rb") as stream:
        end = os.fstat(stream.fileno()).st_size
        while line := stream.readline():
            offset = stream.tell()
            header = json.loads(line) if line.endswith(b"\n") else None
            after = offset + sum(size for _, size in header["parts"]) if header is not None else end + 1
            if header is None or after > end:
                return
            yield Record(header, str(path), offset)
            stream.seek(after)


def split(data: bytes) -> list[tuple[Header, bytes]]:
    """Return the records of a file that was read whole: headers, and all parts of each in one."""
    found, start = [], 0
    while start < len(data):
        newline = data.index(b"\n", start)
        header = json.loads(data[start:newline])
        end = newline + 1 + sum(size for _, size in header["parts"])
        found.append((header, data[newline + 1 : end]))
        start = end
    return found


def save(path: Path, records: Iterable[tuple[Header, Sequence[Part]]]) -> None:
    """Write a file whole or not at all: nobody sees it half written."""
    new = path.with_name(f".{path.name}.new")
    try:
        with new.open("wb") as stream:
            for header, parts in records:
                write(stream, header, parts)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def remove(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        import shutil  # noqa: PLC0415 - 5 ms, with its compressors

        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
