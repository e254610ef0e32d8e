"""What a job that has a slot is doing: since when, where, with how much of what it asked for."""

from __future__ import annotations

from htcmagic.jobs.display import clean, elapsed
from htcmagic.queue.why.fixes import Hand
from htcmagic.queue.why.model import Explanation, Fix, Group
from htcmagic.queue.why.words import ago, amount, be, counted, request, subject

RUNNING, TRANSFERRING_OUTPUT, SUSPENDED = 2, 6, 7
LONG_ENOUGH_S = 600.0
"""A job that has run that long tells something by its use of CPU."""
LAZY = 0.1
SILENCE_S = 1800.0
"""Shadows pass on what a job uses every few minutes; so long without is worth a word."""
NEAR = 0.9


def explain(group: Group, hand: Hand) -> Explanation:
    """Tell of a group of jobs that have a slot; figures are those of its first job."""
    state, doing = _state(group)
    started = group.age("JobCurrentStartExecutingDate") or group.age("JobCurrentStartDate") or group.age("ShadowBday")
    host = clean(group.text("RemoteHost"), 120)
    since = f" for {elapsed(started)}" if started is not None else ""
    where = f" on {host}" if host and group.count == 1 else ""
    details, cause = _use(group, started)
    silent = group.age("LastJobLeaseRenewal")
    if silent is not None and silent > SILENCE_S:
        details.append(f"Its machine was last heard of {ago(silent)}: the connection may be lost.")
        cause = "silent"
    starts = int(group.number("NumShadowStarts") or 0)
    if starts > 1:
        reason = clean(group.text("VacateReason") or group.text("LastVacateReason"), 300)
        details.append(f"It was started {starts} times" + (f"; the last run ended: {reason}" if reason else "."))
    if group.count > 1:
        details.insert(0, f"Figures of job {group.jobs[0]}, the first of them" + (f", on {host}." if host else "."))
    fixes = []
    if state == "suspended":
        fixes = [
            Fix(
                "if its machine does not let it go on: start it anew on another",
                (hand.program("condor_vacate_job", *map(str, group.jobs[:4])),),
            )
        ]
    return Explanation(
        jobs=group.jobs,
        count=group.count,
        clusters=group.clusters,
        state=state,
        cause=cause or state.replace(" ", "-"),
        headline=f"{subject(group)} {be(group)} {doing}{since}{where}.",
        details=tuple(details),
        fixes=(*fixes, *_next_time(group)),
        urgent=False,
        since=group.when("JobCurrentStartDate") or group.when("EnteredCurrentStatus"),
        ad=group.ad,
    )


def _state(group: Group) -> tuple[str, str]:
    queued = " (waiting for its turn)" if group.value("TransferQueued") is True else ""
    if group.status == SUSPENDED:
        return "suspended", "suspended: it has a slot and stands still; it has run"
    if group.status == TRANSFERRING_OUTPUT or group.value("TransferringOutput") is True:
        return "transferring output", f"sending its output back{queued}; it has run"
    if group.value("TransferringInput") is True:
        return "transferring input", f"getting its input{queued}; it has had a slot"
    return "running", "running"


def _use(group: Group, started: float | None) -> tuple[list[str], str]:
    """Return what it uses, in words, and what is odd about that."""
    lines, cause = [], ""
    cores = group.number("CpusProvisioned") or group.number("RequestCpus") or 1
    cpu_s = (group.number("RemoteUserCpu") or 0) + (group.number("RemoteSysCpu") or 0)
    used = group.number("CpusUsage")
    if used is None and started:
        used = cpu_s / started
    if used is not None and (cpu_s or (started or 0) > LONG_ENOUGH_S):
        odd = ""
        if started is not None and started > LONG_ENOUGH_S and used < LAZY * cores:
            odd, cause = ": it hardly computes. Does it wait for data, a lock, a licence?", "hardly-computes"
        elif used > cores * 1.2:
            odd, cause = ": more threads than it asked for", "too-many-threads"
        lines.append(f"CPU: {used:.2f} of {counted(int(cores), 'core')}{odd}.")
    memory, asked = group.number("MemoryUsage"), group.number("MemoryProvisioned") or group.number("RequestMemory")
    if memory is not None and asked:
        odd = ": near its limit" if memory > NEAR * asked else ""
        cause = cause or ("near-memory-limit" if odd else "")
        lines.append(f"Memory: {amount('Memory', memory)} of {amount('Memory', asked)}{odd}.")
    disk, room = group.number("DiskUsage"), group.number("DiskProvisioned") or group.number("RequestDisk")
    if disk is not None and room:
        lines.append(f"Disk: {amount('Disk', disk)} of {amount('Disk', room)}.")
    if not lines or (memory is None and not cpu_s):
        lines.append("What it uses is not known yet: the first figures come after some minutes.")
    return lines, cause


def _next_time(group: Group) -> list[Fix]:
    memory, asked = group.number("MemoryUsage"), group.number("MemoryProvisioned") or group.number("RequestMemory")
    if memory is None or not asked or memory <= NEAR * asked:
        return []
    more = -(-int(memory * 1.5) // 128) * 128
    return [Fix("next time, ask for more memory", (), request("Memory", more))]
