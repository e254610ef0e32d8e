"""Parsl's own CondorProvider, with HTCondor's programs as this pool wants them called, and the reasons of ends."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

from parsl.jobs.states import JobState, JobStatus
from parsl.providers import CondorProvider

from htcmagic.engines import rows
from htcmagic.engines.engine import Engine
from htcmagic.engines.parsl_config import CERTIFICATES
from htcmagic.engines.rows import Job
from htcmagic.errors import HTCMagicError
from htcmagic.jobs.display import clean

POLLING_S = 5
"""Parsl's own is a minute: as long as nobody hears that a block is held."""


class Provider(CondorProvider):  # type: ignore[misc]
    """A CondorProvider for one engine.

    Parameters
    ----------
    engine : Engine
        Which.
    **options
        Those of ``CondorProvider``.
    """

    def __init__(self, engine: Engine, **options: Any) -> None:
        super().__init__(**options)
        self.engine = engine
        self.certificates: Callable[[], str | None] = lambda: None
        """The folder of the keys with which workers encrypt, once there is one."""
        self._files: list[str] = list(options.get("transfer_input_files", ()))

    def submit(self, *arguments: Any, **keywords: Any) -> Any:
        """Send a block, with the keys that its workers need."""
        keys = self.certificates()
        self.transfer_input_files = [*self._files, *([f"{keys}/{name}" for name in CERTIFICATES] if keys else [])]
        return super().submit(*arguments, **keywords)

    def execute_wait(self, cmd: str, timeout: int | None = None) -> Any:
        """Run one of HTCondor's programs, as this pool wants it."""
        if not self.engine.session.bin.exists():
            return 1, "", f"engine {self.engine.id} has ended"
        return super().execute_wait(f"PATH={shlex.quote(str(self.engine.session.bin))}:$PATH; {cmd}", timeout)

    @property
    def status_polling_interval(self) -> int:
        """Seconds between two looks at the blocks."""
        return POLLING_S

    def _status(self) -> None:
        """Ask for all blocks at once; what ended, and why, is told with its words."""
        waiting = [name for name, one in self.resources.items() if not one["status"].terminal]
        if not waiting or self.engine.ended:
            return
        try:
            self.engine.look()
        except HTCMagicError:
            return  # what it was before: a schedd that is away for a while ends no block
        known = {str(job.id): job for job in list(self.engine.known.values())}
        for name in waiting:
            if name in known:
                self.resources[name]["status"] = self._told(known[name])
            else:
                gone = f"block {name} has left the queue, and no history tells how"
                self.resources[name]["status"] = JobStatus(JobState.FAILED, message=gone)

    def _told(self, job: Job) -> Any:
        """Return what Parsl is to know of a block."""
        if job.out_of_time:
            return JobStatus(JobState.TIMEOUT, message="its walltime was over")
        if job.status == rows.HELD:
            why = f"block {job.id} is held: {clean(job.reason, 400)}"
            return JobStatus(JobState.FAILED, message=f"{why}\n\tMore: %condor_why {job.id}")
        if job.status == rows.COMPLETED:
            trouble = self.engine.trouble(job)
            state = JobState.FAILED if trouble else JobState.COMPLETED
            return JobStatus(state, message=trouble or None, exit_code=job.exit_code)
        if job.status == rows.REMOVED:
            return JobStatus(JobState.CANCELLED, message=self.engine.trouble(job) or None)
        return JobStatus(JobState.RUNNING if job.busy else JobState.PENDING)
