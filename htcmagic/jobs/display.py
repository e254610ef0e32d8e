"""A cluster's progress as HTML and as a line of text, and the views of it on the screen."""

from __future__ import annotations

import time
from html import escape
from typing import TYPE_CHECKING, Any

from htcmagic.jobs.model import JobState
from htcmagic.jobs.tracker import Summary

if TYPE_CHECKING:
    from htcmagic.jobs.cluster import Cluster

COLOURS = {
    JobState.DONE: "#2e9e5b",
    JobState.RUNNING: "#2f7ed8",
    JobState.IDLE: "#c9ced6",
    JobState.HELD: "#e8a200",
    JobState.FAILED: "#d33f49",
    JobState.REMOVED: "#7b7f87",
}
SHORTEST_S = 0.2
"""Shortest time between two updates of one view."""
LONGEST_NAME = 80
LONGEST_REASON = 300


def elapsed(seconds: float) -> str:
    """Return a time span in words, coarser as it grows.

    Examples
    --------
    >>> elapsed(3.4), elapsed(75), elapsed(7260), elapsed(200000)
    ('3 s', '1 min 15 s', '2 h 01 min', '2 d 07 h')
    """
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600:02d} h"


def clean(text: str, longest: int) -> str:
    """Return foreign text without control characters and not too long."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    return printable if len(printable) <= longest else printable[: longest - 1] + "…"


def title(cluster: Cluster) -> str:
    """Return the cluster's name for people."""
    name = clean(cluster.name, LONGEST_NAME)
    return f"{name} ({cluster.id})" if name else f"Cluster {cluster.id}"


def counted(summary: Summary) -> str:
    """Return the counts in words, the states that matter first."""
    order = (JobState.DONE, JobState.RUNNING, JobState.IDLE, JobState.HELD, JobState.FAILED, JobState.REMOVED)
    parts = [f"{summary.counts[state]:,} {state.value}" for state in order if summary.counts.get(state)]
    return ", ".join(parts) + (f" ({through(summary)})" if summary.progress else "")


def through(summary: Summary) -> str:
    """Return how far the whole is in words, what running jobs tell of themselves included."""
    done = sum(summary.counts.get(state, 0) for state in JobState if state.final)
    return f"{100 * (done + summary.progress) / max(1, summary.procs):.0f} %"


def number(summary: Summary) -> str:
    """Return how many jobs there are, in words."""
    return "1 job" if summary.procs == 1 else f"{summary.procs:,} jobs"


def age(cluster: Cluster, summary: Summary) -> str:
    """Return how long it has been under way, or took."""
    until = summary.ended if summary.final and summary.ended else time.time()
    return elapsed(until - cluster.record.created)


def held(summary: Summary, cluster: Cluster) -> str:
    """Return the first hold reason in words; empty if nothing is held."""
    if summary.hold is None:
        return ""
    return f"{cluster.id}.{summary.hold_proc} held: {clean(summary.hold.reason, LONGEST_REASON)}"


def line(cluster: Cluster) -> str:
    """Return one line for a terminal."""
    summary = cluster.summary()
    where = cluster.record.environment
    jobs = number(summary) + (f" in the environment of {where}" if where else "")
    extra = [text for text in (held(summary, cluster), cluster.note) if text]
    return f"{title(cluster)}: {jobs}: " + "; ".join([f"{counted(summary)}, {age(cluster, summary)}", *extra])


def html(cluster: Cluster) -> str:
    """Return the progress bar; every foreign text in it is escaped."""
    summary = cluster.summary()
    order = (JobState.DONE, JobState.FAILED, JobState.REMOVED, JobState.RUNNING, JobState.HELD, JobState.IDLE)
    total = max(1, summary.procs)
    widths: dict[str, tuple[str, float]] = {
        f"{summary.counts[state]:,} {state.value}": (COLOURS[state], float(summary.counts[state]))
        for state in order
        if summary.counts.get(state)
    }
    running = summary.counts.get(JobState.RUNNING, 0)
    if running and summary.progress:  # a part of what runs is done
        part = min(summary.progress, running)
        widths = {
            name: (colour, running - part if colour == COLOURS[JobState.RUNNING] else width)
            for name, (colour, width) in widths.items()
        }
    segments = "".join(
        f'<div title="{name}" style="width:{100 * width / total:.3f}%;background:{colour}"></div>'
        for name, (colour, width) in widths.items()
    )
    legend = "".join(
        f'<span style="margin-right:1em;white-space:nowrap"><span style="display:inline-block;width:.7em;height:.7em;'
        f'border-radius:2px;background:{COLOURS[state]};margin-right:.35em"></span>'
        f"{summary.counts[state]:,}&nbsp;{state.value}</span>"
        for state in (
            JobState.DONE,
            JobState.RUNNING,
            JobState.IDLE,
            JobState.HELD,
            JobState.FAILED,
            JobState.REMOVED,
        )
        if summary.counts.get(state)
    )
    below = "".join(
        f'<div style="margin-top:.3em;color:{colour}">{escape(text)}</div>'
        for text, colour in ((held(summary, cluster), "#b57e00"), (cluster.note, "#888"))
        if text
    )
    where = f"in {cluster.record.environment}" if cluster.record.environment else ""
    right = [text for text in (number(summary), where, age(cluster, summary)) if text]
    return (
        '<div class="htcmagic-cluster" style="font-family:var(--jp-ui-font-family,sans-serif);font-size:13px;'
        'max-width:52em;padding:.35em 0"><div style="display:flex;justify-content:space-between;margin-bottom:.3em">'
        f'<b>{escape(title(cluster))}</b><span style="opacity:.7">{escape(" · ".join(right))}</span></div>'
        '<div style="display:flex;height:.8em;border-radius:4px;overflow:hidden;background:#8883">'
        f'{segments}</div><div style="margin-top:.35em">{legend}</div>{below}</div>'
    )


class Views:
    """The places on the screen where one cluster is shown, updated from the follower's thread.

    Parameters
    ----------
    cluster : Cluster
        What is shown.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._handles: list[Any] = []
        self._shown = ""
        self._next = 0.0

    def show(self) -> None:
        """Show it here, too; in a notebook the view stays live."""
        from IPython import get_ipython  # noqa: PLC0415 - only where there is a front end
        from IPython.display import display  # noqa: PLC0415

        shell = get_ipython()
        data = self._data()
        if getattr(shell, "kernel", None) is None:
            display(data, raw=True)
            return
        handle = display(data, raw=True, display_id=True)
        if handle is not None and not self._cluster.done:
            self._handles.append(handle)

    def update(self, *, force: bool = False) -> None:
        """Bring all views up to date if what they show has changed."""
        now = time.monotonic()
        if not self._handles or (now < self._next and not force):
            return
        data = self._data()
        if data["text/html"] != self._shown:
            self._shown = data["text/html"]
            for handle in self._handles:
                handle.update(data, raw=True)
        age_s = time.time() - self._cluster.record.created
        self._next = now + (SHORTEST_S if force or age_s < 60 else min(5.0, age_s / 120))
        if self._cluster.done:
            self._handles.clear()

    def _data(self) -> dict[str, str]:
        return {"text/html": html(self._cluster), "text/plain": line(self._cluster)}
