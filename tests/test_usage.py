"""What jobs asked for and used: real jobs of a real pool, from event logs and from the history; and the advice."""

from __future__ import annotations

import os
import re
import signal

import pytest
from conftest import Kernel
from pools import at_home, daemon, eventually, tool

from htcmagic import places
from htcmagic.errors import HTCMagicError, NoSuchJob
from htcmagic.jobs.model import JobId
from htcmagic.pool import resolve
from htcmagic.queue.usage import Usage, usage
from htcmagic.queue.usage_jobs import ATTRIBUTES, JobUse, from_rows, from_story

CONFIG = """
NUM_CPUS = 8
MEMORY = 8192
PID_SNAPSHOT_INTERVAL = 1
MAX_PID_SNAPSHOT_INTERVAL = 1
STARTER_INITIAL_UPDATE_INTERVAL = 1
STARTER_UPDATE_INTERVAL = 1
"""
EAT = """
import sys, time
held = bytearray(int(sys.argv[1]) << 20)
held[::4096] = bytes(len(held[::4096])).replace(b"\\0", b"x")
end = time.time() + 2.5
while time.time() < end:
    pass
sys.exit(int(sys.argv[2]))
"""
CELL = """%%condor --name eat
executable = /usr/bin/python3
transfer_executable = false
arguments = {script} $(mib) $(code)
request_memory = 512MB
request_disk = 100MB
queue mib, code from (
20, 0
60, 0
100, 1
)"""


@pytest.fixture(scope="module")
def eaten(session_home, tmp_path_factory):
    """Stand in a pool where three jobs have used known amounts of memory; a kernel beside it."""
    folder = tmp_path_factory.mktemp("usage")
    script = folder / "eat.py"
    script.write_text(EAT)
    with at_home(folder / "home", CONFIG):
        resolve.choose(resolve.personal_pool())
        kernel = Kernel(folder)
        try:
            assert kernel.run("%load_ext htcmagic").error is None
            assert kernel.run(CELL.format(script=script)).error is None
            said = kernel.run("%condor_wait eat")
            assert said.error is None, said.error
            eventually(lambda: len(tool("condor_history", "-af", "ProcId").stdout.split()) == 3)
            yield kernel
        finally:
            kernel.stop()


def test_the_magic_tells_from_the_log_alone_what_jobs_used(eaten):
    schedd = daemon(places.pool_dir(), "schedd")
    os.kill(schedd, signal.SIGSTOP)
    try:
        outcome = eaten.run("used = %condor_usage eat\nused", timeout=20)
    finally:
        os.kill(schedd, signal.SIGCONT)
    assert outcome.error is None, outcome.error
    text, html = outcome.data[-1]["text/plain"], outcome.data[-1]["text/html"]
    assert re.match(r"eat \(\d+\): 3 jobs that ran, from the event log\n", text)
    assert "request_memory = 256MB" in text
    assert "too few to rely on" in text
    assert "request_memory = 256MB" in html


def test_log_and_history_agree(eaten):
    from_log, from_history = usage("eat"), usage(constraint='JobBatchName == "eat"')
    assert from_log.sources == ["the event log"]
    assert from_history.sources == ["the history"]
    for told in (from_log, from_history):
        memory = told.measure("memory")
        assert (memory.jobs, memory.asked_min, memory.asked_max) == (3, 512, 512)
        assert memory.min >= 20
        assert 100 <= memory.max < 150
        assert 60 <= memory.median < 100
        assert told.measure("cpus").jobs == 0  # of such short jobs HTCondor hardly counts any
        assert told.measure("disk").asked_max == 100
        assert sorted(job.state for job in told.jobs) == ["done", "done", "failed"]
    history = sorted((job.job, job.memory_used_mib) for job in from_history.jobs)
    assert sorted((job.job, job.memory_used_mib) for job in from_log.jobs) == history


def test_it_is_data(eaten):
    told = usage("eat")
    assert told.to_dict()["measures"]["memory"]["asked_max"] == 512
    frame = told.to_dataframe()
    assert len(frame) == 3
    assert frame["memory_used_mib"].max() == told.measure("memory").max


def test_single_jobs_and_limits(eaten):
    cluster = usage("eat").jobs[0].job.cluster
    assert [job.job for job in usage(f"{cluster}.1").jobs] == [JobId(cluster, 1)]
    limited = usage(constraint='JobBatchName == "eat"', limit=2)
    assert len(limited.jobs) == 2
    assert "newest 2" in str(limited)


