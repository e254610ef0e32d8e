"""What this user has sent, from any session: found again on disk."""

from __future__ import annotations

import time

from htcmagic.errors import HTCMagicError
from htcmagic.jobs import sending
from htcmagic.jobs.cluster import Cluster, attach
from htcmagic.jobs.follower import follower
from htcmagic.jobs.rundir import Record, RunDir, all_runs
from htcmagic.pool.client import ANSWER_S, SUBMIT_S, client


def clusters(name: str | int | None = None, *, limit: int = 100) -> list[Cluster]:
    """Return the clusters that this user sent, newest first, also those of other sessions.

    Parameters
    ----------
    name : str or int, optional
        Only those with this batch name, cluster id or run name.
    limit : int
        Most of them.

    Returns
    -------
    list of Cluster
    """
    found = []
    for run_dir in all_runs():
        record = _read(run_dir)
        if record is None or not record.cluster:
            continue
        if name is None or str(name) in {record.name, str(record.cluster), record.run}:
            found.append(attach(run_dir, record))
            follower().catch_up(found[-1])
            if len(found) >= limit:
                break
    return found


def cluster(name: str | int) -> Cluster:
    """Return one cluster by its batch name, id or run name; the newest if several have that name.

    Raises
    ------
    HTCMagicError
        There is none.
    """
    found = clusters(name, limit=1)
    if not found:
        raise HTCMagicError(f"There is no cluster {name} of yours.", hint="List them: %condor_jobs")
    return found[0]


def _read(run_dir: RunDir) -> Record | None:
    """Read a record; one without a cluster id was interrupted: look whether its jobs did arrive."""
    try:
        record = run_dir.load()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if record.cluster:
        return record
    try:
        found = sending.find(record, client(record.pool))
        if found is not None:
            run_dir.save(found)
        elif record.given_up or time.time() - record.created > SUBMIT_S + ANSWER_S:
            run_dir.discard()  # nobody can still be sending it
    except HTCMagicError:
        return None
    return found
