"""Functions in jobs: ours beside Parsl's and Dask's, on the same pool with as many workers."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import processes
from bar import Kernel
from pool import IDLE_S
from report import Row
from watching import keeper

if TYPE_CHECKING:
    from cases import Size
    from pool import Bench
    from worker import Worker

WORKERS = 2
CALLS = 1000
ALONE = 100
LARGE = 1 << 20
OUTSTANDING = 100_000
WAIT_S = 10
MB = 2**20 / 1e6
PEERS = {"parsl_calls": "Parsl", "dask_calls": "Dask"}
Times = dict[str, dict[str, list[float]]]
"""By measure, then by who."""


def calls(bench: Bench, size: Size) -> list[Row]:
    """Call a trivial function 1,000 times, from nothing and with warm workers; then get 1,000 large results."""
    number = size.jobs // 10
    times: Times = {}
    for turn in range(size.few):
        for who in ("map_calls", *PEERS):
            if who == "map_calls" or turn < max(1, size.few - 1):
                for measure, seconds in life(bench, who, 0 if turn else number).items():
                    times.setdefault(measure, {}).setdefault(who, []).extend(seconds)
    bench.rest()
    with bench.peers() as worker:
        one_each = worker.do("alone", calls=ALONE, folder=str(bench.folder))["seconds"] * CALLS / ALONE
    ours = times["cold"]["map_calls"]
    copies = tuple(times["cp"]["map_calls"])
    large = f"{number:,} results of 1 MiB, warm Executor"
    return [
        *compared(times, "cold", f"map(double, range({CALLS:,})) from nothing", 0.9),
        Row(
            f"the same | a job a call, HTMap's way, bare bindings, estimated from {ALONE}",
            tuple(ours),
            (one_each,),
            of="speedup",
        ),
        *compared(times, "first", "Executor, first result from nothing", 1.0),
        *compared(times, "submit", f"Executor, warm, {CALLS:,} x submit()", 1.0),
        *compared(times, "map", f"Executor, warm, map() of {CALLS:,}", 1.0),
        Row(
            f"{large} | cp -r of as many files, at half its rate", tuple(times["large"]["map_calls"]), copies, bound=2.0
        ),
        *compared(times, "large", large, None),
    ]


def life(bench: Bench, who: str, number: int) -> dict[str, list[float]]:
    """Let one of them map from nothing, then again start from nothing, to the first result and on with warm workers.

    The first time, it gets a number of large results, too.
    """
    with caller(bench, who) as worker:
        found = {"cold": [worker.do("cold", calls=CALLS, workers=WORKERS)["seconds"]]}
    with caller(bench, who) as worker:
        found["first"] = [begin(worker, who)]
        worker.do("warm", calls=CALLS)  # until all workers are there
        warm = [worker.do("warm", calls=CALLS) for _ in range(2)]
        for name in ("submit", "map"):
            found[name] = [each[name] for each in warm]
        for _ in range(0 if not number else 3 if who == "map_calls" else 1):
            found.setdefault("large", []).append(worker.do("large", calls=number, size=LARGE)["seconds"])
            if who == "map_calls":
                found.setdefault("cp", []).append(copied(bench.folder, number))
    return found


@contextmanager
def caller(bench: Bench, who: str) -> Iterator[Worker]:
    """Start a process on an idle pool, all imported; end what it has started."""
    bench.rest()
    with bench.ours(who) if who == "map_calls" else bench.peers(who) as worker:
        worker.do("ready")
        yield worker
        worker.do("end")


def begin(worker: Worker, who: str) -> float:
    """Start workers; return the seconds to the first result."""
    if who == "map_calls":
        return float(worker.do("first", workers=WORKERS)["seconds"])
    return float(worker.do("cold", calls=1, workers=WORKERS)["seconds"])


def compared(times: Times, measure: str, what: str, bound: float | None) -> list[Row]:
    """Compare with the faster of the peers; report the other."""
    by_who = times[measure]
    ours = tuple(by_who["map_calls"])
    order = sorted(PEERS, key=lambda who: median(by_who[who]))
    return [
        Row(f"{what} | {PEERS[who]}", ours, tuple(by_who[who]), bound=bound if who == order[0] else None)
        for who in order
    ]


def copied(folder: Path, number: int) -> float:
    """Return the seconds that it takes to copy files as large."""
    source, target = folder / "files", folder / f"copy-{time.time_ns()}"
    if not source.exists():
        source.mkdir()
        for n in range(number):
            (source / str(n)).write_bytes(n.to_bytes(4) * (LARGE // 4))
    began = time.perf_counter()
    subprocess.run(["cp", "-r", str(source), str(target)], check=True)
    seconds = time.perf_counter() - began
    subprocess.run(["rm", "-r", str(target)], check=True)
    return seconds


def outstanding(bench: Bench, size: Size) -> list[Row]:
    """Wait for 100,000 items: memory of the kernel, and share of a core."""
    number = size.jobs * 10
    rows = []
    for what, code in (
        ("map()", f"waited = htcmagic.map(double, range({number}), requirements='false')"),
        (
            "Executor",
            f"""executor = htcmagic.Executor(workers=1, requirements='false')
