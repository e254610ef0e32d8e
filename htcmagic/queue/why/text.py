"""Explanations as text: the reason first, then what is known, then what to type."""

from __future__ import annotations

from collections.abc import Sequence

from htcmagic.jobs.display import clean
from htcmagic.queue.why.model import Condition, Explanation, Fix

LONGEST = 2000


def render(explanations: Sequence[Explanation], notes: Sequence[str]) -> str:
    """Return all of them, with an empty line between two."""
    blocks = [explanation(one) for one in explanations]
    if notes:
        blocks.append("\n".join(_line(note) for note in notes))
    return "\n\n".join(blocks)


def explanation(one: Explanation) -> str:
    """Return one of them."""
    lines = [_line(one.headline), *(f"  {_line(detail)}" for detail in one.details)]
    if one.slots and telling(one):
        lines += ["", *_table(one)]
    for fix in one.fixes:
        lines += _fix(fix)
    return "\n".join(lines)


def telling(one: Explanation) -> list[Condition]:
    """Return the conditions that keep some slot away, now or for ever."""
    return [c for c in one.conditions if min(c.ever, c.now) < (one.slots or 0)]


def others(one: Explanation) -> str:
    """Tell of the conditions that are left out; empty if there are none."""
    left = len(one.conditions) - len(telling(one))
    return f"and {left} more that every slot satisfies" if left else ""


def _table(one: Explanation) -> list[str]:
    width = max(6, len(f"{one.slots:,}"))
    head = f"  {'slots':>{width}} {'now':>{width}}  satisfy (of {one.slots:,})"
    rows = [
        f"  {c.ever:>{width},} {c.now:>{width},}  {_line(c.text)}" + (f"  ({_line(c.note)})" if c.note else "")
        for c in telling(one)
    ]
    left = others(one)
    return [head, *rows, *([f"  {'':{width}} {'':{width}}  {left}"] if left else [])]


def _fix(fix: Fix) -> list[str]:
    lines = ["", f"  → {_line(fix.says)}"]
    lines += [f"      {_line(line)}" for line in fix.lines]
    if fix.submit:
        lines.append(f"      next time, in the description:  {_line(fix.submit)}")
    return lines


def _line(text: str) -> str:
    return clean(text, LONGEST)
