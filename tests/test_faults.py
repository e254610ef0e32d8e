"""Daemons killed, frozen and refusing, kernels killed, logs spoilt, on a pool of this file's own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import ordinary
import pytest
from conftest import Kernel, leftovers, use_home

from htcmagic import places
from htcmagic.pool import personal, programs, resolve

SLEEPER = "executable = /bin/sleep\narguments = {}\n"
TICKER = """
import threading, time
gaps = []
def tick():
    last = time.monotonic()
    while True:
        time.sleep(0.005)
        now = time.monotonic()
        gaps.append(now - last)
        last = now
threading.Thread(target=tick, daemon=True).start()
"""
LISTED = "import htcmagic, json; print(json.dumps([[c.record.run, c.id, len(c)] for c in htcmagic.clusters()]))"


@pytest.fixture(scope="module")
def own(session_home, tmp_path_factory):
    """Stand in a pool that may be broken; the other files' pool is out of reach here."""
    before = os.environ["HTCMAGIC_HOME"]
    use_home(tmp_path_factory.mktemp("own"))
    try:
        folder = places.private(places.private(places.pool_dir()) / "config.d")
        (folder / "debug.conf").write_text("SCHEDD_DEBUG = D_COMMAND\n")
        yield resolve.personal_pool()
    finally:
        personal.down(purge=True)
        left = leftovers(places.pool_dir())
        os.environ["HTCMAGIC_HOME"] = before
        assert left == []


@pytest.fixture
def kernels(own, notebook_dir):
    """Start kernels with the magics loaded; the pool is emptied afterwards."""
    started = []

    def start():
        started.append(Kernel(notebook_dir))
        assert started[-1].run("%load_ext htcmagic").error is None
        return started[-1]

    yield start
    for one in started:
        one.stop()
    program("condor_rm", "-all", check=False)
    program("condor_rm", "-all", "-forcex", check=False)


@pytest.fixture
def kernel(kernels):
    """One of them."""
    return kernels()


