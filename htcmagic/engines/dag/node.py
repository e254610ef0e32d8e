"""The handle on one node of a DAG."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from htcmagic.engines.dag.states import Job, NodeState, Tracker
from htcmagic.errors import HTCMagicError, NoSuchJob
from htcmagic.jobs.model import Hold
from htcmagic.jobs.outputs import Outputs
from htcmagic.jobs.rundir import Record, RunDir

if TYPE_CHECKING:
    from htcmagic.engines.dag.handle import Dag

ASK = "$(htcmagic_ask)"
"""Stands for a file name that only the job's ad knows."""
MOST_BYTES = 10_000_000


class DagNode:
    """One node: its state, its jobs, what they wrote.

    Parameters
    ----------
    dag : Dag
        Whose node it is.
    name : str
        Its name in the DAG.
    """

    def __init__(self, dag: Dag, name: str) -> None:
        self._dag = dag
        self.name = name

    @property
    def state(self) -> NodeState:
        """Waiting, in its PRE script, idle, running, held, in its POST script, done, failed, or not run."""
        return self._dag.tracker.shown()[self.name]

    @property
    def _job(self) -> Job:
        """Its jobs; where a rescue DAG has skipped it, those of before."""
        for tracker in (self._dag.tracker, *self._dag.earlier()):
            job = tracker.jobs.get(self.name)
            if job is not None and job.cluster:
                return job
        return self._dag.tracker.jobs.get(self.name, Job())

    @property
    def id(self) -> int:
        """The cluster id of its jobs; 0 before they were sent."""
        return self._job.cluster

    @property
    def tries(self) -> int:
        """How often it was tried."""
        return self._job.tries

    @property
    def exit_code(self) -> int | None:
        """The exit code of its job, or of the last one that failed; None if there is none."""
        return self._job.code

    @property
    def host(self) -> str:
        """Where its job ran last."""
        return self._job.host

    @property
    def hold(self) -> Hold | None:
        """Why it is held; None if it is not."""
        return self._job.hold if self.state is NodeState.HELD else None

    @property
    def error(self) -> str:
        """Why it failed; empty if it has not."""
        return self._job.error if self.state is NodeState.FAILED else ""

    @property
    def parents(self) -> list[str]:
        """What it waits for."""
        return list(self._dag.tracker.graph.nodes[self.name].parents)

    @property
    def children(self) -> list[str]:
        """What waits for it."""
        return list(self._dag.tracker.graph.nodes[self.name].children)

    def stdout(self, proc: int = 0) -> str:
        """Return what one of its jobs has written to its standard output so far."""
        return self._read("output", proc)

    def stderr(self, proc: int = 0) -> str:
        """Return what one of its jobs has written to its standard error so far."""
        return self._read("error", proc)

    def result(self) -> Any:
        """Return what its function returned; raises what that raised."""
        return self._dag.result(self.name)

    def complaint(self) -> str:
        """Return what its function raised, or the last line of its standard error; empty without either."""
        from htcmagic.engines.dag import outcomes  # noqa: PLC0415 - not every DAG has functions

        return outcomes.complaint(self._dag, self.name) or self.last_words()

    def last_words(self) -> str:
        """Return the last line that it wrote to its standard error, from a file that is here; empty without one."""
        path = self._default("error", 0)
        try:
            text = path.read_bytes()[-4000:].decode(errors="replace") if path is not None else ""
        except OSError:
            return ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1] if lines else ""

    def _default(self, stream: str, proc: int) -> Path | None:
        if not self.id:
            return None
        suffix = "out" if stream == "output" else "err"
        return self._dag.origin_dir.output_dir / f"{self.id}.{proc}.{suffix}"

    def _read(self, stream: str, proc: int) -> str:
        path = self._default(stream, proc)
        if path is None:
            return ""
        if not path.exists():
            path = self._outputs().path(proc, stream)
        try:
            return "" if path is None else path.read_bytes()[:MOST_BYTES].decode(errors="replace")
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise HTCMagicError(f"{path} cannot be read: {error.strerror}.") from None

    def _outputs(self) -> Outputs:
        whole = self._dag.cluster.record
        record = Record(whole.run, whole.name, whole.pool, cluster=self.id, procs=1, outputs=(ASK, ASK))
        return Outputs(record, RunDir(Path("/nonexistent")))

    def __repr__(self) -> str:
        job = f" ({self.id})" if self.id else ""
        why = f": {self.error}" if self.error else ""
        return f"<DagNode {self.name}{job} {self.state.value}{why}>"


class Nodes(Mapping[str, DagNode]):
    """The nodes of a DAG, by name."""

    def __init__(self, dag: Dag) -> None:
        self._dag = dag

    @property
    def _tracker(self) -> Tracker:
        return self._dag.tracker

    def __getitem__(self, name: str) -> DagNode:
        if name not in self._tracker.states:
            import difflib  # noqa: PLC0415 - only after a slip

            near = difflib.get_close_matches(str(name), self._tracker.states, n=1)
            raise NoSuchJob(f"The DAG has no node {name}.", hint=f"Did you mean {near[0]}?" if near else "")
        return DagNode(self._dag, name)

    def __contains__(self, name: object) -> bool:
        return name in self._tracker.states

    def __iter__(self) -> Iterator[str]:
        return iter(self._tracker.states)

    def __len__(self) -> int:
        return len(self._tracker.states)

    def __repr__(self) -> str:
        return "\n".join(repr(node) for node in list(self.values())[:50])
