"""The door's half of ``%condor_why``: what HTCondor's daemons know of jobs, gathered in one call.

Jobs come in groups that share their reason, each with the whole ad of one job. Slots are evaluated here, next to
the bindings' ClassAds; what crosses to the kernel is a few kilobytes, whatever the size of queue and pool.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import classad2
import htcondor2

from htcmagic.pool import door, door_why_match, door_why_slots
from htcmagic.pool.address import Pool
from htcmagic.pool.door_rows import PLAIN, rows_of
from htcmagic.pool.door_why_slots import Expression, value_of

GROUPING = (
    "ClusterId",
    "ProcId",
    "JobStatus",
    "JobUniverse",
    "AutoClusterId",
    "HoldReasonCode",
    "HoldReasonSubCode",
    "HoldReason",
    "LastRejMatchTime",
    "TransferringInput",
    "TransferringOutput",
    "QDate",
    "ServerTime",
    "JobFactoryId",
)
ENDED = ("ClusterId", "ProcId", "JobStatus", "ExitCode", "ExitBySignal", "ExitSignal", "RemoveReason")
MOST_IDS = 1000
"""Job ids of a group that are told; the rest is counted."""
MOST_GROUPS = 40
WORK_S = 5.0
"""How long slots are evaluated; what then is left is told without."""
NOT_MATCHED = {7: "scheduler", 9: "grid", 12: "local"}
"""Universes whose jobs need no slot."""
SCHEDD = (
    "MaxJobsRunning",
    "TotalRunningJobs",
    "TotalSchedulerJobsRunning",
    "MaxRunningSchedulerJobsPerOwner",
    "RecentDaemonCoreDutyCycle",
)
NEGOTIATOR = (
    "Name",
    "LastNegotiationCycleTime0",
    "LastNegotiationCycleEnd0",
    "LastNegotiationCycleDuration0",
    "LastNegotiationCyclePeriod0",
    "LastHeardFrom",
)
ACCOUNT = ("Name", "Priority", "PriorityFactor", "WeightedResourcesUsed", "SubmitterLimit", "SubmitterShare", "Ceiling")
QUOTA = ("Name", "EffectiveQuota", "ConfigQuota", "WeightedResourcesUsed", "SurplusPolicy")
Row = tuple[Any, ...]


def why(pool: Pool, constraint: str, *, my_jobs: bool) -> dict[str, Any]:
    """Return what is known of the jobs in the queue that match, grouped by reason."""
    door.check_expression(constraint)
    schedd = door.schedd_of(pool)
    opts = htcondor2.QueryOpt.IncludeClusterAd
    if my_jobs:
        opts |= htcondor2.QueryOpt.DefaultMyJobsOnly
    rows = rows_of(schedd.query(constraint, list(GROUPING), opts=opts), list(GROUPING))
    jobs = [row for row in rows if isinstance(row[1], int) and row[1] >= 0]
    factories = [row[0] for row in rows if row[-1] is not None and not (isinstance(row[1], int) and row[1] >= 0)]
    groups = _groups(jobs)
    ads = _ads(schedd, [group["first"] for group in groups])
    for group in groups:
        ad = ads.get(group["first"])
        group["ad"] = {} if ad is None else plain_ad(ad)
    return {
        "time": max([row[12] for row in jobs if isinstance(row[12], int)], default=int(time.time())),
        "groups": groups,
        "factories": _factories(schedd, factories),
        "total": len(jobs),
    }


def pool_for(pool: Pool, jobs: list[Row]) -> dict[str, Any]:
    """Return what the pool has for idle jobs: which slots would take them, its negotiator, the users' accounts.

    Parameters
    ----------
    pool : Pool
        Which.
    jobs : list of tuple
        Their ids, those that matter most first.
    """
    ads = _ads(door.schedd_of(pool), jobs)
    there = [(job, ads[job]) for job in jobs if job in ads]
    collector = htcondor2.Collector(pool.collector) if pool.collector else htcondor2.Collector()
    answer: dict[str, Any] = {"pool_error": "", "matches": {}}
    try:
        answer["matches"] = _matches(
            collector, [(job, ad) for job, ad in there if ad.get("JobUniverse") not in NOT_MATCHED]
        )
        answer["negotiator"] = _first(collector, htcondor2.AdType.Negotiator, NEGOTIATOR)
        name = str(door.location(pool).get("Name", ""))
        answer["schedd"] = _first(collector, htcondor2.AdType.Schedd, SCHEDD, f"Name == {classad2.quote(name)}")
        answer["accounts"] = _accounts(collector, {submitter(ad) for _, ad in there})
    except (htcondor2.HTCondorException, OSError, RuntimeError, ValueError) as error:
        answer["pool_error"] = " ".join(str(error).split()) or "it does not answer"
    return answer


def queue_size(pool: Pool) -> dict[str, int]:
    """Return how many jobs we have in the queue, by ``JobStatus``."""
    rows = rows_of(
        door.schedd_of(pool).query("true", ["JobStatus"], opts=htcondor2.QueryOpt.DefaultMyJobsOnly), ["JobStatus"]
    )
    counts: dict[str, int] = {}
    for (status,) in rows:
        counts[str(status)] = counts.get(str(status), 0) + 1
    return counts


def ended(pool: Pool, constraint: str, limit: int) -> dict[str, Any]:
    """Return what the history knows of jobs, grouped by how they ended."""
    door.check_expression(constraint)
    ads = list(door.schedd_of(pool).history(constraint, [], match=limit))
    grouped: dict[Row, dict[str, Any]] = {}
    for ad in ads:
        row = tuple(value_of(ad, name) for name in ENDED)
        group = grouped.setdefault((*row[2:6], _masked(row[6])), _new_group(row[:2], row[2]))
        group.setdefault("ad", plain_ad(ad))
        _add(group, row[:2])
    return {"time": int(time.time()), "groups": list(grouped.values()), "factories": [], "total": len(ads)}


def neighbours(pool: Pool, cluster: int) -> list[Row]:
    """Return ids that are in the queue: those of a cluster, else the first of each cluster."""
    schedd = door.schedd_of(pool)
    ids = ["ClusterId", "ProcId"]
    found = rows_of(schedd.query(f"ClusterId == {int(cluster)}", ids, limit=MOST_IDS), ids)
    return sorted(found or rows_of(schedd.query("ProcId == 0", ids), ids))


def plain_ad(ad: Any) -> dict[str, Any]:
    """Return an ad's values; expressions as ``{"expression": text, "value": what it is in this ad}``."""
    told: dict[str, Any] = {}
    for name in ad:
        value = value_of(ad, name)
        if isinstance(value, Expression):
            try:
                inside = ad.eval(name)
            except door_why_match.LANGUAGE_ERRORS:
                inside = None
            simple = inside if type(inside) in PLAIN else None
            told[name] = {"expression": value.text, "value": simple}
        elif value is not None:
            told[name] = value
    return told


