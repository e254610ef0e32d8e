"""The order in a graph: its layers, and the cycle where there is no order. Pure."""

from __future__ import annotations

from itertools import pairwise

from htcmagic.engines.dag.language import Graph
from htcmagic.errors import CellError

LONGEST = 8
"""Nodes of a cycle that are named."""


def layers(graph: Graph) -> list[list[str]]:
    """Return the nodes by layers: each in the first one below all of its parents.

    Raises
    ------
    CellError
        Nodes wait for one another.
    """
    waiting = {name: len(node.parents) for name, node in graph.nodes.items()}
    layer = [name for name, number in waiting.items() if not number]
    found = []
    while layer:
        found.append(layer)
        below = []
        for name in layer:
            del waiting[name]
            for child in graph.nodes[name].children:
                waiting[child] -= 1
                if not waiting[child]:
                    below.append(child)
        layer = below
    if waiting:
        raise _cyclic(graph, set(waiting))
    last = [name for name, node in graph.nodes.items() if node.kind == "final"]
    if last and len(found[0]) > len(last):  # it has no parents, but it is the end
        found = [[name for name in layer if name not in last] for layer in found]
        found.append(last)
    return [layer for layer in found if layer]


def _cyclic(graph: Graph, stuck: set[str]) -> CellError:
    """Say which nodes wait for one another, and which line closed the circle."""
    name, path = min(stuck, key=list(graph.nodes).index), []
    while name not in path:
        path.append(name)
        name = next(parent for parent in graph.nodes[name].parents if parent in stuck)
    circle = [name, *reversed(path[path.index(name) :])]
    line = max(graph.edges[pair] for pair in pairwise(circle))
    shown = " → ".join([*circle[:LONGEST], *(["…"] if len(circle) > LONGEST else [])])
    return CellError(f"the graph goes in a circle: {shown}.", line=line, hint="Take one of these PARENT … CHILD away.")
