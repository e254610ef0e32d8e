"""The picture of jobs over time as SVG, with nothing but Python."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path

from htcmagic.queue.html import escape
from htcmagic.queue.timeline import STATES, Timeline

WIDTH, LEFT, RIGHT, TOP, BELOW = 860, 70, 20, 64, 46
OVER_TIME_PX = 240
MOST_PX = 640
LONGEST = 130
MARGIN = 1.015
"""Of time after the end, so that the last state is seen."""


class Drawing:
    """A timeline as SVG: shows itself in a notebook, as a line of text in a terminal.

    Parameters
    ----------
    line : Timeline
        What is drawn.
    kind : str
        ``jobs``, ``over-time`` or ``both``.
    colours : mapping
        By state.
    most : int
        Jobs drawn one by one; the rest is counted.
    """

    def __init__(self, line: Timeline, kind: str, colours: Mapping[str, str], most: int) -> None:
        self.line = line
        self.kind = kind
        self._colours = colours
        self._drawn = line.jobs[:most]
        shown = Timeline("", self._drawn) if kind == "jobs" else line
        self._begin = line.begin  # it looks at every job
        self._end = self._begin + (shown.end - self._begin) * MARGIN

    @property
    def svg(self) -> str:
        """The picture."""
        parts, y = [], TOP + 16 * len(self._notes)
        if self.kind in {"jobs", "both"}:
            height = min(MOST_PX, max(60, 18 * len(self._drawn)))
            parts.append(self._jobs(y, height))
            y += height + BELOW
        if self.kind in {"over-time", "both"}:
            parts.append(self._over_time(y))
            y += OVER_TIME_PX + BELOW
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}" '
            'font-family="sans-serif" font-size="12" role="img">'
            f'<rect width="100%" height="100%" fill="#fff"/>{self._head()}{"".join(parts)}</svg>'
        )

    def save(self, file: str | Path) -> None:
        """Write the picture to a file."""
        Path(file).write_text(self.svg, encoding="utf-8")

    def _repr_svg_(self) -> str:
        return self.svg

    def __str__(self) -> str:
        counts = ", ".join(f"{number:,} {state}" for state, number in self.line.counts.items())
        return f"{self.line.title}: {counts} (a picture: .save('jobs.svg'))"

    __repr__ = __str__

    @property
    def _notes(self) -> list[str]:
        left = len(self.line.jobs) - len(self._drawn)
        counted = [f"the first {len(self._drawn):,} of {len(self.line.jobs):,} jobs"]
        return [*self.line.notes, *(counted if left and self.kind != "over-time" else [])]

    def _head(self) -> str:
        counts = ", ".join(f"{number:,} {state}" for state, number in self.line.counts.items())
        texts = [f"{self.line.title}: {counts}", *self._notes]
        parts = [_text(LEFT, 20 + 16 * at, text, size=13 if not at else 12) for at, text in enumerate(texts)]
        x, y = LEFT, 20 + 16 * len(texts) + 6
        for state in reversed(STATES):
            if any(job.outcome == state or any(span[0] == state for span in job.spans) for job in self.line.jobs):
                parts.append(f'<rect x="{x}" y="{y - 9}" width="11" height="11" fill="{self._colours[state]}"/>')
                parts.append(_text(x + 16, y + 1, state))
                x += 34 + 7 * len(state)
        return "".join(parts)

    def _x(self, when: float) -> float:
        whole = WIDTH - LEFT - RIGHT
        return LEFT + whole * (when - self._begin) / (self._end - self._begin)

    def _jobs(self, top: float, height: float) -> str:
        row = height / len(self._drawn)
        parts = [self._axis(top, height)]
        for at, job in enumerate(self._drawn):
            y = top + row * at
            for state, since, until in job.spans:
                tall = row * (0.4 if state == "idle" else 0.8)
                x, wide = self._x(since), max(0.5, self._x(until) - self._x(since))
                colour = self._colours[state]
                parts.append(
                    f'<rect x="{x:.1f}" y="{y + (row - tall) / 2:.2f}" width="{wide:.1f}" height="{tall:.2f}" '
                    f'fill="{colour}"><title>{job.job} {state}</title></rect>'
                )
            if job.outcome:
                parts.append(self._mark(job.outcome, self._x(job.ended), y + row / 2, max(1.5, min(4.0, row / 2))))
        every = max(1, math.ceil(len(self._drawn) / 12))
        parts += [
            _text(LEFT - 8, top + row * (at + 0.5) + 4, str(self._drawn[at].job), anchor="end")
            for at in range(0, len(self._drawn), every)
        ]
        return "".join(parts)

    def _mark(self, outcome: str, x: float, y: float, half: float) -> str:
        colour = self._colours[outcome]
        if outcome == "done":
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{half:.1f}" fill="{colour}"/>'
        if outcome == "failed":
            stroke = f'stroke="{colour}" stroke-width="2" fill="none"'
            to = f"{2 * half:.1f}"
            down = f"M{x - half:.1f} {y - half:.1f}l{to} {to}"
            return f'<path d="{down}M{x + half:.1f} {y - half:.1f}l-{to} {to}" {stroke}/>'
        square = f'width="{2 * half:.1f}" height="{2 * half:.1f}"'
        return f'<rect x="{x - half:.1f}" y="{y - half:.1f}" {square} fill="{colour}"/>'

    def _over_time(self, top: float) -> str:
        times, counts = self.line.over_time()
        times.append(self._end)
        most = max(1, len(self.line.jobs))
        bottom = top + OVER_TIME_PX
        scale = OVER_TIME_PX / most
        parts = [self._axis(top, OVER_TIME_PX)]
        below = [0] * len(times)
        for state in STATES:
            if state not in counts:
                continue
            above = [one + other for one, other in zip(below, [*counts[state], counts[state][-1]], strict=True)]
            there, back = self._steps(times, above, bottom, scale), self._steps(times, below, bottom, scale)
            path = f"M{' L'.join(there)} L{' L'.join(reversed(back))} Z"
            parts.append(f'<path d="{path}" fill="{self._colours[state]}"><title>{state}</title></path>')
            below = above
        step = nice(most / 5)
        values = [step * number for number in range(int(most / step) + 1) if step * number == int(step * number)]
        parts += [_text(LEFT - 8, bottom - scale * v + 4, f"{v:,.0f}", anchor="end") for v in values]
        parts.append(f'<text transform="translate(16 {top + OVER_TIME_PX / 2}) rotate(-90)" fill="#333">jobs</text>')
        return "".join(parts)

    def _steps(self, times: list[float], counts: list[int], bottom: float, scale: float) -> list[str]:
        points = []
        for at, (when, count) in enumerate(zip(times, counts, strict=True)):
            if at:
                points.append(f"{self._x(when):.1f} {bottom - scale * counts[at - 1]:.1f}")
            points.append(f"{self._x(when):.1f} {bottom - scale * count:.1f}")
        return points

    def _axis(self, top: float, height: float) -> str:
        seconds, unit = self.line.unit
        span = (self._end - self._begin) / seconds
        step, bottom = nice(span / 8), top + height
        parts = []
        for number in range(int(span / step) + 1):
            x = self._x(self._begin + step * number * seconds)
            parts.append(f'<path d="M{x:.1f} {top}v{height + 4}" stroke="#8884" fill="none"/>')
            parts.append(_text(x, bottom + 17, f"{step * number:g}", anchor="middle"))
        parts.append(f'<path d="M{LEFT} {top}v{height}H{WIDTH - RIGHT}" stroke="#333" fill="none"/>')
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self._begin))
        middle = (LEFT + WIDTH - RIGHT) / 2
        parts.append(_text(middle, bottom + 35, f"{unit} since the first submission, {stamp}", anchor="middle"))
        return "".join(parts)


def nice(width: float) -> float:
    """Return a round number near a width, not below it.

    Examples
    --------
    >>> nice(0.7), nice(13), nice(26)
    (1.0, 20.0, 50.0)
    """
    base = 10.0 ** math.floor(math.log10(max(width, 1e-9)))
    return next(base * times for times in (1.0, 2.0, 5.0, 10.0) if base * times >= width * 0.999)


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12) -> str:
    where = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"'
    return f'<text {where} fill="#333">{escape(text, limit=LONGEST)}</text>'
