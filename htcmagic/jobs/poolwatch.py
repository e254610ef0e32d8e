"""An eye on the personal pool of jobs that have not ended: nothing but its jobs' users watches it."""

from __future__ import annotations

import contextlib
import time

from htcmagic.errors import HTCMagicError
from htcmagic.jobs.rundir import Record
from htcmagic.pool import personal

LOOK_AFTER_S = 2.0
"""How often it is looked whether the pool is still there."""


class PoolWatch:
    """Starts one cluster's pool when it was killed, and sees when it was purged.

    Parameters
    ----------
    record : Record
        The cluster.
    """

    def __init__(self, record: Record) -> None:
        self._pool = record.pool
        self._created = record.created
        self._next = 0.0

    def purged(self) -> bool:
        """Look, if it is time to; whether the jobs are gone with their pool."""
        if not self._pool.personal or time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + LOOK_AFTER_S
        config = self._pool.config
        if personal.purged(config, self._created):
            return True
        if config == str(personal.config_file()) and not personal.is_up() and not personal.stopped():
            with contextlib.suppress(HTCMagicError):
                personal.up()
        return False
