"""Cluster and JobFuture: the handle on what was sent."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from pathlib import Path
from typing import Any, overload

from htcmagic.errors import Interrupted, NoSuchJob, TimedOut
from htcmagic.jobs import display
from htcmagic.jobs.follower import follower
from htcmagic.jobs.model import Exit, Hold, JobId, JobState, removed
from htcmagic.jobs.outputs import Outputs
from htcmagic.jobs.poolwatch import PoolWatch
from htcmagic.jobs.rundir import Record, RunDir
from htcmagic.jobs.tracker import Summary, Tracker
from htcmagic.pool.client import Client, client

NOT_SET_UP = 97
"""Exit code of a kernel's ``setup.sh`` when its set-up has failed."""


class JobFuture(Future[Exit]):
    """One job; a real ``concurrent.futures.Future`` of its exit information.

    ``result()`` gives an :class:`~htcmagic.jobs.model.Exit`, or raises ``JobFailed`` (exit code other than 0, or a
    signal) or ``JobRemoved``. A held job is still pending: a hold can be released. ``cancel()`` removes the job.
    """

    def __init__(self, cluster: Cluster, proc: int) -> None:
        super().__init__()
        self._cluster = cluster
        self.id = JobId(cluster.id, proc)
        self._cancelling = False

    @property
    def state(self) -> JobState:
        """Idle, running, held, done, failed or removed."""
        return self._cluster.tracker.state(self.id.proc)

    @property
    def hold(self) -> Hold | None:
        """Why the job is held; None if it is not."""
        return self._cluster.tracker.hold(self.id.proc)

    @property
    def item(self) -> dict[str, str]:
        """The queue item that the job was made from; empty if there was none."""
        return self._cluster.item(self.id.proc)

    def stdout(self) -> str:
        """Return what the job has written to its standard output so far."""
        return self._cluster.stdout(self.id.proc)

    def stderr(self) -> str:
        """Return what the job has written to its standard error so far."""
        return self._cluster.stderr(self.id.proc)

    def running(self) -> bool:
        """Whether the job runs now."""
        return self.state is JobState.RUNNING and not self.done()

    def cancel(self) -> bool:
        """Remove the job; ``False`` when it has ended already."""
        if self.done():
            return False
        self._cancelling = True
        if not self._cluster._act("Remove", [str(self.id)], "cancelled from a notebook"):  # noqa: SLF001
            self._cancelling = False  # it has just ended
        return self._cancelling

    def result(self, timeout: float | None = None) -> Exit:
        """Return how the job ended, waiting for that if need be.

        Parameters
        ----------
        timeout : float, optional
            Seconds; for ever if not given.

        Raises
        ------
        JobFailed, JobRemoved
            It did not end well.
        TimedOut
            It has not ended; the message says its state, and why it is held if it is.
        CancelledError
            It was cancelled through this future.
        """
        try:
            return super().result(timeout)
        except TimeoutError:
            why = f": {display.clean(self.hold.reason, display.LONGEST_REASON)}" if self.hold else ""
            raise TimedOut(
                f"Job {self.id} is {self.state.value}{why}.", hint=_next_step(held=bool(self.hold))
            ) from None
        except KeyboardInterrupt:
            raise Interrupted(f"Stopped waiting for job {self.id}; it goes on.") from None

    def _settle(self) -> None:
        """Take the final state over from the tracker; the follower and the user may do so at the same moment."""
        with contextlib.suppress(InvalidStateError):
            self._take_over()

    def _take_over(self) -> None:
        tracker, proc = self._cluster.tracker, self.id.proc
        if self.done() or not tracker.state(proc).final:
            return
        if tracker.state(proc) is JobState.REMOVED:
            if self._cancelling:
                super().cancel()
                self.set_running_or_notify_cancel()
            else:
                self.set_exception(removed(self.id, tracker.reasons.get(proc, "")))
            return
        exited = tracker.exits.get(proc, Exit(None))
        if exited.ok:
            self.set_result(exited)
        else:
            self.set_exception(exited.error(self.id, self._cluster.not_started(proc, exited)))

    def __repr__(self) -> str:
        return f"<JobFuture {self.id} {self.state.value}>"


