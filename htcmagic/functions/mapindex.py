"""Where the results of a map's items are: a few bytes an item, so that a kernel can wait for very many."""

from __future__ import annotations

import json
import os
import stat
import threading
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from htcmagic.errors import HTCMagicError, ResultMissing
from htcmagic.functions import results
from htcmagic.functions.remote.records import Record

WAITING, OK, FAILED, LOST, REMOVED = range(5)
"""An item's state: no result yet; it returned; it raised; its job ended without a result; it was removed."""
LOCAL = -1
"""The leg of results that no job brings."""


class Index:
    """States of items, and where their results are.

    Parameters
    ----------
    count : int
        Number of items.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.states = bytearray(count)
        self.totals = [count, 0, 0, 0, 0]
        self.lock = threading.RLock()
        self.order = array("L")
        """Items in the order in which they came to an end; one that was run again occurs more than once."""
        self.legs = array("i", [LOCAL]) * count
        """Which of the map's legs brings an item; what earlier ones bring does not count any more."""
        self._files: list[str] = []
        self._file = array("i", [-1]) * count
        self._start = array("Q", [0]) * count

    @property
    def waiting(self) -> int:
        """How many items have not come to an end."""
        return self.totals[WAITING]

    def move(self, item: int, state: int) -> bool:
        """Give an item another state; False if it has that."""
        before = self.states[item]
        if before == state:
            return False
        self.totals[before] -= 1
        self.totals[state] += 1
        self.states[item] = state
        if state != WAITING:
            self.order.append(item)
        return True

    def begin(self, items: Iterable[int], leg: int) -> None:
        """Take in that a leg runs these items, again if they had results."""
        for item in items:
            self.legs[item] = leg
            self._file[item] = -1
            self.move(item, WAITING)

    def take(self, path: Path, leg: int) -> list[int]:
        """Take in a file of results; return the items that came to an end by it.

        Raises
        ------
        ResultMissing
            It belongs to another user.
        OSError, ValueError
            It is not there, or damaged.
        """
        found, start, number = [], 0, -1
        for record in results.read(path):
            item = record.header["id"]
            if 0 <= item < self.count and self.legs[item] == leg and self._file[item] < 0:
                if number < 0:
                    number = len(self._files)
                    self._files.append(str(path))
                self._file[item], self._start[item] = number, start
                if self.move(item, OK if record.header["ok"] else FAILED):
                    found.append(item)
            start = record.offset + sum(size for _, size in record.header["parts"])
        return found

    def record(self, item: int) -> Record:
        """Return an item's result.

        Raises
        ------
        ResultMissing
            It is not there any more, damaged, or belongs to another user.
        """
        with self.lock:
            path, start = self._files[self._file[item]], self._start[item]
        try:
            with Path(path).open("rb") as stream:
                info = os.fstat(stream.fileno())
                if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid():
                    next(results.read(Path(path)))  # says so
                stream.seek(start)
                header = json.loads(stream.readline())
                if header["id"] == item and stream.tell() + sum(size for _, size in header["parts"]) <= info.st_size:
                    return Record(header, path, stream.tell())
        except FileNotFoundError:
            raise ResultMissing(f"The result of item {item} was deleted: {path}.", hint=AGAIN) from None
        except HTCMagicError:
            raise
        except (OSError, ValueError, LookupError, TypeError):
            pass
        raise ResultMissing(f"The result of item {item} is damaged: {path}.", hint=AGAIN)

    def lose(self, item: int, state: int = LOST) -> bool:
        """Take in that an item's result will not come, or is of no use."""
        self._file[item] = -1
        return self.move(item, state)

    def among(self, *states: int) -> Iterator[int]:
        """Yield the items that are in one of these states."""
        return (item for item, state in enumerate(self.states) if state in states)


AGAIN = "Run it again: .rerun()"


def packed(items: Sequence[int]) -> list[list[int]]:
    """Return ascending numbers as ranges.

    Examples
    --------
    >>> packed([0, 1, 2, 7])
    [[0, 3], [7, 8]]
    """
    found: list[list[int]] = []
    for item in items:
        if found and found[-1][1] == item:
            found[-1][1] += 1
        else:
            found.append([item, item + 1])
    return found


def unpacked(ranges: Iterable[Sequence[int]]) -> array[int]:
    """Return the numbers of ranges."""
    found = array("L")
    for start, stop in ranges:
        found.extend(range(start, stop))
    return found
