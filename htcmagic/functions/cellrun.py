"""What ``%%condor_python`` returns: the jobs of a cell, as futures of what it left in each."""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from htcmagic.errors import HTCMagicError, NoSuchJob, TimedOut
from htcmagic.functions import cells, jobs, payload
from htcmagic.functions.cellfuture import SOON_S, CellFuture
from htcmagic.functions.cellview import Views, line
from htcmagic.functions.remote import records
from htcmagic.functions.waiting import waiting
from htcmagic.jobs import display
from htcmagic.jobs.cluster import Cluster, attach
from htcmagic.jobs.model import JobState
from htcmagic.jobs.outputs import Outputs as Files
from htcmagic.jobs.rundir import RunDir

EARLY = 50
"""Most jobs whose results are looked for before the event log tells of them."""
SHOWN = 20
"""Most items that ``show()`` shows at once."""


class CellRun(Sequence[CellFuture]):
    """The jobs of a cell: a sequence of futures, one an item, with a live progress bar as its notebook form.

    ``fits[3].result()`` is the value of the cell's last line for item 3, ``fits.results()`` all of them,
    ``fits[3]["x"]`` the variable x there and ``fits["x"]`` all of them.

    Parameters
    ----------
    cluster : Cluster
        What was sent.
    """

    def __init__(self, cluster: Cluster) -> None:
        told = cells.kept(cluster.run_dir)
        if told is None:
            raise HTCMagicError(f"Cluster {cluster.id} was not sent by %%condor_python.")
        self.cluster = cluster
        self.run_dir = cluster.run_dir
        self.value: str = told["value"]
        self.expression: bool = told["expression"]
        self._files = Files(cluster.record, cluster.run_dir)
        self._futures = [CellFuture(self, number) for number in range(cluster.record.procs)]
        self._items: dict[int, dict[str, Any]] = {}
        self._ended: set[int] = set()
        self._failed: list[int] = []
        self._over = threading.Event()
        self._sizes: dict[int, int] = {}
        self._lock = threading.Lock()
        self.is_shown = False
        """Whether the cell that is about to return it has shown it already."""
        cluster.watchers.append(self._changed)
        cluster._views = Views(cluster, self)  # noqa: SLF001 - the same bar, with what has failed below
        self._changed(set(range(len(self))))

    # what was sent

    @property
    def id(self) -> int:
        """The cluster id."""
        return self.cluster.id

    @property
    def name(self) -> str:
        """The batch name; empty if it has none."""
        return self.cluster.name

    @property
    def status(self) -> dict[str, int]:
        """Jobs by state: idle, running, held, done, failed, removed."""
        counts = Counter(future.state for future in self._futures)
        return {state.value: counts[state] for state in JobState}

    @property
    def done(self) -> bool:
        """Whether every job has ended."""
        return len(self._ended) == len(self._futures)

    def item(self, index: int) -> dict[str, Any]:
        """Return the variables of one item."""
        number = self[index].index
        if number not in self._items:
            ((_, body),) = records.split((jobs.Folders(self.run_dir.path).chunks / str(number)).read_bytes())
            self._items[number] = payload.loads(body)
        return self._items[number]

    @property
    def items(self) -> list[dict[str, Any]]:
        """The variables of all items."""
        return [self.item(number) for number in range(len(self))]

    def __len__(self) -> int:
        return len(self._futures)

    @overload
    def __getitem__(self, index: int) -> CellFuture: ...
    @overload
    def __getitem__(self, index: slice) -> list[CellFuture]: ...
    @overload
    def __getitem__(self, index: str) -> list[Any]: ...
    def __getitem__(self, index: int | slice | str) -> CellFuture | list[CellFuture] | list[Any]:
        if isinstance(index, str):
            self._until(lambda: self.done, None, early=True)
            return [future[index] for future in self._futures]
        if isinstance(index, slice):
            return self._futures[index]
        try:
            return self._futures[index]
        except IndexError:
            number = "1 job" if len(self) == 1 else f"{len(self):,} jobs"
            raise NoSuchJob(f"Cluster {self.id} has {number}, no job {index}.") from None

    def __iter__(self) -> Iterator[CellFuture]:
        return iter(self._futures)

    # waiting

    def wait(self, timeout: float | None = None) -> CellRun:
        """Wait until every job has ended, well or not.

        Parameters
        ----------
        timeout : float, optional
            Seconds; for ever if not given. Held jobs are waited for, since a hold can be released.

        Raises
        ------
        Interrupted
            The user did not want to wait any longer; the jobs go on.
        TimedOut
            Some have not ended; the message says how many, and why the first is held.
        """
        self._until(lambda: self.done and self.cluster.ended, timeout)
        return self

    def _until(self, over: Callable[[], bool], timeout: float | None, *, early: bool = False) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        with waiting(f"%condor_rm {self.id}", self.cancel):
            while not over():
                left_s = self.look_s if deadline is None else min(self.look_s, deadline - time.monotonic())
                if left_s <= 0:
                    break
                if self._over.wait(left_s) and not over():
                    self.cluster.pause(left_s)
                if early:
                    self.look()
        if not over():
            held = self.cluster.summary().hold is not None
            hint = f"Mend the cause, then %condor_release {self.id}" if held else "They go on; wait again, or .cancel()"
            raise TimedOut(f"After {timeout:g} s: {display.line(self.cluster)}.", hint=hint)

    def results(self, timeout: float | None = None) -> list[Any]:
        """Wait, and return the value of the cell's last line for each item; raises the first error if one failed."""
        self._until(lambda: self.done, timeout, early=True)
        return [future.result(0) for future in self._futures]

    def result(self, timeout: float | None = None) -> Any:
        """Return the value of a cell that was sent without items: of its only job."""
        if len(self) != 1:
            raise HTCMagicError(f"There are {len(self):,} jobs.", hint="All results: .results(); of one: [3].result()")
        self._until(lambda: self.done, timeout, early=True)
        return self._futures[0].result(0)

    def as_completed(self, timeout: float | None = None) -> Iterator[CellFuture]:
        """Yield the futures as their jobs end."""
        with waiting(f"%condor_rm {self.id}", self.cancel):
            for future in concurrent.futures.as_completed(self._futures, timeout):
                yield self._futures[getattr(future, "index", 0)]

    @property
    def errors(self) -> dict[int, BaseException]:
        """What went wrong so far: exceptions by item."""
        with self._lock:
            failed = sorted(self._failed)
        found = {number: self._futures[number].error() for number in failed}
        return {number: error for number, error in found.items() if error is not None}

    @property
    def outputs(self) -> list[Mapping[str, Any]]:
        """The variables that came back, for each item."""
        self._until(lambda: self.done, None, early=True)
        return [future.outputs for future in self._futures]

    def stdout(self, index: int = 0) -> str:
        """Return what a job has printed so far."""
        return self[index].stdout()

    def stderr(self, index: int = 0) -> str:
        """Return what a job has written to its standard error so far."""
        return self[index].stderr()

    def files(self, index: int = 0) -> dict[str, Path]:
        """Return the output files of one job by name: what it has left in ``htcmagic.output_dir()``."""
        return self[index].outcome().files()

    def show(self, index: int | None = None) -> None:
        """Show what the cell has printed and displayed for one item, or for each that has ended."""
        if index is not None:
            self[index].show()
            return
        ended = [future for future in self._futures if future.done() and not future.cancelled()]
        for future in ended[:SHOWN]:
            print(f"--- item {future.index}: {_told(future.item)}")  # noqa: T201 - for people
            if future.exception() is None or hasattr(future.exception(), "remote"):
                future.show()
            if why := future.summary():
                print(why)  # noqa: T201
        if len(ended) > SHOWN:
            print(f"… and {len(ended) - SHOWN} more: .show(NUMBER)")  # noqa: T201

    def to_dataframe(self) -> Any:
        """Return a pandas data frame: a row for each item, with its variables, those that came back, and errors."""
        import pandas as pd  # noqa: PLC0415 - not a dependency

        rows = []
        for future in self._futures:
            row = dict(future.item)
            if not future.done() or future.cancelled() or future.exception() is not None:
                rows.append({**row, "error": future.summary() or future.state.value})
                continue
            row |= dict(future.outputs)
            if self.expression:
                row["result"] = future.result()
            rows.append(row)
        return pd.DataFrame(rows)

    # acting

    def cancel(self) -> int:
        """Remove its jobs that have not ended; return how many."""
        for future in self._futures:
            future._cancelling = not future.done()  # noqa: SLF001 - our own
        return self.cluster.rm("cancelled from a notebook")

    def rerun(self, *, failed: bool = True, **submit: Any) -> CellRun:
        """Run items again, in new jobs; return these.

        Parameters
        ----------
        failed : bool
            Only those that failed or were removed; else all.
        **submit : object
            What to ask for now: ``memory="4GB"``, or any submit command.
        """
        from htcmagic.functions import cellsending  # noqa: PLC0415 - it makes runs
        from htcmagic.functions.place import resources  # noqa: PLC0415
        from htcmagic.pool.client import client  # noqa: PLC0415

        settings = resources(**submit)
        numbers = [f.index for f in self._futures if not failed or f.cancelled() or f.summary()]
        if not numbers:
            raise HTCMagicError("No job has failed, so there is none to run again.", hint="All of them: failed=False")
        return cellsending.send(cells.again(self.run_dir, numbers, settings), client(self.cluster.record.pool))

    @property
    def look_s(self) -> float:
        """How long to wait before one looks again."""
        age_s = time.time() - self.cluster.record.created
        return next(look_s for until_s, look_s in SOON_S if age_s <= until_s)

    def look(self) -> None:
        """Take in results that have come, where they are few; what is not yet whole is looked at when it has grown."""
        if len(self._futures) > EARLY:
            return
        folder = jobs.Folders(self.run_dir.path).results
        for number, future in enumerate(self._futures):
            if future.done():
                continue
            with contextlib.suppress(OSError):
                size = (folder / str(number)).stat().st_size
                if size and size != self._sizes.get(number):
                    self._sizes[number] = size
                    future.settle(early=True)
                    self._note(number)

    def early(self) -> list[CellFuture]:
        """Return jobs that have ended, of a run whose results are looked for before the event log tells of them."""
        return [future for future in self._futures if future.done()] if len(self) <= EARLY else []

    def _note(self, number: int) -> None:
        """Keep in mind that one has ended, if it has, and whether it has failed."""
        future = self._futures[number]
        if not future.done():
            return
        with self._lock:
            if number in self._ended:
                return
            self._ended.add(number)
            if future.cancelled() or future.summary():
                self._failed.append(number)
        if self.done:
            self._over.set()

    # what the follower calls, in its thread

    def _changed(self, procs: set[int]) -> None:
        for number in sorted(procs):
            if number < len(self._futures) and not self._futures[number].done():
                self._futures[number].settle()
                self._note(number)
        if self.done:
            self.cluster._views.update(force=True)  # noqa: SLF001 - see above

    def path(self, index: int, stream: str) -> Path | None:
        """Return the file of a job's ``"output"`` or ``"error"``."""
        return self._files.path(index, stream)

    def failure(self) -> str:
        """Return in a line what has failed so far; empty if nothing has."""
        with self._lock:
            failed = [number for number in self._failed if not self._futures[number].cancelled()]
        if not failed:
            return ""
        first = min(failed)
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        which = f"item {first}: " if len(self) > 1 else ""
        return f"{which}{self._futures[first].summary()}{more}"

    def __repr__(self) -> str:
        return line(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: FBT001
        printer.text("…" if cycle else line(self))

    def _ipython_display_(self) -> None:
        if self.is_shown:
            self.is_shown = False
        else:
            self.cluster._ipython_display_()


def _told(item: Mapping[str, Any]) -> str:
    return display.clean(", ".join(f"{name} = {value!r}" for name, value in item.items()), 120)


_found: dict[str, CellRun] = {}


def found(run_dir: RunDir, cluster: Cluster | None = None) -> CellRun:
    """Return the run of a folder, the same object each time.

    Raises
    ------
    HTCMagicError
        It is not the folder of a cell.
    """
    known = _found.get(run_dir.run)
    if known is None:
        known = _found[run_dir.run] = CellRun(cluster or attach(run_dir))
    return known
