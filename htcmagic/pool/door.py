"""The child process that holds HTCondor's bindings: reads requests, answers them, ends with its parent.

``python -m htcmagic.pool``; started by :class:`htcmagic.pool.client.Door`. Only this module and those named
``door_…`` import ``htcondor2`` and ``classad2``.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("CONDOR_CONFIG", "") or os.environ.pop("CONDOR_CONFIG")  # an empty one is none

import classad2  # noqa: E402
import htcondor2  # noqa: E402

from htcmagic.errors import HTCMagicError, NotAuthorised, PoolError, ScheddUnreachable  # noqa: E402
from htcmagic.pool import wire  # noqa: E402
from htcmagic.pool.address import Pool  # noqa: E402
from htcmagic.pool.door_rows import plain, rows_of  # noqa: E402

Answer = Any
FIRST_SLOT_S = 4.0
"""How long the slot of a personal pool that was just started is waited for; it takes 1 to 2 s."""
_located: dict[tuple[str, str, str], Any] = {}


def main() -> int:
    """Answer until standard input ends."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else writes to standard output must not get between the frames
    while True:
        try:
            request = wire.read(requests)
        except EOFError:
            return 0
        wire.write(answers, answer(request))


def answer(request: dict[str, Any]) -> tuple[str, Any]:
    """Run one operation; errors become values."""
    said_before = os.fstat(2).st_size
    try:
        return "ok", OPERATIONS[request["op"]](request["pool"], **request["args"])
    except HTCMagicError as error:
        return "error", error
    except (
        htcondor2.HTCondorException,
        classad2.ClassAdException,
        ValueError,
        RuntimeError,
        OSError,
    ) as error:
        return "error", translate(error, request["pool"], stderr_since(said_before))
    except Exception as error:  # noqa: BLE001 - the bindings raise whatever they stumble over
        return "error", PoolError(f"HTCondor's Python bindings stumbled: {type(error).__name__}: {error}.")


def stderr_since(offset: int) -> str:
    """Return what the bindings have written to standard error since it was `offset` bytes long."""
    try:
        return os.pread(2, 1 << 16, offset).decode(errors="replace")
    except OSError:
        return ""


def translate(error: Exception, pool: Pool | None, said: str = "") -> PoolError:
    """Turn what the bindings raise into what we raise."""
    text = " ".join(re.sub(r"errmsg=|[A-Z]+:-?\d+:|\|", " ", str(error)).split()) or type(error).__name__
    where = pool.its_schedd if pool is not None else "the schedd"
    where = where[0].upper() + where[1:]
    lowered = f"{error} {said}".lower()
    refusals = ("authenticat", "authoriz", "permission denied", "no common methods", "secman:2007", "secman:2010")
    if any(sign in lowered for sign in refusals) and "resume session" not in lowered:
        _located.clear()
        if pool is not None and pool.personal:  # it lets its owner in; one that is just starting may not know that yet
            return ScheddUnreachable(f"{where} refuses us: {text}", hint="See: htc-pool logs schedd", transient=True)
        return NotAuthorised(
            f"{where} refuses us: {text}" if pool else text,
            hint="Check your credentials (token, Kerberos ticket) and, if it names another pool, %condor_pool.",
        )
    signs = (
        "failed to connect",
        "failed to start command",
        "unable to connect",
        "failed communication",
        "failed to fetch ads",
        "unable to locate",
        "performing action",
        "timeout",
        "connect to schedd",
    )
    if any(sign in lowered for sign in signs):
        _located.clear()
        return ScheddUnreachable(
            f"{where} does not answer." if pool else text,
            hint="Is it up, and is the address right? %condor_pool shows both; try again when it is back.",
            transient=True,
        )
    return PoolError(text[:1].upper() + text[1:])


def schedd_of(pool: Pool) -> Any:
    """Return the bindings' object for the pool's schedd."""
    return htcondor2.Schedd(location(pool))


