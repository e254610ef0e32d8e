"""The worker jobs of a spool: as many as there is work for, replaced when they vanish, shown with what ails them."""

from __future__ import annotations

import contextlib
import itertools
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from htcmagic import places
from htcmagic.errors import (
    CellError,
    HTCMagicError,
    NotAuthorised,
    PythonMismatch,
    ScheddUnreachable,
    SubmitRefused,
    WorkerLost,
)
from htcmagic.functions import jobs, spool
from htcmagic.functions.place import Place
from htcmagic.functions.spool import Spool
from htcmagic.jobs.cluster import Cluster
from htcmagic.jobs.display import LONGEST_REASON, clean
from htcmagic.jobs.model import JobState
from htcmagic.jobs.rundir import RunDir
from htcmagic.pool.client import Client

AUDIT_S = 2.0
"""How often claims are compared with what is known of their workers."""
LOOK_S = 0.1
BACKLOG_S = 0.3
"""So long tasks wait for workers that there are, before more are sent."""
AGAIN_S = (2.0, 60.0)
"""Shortest and longest time until it is tried again to send workers."""
FAILURES = 3
"""So many workers in a row that fail before there is a result: more of them would, too."""
WHY_AFTER_S, WHY_EVERY_S = 5.0, 20.0
LEAVE_S = 0.5
"""How long workers have for ending of their own accord."""


@dataclass(frozen=True)
class Plan:
    """What workers to have.

    Attributes
    ----------
    least, most : int
        How many: always; when there is much to do.
    all_at_once : bool
        Whether to have all of them as soon as there is anything to do.
    """

    place: Place
    name: str = ""
    least: int = 0
    most: int = 10
    all_at_once: bool = False
    resources: Mapping[str, str] = field(default_factory=dict)


