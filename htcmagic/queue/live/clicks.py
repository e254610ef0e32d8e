"""What a click in a live view does: the same as the magic of that name, counted first, others' jobs left alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from htcmagic.errors import HTCMagicError
from htcmagic.jobs import acting, choice
from htcmagic.jobs.acting import Action, Plan
from htcmagic.jobs.display import clean
from htcmagic.pool.address import Pool
from htcmagic.pool.client import Client
from htcmagic.queue.live.model import LiveBatch

ACTIONS: Mapping[str, Action] = {
    "hold": acting.HOLD,
    "release": acting.RELEASE,
    "remove": acting.REMOVE,
    "edit": acting.EDIT,
}
REASON = "by a click in a notebook"
ATTRIBUTES: Mapping[str, str] = {
    "request_memory": "RequestMemory",
    "request_disk": "RequestDisk",
    "request_cpus": "RequestCpus",
    "priority": "JobPrio",
}
"""What can be edited by a click: submit commands and their attributes."""
_UNITS = {"request_memory": 1024**2, "request_disk": 1024}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)\s*([kmgt]?)i?b?\Z", re.IGNORECASE)
_JOB = re.compile(r"\d{1,9}\.\d{1,9}\Z", re.ASCII)
MOST_NAMED = 1000
"""Most jobs that one click names one by one."""
Clients = Callable[[Pool], Client]


def outcome(click: Mapping[str, Any], batches: Sequence[LiveBatch], clients: Clients) -> dict[str, Any]:
    """Do what was clicked and return what is to be said.

    Parameters
    ----------
    click : mapping
        From the browser: `action`, `key` of the batch, `ids` of jobs (empty: all of the batch), `count` of jobs that
        was agreed to, for an edit `name` and `value`.
    batches : sequence of LiveBatch
        The table at present.
    clients : callable
        Returns the client for a pool.

    Returns
    -------
    dict
        `ok`, `says`: the text; `count`: how many jobs it would be where that is more than was agreed to.
    """
    try:
        return _done(click, batches, clients)
    except HTCMagicError as error:
        return {"ok": False, "says": " ".join(filter(None, [error.message, error.hint]))}


def _done(click: Mapping[str, Any], batches: Sequence[LiveBatch], clients: Clients) -> dict[str, Any]:
    action = ACTIONS[str(click.get("action"))]
    batch = next((one for one in batches if one.key == click.get("key")), None)
    if batch is None:
        return {"ok": False, "says": "These jobs are no longer watched."}
    changes = _changes(str(click.get("name")), str(click.get("value"))) if action is acting.EDIT else {}
    client = clients(batch.pool)
    targets = _targets(click.get("ids") or (), batch)
    made = acting.plan(client, action, targets, again="", yes=True, look=True)
    rows = [row for row in made.counted or () if not action.states or row[3] in action.states]
    me = client.schedd.user
    others = sorted({str(row[2]) for row in rows if row[2] != me})
    if others:
        names = ", ".join(clean(name, 40) for name in others[:3])
        return {"ok": False, "says": f"Nothing done: {_jobs(rows, me)} not yours but of {names}."}
    agreed = int(click.get("count") or 0)
    if len(rows) > agreed:
        return {"ok": False, "says": f"Nothing done yet: by now it is {len(rows):,} jobs.", "count": len(rows)}
    if not rows:
        return {"ok": False, "says": " ".join([*made.notes, _none(made, action)])}
    if not made.jobs:  # HTCondor would put held jobs on hold again, for another reason
        fits = " || ".join(f"JobStatus == {status}" for status in sorted(action.states))
        made.targets = [choice.Target(f"({batch.constraint}) && ({fits})", pool=batch.pool)]
    said = acting.edit(made, changes) if action is acting.EDIT else acting.act(made, REASON)
    return {"ok": True, "says": " ".join(said)}


def _none(made: Plan, action: Action) -> str:
    if not made.counted:
        return "Nothing to do: these jobs have left the queue." if not made.notes else "Nothing else to do."
    return f"Nothing to do: {'the job is' if len(made.counted) == 1 else 'the jobs are'} {action.unfit}."


def _targets(ids: Sequence[object], batch: LiveBatch) -> list[choice.Target]:
    if not ids:
        return [choice.Target(batch.constraint, pool=batch.pool)]
    named = [str(one) for one in ids]
    known = {cluster for cluster, _, _ in batch.spans}
    if len(named) > MOST_NAMED or not all(_JOB.match(one) and int(one.partition(".")[0]) in known for one in named):
        raise HTCMagicError("These are no jobs of this batch.")
    return [choice.target(one, {}) for one in named]


def _jobs(rows: Sequence[tuple[object, ...]], me: str) -> str:
    number = sum(row[2] != me for row in rows)
    return f"{number:,} of {len(rows):,} jobs {'is' if number == 1 else 'are'}"


def _changes(name: str, value: str) -> dict[str, str]:
    """Return the attribute and its value, sizes as in a submit description.

    Examples
    --------
    >>> _changes("request_memory", "2 GB"), _changes("request_disk", "1GB"), _changes("priority", "-5")
    ({'RequestMemory': '2048'}, {'RequestDisk': '1048576'}, {'JobPrio': '-5'})
    """
    value = value.strip()
    if name in _UNITS:
        found = _SIZE.match(value)
        if not found:
            raise HTCMagicError(f"{clean(value, 40)!r} is no size.", hint="Such as 2 GB or 500 MB.")
        scale = 1024 ** "kmgt".index(found[2].lower()) * 1024 if found[2] else _UNITS[name]
        number = -(-int(float(found[1]) * scale) // _UNITS[name])
    elif name in ATTRIBUTES and re.match(r"[+-]?\d{1,9}\Z" if name == "priority" else r"[1-9]\d{0,5}\Z", value):
        number = int(value)
    else:
        raise HTCMagicError(f"{clean(value, 40)!r} is no number for {clean(name, 40)}.")
    if name != "priority" and number < 1:
        raise HTCMagicError(f"{name} cannot be {clean(value, 40)}.")
    return {ATTRIBUTES[name]: str(number)}
