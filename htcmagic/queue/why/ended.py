"""How a job ended: exit code or signal, by whom it was removed, what it used."""

from __future__ import annotations

import re

from htcmagic.jobs.display import clean, elapsed
from htcmagic.queue.why import codes
from htcmagic.queue.why.fixes import RUN
from htcmagic.queue.why.model import Explanation, Fix, Group
from htcmagic.queue.why.words import ago, amount, subject

REMOVED = 3
LONGEST = 400
NEAR = 0.95
SHELL_SIGNAL = 128
BY_USER = re.compile(r"\(by user ([^\s)]+)\)")


def explain(group: Group) -> Explanation:
    """Tell of a group of jobs that have ended alike."""
    state, cause, how = _how(group)
    details = []
    when = group.age("CompletionDate") or group.age("EnteredCurrentStatus")
    ran = group.number("RemoteWallClockTime") or 0
    host = clean(group.text("LastRemoteHost"), 120)
    where = f" on {host}" if host else ""
    if when is not None:
        started = ran or group.number("JobStartDate") or group.number("NumShadowStarts")
        took = f"ran for {elapsed(ran) if ran >= 1 else 'less than a second'}{where}" if started else "never ran"
        details.append(f"That was {ago(when)}; it {took}.")
    details += _used(group, ran)
    if group.count > 1:
        details.insert(0, f"Figures of job {group.jobs[0]}, one of them.")
    return Explanation(
        jobs=group.jobs,
        count=group.count,
        clusters=group.clusters,
        state=state,
        cause=cause,
        headline=f"{subject(group)} {how}" + ("" if how.endswith("?") else "."),
        details=tuple(details),
        fixes=tuple(_fixes(group, cause)),
        urgent=False,
        since=group.when("CompletionDate") or group.when("EnteredCurrentStatus"),
        ad=group.ad,
    )


def _how(group: Group) -> tuple[str, str, str]:
    were = "was" if group.count == 1 else "were"
    if group.status == REMOVED:
        reason = clean(group.text("RemoveReason"), LONGEST).strip().rstrip(".")
        user = BY_USER.search(reason)
        by = f" by user {user[1]}" if user else ""
        return "removed", "removed", f"{were} removed{by}" + (f": {reason}" if reason else "")
    if group.value("ExitBySignal") is True:
        number = int(group.number("ExitSignal") or 0)
        words = codes.signal_words(number)
        return (
            "completed",
            f"signal-{number}",
            f"ended by {codes.signal_name(number)}" + (f": {words}" if words else ""),
        )
    code = group.number("ExitCode")
    if code is None:
        return "completed", "completed", "ended; its exit code is not known"
    code = int(code)
    if not code:
        return "completed", "exit-0", "ended well, with exit code 0"
    words = codes.EXITS.get(code, "")
    if not words and SHELL_SIGNAL < code < SHELL_SIGNAL + 65:
        meant = codes.signal_words(code - SHELL_SIGNAL)
        words = f"a shell reports {codes.signal_name(code - SHELL_SIGNAL)} so" + (f" ({meant})" if meant else "")
    return "completed", f"exit-{code}", f"ended with exit code {code}" + (f": {words}" if words else "")


def _used(group: Group, ran: float) -> list[str]:
    lines = []
    cpu = (group.number("RemoteUserCpu") or 0) + (group.number("RemoteSysCpu") or 0)
    cores = group.number("CpusProvisioned") or group.number("RequestCpus") or 1
    if ran >= 1 and cpu:
        lines.append(f"CPU: {elapsed(cpu)}, {100 * cpu / (ran * cores):.0f} % of the time it had its cores.")
    memory, asked = group.number("MemoryUsage"), group.number("MemoryProvisioned") or group.number("RequestMemory")
    if memory is not None and asked:
        odd = ": at its limit, which may be why" if memory > NEAR * asked and group.number("ExitCode") != 0 else ""
        lines.append(f"Memory: {amount('Memory', memory)} of {amount('Memory', asked)}{odd}.")
    starts = int(group.number("NumShadowStarts") or 0)
    if starts > 1:
        lines.append(f"It was started {starts} times.")
    return lines


def _fixes(group: Group, cause: str) -> list[Fix]:
    if cause in {"exit-0", "removed"} or not group.text(RUN):
        return []
    cluster, proc = group.jobs[0]
    lines = ("import htcmagic", f"print(htcmagic.cluster({cluster}).stderr({proc}))")
    return [Fix("see what it wrote to its standard error", lines)]