class Workers:
    """Worker jobs; :meth:`tend` is to be called often, and is quick.

    Parameters
    ----------
    plan : Plan
        What workers to have.
    tasks : Spool
        Where they take their tasks from.
    connect : callable
        Returns the client of the pool.
    sent : callable, optional
        Is told each new cluster.
    """

    def __init__(
        self,
        plan: Plan,
        tasks: Spool,
        connect: Callable[[], Client],
        sent: Callable[[Cluster], None] = lambda _cluster: None,
    ) -> None:
        self.plan = plan
        self.clusters: list[Cluster] = []
        self.trouble = ""
        """Why no workers can be sent; empty if they can."""
        self.failed: HTCMagicError | None = None
        """Why there will be none, so that tasks should not go on waiting."""
        self._spool = tasks
        self._connect = connect
        self._told = sent
        self._jobs: dict[str, tuple[Cluster, int]] = {}
        self._names = itertools.count()
        self._lock = threading.Lock()
        self._busy: threading.Thread | None = None
        self._changed = False
        self._seen, self._next_look = 0, 0.0
        self._next_audit = self._next_try = self._backlog_since = self._busy_at = 0.0
        self._again_s = AGAIN_S[0]
        self._failures: set[tuple[int, int]] = set()
        self._forgiven: set[tuple[int, int]] = set()
        self._why: tuple[float, str] = (0.0, "")
        self._since = time.monotonic()
        self._ended = False

    def adopt(self, clusters: list[Cluster]) -> None:
        """Take over workers of another session."""
        for cluster in clusters:
            self._add(cluster)

    def _add(self, cluster: Cluster) -> None:
        for proc in range(len(cluster)):
            item = cluster.item(proc)
            argument = item.get("chunk") or next((v for k, v in item.items() if k.endswith("chunk")), "")
            self._jobs[argument.partition("@")[0]] = cluster, proc
        self.clusters.append(cluster)
        cluster.watchers.append(self._noticed)

    def _noticed(self, _procs: set[int]) -> None:
        self._changed = True

    @property
    def states(self) -> Counter[JobState]:
        """How many are in which state."""
        found: Counter[JobState] = Counter()
        for cluster in self.clusters:
            found.update(cluster.summary().counts)
        return found

    @property
    def alive(self) -> int:
        """How many there are, running or not."""
        return sum(number for state, number in self.states.items() if not state.final)

    def progressed(self) -> None:
        """Be told that there are results: workers work."""
        self._forgiven |= self._failures
        self._failures.clear()

    def tend(self, open_tasks: int) -> list[tuple[int, str]]:
        """Send workers, give back what vanished ones had; return the tasks that are not run again, and why."""
        now = time.monotonic()
        lost: list[tuple[int, str]] = []
        if open_tasks == self._seen and not self._changed and now < self._next_look:
            return lost
        self._seen, self._next_look = open_tasks, now + LOOK_S
        if self._changed or now >= self._next_audit:
            self._changed, self._next_audit = False, now + AUDIT_S
            if open_tasks:
                lost = self._audit()
            self._count_failures()
        if open_tasks:
            self._busy_at = now
        self._scale(open_tasks, now)
        return lost

    def _audit(self) -> list[tuple[int, str]]:
        lost: list[tuple[int, str]] = []
        claims = self._spool.claims()
        if not claims:
            return lost
        newest: dict[str, tuple[float, str]] = {}
        for worker, when in self._spool.workers().items():
            item = worker.partition(".")[0]
            newest[item] = max(newest.get(item, (0.0, "")), (when, worker))
        for worker in claims:
            item = worker.partition(".")[0]
            if worker != spool.OURS and self._has_vanished(item, worker == newest.get(item, (0.0, worker))[1]):
                lost += [(number, self._end_of(item)) for number in self._spool.give_back(worker).lost]
        return lost

    def _end_of(self, item: str) -> str:
        """Return what became of a worker, in words."""
        if item not in self._jobs:
            return "it is not known to this session"
        cluster, proc = self._jobs[item]
        state, hold = cluster.tracker.state(proc), cluster.tracker.hold(proc)
        job = f"job {cluster.id}.{proc}"
        if hold is not None:
            return f"{job} is held: {clean(hold.reason, LONGEST_REASON).rstrip('.')}"
        if state is JobState.REMOVED:
            return f"{job} was removed: {clean(cluster.tracker.reasons.get(proc, ''), LONGEST_REASON).rstrip('.')}"
        exited = cluster.tracker.exits.get(proc)
        if exited is None:
            return f"{job} was started anew"
        return f"{job} ended with " + (f"signal {exited.signal}" if exited.signal else f"exit code {exited.code}")

    def _has_vanished(self, item: str, newest: bool) -> bool:  # noqa: FBT001
        if item not in self._jobs:
            return self._busy is None
        cluster, proc = self._jobs[item]
        state = cluster.tracker.state(proc)
        if state.final or state is JobState.HELD or not newest:
            return True
        return state is JobState.IDLE and cluster.tracker.start(proc)[1] is not None

    def _count_failures(self) -> None:
        for cluster in self.clusters:
            if cluster.summary().counts.get(JobState.FAILED):
                failed = {(cluster.id, job.id.proc) for job in cluster.failed() if job.state is JobState.FAILED}
                self._failures |= failed - self._forgiven
        if len(self._failures) >= FAILURES:
            self.failed = self._failure()
            self.progressed()

    def _failure(self) -> HTCMagicError:
        cluster_id, proc = max(self._failures)
        cluster = next(c for c in self.clusters if c.id == cluster_id)
        said = [clean(line, 300) for line in cluster.stderr(proc).splitlines() if line.strip()]
        why = cluster.not_started(proc, cluster.tracker.exits[proc]) or (said[-1] if said else "")
        exited = cluster.tracker.exits[proc]
        what = why or f"exit code {exited.code}" if exited.signal is None else f"signal {exited.signal}"
        said_by_us = what.rpartition("htcmagic: ")[2].removeprefix("PythonMismatch: ")
        kind = PythonMismatch if "PythonMismatch: " in what else WorkerLost
        return kind(
            f"The last {len(self._failures)} workers failed: {said_by_us}",
            job=f"{cluster_id}.{proc}",
            hint="Mend the cause and submit the tasks again.",
        )

    def _scale(self, open_tasks: int, now: float) -> None:
        if self._busy is not None or self._ended:
            return
        alive = self.alive
        most = self.plan.most if self.plan.all_at_once else min(self.plan.most, open_tasks)
        want = max(self.plan.least, most if open_tasks else 0)
        if alive and not self._spool.waiting():
            self._backlog_since = now
        waits = now - self._backlog_since > BACKLOG_S or not alive
        if want > alive and now >= self._next_try and (waits or alive < self.plan.least):
            self._in_background(lambda: self._send(want - alive))
        elif not open_tasks and now - self._busy_at > self._spool.options.idle_s:
            waiting = self.states[JobState.IDLE] + self.states[JobState.HELD]
            if waiting and alive > self.plan.least and now >= self._next_try:
                self._in_background(lambda: self._remove("JobStatus =!= 2"))

    def _in_background(self, work: Callable[[], None]) -> None:
        """Ask the schedd in a thread of its own: it may be slow to answer."""

        def run() -> None:
            try:
                work()
            finally:
                self._busy = None
                self._changed = True

        self._busy = threading.Thread(target=run, name="htcmagic-workers", daemon=True)
        self._busy.start()

    def _send(self, number: int) -> None:
        stay = max(0, self.plan.least - self.alive)
        names = [f"w{int(time.time()) % 10**6:x}x{next(self._names)}" for _ in range(number)]
        work = jobs.Work(
            "pull",
            [spool.argument(self._spool.token, name, stays=i < stay) for i, name in enumerate(names)],
            self.plan.place,
            name=self.plan.name,
            resources=self.plan.resources,
            folder=self._spool.path,
        )
        try:
            with self._lock:
                if self._ended:
                    return
                cluster = jobs.send(work, self._connect(), RunDir.create(places.log_dir()))
                self._add(cluster)
        except HTCMagicError as error:
            self._not_sent(error)
            return
        self.trouble, self._again_s = "", AGAIN_S[0]
        self._since = time.monotonic()
        self._told(cluster)

    def _not_sent(self, error: HTCMagicError) -> None:
        self.trouble = f"No workers can be sent: {clean(error.message, LONGEST_REASON)}"
        self._next_try = time.monotonic() + self._again_s
        self._again_s = min(2 * self._again_s, AGAIN_S[1])
        transient = isinstance(error, ScheddUnreachable)
        if isinstance(error, CellError | SubmitRefused | NotAuthorised) or not transient:
            self.failed = error

    def reasons(self, *, ask: bool = False) -> list[str]:
        """Return why workers do not work, one line each: holds, and why jobs are idle if that was asked."""
        found = [self.trouble] if self.trouble else []
        for cluster in self.clusters:
            summary = cluster.summary()
            if summary.hold is not None:
                found.append(f"{cluster.id}.{summary.hold_proc} held: {clean(summary.hold.reason, LONGEST_REASON)}")
        states = self.states
        if states[JobState.IDLE]:
            if ask:
                self._ask_why()
            if self._why[1]:
                found.append(self._why[1])
        return found

    def watch(self) -> None:
        """Ask now and then why workers are idle, if none runs; to be called often, and quick."""
        states = self.states
        now = time.monotonic()
        if states[JobState.RUNNING] or not states[JobState.IDLE]:
            self._why = (0.0, "")
            self._since = now
        elif now - self._since > WHY_AFTER_S and now - self._why[0] > WHY_EVERY_S and self._busy is None:
            self._why = (now, self._why[1])
            self._in_background(self._ask_why)

    def _ask_why(self) -> None:
        from htcmagic.queue.why import why  # noqa: PLC0415 - only when workers do not come

        idle = [c for c in self.clusters if c.summary().counts.get(JobState.IDLE)]
        try:
            told = [one for one in why(idle[-1]) if one.state == "idle"] if idle else []
        except HTCMagicError as error:
            self._why = (time.monotonic(), f"idle; why is not known: {clean(error.message, LONGEST_REASON)}")
            return
        text = ""
        if told:  # "Job 3.0 (executor) is idle: …" would say it twice
            reason = re.sub(r"^.*? (?:is|are) idle: ", "", told[0].headline)
            text = f"{told[0].jobs[0]} idle: {clean(reason, LONGEST_REASON)}"
        self._why = (time.monotonic(), text)

    def end(self, *, patient: bool = True) -> None:
        """End all of them: those that run may do so themselves, for a moment."""
        with self._lock:
            self._ended = True
        self._spool.stop()
        deadline = time.monotonic() + (LEAVE_S if patient else 0.0)
        while self.states[JobState.RUNNING] and time.monotonic() < deadline:
            time.sleep(0.02)
        if self.alive:
            self._remove()
        self._told = lambda _cluster: None
        for cluster in self.clusters:  # which live as long as the session
            with contextlib.suppress(ValueError):
                cluster.watchers.remove(self._noticed)

    def dismiss(self) -> None:
        """Remove all of them, as others need their places; new ones are sent when there is something to do."""
        if self._busy is None and not self._ended:
            self._in_background(self._remove)

    def _remove(self, constraint: str = "") -> None:
        alive = [c for c in self.clusters if not c.done]
        for pool in {c.record.pool for c in alive}:
            some = [c for c in alive if c.record.pool == pool]
            which = " || ".join(f"ClusterId == {c.id}" for c in some)
            try:
                some[0]._client.act("Remove", f"({which})" + (f" && {constraint}" if constraint else ""), REASON)  # noqa: SLF001
            except HTCMagicError as error:
                self.trouble = clean(error.message, LONGEST_REASON)
                self._next_try = time.monotonic() + AGAIN_S[0]


REASON = "nothing left to do"
