"""Frozen values: job ids, states, holds, and what is known of a job that has ended."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple

from htcmagic.errors import JobError, JobFailed, JobRemoved


class JobId(NamedTuple):
    """``cluster.proc``, ordered as HTCondor orders them."""

    cluster: int
    proc: int

    def __str__(self) -> str:
        return f"{self.cluster}.{self.proc}"


class JobState(enum.Enum):
    """What a user wants to know of a job; finer than ``JobStatus`` at the end, coarser on the way.

    A job that ended with exit code 0 is ``DONE``, with another code or by a signal ``FAILED``.
    """

    IDLE = "idle"
    RUNNING = "running"
    HELD = "held"
    DONE = "done"
    FAILED = "failed"
    REMOVED = "removed"

    @property
    def final(self) -> bool:
        """Whether the job stays so for ever."""
        return self in _FINAL


_FINAL = frozenset({JobState.DONE, JobState.FAILED, JobState.REMOVED})

STATE_OF_STATUS = {
    1: JobState.IDLE,
    2: JobState.RUNNING,
    3: JobState.REMOVED,
    4: JobState.DONE,
    5: JobState.HELD,
    6: JobState.RUNNING,  # transferring output
    7: JobState.RUNNING,  # suspended
}
"""From the ``JobStatus`` of a job ad (HTCondor manual, "Job ClassAd Attributes")."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a job is held; `code` and `subcode` as in HTCondor's table of hold reason codes."""

    reason: str
    code: int = 0
    subcode: int = 0


@dataclass(frozen=True, slots=True)
class Exit:
    """How a job ended.

    Attributes
    ----------
    code : int or None
        Its exit code; None when a signal ended it.
    signal : int or None
        That signal.
    host : str
        Where it ran last, ``slot1_1@worker``; empty if unknown.
    started, ended : float or None
        Seconds since 1970, UTC.
    """

    code: int | None
    signal: int | None = None
    host: str = ""
    started: float | None = None
    ended: float | None = None

    @property
    def ok(self) -> bool:
        """Whether it ended with exit code 0."""
        return self.code == 0

    @property
    def run_s(self) -> float | None:
        """Seconds from the last start to the end."""
        return None if self.started is None or self.ended is None else self.ended - self.started

    def error(self, job: JobId, reason: str = "") -> JobError:
        """Return what to raise for a job that ended like this.

        Parameters
        ----------
        job : JobId
            Which.
        reason : str
            Why it did not even start its work, if known.
        """
        if reason:
            return JobFailed(f"Job {job} did not start: {reason}", job=str(job), hint="What else was said: .stderr()")
        how = f"by signal {self.signal}" if self.signal is not None else f"with exit code {self.code}"
        return JobFailed(f"Job {job} ended {how}.", job=str(job), hint="See what it wrote: .stderr() and .stdout()")


def removed(job: JobId, reason: str) -> JobRemoved:
    """Return what to raise for a removed job."""
    return JobRemoved(f"Job {job} was removed" + (f": {reason}" if reason else "."), job=str(job))
