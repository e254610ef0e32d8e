"""The states of a DAG's nodes, from the events of their jobs and from what DAGMan itself writes: no I/O."""

from __future__ import annotations

import enum
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from htcmagic.engines.dag.language import Graph
from htcmagic.jobs.model import Hold

SUBMIT, EXECUTE, EVICTED, TERMINATED, SHADOW_EXCEPTION, ABORTED = 0, 1, 4, 5, 7, 9
HELD, RELEASED, POST_ENDED, RECONNECT_FAILED = 12, 13, 16, 24
BACK_TO_IDLE = frozenset({EVICTED, SHADOW_EXCEPTION, RELEASED, RECONNECT_FAILED})
Event = tuple[int, int, int, float, str, tuple[object, ...]]


class NodeState(enum.Enum):
    """What a user wants to know of a node."""

    WAITING = "waiting"
    PRE = "in its PRE script"
    IDLE = "idle"
    RUNNING = "running"
    HELD = "held"
    POST = "in its POST script"
    DONE = "done"
    FAILED = "failed"
    NOT_RUN = "not run"

    @property
    def final(self) -> bool:
        """Whether it stays so, unless the DAG is resumed."""
        return self in _FINAL


_FINAL = frozenset({NodeState.DONE, NodeState.FAILED, NodeState.NOT_RUN})

SAID = re.compile(
    r"(?P<pre>Running PRE script of Node )|(?P<post>Running POST script of Node )|(?P<sent>Submitting HTCondor Node )"
    r"|(?P<retry>Retrying node )|(?P<blocked>PRE Script of node )|(?P<after>POST Script of node )"
    r"|(?P<said>submit error: )|(?P<name>\s+Node Name: )|(?P<error>\s+Error: )"
    r"|(?P<halted>Halting DAGMan|DAG is (?:currently )?halted|DAGMan is already halted)"
    r"|(?P<resumed>Resuming DAG|DAG resumed)"
    r"|(?P<rescue>Writing Rescue DAG to )|(?P<fatal>ERROR: )"
)
STAMP = re.compile(r"\d\d/\d\d/\d\d \d\d:\d\d:\d\d ")


@dataclass(slots=True)
class Job:
    """A node's jobs in its latest try.

    Attributes
    ----------
    cluster : int
        Their id; 0 before they were sent.
    procs : dict
        Each job's state.
    """

    cluster: int = 0
    procs: dict[int, NodeState] = field(default_factory=dict)
    tries: int = 0
    sent: int = 0
    """How often jobs of the node were sent."""
    started: float | None = None
    ended: float | None = None
    host: str = ""
    code: int | None = None
    signal: int | None = None
    hold: Hold | None = None
    error: str = ""
    """Why it failed, in DAGMan's words or ours."""


@dataclass(frozen=True, slots=True)
class Summary:
    """One look at a DAG."""

    counts: dict[NodeState, int]
    nodes: int
    started: float | None
    ended: float | None