def program(*command, check=True):
    """Run one of HTCondor's own programs on this file's pool."""
    done = subprocess.run(
        [str(programs.find().program(command[0])), *command[1:]],
        env=personal.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert not check or done.returncode == 0, done.stderr
    return done.stdout


def answered(*command):
    """Run a program until the schedd, which may have to come back first, has answered."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            return program(*command)
        except AssertionError:
            time.sleep(0.3)
    return program(*command)


def schedd_pid():
    """Return the process id of this file's schedd."""
    mark = f"CONDOR_CONFIG={places.pool_dir()}/".encode()
    for entry in Path("/proc").iterdir():
        try:
            if (entry / "comm").read_text() == "condor_schedd\n" and mark in (entry / "environ").read_bytes():
                return int(entry.name)
        except OSError:
            continue
    pytest.fail("there is no schedd")


def in_queue():
    """Return what the schedd holds of ours: run, cluster and number of jobs, sorted."""
    rows = answered("condor_q", "-af", "HtcmagicRun", "ClusterId").splitlines()
    return sorted(
        [run, int(cluster), count] for (run, cluster), count in Counter(map(tuple, map(str.split, rows))).items()
    )


def listed(kernel):
    """Return what htcmagic knows to have sent, in the same form."""
    return json.loads(kernel.run(LISTED).text)


def run_folders():
    """Return the submissions that left something on the disk."""
    return sorted(entry.name for entry in places.runs_dir().iterdir()) if places.runs_dir().exists() else []


def assert_every_job_has_a_handle(kernel):
    known = listed(kernel)
    assert [entry for entry in in_queue() if entry not in known] == []
    runs = {run for run, _, _ in known}
    assert [folder for folder in run_folders() if folder not in runs] == []


class Frozen:
    """The schedd, stopped for a while."""

    def __enter__(self):
        self.pid = schedd_pid()
        os.kill(self.pid, signal.SIGSTOP)
        return self

    def __exit__(self, *_):
        os.kill(self.pid, signal.SIGCONT)


def interrupted(kernel, code, after_s):
    """Run a cell and press Ctrl-C; its outcome, and how long the answer took."""
    kernel.run(code, send_only=True)
    time.sleep(after_s)
    pressed = time.monotonic()
    kernel.manager.interrupt_kernel()
    outcome = kernel.collect(30)
    return outcome, time.monotonic() - pressed


def test_a_schedd_killed_before_and_after_a_submission_does_no_harm(kernel):
    os.kill(schedd_pid(), signal.SIGKILL)
    sent = kernel.run(f"%%condor -n 2 -o sent\n{SLEEPER.format(2)}")
    assert sent.error is None, sent.error
    os.kill(schedd_pid(), signal.SIGKILL)
    ended = kernel.run("sent.wait(60); print(sent.status['done'], sent.note)")
    assert ended.text == "2 \n"


@pytest.mark.parametrize(
    "after_s", [0.3, pytest.param(1.5, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)]
)
def test_a_schedd_killed_during_a_submission_has_all_jobs_or_none(kernel, after_s):
    kernel.run("many = range(20000)")
    kernel.run("%%condor --over many --hold -o sent\nexecutable = /bin/true\n", send_only=True)
    time.sleep(after_s)
    os.kill(schedd_pid(), signal.SIGKILL)
    outcome = kernel.collect(120)
    assert_every_job_has_a_handle(kernel)
    if outcome.error is None:
        assert [count for _, _, count in in_queue()] == [20000]
    else:
        assert len(outcome.error[2].splitlines()) <= 2
        assert in_queue() == []


@pytest.mark.parametrize(
    "code", ["%condor_q", "%%condor --over points --hold\nexecutable = /bin/true\narguments = $(Item)\n"]
)
def test_a_frozen_schedd_leaves_the_notebook_alive(kernel, code):
    kernel.run(TICKER + "points = range(300)\n%condor_q")
    with Frozen():
        kernel.run("gaps.clear()")
        outcome, took = interrupted(kernel, code, 1.5)
        assert "Interrupt" in outcome.error[0]
        assert took < 2.5
        answer = kernel.run("print(6 * 7, max(gaps) < 0.25, sum(g > 0.05 for g in gaps) <= 3)", timeout=5)
        assert answer.text == "42 True True\n"
    assert kernel.run("%condor_q").error is None
    assert_every_job_has_a_handle(kernel)
    assert kernel.run(code).error is None
    assert_every_job_has_a_handle(kernel)


def test_an_interrupt_at_any_moment_leaves_a_whole_cluster_or_nothing(kernel):
    kernel.run("many = [{'x': i, 'y': i * i} for i in range(5000)]")
    code = "%%condor --over many --hold\nexecutable = /bin/true\narguments = $(x) $(y)\n"
    said = set()
    for after_s in (0.01, 0.08, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4, 1.8):
        outcome, took = interrupted(kernel, code, after_s)
        said.add(outcome.error[0] if outcome.error else "sent")
        assert took < 5
        if outcome.error and outcome.error[0] == "Interrupted":
            assert len(outcome.error[2].splitlines()) <= 2
        assert_every_job_has_a_handle(kernel)
        assert {count for _, _, count in in_queue()} <= {5000}
        program("condor_rm", "-all", check=False)
        while in_queue():
            time.sleep(0.1)
    assert "Interrupted" in said
    assert said <= {"Interrupted", "KeyboardInterrupt", "sent"}


def test_a_killed_kernel_loses_nothing(kernels):
    first = kernels()
    first.run("%%condor --name survivor -n 4\nexecutable = /bin/sh\narguments = \"-c 'sleep 2; echo $(Process)'\"\n")
    os.kill(first.manager.provisioner.pid, signal.SIGKILL)
    second = kernels()
    found = second.run(
        "import htcmagic; c = htcmagic.cluster('survivor').wait(60); print(c.status['done'], [j.stdout() for j in c])"
    )
    assert found.text == "4 ['0\\n', '1\\n', '2\\n', '3\\n']\n"


SPOIL = {
    "deleted": "c.log.unlink()",
    "truncated": "open(c.log, 'w').close()",
    "replaced": "import os; open('new', 'w').write('nothing of ours\\n' * 500); os.replace('new', c.log)",
}


@pytest.mark.parametrize(
    "how", ["deleted", *(pytest.param(how, marks=pytest.mark.slow) for how in ("truncated", "replaced"))]
)
def test_a_spoilt_log_is_told_and_replaced_by_asking(kernel, how):
    kernel.run("%%condor -n 3 -o c\nexecutable = /bin/sh\narguments = \"-c 'sleep 2; exit $(Process)'\"\n")
    kernel.run("import time\nfor _ in range(50):\n    time.sleep(0.1)\n    if c.status['running']: break")
    assert kernel.run(SPOIL[how]).error is None
    ended = kernel.run("c.wait(60); print({k: v for k, v in c.status.items() if v}, c[1].exception(), c)")
    assert ended.text.startswith("{'done': 1, 'failed': 2} Job ")
    assert "ended with exit code 1." in ended.text
    assert "was deleted, replaced or cut short: asking the schedd instead" in ended.text.replace("\n", " ")


def test_a_log_that_is_not_readable_is_told_and_replaced_by_asking(kernel):
    kernel.run("%%condor -n 2 -o c\nexecutable = /bin/false\nlog = /dev/null\n")
    ended = kernel.run("c.wait(60); print(c.status['failed'], c.note)")
    assert ended.text.startswith("2 ")
    assert "/dev/null is no file to read: asking the schedd instead" in ended.text


def test_jobs_of_which_no_trace_is_left_are_given_up(kernel):
    kernel.run("%%condor --hold -o c\nexecutable = /bin/true\n")
    kernel.run("import htcmagic.jobs.follower as f; f.POLL_S = (0.1, 0.1); c.log.unlink(); c.rm()")
    program("condor_rm", "-all", "-forcex", check=False)
    for history in (places.pool_dir() / "spool").glob("history*"):
        history.unlink()
    ended = kernel.run("c.wait(60); print(c.status['removed'])")
    assert ended.text == "1\n"


@pytest.mark.parametrize("limit", ["MAX_JOBS_PER_SUBMISSION", "MAX_JOBS_PER_OWNER"])
def test_limits_are_told_and_nothing_is_left(kernel, limit):
    folders = run_folders()
    file = places.pool_dir() / "config.d" / "limit.conf"
    file.write_text(f"{limit} = 5\n")
    try:
        program("condor_reconfig", "-schedd")
        time.sleep(0.5)
        outcome = kernel.run("%%condor -n 6 --hold\nexecutable = /bin/true\n")
        fits = kernel.run("%%condor -n 5 --hold\nexecutable = /bin/true\n")
    finally:
        file.unlink()
        program("condor_reconfig", "-schedd")
    assert outcome.error[0] == "SubmitRefused"
    assert limit in outcome.error[2] or "more than one submission or one user may have" in outcome.error[2]
    assert len(outcome.error[2].splitlines()) == 2
    assert fits.error is None, fits.error
    assert len(run_folders()) == len(folders) + 1


def test_a_full_disk_is_told_and_nothing_is_left(kernel):
    folders = run_folders()
    kernel.run("many = ['x' * 50] * 2000")
    outcome = kernel.run(
        "import resource\n"
        "before = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))\n"
        "try: get_ipython().run_cell_magic('condor', '--over many --hold', 'executable = /bin/true')\n"
        "finally: resource.setrlimit(resource.RLIMIT_FSIZE, before)\n"
    )
    assert outcome.error[0] == "HTCMagicError"
    assert "File too large" in outcome.error[2]
    assert len(outcome.error[2].splitlines()) == 2
    assert run_folders() == folders
    assert in_queue() == []


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user")
def test_a_home_that_cannot_be_written_is_told(tmp_path_factory):
    home = Path("/var/tmp") / f"htcmagic-read-only-{os.getpid()}"
    home.mkdir(mode=0o555)
    code = "import sys; sys.path.insert(0, sys.argv[1])\nfrom IPython.core.interactiveshell import InteractiveShell\n"
    code += "ip = InteractiveShell(); ip.run_line_magic('load_ext', 'htcmagic')\n"
    code += "ip.run_cell('%%condor\\nexecutable = /bin/true\\n')"
    env = {**os.environ, "HTCMAGIC_HOME": str(home / "mine"), "HOME": "/nonexistent", "IPYTHONDIR": "/tmp/htc-nobody"}
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-W", "ignore", "-c", code]
    command = [*ordinary.uncovered(), *nobody, str(Path(__file__).parents[1])]
    try:
        done = subprocess.run(command, env=env, cwd="/", capture_output=True, text=True, check=False)
    finally:
        home.rmdir()
    said = done.stdout.strip().splitlines()
    assert len(said) == 2, done
    assert said[0].startswith(f"HTCMagicError: Cannot write to {home}")
    assert said[1] == "Set HTCMAGIC_HOME to a folder that you can write to, on a local disk."


def test_following_asks_the_schedd_nothing(kernel):
    kernel.run(f"%%condor -n 6 -o c\n{SLEEPER.format(1)}")
    log = places.pool_dir() / "log" / "SchedLog"
    before = len(log.read_text(errors="replace"))
    ended = kernel.run("c.wait(60); print(c.status['done'], c)")
    assert ended.text.startswith("6 Cluster")
    said = log.read_text(errors="replace")[before:]
    assert "Received" in said or "Calling Handler" in said  # the log does tell of commands
    assert "QUERY_JOB_ADS" not in said
    assert program("condor_q", "-totals")
    assert "QUERY_JOB_ADS" in log.read_text(errors="replace")[before:]
