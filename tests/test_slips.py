"""What a newcomer gets wrong or finds odd in the first half hour, and what is said to that."""

from __future__ import annotations

import os
import re
import signal

import pools
import pytest
from conftest import Kernel

from htcmagic.jobs import description
from htcmagic.pool import personal


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("arguement = hi", "arguments"),
        ("requst_cpus = 2", "request_cpus"),
        ("request_memroy = 64MB", "request_memory"),
        ("foo = 3", ""),
    ],
)
def test_a_name_that_nothing_uses_is_a_slip(line, meant):
    name = line.partition(" ")[0]
    body = description.split(f"executable = /bin/true\n{line}\nqueue")
    assert description.unused({"executable": "/bin/true", name: "x"}, body) == [(name, meant)]


@pytest.mark.parametrize(
    "keys",
    [
        {"MY.Anything": "1"},
        {"RequestMemory": "1"},
        {"request_bananas": "1"},
        {"seed": "1", "arguments": "$(seed)"},
        {"output": "a", "error": "b", "log": "c", "hold": "true", "Universe": "vanilla"},
    ],
)
def test_what_htcondor_knows_or_the_cell_uses_is_none(keys):
    body = description.split("\n".join(f"{name} = {value}" for name, value in keys.items()))
    assert description.unused(keys, body) == []


def test_a_slip_is_told_and_the_jobs_are_sent(kernel):
    outcome = kernel.run("%%condor --hold -o c\nexecutable = /bin/true\narguement = hi")
    assert outcome.text == (
        "Warning: line 2: arguement is no submit command, and nothing uses it. Did you mean arguments?\n"
    )
    assert kernel.run("print(c.rm())").text == "1\n"


@pytest.mark.parametrize(
    ("options", "queue", "jobs"),
    [
        ("--over grid", "queue 2", 6),
        ("--over grid -n 2", "queue", 6),
        ("-n 2", "queue x in (a, b)", 4),
        ("-n 2", "", 2),
        ("", "queue 3", 3),
    ],
)
def test_counts_multiply_items(kernel, options, queue, jobs):
    kernel.run("grid = ['a', 'b', 'c']")
    outcome = kernel.run(f"%%condor --hold -o c {options}\nexecutable = /bin/true\narguments = x\n{queue}")
    assert outcome.error is None, outcome.error
    assert kernel.run("print(len(c), c.rm())").text == f"{jobs} {jobs}\n"


@pytest.mark.parametrize("options", ["-n 2", "-n 2 --over grid"])
def test_two_counts_contradict(kernel, options):
    kernel.run("grid = ['a', 'b', 'c']")
    outcome = kernel.run(f"%%condor {options}\nexecutable = /bin/true\nqueue 3")
    assert outcome.error is not None
    assert outcome.error[1].startswith("--count 2 and queue 3 both say how many jobs.")


def test_a_missing_output_folder_is_told_before_the_jobs_are_held(kernel, notebook_dir):
    cell = "%%condor --hold -o c\nexecutable = /bin/true\noutput = made later/$(Process).txt"
    outcome = kernel.run(cell)
    assert outcome.error is not None
    assert "!mkdir -p 'made later'" in outcome.error[1]
    (notebook_dir / "made later").mkdir()
    assert kernel.run(cell).error is None
    kernel.run("c.rm()")


@pytest.mark.parametrize("word", ["c", "sleepy"])
def test_jobs_are_named_by_variable_or_batch_name(kernel, word):
    kernel.run("%%condor -o c --name sleepy --hold\nexecutable = /bin/sleep\narguments = 300")
    assert kernel.run(f"%condor_release {word}").text == "1 job released.\n"
    assert kernel.run(f"%condor_hold {word}").text == "1 job put on hold.\n"
    assert kernel.run(f"%condor_rm {word}").text == "1 job marked for removal.\n"


def test_a_result_that_does_not_come_says_why(kernel):
    kernel.run("%%condor -o c --hold\nexecutable = /bin/true")
    outcome = kernel.run("c[0].result(0.1)")
    assert outcome.error is not None
    name, said, _ = outcome.error
    assert name == "TimedOut"
    assert re.match(r"Job \d+\.0 is held: submitted on hold", said)
    assert ".release()" in said
    kernel.run("c.rm('enough')")
    outcome = kernel.run("c.results(20)")
    assert outcome.error is not None
    assert outcome.error[0] == "JobRemoved"
    assert "enough" in outcome.error[1]


def test_jobs_of_a_purged_pool_are_gone_and_a_killed_one_comes_back(tmp_path):
    with pools.at_home(tmp_path / "h"):
        kernel = Kernel(tmp_path)
        try:
            kernel.run("%load_ext htcmagic")
            kernel.run("%%condor -o c\nexecutable = /bin/sleep\narguments = 2")
            status = personal.status()
            assert status.keeper_pid
            os.kill(status.keeper_pid, signal.SIGKILL)  # and nobody asks the schedd anything
            assert kernel.run("c.wait(120); print(c.status['done'])", timeout=150).text == "1\n"
            kernel.run("%%condor -o d\nexecutable = /bin/sleep\narguments = 1000")
            personal.down(purge=True)
            assert kernel.run("d.wait(20); print(d.status['removed'])").text == "1\n"
            assert "the personal pool was purged" in kernel.run("d[0].exception()").result
            assert kernel.run("%condor_pool down").error is None
            refused = kernel.run("%condor_q").error
            assert refused is not None
            assert "%condor_pool up" in refused[1]
            assert kernel.run("%condor_pool up").error is None
            assert kernel.run("%condor_q").error is None
        finally:
            kernel.stop()
