"""Waiting in a cell: a live line in a terminal, the live progress bar in a notebook."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from concurrent import futures

from htcmagic.errors import Interrupted
from htcmagic.jobs import display
from htcmagic.jobs.cluster import Cluster, JobFuture

REDRAW_S = 0.5


def wait_for(clusters: Sequence[Cluster], timeout: float | None = None, *, shown: bool = True) -> bool:
    """Wait until all jobs of these clusters have ended; an interrupt leaves them running and says how to remove them.

    Returns
    -------
    bool
        Whether they all have ended.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    live = sys.stdout.isatty()
    if shown and not live:
        for cluster in clusters:
            cluster._ipython_display_()
    try:
        for cluster in clusters:
            while not cluster.done or not cluster.ended:
                left = REDRAW_S if deadline is None else min(REDRAW_S, deadline - time.monotonic())
                if left <= 0:
                    sys.stdout.write("\n" if live else "")
                    return False
                cluster.pause(left)
                if live:
                    wide = shutil.get_terminal_size().columns - 1  # or it would be written again and again below itself
                    sys.stdout.write(f"\r\x1b[K{display.line(cluster)[:wide]}")
                    sys.stdout.flush()
            if live:
                sys.stdout.write("\n")
    except KeyboardInterrupt:
        sys.stdout.write("\n" if live else "")
        ids = " ".join(str(cluster.id) for cluster in clusters)
        raise Interrupted(f"Stopped waiting; the jobs go on.\nTo remove them: %condor_rm {ids}") from None
    return True


def wait_for_jobs(jobs: Sequence[JobFuture], timeout: float | None = None) -> bool:
    """Wait until these jobs have ended, well or not; whether they all have."""
    try:
        return not futures.wait(jobs, timeout).not_done
    except KeyboardInterrupt:
        ids = " ".join(str(job.id) for job in jobs)
        raise Interrupted(f"Stopped waiting; the jobs go on.\nTo remove them: %condor_rm {ids}") from None
