"""A DAG on the screen: one display that is brought up to date, and a line for terminals."""

from __future__ import annotations

import time
from html import escape
from typing import TYPE_CHECKING, Any

from htcmagic.engines.dag import drawing, order
from htcmagic.engines.dag.layout import layout
from htcmagic.engines.dag.states import NodeState
from htcmagic.jobs.display import LONGEST_NAME, LONGEST_REASON, clean, elapsed

if TYPE_CHECKING:
    from htcmagic.engines.dag.handle import Dag

SHORTEST_S = 0.25
LONGEST_S = 2.0
"""Shortest and longest time between two updates of one view: large graphs are drawn less often."""
TICK_S = 1.0
"""How much longer a view waits where nothing but the time has changed."""
NAMED = 3
"""Failed or held nodes that are named."""


def title(dag: Dag) -> str:
    """Return its name for people."""
    name = clean(dag.name, LONGEST_NAME)
    return f"{name} ({dag.id})" if name else f"DAG {dag.id}"


def age(dag: Dag) -> str:
    """Return how long it has been under way, or took."""
    ended = dag.cluster.summary().ended
    return elapsed((ended or time.time()) - dag.cluster.record.created)


def state(dag: Dag) -> str:
    """Return what is to be known of DAGMan itself; empty where all is as it should be."""
    if not dag.over:
        hold = dag.cluster.summary().hold
        if hold is not None:
            return f"DAGMan is held: {clean(hold.reason, LONGEST_REASON)}"
        return "halted: .resume() sends nodes again" if dag.tracker.halted else ""
    if dag.ok:
        return ""
    if dag.cluster.status["removed"]:
        return "DAGMan was removed"
    return f"DAGMan: {clean(dag.tracker.trouble, LONGEST_REASON)}" if not dag.failed() and dag.tracker.trouble else ""


def reasons(dag: Dag) -> dict[str, str]:
    """Return why nodes have failed or are held."""
    found = {}
    for name, node_state in list(dag.tracker.states.items()):
        job = dag.tracker.jobs.get(name)
        if job is None:
            continue
        if node_state is NodeState.FAILED:
            found[name] = f"failed: {job.error}" if job.error else "failed"
        elif node_state is NodeState.HELD and job.hold is not None:
            found[name] = f"held: {job.hold.reason}"
    return found


def troubles(dag: Dag) -> list[str]:
    """Return what went wrong, one line each, and what to do next."""
    found = reasons(dag)
    lines = []
    for name in list(found)[:NAMED]:
        words = dag.nodes[name].complaint() if found[name].startswith("failed") else ""
        said = f" ({clean(words, 160)})" if words else ""
        lines.append(f"{clean(name, LONGEST_NAME)} {clean(found[name], LONGEST_REASON)}{said}")
    if len(found) > NAMED:
        lines.append(f"… and {len(found) - NAMED:,} more")
    if told := state(dag):
        lines.append(told)
    if dag.done and not dag.ok:
        kept = sum(1 for each in dag.tracker.states.values() if each is NodeState.DONE)
        lines.append(f"Run what is left, with {kept:,} done: .rescue()")
    return lines


def line(dag: Dag) -> str:
    """Return one line for a terminal."""
    summary = dag.summary()
    nodes = "1 node" if summary.nodes == 1 else f"{summary.nodes:,} nodes"
    return "; ".join([f"{title(dag)}: {nodes}: {drawing.counted(summary.counts)}, {age(dag)}", *troubles(dag)])


def html(dag: Dag, graph: str) -> str:
    """Return the whole view.

    Parameters
    ----------
    graph : str
        The drawing.
    """
    summary = dag.summary()
    nodes = "1 node" if summary.nodes == 1 else f"{summary.nodes:,} nodes"
    before = f"resumed, {len(dag.tracker.before):,} were done · " if dag.tracker.before else ""
    below = "".join(
        f'<div style="margin-top:.3em;color:{"#d33f49" if " failed" in text else "#b57e00"}">{escape(text)}</div>'
        for text in troubles(dag)
    )
    return (
        '<div class="htcmagic-dag" style="font-family:var(--jp-ui-font-family,sans-serif);font-size:13px;'
        'max-width:70em;padding:.35em 0"><div style="display:flex;justify-content:space-between;margin-bottom:.3em">'
        f'<b>{escape(title(dag))}</b><span style="opacity:.7">{escape(before)}{nodes} · {age(dag)}</span></div>'
        f"{drawing.bar(summary.counts, summary.nodes)}"
        f'<div style="overflow:auto;max-height:36em;margin-top:.6em">{graph}</div>{below}</div>'
    )


class Views:
    """The places on the screen where one DAG is shown, updated from the follower's thread.

    Parameters
    ----------
    dag : Dag
        What is shown.
    """

    def __init__(self, dag: Dag) -> None:
        self._dag = dag
        self._handles: list[Any] = []
        self._next = 0.0
        self._shown = ""
        self._due = True
        graph = dag.tracker.graph
        self._layout = layout(graph, order.layers(graph))

    def show(self) -> None:
        """Show it here, too; in a notebook the view stays live."""
        from IPython import get_ipython  # noqa: PLC0415 - only where there is a front end
        from IPython.display import display  # noqa: PLC0415

        data = self.data()
        if getattr(get_ipython(), "kernel", None) is None:
            display(data, raw=True)
            return
        handle = display(data, raw=True, display_id=True)
        if handle is not None and not self._dag.done:
            self._handles.append(handle)

    def update(self, *, force: bool = False, anything: bool = True) -> None:
        """Bring all views up to date if what they show has changed.

        Parameters
        ----------
        force : bool
            Now.
        anything : bool
            Whether nodes have changed, and not only the time.
        """
        begun = time.monotonic()
        self._due = self._due or anything
        if not self._handles or (begun < (self._next if self._due else self._next + TICK_S) and not force):
            return
        self._due = False
        data = self.data()
        if data["text/html"] != self._shown:
            self._shown = data["text/html"]
            for handle in self._handles:
                handle.update(data, raw=True)
        now = time.monotonic()
        self._next = now + min(LONGEST_S, max(SHORTEST_S, 20 * (now - begun)))

    def data(self) -> dict[str, str]:
        """Return what is shown now."""
        graph = drawing.svg(self._layout, self._dag.tracker.shown(), reasons(self._dag))
        return {"text/html": html(self._dag, graph), "text/plain": line(self._dag)}
