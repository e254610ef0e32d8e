"""Commands that change jobs, in a real kernel on a real pool: by every word, counted first, our own job left alone."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from conftest import Kernel, own_pool

SLEEP = "executable = /bin/sleep\narguments = 300\nrequest_memory = 32"


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


def said(kernel, line):
    """Run a magic; what it said."""
    outcome = kernel.run(line)
    assert outcome.error is None, outcome.error
    return outcome.text


def refused(kernel, line):
    """Run a magic that must do nothing, and say so in at most two lines."""
    outcome = kernel.run(line)
    lines = (outcome.text + (outcome.error[2] if outcome.error else "")).strip().splitlines()
    assert 1 <= len(lines) <= 2, lines
    return "\n".join(lines)


def submitted(kernel, options="--hold", cell=SLEEP):
    outcome = kernel.run(f"%%condor -o c --name scan {options}\n{cell}")
    assert outcome.error is None, outcome.error
    return int(kernel.run("print(c.id)").text)


def column(real, cluster, *names):
    printed = real("condor_q", str(cluster), "-af:t", *names).stdout
    rows = [line.split("\t") for line in printed.splitlines()]
    return [row[0] for row in rows] if len(names) == 1 else rows


def until(real, cluster, statuses):
    deadline = time.monotonic() + 40
    while (found := column(real, cluster, "JobStatus")) != statuses:
        assert time.monotonic() < deadline, f"{found} in place of {statuses}"
        time.sleep(0.1)


def test_suspend_continue_vacate(kernel, real):
    cluster = submitted(kernel, "-n 1")
    until(real, cluster, ["2"])
    assert said(kernel, f"%condor_continue {cluster}") == "1 job is not suspended.\n"
    assert said(kernel, "%condor_suspend scan") == "1 job suspended.\n"
    until(real, cluster, ["7"])
    assert said(kernel, "%condor_continue c[0]") == f"Job {cluster}.0 continued.\n"
    until(real, cluster, ["2"])
    assert said(kernel, f"%condor_vacate_job {cluster}.0") == f"Job {cluster}.0 told to leave.\n"
    until(real, cluster, ["1"])
    assert said(kernel, f"%condor_vacate_job -fast {cluster}.0") == f"Job {cluster}.0 is not running.\n"


def test_what_was_done_is_counted(kernel, real):
    cluster = submitted(kernel, "-n 4", f"{SLEEP}\nrequirements = false")
    kernel.run("one = c[1]")
    assert said(kernel, "%condor_hold one") == f"Job {cluster}.1 put on hold.\n"
    assert said(kernel, "%condor_hold one") == f"Job {cluster}.1 was held already.\n"
    assert said(kernel, "%condor_hold c") == "3 jobs put on hold, 1 was held already.\n"
    text = f"2 jobs released.\nNot found in the queue: job {cluster}.9.\n"
    assert said(kernel, f"%condor_release {cluster}.0 c[1] {cluster}.9") == text
    assert said(kernel, f"%condor_release {cluster}.0") == f"Job {cluster}.0 is not held.\n"
    assert column(real, cluster, "JobStatus") == ["1", "1", "5", "5"]


@pytest.mark.parametrize("words", ["c", "c[0] c[1]", "{0}.0 {0}", "-constraint ClusterId=={0}"])
def test_a_held_job_keeps_the_reason_for_it(kernel, real, words):
    """HTCondor itself puts a job that it holds for another reason on hold once more, and forgets the first."""
    cluster = submitted(kernel, "--hold -n 2")
    before = column(real, cluster, "HoldReason", "HoldReasonCode", "NumHolds")
    assert before[0][1] == "15"
    line = f"%condor_hold {words.format(cluster)} -reason another"
    assert said(kernel, line) == "2 jobs were held already.\n"
    assert said(kernel, f"%condor_hold {cluster}.1") == f"Job {cluster}.1 was held already.\n"
    assert kernel.run("print(c.hold())").text == "0\n"
    assert column(real, cluster, "HoldReason", "HoldReasonCode", "NumHolds") == before


@pytest.mark.parametrize("words", ["-p 10 {0}", "-p +10 scan", "+10 c", "10 c", "-constraint ClusterId=={0} -p 10"])
def test_priority(kernel, real, words):
    cluster = submitted(kernel, "--hold -n 2")
    line = f"%condor_prio {words.format(cluster)}"
    if words.startswith("10"):
        assert "Say which priority: %condor_prio -p 10 17" in refused(kernel, line)
        return
    done = "raised by 10" if "+" in words else "set to 10"
    assert said(kernel, line) == f"Priority of 2 jobs {done}.\n"
    assert column(real, cluster, "JobPrio") == ["10", "10"]
    assert said(kernel, f"%condor_prio -p -4 {cluster}.1") == f"Priority of job {cluster}.1 lowered by 4.\n"
    assert said(kernel, "%condor_prio -p +4 c") == "Priority of 2 jobs raised by 4.\n"
    assert column(real, cluster, "JobPrio") == ["14", "10"]


@pytest.mark.parametrize("words", ["{0}", "scan", "c", "{0}.0 {0}.1", "-constraint 'ClusterId == {0}'", "{1}"])
def test_editing_by_every_word(kernel, real, words):
    cluster = submitted(kernel, "--hold -n 2")
    owner = column(real, cluster, "Owner")[0]
    which = words.format(cluster, owner)
    text = said(kernel, f"%condor_qedit {which} RequestMemory 4096 Note='\"it $x {{y}} é\"'")
    assert text == "RequestMemory, Note set in 2 jobs.\n"
    assert column(real, cluster, "RequestMemory", "Note") == [["4096", "it $x {y} é"]] * 2


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("%condor_qedit 1", "Say what to set: %condor_qedit 17.3 RequestMemory 4096"),
        ("%condor_qedit 1 Foo", "Foo is no attribute with its value"),
        ("%condor_qedit 1 2 Foo bar-baz 3", "3 is no attribute with its value"),
        ("%condor_qedit", "Say which jobs: %condor_qedit 17, %condor_qedit 17.3, %condor_qedit -constraint EXPR"),
        ("%condor_qedit c Foo ==", "'==' is not a ClassAd expression."),
        ("%condor_qedit c RequestMemory 99 Owner '\"bob\"'", "The schedd refuses to set RequestMemory, Owner there."),
        ("%condor_prio -p much c", "Say which priority"),
        ("%condor_suspend", "Say which jobs: %condor_suspend 17, %condor_suspend 17.3"),
        ("%condor_suspend 1 -all", "Say which jobs"),
        ("%condor_vacate_job a/b", "a/b is no job id (17 or 17.3), cluster of yours or user's name."),
        ("%condor_continue c[5]", "has 1 jobs, no job 5"),
        ("%condor_prio --prior 3 c", "%condor_prio has no option --prior."),
        ("%condor_rm -constraint 'a ==' --yes", "'a ==' is not a ClassAd expression."),
        ("%condor_qedit 99999.0 Foo 1", "Not found in the queue: job 99999.0."),
        ("%condor_prio -p 3 -constraint false", "No job was found for this."),
    ],
)
def test_slips_change_nothing(kernel, real, line, text):
    cluster = submitted(kernel)
    before = column(real, cluster, "JobPrio", "JobStatus", "Foo")
    assert text in refused(kernel, line)
    assert column(real, cluster, "JobPrio", "JobStatus", "Foo") == before


def test_more_than_a_hundred_jobs_want_a_second_word(kernel, real):
    cluster = submitted(kernel, "--hold -n 120", f"{SLEEP}\nrequirements = false")
    for line, would in (
        ("%condor_rm scan", "removed"),
        (f"%condor_prio -p 5 {cluster}", "given another priority"),
        ("%condor_qedit -constraint true Foo 1", "edited"),
        ("%condor_release -all", "released"),
    ):
        text = refused(kernel, line)
        assert f"Nothing done yet: 120 jobs would be {would}." in text
        assert text.endswith(f"If you mean that: {line} --yes")
    assert column(real, cluster, "JobStatus", "JobPrio", "Foo") == [["5", "0", "undefined"]] * 120
    kernel.run("%condor_release scan --yes")
    assert "120 jobs would be put on hold" in refused(kernel, "%condor_hold scan")
    kernel.run("%condor_hold scan --yes")
    assert said(kernel, "%condor_hold scan") == "120 jobs were held already.\n"  # nothing would change
    assert said(kernel, "%condor_rm scan --yes") == "120 jobs marked for removal.\n"


def test_the_job_that_this_kernel_runs_in_is_left_alone(kernel, real, tmp_path):
    cluster = submitted(kernel, "--hold -n 3")
    schedd = real("condor_status", "-schedd", "-af", "Name").stdout.split()[0]
    ad = tmp_path / ".job.ad"
    ad.write_text(f'ClusterId = {cluster}\nGlobalJobId = "{schedd}#{cluster}.1#17"\nProcId = 1\nCmd = "a\nb"\n')
    spared = f"Job {cluster}.1 runs this very kernel: left alone.\n"
    kernel.run(f"import os; os.environ['_CONDOR_SCRATCH_DIR'] = {str(tmp_path)!r}")
    try:
        assert said(kernel, f"%condor_rm {cluster}.1") == spared
        assert said(kernel, "%condor_rm c[1]") == spared
        assert said(kernel, f"%condor_prio -p 3 {cluster}") == f"{spared}Priority of 2 jobs set to 3.\n"
        assert (
            said(kernel, f"%condor_prio -p +1 -constraint ClusterId=={cluster}")
            == f"{spared}Priority of 2 jobs raised by 1.\n"
        )
        assert said(kernel, "%condor_qedit scan Foo 1") == f"{spared}Foo set in 2 jobs.\n"
        assert column(real, cluster, "JobPrio", "Foo") == [["4", "1"], ["0", "undefined"], ["4", "1"]]
        assert said(kernel, "%condor_release -all") == f"{spared}2 jobs released.\n"
        assert said(kernel, f"%condor_rm {cluster}.0 {cluster}.1") == f"{spared}Job {cluster}.0 marked for removal.\n"
        assert said(kernel, "%condor_rm -all") == f"{spared}1 job marked for removal.\n"
        ad.write_text(f'ClusterId = {cluster}\nGlobalJobId = "elsewhere#{cluster}.1#17"\nProcId = 1\n')
        assert said(kernel, "%condor_rm -all") == "1 job marked for removal.\n"
    finally:
        kernel.run("del os.environ['_CONDOR_SCRATCH_DIR']")


def test_other_peoples_jobs_want_a_second_word(tmp_path_factory, tmp_path):
    """The owner of a personal pool may act on everybody's jobs: so does an administrator."""
    from htcmagic.errors import HTCMagicError
    from htcmagic.jobs import acting, choice
    from htcmagic.pool import command
    from htcmagic.pool.client import Client

    with own_pool(tmp_path_factory.mktemp("others")) as (address, _):
        with Path(address.config).open("a") as file:
            file.write("\nQUEUE_SUPER_USER_MAY_IMPERSONATE = .*\n")
        command.run(address, "condor_reconfig", ["-daemon", "schedd"])
        (tmp_path / "bob.sub").write_text('executable = /bin/true\nhold = true\nMy.Owner = "bob"\nqueue 2\n')
        client = Client(address)
        try:
            deadline = time.monotonic() + 20
            while command.run(address, "condor_submit", [str(tmp_path / "bob.sub")]).status:
                assert time.monotonic() < deadline
                time.sleep(0.2)
            for word in ("1", "1.0", "bob"):
                whom = [choice.target(word, {})]
                with pytest.raises(HTCMagicError, match=r"other people's \(bob@\S+ \d\)\.\nIf you mean that: it --yes"):
                    acting.plan(client, acting.REMOVE, whom, again="it --yes", yes=False)
            assert len(client.query("JobStatus == 5", ["ProcId"]).rows) == 2
            plan = acting.plan(client, acting.REMOVE, whom, again="", yes=True)
            assert acting.act(plan, "because") == ["2 jobs marked for removal."]
        finally:
            client.close()
