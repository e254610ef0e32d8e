"""A function over many items: ``htcmagic.map``, and the results it gives."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, overload

from htcmagic.errors import HTCMagicError, NoSuchJob, TimedOut
from htcmagic.functions import mapnew, tags
from htcmagic.functions.mapends import Errors, ItemFuture
from htcmagic.functions.mapindex import FAILED, OK, WAITING
from htcmagic.functions.maprun import Run
from htcmagic.functions.mapview import Look, Views
from htcmagic.functions.mapwatch import hurry
from htcmagic.functions.tags import MapDir
from htcmagic.functions.waiting import waiting
from htcmagic.jobs.cluster import Cluster
from htcmagic.jobs.model import JobState

PATIENCE_S = 1.0
"""After waiting so long in a notebook, its progress bar appears."""
LOOK_S = 0.5
REMOVED_S = 5.0


def map(  # noqa: A001 - in place of map(), as users write it
    func: Callable[..., Any],
    *iterables: Iterable[Any],
    tag: str | None = None,
    chunk: int | str = "auto",
    overwrite: bool = False,
    cache: bool = False,
    **submit: Any,
) -> Map:
    """Run a function over items in jobs, as ``map()`` does here.

    Parameters
    ----------
    func : callable
        The function; it may come from the notebook.
    *iterables : iterable
        Its arguments, as for ``map()``: the shortest ends it. A future among them is waited for; then its result goes.
    tag : str, optional
        A name by which other sessions find it, with :func:`load`; one is made up if not given.
    chunk : int or "auto"
        So many items a job. ``auto``: a few jobs take the items from the map's folder, short calls many at a time.
    overwrite : bool
        Remove an earlier map of the same tag, first its jobs, then its results.
    cache : bool
        Take results of equal calls from the cache, and keep new ones there.
    **submit : object
        ``memory="2GB"``, ``request_memory="2GB"`` or any other submit command; ``inputs=["data.root"]`` for files that
        go along; ``python=``, ``container=``, ``stack=``, ``kernel=``, ``ship_env=`` for where Python comes from.

    Returns
    -------
    Map
        The results, in order, as they come.

    Examples
    --------
    ::

        In [1]: def double(x):
           ...:     return 2 * x

        In [2]: doubled = htcmagic.map(double, range(10_000), tag="simulation1")

        In [3]: sum(doubled)
        Out[3]: 99990000

        In [4]: doubled[3], doubled[-2:], len(doubled.errors)
        Out[4]: (6, [19996, 19998], 0)

        In [5]: powers = htcmagic.map(pow, [2, 3], [10, 4], memory="200MB")

        In [6]: {number: value for number, value in powers.as_completed()} == {0: 1024, 1: 81}
        Out[6]: True
    """
    options = mapnew.Options(tag, chunk, overwrite, cache, dict(submit))
    made = mapnew.make(func, iterables, options, replace=_replace)
    found = _loaded[str(made.folder.path)] = Map(made)
    return found


def load(tag: str) -> Any:
    """Find a map again, or what a ``%%condor_python`` cell has sent.

    Parameters
    ----------
    tag : str
        The map's tag; or a cell's batch name or cluster id.

    Returns
    -------
    Map
        Or what the cell returned.

    Raises
    ------
    HTCMagicError
        There is none.

    Examples
    --------
    ::

        In [1]: htcmagic.map(pow, [2, 3], [10, 4], tag="powers", overwrite=True).wait()

        In [2]: htcmagic.load("powers").results()
        Out[2]: [1024, 81]
    """
    text = str(tag)
    try:
        folder = MapDir.of(tags.checked(text))
    except HTCMagicError:
        folder = None
    if folder is None:
        folder, cell = mapnew.by_cluster(text)
        if cell is not None:
            return cell
    if folder is None:
        raise tags.unknown(text, tags.known())
    key = str(folder.path)
    known = _loaded.get(key)
    if known is None or not known.is_same(folder):
        known = _loaded[key] = Map(Run(folder))
    known.refresh()
    return known


_loaded: dict[str, Map] = {}


def _replace(folder: MapDir) -> None:
    """Remove an earlier map: its jobs, then its results."""
    old = _loaded.get(str(folder.path))
    found = old if old is not None and old.is_same(folder) else Map(Run(folder))
    found.refresh()
    found.delete()


class Map(Sequence[Any]):
    """The results of a function over many items: in order, as they come, and kept on disk until they are asked for.

    ``for r in m`` and ``m[3]`` wait for what they give; ``m.results()`` waits for all. A failed item raises what it
    raised in its job; ``m.errors`` has all of them, and ``m.rerun()`` runs them again.

    Parameters
    ----------
    run : Run
        Its files and jobs.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._views = Views(run)
        self._futures: list[ItemFuture] = []
        self._held_told: set[str] = set()
        self._removing_until = 0.0
        run.listeners.append(self._arrived)

    @property
    def tag(self) -> str:
        """Its name."""
        return self._run.folder.tag

    @property
    def status(self) -> dict[str, int]:
        """Items by state: idle, running, held, done, failed, removed."""
        self.refresh()
        counts = self._run.counts()
        return {state.value: counts[state] for state in JobState}

    @property
    def done(self) -> bool:
        """Whether every item has come to an end, well or not."""
        return self._run.done

    @property
    def clusters(self) -> list[Cluster]:
        """The jobs behind it."""
        return [leg.cluster for leg in self._run.legs if leg.cluster is not None]

    @property
    def errors(self) -> Errors:
        """What items raised so far, by their number."""
        return Errors(self._run)

    @property
    def futures(self) -> Sequence[Future[Any]]:
        """Its items as futures, for whatever takes those."""
        if not self._futures and len(self):
            self._futures = [ItemFuture(self, item) for item in range(len(self))]
            self._arrived(range(len(self)))
        return tuple(self._futures)

    # results

    def __len__(self) -> int:
        return self._run.index.count

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self._value(item) for item in range(len(self))[index]]
        return self._value(self._item(index))

    def __iter__(self) -> Iterator[Any]:
        for item in range(len(self)):
            yield self._value(item)

    def as_completed(self, timeout: float | None = None) -> Iterator[tuple[int, Any]]:
        """Yield ``(number, result)`` of items as they come; when all others are through, raise the first error.

        Parameters
        ----------
        timeout : float, optional
            Seconds for all of them; for ever if not given.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        given, place, order = bytearray(len(self)), 0, self._run.index.order
        while True:
            while place < len(order):
                item = order[place]
                place += 1
                if self._run.index.states[item] == OK and not given[item]:
                    given[item] = 1
                    yield item, self._run.outcome(item).value()
            if self.done and place >= len(order):
                break
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            self._wait_for(lambda place=place: place < len(order) or self.done, left)  # type: ignore[misc]
        self._raise_first()

    def results(self, timeout: float | None = None) -> list[Any]:
        """Wait, and return all results in order; raise the first error if there is one.

        Parameters
        ----------
        timeout : float, optional
            Seconds; for ever if not given.
        """
        self.wait(timeout)
        self._raise_first()
        return [self._run.outcome(item).value() for item in range(len(self))]

    def wait(self, timeout: float | None = None) -> Map:
        """Wait until every item has come to an end, well or not; an interrupt leaves the jobs running.

        Parameters
        ----------
        timeout : float, optional
            Seconds; for ever if not given. Held jobs are waited for, since a hold can be released.

        Raises
        ------
        Interrupted
            The user did not want to wait any longer.
        TimedOut
            Some have no result yet.
        """
        self._wait_for(lambda: self.done, timeout)
        return self

    def stdout(self, index: int) -> str:
        """Return what an item printed; ``""`` if nothing, or if it is not through."""
        item = self._item(index)
        self.refresh()
        if self._run.index.states[item] in {OK, FAILED}:
            return self._run.outcome(item).stdout
        return ""

    def files(self, index: int) -> dict[str, Path]:
        """Return the files that an item left, by name; waits for it."""
        item = self._item(index)
        self._wait_for(lambda: self._run.index.states[item] != WAITING, None)
        if self._run.index.states[item] not in {OK, FAILED}:
            return {}
        return self._run.outcome(item).files()

    # jobs

    def rerun(self, *, failed: bool = True, **submit: Any) -> Map:
        """Run items again whose calls failed, are held or lost; their new results take the place of the old.

        Parameters
        ----------
        failed : bool
            Only those. False: all items.
        **submit : object
            What is to be different: ``request_memory="4GB"``.

        Raises
        ------
        HTCMagicError
            Something is to be different, but no call has failed: the others go on as they were sent.
        """
        self.refresh()
        changes = mapnew.resources(submit)
        items = self._run.unwell() if failed else [n for n in range(len(self)) if n not in self._run.late]
        while not items and not self.done and time.monotonic() < self._removing_until:
            time.sleep(REMOVED_S / 50)  # the event log tells of a removal a little later
            self.refresh()
            items = self._run.unwell()
        if changes and not items and not self.done:
            raise HTCMagicError(
                "Nothing has failed: what waits or runs goes on as it was sent.",
                hint="To send that anew: .cancel(), then .rerun(…) again. Why it waits: %condor_why",
            )
        if items:
            if failed:
                self._run.clear(items)
            else:
                self._run.remove("it is run again")
            self._run.send(items, changes)
            self._futures = []
        return self

    def cancel(self) -> int:
        """Remove its jobs; return how many. Results that are there stay, and ``rerun()`` runs the others again."""
        self._removing_until = time.monotonic() + REMOVED_S
        return self._run.remove()

    rm = cancel

    def delete(self) -> None:
        """Remove its jobs, and delete all that is kept of it."""
        self._run.remove("its map was deleted")
        self._run.discard()
        _loaded.pop(str(self._run.folder.path), None)

    # how it goes on

    def refresh(self) -> Map:
        """Look now for what is new, also from other sessions."""
        self._run.refresh(now=True)
        self._run.tick()
        return self

    def is_same(self, folder: MapDir) -> bool:
        """Whether a folder still is this map's, and not that of another one in its place."""
        return bool(folder.load().get("born") == self._run.told.get("born"))

    def _item(self, index: int) -> int:
        try:
            return range(len(self))[index]
        except IndexError:
            number = "1 item" if len(self) == 1 else f"{len(self):,} items"
            raise NoSuchJob(f"The map {self.tag!r} has {number}, no item {index}.") from None

    def _value(self, item: int) -> Any:
        self._wait_for(lambda: self._run.index.states[item] != WAITING, None)
        error = self._run.error(item)
        if error is not None:
            raise error
        return self._run.outcome(item).value()

    def _raise_first(self) -> None:
        for item in self.errors:
            raise self.errors[item]

    def _wait_for(self, ready: Callable[[], bool], timeout: float | None) -> None:
        if ready():
            return
        began = time.monotonic()
        with waiting(f"htcmagic.load({self.tag!r}).rm()", self.cancel):
            hurry()
            while not ready():
                spent_s = time.monotonic() - began
                if timeout is not None and spent_s >= timeout:
                    raise TimedOut(f"After {timeout:g} s: {self!r}.", hint=f"It goes on: {self._next_step()}")
                if spent_s > PATIENCE_S:
                    self._views.show_once()
                with self._run.news:
                    if not ready():
                        self._run.news.wait(LOOK_S if timeout is None else min(LOOK_S, timeout - spent_s))

    def _next_step(self) -> str:
        held = self._run.counts()[JobState.HELD]
        return '.rerun(request_memory="4GB") runs held items again' if held else "wait again, or remove it: .rm()"

    def _arrived(self, items: Sequence[int]) -> None:
        """Be told of items at their end, in any thread."""
        if self._futures:
            for item in items:
                self._futures[item].settle(self._run)
        self._views.update()

    def __repr__(self) -> str:
        return Look(self._run).line()

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: FBT001
        printer.text("…" if cycle else repr(self))

    def _ipython_display_(self) -> None:
        self.refresh()
        if not self._views.is_shown_here:
            self._views.show()
