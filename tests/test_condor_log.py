"""``%condor_log`` in a real kernel: any event log as a table, and followed while jobs run."""

from __future__ import annotations

import time

import pytest
from conftest import Kernel

from htcmagic.errors import HTCMagicError
from htcmagic.queue.eventlog import EventLog

HOSTILE = """000 (017.000.000) 2026-11-21 04:29:44 Job submitted from host: <10.0.0.1:9618?alias=ap1>
...
012 (017.000.000) 2026-11-21 04:29:45 Job was held.
\t<script>alert(1)</script>\x1b[31mred
\tCode 3 Subcode 0
...
"""


@pytest.fixture(scope="module")
def kernel(pool, tmp_path_factory):
    started = Kernel(tmp_path_factory.mktemp("notebook"))
    assert started.run("%load_ext htcmagic").error is None
    yield started
    started.stop()


@pytest.fixture(autouse=True)
def empty_queue(real):
    yield
    real("condor_rm", "-all", check=False)


@pytest.fixture
def ended(kernel):
    """Run two jobs to their end, as c and scan; their cluster's id."""
    cell = "%%condor -o c --name scan -n 2\nexecutable = /bin/sh\narguments = \"-c 'exit $(Process)'\"\nlog = scan.log"
    assert kernel.run(cell).error is None
    assert kernel.run("c.wait(60)").error is None
    return int(kernel.run("print(c.id)").text)


def test_every_word_gives_the_events(kernel, ended):
    for word in ("c", "scan", ended, "scan.log"):
        outcome = kernel.run(f"%condor_log {word}")
        assert outcome.error is None, outcome.error
        lines = outcome.result.splitlines()
        assert lines[0].split() == ["TIME", "JOB", "EVENT", "DETAILS"]
        told = [line.split(maxsplit=4)[2:] for line in lines[1:] if " grew " not in line]
        assert next(row for row in told if row[0] == f"{ended}.1")[1] == "submitted"
        assert [f"{ended}.0", "ended", "exit code 0"] in told
        assert [f"{ended}.1", "ended", "exit code 1"] in told
        assert f">{ended}.1</td>" in outcome.data[-1]["text/html"]


def test_the_events_are_data(kernel, ended):
    kernel.run("events = %condor_log c")
    kernel.run("frame = events.to_dataframe()")
    printed = kernel.run("print(*frame.columns, frame.TIME.dt.tz, len(frame) == len(events), events[0]['JOB'])").text
    assert printed == f"TIME JOB EVENT DETAILS UTC True {ended}.0\n"
    printed = kernel.run("print(sorted(e['JOB'] for e in events.to_dicts() if e['EVENT'] == 'ended'))").text
    assert printed == f"['{ended}.0', '{ended}.1']\n"


def test_following_shows_what_happens_in_one_display(kernel):
    kernel.run("%%condor -o c --name scan\nexecutable = /bin/sleep\narguments = 2")
    outcome = kernel.run("%condor_log -f c")
    assert outcome.error is None, outcome.error
    assert outcome.text == "All jobs have ended.\n"
    tables = [data for data in outcome.data if "DETAILS" in data["text/plain"]]
    assert len(tables) == 1
    assert "exit code 0" not in tables[0]["text/plain"]
    assert any("exit code 0" in data["text/plain"] for data in outcome.updates)


def test_an_interrupt_ends_the_following_and_leaves_the_jobs(kernel, real):
    kernel.run("%%condor -o c --hold\nexecutable = /bin/true")
    kernel.run("%condor_log -f c", send_only=True)
    time.sleep(1.5)
    kernel.manager.interrupt_kernel()
    outcome = kernel.collect(20)
    assert outcome.error is not None
    assert outcome.error[2] == "Interrupted: Stopped following the log; the jobs go on."
    assert real("condor_q", "-af", "JobStatus").stdout == "5\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("%condor_log nothing", "nothing is neither a cluster of yours nor a file."),
        ("%condor_log /etc/passwd", "/etc/passwd is no event log of HTCondor's."),
        ("%condor_log /tmp", "/tmp is no file, so no event log."),
        ("%condor_log /dev/zero", "/dev/zero is no file, so no event log."),
        ("%condor_log", "the following arguments are required"),
        ("%condor_log --folow x", "%condor_log has no option --folow. Did you mean --follow?"),
    ],
)
def test_slips_are_told_in_two_lines(kernel, line, said):
    outcome = kernel.run(line)
    lines = (outcome.text + (outcome.error[2] if outcome.error else "")).strip().splitlines()
    assert 1 <= len(lines) <= 2, lines
    assert said in "\n".join(lines)


