"""Why a job is idle: what the pool's slots, its negotiator and the schedd say, in the order in which it counts."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from htcmagic.jobs.display import clean, elapsed
from htcmagic.queue.why.fixes import Hand
from htcmagic.queue.why.match import Verdict, conditions_of, verdict
from htcmagic.queue.why.model import Explanation, Fix, Group
from htcmagic.queue.why.words import ago, be, clock, counted, opened, subject

PATIENCE_S = 300.0
"""A job that no negotiator has looked at for that long is worth a word."""
SILENCE_S = 900.0
"""A negotiator tells the collector of itself every few minutes."""
FRESH_S = 120.0
"""How long what the negotiator said last is taken for what it would say now."""
UNIVERSES = {7: "scheduler universe: it runs on the schedd's machine itself", 12: "local universe"}
GRID = 9
LONGEST = 300

Told = tuple[str, str, bool]
"""Cause, sentence, whether somebody has to do something."""


def explain(group: Group, world: Mapping[str, Any], hand: Hand) -> Explanation:
    """Explain a group of idle jobs.

    Parameters
    ----------
    group : Group
        The jobs.
    world : mapping
        The door's answer: ``schedd``, ``negotiator``, ``accounts``, ``pool_error``.
    hand : Hand
        For the lines of fixes.
    """
    found = verdict(group, hand) if group.match is not None and group.match["slots"] else None
    cause, reason, urgent = _reason(group, world, found)
    fixes = list(found.fixes) if found is not None and cause in {"no-match", "busy"} else []
    if cause == "no-match" and not fixes:
        fixes = [Fix("remove it, if it is not worth waiting for such a slot", (hand.remove(group),))]
    return Explanation(
        jobs=group.jobs,
        count=group.count,
        clusters=group.clusters,
        state="idle",
        cause=cause,
        headline=f"{subject(group)} {be(group)} idle: {opened(group, reason)}",
        details=tuple(_details(group, world, found, cause)),
        conditions=conditions_of(group) if group.match is not None else (),
        slots=None if group.match is None else int(group.match["slots"]),
        fixes=tuple(fixes),
        urgent=urgent,
        since=group.when("EnteredCurrentStatus") or group.when("QDate"),
        ad=group.ad,
    )


def _reason(group: Group, world: Mapping[str, Any], found: Verdict | None) -> Told:
    """Return the first reason that applies; they are in the order in which they keep a job from running."""
    tests: Sequence[Callable[[], Told | None]] = (
        lambda: _universe(group, world),
        lambda: _later(group),
        lambda: _no_pool(group, world),
        lambda: None if found is None or found.ever else ("no-match", found.sentence, True),
        lambda: _limits(group, world),
        lambda: _negotiator(group, world),
        lambda: None if found is None or found.now else ("busy", found.sentence, False),
        lambda: _new(group, world),
        lambda: _share(group, world),
        lambda: _came_back(group),
    )
    for test in tests:
        told = test()
        if told is not None:
            return told
    if found is None:
        return "unknown", "its slots were not looked at, as there are too many kinds of jobs. Ask for it alone.", False
    looked = group.age("LastRejMatchTime")
    if looked is not None and looked < FRESH_S and _rejection(group):
        seem = f"{counted(found.now, 'slot')} seem{'s' if found.now == 1 else ''} to have room for it"
        return (
            "next-cycle",
            (
                f"{seem}, yet the negotiator found none {ago(looked)}: "
                "they have just become free, or are kept for others. Ask again in a minute."
            ),
            False,
        )
    room = f"{counted(found.now, 'slot')} {'has' if found.now == 1 else 'have'} room for it now"
    return "next-cycle", f"{room}: it should start with the next negotiation cycle{_cycle(world)}.", False


def _universe(group: Group, world: Mapping[str, Any]) -> Told | None:
    universe = int(group.number("JobUniverse") or 0)
    if universe == GRID:
        resource = clean(group.text("GridResource"), LONGEST)
        status = clean(group.text("GridJobStatus"), LONGEST) or "no status yet"
        return "grid", f"it waits in another system: {resource} says {status}.", False
    if universe in UNIVERSES:
        limit = _number(world.get("schedd"), "MaxRunningSchedulerJobsPerOwner")
        running = _number(world.get("schedd"), "TotalSchedulerJobsRunning")
        told = f"; {running:.0f} run there, at most {limit:.0f} a user" if limit is not None and running else ""
        return "schedd-limit", f"it needs no slot ({UNIVERSES[universe]}), the schedd has not started it{told}.", False
    return None


def _later(group: Group) -> Told | None:
    """Tell of a start time, or of a pause after a failed start."""
    starts, ahead = group.number("DeferralTime"), group.number("DeferralPrepTime") or 0
    if starts is not None and starts - ahead > group.now:
        wait = elapsed(starts - group.now)
        return "deferred", f"its start time (deferral_time) is {clock(starts)}, in {wait}.", False
    cool = group.number("JobCoolDownExpiration")
    if cool is not None and cool > group.now:
        return (
            "cool-down",
            f"its last start failed, and HTCondor lets it rest for another {elapsed(cool - group.now)}.",
            False,
        )
    return None


def _no_pool(group: Group, world: Mapping[str, Any]) -> Told | None:
    error = world.get("pool_error")
    if group.match is None and error:
        return "no-collector", f"the collector cannot be asked for slots ({clean(str(error), LONGEST)}).", True
    if group.match is not None and not group.match["slots"]:
        return (
            "no-slots",
            "the pool has no slots: no machine is there, or it has just been started.",
            True,
        )
    return None


def _limits(group: Group, world: Mapping[str, Any]) -> Told | None:
    """Tell what holds back jobs that would match."""
    rejected = _rejection(group)
    limit = re.search(r"concurrency limit (\S+) reached", rejected)
    if limit:
        name = clean(limit[1], 80)
        return "limit", f"the concurrency limit {name} is reached: as many jobs as the pool allows are using it.", False
    running = _number(world.get("schedd"), "TotalRunningJobs")
    most = _number(world.get("schedd"), "MaxJobsRunning")
    if running is not None and most is not None and 0 < most <= running:
        return "schedd-limit", f"the schedd runs {running:,.0f} jobs, as many as it may (MAX_JOBS_RUNNING).", False
    return None


def _negotiator(group: Group, world: Mapping[str, Any]) -> Told | None:
    if "negotiator" not in world:
        return None
    heard = _number(world["negotiator"], "LastHeardFrom")
    if heard is None:
        return "no-negotiator", "the pool has no negotiator, so nobody gives slots to jobs.", True
    silent = group.now - heard
    looked = max(group.number("LastRejMatchTime") or 0, group.number("LastMatchTime") or 0)
    if silent > SILENCE_S and group.now - looked > SILENCE_S:
        return "no-negotiator", f"the negotiator was last heard of {ago(silent)}: nobody gives slots to jobs.", True
    return None


def _new(group: Group, world: Mapping[str, Any]) -> Told | None:
    if group.number("LastRejMatchTime") or group.number("LastMatchTime"):
        return None
    age = group.age("QDate")
    if age is None:
        return None
    if age < PATIENCE_S:
        return (
            "new",
            f"submitted {ago(age)}, and not looked at yet: wait for the negotiation cycle{_cycle(world)}.",
            False,
        )
    return "not-looked-at", f"the negotiator has not looked at it since it was submitted, {ago(age)}.", False


def _share(group: Group, world: Mapping[str, Any]) -> Told | None:
    """Priority, fair share, quota."""
    rejected = _rejection(group)
    account = _account(group, world)
    used, limit = _number(account, "WeightedResourcesUsed"), _number(account, "SubmitterLimit")
    quota = account.get("group") or {}
    allowed, taken = _number(quota, "EffectiveQuota"), _number(quota, "WeightedResourcesUsed")
    if allowed and taken is not None and taken >= allowed:
        return "quota", f"its accounting group uses its quota: {taken:,.0f} of {allowed:,.0f} cores.", False
    if "priorit" in rejected.lower() or "PREEMPTION" in rejected:
        better = _number(account, "better") or 0
        told = f"; {counted(int(better), 'user')} of those who wait come first" if better else ""
        return "priority", f"users with a better priority come first{told}.", False
    if re.search(r"share|submitter limit", rejected):
        told = f": {used:,.0f} cores of {limit:,.0f}" if used is not None and limit else ""
        return "share", f"your share of the pool is used up{told}.", False
    return None


def _came_back(group: Group) -> Told | None:
    starts = int(group.number("NumShadowStarts") or 0)
    reason = clean(group.text("VacateReason") or group.text("LastVacateReason"), LONGEST)
    if starts and reason:
        return "came-back", f"it ran and came back ({counted(starts, 'start')}): {reason.rstrip('.')}.", starts > 3
    return None


def _rejection(group: Group) -> str:
    """Return what the negotiator said last, if it still counts."""
    when = group.number("LastRejMatchTime") or 0
    if when < (group.number("LastMatchTime") or 0):
        return ""
    return group.text("LastRejMatchReason")


def _cycle(world: Mapping[str, Any]) -> str:
    period = _number(world.get("negotiator"), "LastNegotiationCyclePeriod0")
    return f" (one every {elapsed(period)})" if period else ""


def _account(group: Group, world: Mapping[str, Any]) -> Mapping[str, Any]:
    accounts: Mapping[str, Mapping[str, Any]] = world.get("accounts") or {}
    user = group.text("User")
    named = group.text("AccountingGroup")
    return accounts.get(f"{named}@{user.partition('@')[2]}" if named else user) or {}


def _number(told: Any, name: str) -> float | None:
    value = told.get(name) if isinstance(told, Mapping) else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _details(group: Group, world: Mapping[str, Any], found: Verdict | None, cause: str) -> list[str]:
    lines = []
    submitted = group.age("QDate")
    owner = clean(group.text("User") or group.text("Owner"), 80)
    if submitted is not None:
        lines.append(f"Submitted {ago(submitted)} by {owner}.")
    rejected = group.text("LastRejMatchReason")
    if rejected:
        told = clean(rejected, LONGEST)
        lines.append(f"The negotiator's last word, {ago(group.age('LastRejMatchTime'))}: {told}.")
    matches = int(group.number("NumJobMatches") or 0)
    if matches:
        lines.append(f"Matched {counted(matches, 'time')} before, last {ago(group.age('LastMatchTime'))}.")
    vacated = clean(group.text("VacateReason") or group.text("LastVacateReason"), LONGEST)
    if vacated and cause != "came-back":
        lines.append(f"It ran before, until: {vacated}")
    if found is not None:
        lines += found.details
    account = _account(group, world)
    if cause in {"busy", "priority", "share", "quota", "next-cycle"}:
        lines += _standing(account)
    return lines


def _standing(account: Mapping[str, Any]) -> list[str]:
    """Return how the user stands with the negotiator."""
    priority, used = _number(account, "Priority"), _number(account, "WeightedResourcesUsed")
    if priority is None:
        return []
    waiting, better = int(_number(account, "waiting") or 0), int(_number(account, "better") or 0)
    rank = "no other user waits" if not waiting else f"{better} of {counted(waiting, 'other user')} who wait come first"
    return [f"Your priority is {priority:,.0f} (less is better), you use {counted(int(used or 0), 'core')}; {rank}."]