def test_what_cannot_be_told_says_so_in_two_lines(eaten):
    with pytest.raises(NoSuchJob, match="No job was found for this: nothing-like-it") as unknown:
        usage("nothing-like-it")
    assert len(str(unknown.value).splitlines()) == 2
    assert eaten.run("%%condor --name later --hold\nexecutable = /bin/true").error is None
    with pytest.raises(HTCMagicError, match=r"No job of later \(\d+\) has run yet: 1 held") as early:
        usage("later")
    assert "Ask again when" in early.value.hint
    wrong = eaten.run("%condor_usage eat -constraint true")
    assert "not both" in wrong.text + str(wrong.error)


def jobs(used, *, asked=4096.0, state="done", **fields):
    return [
        JobUse(JobId(7, n), state, asked, float(mib), 100.0, 5.0, 1.0, 3000.0, 3600.0, **fields)
        for n, mib in enumerate(used)
    ]


@pytest.mark.parametrize(
    ("used", "line"),
    [
        ([900] * 100, "request_memory = 1152MB"),
        ([900] * 99 + [3000], "request_memory = 1152MB"),  # one outlier in a hundred: named
        ([900] * 97 + [3000] * 3, "request_memory = 3GB"),  # as much as the largest that went well
        ([30] * 100, "request_memory = 64MB"),
        ([3600] * 50, "request_memory = 4608MB"),
        ([3400] * 50, "request_memory = 4GB"),  # rounding is no reason to ask for more
        ([100_000] * 50, "request_memory = 118GB"),
    ],
)
def test_the_advice_on_memory(used, line):
    told = Usage("some", jobs(used))
    assert told.submit_lines[0] == line
    assert ("too little for 7.99" in told.advice[0].says) == (used[-1] == 3000 and used[-2] == 900)


def test_jobs_stopped_for_their_memory_raise_the_advice():
    stopped = jobs([4200] * 10, state="held", over_memory=True)
    told = Usage("some", [*jobs([900] * 90), *stopped])
    assert told.submit_lines[0] == "request_memory = 6656MB"
    assert "Held for too much memory: 10 jobs: 7.0 (asked 4 GB, seen with 4.1 GB)" in str(told)
    assert told.wasted["core_hours_failed"] == 10


def test_wasted_hours():
    told = Usage("some", jobs([1024] * 12)).wasted
    assert told["core_hours"] == pytest.approx(12)
    assert told["core_hours_wasted"] == pytest.approx(12 * 600 / 3600)
    assert told["memory_gib_hours_wasted"] == pytest.approx(36)


def test_a_hold_and_a_second_run_in_a_log():
    slot = ((2, 1024, 2048),)
    story = {
        "events": [
            (0, 0, 100.0, ()),
            (1, 0, 110.0, slot),
            (12, 0, 170.0, (34, "memory usage exceeded request_memory")),
            (13, 0, 200.0, ()),
            (1, 0, 210.0, slot),
            (5, 0, 310.0, (True, 0, "Usr 0 00:02:00, Sys 0 00:00:08", 700, 1024, 2, 1024, 2048)),
            (0, 1, 100.0, ()),
            (1, 1, 110.0, ((2, 4096, 2048),)),  # a slot larger than what was asked for
        ],
        "memory_mib": {0: 900, 1: 50},
        "partial": False,
    }
    first, second = from_story(3, story, now=130.0)
    assert (first.wall_s, first.cpu_s, first.memory_used_mib, first.over_memory) == (160.0, 128.0, 900.0, True)
    assert first.cores_used == 0.8
    assert (second.state, second.wall_s, second.memory_asked_mib, second.memory_used_mib) == ("running", 20, 1024, 50)


def test_ads_without_sense_do_no_harm():
    nothing = (3, 1, *[None] * (len(ATTRIBUTES) - 2))
    nonsense = (3, 2, *["<b>"] * (len(ATTRIBUTES) - 2))
    huge = (3, 3, 4, *[1e300] * (len(ATTRIBUTES) - 3))
    assert [job.ran for job in from_rows([nothing, nonsense])] == [False, False]
    told = Usage("<script>\x1b[31m", from_rows([nothing, nonsense, huge]))
    assert "<script>" not in told._repr_html_()
    assert "\x1b" not in str(told)
    assert told.measure("memory").jobs == 0
