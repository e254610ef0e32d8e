"""What is shown of a cell's jobs: their progress bar, and what has failed below it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING, Any, cast

from htcmagic.jobs import display
from htcmagic.jobs.cluster import Cluster
from htcmagic.jobs.model import JobState
from htcmagic.jobs.tracker import Summary

if TYPE_CHECKING:
    from htcmagic.functions.cellrun import CellRun


class Ahead:
    """A cluster whose counts know of results that are here before its event log tells of them.

    Parameters
    ----------
    run : CellRun
        Its jobs.
    """

    def __init__(self, run: CellRun) -> None:
        self._run = run

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run.cluster, name)

    def summary(self) -> Summary:
        """Return the cluster's summary, with what is known beyond."""
        known = self._run.cluster.summary()
        early = [future for future in self._run.early() if not future.job.state.final]
        if known.final or not early:
            return known
        counts = Counter(known.counts)
        for future in early:
            counts[future.job.state] -= 1
            counts[future.state] += 1
        left = {state: number for state, number in counts.items() if number > 0}
        return replace(known, counts=left, progress=min(known.progress, left.get(JobState.RUNNING, 0)))


class Views(display.Views):
    """The cluster's progress bar, and what has failed below it."""

    def __init__(self, cluster: Cluster, run: CellRun) -> None:
        super().__init__(cluster)
        self._run = run

    def update(self, *, force: bool = False) -> None:
        """Bring all views up to date; the last time when every future knows how it ended."""
        handles = list(self._handles)
        super().update(force=force)
        if not self._run.done:
            self._handles[:] = handles

    def _data(self) -> dict[str, str]:
        html, why = display.html(ahead(self._run)), self._run.failure()
        if why:
            below = f'<div style="margin-top:.3em;color:#d33f49">{escape(why)}</div>'
            html = html.removesuffix("</div>") + below + "</div>"
        return {"text/html": html, "text/plain": line(self._run)}


def ahead(run: CellRun) -> Cluster:
    """Return a run's cluster as it is shown."""
    return cast(Cluster, Ahead(run))


def line(run: CellRun) -> str:
    """Return a line for a terminal."""
    why = run.failure()
    return display.line(ahead(run)) + (f"; {why}" if why else "")
