"""Where the nodes of a DAG are drawn: in columns by layers; many of a kind become one block. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field

from htcmagic.engines.dag.language import Graph, Node

SINGLE = 80
"""Most nodes that are drawn one by one."""
TALLEST = 14
"""Most boxes of a column before nodes of a kind become one."""
BOX_W, BOX_H, GAP_X, GAP_Y = 128, 24, 38, 10
DIP = 34
"""How far an edge dips that passes by a layer."""
SQUARE, STEP, PER_ROW = 7, 9, 13
HEAD_H = 20
STEM = re.compile(r"[-_.:]?\d+\Z")


@dataclass(slots=True)
class Block:
    """One box: a node, or many of a kind.

    Attributes
    ----------
    nodes : list of str
        Those in it.
    label : str
        What it is called.
    x, y, height : float
        Its place.
    into : set of int
        Indices of blocks that wait for it.
    """

    nodes: list[str]
    label: str
    layer: int
    x: float = 0.0
    y: float = 0.0
    height: float = BOX_H
    into: set[int] = field(default_factory=set)

    def square(self, number: int) -> tuple[float, float]:
        """Return the corner of one node's square in a block of many."""
        return self.x + 8 + number % PER_ROW * STEP, self.y + HEAD_H + number // PER_ROW * STEP


@dataclass(frozen=True, slots=True)
class Layout:
    """A drawing without its colours."""

    blocks: list[Block]
    width: float
    height: float


def layout(graph: Graph, layers: list[list[str]]) -> Layout:
    """Place the nodes."""
    single = len(graph.nodes) <= SINGLE and max(map(len, layers)) <= TALLEST
    columns = [_blocks(graph, layer, number, single=single) for number, layer in enumerate(layers)]
    blocks = [block for column in columns for block in column]
    of_node = {name: number for number, block in enumerate(blocks) for name in block.nodes}
    above: dict[int, set[int]] = defaultdict(set)
    for parent, child in graph.edges:
        upper, lower = of_node[parent], of_node[child]
        if upper != lower:
            blocks[upper].into.add(lower)
            above[lower].add(upper)
    number_of = {id(block): number for number, block in enumerate(blocks)}
    heights = []
    for column in columns:
        column.sort(key=lambda block: _middle(blocks, above[number_of[id(block)]]))
        y = 0.0
        for block in column:
            block.x, block.y = block.layer * (BOX_W + GAP_X) + 2.0, y + 2.0
            y += block.height + GAP_Y
        heights.append(y - GAP_Y)
    tallest = max(heights)
    for column, height in zip(columns, heights, strict=True):
        for block in column:
            block.y += (tallest - height) / 2
    passing = any(blocks[each].layer - block.layer > 1 for block in blocks for each in block.into)
    below = max(0.0, DIP - tallest / 2) if passing else 0.0
    return Layout(blocks, len(columns) * (BOX_W + GAP_X) - GAP_X + 4, tallest + below + 4)


def _middle(blocks: list[Block], above: set[int]) -> float:
    return sum(blocks[number].y + blocks[number].height / 2 for number in above) / len(above) if above else 0.0


def _blocks(graph: Graph, layer: list[str], number: int, *, single: bool) -> list[Block]:
    if single:
        return [Block([name], name, number) for name in layer]
    kinds: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in layer:
        kinds[_kind(graph.nodes[name])].append(name)
    if len(kinds) > TALLEST:
        rest = {("", f"{len(layer)} nodes"): layer}
        kinds = defaultdict(list, rest)
    return [_block(stem, nodes, number) for (_, stem), nodes in kinds.items()]


def _kind(node: Node) -> tuple[str, str]:
    """Return what nodes of a kind share: their description, and their name but for its number."""
    return node.source, STEM.sub("", node.name) or node.source or "nodes"


def _block(stem: str, nodes: list[str], number: int) -> Block:
    if len(nodes) == 1:
        return Block(nodes, nodes[0], number)
    rows = -(-len(nodes) // PER_ROW)
    return Block(nodes, stem, number, height=HEAD_H + rows * STEP + 6)
