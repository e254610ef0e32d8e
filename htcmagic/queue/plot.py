"""Jobs over time as matplotlib's axes; as an SVG of our own where there is no matplotlib."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from htcmagic.errors import CellError, HTCMagicError
from htcmagic.jobs.display import clean
from htcmagic.queue import selection, timeline
from htcmagic.queue.plot_svg import Drawing
from htcmagic.queue.timeline import STATES, Timeline

COLOURS = {
    "idle": "#c3c9d1",
    "running": "#0072b2",
    "held": "#e69f00",
    "done": "#009e73",
    "failed": "#d55e00",
    "removed": "#5f3b76",
}
"""After Okabe and Ito: told apart by people with any kind of colour vision, and in grey."""
MARKERS = {"done": "o", "failed": "x", "removed": "s"}
KINDS = ("jobs", "over-time", "both")
DRAWN = 300
"""Jobs drawn one by one; the rest is counted."""
LONGEST_TITLE = 90
LIMIT = 10_000
MARGIN = 1.015
"""Of time after the end, so that the last state is seen."""


def plot(
    what: Any = None,
    *,
    kind: str = "",
    ax: Any = None,
    constraint: str = "",
    limit: int = LIMIT,
    schedd: str = "",
    pool: str = "",
    report: Any = None,
) -> Any:
    """Draw when jobs were idle, running, held, and how they ended.

    Clusters of mine are read from their event logs, the others from queue and history.

    Parameters
    ----------
    what : Cluster, JobFuture, JobId, int, str or a list of them, optional
        Which jobs: a handle, an id (``17``, ``"17.3"``) or a batch name; not given: all of mine.
    kind : str
        ``jobs``: a line for each; ``over-time``: how many in each state; ``both``; empty: what suits their number.
    ax : matplotlib axes, optional
        Where to draw; a new figure if not given.
    constraint, limit, schedd, pool, report
        As for :func:`htcmagic.queue.usage.usage`.

    Returns
    -------
    matplotlib.axes.Axes, a tuple of two, or Drawing
        The last where matplotlib is not installed: it shows itself as SVG, ``.save(file)`` keeps it.

    Raises
    ------
    NoSuchJob
        There are no such jobs.
    """
    if kind and kind not in KINDS:
        raise CellError(f"There is no plot {kind!r}.", hint=f"kind is one of {', '.join(KINDS)}")
    if ax is not None and kind == "both":
        raise CellError("Both plots do not fit into one ax.", hint='kind="jobs" or kind="over-time"')
    chosen = selection.choices(what, constraint=constraint, schedd=schedd, pool=pool, report=report)
    line = timeline_of(selection.read(chosen, timeline.ATTRIBUTES, limit=limit))
    kind = kind or ("jobs" if len(line.jobs) <= DRAWN else "over-time")
    return draw(line, kind, ax)


def timeline_of(found: selection.Found) -> Timeline:
    """Return the jobs that were found, with what the picture does not tell."""
    jobs = [
        job
        for cluster, story in found.stories
        for job in timeline.from_story(cluster.id, story, held=cluster.record.held)
    ]
    more, again = timeline.from_rows(found.rows)
    notes = list(found.notes)
    if again:
        notes.append(f"{again:,} jobs ran more than once; without their event log only the last run is known")
    if found.limited:
        notes.append("only the newest ended jobs are shown")
    jobs += more
    if not jobs:
        raise HTCMagicError(f"Nothing is known of {found.title} yet.", hint="Try again when its jobs are in the queue.")
    return Timeline(clean(found.title, LONGEST_TITLE), sorted(jobs, key=lambda job: job.job), notes)


def draw(line: Timeline, kind: str, ax: Any = None) -> Any:
    """Draw a timeline with what there is to draw with."""
    try:
        import matplotlib as mpl  # noqa: F401, PLC0415
    except ImportError:
        if ax is not None:
            raise HTCMagicError(
                "Drawing into an ax needs matplotlib, which is not installed in this kernel.",
                hint="%pip install matplotlib, or leave ax out for an SVG",
            ) from None
        return Drawing(line, kind, COLOURS, DRAWN)
    if kind == "both":
        return _both(line)
    if ax is None:
        from matplotlib import pyplot as plt  # noqa: PLC0415 - 0.3 s

        _, ax = plt.subplots(figsize=(9.0, _height(line, kind)), layout="constrained")
    (_jobs if kind == "jobs" else _over_time)(line, ax)
    return ax


def _both(line: Timeline) -> tuple[Any, Any]:
    from matplotlib import pyplot as plt  # noqa: PLC0415

    heights = [_height(line, "jobs"), 3.0]
    _, (above, below) = plt.subplots(
        2, 1, sharex=True, figsize=(9.0, sum(heights)), height_ratios=heights, layout="constrained"
    )
    _jobs(line, above)
    _over_time(line, below)
    above.set_xlabel("")
    above.set_xlim(below.get_xlim())
    below.set_title("", loc="left")
    below.get_legend().remove()
    return above, below


def _height(line: Timeline, kind: str) -> float:
    return min(7.5, 1.7 + 0.16 * min(len(line.jobs), DRAWN)) if kind == "jobs" else 3.8


def _jobs(line: Timeline, ax: Any) -> None:
    """Draw a bar for each job, all of one state in one stroke: thousands would take seconds otherwise."""
    from matplotlib.collections import PolyCollection  # noqa: PLC0415
    from matplotlib.ticker import FuncFormatter, MaxNLocator  # noqa: PLC0415

    seconds, begin = line.unit[0], line.begin
    drawn = line.jobs[:DRAWN]
    bars: dict[str, list[list[tuple[float, float]]]] = {}
    for at, job in enumerate(drawn):
        for state, since, until in job.spans:
            x0, x1, half = (since - begin) / seconds, (until - begin) / seconds, 0.2 if state == "idle" else 0.4
            bars.setdefault(state, []).append([(x0, at - half), (x0, at + half), (x1, at + half), (x1, at - half)])
    for state, corners in bars.items():
        ax.add_collection(PolyCollection(corners, facecolors=COLOURS[state], edgecolors="none"))
    size = 22 if len(drawn) <= 40 else 7
    for outcome, marker in MARKERS.items():
        ended = [(at, job.ended) for at, job in enumerate(drawn) if job.outcome == outcome]
        if ended:
            x = [(when - begin) / seconds for _, when in ended]
            look = {"marker": marker, "s": size, "color": COLOURS[outcome], "linewidths": 1.5, "zorder": 3}
            ax.scatter(x, [at for at, _ in ended], clip_on=False, **look)
    ax.set_ylim(len(drawn) - 0.4, -0.6)
    ax.yaxis.set_major_locator(MaxNLocator(nbins=12, integer=True, min_n_ticks=1))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda at, _: _id_at(line, at, len(drawn))))
    ax.set_ylabel("job")
    left = len(line.jobs) - len(drawn)
    notes = [*line.notes, *([f"the first {len(drawn):,} of {len(line.jobs):,} jobs"] if left else [])]
    _finish(line, ax, notes, Timeline(line.title, drawn).end)


def _id_at(line: Timeline, at: float, drawn: int) -> str:
    return str(line.jobs[round(at)].job) if 0 <= round(at) < drawn and abs(at - round(at)) < 0.01 else ""


def _over_time(line: Timeline, ax: Any) -> None:
    seconds, begin = line.unit[0], line.begin
    times, counts = line.over_time()
    x = [(when - begin) / seconds for when in [*times, begin + (line.end - begin) * MARGIN]]
    below = [0] * len(x)
    for state in STATES:
        if state in counts:
            above = [one + other for one, other in zip(below, [*counts[state], counts[state][-1]], strict=True)]
            ax.fill_between(x, below, above, step="post", facecolor=COLOURS[state], linewidth=0)
            below = above
    ax.set_ylim(0, max(below) * 1.02)
    ax.yaxis.get_major_locator().set_params(integer=True)
    ax.set_ylabel("jobs")
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    _finish(line, ax, line.notes, line.end)


def _finish(line: Timeline, ax: Any, notes: Sequence[str], until: float) -> None:
    """Add what both have: axis of time, legend, title."""
    seconds = line.unit[0]
    ax.set_xlim(0, MARGIN * (until - line.begin) / seconds)
    ax.set_xlabel(axis_label(line))
    ax.grid(axis="x", color="#8884", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    marked = ax.get_ylabel() == "job"
    handles = [_handle(state, marked=marked) for state in reversed(STATES) if occurs(line, state)]
    look = {"ncols": 6, "frameon": False, "borderaxespad": 0.1, "handlelength": 1.0, "columnspacing": 1.2}
    ax.legend(handles=handles, loc="lower left", bbox_to_anchor=(-0.01, 1.0), **look)
    title = ax.set_title("\n".join([heading(line), *notes]), loc="left", fontsize="medium", pad=26)
    title.set_parse_math(False)  # a batch name with dollar signs is no formula


def _handle(state: str, *, marked: bool) -> Any:
    """Return a state's sign in the legend: how jobs end is marked by shape, too."""
    from matplotlib.lines import Line2D  # noqa: PLC0415
    from matplotlib.patches import Patch  # noqa: PLC0415

    colour = COLOURS[state]
    if marked and state in MARKERS:
        look: dict[str, Any] = {"marker": MARKERS[state], "markeredgewidth": 1.5, "markersize": 5}
        return Line2D([], [], linestyle="", color=colour, label=state, **look)
    return Patch(color=colour, label=state)


def occurs(line: Timeline, state: str) -> bool:
    """Whether any job was ever in a state."""
    return any(job.outcome == state or any(span[0] == state for span in job.spans) for job in line.jobs)


def heading(line: Timeline) -> str:
    """Return whose jobs these are and how they stand."""
    counts = ", ".join(f"{number:,} {state}" for state, number in line.counts.items())
    return f"{clean(line.title, LONGEST_TITLE)}: {counts}"


def axis_label(line: Timeline) -> str:
    """Return what the axis of time counts, and from when."""
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(line.begin))
    return f"{line.unit[1]} since the first submission, {stamp}"
