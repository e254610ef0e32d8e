"""Our side of the comparisons, in a process of its own: a real IPython shell with the magics."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from worker import serve

BODY = """\
executable     = /bin/true
arguments      = $(x) $(y)
request_memory = 128MB
{more}
queue
"""


def shell() -> Any:
    """Return a started IPython."""
    from IPython.core.interactiveshell import InteractiveShell  # noqa: PLC0415

    return InteractiveShell.instance()


def load() -> dict[str, Any]:
    """Load the extension into a started IPython."""
    started = shell()
    began = time.perf_counter()
    started.run_line_magic("load_ext", "htcmagic")
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "bindings": sorted({"htcondor2", "classad2"} & set(sys.modules))}


def submit(jobs: int, more: str) -> dict[str, Any]:
    """Send many jobs with one cell: all of it, from text to the handle, is timed."""
    started = shell()
    started.user_ns["items"] = [{"x": n % 100, "y": n // 100} for n in range(jobs)]
    cell = f"%%condor --over items --name bench -o sent\n{BODY.format(more=more)}"
    began = time.perf_counter()
    started.run_cell(cell).raise_error()
    seconds = time.perf_counter() - began
    sent = started.user_ns["sent"]
    assert len(sent) == jobs
    return {"seconds": seconds, "cluster": sent.id, "folder": str(sent.run_dir.path)}


def queue(line: str) -> dict[str, Any]:
    """Ask for the queue; to the text, then to all that a notebook gets of it."""
    started = shell()
    began = time.perf_counter()
    answer = started.run_line_magic("condor_q", line)
    text = str(answer)
    seconds = time.perf_counter() - began
    data, _ = started.display_formatter.format(answer)
    return {"seconds": seconds, "shown": time.perf_counter() - began, "lines": text.count("\n"), "forms": sorted(data)}


def drawn(line: str) -> dict[str, Any]:
    """Ask for the queue; to its HTML, without its text."""
    started = shell()
    began = time.perf_counter()
    html = started.run_line_magic("condor_q", line)._repr_html_()
    return {"seconds": time.perf_counter() - began, "bytes": len(html)}


def latency() -> dict[str, Any]:
    """Send one job and wait for its result, told some time after the last event was written."""
    started = shell()
    heard: list[float] = []
    began = time.perf_counter()
    started.run_cell("%%condor -o sent\nexecutable = /bin/true\nqueue").raise_error()
    sent = started.user_ns["sent"]
    sent[0].add_done_callback(lambda _: heard.append(time.time()))
    sent[0].result(60)
    seconds = time.perf_counter() - began
    written = Path(sent.log).stat().st_mtime
    return {"seconds": seconds, "event_to_state": max(0.0, heard[0] - written)}


def many(jobs: int) -> dict[str, Any]:
    """Send short jobs with one cell and wait for all of them."""
    started = shell()
    began = time.perf_counter()
    started.run_cell(f"%%condor -o sent\nexecutable = /bin/true\nqueue {jobs}").raise_error()
    started.user_ns["sent"].results(300)
    return {"seconds": time.perf_counter() - began}


def still(seconds: float) -> dict[str, Any]:
    """Return the longest stall of a process that does nothing: what the machine itself is good for."""
    longest, until = 0.0, time.monotonic() + seconds
    while time.monotonic() < until:
        before = time.perf_counter()
        time.sleep(0.002)
        longest = max(longest, time.perf_counter() - before - 0.002)
    return {"seconds": longest}


if __name__ == "__main__":
    serve(load, submit, queue, drawn, latency, many, still)
