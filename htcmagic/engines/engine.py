"""An engine's handle: what it runs, why something of it does not run, how to stop it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

from htcmagic.engines import rows, session
from htcmagic.engines.lease import end_processes
from htcmagic.engines.rows import Job
from htcmagic.engines.session import Session
from htcmagic.engines.surroundings import REACHED_S, UNREACHED
from htcmagic.errors import HTCMagicError
from htcmagic.jobs.display import clean
from htcmagic.jobs.model import JobId
from htcmagic.pool.client import Client
from htcmagic.queue.listing import Listing
from htcmagic.queue.why import Why, explain

MOST = 100
"""Jobs that are looked for in the history at a time."""
GONE_S = 8.0
"""How long removed jobs may take to be gone."""
FEW = 3
"""So many jobs that cannot reach the notebook, and none that has, are enough to stop; Parsl, too, gives up then."""
KEPT = 5
"""Ends of jobs that are remembered, to be shown."""
WORDS = {"parsl": ("block", "blocks"), "dask": ("worker", "workers"), "ipyparallel": ("engine", "engines")}
"""What each calls its jobs."""

_mine: dict[str, Engine] = {}


class Engine:
    """An engine that this kernel has begun.

    Parameters
    ----------
    begun : Session
        Its name and folder.
    client : Client
        Its pool.
    """

    def __init__(self, begun: Session, client: Client) -> None:
        self.session = begun
        self.client = client
        self.close: Callable[[], Any] = lambda: None
        """Ends what it runs in this kernel, in its own way."""
        self.alive: Callable[[], bool] = lambda: True
        """Whether that still runs."""
        self.lost: Callable[[Job], None] = lambda _job: None
        """Is told of each job that has ended and should not have."""
        self.graph: Callable[[], Any] = lambda: None
        """The graph of its tasks, where it knows one."""
        self.address = ""
        """The option that names the notebook's address, for people."""
        self.refused = ""
        """Why none of its jobs could work; it is to be stopped."""
        self.ended = False
        self.known: dict[JobId, Job] = {}
        self.ends: list[str] = []
        """How jobs have ended that should not have, the last ones."""
        self._lost: set[int] = set()
        self._unreached: set[JobId] = set()
        self._finished = threading.Event()
        self._lock = threading.Lock()
        _mine[begun.id] = self

    @property
    def id(self) -> str:
        """Its name: the value of the attribute ``HtcmagicEngine`` in its jobs."""
        return self.session.id

    @property
    def kind(self) -> str:
        """``parsl``, ``dask`` or ``ipyparallel``."""
        return self.session.kind

    def __repr__(self) -> str:
        return f"<Engine {self.id}{' (ended)' if self.ended else ''}>"

    def called(self, count: int) -> str:
        """Return so many of its jobs in words."""
        one, many = WORDS[self.kind]
        return f"1 {one}" if count == 1 else f"{count:,} {many}"

    def look(self) -> list[Job]:
        """Ask for its jobs in the queue; how those ended that have left it is added to :attr:`ends`."""
        sent = self._sent()
        found = rows.read(self.client.query(self.session.constraint, rows.PROJECTION, again=False).rows)
        now = {job.id: job for job in found}
        with self._lock:
            before = dict(self.known)
            self.known |= now
        seen = {job.cluster for job in (*before, *now)}
        missed = [f"ClusterId == {cluster}" for cluster in sorted(sent - seen - self._lost)]
        gone = {job.id for job in before.values() if job.id not in now and job.status not in rows.OVER}
        missed += [f"(ClusterId == {job.cluster} && ProcId == {job.proc})" for job in sorted(gone)]
        late = self._late(missed[:MOST], gone) if missed else []
        self._lost |= sent - seen - {job.id.cluster for job in late}
        over = [job for job in found if job.status in rows.OVER and not _over(before.get(job.id))]
        timed = [job for job in found if job.status == rows.HELD and job.out_of_time]
        self.tell([*over, *late, *timed])
        if timed:  # they would be gone by themselves, but only when the schedd looks again
            wanted = " || ".join(f"(ClusterId == {job.id.cluster} && ProcId == {job.id.proc})" for job in timed)
            self.client.act("Remove", wanted, session.REASON)
        return found

    def _sent(self) -> set[int]:
        """Return the clusters that it has submitted."""
        with contextlib.suppress(OSError, ValueError):
            return {int(line) for line in (self.session.folder / session.CLUSTERS).read_text().split()}
        return set()

    def _late(self, wanted: list[str], gone: set[JobId]) -> list[Job]:
        """Return jobs that have left the queue, as the history tells of them; forget those of which it does not."""
        found = rows.read(self.client.history(" || ".join(wanted), rows.PROJECTION, limit=len(wanted)))
        with self._lock:
            for job in found:
                self.known[job.id] = job
            for name in gone - {job.id for job in found}:
                self.known.pop(name, None)
        return found

    def tell(self, ended: list[Job]) -> None:
        """Note what is to be known of jobs that have ended."""
        for job in ended:
            said = self.trouble(job)
            with self._lock:
                fresh = bool(said) and said not in self.ends
                if fresh:
                    self.ends = [*self.ends, said][-KEPT:]
            if fresh:
                self.lost(job)
            if UNREACHED in said:
                self._judge(job, said)

    def _judge(self, job: Job, said: str) -> None:
        """Give up when jobs cannot reach the notebook, and none has."""
        self._unreached.add(job.id)
        known = [one for one in list(self.known.values()) if one.id not in self._unreached]
        hope = len(self._unreached) < FEW and any(one.status not in rows.OVER for one in known)
        if not hope and not any(map(_reached, known)):
            self.refused = self.refused or said

    def trouble(self, job: Job) -> str:
        """Return why a job has ended that should not have; empty if it should."""
        one = f"{WORDS[self.kind][0]} {job.id}"
        if job.out_of_time:
            return f"{one} was ended after its walltime"
        if job.removed or job.status == rows.REMOVED:
            ours = session.REASON in job.removed or self.ended
            return "" if ours else f"{one} was removed: {clean(job.removed, 200) or 'no reason is known'}"
        if job.exit_code:
            words = clean(job.last_words(), 300)
            way = f". Give an address of this machine that it reaches: {self.address}" if UNREACHED in words else ""
            return f"{one} ended with exit status {job.exit_code}" + (f": {words}{way}" if words else "")
        return ""

    def status(self) -> Listing:
        """Return what it runs: jobs by state with their reasons, cores, age, slot hours; and the line that stops it."""
        from htcmagic.engines.overview import status  # noqa: PLC0415 - which asks for these

        return status(self.id, client=self.client)

    def why(self) -> Why:
        """Explain its jobs: why they are idle or held, what they do."""
        return explain(self.client, constraint=self.session.constraint)

    def stop(self) -> None:
        """Stop it: end it in its own way, and remove whatever is left of it."""
        with contextlib.suppress(OSError):
            (self.session.folder / session.STOPPED).touch()
        self.close()
        self.finish()

    def finish(self) -> None:
        """Remove what is left of it, once; return when that is done."""
        with self._lock:
            first, self.ended = not self.ended, True
        if not first:
            self._finished.wait(2 * GONE_S)
            return
        _mine.pop(self.id, None)
        try:
            with contextlib.suppress(HTCMagicError):
                remove(self.client, self.session.constraint)
                end_processes(self.session.folder)
                session.clear(self.session)
        finally:
            self._finished.set()


def _reached(job: Job) -> bool:
    """Whether a job has got through to the notebook."""
    if job.busy:
        return time.time() - job.since > REACHED_S
    return job.status == rows.COMPLETED and job.exit_code == 0


def _over(job: Job | None) -> bool:
    return job is not None and job.status in rows.OVER


def mine() -> list[Engine]:
    """Return the engines of this kernel."""
    return list(_mine.values())


def of(name: str) -> Engine | None:
    """Return the engine of this kernel that has this name."""
    return _mine.get(name)


def remove(client: Client, constraint: str) -> int:
    """Remove jobs, also those that are finished but wait to be looked at, and wait until they are gone.

    Returns
    -------
    int
        How many there were.
    """
    deadline = time.monotonic() + GONE_S
    removed = -1
    while client.query(constraint, ["ClusterId"], again=False).rows:
        if removed < 0:
            removed = client.act("Remove", constraint, session.REASON)["success"]
        finished = "" if time.monotonic() > deadline - GONE_S / 2 else " && CompletionDate > 0"
        client.act("RemoveX", f"({constraint}) && JobStatus == 3{finished}", session.REASON)
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    return max(removed, 0)
