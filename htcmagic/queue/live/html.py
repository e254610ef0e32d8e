"""A live table as a static piece of HTML: what is kept in a notebook, and shown where there are no widgets."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from htcmagic.jobs.display import COLOURS as OF_CLUSTERS
from htcmagic.jobs.display import elapsed
from htcmagic.queue.html import escape
from htcmagic.queue.live.model import ENDED, STATES, LiveBatch, LiveJob, LiveTable

COLOURS = {**{state.value: colour for state, colour in OF_CLUSTERS.items()}, "suspended": "#8a63d2"}
"""By state: those of a cluster's progress bar."""
BAR = ("done", "failed", "removed", "running", "suspended", "held", "idle")
"""The order in a bar: what has ended first."""
ALWAYS = ("done", "running", "idle", "held")
"""States that have a column though no job is in them."""
MOST = 300
"""Lines drawn; the rest is counted."""
MOST_JOBS = 100
"""Jobs of one batch that are drawn when all is over, those first that matter most."""
MATTER = ("held", "failed", "suspended", "running", "removed", "idle", "done")

_BOX = (
    "font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:13px;line-height:1.45;max-width:100%;"
    "overflow-x:auto;margin:2px 0 8px"
)
_TABLE = "border-collapse:collapse;margin:6px 0 4px;font-size:12px;font-variant-numeric:tabular-nums"
_HEAD = "border:0;border-bottom:1px solid #8887;padding:2px 9px;font-weight:600;white-space:nowrap;text-align:"
_LINE = "background:none;border:0;border-bottom:1px solid #8883;vertical-align:top"
_CELL = "padding:3px 9px;white-space:nowrap"
_LEFT, _RIGHT = f"{_CELL};text-align:left", f"{_CELL};text-align:right"
_LONG = f"{_LEFT};max-width:32em;overflow:hidden;text-overflow:ellipsis"
_FAINT = "opacity:.65"


def render(table: LiveTable, *, ended: str = "", jobs: bool = False, place: str = "", now: float | None = None) -> str:
    """Return a table as a piece of HTML; foreign text in it is harmless.

    Parameters
    ----------
    table : LiveTable
        What is known.
    ended : str
        Why the view is no longer live; empty if it is.
    jobs : bool
        Put the jobs of each batch under it, folded.
    place : str
        The class by which the browser's part finds it.
    now : float, optional
        Seconds since 1970; the present time if not given.
    """
    parts = [
        f'<div class="htcmagic-watch {place}" style="{_BOX}">',
        _heading(table, ended, time.time() if now is None else now),
    ]
    dim = ";opacity:.5" if table.stale and not all(batch.own for batch in table.batches) else ""
    if table.nobatch:
        lines = [job for batch in table.batches for job in batch.jobs(MOST)][:MOST]
        number = sum(len(batch.letters) for batch in table.batches)
        parts += [_job_table(lines, dim), _left(number - len(lines), "job", "jobs")]
    elif table.batches:
        shown = table.batches[:MOST]
        parts += [_batch_table(shown, dim, jobs=jobs), _left(len(table.batches) - len(shown), "batch", "batches")]
    return "".join([*parts, "</div>"])


def line(table: LiveTable, *, ended: str = "") -> str:
    """Return the counts as a line of text."""
    counts = totals(table.batches)
    told = ", ".join(f"{counts[state]:,} {state}" for state in BAR if counts.get(state)) or "no jobs"
    return f"{table.where or 'own clusters'}: {told}{f' [{ended}]' if ended else ''}"


def totals(batches: Iterable[LiveBatch]) -> dict[str, int]:
    """Return the jobs of all batches by state."""
    found = dict.fromkeys(STATES, 0)
    for batch in batches:
        for state, number in batch.counts.items():
            found[state] += number
    return found