def location(pool: Pool) -> Any:
    """Return the schedd's ad, from its address file or from the collector."""
    if pool.personal:  # its address changes whenever its schedd is started again
        ad = htcondor2.Collector().locate(htcondor2.DaemonType.Schedd)
        if ad is None:
            raise ScheddUnreachable("The personal pool has no schedd yet.", hint="Try again.", transient=True)
        return ad
    known = _located.get(pool.key)
    if known is not None:
        return known
    if not pool.collector and not htcondor2.param.get("COLLECTOR_HOST", ""):
        raise ScheddUnreachable(
            f"Nothing says where to look for the schedd {pool.schedd}: no central manager is configured.",
            hint="Name it, too: --pool HOST",
        )
    collector = htcondor2.Collector(pool.collector) if pool.collector else htcondor2.Collector()
    try:
        name = [pool.schedd] if pool.schedd else []
        ad = collector.locate(htcondor2.DaemonType.Schedd, *name)
    except htcondor2.HTCondorException as error:
        told = "" if not str(error) else f" ({' '.join(str(error).split())})"
        raise ScheddUnreachable(
            f"The collector {pool.collector or htcondor2.param.get('COLLECTOR_HOST', '')} does not answer{told}.",
            hint="Check the address (--pool) and the network.",
            transient=True,
        ) from None
    if ad is None or "MyAddress" not in ad:
        raise ScheddUnreachable(
            f"The collector knows no schedd named {pool.schedd!r}." if pool.schedd else "No schedd was found.",
            hint="List them: condor_status -schedd",
        )
    _located[pool.key] = ad
    return ad


def locate(pool: Pool) -> Answer:
    """Find the schedd and ask it who we are."""
    ad = location(pool)
    try:
        reply = htcondor2.ping(ad, "WRITE")
    except htcondor2.HTCondorException as error:
        raise translate(why_not(ad, error), pool) from None
    if not reply.get("AuthorizationSucceeded", False):
        raise NotAuthorised(
            f"{reply.get('MyRemoteUserName', 'Nobody')} may not submit to {pool.its_schedd}.",
            hint="Ask its administrator, or use another pool: %condor_pool --help",
        )
    machine = str(ad.get("Machine", ""))
    address = str(ad["MyAddress"])
    local = pool.personal or machine in {socket.gethostname(), socket.getfqdn()} or address.startswith("<127.")
    return {
        "name": str(ad.get("Name", "")),
        "address": address,
        "version": " ".join(str(ad.get("CondorVersion", "")).split()[1:2]),
        "machine": machine,
        "label": str(ad.get("Name", "")) if pool.schedd else machine,
        "user": str(reply.get("MyRemoteUserName", "")),
        "method": str(reply.get("AuthMethods", "")),
        "collector": pool.collector or str(htcondor2.param.get("COLLECTOR_HOST", "")),
        "local": local,
    }


def why_not(ad: Any, error: Any) -> Any:
    """Return what a query raises: unlike a ping it tells a refusal from silence."""
    try:
        htcondor2.Schedd(ad).query("false", ["ClusterId"])
    except htcondor2.HTCondorException as told:
        return told
    return error


def query(pool: Pool, constraint: str, projection: list[str], limit: int, *, my_jobs: bool, totals: bool) -> Answer:
    """Return rows, and the schedd's totals if wanted."""
    check_expression(constraint)
    schedd = schedd_of(pool)
    opts = htcondor2.QueryOpt.DefaultMyJobsOnly if my_jobs else htcondor2.QueryOpt.Default
    ads = schedd.query(constraint, projection, limit=limit, opts=opts)
    return rows_of(ads, projection, spent=True), summary(pool, schedd, mine=my_jobs) if totals else {}


def summary(pool: Pool, schedd: Any, *, mine: bool) -> dict[str, object]:
    """Return the schedd's totals: ``Allusers…`` of everybody, ``My…`` of us.

    The owner of a personal pool is its queue superuser, for whom ``condor_q`` has no totals of their own.
    """
    ads = schedd.query("false", opts=htcondor2.QueryOpt.SummaryOnly)
    told = {name: plain(ads[0][name], ads[0]) for name in ads[0]} if ads else {}
    if mine and not pool.personal:
        user = htcondor2.ping(location(pool), "WRITE").get("MyRemoteUserName", "")
        records = schedd.queryUserAds(f'User == "{user}"')
        record = {name: plain(records[0][name]) for name in records[0]} if records else {}
        told["MyName"] = user
        for state in ("Jobs", "Idle", "Running", "Held", "Removed", "Completed", "Suspended"):
            told[f"My{state}"] = record.get(f"Num{state}", 0)
    return told


