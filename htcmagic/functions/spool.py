"""The spool: tasks that wait in a folder for whatever worker takes them, and what comes back.

The folder, on the submit side; every file in it appears whole, by a rename::

    worker.json                    what workers want to know, and a token by which they recognize the folder
    functions/DIGEST               what is called
    tasks/SEQ-COUNT                tasks that wait: a batch, as many as its name says
    claimed/WORKER~SEQ-COUNT       a batch that a worker has taken, by renaming it
    results/ANYTHING               results, any number in a file; the folder is empty but for new ones
    fetched/ANYTHING               results that this side has seen
    workers/WORKER                 a worker that has started
    alive                          changes as long as somebody waits for the results
    stop                           every worker is to end, now

A task is run at least once: again if its worker vanishes. Its result is delivered once. A worker writes results before
it lets go of their batch, and hands out tasks anew before it lets go of the old batch, so that at every moment each
task is in at least one file, whoever is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from htcmagic.errors import ResultMissing
from htcmagic.functions import batches, results
from htcmagic.functions.batches import Task
from htcmagic.functions.jobs import Folders, writing
from htcmagic.functions.payload import Function
from htcmagic.functions.remote import records
from htcmagic.functions.remote.channel import WORKER_FILE
from htcmagic.functions.remote.records import Header, Record

OURS = "-"
"""Stands for a worker's name in ``claimed/`` while this side looks at a batch."""
HOT_S = 0.05
"""So long after something has changed, a folder's time of change cannot tell whether there was another change."""
ANYWAY_S = 1.0
"""How often the folder is read whatever its time of change says: file servers keep that for a while."""


@dataclass(frozen=True, slots=True)
class Options:
    """What workers are told.

    Attributes
    ----------
    idle_s : float
        How long a worker waits for tasks before it ends.
    lease_s : float
        How long it goes on when nobody waits for the results any more.
    drain : bool
        Whether workers end as soon as there are no tasks left: there will be no new ones.
    detach : bool
        Whether they go on when nobody waits.
    keep : bool
        Whether an evicted worker keeps the call that it was running, for the next run of the same job.
    channel : str
        ``chirp``: even where workers see the folder.
    split_s : float
        After this time, what has not begun of a batch is handed out again.
    """

    idle_s: float = 60.0
    lease_s: float = 60.0
    drain: bool = False
    detach: bool = False
    keep: bool = False
    channel: str = ""
    split_s: float = 0.1


class GivenBack(NamedTuple):
    """What became of a vanished worker's tasks: to be run again, or not, as they have been too often."""

    again: list[int]
    lost: list[int]


