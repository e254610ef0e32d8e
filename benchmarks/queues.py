"""Looking at the queue once: %condor_q beside condor_q, in time and in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import processes
from ours import BODY
from report import Row

if TYPE_CHECKING:
    from cases import Size
    from pool import Bench
    from worker import Worker

AT_ONCE = 10_000
"""Jobs a submission; a schedd takes 20,000."""
HELD = "hold = true"


def queue(bench: Bench, size: Size) -> list[Row]:
    """Look at 10,000 jobs."""
    with bench.ours() as sender:
        sender.do("load")
        sender.do("submit", jobs=size.jobs, more=HELD)
    rows = [row for line in ("-nobatch", "") for row in looks(bench, line, size.jobs, size.runs)]
    bench.clear()
    return rows


def queue_large(bench: Bench, size: Size) -> list[Row]:
    """Look at 100,000 jobs: sending them takes half a minute."""
    text = BODY.format(more=HELD).replace("queue\n", "")
    with bench.peers() as sender:
        for _ in range(10):
            sender.do("submit", text=text, jobs=size.jobs)
    rows = [row for line in ("-nobatch", "") for row in looks(bench, line, 10 * size.jobs, max(1, size.few - 1))]
    bench.clear()
    return rows


def looks(bench: Bench, line: str, jobs: int, runs: int) -> list[Row]:
    """Time one view, from the question to its text, or to its HTML."""
    name, peer_name = f"%condor_q {line}".strip(), f"condor_q {line}".strip()
    ours, drawn, shown, peer, peak = [], [], [], [], []
    with bench.ours() as worker:
        worker.do("load")
        first = worker.do("queue", line=line)["seconds"]
        for _ in range(runs):
            seen = worker.do("queue", line=line)
            assert not line or seen["lines"] > jobs
            ours.append(seen["seconds"])
            shown.append(seen["shown"])
            seconds, mib = bench.measured("condor_q", *line.split())
            peer.append(seconds)
            peak.append(mib)
            drawn.append(worker.do("drawn", line=line)["seconds"])
    grown = tuple(growth(bench, line) for _ in range(min(runs, 2)))
    what = f"{name}, {jobs:,} jobs"
    return [
        Row(f"{what}, text | {peer_name}", tuple(ours), tuple(peer), bound=1.5),
        Row(f"{what}, HTML | {peer_name}", tuple(drawn), tuple(peer), bound=1.2),
        Row(f"{what}, text and HTML | {peer_name}", tuple(shown), tuple(peer)),
        Row(f"{what}, first call, with connecting | {peer_name}", (first,), tuple(peer)),
        Row(f"{what}, most memory, kernel and child | {peer_name}", grown, tuple(peak), unit="MiB", bound=2.0),
    ]


def growth(bench: Bench, line: str) -> float:
    """Return by how much a fresh kernel and the child that asks for it grow at most, in MiB."""
    with bench.ours() as worker:
        worker.do("load")
        worker.do("queue", line=f"{line} 999999")  # nothing: connected, all that is needed imported
        pids = family(worker)
        before = {pid: processes.memory(pid) for pid in pids}
        for pid in pids:
            processes.forget(pid)
        worker.do("queue", line=line)
        return sum(processes.memory(pid, "VmHWM") - before[pid] for pid in pids)


def family(worker: Worker) -> list[int]:
    """Return a process and its descendants."""
    return [worker.process.pid, *processes.children(worker.process.pid)]
