"""Usage as text and as HTML: figures in a table, then the lines for next time, then what was wasted."""

from __future__ import annotations

from htcmagic.jobs.display import clean
from htcmagic.queue.html import escape
from htcmagic.queue.usage import Measure, Usage
from htcmagic.queue.why.words import amount, counted, listed, size

HEAD = ("", "asked", "min", "median", "90 %", "95 %", "max", "jobs")
NAMES = {"memory": "memory", "disk": "disk", "cpus": "cores busy"}
LONGEST = 600
MOST = 3
SHOWN_H = 0.01
_BOX = "font-size:13px;line-height:1.5;max-width:64em;margin:2px 0 8px"
_TABLE = "border-collapse:collapse;margin:6px 0;font-size:12px;font-variant-numeric:tabular-nums"
_CELL = "padding:2px 10px;white-space:nowrap;text-align:right"
_FAINT = "opacity:.72"
_CODE = "background:#8882;padding:1px 5px;border-radius:3px;white-space:nowrap"


def text(told: Usage) -> str:
    """Return it for a terminal."""
    rows = [HEAD, *(row(measure) for measure in told.measures)]
    widths = [max(len(line[column]) for line in rows) for column in range(len(HEAD))]
    table = [
        "  ".join([f"{r[0]:<{widths[0]}}", *(f"{v:>{w}}" for v, w in zip(r[1:], widths[1:], strict=True))])
        for r in rows
    ]
    lines = [heading(told), "", *(f"  {line}".rstrip() for line in table)]
    if told.advice:
        width = max(len(advice.submit) for advice in told.advice)
        lines += ["", "  → next time, in the description:"]
        lines += [f"      {advice.submit:<{width}}   # {_line(advice.says)}" for advice in told.advice]
    facts = [*failures(told), *wasted(told), *told.warnings]
    return "\n".join([*lines, "", *(f"  {_line(fact)}" for fact in facts)]).rstrip()


def html(told: Usage) -> str:
    """Return it for a notebook: inline styles only, foreign text made harmless."""
    head = "".join(f'<th style="border:0;border-bottom:1px solid #8887;{_CELL}">{name}</th>' for name in HEAD)
    body = "".join(_row(row(measure)) for measure in told.measures)
    advice = "".join(
        f'<div style="margin-top:2px"><code style="{_CODE}">{escape(one.submit)}</code> '
        f'<span style="{_FAINT}">{escape(one.says, limit=LONGEST)}</span></div>'
        for one in told.advice
    )
    facts = "".join(f"<div>{escape(fact, limit=LONGEST)}</div>" for fact in [*failures(told), *wasted(told)])
    warnings = "".join(f'<div style="{_FAINT}">{escape(note, limit=LONGEST)}</div>' for note in told.warnings)
    return (
        f'<div style="{_BOX}"><b>{escape(heading(told), limit=LONGEST)}</b>'
        f'<table style="{_TABLE}"><thead style="border:0">'
        f'<tr style="background:none">{head}</tr></thead><tbody>{body}</tbody></table>'
        + (f"<div>→ next time, in the description:</div>{advice}" if advice else "")
        + f'<div style="margin-top:6px">{facts}{warnings}</div></div>'
    )


def _row(cells: tuple[str, ...]) -> str:
    first, *others = (escape(cell) for cell in cells)
    inner = "".join(f'<td style="{_CELL}">{cell}</td>' for cell in others)
    line = "background:none;border:0;border-bottom:1px solid #8883"
    return f'<tr style="{line}"><td style="{_CELL};text-align:left">{first}</td>{inner}</tr>'


def heading(told: Usage) -> str:
    """Return whose figures these are, and on what they rest."""
    source = f", from {listed(told.sources)}" if told.sources else ""
    return f"{clean(told.title, 200)}: {counted(len(told.ran), 'job')} that ran{source}"


def row(measure: Measure) -> tuple[str, ...]:
    """Return a line of the table."""
    low, high = (_value(measure, value) for value in (measure.asked_min, measure.asked_max))
    figures = (measure.min, measure.median, measure.p90, measure.p95, measure.max)
    asked = low if low == high else f"{low} … {high}"
    return (NAMES[measure.resource], asked, *(_value(measure, value) for value in figures), f"{measure.jobs:,}")


def failures(told: Usage) -> list[str]:
    """Return what failed for lack of memory, the largest named."""
    if not told.over_memory:
        return []
    ordered = sorted(told.over_memory, key=lambda job: -(job.memory_used_mib or 0.0))
    named = [
        f"{job.job} (asked {size(job.memory_asked_mib or 0.0)}"
        + (f", seen with {size(job.memory_used_mib)})" if job.memory_used_mib else ")")
        for job in ordered
    ]
    return [f"Held for too much memory: {counted(len(named), 'job')}: {listed(named, MOST)}."]


def wasted(told: Usage) -> list[str]:
    """Return what was paid for and not used."""
    hours = told.wasted
    lines = []
    for key, noun in (("core_hours", "core hours"), ("memory_gib_hours", "GB hours of memory")):
        if hours[key] >= SHOWN_H:
            lost = hours[f"{key}_wasted"]
            lines.append(f"{_hours(lost)} of {_hours(hours[key])} {noun} ({100 * lost / hours[key]:.0f} %)")
    told_lines = [f"Not used: {' and '.join(lines)}."] if lines else []
    if hours["core_hours_failed"] >= SHOWN_H:
        spent = _hours(hours["core_hours_failed"])
        told_lines.append(f"Spent on jobs that failed, were removed or are held: {spent} core hours.")
    return told_lines


def _hours(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= SHOWN_H else f"less than {SHOWN_H}"


def _value(measure: Measure, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}".removesuffix(".00") if measure.resource == "cpus" else amount("memory", value)


def _line(text: str) -> str:
    return clean(text, LONGEST)
