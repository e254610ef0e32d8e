"""What to take when: every way to call a function, measured alike. The table of docs/which-engine.md is made here."""

from __future__ import annotations

import os
import re
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from engines import CALLS, WORKERS
from functions import begin
from report import Row, machine, written

if TYPE_CHECKING:
    from cases import Size
    from pool import Bench
    from worker import Worker

SHORT_S, LONG_S = 2.0, 20.0
"""How long the call takes whose worker, and whose notebook, is killed meanwhile."""
PATIENCE_S = 60.0
HEAD = ("", "first result", "1,000 results from nothing", "a warm call", "listens on", "its job is evicted")
HEAD_KERNEL = "the notebook's kernel is killed"
MARKS = re.compile(r"(<!-- measured -->\n).*?(<!-- end of measured -->)", re.DOTALL)
PAGE = """\
Measured by `make bench` on one personal pool with {workers} workers ({machine}). A call doubles a number; medians.

{table}
"""
ENGINES = {
    "map_calls map": "`htcmagic.map`",
    "map_calls": "`htcmagic.Executor`",
    "engine_parsl_calls": "Parsl",
    "engine_dask_calls": "Dask",
    "engine_ipp_calls": "ipyparallel",
}


@dataclass
class Found:
    """What was measured of one engine."""

    first: list[float] = field(default_factory=list)
    cold: list[float] = field(default_factory=list)
    warm: list[float] = field(default_factory=list)
    ports: int = 0
    evicted: tuple[float, str] = (0.0, "")
    left: str = ""


_found: dict[str, Found] = {}
"""By engine: for the page, which is written when all is measured."""


def choosing(bench: Bench, size: Size) -> list[Row]:
    """Measure all of them; the rows are reports alone."""
    for who in ENGINES:
        _found[who] = found = Found()
        for turn in range(size.few):
            _speed(bench, who, found)
            if not turn:
                _fates(bench, who, found)
    rows = []
    for who, found in _found.items():
        name = ENGINES[who].strip("`")
        rows += [
            Row(f"{name}: first result from nothing", tuple(found.first)),
            Row(f"{name}: {CALLS:,} results from nothing", tuple(found.cold)),
        ]
        if found.warm:
            rows.append(Row(f"{name}: {CALLS:,} warm calls", tuple(found.warm)))
    return rows


def _start(bench: Bench, who: str) -> Worker:
    bench.rest()
    worker = bench.ours(who.partition(" ")[0])
    worker.do("ready")
    return worker


def _speed(bench: Bench, who: str, found: Found) -> None:
    for calls, times in ((1, found.first), (CALLS, found.cold)):
        with _start(bench, who) as worker:
            if who == "map_calls" and calls == 1:
                times.append(begin(worker, who))
                worker.do("warm", calls=CALLS)
                found.warm += [float(worker.do("warm", calls=CALLS)["submit"]) for _ in range(3)]
            elif who == "map_calls":
                began = time.perf_counter()
                begin(worker, who)
                worker.do("warm", calls=CALLS)
                times.append(time.perf_counter() - began)
            else:
                times.append(float(worker.do("cold", calls=calls, workers=WORKERS)["seconds"]))
                if calls == 1 and " " not in who:
                    worker.do("warm", calls=CALLS)  # until all workers are there
                    found.warm += [float(worker.do("warm", calls=CALLS)["submit"]) for _ in range(3)]
            worker.do("end")


def _fates(bench: Bench, who: str, found: Found) -> None:
    """Evict a worker, then kill the notebook."""
    name = who.replace(" ", "-")
    with _start(bench, who) as worker:
        _workers(worker, who)
        found.ports = int(worker.do("ports")["ports"])
        worker.do("begin", path=str(bench.folder / f"{name}-evicted"), seconds=SHORT_S)
        bench.tool("condor_vacate_job", "-fast", "-all")
        told = worker.do("wait")
        found.evicted = (float(told["seconds"]), str(told["error"]))
        worker.do("end")
    with _start(bench, who) as worker:
        _workers(worker, who)
        done = bench.folder / f"{name}-left"
        worker.do("begin", path=str(done), seconds=LONG_S)
        os.kill(worker.process.pid, signal.SIGKILL)
        found.left = _fate(bench, done)


def _workers(worker: Worker, who: str) -> None:
    """Have workers, where there are any."""
    if who == "map_calls":
        begin(worker, who)
    elif " " not in who:
        worker.do("cold", calls=1, workers=WORKERS)


def _fate(bench: Bench, done: Path) -> str:
    """Return what becomes of a call and its jobs after the notebook."""
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE_S:
        if done.exists():
            return "goes on"
        if not bench.tool("condor_q", "-allusers", "-af", "ClusterId").split():
            return f"its jobs are gone after {time.monotonic() - began:.1f} s"
        time.sleep(0.2)
    return f"its jobs are there after {PATIENCE_S:.0f} s"


def page(versions: dict[str, str]) -> str:
    """Return the table as Markdown; empty where nothing was measured."""
    if not _found:
        return ""
    from statistics import median  # noqa: PLC0415

    lines = [(*HEAD, HEAD_KERNEL), ("---", *["---:"] * 3, "---", "---", "---")]
    for who, found in _found.items():
        seconds, error = found.evicted
        lines.append(
            (
                ENGINES[who],
                written(median(found.first), "s"),
                written(median(found.cold), "s"),
                f"{1000 * median(found.warm) / CALLS:.2f} ms" if found.warm else "",
                "no port" if not found.ports else "1 port" if found.ports == 1 else f"{found.ports} ports",
                f"`{error}` after {seconds:.1f} s" if error else f"it runs again: {seconds:.1f} s",
                found.left,
            )
        )
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return PAGE.format(workers=WORKERS, machine=machine(versions), table=table)


def write(file: Path, versions: dict[str, str]) -> None:
    """Put the table between its marks in a page."""
    text, made = file.read_text(), page(versions)
    if made:
        file.write_text(MARKS.sub(lambda found: found[1] + made + found[2], text))
