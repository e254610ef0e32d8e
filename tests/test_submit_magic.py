"""``%%condor`` in a real kernel on a real pool: what a user sees."""

from __future__ import annotations

import os
import signal
import time

import pytest


def test_a_cell_becomes_jobs_and_their_output_comes_back(kernel):
    kernel.run("grid = [{'x': 1, 'y': 2.5}, {'x': 'a b', 'y': '$(HOME)'}, {'x': 'é', 'y': '#c'}]; foo = 'bar'")
    sent = kernel.run(
        "%%condor --over grid --name scan -o scan\n"
        "executable     = /bin/echo\n"
        "arguments      = $(x) $(y) $(foo)\n"
        "request_memory = 64MB\n"
        "+IsMediumJob   = true\n"
        "queue"
    )
    assert sent.error is None
    assert "$(foo) = bar (from the notebook)" in sent.text
    assert sent.result.startswith("scan (")
    assert "3 jobs" in sent.result
    waited = kernel.run("scan.wait(60); print([job.stdout() for job in scan], scan.status['done'])")
    assert waited.text == "['1 2.5 bar\\n', 'a b $(HOME) bar\\n', 'é #c bar\\n'] 3\n"


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("%%condor\nexecutable = /bin/true\nfoo bar", "line 2: foo bar is not of the form"),
        ("%%condor\nexecutable = /bin/true\narguments = $(nowhere)", "line 2: the macro $(nowhere) is not defined"),
        ("%%condor\nexecutable = nothing.sh", "the executable nothing.sh does not exist"),
        ("%%condor --ovr x\nexecutable = /bin/true", "%condor has no option --ovr. Did you mean --over?"),
    ],
)
def test_a_slip_is_told_in_two_lines_and_nothing_is_sent(kernel, cell, said):
    before = kernel.run("import htcmagic; print(len(htcmagic.clusters()))").text
    outcome = kernel.run(cell)
    shown = outcome.text + (outcome.error[2] if outcome.error else "")
    assert said in shown
    assert len(shown.strip().splitlines()) <= 2
    assert kernel.run("print(len(htcmagic.clusters()))").text == before


@pytest.mark.parametrize("waiting", ["sleeper.wait()", "%condor_wait sleeper"])
def test_an_interrupted_wait_says_that_the_jobs_go_on(kernel, waiting):
    kernel.run("%%condor -o sleeper\nexecutable = /bin/sleep\narguments = 300")
    kernel.run(waiting, send_only=True)
    time.sleep(1.5)
    kernel.manager.interrupt_kernel()
    outcome = kernel.collect(20)
    assert outcome.error is not None
    name, _, shown = outcome.error
    assert name == "Interrupted"
    assert "the jobs go on" in shown
    assert len(shown.strip().splitlines()) == 2
    assert kernel.run("print(sleeper.status['removed'], sleeper.rm())").text == "0 1\n"


def test_an_interrupted_look_at_a_frozen_queue_is_told_in_a_line(kernel, real):
    address = real("condor_q").stdout  # the schedd answers
    assert "Schedd" in address
    kernel.run("%condor_q")
    pids = kernel.run(FROZEN).text
    try:
        kernel.run("%condor_q", send_only=True)
        time.sleep(1.0)
        kernel.manager.interrupt_kernel()
        outcome = kernel.collect(10)
        assert outcome.error is not None
        assert outcome.error[0] == "Interrupted"
        assert len(outcome.error[2].strip().splitlines()) == 1
    finally:
        for pid in pids.split():
            os.kill(int(pid), signal.SIGCONT)
    assert kernel.run("%condor_q").error is None


FROZEN = """
import os, signal
from pathlib import Path
from htcmagic.pool import personal
for entry in Path("/proc").iterdir():
    if entry.name.isdigit():
        try:
            words, env = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
        except OSError:
            continue
        if b"condor_schedd" in words and os.fsencode(f"CONDOR_CONFIG={personal.config_file()}") in env:
            os.kill(int(entry.name), signal.SIGSTOP)
            print(entry.name)
"""
