"""Sending what was prepared: in one transaction, and never without a handle."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from typing import Any

from htcmagic.errors import (
    CellError,
    HTCMagicError,
    Interrupted,
    NotAuthorised,
    PoolError,
    ScheddUnreachable,
    SubmitRefused,
)
from htcmagic.jobs.rundir import UNIT_SEPARATOR, Record, RunDir
from htcmagic.jobs.submission import Submission
from htcmagic.pool.client import ANSWER_S, HEAL_S, SUBMIT_S, Client

INTERRUPTED_S = 1.0
"""How long an interrupted submission waits for the schedd to say whether the jobs arrived."""
AGAIN_S = 0.3


@dataclass(frozen=True, slots=True)
class Sent:
    """What arrived, and what HTCondor had to say about it."""

    record: Record
    warnings: tuple[str, ...]


def send(submission: Submission, client: Client, run_dir: RunDir, *, spool: bool = False) -> Sent:
    """Send it in one transaction and keep a record of it.

    Whatever happens, either all jobs are there and the record says so, or none is. After an interrupt or a lost
    connection the schedd is asked; where it does not answer, the record stays without a cluster id and finds its jobs
    when they show up.

    Raises
    ------
    SubmitRefused, ScheddUnreachable, NotAuthorised, Interrupted
        Nothing was sent; or nobody knows, which the message says.
    """
    record = Record(
        run=run_dir.run,
        name=submission.name,
        pool=client.pool,
        created=time.time(),
        directory=str(submission.directory),
        log=submission.log,
        spool=spool,
        columns=next((each.columns for each in (submission.items, submission.listed) if each), ()),
        outputs=submission.outputs,
        initialdir=submission.initialdir,
        environment=submission.environment,
        held=submission.first.get("hold", "").strip().lower() in {"true", "t", "yes", "1"},
    )
    try:
        queue = _write(submission, run_dir)
        run_dir.save(record)
    except BaseException:
        run_dir.discard()
        raise
    what = {"text": submission.text, "first_line": submission.first_line, "queue": queue, "spool": spool}
    return _deliver(record, what, client, run_dir)


def _deliver(record: Record, what: dict[str, Any], client: Client, run_dir: RunDir) -> Sent:
    """Send; again, when a personal pool's schedd went away and has none of the jobs."""
    deadline = time.monotonic() + HEAL_S
    where = {"cwd": record.directory, "env": dict(os.environ), "mark": record.run}
    while True:
        try:
            sent = client.call("submit", within_s=SUBMIT_S, again=False, **where, **what)
            arrived = replace(record, cluster=sent["cluster"], procs=sent["procs"])
            return _keep(arrived, run_dir, [f"HTCondor warns: {warning}" for warning in sent["warnings"]])
        except (SubmitRefused, NotAuthorised, CellError):
            run_dir.discard()
            raise
        except (KeyboardInterrupt, PoolError) as error:
            found = _settle(record, client, run_dir, error)
            if found is not None:
                return found
            if isinstance(error, KeyboardInterrupt):
                run_dir.discard()
                raise Interrupted("Nothing was sent.") from None
            may_come_back = isinstance(error, ScheddUnreachable) and error.transient and client.pool.personal
            if not may_come_back or time.monotonic() > deadline:
                run_dir.discard()
                raise
        time.sleep(AGAIN_S)


def _settle(record: Record, client: Client, run_dir: RunDir, error: BaseException) -> Sent | None:
    """Find out, after a submission without an answer, whether the jobs are there; None: they are not.

    Raises
    ------
    Interrupted, ScheddUnreachable
        Nobody can tell now: the record stays and finds its jobs when the schedd answers again.
    """
    interrupted = isinstance(error, KeyboardInterrupt)
    try:
        arrived = find(record, client, within_s=INTERRUPTED_S if interrupted else 5.0, again=not interrupted)
    except (KeyboardInterrupt, PoolError):
        unknown = "The schedd does not answer, so whether the jobs arrived is not known"
        hint = "Jobs that did are shown by %condor_jobs as soon as it answers; look there before you send them again."
        run_dir.save(replace(record, given_up=True))
        if interrupted:
            raise Interrupted(f"{unknown}.\n{hint}") from None
        raise ScheddUnreachable(f"{unknown}: {str(error).partition(chr(10))[0]}", hint=hint) from None
    if arrived is None:
        return None
    return _keep(arrived, run_dir, ["The jobs had arrived before the interrupt."] if interrupted else [])


def find(record: Record, client: Client, *, within_s: float = ANSWER_S, again: bool = True) -> Record | None:
    """Look for the jobs of a submission whose answer was lost: in the queue, then among those that have left it."""
    constraint = f'HtcmagicRun == "{record.run}"'
    wanted = ["ClusterId", "TotalSubmitProcs", "ProcId"]
    rows = client.query(constraint, wanted, within_s=within_s, again=again).rows
    if not rows:
        rows = client.call("history", constraint=constraint, projection=wanted, limit=1, within_s=within_s, again=again)
    if not rows:
        return None
    procs = max([int(str(rows[0][1] or 0)), *(int(str(row[2])) + 1 for row in rows)])
    return replace(record, cluster=int(str(rows[0][0])), procs=procs, given_up=False)


def _keep(record: Record, run_dir: RunDir, warnings: list[str]) -> Sent:
    """Write down what arrived; a full disk must not hide that it did."""
    try:
        run_dir.save(record)
    except HTCMagicError as error:
        warnings = [*warnings, f"The jobs were sent, but other sessions will not find them. {error.message}"]
    return Sent(record, tuple(warnings))


def _write(submission: Submission, run_dir: RunDir) -> str:
    """Write what is sent into the run's folder; return the queue statement to use."""
    queue = submission.queue
    count = "" if submission.count is None else f"{submission.count} "
    known = submission.items or submission.listed
    if known is not None:
        run_dir.write(run_dir.items_file, "".join(UNIT_SEPARATOR.join(row) + "\n" for row in known.rows))
    if submission.items is not None:
        queue = f"queue {count}{','.join(submission.items.columns)} from {run_dir.items_file}"
    run_dir.write(run_dir.submit_file, f"{submission.text}\n{queue}\n")
    return queue