def test_a_deleted_or_cut_log_is_told(tmp_path):
    file = tmp_path / "events.log"
    file.write_text(HOSTILE)
    log = EventLog(file)
    try:
        assert [row["EVENT"] for row in log.read()] == ["submitted", "held"]
        assert log.read() == []
        assert not log.ended
        with file.open("a") as more:
            more.write("009 (017.000.000) 2026-11-21 04:29:46 Job was aborted.\n\tby bob\n...\n")
        assert [row["DETAILS"] for row in log.read()] == ["by bob"]
        assert log.ended
        file.write_text(HOSTILE)
        with pytest.raises(HTCMagicError, match="was replaced or cut short while it was followed"):
            log.read()
        file.unlink()
        with pytest.raises(HTCMagicError, match="No such file or directory"):
            log.read()
    finally:
        log.close()


def test_foreign_text_is_harmless(tmp_path):
    file = tmp_path / "events.log"
    file.write_text(HOSTILE)
    log = EventLog(file)
    try:
        log.read()
    finally:
        log.close()
    table = log.table()
    assert "alert(1)" in table.text
    assert not {c for c in table.text if c < " " and c != "\n"}
    assert "<script>" not in table._repr_html_()
    assert table[0]["DETAILS"] == "from ap1"
    assert table[1]["DETAILS"].endswith("(code 3)")
    assert "1 earlier event not shown" in log.table(last=1)._repr_html_()


WRITES = """executable = /bin/sh
arguments = "-c 'for i in 1 2 3 4 5 6; do echo line $i; echo err $i >&2; sleep 0.2; done'"
request_memory = 32
"""


def until_it_runs(kernel):
    cell = (
        "import time\nfor _ in range(300):\n"
        "    if c[0].state.value == 'running': break\n    time.sleep(0.1)\nprint(c[0].state.value)"
    )
    assert kernel.run(cell).text == "running\n"


@pytest.mark.parametrize("transfer", ["IF_NEEDED", "YES"])
def test_the_output_of_a_running_job_is_followed(kernel, transfer):
    assert kernel.run(f"%%condor -o c --name scan\n{WRITES}should_transfer_files = {transfer}").error is None
    until_it_runs(kernel)
    outcome = kernel.run("%condor_tail -f c" if transfer != "IF_NEEDED" else "%condor_tail -f -stderr c[0]")
    assert outcome.error is None, outcome.error
    word = "err" if transfer == "IF_NEEDED" else "line"
    lines = [line for line in outcome.text.splitlines() if not line.startswith("[")]
    assert lines[:5] == [f"{word} {number}" for number in range(1, 6)]
    assert kernel.run("c.wait(30)").error is None
    assert kernel.run("%condor_tail scan -n 2").text == "line 5\nline 6\n"


def test_the_end_of_the_output_of_any_job(kernel, real):
    kernel.run(f"%%condor -o c --name scan --hold\n{WRITES}should_transfer_files = NO\noutput = /dev/null")
    number = kernel.run("print(c.id)").text.strip()
    outcome = kernel.run(f"%condor_tail {number}.0")
    assert outcome.error is not None
    assert outcome.error[2].splitlines()[0].endswith(f"Job {number}.0 keeps no standard output.")
    kernel.run(f"%%condor -o d --hold\n{WRITES}")
    assert kernel.run("%condor_tail d").text.endswith(" is held: it writes nothing now.\n")
    kernel.run(f"%%condor -o several --count 3 --hold\n{WRITES}")
    number = kernel.run("print(several.id)").text.strip()
    assert kernel.run("%condor_tail several").text.splitlines() == [
        f"[job {number}.0, the first of 3; another one: %condor_tail {number}.N]",
        f"Job {number}.0 is held: it writes nothing now.",
    ]
    for line, said in (
        ("%condor_tail 99999.0", "Job 99999.0 is not in the queue."),
        ("%condor_tail nobody", "nobody is no job."),
        ("%condor_tail", "the following arguments are required"),
        ("%condor_tail -n many c", "invalid int value: 'many'"),
    ):
        outcome = kernel.run(line)
        lines = (outcome.text + (outcome.error[2] if outcome.error else "")).strip().splitlines()
        assert 1 <= len(lines) <= 2, lines
        assert said in lines[0]