def check_expression(text: str) -> None:
    """Raise a clear error where a constraint is no ClassAd expression."""
    try:
        classad2.ExprTree(text)
    except (classad2.ClassAdException, ValueError, RuntimeError):
        raise PoolError(
            f"{text!r} is not a ClassAd expression.",
            hint="For example: JobStatus == 5 && RequestMemory > 2048",
        ) from None


def history(pool: Pool, constraint: str, projection: list[str], limit: int) -> Answer:
    """Return rows of jobs that have left the queue."""
    check_expression(constraint)
    ads = schedd_of(pool).history(constraint, projection, match=limit)
    return rows_of(list(ads), projection, spent=True)


def act(pool: Pool, action: str, spec: str | list[str], reason: str) -> Answer:
    """Remove, hold, release … jobs."""
    if isinstance(spec, str):
        check_expression(spec)
        spec = f"({spec})"  # a bare number would be taken for a cluster's
    if action == "Hold":  # this one the schedd (25.14) takes for the inside of a ClassAd string
        reason = reason.replace('"', '\\"')
    # a reason without a code is dropped by the bindings (25.14)
    reply = schedd_of(pool).act(htcondor2.JobAction[action], spec, reason=(reason, 0))
    names = ("Success", "NotFound", "BadStatus", "AlreadyDone", "PermissionDenied", "Error")
    return {re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower(): int(reply.get(f"Total{name}", 0)) for name in names}


def edit(pool: Pool, constraint: str, changes: dict[str, str]) -> Answer:
    """Set attributes of jobs."""
    for expression in (constraint, *changes.values()):  # all of them before the first is set
        check_expression(expression)
    schedd = schedd_of(pool)
    changed = 0
    for name, expression in changes.items():
        result = schedd.edit(constraint, name, expression)
        changed = max(changed, int(getattr(result, "matched", result) or 0) if result is not None else 0)
    return changed


def slots(pool: Pool) -> Answer:
    """Return the size of the pool as its collector sees it."""
    collector = htcondor2.Collector(pool.collector) if pool.collector else htcondor2.Collector()
    deadline = time.monotonic() + (FIRST_SLOT_S if pool.personal else 0)
    while True:
        ads = collector.query(
            htcondor2.AdType.Startd,
            constraint='SlotType =!= "Dynamic"',
            projection=["TotalSlotCpus", "TotalSlotMemory", "Cpus", "Memory"],
        )
        if ads or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    cores = sum(int(ad.get("TotalSlotCpus", ad.get("Cpus", 0))) for ad in ads)
    memory = sum(int(ad.get("TotalSlotMemory", ad.get("Memory", 0))) for ad in ads)
    return {"slots": len(ads), "cores": cores, "memory_mib": memory}


def configured(_pool: Pool | None) -> Answer:
    """Return what HTCondor's configuration says of a schedd: enough to tell whether it names one."""
    param = htcondor2.param
    daemons = str(param.get("DAEMON_LIST", "")).upper().replace(",", " ").split()
    file = str(param.get("SCHEDD_ADDRESS_FILE", ""))
    return {
        "schedd_host": str(param.get("SCHEDD_HOST", "")),
        "collector_host": str(param.get("COLLECTOR_HOST", "")),
        "runs_schedd": "SCHEDD" in daemons,
        "address_file": file if file and Path(file).exists() else "",
    }


def retrieve(pool: Pool, constraint: str) -> Answer:
    """Fetch the output of spooled jobs."""
    schedd_of(pool).retrieve(constraint)


OPERATIONS: dict[str, Callable[..., Answer]] = {
    "locate": locate,
    "query": query,
    "history": history,
    "act": act,
    "edit": edit,
    "slots": slots,
    "configured": configured,
    "retrieve": retrieve,
}