class Tracker:
    """States by node.

    Parameters
    ----------
    graph : Graph
        The DAG.
    done : iterable of str
        Nodes that were done before: by a rescue DAG.
    """

    def __init__(self, graph: Graph, done: Iterable[str] = ()) -> None:
        self.graph = graph
        self.before = {name for name in done if name in graph.nodes}
        self.states = dict.fromkeys(graph.nodes, NodeState.WAITING)
        self.jobs: dict[str, Job] = {}
        self.halted = False
        self.trouble = ""
        """What DAGMan complained of that concerns no node."""
        self.rescue = ""
        self._of_cluster: dict[int, str] = {}
        self._about = ""
        self._submitting = ""
        self._last = 0.0
        for name, node in graph.nodes.items():
            if node.done or name in self.before:
                self.states[name] = NodeState.DONE

    def job(self, name: str) -> Job:
        """Return what is known of a node's jobs."""
        return self.jobs.setdefault(name, Job())

    def apply(self, events: Iterable[Event]) -> bool:
        """Take events in; return whether something changed."""
        changed = False
        for kind, cluster, proc, when, node, details in events:
            self._last = max(self._last, when)
            if kind == SUBMIT and node in self.states:
                self._submitted(node, cluster, proc)
                changed = True
            elif kind == POST_ENDED and node in self.states:
                changed |= self._post_ended(node, details)
            elif cluster in self._of_cluster:
                changed |= self._happened(self._of_cluster[cluster], kind, proc, when, details)
        return changed

    def _submitted(self, name: str, cluster: int, proc: int) -> None:
        job = self.job(name)
        if job.cluster != cluster:
            self._of_cluster.pop(job.cluster, None)
            sent = job.sent + 1
            self.jobs[name] = job = Job(cluster=cluster, tries=max(sent, job.tries), sent=sent)
            self._of_cluster[cluster] = name
        job.procs.setdefault(proc, NodeState.IDLE)
        self._settle(name)

    def _happened(self, name: str, kind: int, proc: int, when: float, details: tuple[object, ...]) -> bool:
        job = self.jobs[name]
        if job.procs.get(proc, NodeState.IDLE).final:
            return False
        if kind == EXECUTE:
            job.procs[proc] = NodeState.RUNNING
            job.started = when if job.started is None else job.started
            job.host = str(details[1] or details[0] or "")
        elif kind == TERMINATED:
            normally, code, signal = details
            fine = bool(normally) and code == 0
            job.procs[proc] = NodeState.DONE if fine else NodeState.FAILED
            job.ended = when
            if not fine:
                job.code, job.signal = (_int(code), None) if normally else (None, _int(signal))
                job.error = f"exit code {job.code}" if normally else f"ended by signal {job.signal}"
            elif job.code is None and job.signal is None:
                job.code = 0
        elif kind == ABORTED:
            why = str(details[0] or "by somebody")
            job.error = "removed with the DAG" if "OtherJobRemoveRequirements" in why else f"removed: {why}"
            job.procs[proc], job.ended = NodeState.FAILED, when
        elif kind == HELD:
            job.procs[proc] = NodeState.HELD
            job.hold = Hold(str(details[0] or ""), _int(details[1]), _int(details[2]))
        elif kind in BACK_TO_IDLE:
            job.procs[proc] = NodeState.IDLE
        else:
            return False
        self._settle(name)
        return True

    def _settle(self, name: str) -> None:
        """Give a node the state that its jobs' states make."""
        job, node = self.jobs[name], self.graph.nodes[name]
        states = set(job.procs.values())
        for state in (NodeState.HELD, NodeState.RUNNING, NodeState.IDLE):
            if state in states and NodeState.FAILED not in states:
                self.states[name] = state
                return
        if NodeState.FAILED in states:
            again = job.tries <= node.retries
            self.states[name] = NodeState.WAITING if again else NodeState.FAILED
            if "POST" in node.scripts:
                self.states[name] = NodeState.POST
        else:
            self.states[name] = NodeState.POST if "POST" in node.scripts else NodeState.DONE

    def _post_ended(self, name: str, details: tuple[object, ...]) -> bool:
        normally, code, _ = details
        job = self.job(name)
        fine = bool(normally) and code == 0
        if not fine:
            job.error = f"its POST script: exit code {code}" if normally else "its POST script was killed"
        again = job.tries <= self.graph.nodes[name].retries
        self.states[name] = NodeState.DONE if fine else NodeState.WAITING if again else NodeState.FAILED
        return True

    def hear(self, lines: Iterable[str]) -> bool:
        """Take in lines of what DAGMan writes for people; return whether something changed."""
        changed = False
        for line in lines:
            text = STAMP.sub("", line, count=1)
            found = SAID.match(text)
            if found:
                changed |= self._heard(found.lastgroup or "", text[found.end() :].rstrip("\n"), text.rstrip("\n"))
        return changed

    def _heard(self, what: str, rest: str, whole: str) -> bool:
        if what == "name":
            self._about = rest.strip()
        elif what == "error":
            self._failed(self._about, rest.strip())
        elif what in {"halted", "resumed"}:
            self.halted = what == "halted"
        elif what == "rescue":
            self.rescue = rest.strip().removesuffix("...")
        elif what == "said":
            self._failed(self._submitting, f"not submitted: {rest}", final=False)
        elif what == "fatal":
            self.trouble = self.trouble if "the following" in rest else rest
        else:
            name = rest.partition(" ")[0].removesuffix("...")
            return name in self.states and self._node_heard(what, name, whole)
        return True

    def _node_heard(self, what: str, name: str, whole: str) -> bool:
        job = self.job(name)
        if what == "sent":
            self._submitting = name
            if self.states[name] is NodeState.PRE:
                self.states[name] = NodeState.WAITING
        elif what == "pre":
            self.states[name] = NodeState.PRE
            job.tries = max(job.tries, 1)
        elif what == "blocked" and "failed" in whole:
            job.error = "its PRE script" + whole.partition(name)[2]
        elif what == "post" and not self.states[name].final:
            self.states[name] = NodeState.POST
        elif what == "retry":
            number = re.search(r"retry #(\d+)", whole)
            job.tries = max(job.tries, int(number.group(1)) + 1 if number else 1)
            if self.states[name].final or self.states[name] in {NodeState.POST, NodeState.PRE}:
                self.states[name] = NodeState.WAITING
        else:
            return False
        return True

    def _failed(self, name: str, why: str, *, final: bool = True) -> None:
        if name not in self.states:
            return
        job = self.job(name)
        job.error = job.error or why
        if final:
            self.states[name] = NodeState.FAILED

    def end(self, *, well: bool) -> None:
        """Take in that DAGMan has ended: what has not run will not."""
        for name, state in self.states.items():
            if not state.final:
                started = state in {NodeState.RUNNING, NodeState.HELD, NodeState.PRE, NodeState.POST, NodeState.IDLE}
                self.states[name] = NodeState.DONE if well else NodeState.FAILED if started else NodeState.NOT_RUN
                if started and not well:
                    self.job(name).error = self.job(name).error or "it had not ended when the DAG did"

    def shown(self) -> dict[str, NodeState]:
        """Return the states as they are shown: what waits for a node that has failed will not run."""
        states = dict(self.states)
        todo = [name for name, state in states.items() if state is NodeState.FAILED]
        while todo:
            for child in self.graph.nodes[todo.pop()].children:
                if states[child] is NodeState.WAITING:
                    states[child] = NodeState.NOT_RUN
                    todo.append(child)
        return states

    def summary(self) -> Summary:
        """Return counts and times."""
        starts = [job.started for job in list(self.jobs.values()) if job.started is not None]
        counts = Counter(self.shown().values())
        return Summary(dict(counts), len(self.states), min(starts, default=None), self._last or None)


def _int(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0
