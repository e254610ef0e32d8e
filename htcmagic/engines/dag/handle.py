"""Dag: the handle on a DAG that was sent."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from htcmagic.engines.dag import rundir
from htcmagic.engines.dag.follower import Watch, follower
from htcmagic.engines.dag.language import Graph, read
from htcmagic.engines.dag.node import Nodes
from htcmagic.engines.dag.rundir import DagRecord
from htcmagic.engines.dag.states import NodeState, Summary, Tracker
from htcmagic.errors import CellError, HTCMagicError, Interrupted, ResultMissing, TimedOut
from htcmagic.jobs.cluster import Cluster, attach
from htcmagic.jobs.follower import follower as jobs_follower
from htcmagic.jobs.rundir import RunDir, all_runs
from htcmagic.pool.client import client

if TYPE_CHECKING:
    from htcmagic.engines.dag.view import Views

LIMITS = {"maxjobs": "max_nodes", "maxidle": "max_idle", "maxpre": "max_pre", "maxpost": "max_post"}
FINAL_WORDS_S = 5.0


class Dag:
    """A DAG that DAGMan runs, with its drawing as its notebook form, live.

    It goes on without the notebook: %condor_dag finds it again, also after a restart of the kernel.

    Parameters
    ----------
    cluster : Cluster
        DAGMan's own job.
    record : DagRecord
        What is kept of the DAG.
    run_dir : RunDir
        The folder of this try.
    """

    def __init__(self, cluster: Cluster, record: DagRecord, run_dir: RunDir) -> None:
        self.nodes = Nodes(self)
        self._views: Views | None = None
        self._earlier: list[Tracker] | None = None
        self._take(cluster, record, run_dir)

    def _take(self, cluster: Cluster, record: DagRecord, run_dir: RunDir) -> None:
        """Be the handle on a try: the first one, or one that resumes it."""
        self.cluster = cluster
        self.record = record
        self.run_dir = run_dir
        done = rundir.done_in(Path(record.rescue)) if record.rescue else []
        self.tracker = Tracker(self.graph(), done)
        self._ended = threading.Event()
        _handles[run_dir.run] = self
        path = record.node_log.replace("@(CLUSTER)", str(cluster.id))
        follower().follow(self, Watch(path, rundir.out_file(run_dir)))

    def graph(self) -> Graph:
        """Read the DAG's file."""
        path = Path(self.record.file)
        try:
            return read(path.read_text(errors="replace"), Path(self.record.directory))
        except (OSError, CellError) as error:
            raise HTCMagicError(f"The DAG's file {path} cannot be read any more: {error}") from None

    @property
    def id(self) -> int:
        """The cluster id of DAGMan's own job."""
        return self.cluster.id

    @property
    def name(self) -> str:
        """The batch name."""
        return self.cluster.name

    @property
    def origin_dir(self) -> RunDir:
        """The folder of the first try: outputs and results of all tries are there."""
        return RunDir(self.run_dir.path.parent / self.record.origin)

    @property
    def states(self) -> dict[str, str]:
        """Each node's state."""
        return {name: state.value for name, state in self.tracker.shown().items()}

    @property
    def status(self) -> dict[str, int]:
        """Nodes by state."""
        counts = self.summary().counts
        return {state.value: counts.get(state, 0) for state in NodeState}

    @property
    def over(self) -> bool:
        """Whether DAGMan has ended."""
        return self.cluster.done

    @property
    def done(self) -> bool:
        """Whether it has ended, well or not, and every node's last state is known."""
        return self._ended.is_set()

    @property
    def ok(self) -> bool:
        """Whether it has ended well."""
        return self.over and self.cluster.status["done"] == 1

    def summary(self) -> Summary:
        """Return counts and times, as of now."""
        return self.tracker.summary()

    def failed(self) -> list[str]:
        """Return the nodes that have failed."""
        return [name for name, state in self.tracker.states.items() if state is NodeState.FAILED]

    def earlier(self) -> Iterable[Tracker]:
        """Return what happened in the tries that this one resumes, newest first."""
        if self._earlier is None:
            self._earlier = []
            for run_dir in all_runs():
                record = rundir.load(run_dir)
                if record is None or record.origin != self.record.origin or run_dir.run >= self.run_dir.run:
                    continue
                with contextlib.suppress(HTCMagicError, OSError, ValueError):
                    before = Tracker(self.tracker.graph)
                    path = record.node_log.replace("@(CLUSTER)", str(run_dir.load().cluster))
                    watch = Watch(path, rundir.out_file(run_dir))
                    watch.read(before, follower().door)
                    watch.forget(follower().door)
                    self._earlier.append(before)
        return self._earlier

    def wait(self, timeout: float | None = None) -> Dag:
        """Wait until it has ended, well or not.

        An interrupt ends the waiting and leaves the DAG alone.

        Parameters
        ----------
        timeout : float, optional
            Seconds; for ever if not given.

        Raises
        ------
        Interrupted
            The user did not want to wait any longer.
        TimedOut
            It has not ended; the message says where it is.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while not self._ended.wait(0.5 if deadline is None else max(0.0, min(0.5, deadline - time.monotonic()))):
                if deadline is not None and time.monotonic() >= deadline:
                    raise TimedOut(
                        f"After {timeout:g} s: {self!r}.", hint="It goes on; wait again, or remove it: .rm()"
                    )
        except KeyboardInterrupt:
            raise Interrupted(f"Stopped waiting; the DAG goes on.\nTo remove it: %condor_rm {self.id}") from None
        return self

    def rm(self, reason: str = "removed from a notebook") -> int:
        """Remove it, and with it all jobs of its nodes; what is done is kept for .rescue()."""
        return self.cluster.rm(reason)

    def halt(self) -> None:
        """Send no more nodes, until :meth:`resume`; jobs that are under way go on."""
        self._tell("halt", reason="halted from a notebook", pause=True)
        self.tracker.halted = True
        self.changed()

    def resume(self) -> None:
        """Send nodes again after .halt()."""
        self._tell("resume")
        self.tracker.halted = False
        self.changed()

    def throttle(
        self,
        maxjobs: int | None = None,
        maxidle: int | None = None,
        maxpre: int | None = None,
        maxpost: int | None = None,
    ) -> None:
        """Change how much it does at once.

        Parameters
        ----------
        maxjobs : int, optional
            Most nodes with jobs in the queue.
        maxidle : int, optional
            Most idle jobs.
        maxpre, maxpost : int, optional
            Most PRE and POST scripts.

        Raises
        ------
        CellError
            Less than one.
        """
        given = {"maxjobs": maxjobs, "maxidle": maxidle, "maxpre": maxpre, "maxpost": maxpost}
        wanted = {name: number for name, number in given.items() if number is not None}
        if not wanted:
            raise CellError("throttle: nothing is given.", hint="For example: dag.throttle(maxjobs=10)")
        for name, number in wanted.items():
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                raise CellError(
                    f"throttle({name}={number}): at least 1, as DAGMan takes 0 for no limit.",
                    hint="To send no more nodes for a while: .halt()",
                )
        self._tell("throttle", **{LIMITS[name]: number for name, number in wanted.items()})

    def _tell(self, command: str, **values: Any) -> None:
        if self.over:
            hint = "Resume what has not run: .rescue()" if not self.ok else ""
            raise HTCMagicError(f"The DAG {self.name} has ended.", hint=hint)
        wrong = client(self.cluster.record.pool).call(
            "dag_command", cluster=self.id, command=command, values=values, within_s=30.0
        )
        if wrong:
            raise HTCMagicError(f"DAGMan ({self.id}) does not take {command}: {wrong}.", hint="Try again in a moment.")

    def rescue(self, *functions: Callable[..., Any]) -> Dag:
        """Run what has failed and what has not run; what is done is kept. The handle follows the new try.

        Parameters
        ----------
        *functions : callable
            Mended versions of functions, in place of those of the same name.

        Raises
        ------
        HTCMagicError
            There is nothing to resume.
        """
        from htcmagic import places  # noqa: PLC0415 - rarely
        from htcmagic.engines.dag import sending  # noqa: PLC0415 - it makes handles

        if not self.over:
            raise HTCMagicError(f"The DAG {self.name} still runs.", hint="After .halt() it goes on with .resume()")
        if self.ok:
            raise HTCMagicError(f"The DAG {self.name} is done: there is nothing to resume.")
        self._ended.wait(FINAL_WORDS_S)
        if functions:
            from htcmagic.engines.dag import outcomes  # noqa: PLC0415 - not every DAG has functions

            if not self.record.functions:
                raise CellError("rescue: the nodes of this DAG are programs, so it takes no functions.")
            outcomes.replace(self, functions)
        told = client(self.cluster.record.pool)
        resumed = sending.start(self.record, self.name, told, RunDir.create(places.log_dir()))
        self._earlier = None
        self._take(*resumed)
        return self

    def result(self, name: str) -> Any:
        """Return what a function node returned; raises what it raised."""
        from htcmagic.engines.dag import outcomes  # noqa: PLC0415 - not every DAG has functions

        self.nodes[name]
        if not self.record.functions:
            raise ResultMissing("The nodes of this DAG are programs.", hint=f"See: .nodes[{name!r}].stdout()")
        return outcomes.value(self, name)

    def results(self, timeout: float | None = None) -> dict[str, Any]:
        """Wait, and return what each function node returned, by name.

        Raises
        ------
        Exception
            What the first node that failed raised.
        """
        from htcmagic.engines.dag import outcomes  # noqa: PLC0415 - not every DAG has functions

        self.wait(timeout)
        return outcomes.values(self)

    # what the follower calls, in its thread

    def changed(self, *, anything: bool = True) -> None:
        """Show what is new, and how time passes."""
        if self._views is not None:
            self._views.update(anything=anything)

    def finish(self) -> None:
        """Take in that DAGMan has ended and everything it said was read."""
        self.tracker.end(well=self.ok)
        self._ended.set()
        if self._views is not None:
            self._views.update(force=True)

    def __repr__(self) -> str:
        from htcmagic.engines.dag import view  # noqa: PLC0415 - only where it is shown

        return view.line(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: FBT001
        printer.text("…" if cycle else repr(self))

    def _ipython_display_(self) -> None:
        from htcmagic.engines.dag.view import Views  # noqa: PLC0415 - only where it is shown

        if self._views is None:
            self._views = Views(self)
        self._views.show()


_handles: dict[str, Dag] = {}


def dags(name: str | int | None = None, *, limit: int = 100) -> list[Dag]:
    """Return the DAGs that this user sent, newest first, also those of other sessions.

    Parameters
    ----------
    name : str or int, optional
        Only those with this batch name, cluster id or run name.
    limit : int
        Most of them.
    """
    found: list[Dag] = []
    for run_dir, record in rundir.dag_runs():
        try:
            kept = run_dir.load()
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if not kept.cluster or (name is not None and str(name) not in {kept.name, str(kept.cluster), record.origin}):
            continue
        with contextlib.suppress(HTCMagicError):  # its file is gone
            cluster = attach(run_dir, kept)
            jobs_follower().catch_up(cluster)
            dag = _handles.get(run_dir.run) or Dag(cluster, record, run_dir)
            follower().catch_up(dag)
            found.append(dag)
        if len(found) >= limit:
            break
    return found
