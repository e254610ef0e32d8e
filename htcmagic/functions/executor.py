"""Warm workers behind ``concurrent.futures.Executor``."""

from __future__ import annotations

import contextlib
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from contextlib import AbstractContextManager
from typing import Any, Literal, NoReturn

from htcmagic.errors import CellError, Interrupted
from htcmagic.functions import executions, executorhome
from htcmagic.functions.ends import ShutDown
from htcmagic.functions.executing import Execution
from htcmagic.functions.executorview import NAME, Status, View, status
from htcmagic.functions.room import room
from htcmagic.functions.spool import Options
from htcmagic.functions.taskfuture import TaskFuture
from htcmagic.functions.waiting import waiting
from htcmagic.functions.workers import Plan
from htcmagic.jobs.cluster import Cluster

MOST = 10
"""Workers, where nobody says how many."""


class Executor(futures.Executor):
    """Runs functions in jobs that stay warm; a real ``concurrent.futures.Executor``.

    Workers are sent when there is something to do, take one call after the other, and end when there is nothing to do
    for a while, or when the executor is shut down, deleted, or the session ends. In a notebook its last line in a cell
    is a live view.

    Parameters
    ----------
    workers : int, optional
        So many workers, as soon as there is something to do.
    min_workers, max_workers : int
        In place of `workers`: never fewer, never more; in between as many as there are calls to do.
    idle_s : float
        A worker without work ends after this time.
    retries : int
        How often a call is run again when its worker vanishes (the machine dies, the job is removed or held). A job
        that HTCondor evicts hands its call back, which does not count. A call whose own process dies is not run again.
    detach : bool
        Workers go on when the session ends, and wait for another one: ``Executor(name=…, detach=True)`` there finds
        them again, and ``.pending`` the futures that nobody has asked for. ``.shutdown()`` ends it.
    name : str
        Batch name of its jobs.
    cache : bool
        Calls that were computed before are not computed again.
    lease_s : float
        Workers end when the session has not been heard of for this time: it was killed.
    **submit : object
        ``memory="2GB"``, ``cpus=2`` or any submit command; further ``python``, ``container``, ``stack``, ``ship_env``,
        ``kernel``: where the workers' Python comes from; ``channel="chirp"``: workers use HTCondor's own channel even
        where they see the session's files.

    Examples
    --------
    ::

        In [1]: with htcmagic.Executor(workers=8) as ex:
           ...:     future = ex.submit(pow, 2, 10)
           ...:     squares = list(ex.map(lambda x: x * x, range(100)))

        In [2]: future.result(), squares[-1]
        Out[2]: (1024, 9801)

        In [3]: ex = htcmagic.Executor(max_workers=20, request_memory="200MB", idle_s=30)

        In [4]: total = ex.submit(sum, [ex.submit(pow, 2, n) for n in range(4)])

        In [5]: total.result()
        Out[5]: 15

        In [6]: ex.shutdown()
    """

    def __init__(  # noqa: PLR0913 - each of them a word of the user's
        self,
        workers: int | None = None,
        *,
        min_workers: int = 0,
        max_workers: int | None = None,
        idle_s: float = 60.0,
        retries: int = 1,
        detach: bool = False,
        name: str = "",
        cache: bool = False,
        lease_s: float = 60.0,
        **submit: Any,
    ) -> None:
        _check(workers, min_workers, max_workers, retries, idle_s=idle_s, lease_s=lease_s)
        if detach and not name:
            raise CellError("detach=True: by what name is it found again?", hint='For example: name="pi"')
        most = workers if workers is not None else max(min_workers, MOST if max_workers is None else max_workers)
        channel = submit.pop("channel", "")
        options = Options(idle_s=idle_s, lease_s=lease_s, detach=detach, channel=channel)
        known = executions.detached(name) if detach else None
        if known is None:
            plan = _plan(name or NAME, min_workers, most, all_at_once=workers is not None, submit=submit)
            known = Execution(executorhome.folder(name, detach=detach), plan, options, _connect(), retries)
        self._execution = known
        self._view = View(known)
        self._shut = False
        known.calls.caches = cache
        if not detach:
            room().watch(known)
            weakref.finalize(self, Execution.close_when_done, known).atexit = False
        known.handle = weakref.ref(self)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> TaskFuture:
        """Have a call run by a worker.

        Parameters
        ----------
        fn : callable
            The function; what it uses of the notebook comes along.
        *args, **kwargs : object
            Its arguments. Futures among them are waited for, and stand for their results.

        Returns
        -------
        TaskFuture
            What cannot be sent is told by it, too.
        """
        self._must_be_open()
        return self._execution.submit(fn, args, kwargs)

    def map(
        self, fn: Callable[..., Any], *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1
    ) -> Iterator[Any]:
        """Return the results of calls, in the order of their arguments; as the built-in ``map``.

        Parameters
        ----------
        fn : callable
            The function, with as many arguments as there are iterables.
        *iterables : iterable
            Read to their end at once; :func:`htcmagic.map` is there for a great many items, and keeps what it has.
        timeout : float, optional
            Seconds until the last result must be there.
        chunksize : int
            Without effect: calls are packed as it fits.
        """
        del chunksize
        self._must_be_open()
        end = None if timeout is None else time.monotonic() + timeout
        execution = self._execution
        packed = None
        with contextlib.suppress(Exception):  # each call's future tells it
            packed = execution.calls.pack(fn)
        calls = [execution.submit(fn, args, {}, packed) for args in zip(*iterables, strict=False)]
        return _results(execution, calls, end)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - the base's
        """End it: no more calls are taken, workers end when all that were taken are done.

        Parameters
        ----------
        wait : bool
            Whether to wait for that.
        cancel_futures : bool
            Whether to cancel calls that no worker has taken yet.
        """
        self._shut = True
        if cancel_futures:
            self._execution.cancel_all()
        if not wait:
            self._execution.close_when_done()
            return
        try:
            with waiting(lambda: self._execution.remove, self._execution.end):
                self._execution.wait()
        except Interrupted:
            self._execution.close_when_done()  # or has ended by now
            raise
        self._execution.end(patient=True)

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: object) -> Literal[False]:
        """Shut down; after an interrupt without waiting, and without what has not begun, if nothing else was said."""
        stopped = kind is not None and issubclass(kind, KeyboardInterrupt)
        self.shutdown(wait=not stopped, cancel_futures=stopped and not isinstance(error, Interrupted))
        return False

    @property
    def _max_workers(self) -> int:
        """How many workers there may be; by this name dask looks for it, as it is CPython's."""
        return self._execution.plan.most

    def joblib(self) -> AbstractContextManager[None]:
        """Let joblib, and with it scikit-learn, compute with these workers: ``with ex.joblib(): …``."""
        from htcmagic.functions import joblibbackend  # noqa: PLC0415 - joblib need not be there

        return joblibbackend.used(self)

    @property
    def pending(self) -> list[TaskFuture]:
        """Futures that have no result yet; of a detached executor also those whose result nobody has asked for."""
        return self._execution.pending

    @property
    def clusters(self) -> list[Cluster]:
        """The worker jobs behind it."""
        return list(self._execution.workers.clusters)

    def status(self) -> Status:
        """Return what tasks and workers do, and why workers do not work if they do not."""
        return status(self._execution, ask=True)

    def _must_be_open(self) -> None:
        if self._shut or self._execution.ended:
            raise ShutDown("cannot schedule new futures after shutdown", hint="Make a new one: htcmagic.Executor(…)")

    def __reduce__(self) -> NoReturn:
        raise TypeError("an Executor stays in its session: workers cannot submit calls; return values and submit here")

    def __repr__(self) -> str:
        return repr(status(self._execution))

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: FBT001
        printer.text("…" if cycle else repr(self))

    def _ipython_display_(self) -> None:
        self._view.show()