# groups of jobs


def _groups(jobs: list[Row]) -> list[dict[str, Any]]:
    """Put jobs together that share their reason, as far as it can be told from a few attributes."""
    grouped: dict[Row, dict[str, Any]] = {}
    best: dict[Row, int] = {}
    for row in jobs:
        cluster, proc, status, universe, auto, code, subcode, reason, rejected, taking, giving = row[:11]
        key: Row
        if status == 5:
            key = (status, code, subcode, _masked(reason))
        elif status == 1:
            key = (status, universe, auto) if isinstance(auto, int) else (status, universe, "cluster", cluster)
        else:
            key = (status, cluster, taking is True, giving is True)
        group = grouped.get(key)
        if group is None:
            group = grouped[key] = _new_group((cluster, proc), status)
        _add(group, (cluster, proc))
        when = rejected if isinstance(rejected, int) else 0
        if when > best.get(key, 0):  # the negotiator leaves its reason with one job of many
            best[key], group["first"] = when, (cluster, proc)
    found = sorted(grouped.values(), key=lambda group: -group["count"])
    for group in found[MOST_GROUPS:]:
        group["left_out"] = True
    return found


def _new_group(first: Row, status: Any) -> dict[str, Any]:
    return {"first": first, "status": status, "count": 0, "clusters": {}, "jobs": []}


def _add(group: dict[str, Any], job: Row) -> None:
    group["count"] += 1
    group["clusters"][job[0]] = group["clusters"].get(job[0], 0) + 1
    if len(group["jobs"]) < MOST_IDS:
        group["jobs"].append(job)


def _masked(reason: Any) -> str:
    """Return a reason without what differs from job to job: numbers, hosts, paths."""
    return re.sub(r"\S*[\d/@]\S*", "#", str(reason)[:2000]) if reason is not None else ""


