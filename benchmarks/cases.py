"""The comparisons: each gives rows of the table."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import bar
import choosing
import engines
import functions
import watching
from kernels import kernels
from pool import IDLE_S, Bench
from queues import queue, queue_large
from report import Row

ROOT = Path(__file__).resolve().parents[1]
JOBS = 10_000
LOOPED = 300
SHORT = 100
HELD = "hold = true"


@dataclass(frozen=True, slots=True)
class Size:
    """How many runs; 1,000 jobs in place of 10,000 when it has to be quick."""

    runs: int
    few: int
    jobs: int
    watch_s: float


FULL = Size(runs=7, few=3, jobs=JOBS, watch_s=20)
QUICK = Size(runs=3, few=1, jobs=1_000, watch_s=5)


def load(bench: Bench, size: Size) -> list[Row]:
    """Load the extension: every run is a fresh process."""
    ours, peer = [], []
    for _ in range(size.runs):
        with bench.ours() as worker:
            loaded = worker.do("load")
        assert not loaded["bindings"], f"%load_ext imports {loaded['bindings']}"
        ours.append(loaded["seconds"])
        with bench.peers() as worker:
            peer.append(worker.do("bindings")["seconds"])
    return [Row("%load_ext htcmagic | import htcondor2", tuple(ours), tuple(peer), bound=0.060, of="ours")]


def submit(bench: Bench, size: Size) -> list[Row]:
    """Send 10,000 jobs: every run is a fresh process, and the queue is empty before each."""
    ours, peer = [], []
    text = ""
    for number in range(size.few):
        with bench.ours() as worker:
            worker.do("load")
            sent = worker.do("submit", jobs=size.jobs, more=HELD)
            ours.append(sent["seconds"])
        text = as_sent(Path(sent["folder"]), bench.folder / f"bare{number}")
        bench.clear()
        with bench.peers() as worker:
            worker.do("bindings")
            peer.append(worker.do("submit", text=text, jobs=size.jobs)["seconds"])
        bench.clear()
    each = looped(bench, text, size.jobs)
    late = []
    for _ in range(size.few):
        with bench.ours() as worker:
            worker.do("load")
            late.append(worker.do("submit", jobs=size.jobs, more=f"max_materialize = 100\n{HELD}")["seconds"])
        bench.clear()
    full = size.jobs == JOBS  # what is fixed, starting the child that holds the bindings, weighs more on fewer jobs
    what, scaled = f"%%condor --over, {size.jobs:,} jobs", f"each, scaled from {LOOPED}"
    looped_s = {name: (each[name] * size.jobs,) for name in each}
    return [
        Row(f"{what} | bare submit(itemdata=...)", tuple(ours), tuple(peer), bound=1.2 if full else None),
        Row(
            f"{what} | submit(), query {scaled}",
            tuple(ours),
            looped_s["queried"],
            bound=50 if full else None,
            of="speedup",
            floor=10,
        ),
        Row(
            f"the same with --max-materialize | submit(), query {scaled}",
            tuple(late),
            looped_s["queried"],
            bound=50 if full else None,
            of="speedup",
        ),
        Row(f"{what} | submit() {scaled}", tuple(ours), looped_s["alone"], of="speedup"),
    ]


def looped(bench: Bench, text: str, jobs: int) -> dict[str, float]:
    """Return seconds a job when each is sent by a call of its own.

    A call gets slower as the queue grows, so what stands for all of them is measured with half of the jobs queued.
    """
    with bench.peers() as worker:
        worker.do("bindings")
        worker.do("submit", text=text, jobs=jobs // 2)
        each = {
            name: worker.do("submit_each", text=text, jobs=LOOPED, queried=name == "queried")["seconds"] / LOOPED
            for name in ("alone", "queried")
        }
    bench.clear()
    return each


def as_sent(run: Path, folder: Path) -> str:
    """Return the description that we sent, its files moved to a folder of the peer's own."""
    (folder / "out").mkdir(parents=True)
    lines = (run / "description.sub").read_text().replace(str(run), str(folder)).rstrip().split("\n")
    assert lines[-1].startswith("queue"), lines[-1]
    return "\n".join([*lines[:-1], 'MY.HtcmagicRun = "20250101-000000-abcdef"', ""])


def progress(bench: Bench, size: Size) -> list[Row]:
    """Show 10,000 jobs that do nothing: share of a core."""
    shares = bar.measure(bench, size.jobs, size.watch_s)
    bench.clear()
    assert shares["updates"] > size.watch_s / 4, "the bars do not move"
    return [
        Row(
            f"live bar of {size.jobs:,} {state} jobs, {size.watch_s:.0f} s | the kernel without",
            (shares[state],),
            (shares["none"],),
            unit="%",
            bound=2.0,
            of="difference",
        )
        for state in ("held", "idle")
    ]


def latency(bench: Bench, size: Size) -> list[Row]:
    """Send one job to an idle pool, until its result is known."""
    ours, heard, peer = [], [], []
    with bench.ours() as worker, bench.peers() as bare:
        worker.do("load")
        worker.do("latency")
        bare.do("latency", folder=str(bench.folder))
        for _ in range(size.runs - 2):
            time.sleep(IDLE_S)
            done = worker.do("latency")
            ours.append(done["seconds"])
            heard.append(done["event_to_state"])
            time.sleep(IDLE_S)
            peer.append(bare.do("latency", folder=str(bench.folder))["seconds"])
        time.sleep(IDLE_S)
        many = worker.do("many", jobs=SHORT)["seconds"]
    return [
        Row(
            "/bin/true, %%condor to result() | bare submit and event log",
            tuple(ours),
            tuple(peer),
            bound=2.0,
            of="ours",
        ),
        Row("of that, from the event in the log to the future", tuple(heard)),
        Row(
            f"{SHORT} x /bin/true, all results | as many times one, alone",
            (many,),
            (SHORT * median(ours),),
            bound=0.6,
        ),
    ]


def demo(bench: Bench, size: Size) -> list[Row]:  # noqa: ARG001
    """Run the whole demo once more."""
    page = ROOT / "build" / "demo" / "gridscan.html"
    if not page.exists():
        print("make demo: it has not run yet on this machine, so there is no second run to time.")
        return []
    began = time.perf_counter()
    command = [sys.executable, str(ROOT / "notebooks" / "demo.py"), "--output", str(bench.folder / "demo")]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return [Row("make demo, warm (notebooks/demo.py)", (time.perf_counter() - began,), bound=40.0, of="ours")]


CASES: dict[int, tuple[str, Callable[[Bench, Size], list[Row]]]] = {
    1: ("loading the extension", load),
    2: ("sending 10,000 jobs", submit),
    3: ("looking at 10,000 jobs", queue),
    4: ("a live bar at rest", progress),
    5: ("one job, from cell to result", latency),
    6: ("the demo", demo),
    7: ("kernels", kernels),
    8: ("looking at 100,000 jobs", queue_large),
    9: ("live views: jobs of one's own", watching.own),
    10: ("live views: a frozen schedd", watching.frozen),
    11: ("live views: ten kernels", watching.ten),
    12: ("functions: a thousand calls", functions.calls),
    13: ("functions: waiting", functions.outstanding),
    14: ("functions: a cell in a job", functions.cell),
    15: ("engines: through us and by hand", engines.calls),
    16: ("engines: a DAG", engines.workflow),
    17: ("engines: which one", choosing.choosing),
}
