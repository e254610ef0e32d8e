"""What the live progress bar of a large cluster costs a kernel while nothing happens."""

from __future__ import annotations

import os
import time
from pathlib import Path
from queue import Empty
from typing import Any

from jupyter_client.manager import KernelManager
from ours import BODY
from pool import Bench

TICKS_S = os.sysconf("SC_CLK_TCK")
SETTLE_S = 3.0


class Kernel:
    """A real kernel of this environment."""

    def __init__(self, folder: Path) -> None:
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(cwd=str(folder), extra_arguments=["--log-level=ERROR"])
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        self.pid = int(self.manager.provisioner.pid)

    def run(self, code: str) -> None:
        """Execute a cell."""
        reply = self.client.execute_interactive(code, timeout=120, output_hook=lambda _: None)["content"]
        if reply["status"] != "ok":
            raise RuntimeError(f"{reply['ename']}: {reply['evalue']}")

    def updates(self) -> int:
        """Return how many times a view has been updated since this was asked last."""
        number = 0
        while True:
            try:
                message = self.client.get_iopub_msg(timeout=0)
            except Empty:
                return number
            number += message["msg_type"] == "update_display_data"

    def stop(self) -> None:
        """End it."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()


def cpu_seconds(root: int) -> float:
    """Return the processor time used so far by a process and its descendants."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
            ticks[int(entry.name)] = int(fields[11]) + int(fields[12])
    family = {root}
    while True:
        more = {pid for pid, parent in parents.items() if parent in family} - family
        if not more:
            return sum(ticks.get(pid, 0) for pid in family) / TICKS_S
        family |= more


def measure(bench: Bench, jobs: int, seconds: float) -> dict[str, Any]:
    """Return the share of a core, in percent, of kernels with and without a bar, all in the same seconds.

    The bars are at their liveliest: the first minute, when they show seconds.
    """
    states = ("none", "idle", "held")
    kernels: dict[str, Kernel] = {}
    try:
        for name in states:
            kernels[name] = kernel = Kernel(bench.folder)
            kernel.run("%load_ext htcmagic")
            kernel.run("%condor_q")  # with or without a bar, its door is open
            if name != "none":
                kernel.run(f"items = [{{'x': n % 100, 'y': n // 100}} for n in range({jobs})]")
                kernel.run(f"%%condor --over items --name bar -o sent\n{BODY.format(more='requirements = false')}")
                kernel.run("sent")
        kernels["held"].run("sent.hold()")
        time.sleep(SETTLE_S)  # until the log's events are read
        for name in ("idle", "held"):
            kernels[name].run(f"assert sent.status[{name!r}] == {jobs}, sent")
            kernels[name].updates()
        before, began = {name: cpu_seconds(kernel.pid) for name, kernel in kernels.items()}, time.monotonic()
        time.sleep(seconds)
        after, took = {name: cpu_seconds(kernel.pid) for name, kernel in kernels.items()}, time.monotonic() - began
        shares: dict[str, Any] = {name: 100 * (after[name] - before[name]) / took for name in states}
        shares["updates"] = min(kernels[name].updates() for name in ("idle", "held"))
    finally:
        for kernel in kernels.values():
            kernel.stop()
    return shares
