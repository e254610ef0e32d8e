"""The graph of Parsl's tasks, drawn as DAGs are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from htcmagic.engines.dag import drawing, order
from htcmagic.engines.dag.language import Graph, Node
from htcmagic.engines.dag.layout import layout
from htcmagic.engines.dag.states import NodeState
from htcmagic.jobs.display import clean

STATES = {
    "pending": NodeState.WAITING,
    "launched": NodeState.IDLE,
    "fail_retryable": NodeState.IDLE,
    "running": NodeState.RUNNING,
    "running_ended": NodeState.RUNNING,
    "joining": NodeState.RUNNING,
    "exec_done": NodeState.DONE,
    "memo_done": NodeState.DONE,
    "failed": NodeState.FAILED,
    "dep_fail": NodeState.NOT_RUN,
}
"""Parsl's states as those of a DAG's nodes."""


@dataclass(frozen=True, slots=True)
class TaskGraph:
    """Parsl's tasks at one moment.

    Attributes
    ----------
    graph : Graph
        Who waits for whom.
    states : mapping
        By name.
    """

    graph: Graph
    states: Mapping[str, NodeState]

    def __str__(self) -> str:
        counts: dict[NodeState, int] = {}
        for state in self.states.values():
            counts[state] = counts.get(state, 0) + 1
        tasks = "1 task" if len(self.states) == 1 else f"{len(self.states):,} tasks"
        return f"{tasks}: {drawing.counted(counts)}" if self.states else "no tasks"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        if not self.states:
            return str(self)
        return drawing.svg(layout(self.graph, order.layers(self.graph)), self.states, {})


def tasks(kernel: Any) -> TaskGraph:
    """Return the tasks that Parsl's data flow kernel knows; without ``garbage_collect=False`` only those under way."""
    graph, names = Graph(), {}
    found = sorted(kernel.tasks.items())
    for number, record in found:
        names[number] = f"{clean(record['func_name'], 60)} {number}"
        graph.nodes[names[number]] = Node(names[number], "job", "", 0)
    for number, record in found:
        for future in record["depends"]:
            parent = getattr(getattr(future, "parent", future), "tid", None)
            if parent in names:
                graph.join(names[parent], names[number], 0)
    states = {names[number]: STATES.get(record["status"].name, NodeState.WAITING) for number, record in found}
    return TaskGraph(graph, states)
