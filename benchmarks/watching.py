"""Live views: what they cost a schedd and a kernel, how soon they show what happens, and a schedd that is frozen."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING

import live
import processes
from bar import Kernel, cpu_seconds
from ours import BODY
from report import Row

from htcmagic.pool import personal

if TYPE_CHECKING:
    from cases import Size
    from pool import Bench

HELD = "hold = true\nrequirements = false"
EVENTS = 8
FROZEN_S = 15
PERIOD_S = 2.0
WATCHERS = 10
PROBE = """
import threading, time
gaps, probing = [], threading.Event()
def probe():
    while not probing.is_set():
        before = time.perf_counter()
        time.sleep(0.002)
        gaps.append(time.perf_counter() - before - 0.002)
threading.Thread(target=probe, daemon=True).start()
"""
CELL = f"""
longest, until = 0.0, time.monotonic() + {FROZEN_S - 3}
while time.monotonic() < until:
    before = time.perf_counter()
    time.sleep(0.002)
    longest = max(longest, time.perf_counter() - before - 0.002)
"""


def own(bench: Bench, size: Size) -> list[Row]:
    """Watch one's own clusters, of 10,000 jobs in all."""
    told(bench)
    with kernel(bench, f"items = [{{'x': n, 'y': 0}} for n in range({size.jobs})]") as one:
        one.run(f"%%condor --over items --name watched -o sent\n{BODY.format(more=HELD)}")
        cluster, events = said(one, "sent.id"), Path(said(one, "sent.log"))
        one.run("%condor_watch --form html")
        with bench.peers() as actor:
            actor.do("bindings")
            before, began = live.queries(), time.monotonic()
            delays = []
            for number in range(EVENTS):
                time.sleep(0.2 * number)  # at any moment between two updates
                one.updates()
                actor.do("act", action="Release", ids=[f"{cluster}.{number}"])
                delays.append(shown(one, f"{size.jobs - number - 1:,} held") - events.stat().st_mtime)
            asked, watched = live.queries() - before, time.monotonic() - began
    bench.clear()
    seen = live.measure(bench, size.jobs, size.watch_s / 2, {name: live.VIEWS[name] for name in ("none", "own")})
    bench.clear()
    asked += sum(int(figures["queries"]) for figures in seen.values())
    watched += size.watch_s
    what = f"live view of {size.jobs:,} jobs of one's own"
    busy = f"at {live.EVENTS_PER_S} events a second"
    return [
        Row(f"{what}: queries to the schedd in {watched:.0f} s", (asked,), unit="queries", bound=0, of="ours"),
        Row(f"{what}: from the event in the log to the notebook", tuple(delays), bound=1.0, of="ours"),
        Row(f"{what}: the slowest of {EVENTS} events", (max(delays),), bound=1.0, of="ours"),
        *(
            Row(
                f"{what}: share of a core {when} | a kernel without",
                (seen[state]["own"],),
                (seen[state]["none"],),
                unit="%",
                bound=most,
                of="ours",
            )
            for state, when, most in (("rest", "at rest", 1.0), ("busy", busy, 10.0))
        ),
    ]


def frozen(bench: Bench, size: Size) -> list[Row]:  # noqa: ARG001
    """Watch a queue whose schedd is stopped."""
    with bench.peers() as sender:
        sender.do("submit", text=BODY.format(more=HELD).replace("queue\n", ""), jobs=100)
    (schedd,) = [p for p in processes.children(keeper()) if processes.name(p) == "condor_schedd"]
    with bench.ours() as plain, kernel(bench, PROBE) as one:
        one.run("%condor_q --watch --form html")
        time.sleep(3)
        one.run("gaps.clear()")
        os.kill(schedd, signal.SIGSTOP)
        try:
            with ThreadPoolExecutor(1) as beside:
                still = beside.submit(plain.do, "still", seconds=FROZEN_S - 3)
                one.run(CELL)
                nothing = still.result()["seconds"]
            deaf = interrupted(one, "%condor_q")
        finally:
            os.kill(schedd, signal.SIGCONT)
        stalled, cell_stalled = (float(said(one, name)) for name in ("max(gaps)", "longest"))
    bench.clear()
    what = f"schedd frozen for {FROZEN_S} s while its queue is watched"
    stalls = {"a thread of the kernel": stalled, "a running cell": cell_stalled}
    return [
        *(
            Row(f"{what}: longest stall of {where} | a plain Python", (ours,), (nothing,), bound=0.05, of="difference")
            for where, ours in stalls.items()
        ),
        Row(f"{what}: from Ctrl-C in %condor_q to its end", (deaf,), bound=0.5, of="ours"),
    ]


