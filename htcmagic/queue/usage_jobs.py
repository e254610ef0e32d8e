"""What single jobs asked for and used, from event logs or from their ads: no I/O."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from htcmagic.jobs.model import JobId
from htcmagic.jobs.tracker import ABORTED, BACK_TO_IDLE, EXECUTE, HELD, SUBMIT, TERMINATED

MEMORY_CODES = frozenset({34})
"""HTCondor's hold reason codes for too much memory."""
MEMORY_WORDS = re.compile(r"memory|oom", re.IGNORECASE)
POLICY_CODES = frozenset({3, 26, 34})
"""Held by an expression of the job, of the system, by the starter: the reason says for what."""
LARGEST = 1e15
SHORTEST_S = 30.0
STOPS = BACK_TO_IDLE | {EXECUTE, TERMINATED, ABORTED, HELD}
CPU = re.compile(r"Usr (\d+) (\d+):(\d+):(\d+), Sys (\d+) (\d+):(\d+):(\d+)")
ATTRIBUTES = (
    *("ClusterId", "ProcId", "JobStatus", "ExitCode", "ExitBySignal", "HoldReasonCode", "HoldReason"),
    *("RequestMemory", "RequestDisk", "RequestCpus"),
    *("ResidentSetSize_RAW", "MemoryUsage", "ResidentSetSize", "ImageSize", "DiskUsage_RAW", "DiskUsage"),
    *("RemoteWallClockTime", "RemoteUserCpu", "RemoteSysCpu", "CumulativeRemoteUserCpu", "CumulativeRemoteSysCpu"),
    *("JobCurrentStartDate", "ServerTime", "LastHoldReasonCode", "LastHoldReason"),
)
_AT = {name: at for at, name in enumerate(ATTRIBUTES)}


@dataclass(slots=True)
class JobUse:
    """One job: what it asked for and what it used; None where nobody knows."""

    job: JobId
    state: str = "idle"
    memory_asked_mib: float | None = None
    memory_used_mib: float | None = None
    disk_asked_mib: float | None = None
    disk_used_mib: float | None = None
    cpus_asked: float | None = None
    cpu_s: float | None = None
    wall_s: float = 0.0
    over_memory: bool = False
    """Whether it was ever held for using too much memory."""

    @property
    def ran(self) -> bool:
        """Whether it ever ran."""
        return self.wall_s > 0 or self.memory_used_mib is not None or self.state in {"running", "done", "failed"}

    @property
    def cores_used(self) -> float | None:
        """Cores kept busy on average; None of short jobs, since HTCondor counts whole seconds, and not each of them."""
        return None if self.cpu_s is None or self.wall_s < SHORTEST_S else self.cpu_s / self.wall_s


def from_story(cluster: int, story: dict[str, Any], *, held: bool = False, now: float | None = None) -> list[JobUse]:
    """Return the jobs of a cluster as its event log tells of them.

    Parameters
    ----------
    held : bool
        Whether they were submitted on hold: of that a log has no event.
    now : float, optional
        Until when jobs run that have not ended.
    """
    jobs: dict[int, JobUse] = {}
    started: dict[int, float] = {}
    for kind, proc, when, details in story["events"]:
        job = jobs.get(proc)
        if job is None:
            job = jobs[proc] = JobUse(JobId(cluster, proc))
        if proc in started and kind in STOPS:
            job.wall_s += max(0.0, when - started.pop(proc))
        if kind == EXECUTE:
            started[proc] = when
        _apply(job, kind, details)
        if held and kind == SUBMIT:
            job.state = "held"
    now = time.time() if now is None else now
    for proc, since in started.items():
        jobs[proc].wall_s += max(0.0, now - since)
    for proc, mib in story["memory_mib"].items():
        if proc in jobs and mib > 0:
            jobs[proc].memory_used_mib = max(jobs[proc].memory_used_mib or 0.0, float(mib))
    _same_request(jobs.values(), [proc for kind, proc, _, _ in story["events"] if kind == TERMINATED])
    return [jobs[proc] for proc in sorted(jobs)]


def _same_request(jobs: Iterable[JobUse], ended: Collection[int]) -> None:
    """Take what the jobs that have ended asked for as what the others did, if it is one and the same.

    The log tells it of those alone; of the others it knows their slot, which may be larger.
    """
    some = list(jobs)
    known = set(ended)
    asked = {(j.cpus_asked, j.memory_asked_mib, j.disk_asked_mib) for j in some if j.job.proc in known}
    if len(asked) == 1:
        for job in some:
            job.cpus_asked, job.memory_asked_mib, job.disk_asked_mib = next(iter(asked))