class JobList(Sequence[JobFuture]):
    """The futures of a cluster's jobs, made when they are first asked for."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._made: dict[int, JobFuture] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._cluster.tracker.procs

    @overload
    def __getitem__(self, index: int) -> JobFuture: ...
    @overload
    def __getitem__(self, index: slice) -> list[JobFuture]: ...
    def __getitem__(self, index: int | slice) -> JobFuture | list[JobFuture]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        try:
            proc = range(len(self))[index]
        except IndexError:
            raise NoSuchJob(f"Cluster {self._cluster.id} has {len(self)} jobs, no job {index}.") from None
        with self._lock:
            future = self._made.get(proc)
            if future is None:
                future = self._made[proc] = JobFuture(self._cluster, proc)
        future._settle()  # noqa: SLF001
        return future

    def settle(self, procs: set[int]) -> None:
        """Hand final states to the futures that exist."""
        with self._lock:
            futures = [self._made[p] for p in procs if p in self._made]
        for future in futures:
            future._settle()  # noqa: SLF001


class Cluster(Sequence[JobFuture]):
    """A submission that arrived: its jobs, as futures, with a live progress bar as its notebook form.

    Parameters
    ----------
    record : Record
        What is known of it; from :func:`htcmagic.jobs.sending.send` or from disk.
    run_dir : RunDir
        Where its files are.
    """

    def __init__(self, record: Record, run_dir: RunDir) -> None:
        self.record = record
        self.run_dir = run_dir
        self.tracker = Tracker(record.cluster, record.procs, held=record.held)
        self.note = ""
        self.watchers: list[Callable[[set[int]], None]] = []
        """Called in the follower's thread with the jobs whose states have changed; they must be quick."""
        self.jobs = JobList(self)
        self._ended = threading.Event()
        self._pool = PoolWatch(record)
        self._views = display.Views(self)
        self._outputs = Outputs(record, run_dir)
        follower().follow(self)

    @property
    def id(self) -> int:
        """The cluster id."""
        return self.record.cluster

    @property
    def name(self) -> str:
        """The batch name; empty if it has none."""
        return self.record.name

    @property
    def log(self) -> Path | None:
        """The jobs' event log; None where none can be read from here."""
        return Path(self.record.log) if self.record.log else None

    @property
    def status(self) -> dict[str, int]:
        """Jobs by state: idle, running, held, done, failed, removed."""
        counts = self.summary().counts
        return {state.value: counts.get(state, 0) for state in JobState}

    @property
    def done(self) -> bool:
        """Whether every job has ended."""
        return self.summary().final

    def summary(self) -> Summary:
        """Return counts, first hold and times, as of now."""
        return self.tracker.summary()

    def __len__(self) -> int:
        return len(self.jobs)

    @overload
    def __getitem__(self, index: int) -> JobFuture: ...
    @overload
    def __getitem__(self, index: slice) -> list[JobFuture]: ...
    def __getitem__(self, index: int | slice) -> JobFuture | list[JobFuture]:
        return self.jobs[index]

    def __iter__(self) -> Iterator[JobFuture]:
        return iter(self.jobs)

    def wait(self, timeout: float | None = None) -> Cluster:
        """Wait until every job has ended, well or not.

        An interrupt ends the waiting and leaves the jobs alone.

        Parameters
        ----------
        timeout : float, optional
            Seconds; for ever if not given. Held jobs are waited for, since a hold can be released.

        Raises
        ------
        Interrupted
            The user did not want to wait any longer.
        TimedOut
            Some have not ended; the message says how many, and why the first is held.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while not self._ended.wait(0.5 if deadline is None else max(0.0, min(0.5, deadline - time.monotonic()))):
                if deadline is not None and time.monotonic() >= deadline:
                    raise TimedOut(
                        f"After {timeout:g} s: {display.line(self)}.",
                        hint=_next_step(held=self.summary().hold is not None),
                    )
        except KeyboardInterrupt:
            raise Interrupted(f"Stopped waiting; the jobs go on.\nTo remove them: %condor_rm {self.id}") from None
        return self

    def pause(self, seconds: float) -> None:
        """Wait that long, or less if every job has ended."""
        self._ended.wait(seconds)

    @property
    def ended(self) -> bool:
        """Whether every job has ended and everybody who waits was told."""
        return self._ended.is_set()

    def results(self, timeout: float | None = None) -> list[Exit]:
        """Wait, and return every job's exit information; raises the first job's error if one failed."""
        self.wait(timeout)
        return [job.result(0) for job in self.jobs]

    def failed(self) -> list[JobFuture]:
        """Return the jobs that have ended badly so far."""
        bad = {JobState.FAILED, JobState.REMOVED}
        return [self.jobs[proc] for proc, state in sorted(self.tracker.states.items()) if state in bad]

    def item(self, proc: int) -> dict[str, str]:
        """Return the queue item of one job; empty if there was none."""
        return self._outputs.item(proc)

    def stdout(self, index: int = 0) -> str:
        """Return what a job has written to its standard output so far; ``""`` if nothing."""
        return self._outputs.read(self.jobs[index].id.proc, "output")

    def stderr(self, index: int = 0) -> str:
        """Return what a job has written to its standard error so far; ``""`` if nothing."""
        return self._outputs.read(self.jobs[index].id.proc, "error")

    def not_started(self, proc: int, exited: Exit) -> str:
        """Return why a job's environment could not be set up; empty if it could, or nobody knows."""
        return self._outputs.reason(proc) if self.record.environment and exited.code == NOT_SET_UP else ""

    def rm(self, reason: str = "removed from a notebook") -> int:
        """Remove its jobs; return how many."""
        return self._act("Remove", f"ClusterId == {self.id}", reason)

    def hold(self, reason: str = "held from a notebook") -> int:
        """Hold its jobs, but for those that are held already; return how many."""
        return self._act("Hold", f"ClusterId == {self.id} && JobStatus != 5", reason)

    def release(self, reason: str = "released from a notebook") -> int:
        """Release its held jobs; return how many."""
        return self._act("Release", f"ClusterId == {self.id} && JobStatus == 5", reason)

    def edit(self, **changes: Any) -> int:
        """Change attributes of its jobs in the queue.

        Parameters
        ----------
        **changes : int, float, bool or str
            Attribute and value; a str is a ClassAd expression, so a text wants quotes of its own:
            ``cluster.edit(RequestMemory=2048, JobPrio=5, Note='"mine"')``.

        Returns
        -------
        int
            How many jobs were changed.
        """
        texts = {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in changes.items()}
        return self._client.edit(f"ClusterId == {self.id}", texts)

    @property
    def _client(self) -> Client:
        return client(self.record.pool)

    def _act(self, action: str, spec: str | list[str], reason: str) -> int:
        return self._client.act(action, spec, reason)["success"]

    # what the follower calls, in its thread

    def changed(self, procs: set[int]) -> None:
        """Show new states, then tell the futures."""
        final = self.summary().final
        self._views.update(force=final)
        self.jobs.settle(procs)
        if final:
            self._ended.set()
        for watcher in tuple(self.watchers):
            watcher(procs)

    def tick(self) -> None:
        """Keep the elapsed time on the screen true, and an eye on the pool."""
        if self.done:
            self._ended.set()
        elif self._pool.purged():
            self.changed(self.tracker.end_all("the personal pool was purged"))
        self._views.update()

    def lost(self, why: str) -> None:
        """Be told that the log is gone and polling has taken over."""
        self.note = f"{why}: asking the schedd instead"
        self._views.update(force=True)

    def __repr__(self) -> str:
        return display.line(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: FBT001
        printer.text("…" if cycle else display.line(self))

    def _ipython_display_(self) -> None:
        self._views.show()


def _next_step(*, held: bool) -> str:
    if held:
        return "Mend the cause, then .release() what is held; or remove it: .rm()"
    return "It goes on; wait again, or remove it: .rm()"


_loaded: dict[str, Cluster] = {}


def is_attached(run_dir: RunDir) -> bool:
    """Whether this process has a handle on a run already."""
    return run_dir.run in _loaded


def attached() -> list[Cluster]:
    """Return the clusters that this process has a handle on."""
    return list(_loaded.values())


def detach(cluster: Cluster) -> None:
    """Forget a cluster that was only looked at: its jobs may be many."""
    _loaded.pop(cluster.run_dir.run, None)


def attach(run_dir: RunDir, record: Record | None = None) -> Cluster:
    """Return the cluster of a run's folder, the same object each time."""
    found = _loaded.get(run_dir.run)
    if found is None:
        found = _loaded[run_dir.run] = Cluster(record or run_dir.load(), run_dir)
    return found
