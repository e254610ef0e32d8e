"""What runs under any engine of this user, as a table; and how to stop it."""

from __future__ import annotations

import contextlib
import difflib
import shutil
import socket
import time
from collections import Counter
from datetime import timedelta

from htcmagic.engines import engine as handles
from htcmagic.engines import rows, session
from htcmagic.engines.lease import end_processes
from htcmagic.engines.rows import Job
from htcmagic.engines.session import Session
from htcmagic.engines.watching import reasons, state
from htcmagic.errors import HTCMagicError, NoSuchJob
from htcmagic.jobs.display import clean, elapsed
from htcmagic.pool.client import Client, client
from htcmagic.pool.resolve import connect
from htcmagic.queue.listing import Listing
from htcmagic.queue.why import explain

ANY = f"{session.ATTRIBUTE} =!= undefined || {rows.DAG} =!= undefined"
COLUMNS = ("ENGINE", "NAME", "RUN", "IDLE", "HELD", "CORES", "AGE", "SLOT_HOURS", "KERNEL")
WIDEST = 30
STOP = "Stop one: %condor_engines --stop {0}"
ALL = "all"


class Group:
    """One engine, from its folder, from its jobs in the queue, or both."""

    def __init__(self, name: str, asked: Client, begun: Session | None = None, host: str = "") -> None:
        self.id = name
        self.client = asked
        self.session = begun
        self.host = host
        self.jobs: list[Job] = []

    @property
    def first(self) -> Job | None:
        """One of its jobs: DAGMan's own, if there is one."""
        return next((job for job in self.jobs if job.label), self.jobs[0] if self.jobs else None)

    def record(self) -> dict[str, object]:
        """Return its row."""
        counts = Counter(map(state, self.jobs))
        first, own = self.first, handles.of(self.id)
        known = list(own.known.values()) if own is not None else []
        used = {job.id: job.slot_hours for job in [*known, *self.jobs]}
        created = self.session.created if self.session else min((job.queued for job in self.jobs), default=time.time())
        kernel = first.kernel if first else ""
        if self.session is not None:
            kernel = f"{self.host}:{self.session.kernel[0]}"
        return {
            "ENGINE": self.id,
            "NAME": self.session.label if self.session else (first.label if first else ""),
            "RUN": counts["running"],
            "IDLE": counts["idle"],
            "HELD": counts["held"],
            "CORES": sum(job.cpus for job in self.jobs if job.busy),
            "AGE": timedelta(seconds=round(max(0.0, time.time() - created))),
            "SLOT_HOURS": round(sum(used.values()), 3),
            "KERNEL": "this" if own is not None else kernel.partition("@")[2] or kernel,
            "STOP": f"%condor_engines --stop {self.id}",
        }

    def reasons(self) -> list[str]:
        """Return why jobs of it are idle or held."""
        ids = [f"(ClusterId == {c})" for c in {job.id.cluster for job in self.jobs if state(job) in {"idle", "held"}}]
        own = handles.of(self.id)
        ends = list(own.ends) if own is not None else []
        if not ids:
            return ends
        found = explain(self.client, constraint=f"({' || '.join(ids)}) && (JobStatus == 1 || JobStatus == 5)")
        return reasons(found) + ends


def groups(schedd: str = "", pool: str = "", *, asked: Client | None = None) -> list[Group]:
    """Return this user's engines, of every pool that one of them has been begun on and of the one in use."""
    here = asked or connect(schedd, pool)
    begun = {one.id: (one, host) for one, host in session.everything()}
    clients = {here.pool.key: here}
    if asked is None and not (schedd or pool):
        for one, _ in begun.values():
            clients.setdefault(one.pool.key, client(one.pool))
    found: dict[str, Group] = {}
    for name, (one, host) in begun.items():
        if one.pool.key in clients:
            found[name] = Group(name, clients[one.pool.key], one, host)
    for there in clients.values():
        with contextlib.ExitStack() as stack:
            if there is not here:
                stack.enter_context(contextlib.suppress(HTCMagicError))  # a pool that is gone hides none of the others
            for job in rows.read(there.query(ANY, rows.PROJECTION, my_jobs=True).rows):
                found.setdefault(job.engine, Group(job.engine, there)).jobs.append(job)
    return [_named(group) for group in found.values()]


