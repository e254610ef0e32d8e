"""What the function nodes of a DAG have returned."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from htcmagic.engines.dag.states import NodeState
from htcmagic.errors import CellError, HTCMagicError, ResultMissing
from htcmagic.functions import payload, results, tracebacks
from htcmagic.functions.remote import records

if TYPE_CHECKING:
    from htcmagic.engines.dag.handle import Dag

RESULT = "result"
"""Suffix of a node's result file."""


def value(dag: Dag, name: str) -> Any:
    """Return what a node's function returned; raises what it raised.

    Raises
    ------
    ResultMissing
        It has no result yet, or is no function.
    """
    return outcome(dag, name).value()


def outcome(dag: Dag, name: str) -> results.Outcome:
    """Return what became of a node's function."""
    folder = dag.origin_dir.path / "nodes"
    path = file(folder, dag.tracker.graph.nodes[name].variables)
    node = dag.nodes[name]
    if path is None:
        raise ResultMissing(f"Node {name} is no function.", hint=f"See what it wrote: .nodes[{name!r}].stdout()")
    try:
        records = list(results.read(path))
    except OSError:
        why = f", {node.error}" if node.error else ""
        words = node.last_words()
        hint = f"It said: {words[:200]}" if words else ""
        raise ResultMissing(f"Node {name} has no result: {node.state.value}{why}.", hint=hint) from None
    return results.Outcome(records[-1], dag.origin_dir.path / "files" / path.stem, "")


def file(folder: Path, variables: dict[str, str]) -> Path | None:
    """Return the result file of a node; None where it is no function."""
    number = variables.get("htcmagic_task", "")
    return folder / f"{number}.{RESULT}" if number else None


def complaint(dag: Dag, name: str) -> str:
    """Return what a node's function raised, in one line; empty where it has not, or is none."""
    if not dag.record.functions:
        return ""
    try:
        found = outcome(dag, name)
    except (HTCMagicError, OSError, ValueError):
        return ""
    return "" if found.ok else tracebacks.Remote(found.record.header["error"], found.record.header).summary


def replace(dag: Dag, functions: Iterable[Callable[..., Any]]) -> None:
    """Have the nodes that still are to run call a function's new version, found by its name.

    Raises
    ------
    CellError
        No node that is not done calls a function of that name.
    """
    folder = dag.origin_dir.path
    labels: dict[str, set[str]] = {}
    for name, state in dag.tracker.states.items():
        path = file(folder / "nodes", dag.tracker.graph.nodes[name].variables)
        if path is None or state is NodeState.DONE:
            continue
        (task,) = records.scan(path.with_suffix(".task"))
        (kept,) = records.scan(folder / "functions" / task.header["function"])
        labels.setdefault(str(kept.header.get("label", "")), set()).add(task.header["function"])
    for call in functions:
        new = payload.function(call)
        if new.label not in labels:
            known = ", ".join(sorted(labels)) or "none"
            raise CellError(f"rescue({new.label}): no node that is left calls {new.label}.", hint=f"They call: {known}")
        for digest in labels[new.label]:
            path = folder / "functions" / digest
            fresh = path.with_name(f".{digest}.new")
            fresh.write_bytes(new.data)
            fresh.replace(path)


def values(dag: Dag) -> dict[str, Any]:
    """Return what all function nodes have returned, by name.

    Raises
    ------
    Exception
        What the first node raised that has failed.
    HTCMagicError
        A node that is no function has failed.
    """
    if not dag.record.functions:
        raise ResultMissing("The nodes of this DAG are programs.", hint="See what they wrote: .nodes[NAME].stdout()")
    for name in dag.failed():
        node = dag.nodes[name]
        if file(Path(), dag.tracker.graph.nodes[name].variables) is not None and node.state is NodeState.FAILED:
            value(dag, name)
        raise HTCMagicError(f"Node {name} failed: {node.error}.", hint="Run what is left: .rescue()")
    nodes = dag.tracker.graph.nodes
    return {name: value(dag, name) for name, node in nodes.items() if file(Path(), node.variables) is not None}