def ten(bench: Bench, size: Size) -> list[Row]:
    """Watch one queue from ten kernels."""
    with bench.peers() as sender:
        cluster = sender.do("submit", text=BODY.format(more=HELD).replace("queue\n", ""), jobs=100)["cluster"]
    told(bench)
    with contextlib.ExitStack() as stack, bench.peers() as actor:
        with ThreadPoolExecutor(WATCHERS) as starters:
            kernels = list(starters.map(lambda _: stack.enter_context(kernel(bench, "")), range(WATCHERS)))
        for one in kernels:
            one.run("%condor_q --watch --form html")
        time.sleep(PERIOD_S)
        for one in kernels:
            one.updates()
        before, began, used = live.queries(), time.monotonic(), sum(map(cpu_seconds, live.feeds()))
        actor.do("stir", cluster=cluster, rate=0.7, seconds=size.watch_s / 2)
        asked, took = live.queries() - before, time.monotonic() - began
        share = 100 * (sum(map(cpu_seconds, live.feeds())) - used) / took
        updates = min(one.updates() for one in kernels)
    bench.clear()
    assert updates >= 2, "a view does not move"
    what = f"{WATCHERS} kernels watch a queue that changes"
    return [
        Row(
            f"{what}: queries to the schedd | periods of {PERIOD_S:.0f} s",
            (asked,),
            (took / PERIOD_S,),
            unit="",
            bound=1.0,
        ),
        Row(f"{what}: share of a core of the process that asks for all", (share,), unit="%"),
    ]


@contextlib.contextmanager
def kernel(bench: Bench, code: str) -> Iterator[Kernel]:
    """Start a kernel with the magics."""
    one = Kernel(bench.folder)
    try:
        one.run(f"%load_ext htcmagic\n{code}")
        yield one
    finally:
        one.stop()


def said(one: Kernel, expression: str) -> str:
    """Return an expression's value, as text."""
    reply = one.client.execute("", user_expressions={"it": f"str({expression})"}, silent=True, store_history=False)
    content = one.client.get_shell_msg(timeout=30)
    while content["parent_header"]["msg_id"] != reply:
        content = one.client.get_shell_msg(timeout=30)
    text: str = content["content"]["user_expressions"]["it"]["data"]["text/plain"]
    return text.strip("'")


def shown(one: Kernel, text: str) -> float:
    """Wait until a view shows a text; return when."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(Empty):
            message = one.client.get_iopub_msg(timeout=1)
            if message["msg_type"] == "update_display_data" and text in message["content"]["data"]["text/html"]:
                return time.time()
    raise TimeoutError(f"no view shows {text!r}")


def interrupted(one: Kernel, code: str) -> float:
    """Return how long a cell goes on after Ctrl-C."""
    sent = one.client.execute(code)
    time.sleep(2)
    began = time.perf_counter()
    one.manager.interrupt_kernel()
    while one.client.get_shell_msg(timeout=60)["parent_header"]["msg_id"] != sent:
        pass
    return time.perf_counter() - began


def keeper() -> int:
    """Return the process that all of the pool's belong to."""
    pid = personal.status().keeper_pid
    assert pid is not None
    return pid


def told(bench: Bench) -> None:
    """Have the schedd log what it is asked."""
    live.note_commands(bench)
    before, until = live.queries(), time.monotonic() + 20
    while live.queries() == before:
        assert time.monotonic() < until, "the schedd does not tell"
        bench.tool("condor_q")
        time.sleep(0.2)
    time.sleep(0.5)  # what was asked last is in the log, too
