"""What the live view costs: the kernel that shows it, the feed that asks for it, and the schedd that is asked."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bar import SETTLE_S, Kernel, cpu_seconds
from ours import BODY
from pool import Bench

from htcmagic import places

EVENTS_PER_S = 20
VIEWS = {"none": "pass", "own": "%condor_watch live", "queue": "%condor_q --watch"}
"""What is measured: a kernel that shows nothing, own clusters by their logs, the queue by the feed."""
STIR = """
import itertools, sys, time, htcondor2
schedd, cluster, jobs, rate = htcondor2.Schedd(), int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
began = time.monotonic()
for number in itertools.count():
    action = htcondor2.JobAction.Hold if number // jobs % 2 == 0 else htcondor2.JobAction.Release
    schedd.act(action, [f"{cluster}.{number % jobs}"], reason=("stirred", 0))
    time.sleep(max(0.0, began + (number + 1) / rate - time.monotonic()))
"""
"""Makes so many events a second, each by a command of its own."""


def measure(bench: Bench, jobs: int, seconds: float, views: dict[str, str] | None = None) -> dict[str, Any]:
    """Return shares of a core, in percent, of kernels with and without a view of idle jobs, all in the same seconds.

    Parameters
    ----------
    bench : Bench
        The pool.
    jobs : int
        How many.
    seconds : float
        How long it is looked, at rest and again with `EVENTS_PER_S`.
    views : dict, optional
        Name and cell of what is looked at; `VIEWS` if not given.

    Returns
    -------
    dict
        ``rest`` and ``busy``: a dict each of view to share, with ``feed`` (the process that asks, and its child) and
        ``queries`` (how many the schedd has answered in that time) beside them.
    """
    views = VIEWS if views is None else views
    note_commands(bench)
    kernels: dict[str, Kernel] = {}
    try:
        sender = kernels["sender"] = Kernel(bench.folder)
        sender.run("%load_ext htcmagic")
        sender.run(f"items = [{{'x': n % 100, 'y': n // 100}} for n in range({jobs})]")
        sender.run(f"%%condor --over items --name live -o sent\n{BODY.format(more='requirements = false')}")
        cluster = bench.tool("condor_q", "-limit", "1", "-af", "ClusterId").strip()
        sender.stop()
        del kernels["sender"]
        for name, cell in views.items():
            kernels[name] = kernel = Kernel(bench.folder)
            kernel.run("%load_ext htcmagic")
            kernel.run("import htcmagic; htcmagic.clusters(limit=1)" if name == "none" else cell)
        time.sleep(SETTLE_S)
        figures = {"rest": _shares(kernels, seconds)}
        stirrer = [sys.executable, "-c", STIR, cluster, str(jobs), str(EVENTS_PER_S)]
        with subprocess.Popen(stirrer, env=bench.env) as process:
            try:
                time.sleep(SETTLE_S)
                figures["busy"] = _shares(kernels, seconds)
                assert process.poll() is None, "nothing is stirred any more"
            finally:
                process.kill()
    finally:
        for kernel in kernels.values():
            kernel.stop()
    return figures


def _shares(kernels: dict[str, Kernel], seconds: float) -> dict[str, float]:
    roots = {name: kernel.pid for name, kernel in kernels.items()}
    for number, pid in enumerate(feeds()):
        roots["feed" if not number else f"feed {number + 1}"] = pid
    asked = queries()
    before, began = {name: cpu_seconds(pid) for name, pid in roots.items()}, time.monotonic()
    time.sleep(seconds)
    after, took = {name: cpu_seconds(pid) for name, pid in roots.items()}, time.monotonic() - began
    shares: dict[str, float] = {name: 100 * (after[name] - before[name]) / took for name in roots}
    return {**shares, "queries": queries() - asked}


def note_commands(bench: Bench) -> None:
    """Have the schedd write each command that it gets into its log."""
    (places.pool_dir() / "config.d" / "commands.conf").write_text("SCHEDD_DEBUG = D_COMMAND\n")
    bench.tool("condor_reconfig")
    time.sleep(1)


def queries() -> int:
    """Return how many queries the schedd has answered, by its own log."""
    log = (places.pool_dir() / "log" / "SchedLog").read_text(errors="replace")
    return len(re.findall(r"\(QUERY_JOB_ADS\w*\)", log))


def feeds() -> list[int]:
    """Return the processes of this user's feeds."""
    mark = str(places.feed_dir()).encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"htcmagic.pool.feed_server" in words and mark in words:
                found.append(int(entry.name))
    return found


if __name__ == "__main__":
    from pool import bench as opened

    with opened() as pool:
        for state, figures in measure(pool, int(sys.argv[1]), float(sys.argv[2])).items():
            print(state, {name: round(value, 2) for name, value in figures.items()})