def _ads(schedd: Any, ids: list[Row]) -> dict[Row, Any]:
    """Return the whole ads of some jobs."""
    if not ids:
        return {}
    wanted = " || ".join(f"(ClusterId == {cluster} && ProcId == {proc})" for cluster, proc in ids[:MOST_GROUPS])
    return {(ad.get("ClusterId"), ad.get("ProcId")): ad for ad in schedd.query(wanted)}


def _factories(schedd: Any, clusters: list[Any]) -> list[dict[str, Any]]:
    """Return what there is to know of clusters whose jobs the schedd makes bit by bit."""
    if not clusters:
        return []
    wanted = " || ".join(f"ClusterId == {cluster}" for cluster in clusters[:MOST_GROUPS])
    names = (
        *("ClusterId", "ProcId", "TotalSubmitProcs", "JobMaterializeNextProcId", "JobMaterializeMaxIdle"),
        *("JobMaterializeLimit", "JobMaterializePaused", "JobMaterializePauseReason", "JobFactoryPaused"),
        *("JobsIdle", "JobsHeld", "JobsRunning", "JobsPresent"),
    )
    ads = schedd.query(wanted, [], opts=htcondor2.QueryOpt.IncludeClusterAd)
    return [
        {name: value_of(ad, name) for name in names}
        for ad in ads
        if "JobFactoryId" in ad and not isinstance(ad.get("ProcId"), int)
    ]


# what the pool says


def _matches(collector: Any, jobs: list[tuple[Row, Any]]) -> dict[Row, dict[str, Any]]:
    if not jobs:
        return {}
    wanted = set().union(*(door_why_match.wanted(ad) for _, ad in jobs))
    resources = {name.lower(): name for _, ad in jobs for name in door_why_match.resources(ad)}
    slots = door_why_slots.fetch(collector, wanted, resources.values())
    deadline = time.monotonic() + WORK_S
    matches: dict[Row, dict[str, Any]] = {}
    known: list[str] = []
    for job, ad in jobs:
        if matches and time.monotonic() > deadline:
            break
        matches[job] = told = door_why_match.Match(ad, slots).answer()
        missing = {name for condition in told["conditions"] for name in condition["missing"]}
        if missing and slots.count:
            known = known or door_why_slots.near_names(collector, str(slots.now["name"][0]))
            told["near"] = {name: door_why_match.similar(name, known) for name in missing}
    return matches


def _first(collector: Any, kind: Any, names: tuple[str, ...], constraint: str = "true") -> dict[str, Any]:
    ads = collector.query(kind, constraint=constraint, projection=list(names))
    return {name: value_of(ads[0], name) for name in names} if ads else {}


def submitter(ad: Any) -> str:
    """Return under which name the negotiator keeps account of a job."""
    user, group = value_of(ad, "User"), value_of(ad, "AccountingGroup")
    return f"{group}@{str(user).partition('@')[2]}" if isinstance(group, str) and group else str(user)


def _accounts(collector: Any, submitters: set[str]) -> dict[str, dict[str, Any]]:
    """Return priority, use and limits of submitters, and how many of those who wait come before them."""
    accounting = collector.query(htcondor2.AdType.Accounting, projection=[*ACCOUNT, *QUOTA, "IsAccountingGroup"])
    waiting: dict[str, int] = {}
    for name, idle in rows_of(
        collector.query(htcondor2.AdType.Submitter, projection=["Name", "IdleJobs"]), ["Name", "IdleJobs"]
    ):
        waiting[str(name)] = waiting.get(str(name), 0) + (idle if isinstance(idle, int) else 0)
    users = {ad.get("Name"): ad for ad in accounting if ad.get("IsAccountingGroup") is not True}
    groups = {ad.get("Name"): ad for ad in accounting if ad.get("IsAccountingGroup") is True}
    answer = {}
    for name in submitters:
        told = {key: value_of(users[name], key) for key in ACCOUNT} if name in users else {}
        mine = told.get("Priority")
        others = [
            value_of(ad, "Priority") for other, ad in users.items() if other != name and waiting.get(str(other), 0) > 0
        ]
        told["waiting"] = len(others)
        told["better"] = sum(p < mine for p in others if isinstance(p, int | float)) if mine is not None else 0
        group = name.partition("@")[0].rpartition(".")[0]
        if group in groups:
            told["group"] = {key: value_of(groups[group], key) for key in QUOTA}
        answer[name] = told
    return answer


OPERATIONS: dict[str, Callable[..., Any]] = {
    "why": why,
    "pool_for": pool_for,
    "queue_size": queue_size,
    "ended": ended,
    "neighbours": neighbours,
}
