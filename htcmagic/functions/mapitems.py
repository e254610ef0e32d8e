"""The calls of a map on their way to a file: packed one by one, so that any number of them needs no memory."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from itertools import islice
from pathlib import Path
from typing import IO, Any

from htcmagic.errors import CellError, TaskFailed
from htcmagic.functions import dataflow, memo, payload
from htcmagic.functions.remote import failure, records
from htcmagic.functions.remote.records import Header, Part, Record
from htcmagic.jobs.display import clean

MOST = 1_000_000
"""Most items of one map."""
PLAIN = frozenset({int, float, complex, bool, str, bytes, type(None)})
"""Types that the quick pickler does as well: nothing in them can belong to the notebook."""
SHORT = 1 << 20
"""Longest texts and bytes that it gets; longer ones go the way that has a limit."""
FAILURES = "failed-inputs"

Call = tuple[Any, ...]


class Packer:
    """Writes calls of one function as tasks.

    Parameters
    ----------
    call : callable
        The function.
    function : str
        Its digest: the name of its file.
    keys : memo.Keys or None
        Where results of earlier calls are looked for.
    """

    def __init__(self, call: Callable[..., Any], function: str, keys: memo.Keys | None) -> None:
        self.call = call
        self.function = function
        self.keys = keys

    def write(self, stream: IO[bytes], item: int, args: Call) -> tuple[str, Record | None]:
        """Append one call; return its key and the result that the cache has for that, if any.

        Raises
        ------
        CellError
            An argument cannot be sent.
        """
        records.write(stream, {"id": item, "function": self.function}, [("args", _packed(args, item))])
        key = self.keys.of(args, {}) if self.keys is not None else None
        return (key, memo.get(key)) if key is not None else ("", None)


def _packed(args: Call, item: int) -> bytes:
    if all(type(one) in PLAIN and (not isinstance(one, str | bytes) or len(one) < SHORT) for one in args):
        return pickle.dumps((args, {}), protocol=5)
    return payload.arguments(args, {}, f"item {item}")


def calls(iterables: Sequence[Any]) -> Iterator[Call]:
    """Yield the arguments of each call, as ``map()`` does: until the shortest is at its end.

    Raises
    ------
    CellError
        Something cannot be iterated over; there is no end in sight.
    """
    if not iterables:
        raise CellError("There is nothing to map over.", hint="For example: htcmagic.map(double, range(100))")
    for number, each in enumerate(iterables, 1):
        which = "It" if len(iterables) == 1 else f"Argument {number}"
        if not isinstance(each, Iterable) and not hasattr(each, "__getitem__"):
            raise CellError(f"{which} is {_kind(each)}, which cannot be iterated over.", hint="Give a list or a range.")
    lengths = [len(each) for each in iterables if hasattr(each, "__len__")]
    if lengths and len(lengths) == len(iterables) and min(lengths) > MOST:
        raise _too_many(f"{min(lengths):,} items are more than the {MOST:,} that a map may have.")
    number = -1
    for number, args in enumerate(islice(zip(*iterables, strict=False), MOST + 1)):
        if number >= MOST:
            raise _too_many(f"There are more than {MOST:,} items, or there is no end to them.")
        yield args


def _kind(value: object) -> str:
    return f"of type {clean(type(value).__name__, 40)}"


def _too_many(text: str) -> CellError:
    return CellError(text, hint="Take some of them: itertools.islice(items, 1000); or let each call do more.")


def inputs(args: Call) -> list[Future[Any]]:
    """Return the futures that a call waits for."""
    if all(type(one) in PLAIN for one in args):
        return []
    return dataflow.futures_in(args, {})


def keep(target: Path, found: Iterable[tuple[int, Record]]) -> None:
    """Write results from the cache as those of a map's items, whole or not at all."""
    records.save(target, ((_own(record, item), _parts(record)) for item, record in found))


def _own(record: Record, item: int) -> Header:
    return {**{n: v for n, v in record.header.items() if n not in {"parts", "stored"}}, "id": item, "cached": True}


def _parts(record: Record) -> list[Part]:
    return [(name, record.part(name) or b"") for name, _ in record.header["parts"]]


def failed(target: Path, item: int, error: BaseException) -> None:
    """Write that a call was not run, as what it raised."""
    header = {"id": item, "ok": False, "python": "", "job": "", "host": "", "started": 0.0, "seconds": 0.0}
    header |= {"rss_kib": 0, "error": failure.describe(error), "local": True}
    try:
        body: list[Part] = [("exception", pickle.dumps(error, protocol=5))]
    except Exception:  # noqa: BLE001 - it is described in the header
        body = []
    records.save(target, [(header, body)])


def failure_of(record: Record) -> BaseException:
    """Return the error of a call that was not run, as :func:`failed` has written it."""
    body = record.part("exception")
    error = payload.loads(body) if body else None
    told = record.header["error"]
    return error if isinstance(error, BaseException) else TaskFailed(f"{told['type']}: {told['message']}")


def copy(tasks: Path, wanted: Callable[[int], Path | None]) -> None:
    """Copy tasks into the files that `wanted` names for them."""
    known: set[Path] = set()
    target: Path | None = None
    batch: list[tuple[Header, list[Part]]] = []
    for record in records.scan(tasks):
        file = wanted(record.header["id"])
        if file != target:
            _add(target, batch, known)
            target, batch = file, []
        if file is not None:
            batch.append(task(record))
    _add(target, batch, known)


def task(record: Record) -> tuple[Header, list[Part]]:
    """Return a task as it is written."""
    header = {name: value for name, value in record.header.items() if name != "parts"}
    return header, [("args", record.part("args") or b"")]


def _add(file: Path | None, batch: list[tuple[Header, list[Part]]], known: set[Path]) -> None:
    if file is None or not batch:
        return
    if file not in known:
        records.save(file, batch)
        known.add(file)
        return
    with file.open("ab") as stream:  # its tasks were not one after the other
        for header, parts in batch:
            records.write(stream, header, parts)
