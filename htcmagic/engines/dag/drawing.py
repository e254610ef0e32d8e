"""A DAG as a drawing and as text; every foreign text in it is cleaned and escaped. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape

from htcmagic.engines.dag.layout import BOX_H, BOX_W, DIP, GAP_X, SQUARE, Block, Layout
from htcmagic.engines.dag.states import NodeState
from htcmagic.jobs.display import COLOURS as OF_JOBS
from htcmagic.jobs.display import clean
from htcmagic.jobs.model import JobState

COLOURS = {
    NodeState.DONE: OF_JOBS[JobState.DONE],
    NodeState.FAILED: OF_JOBS[JobState.FAILED],
    NodeState.HELD: OF_JOBS[JobState.HELD],
    NodeState.RUNNING: OF_JOBS[JobState.RUNNING],
    NodeState.PRE: "#8e6fd8",
    NodeState.POST: "#8e6fd8",
    NodeState.IDLE: "#8fb3de",
    NodeState.WAITING: OF_JOBS[JobState.IDLE],
    NodeState.NOT_RUN: OF_JOBS[JobState.REMOVED],
}
ORDER = tuple(COLOURS)
WORST = (
    NodeState.FAILED,
    NodeState.HELD,
    NodeState.RUNNING,
    NodeState.PRE,
    NodeState.POST,
    NodeState.IDLE,
    NodeState.WAITING,
    NodeState.NOT_RUN,
    NodeState.DONE,
)
LONGEST_NAME = 200
LETTERS = 19
"""Letters that fit a box."""
WIDEST, FITTED = 1250, 'style="max-width:100%;height:auto"'
"""Drawings up to this width are made to fit the page; wider ones can be moved."""
PAPER = "var(--jp-layout-color1,var(--vscode-editor-background,Canvas))"
"""The page's own colour."""
ABBREVIATED = 12
"""Nodes of a block that are named in its tooltip."""


def svg(layout: Layout, states: Mapping[str, NodeState], errors: Mapping[str, str]) -> str:
    """Return the graph.

    Parameters
    ----------
    errors : mapping
        Why nodes have failed or are held.
    """
    edges = "".join(_edge(block, layout.blocks[number]) for block in layout.blocks for number in sorted(block.into))
    boxes = "".join(_box(block, states, errors) for block in layout.blocks)
    size = f'width="{layout.width:.0f}" height="{layout.height:.0f}" {"" if layout.width > WIDEST else FITTED}'
    return (
        f'<svg role="img" aria-label="the graph of the DAG" xmlns="http://www.w3.org/2000/svg" {size} '
        f'viewBox="0 0 {layout.width:.0f} {layout.height:.0f}" font-family="inherit" font-size="11">'
        f'<path d="{edges}" fill="none" stroke="#8889" stroke-width="1.2"/>{boxes}</svg>'
    )


def _edge(upper: Block, lower: Block) -> str:
    x1, y1 = upper.x + BOX_W, upper.y + upper.height / 2
    x2, y2 = lower.x, lower.y + lower.height / 2
    near = x2 - x1 <= GAP_X
    bend, dip = (GAP_X / 2, 0) if near else (GAP_X, DIP * 4 / 3)
    return f"M{x1:.0f} {y1:.1f}C{x1 + bend:.0f} {y1 + dip:.1f} {x2 - bend:.0f} {y2 + dip:.1f} {x2:.0f} {y2:.1f}"


def _box(block: Block, states: Mapping[str, NodeState], errors: Mapping[str, str]) -> str:
    found = {state: [name for name in block.nodes if states[name] is state] for state in WORST}
    worst = next(state for state in WORST if found[state])
    colour = COLOURS[worst]
    title = "\n".join(_told(found, errors, alone=len(block.nodes) == 1))
    place = f'x="{block.x:.0f}" y="{block.y:.1f}" width="{BOX_W}" height="{block.height:.0f}" rx="5"'
    frame = (
        f'<rect {place} fill="{PAPER}"/><rect {place} fill="{colour}" '
        f'fill-opacity="{0.3 if len(block.nodes) == 1 else 0.08}" stroke="{colour}" stroke-width="1.5"/>'
    )
    if len(block.nodes) == 1:
        text, y = block.label, block.y + BOX_H / 2 + 4
    else:
        done = len(found[NodeState.DONE])
        text, y = f"{_short(block.label, 11)} {done:,}/{len(block.nodes):,}", block.y + 14
    inner = "" if len(block.nodes) == 1 else "".join(_squares(block, states))
    return (
        f"<g><title>{escape(title)}</title>{frame}"
        f'<text x="{block.x + 8:.0f}" y="{y:.1f}" fill="currentColor">{escape(_short(text, LETTERS))}</text>{inner}</g>'
    )


def _squares(block: Block, states: Mapping[str, NodeState]) -> Iterator[str]:
    """Yield one path for each state: a square for each node."""
    paths: dict[NodeState, list[str]] = {}
    for number, name in enumerate(block.nodes):
        x, y = block.square(number)
        paths.setdefault(states[name], []).append(f"M{x:.0f} {y:.0f}h{SQUARE}v{SQUARE}h-{SQUARE}z")
    for state, parts in paths.items():
        yield f'<path d="{"".join(parts)}" fill="{COLOURS[state]}"/>'


def _told(found: Mapping[NodeState, list[str]], errors: Mapping[str, str], *, alone: bool) -> Iterator[str]:
    for state, names in found.items():
        if not names:
            continue
        shown = ", ".join(clean(name, LONGEST_NAME) for name in names[:ABBREVIATED])
        more = f" and {len(names) - ABBREVIATED:,} more" if len(names) > ABBREVIATED else ""
        yield f"{shown}: {state.value}" if alone else f"{len(names):,} {state.value}: {shown}{more}"
        yield from (f"{clean(name, LONGEST_NAME)}: {clean(errors[name], 200)}" for name in names[:4] if name in errors)


def _short(text: str, longest: int) -> str:
    return clean(text, longest)


def bar(counts: Mapping[NodeState, int], nodes: int) -> str:
    """Return the progress bar with its legend."""
    present = [state for state in ORDER if counts.get(state)]
    segments = "".join(
        f'<div title="{counts[state]:,} {state.value}" style="width:{100 * counts[state] / max(1, nodes):.3f}%;'
        f'background:{COLOURS[state]}"></div>'
        for state in present
    )
    legend = "".join(
        f'<span style="margin-right:1em;white-space:nowrap"><span style="display:inline-block;width:.7em;height:.7em;'
        f'border-radius:2px;background:{COLOURS[state]};margin-right:.35em"></span>'
        f"{counts[state]:,}&nbsp;{state.value}</span>"
        for state in present
    )
    return (
        '<div style="display:flex;height:.8em;border-radius:4px;overflow:hidden;background:#8883">'
        f'{segments}</div><div style="margin-top:.35em">{legend}</div>'
    )


def counted(counts: Mapping[NodeState, int]) -> str:
    """Return the counts in words."""
    return ", ".join(f"{counts[state]:,} {state.value}" for state in ORDER if counts.get(state))
