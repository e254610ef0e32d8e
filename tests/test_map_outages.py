"""Maps whose schedd or kernel dies, that two sessions use at once, whose user interrupts."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pools import eventually

import htcmagic
from htcmagic import places
from htcmagic.functions import mapping, tags
from htcmagic.functions.maprun import Run
from htcmagic.functions.tags import MapDir

PATIENCE_S = 60


@pytest.fixture(autouse=True)
def swept(pool: Any) -> Iterator[None]:
    """Leave no map behind."""
    yield
    for one in list(mapping._loaded.values()):
        one.delete()
    for tag in tags.known():
        htcmagic.load(tag).delete()
    assert [each.name for each in tags.home().iterdir()] == [] if tags.home().exists() else True


def fresh(tag: str) -> Any:
    """Load a map as another session would."""
    folder = MapDir.of(tag)
    assert folder is not None
    run = Run(folder)
    run.refresh()
    return mapping.Map(run)


def schedd_pid() -> int:
    mark = f"CONDOR_CONFIG={places.pool_dir()}/".encode()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if (entry / "comm").read_text() == "condor_schedd\n" and mark in (entry / "environ").read_bytes():
                return int(entry.name)
    pytest.fail("there is no schedd")


@pytest.mark.parametrize("chunk", ["auto", pytest.param(5, marks=pytest.mark.slow)])
def test_a_schedd_that_is_killed_changes_nothing(chunk):
    def work(x):
        import time as clock

        clock.sleep(0.2)
        return x

    made = htcmagic.map(work, range(20), chunk=chunk)
    eventually(lambda: made.status["running"], PATIENCE_S)
    os.kill(schedd_pid(), signal.SIGKILL)
    assert made.results(PATIENCE_S) == list(range(20))


SENT = """
import htcmagic, pathlib, time
def work(x):
    time.sleep(0.1)
    if x == 9: raise ValueError("nine")
    return x
m = htcmagic.map(work, range(40), tag="survivor", chunk={chunk!r})
print(m.tag)
"""


@pytest.mark.parametrize("chunk", ["auto", pytest.param(4, marks=pytest.mark.slow)])
def test_a_killed_kernel_loses_nothing(start_kernel, chunk):
    first = start_kernel()
    assert first.run(SENT.format(chunk=chunk)).text == "survivor\n"
    os.kill(first.manager.provisioner.pid, signal.SIGKILL)
    second = start_kernel()
    found = second.run(
        "import htcmagic; m = htcmagic.load('survivor').wait(60)\n"
        "print(m.status['done'], list(m.errors), m[39], m.errors[9])\nm.rerun().wait(60); print(len(m.errors), m)"
    )
    assert found.error is None, found.error
    assert found.text.startswith("39 [9] 39 nine\n1 survivor (")
    assert second.run("m.delete()").error is None


def test_two_sessions_at_the_same_map(start_kernel):
    first, second = start_kernel(), start_kernel()
    first.run(SENT.format(chunk="auto"))
    both = "import htcmagic; m = htcmagic.load('survivor'); m.wait(60); print(m.status['done'], m.status['failed'])"
    assert second.run(both).text == "39 1\n"
    assert first.run(both).text == "39 1\n"
    first.run("m.rerun(request_memory='500MB').wait(60)")
    assert second.run("m.refresh(); print(len(m.clusters), m.wait(60).status['failed'])").text == "2 1\n"
    refused = second.run("htcmagic.map(print, [1], tag='survivor')")
    assert refused.error[0] == "HTCMagicError"
    assert len(refused.error[2].splitlines()) == 2
    assert second.run("htcmagic.map(abs, [-1], tag='survivor', overwrite=True).results()").result == "[1]"
    assert first.run("htcmagic.load('survivor').results()").result == "[1]"
    stale = first.run("m[0]")
    assert stale.error[0] == "ResultMissing"
    assert second.run("htcmagic.load('survivor').delete()").error is None


def test_an_interrupt_stops_the_waiting_and_two_remove_the_jobs(kernel):
    kernel.run("import htcmagic, time\nm = htcmagic.map(time.sleep, [60] * 3, tag='long')")
    kernel.run("m.results()", send_only=True)
    time.sleep(1)
    kernel.manager.interrupt_kernel()
    once = kernel.collect()
    assert once.text == "Stopped waiting. To remove the jobs, too: interrupt again within 2 s.\n"
    assert once.error[0] == "Interrupted"
    assert once.error[2].splitlines() == [
        "Interrupted: Stopped waiting; the jobs go on.",
        "To remove them: htcmagic.load('long').rm()",
    ]
    assert kernel.run("m.status['removed']").result == "0"
    kernel.run("for r in m: pass", send_only=True)
    time.sleep(1)
    kernel.manager.interrupt_kernel()
    time.sleep(0.7)
    kernel.manager.interrupt_kernel()
    twice = kernel.collect()
    assert twice.error[2].splitlines() == ["Interrupted: Stopped waiting, and removed the jobs."]
    assert kernel.run("m.wait(60).status['removed']").result == "3"
    assert kernel.run("m.delete()").error is None