def _apply(job: JobUse, kind: int, details: tuple[Any, ...]) -> None:
    if kind == EXECUTE:
        job.state = "running"
        _given(job, details[0])
    elif kind == TERMINATED:
        _ended(job, details)
    elif kind == HELD:
        job.state = "held"
        job.over_memory = job.over_memory or _over_memory(*details)
    else:
        job.state = "removed" if kind == ABORTED else "idle"


def _given(job: JobUse, slot: Any) -> None:
    """Take over what the slot has: a log tells what was asked for only when the job ends."""
    cpus, memory, disk = slot or (None, None, None)
    job.cpus_asked = job.cpus_asked or _number(cpus)
    job.memory_asked_mib = job.memory_asked_mib or _number(memory)
    job.disk_asked_mib = job.disk_asked_mib or _mib(_number(disk))


def _ended(job: JobUse, details: tuple[Any, ...]) -> None:
    normally, code, remote, memory, disk, cpus, memory_asked, disk_asked = details
    job.state = "done" if normally and code == 0 else "failed"
    job.cpu_s = _cpu_seconds(remote)
    job.memory_used_mib = _number(memory) or job.memory_used_mib
    job.disk_used_mib = _mib(_number(disk))
    job.cpus_asked = _number(cpus) or job.cpus_asked
    job.memory_asked_mib = _number(memory_asked) or job.memory_asked_mib
    job.disk_asked_mib = _mib(_number(disk_asked)) or job.disk_asked_mib


def from_rows(rows: Iterable[tuple[Any, ...]], now: float | None = None) -> list[JobUse]:
    """Return jobs from their ads' values, in the order of :data:`ATTRIBUTES`."""
    return [_from_row(row, time.time() if now is None else now) for row in rows]


def _from_row(row: tuple[Any, ...], now: float) -> JobUse:
    def number(name: str) -> float | None:
        return _number(row[_AT[name]])

    status = row[_AT["JobStatus"]]
    running = status in {2, 6, 7}
    wall = number("RemoteWallClockTime") or 0.0
    cpu = _sum(number("CumulativeRemoteUserCpu"), number("CumulativeRemoteSysCpu"))
    last = _sum(number("RemoteUserCpu"), number("RemoteSysCpu"))
    start = number("JobCurrentStartDate")
    if running and start:
        wall += max(0.0, (number("ServerTime") or now) - start)
        cpu = _sum(cpu, last)
    resident = number("ResidentSetSize_RAW")
    measured = (
        -(-resident // 1024) if resident else None,
        number("MemoryUsage"),
        _mib(number("ResidentSetSize")),
        _mib(number("ImageSize")) if wall else None,
    )
    used = next((value for value in measured if value), None)
    return JobUse(
        job=JobId(int(row[0]), int(row[1])) if isinstance(row[0], int) and isinstance(row[1], int) else JobId(0, 0),
        state=_state(status, row[_AT["ExitCode"]], by_signal=row[_AT["ExitBySignal"]] is True),
        memory_asked_mib=number("RequestMemory"),
        memory_used_mib=used if wall or running else None,
        disk_asked_mib=_mib(number("RequestDisk")),
        disk_used_mib=_mib(number("DiskUsage_RAW") or number("DiskUsage")) if wall or running else None,
        cpus_asked=number("RequestCpus"),
        cpu_s=(last if cpu is None else cpu) if wall else None,
        wall_s=wall,
        over_memory=_over_memory(row[_AT["HoldReasonCode"]], row[_AT["HoldReason"]])
        or _over_memory(row[_AT["LastHoldReasonCode"]], row[_AT["LastHoldReason"]]),
    )


def _state(status: Any, code: Any, *, by_signal: bool) -> str:
    if status == 4:
        return "failed" if by_signal or code not in {0, None} else "done"
    return {1: "idle", 2: "running", 3: "removed", 5: "held", 6: "running", 7: "running"}.get(status, "idle")


def _over_memory(code: Any, reason: Any) -> bool:
    return code in MEMORY_CODES or (code in POLICY_CODES and bool(MEMORY_WORDS.search(str(reason or ""))))


def _number(value: Any) -> float | None:
    """Return a number that makes sense; users can put anything into their jobs."""
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if known and 0 <= value < LARGEST else None


def _mib(kib: float | None) -> float | None:
    return None if kib is None else kib / 1024


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None and other is None else (one or 0.0) + (other or 0.0)


def _cpu_seconds(text: Any) -> float | None:
    found = CPU.search(str(text or ""))
    if not found:
        return None
    d, h, m, s, sys_d, sys_h, sys_m, sys_s = (int(part) for part in found.groups())
    return float((d + sys_d) * 86400 + (h + sys_h) * 3600 + (m + sys_m) * 60 + s + sys_s)