def _named(group: Group) -> Group:
    """Name a DAG after its DAGMan's cluster."""
    if group.jobs and group.jobs[0].kind == "dag":
        dagman = next((job for job in group.jobs if job.label), group.jobs[0])
        group.id = f"dag-{dagman.id.cluster}"
    return group


def status(name: str = "", schedd: str = "", pool: str = "", *, client: Client | None = None) -> Listing:
    """Return what runs under any engine of this user, also those of other kernels.

    Parameters
    ----------
    name : str
        Only this one.
    schedd, pool : str
        Another pool than the one in use.
    client : Client, optional
        The only pool to ask.

    Returns
    -------
    Listing
        A row each: jobs by state, cores, age, slot hours, whose kernel, the line that stops it; below, why jobs do
        not run.
    """
    session.sweep()
    found = [group for group in groups(schedd, pool, asked=client) if name in {"", group.id}]
    if not found:
        word = f"{name} has ended." if name else "Nothing runs under Parsl, Dask, ipyparallel or DAGMan."
        return Listing(word, plain=True)
    found.sort(key=lambda group: group.id)
    records = [group.record() for group in found]
    said = [f"{group.id}: {reason}" for group in found for reason in group.reasons()]
    note = "\n".join([*said, STOP.format(found[0].id) + ("" if name else ", or: all")])
    return Listing(f"{_table(records)}\n\n{note}", columns=(*COLUMNS, "STOP"), rows=records, title="Engines", note=note)


def _table(records: list[dict[str, object]]) -> str:
    lines = [COLUMNS, *(tuple(_word(record[name]) for name in COLUMNS) for record in records)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(COLUMNS))]
    left = {"ENGINE", "NAME", "KERNEL"}
    return "\n".join(
        "  ".join(
            word.ljust(width) if name in left else word.rjust(width)
            for word, width, name in zip(line, widths, COLUMNS, strict=True)
        ).rstrip()
        for line in lines
    )


def _word(value: object) -> str:
    if isinstance(value, timedelta):
        return elapsed(value.total_seconds())
    return f"{value:g}" if isinstance(value, float) else clean(str(value), WIDEST)


def stop(name: str, schedd: str = "", pool: str = "") -> list[str]:
    """Stop an engine, or all: in this kernel its own way; elsewhere its jobs and its processes go.

    Parameters
    ----------
    name : str
        As :func:`status` shows it; ``all``.
    schedd, pool : str
        Another pool than the one in use.

    Returns
    -------
    list of str
        What was done, a line each.

    Raises
    ------
    NoSuchJob
        There is none of this name.
    """
    there = groups(schedd, pool)
    wanted = [group for group in there if name in {ALL, group.id}]
    if not wanted and name != ALL:
        near = difflib.get_close_matches(name, [group.id for group in there], n=1, cutoff=0.3)
        hint = f"Did you mean {near[0]}?" if near else "Nothing runs." if not there else "See: %condor_engines"
        raise NoSuchJob(f"There is no engine {clean(name, 60)}.", hint=hint)
    return [_stop(group) for group in wanted] or ["There is nothing to stop."]


def _stop(group: Group) -> str:
    own, jobs = handles.of(group.id), len([job for job in group.jobs if state(job) != "done"])
    counted = "1 job" if jobs == 1 else f"{jobs:,} jobs"
    if own is not None:
        own.stop()
        return f"{group.id} stopped, {counted} removed."
    if group.session is not None:
        with contextlib.suppress(OSError):
            (group.session.folder / session.STOPPED).touch()
    if group.jobs and group.jobs[0].kind == "dag":
        dagman = next((job for job in group.jobs if job.label), None)
        ids = {dagman.id.cluster} if dagman else {job.id.cluster for job in group.jobs}
        handles.remove(group.client, " || ".join(f"ClusterId == {one}" for one in sorted(ids)))
        return f"{group.id} stopped, {counted} removed."
    handles.remove(group.client, f"{session.ATTRIBUTE} == {session.expression(group.id)}")
    if group.session is not None and group.host == socket.gethostname():
        end_processes(group.session.folder)
    if group.session is not None and not group.session.folder.parent.exists():
        shutil.rmtree(group.session.folder, ignore_errors=True)
    return f"{group.id} stopped, {counted} removed."