def columns(batches: Iterable[LiveBatch]) -> list[str]:
    """Return the states that get a column."""
    found = totals(batches)
    order = ("done", "running", "idle", "held", "suspended", "failed", "removed")
    return [state for state in order if state in ALWAYS or found[state]]


def share(batch: LiveBatch) -> float:
    """Return how far a batch has come, from 0 to 1: as told from inside its jobs, else by jobs that have ended."""
    return batch.ended / max(batch.total, 1) if batch.progress is None else min(max(batch.progress, 0.0), 1.0)


def percent(batch: LiveBatch) -> str:
    """Return how far a batch has come; 100 only if it is there."""
    part = share(batch)
    return f"{100 if part >= 1 else min(int(100 * part), 99)} %"


def title(batch: LiveBatch) -> str:
    """Return a batch's name for people. Foreign text."""
    return batch.name or f"ID {batch.ids.partition('.')[0]}"


def age(table: LiveTable, now: float) -> str:
    """Return how old the oldest part of a table is, in words."""
    return elapsed(now - table.seen) if table.seen else ""


def _heading(table: LiveTable, ended: str, now: float) -> str:
    counts = totals(table.batches)
    number = sum(batch.total for batch in table.batches)
    states = "&ensp;".join(
        f'<span style="white-space:nowrap">{_dot(state)}{counts[state]:,} {state}</span>'
        for state in BAR
        if counts[state]
    )
    told = f"{number:,} job{'' if number == 1 else 's'}&ensp;{states}" if number else "no jobs"
    clock = time.strftime("%H:%M:%S", time.localtime(table.seen)) if table.seen else "no answer yet"
    when = f"{escape(ended)}, as of {clock}" if ended else f"as of {clock}"
    if table.stale and table.seen:
        when += f", {age(table, now)} old"
    note = f'<div style="color:#b57e00">{escape(table.note)}</div>' if table.note else ""
    where = f"<b>{escape(table.where or 'own clusters')}</b>"
    return f'<div>{where}&ensp;{told}&ensp;<span style="{_FAINT};white-space:nowrap">{when}</span></div>{note}'


def _dot(state: str) -> str:
    return (
        f'<span style="display:inline-block;width:.65em;height:.65em;border-radius:2px;background:{COLOURS[state]};'
        'margin-right:.35em"></span>'
    )


def _left(number: int, one: str, many: str) -> str:
    if number <= 0:
        return ""
    return f'<div style="{_FAINT};padding:0 9px">… and {number:,} more {one if number == 1 else many}</div>'


def _head(names: Sequence[str]) -> str:
    cells = "".join(
        f'<th style="{_HEAD}{"right" if name.startswith(">") else "left"}">{name.removeprefix(">")}</th>'
        for name in names
    )
    return f'<thead style="border:0"><tr style="background:none">{cells}</tr></thead>'


def _batch_table(batches: Sequence[LiveBatch], dim: str, *, jobs: bool) -> str:
    states = columns(batches)
    owners = len({batch.owner for batch in batches}) > 1
    names = ("batch", *(("owner",) if owners else ()), "submitted", "progress")
    head = _head([*names, *(f">{state}" for state in states), ">total", "jobs"])
    body = "".join(_batch(batch, states, owners=owners, dim="" if batch.own else dim, jobs=jobs) for batch in batches)
    return f'<table style="{_TABLE}">{head}<tbody>{body}</tbody></table>'


def _batch(batch: LiveBatch, states: Sequence[str], *, owners: bool, dim: str, jobs: bool) -> str:
    hold = (
        f'<div title="{escape(batch.hold, limit=800)}" style="color:#b57e00;max-width:40em;overflow:hidden;'
        f'text-overflow:ellipsis">held: {escape(batch.hold, limit=300)}</div>'
        if batch.hold
        else ""
    )
    name = title(batch)
    cells = [(_LONG, f'<b title="{escape(name, limit=800)}">{escape(name, limit=80)}</b>{hold}')]
    if owners:
        cells.append((_LEFT, escape(batch.owner, limit=40)))
    cells += [(_LEFT, _when(batch.submitted)), (_LEFT, bar(batch))]
    cells += [(_RIGHT, _number(batch.counts.get(state, 0))) for state in states]
    cells += [(_RIGHT, f"{batch.total:,}"), (f"{_LEFT};{_FAINT}", escape(batch.ids))]
    inner = "".join(f'<td style="{style}">{content}</td>' for style, content in cells)
    under = _folded(batch, len(cells)) if jobs else ""
    return f'<tr style="{_LINE}{dim}">{inner}</tr>{under}'