def _results(execution: Execution, calls: list[TaskFuture], end: float | None) -> Iterator[Any]:
    """Yield results; what is not asked for any more is cancelled."""
    calls.reverse()
    try:
        while calls:
            yield calls.pop().result(None if end is None else end - time.monotonic())
    except Interrupted:
        calls = []  # the jobs go on, or have been removed already
        raise
    finally:
        execution.cancel(calls)


def _check(workers: int | None, least: int, most: int | None, retries: int, *, idle_s: float, lease_s: float) -> None:
    for name, value, lowest in (
        ("workers", workers, 1),
        ("min_workers", least, 0),
        ("max_workers", most, 1),
        ("retries", retries, 0),
    ):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < lowest):
            raise CellError(f"{name}={value!r}: a whole number, {lowest} or more, is wanted.")
    if workers is not None and (least or most is not None):
        raise CellError("workers=… says how many; min_workers and max_workers are for a number that changes.")
    if most is not None and least > most:
        raise CellError(f"min_workers={least} is more than max_workers={most}.")
    for name, seconds in (("idle_s", idle_s), ("lease_s", lease_s)):
        if not isinstance(seconds, int | float) or seconds <= 0:
            raise CellError(f"{name}={seconds!r}: seconds are wanted, more than 0.")


def _plan(name: str, least: int, most: int, *, all_at_once: bool, submit: dict[str, Any]) -> Plan:
    from htcmagic.functions import place  # noqa: PLC0415 - looks at kernels

    where = {
        word: submit.pop(word) for word in ("python", "container", "stack", "ship_env", "kernel") if word in submit
    }
    resources = {**place.defaults(), **place.resources(**submit)}
    return Plan(place.place(**where), name, least, most, all_at_once, resources)


def _connect() -> Callable[[], Any]:
    from htcmagic.pool.resolve import connect  # noqa: PLC0415 - loads the door

    client = connect("", "", report=print)
    return lambda: client
