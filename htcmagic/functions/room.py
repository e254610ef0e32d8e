"""Room on a personal pool: warm workers without work leave when other jobs of this session wait for a place.

Such a pool has as many places as the machine has cores; idle workers would keep them for a minute, and a map or a cell
would stand there waiting. On other pools there is more than one user's share to wait for, and idle workers end anyway.
"""

from __future__ import annotations

import time
import weakref
from functools import cache
from typing import TYPE_CHECKING

from htcmagic.functions.collector import collector
from htcmagic.jobs import cluster as clusters
from htcmagic.jobs.model import JobState

if TYPE_CHECKING:
    from htcmagic.functions.executing import Execution

LOOK_S = 0.5
WAITED_S = 1.0
"""So long jobs wait for a place before idle workers make room: they may just be starting."""


class Room:
    """Looks who waits and who idles; see the collector."""

    def __init__(self) -> None:
        self._executions: weakref.WeakSet[Execution] = weakref.WeakSet()
        self._since: dict[str, float] = {}
        self._asked: set[str] = set()
        """Runs for which room was made: if they wait on, it is for something else."""

    def watch(self, execution: Execution) -> None:
        """Look after an executor's workers from now on."""
        self._executions.add(execution)
        collector().add(self)

    def collect(self) -> float:
        """Dismiss workers that have nothing to do, if somebody waits."""
        live = [one for one in self._executions if not one.ended]
        if not live:
            collector().remove(self)
            return LOOK_S
        resting = [one for one in live if not one.spool.open]
        warm = [one for one in resting if one.workers.alive and not one.plan.least]
        if warm and self._somebody_waits({c.run_dir.run for one in resting for c in one.workers.clusters}):
            for one in warm:
                one.workers.dismiss()
        return LOOK_S

    def _somebody_waits(self, but: set[str]) -> bool:
        now = time.monotonic()
        waiting = {
            one.run_dir.run
            for one in clusters.attached()
            if one.record.pool.personal and one.summary().counts.get(JobState.IDLE)
        } - but
        self._since = {run: self._since.get(run, now) for run in waiting}
        due = {run for run, since in self._since.items() if now - since > WAITED_S} - self._asked
        self._asked |= due
        return bool(due)


@cache
def room() -> Room:
    """Return the one of this process."""
    return Room()