waited = [executor.submit(double, n) for n in range({number})]""",
        ),
    ):
        kernel = Kernel(bench.folder)
        try:
            kernel.run("%load_ext htcmagic\nimport htcmagic\ndef double(x):\n    return 2 * x")
            began = time.perf_counter()
            kernel.run(code)
            sent = time.perf_counter() - began
            time.sleep(3)
            share = waiting(kernel, "next(iter(waited))" if what == "map()" else "waited[0].result()")
            held = processes.memory(kernel.pid) * MB
        finally:
            kernel.stop()
        bench.clear()
        name = f"{number:,} items outstanding, {what}"
        rows += [
            Row(f"{name}: memory of the kernel", (held,), unit="MB", bound=300, of="ours"),
            Row(f"{name}: waiting, kernel and its children", (share,), unit="%", bound=2.0, of="ours"),
            Row(f"{name}: handing over", (sent,)),
        ]
    return [*rows, *working(bench)]


def working(bench: Bench) -> list[Row]:
    """Wait for two calls that take long: what the kernel does meanwhile, and what their workers do."""
    kernel = Kernel(bench.folder)
    try:
        kernel.run("import time, htcmagic\nexecutor = htcmagic.Executor(workers=2)")
        kernel.run("list(executor.map(abs, range(1000)))\nslow = [executor.submit(time.sleep, 60) for _ in range(2)]")
        time.sleep(3)
        workers = [pid for pid in processes.children(keeper()) if b".pyz\0pull" in processes.command(pid)]
        assert workers
        used = processes.cpu_seconds(*workers)
        share = waiting(kernel, "slow[0].result()")
        each = 100 * (processes.cpu_seconds(*workers) - used) / WAIT_S / 2
    finally:
        kernel.stop()
    bench.clear()
    return [
        Row("2 slow calls, Executor: waiting, kernel and its children", (share,), unit="%", bound=2.0, of="ours"),
        Row("the same: each worker, beside the call that it runs", (each,), unit="%"),
    ]


def waiting(kernel: Kernel, code: str) -> float:
    """Return what a cell that waits costs, in percent of a core."""
    kernel.client.execute(code)
    time.sleep(1)
    pids = [kernel.pid, *processes.children(kernel.pid)]
    before, began = processes.cpu_seconds(*pids), time.monotonic()
    time.sleep(WAIT_S)
    share = 100 * (processes.cpu_seconds(*pids) - before) / (time.monotonic() - began)
    kernel.manager.interrupt_kernel()
    return share


def cell(bench: Bench, size: Size) -> list[Row]:
    """Run a cell that does nothing, from an idle pool to its result; beside /bin/true, bare."""
    ours, peer = [], []
    bench.rest()
    with bench.ours("map_calls") as worker, bench.peers() as bare:
        worker.do("load")
        worker.do("cell")
        bare.do("latency", folder=str(bench.folder))
        for _ in range(max(3, size.runs - 2)):
            time.sleep(IDLE_S)
            ours.append(worker.do("cell")["seconds"])
            time.sleep(IDLE_S)
            peer.append(bare.do("latency", folder=str(bench.folder))["seconds"])
    return [
        Row(
            "%%condor_python, no-op to its result | /bin/true, bare submit and event log",
            tuple(ours),
            tuple(peer),
            bound=1.3,
        )
    ]