class Spool:
    """The submit side of a spool; its methods may be called from any thread.

    Parameters
    ----------
    path : Path
        The folder.
    retries : int
        How often a task is run again if the worker that was running it vanishes.

    Attributes
    ----------
    token : str
        For :func:`argument`.
    refused : dict
        Result files that are not read, by name, and why.
    """

    def __init__(self, path: Path, *, retries: int = 1) -> None:
        self.path = path
        self.retries = retries
        self.token = ""
        self.options = Options()
        self.refused: dict[str, ResultMissing] = {}
        self._open: dict[int, str] = {}
        self._tries: dict[int, int] = {}
        self._ready: list[Record] = []
        self._lock = threading.RLock()
        self._seq = 0
        self._changed = 0
        self._hot_until = self._next_listing = 0.0
        self._beats = 0
        self._earlier: list[str] = []

    def make(self, options: Options) -> Spool:
        """Make the folder."""
        Folders(self.path).make()
        for name in ("tasks", "claimed", "fetched", "workers"):
            (self.path / name).mkdir(mode=0o700, exist_ok=True)
        self.token = secrets.token_hex(8)
        self.beat()
        self._tell(options)
        self._seq = time.time_ns() // 1_000_000
        return self

    def _tell(self, options: Options) -> None:
        self.options = options
        self._write(WORKER_FILE, json.dumps({"token": self.token, **asdict(options)}).encode())

    def adopt(self, options: Options | None = None) -> dict[int, Header]:
        """Take over a folder that another session has made; return the tasks without a fetched result.

        Parameters
        ----------
        options : Options, optional
            What new workers are told from now on.
        """
        told = json.loads((self.path / WORKER_FILE).read_bytes())
        self.token = told.pop("token")
        self.options = Options(**told)
        if options is not None:
            self._tell(options)
        found: dict[int, Header] = {}
        with self._lock:
            self._earlier = sorted(self._names("fetched"))
            for folder in ("tasks", "claimed", "results"):
                for name in self._names(folder):
                    with contextlib.suppress(FileNotFoundError, ResultMissing):
                        found |= {
                            record.header["id"]: record.header for record in results.read(self.path / folder / name)
                        }
            self._seq = max([time.time_ns() // 1_000_000, *(int(batches.seq(n)) + 1 for n in self._names("tasks"))])
            for number in found:
                self._open.setdefault(number, "")
        self.give_back(OURS)
        return found

    def fetched(self) -> Iterator[Record]:
        """Yield the results that other sessions had fetched before :meth:`adopt`."""
        for name in self._earlier:
            with contextlib.suppress(FileNotFoundError, ResultMissing):
                yield from results.read(self.path / "fetched" / name)

    def keep(self, function: Function) -> None:
        """Write a function's file."""
        Folders(self.path).keep(function)

    def put(self, tasks: Sequence[Task]) -> str:
        """Hand out tasks as one batch; return its name.

        Raises
        ------
        HTCMagicError
            It cannot be written.
        """
        with self._lock:
            name = f"{self._seq:013}-{len(tasks)}"
            self._seq += 1
            self._save(f"tasks/{name}", [(header, [("args", body)]) for header, body in tasks])
            self._open.update((header["id"], batches.seq(name)) for header, _ in tasks)
        return name

    def poll(self) -> list[Record]:
        """Return new results, each task's once. If nothing has changed, this is one ``stat``."""
        with self._lock:
            ready, self._ready = self._ready, []
            try:
                changed = (self.path / "results").stat().st_mtime_ns
            except OSError:
                return ready
            now = time.monotonic()
            if changed == self._changed and now > self._hot_until and now < self._next_listing:
                return ready
            if changed != self._changed:
                self._hot_until = now + HOT_S
            self._changed, self._next_listing = changed, now + ANYWAY_S
            return ready + self._fetch()

    def _fetch(self) -> list[Record]:
        found: list[Record] = []
        for name in sorted(self._names("results")):
            if name in self.refused:
                continue
            here, there = self.path / "results" / name, self.path / "fetched" / name
            try:
                read = list(results.read(here))
                here.replace(there)
            except ResultMissing as error:
                self.refused[name] = error
                continue
            except (OSError, ValueError, KeyError) as error:
                self.refused[name] = ResultMissing(f"The result file {here} cannot be read: {error}.")
                continue
            path = str(there)
            found += [
                record._replace(path=path, header=batches.shared(record.header))
                for record in read
                if self._close(record.header["id"])
            ]
            self._hot_until = time.monotonic() + HOT_S
        return found

    def _close(self, number: int) -> bool:
        self._tries.pop(number, None)
        return self._open.pop(number, None) is not None

    def waiting(self) -> list[str]:
        """Return the batches that wait."""
        return self._names("tasks")

    def claims(self) -> dict[str, list[str]]:
        """Return the batches that were taken, by worker."""
        found: dict[str, list[str]] = {}
        for name in self._names("claimed"):
            worker, _, batch = name.partition("~")
            found.setdefault(worker, []).append(batch)
        return found

    def workers(self) -> dict[str, float]:
        """Return the workers that have started, and when."""
        found = {}
        for name in self._names("workers"):
            with contextlib.suppress(FileNotFoundError):
                found[name] = (self.path / "workers" / name).stat().st_mtime
        return found

    @property
    def open(self) -> int:
        """How many tasks have no result yet."""
        return len(self._open)

    def knows(self, number: int) -> bool:
        """Whether a task was handed out and has no result yet."""
        return number in self._open

    def is_waiting(self, number: int) -> bool:
        """Whether a task has been handed out and not been taken, as far as that is to be seen quickly."""
        batch = self._open.get(number)
        return batch is not None and any(batches.seq(name) == batch for name in self._names("tasks"))

    def give_back(self, worker: str) -> GivenBack:
        """Hand out anew what a vanished worker had taken and not finished.

        A task that it had taken alone counts as run; what it had taken with others is handed out alone.
        """
        again: list[int] = []
        lost: list[int] = []
        with self._lock:
            self._ready += self._fetch()
            for name in self._names("claimed"):
                if name.partition("~")[0] == worker:
                    self._give_back(name, again, lost)
        return GivenBack(again, lost)

    def _give_back(self, name: str, again: list[int], lost: list[int]) -> None:
        batch = name.partition("~")[2]
        mine = self.path / "claimed" / f"{OURS}~{batch}"
        try:
            (self.path / "claimed" / name).rename(mine)
        except FileNotFoundError:
            return
        elsewhere = self._ids_elsewhere(batches.seq(batch), mine.name)
        tasks = [task for task in batches.tasks(mine) if task[0]["id"] in self._open and task[0]["id"] not in elsewhere]
        for header, body in tasks:
            number = header["id"]
            self._tries[number] = self._tries.get(number, 0) + (batches.count(batch) == 1 and name[0] != OURS)
            if self._tries[number] > self.retries:
                self._close(number)
                lost.append(number)
                continue
            self._save(f"tasks/{batches.seq(batch)}.{secrets.token_hex(4)}-1", [(header, [("args", body)])])
            again.append(number)
        mine.unlink()

    def _ids_elsewhere(self, seq: str, but: str) -> set[int]:
        """Return the tasks that were split off a batch: who split it may have been killed before it let go of it."""
        found: set[int] = set()
        for folder in ("tasks", "claimed"):
            for name in self._names(folder):
                if name != but and batches.seq(name.rpartition("~")[2]) == seq:
                    with contextlib.suppress(FileNotFoundError):
                        found |= {record.header["id"] for record in records.scan(self.path / folder / name)}
        return found

    def take_back(self, numbers: Iterable[int]) -> set[int]:
        """Take tasks back that no worker has taken; return those that will not be run."""
        wanted = set(numbers)
        taken: set[int] = set()
        with self._lock:
            seqs = {self._open[number] for number in wanted if number in self._open}
            for name in self._names("tasks"):
                if batches.seq(name) in seqs or "" in seqs:
                    taken |= self._take_back(name, wanted)
            for number in taken:
                self._close(number)
        return taken

    def _take_back(self, name: str, wanted: set[int]) -> set[int]:
        mine = self.path / "claimed" / f"{OURS}~{name}"
        try:
            (self.path / "tasks" / name).rename(mine)
        except FileNotFoundError:
            return set()
        tasks = batches.tasks(mine)
        others = [task for task in tasks if task[0]["id"] not in wanted]
        if len(others) == len(tasks):
            mine.rename(self.path / "tasks" / name)
            return set()
        if others:
            tag = secrets.token_hex(4)
            self._save(f"tasks/{batches.seq(name)}.{tag}-{len(others)}", [(h, [("args", body)]) for h, body in others])
        mine.unlink()
        return {task[0]["id"] for task in tasks} & wanted

    def vanished(self) -> list[int]:
        """Return tasks that are nowhere: their results were lost, or are not read. Two looks say it surely."""
        with self._lock:
            if self._names("tasks") or self._names("claimed") or set(self._names("results")) - set(self.refused):
                return []
            return list(self._open)

    def forget(self, numbers: Iterable[int]) -> None:
        """Wait no longer for these."""
        with self._lock:
            for number in numbers:
                self._close(number)

    def beat(self) -> None:
        """Tell workers that somebody waits."""
        self._beats += 1
        with contextlib.suppress(OSError):
            (self.path / "alive").write_text(f"{secrets.token_hex(4)} {self._beats}\n")

    def stop(self) -> None:
        """Tell every worker to end."""
        with contextlib.suppress(OSError):
            (self.path / "stop").touch()

    def go(self) -> None:
        """Let new workers work."""
        (self.path / "stop").unlink(missing_ok=True)

    def _names(self, folder: str) -> list[str]:
        try:
            return [name for name in os.listdir(self.path / folder) if name[0] != "."]  # noqa: PTH208 - often
        except OSError:
            return []

    def _save(self, name: str, content: Iterable[tuple[Header, Sequence[records.Part]]]) -> None:
        with writing(self.path):
            records.save(self.path / name, content)

    def _write(self, name: str, data: bytes) -> None:
        with writing(self.path):
            new = self.path / f".{name}.new"
            new.write_bytes(data)
            new.replace(self.path / name)


def argument(token: str, name: str, *, stays: bool = False) -> str:
    """Return what a worker's job is given: its item."""
    return f"{name}@{token}" + ("@stay" if stays else "")