def _folded(batch: LiveBatch, wide: int) -> str:
    """Return a batch's jobs, to be opened by a click without anybody's help."""
    found: list[LiveJob] = []
    for state in MATTER:
        if batch.counts.get(state) and len(found) < MOST_JOBS:
            found += batch.jobs(MOST_JOBS - len(found), 0, (state,))
    if not found:
        return ""
    known = len(batch.letters)
    told = f"{known:,} job{'' if known == 1 else 's'}"
    inner = f"{_job_table(found, '')}{_left(known - len(found), 'job', 'jobs')}"
    return (
        f'<tr style="background:none;border:0"><td colspan="{wide}" style="padding:0 9px 2px;text-align:left">'
        f'<details><summary style="{_FAINT};cursor:pointer">{told}</summary>{inner}</details></td></tr>'
    )


def _job_table(jobs: Sequence[LiveJob], dim: str) -> str:
    owners = len({job.owner for job in jobs}) > 1
    names = ["job", *(["owner"] if owners else []), "state", "submitted", "started", "host", "why or what"]
    body = "".join(_job(job, dim, owners=owners) for job in jobs)
    return f'<table style="{_TABLE}">{_head(names)}<tbody>{body}</tbody></table>' if jobs else ""


def _job(job: LiveJob, dim: str, *, owners: bool) -> str:
    told = job.reason or job.command
    cells = [(_LEFT, escape(job.id)), *([(_LEFT, escape(job.owner, limit=40))] if owners else [])]
    cells += [
        (_LEFT, f"{_dot(job.state)}{job.state}"),
        (_LEFT, _when(job.submitted)),
        (_LEFT, _when(job.started)),
        (_LEFT, escape(job.host, limit=60)),
        (_LONG, f'<span title="{escape(told, limit=800)}">{escape(told, limit=120)}</span>'),
    ]
    inner = "".join(f'<td style="{style}">{content}</td>' for style, content in cells)
    return f'<tr style="{_LINE}{dim}">{inner}</tr>'


def _number(number: int) -> str:
    return f"{number:,}" if number else '<span style="opacity:.4">—</span>'


def _when(seconds: float | None) -> str:
    if not seconds:
        return ""
    then = time.localtime(seconds)
    return time.strftime("%H:%M:%S" if time.strftime("%x", then) == time.strftime("%x") else "%b %d %H:%M", then)


def bar(batch: LiveBatch) -> str:
    """Return a bar of the batch's states with the part that is done, which the numbers beside it tell in words."""
    whole = max(batch.total, sum(batch.counts.values()), 1)
    told = escape(", ".join(f"{batch.counts[state]:,} {state}" for state in BAR if batch.counts.get(state)))
    inner = "".join(
        f'<span style="width:{100 * batch.counts[state] / whole:.4g}%;background:{COLOURS[state]}"></span>'
        for state in BAR
        if batch.counts.get(state)
    )
    over = all(state in ENDED for state, number in batch.counts.items() if number)
    return (
        f'<span title="{told}" style="display:inline-flex;width:110px;height:8px;border-radius:4px;overflow:hidden;'
        f'background:#8884;vertical-align:middle">{inner}</span> <span style="display:inline-block;width:3em;'
        f'text-align:right{f";{_FAINT}" if over else ""}">{percent(batch)}</span>'
    )
