"""``%condor_log``: what happened to jobs; ``%condor_tail``: what they write."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments

from htcmagic.errors import HTCMagicError, Interrupted
from htcmagic.magics.options import parse, pool_arguments
from htcmagic.magics.output import say

if TYPE_CHECKING:
    from htcmagic.jobs.model import JobId
    from htcmagic.pool.address import Pool
    from htcmagic.pool.client import Client
    from htcmagic.queue.eventlog import EventLog
    from htcmagic.queue.listing import Listing


@magics_class
class LogMagics(Magics):
    """What happened, and what is being written."""

    @no_var_expand
    @line_magic
    @magic_arguments()
    @argument("what", metavar="CLUSTER|FILE", help="a cluster (id, variable, batch name), or an event log")
    @argument("-f", "--follow", action="store_true", help="show what happens until all jobs have ended")
    def condor_log(self, line: str) -> Listing | None:
        """Show the event log of a cluster, or any other, as a table; the schedd is not asked.

        Example::

            In [1]: %condor_log scan

            In [2]: events = %condor_log scan

            In [3]: %condor_log -f scan
        """
        args = parse(self.condor_log, line)
        log = _log(args.what, self.shell.user_ns)
        try:
            if args.follow:
                _follow(log, live=getattr(self.shell, "kernel", None) is not None)
                return None
            log.read()
            return log.table()
        finally:
            log.close()

    @no_var_expand
    @line_magic
    @magic_arguments()
    @argument("job", metavar="JOB", help="cluster.proc, a job (scan[3]), or a cluster of one job")
    @argument("-f", "--follow", action="store_true", help="show what it writes until it has ended")
    @argument("--stderr", action="store_true", help="its standard error, not its standard output")
    @argument("-n", "--lines", type=int, default=10, metavar="LINES", help="so many of the last lines (default: 10)")
    @pool_arguments("--name")
    def condor_tail(self, line: str) -> None:
        """Show the end of what a running job has written.

        Example::

            In [1]: %condor_tail scan

            In [2]: %condor_tail -f scan[0]
        """
        from htcmagic.errors import NoSuchJob
        from htcmagic.jobs import choice
        from htcmagic.pool.client import client
        from htcmagic.pool.resolve import connect

        args = parse(self.condor_tail, line)
        target = choice.target(args.job, self.shell.user_ns)
        if target.job is None and not target.cluster:
            raise HTCMagicError(f"{args.job} is no job.", hint="Name one: %condor_tail 17.3, %condor_tail scan[3]")
        named = bool(args.schedd or args.pool)
        whom = client(target.pool) if target.pool and not named else connect(args.schedd, args.pool, report=say)
        job = target.job or _one_of(target.cluster, whom)
        try:
            _tail(whom, job, args)
        except NoSuchJob:
            text = None if named else _written(job, whom.pool, error=args.stderr)
            if text is None:
                raise
            _write("".join(text.splitlines(keepends=True)[-args.lines :] if args.lines > 0 else []))
        except KeyboardInterrupt:
            raise Interrupted(f"Stopped looking at job {job}; it goes on.") from None


def _one_of(cluster: int, whom: Client) -> JobId:
    """Return the job of a cluster to look at: the first that runs, else the first; say which if there are several."""
    from htcmagic.jobs.model import JobId

    rows = whom.query(f"ClusterId == {cluster}", ["ProcId", "JobStatus"]).rows
    procs = sorted(int(str(proc)) for proc, _ in rows)
    running = sorted(int(str(proc)) for proc, status in rows if status == 2)
    job = JobId(cluster, (running or procs or [0])[0])
    if len(procs) > 1:
        which = "the first that runs" if running else "the first"
        say(f"[job {job}, {which} of {len(procs):,}; another one: %condor_tail {cluster}.N]")
    return job


def _tail(whom: Client, job: JobId, args: argparse.Namespace) -> None:
    from htcmagic.jobs import tail
    from htcmagic.jobs.display import clean

    found = tail.stream(whom, job, error=args.stderr)
    if found.waits:
        say(f"Job {job} is {found.state}: it writes nothing now.")
        while args.follow and found.waits:
            time.sleep(tail.ASK_S)
            found = tail.stream(whom, job, error=args.stderr)
        if found.waits:
            return
    lines = max(args.lines, 0)
    if not args.follow:
        _write(found.last(lines))
        return
    for piece in found.follow(lines):
        _write(piece)
    if not found.here:
        say(f"[the job has ended; all that it wrote: {clean(str(found.path), 300)}]")


def _written(job: JobId, pool: Pool, *, error: bool) -> str | None:
    """Return what a job of ours wrote that has left the queue; None if it is not ours."""
    from htcmagic.jobs import store

    sent = [one for one in store.clusters(job.cluster) if one.record.pool.key == pool.key and job.proc < len(one)]
    if not sent:
        return None
    return sent[0].stderr(job.proc) if error else sent[0].stdout(job.proc)


def _write(text: str) -> None:
    if text:
        from htcmagic.queue.text import harmless

        sys.stdout.write(harmless(text))
        sys.stdout.flush()


def _log(word: str, namespace: dict[str, Any]) -> EventLog:
    from htcmagic.jobs import naming
    from htcmagic.jobs.cluster import Cluster
    from htcmagic.queue.eventlog import EventLog

    sent = naming.named(word, namespace)
    file = Path(word).expanduser()
    if not sent and not file.exists():
        raise HTCMagicError(
            f"{word} is neither a cluster of yours nor a file.", hint="List your clusters: %condor_jobs"
        )
    if not sent:
        return EventLog(file)
    newest = sent[-1]
    cluster = newest if isinstance(newest, Cluster) else newest._cluster  # noqa: SLF001
    if cluster.log is None:
        raise HTCMagicError(
            f"Cluster {cluster.id} has no event log that can be read here.",
            hint=f"Ask the schedd: %condor_q {cluster.id}",
        )
    return EventLog(cluster.log, cluster.id)


def _follow(log: EventLog, *, live: bool) -> None:
    from htcmagic.queue.eventlog import TAIL, line_of, pause

    handle = None
    try:
        while True:
            new = log.read()
            if live and (new or handle is None):
                handle = _shown(log.table(last=TAIL), handle)
            elif not live:
                for row in new:
                    sys.stdout.write(f"{line_of(row)}\n")
                sys.stdout.flush()
            if log.ended:
                break
            pause()
    except KeyboardInterrupt:
        raise Interrupted("Stopped following the log; the jobs go on.") from None
    say("All jobs have ended.")


def _shown(table: Listing, handle: Any) -> Any:
    from IPython.display import display

    if handle is None:
        return display(table, display_id=True)
    handle.update(table)
    return handle
