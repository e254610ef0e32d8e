"""The feed on a real schedd: one query for everybody, nobody stalls, nothing is left."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from pools import at_home, daemon, eventually, tool

from htcmagic import places
from htcmagic.errors import CellError
from htcmagic.pool import resolve
from htcmagic.pool.feed import Subscription
from htcmagic.pool.feed_server import BUSY_FACTOR, SHARE, pace
from htcmagic.pool.feed_wire import LONGEST_S, SHORTEST_S, Ask, among, is_ours, ranges, socket_file

PROJECTION = ("ClusterId", "ProcId", "JobStatus", "Owner", "QDate")
HELD = "executable = /bin/sleep\nhold = true\nqueue {}\n"
WATCHER = """
import json, sys, threading, time
from htcmagic.pool import resolve
from htcmagic.pool.feed import Subscription
from htcmagic.pool.feed_wire import Ask
pool = resolve.personal_pool()
said = ""
def tell(ids):
    global said
    if one.answered:
        now = json.dumps(sorted([*ids, row[2]] for ids, row in one.rows.items()))
        if now != said:
            said = now
            print(now, flush=True)
one = Subscription(pool, Ask(sys.argv[1], ("ClusterId", "ProcId", "JobStatus")), tell)
one.start()
time.sleep(300)
"""


@pytest.fixture(scope="module")
def queue(tmp_path_factory):
    """Stand in a pool whose schedd notes every command in its log."""
    with at_home(tmp_path_factory.mktemp("feed"), "SCHEDD_DEBUG = D_COMMAND\n"):
        yield resolve.personal_pool()
        eventually(lambda: not feeds())


@pytest.fixture
def jobs(queue, tmp_path):
    """Submit held jobs; the queue is emptied afterwards."""

    def submit(text):
        file = tmp_path / "held.sub"
        file.write_text(text)
        said = eventually(lambda: tool("condor_submit", "-terse", str(file), check=False).stdout)
        return int(said.split(".")[0])

    yield submit
    tool("condor_rm", "-all", check=False)
    tool("condor_rm", "-all", "-forcex", check=False)
    eventually(lambda: not tool("condor_q", "-af", "ClusterId").stdout)


@pytest.fixture
def watch(queue):
    """Subscribe, as often as a test wants; all are closed afterwards."""
    opened = []

    def subscribe(constraint="true", **more):
        one = Subscription(queue, Ask(constraint, PROJECTION, **more), told.append)
        opened.append(one)
        one.start()
        return one

    told = []
    yield subscribe
    for one in opened:
        one.close()


def feeds():
    """Return the processes of the feed of this pool, with those that hold the bindings for it."""
    mark = os.fsencode(places.feed_dir())
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes()
                if b"htcmagic.pool.feed_server" in words and mark in words:
                    found[int(entry.name)] = [
                        int(child)
                        for task in (entry / "task").iterdir()
                        for child in (task / "children").read_text().split()
                    ]
            except OSError:
                continue
    return found


def alive(pid):
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def states(one):
    return sorted(row[2] for row in one.rows.values())


def queries():
    log = (places.pool_dir() / "log" / "SchedLog").read_text(errors="replace")
    return len(re.findall(r"\(QUERY_JOB_ADS\w*\)", log))


@pytest.mark.slow
def test_ten_processes_are_one_query_a_period(queue, jobs):
    small, large = jobs(HELD.format(3)), jobs(HELD.format(20))
    wanted = ["true", f"ClusterId == {small}", f"ClusterId == {large} && ProcId >= 10", "JobStatus == 5", "ProcId < 2"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    watchers = [
        subprocess.Popen([sys.executable, "-c", WATCHER, wanted[n % 5]], env=env, stdout=subprocess.PIPE, text=True)
        for n in range(10)
    ]
    try:
        first = [json.loads(one.stdout.readline()) for one in watchers]
        assert [len(rows) for rows in first] == [23, 3, 10, 23, 4] * 2
        assert len(feeds()) == 1
        before, began = queries(), time.monotonic()
        tool("condor_qedit", str(small), "JobPrio", "3")  # nothing that is watched
        tool("condor_rm", f"{small}.0")
        second = [json.loads(watchers[n].stdout.readline()) for n in (0, 1, 3, 4, 5)]
        assert [len(rows) for rows in second] == [22, 2, 22, 3, 22]
        time.sleep(2 * SHORTEST_S)
        asked, periods = queries() - before, (time.monotonic() - began) / SHORTEST_S
        assert 1 <= asked <= periods + 2, (asked, periods)  # and condor_qedit and condor_rm may ask, too
        watchers[2].send_signal(signal.SIGKILL)  # somebody's end is nobody else's business
        jobs(HELD.format(1))
        assert len(json.loads(watchers[9].stdout.readline())) in {3, 4}
        assert len(feeds()) == 1
    finally:
        for one in watchers:
            one.kill()
            one.wait()
            one.stdout.close()
    (pid,) = feeds()
    children = feeds()[pid]
    assert children, "the bindings are in a child of the feed"
    eventually(lambda: not feeds(), 20)  # the killed ones were noticed
    assert not any(alive(child) for child in children)
    eventually(lambda: not places.feed_dir().exists())


def test_the_period_grows_while_nothing_happens_and_returns(jobs, watch):
    cluster = jobs(HELD.format(2))
    one = watch()
    eventually(lambda: one.answered)
    eventually(lambda: one.sign.period_s > 2 * SHORTEST_S, 30)
    assert states(one) == [5, 5]
    assert one.trouble == ""
    tool("condor_qedit", str(cluster), "QDate", "1000000000")
    eventually(lambda: one.rows[cluster, 0][4] == 1000000000, 30)
    assert one.sign.period_s == SHORTEST_S
    assert abs(one.sign.skew_s) < 5
    assert one.sign.label
    assert one.sign.me


def test_the_pace_follows_the_schedd():
    assert pace(2.0, changed=True) == SHORTEST_S
    assert pace(2.0, changed=False) == 3.0
    assert pace(14.0, changed=False) == LONGEST_S
    assert pace(2.0, changed=True, took_s=0.7) == SHARE * 0.7
    assert pace(14.0, changed=False, took_s=0.2) == 21.0
    assert pace(29.0, changed=False, took_s=0.5) == 2 * LONGEST_S
    assert pace(2.0, changed=True, duty=0.9) == SHORTEST_S * BUSY_FACTOR
    assert pace(60.0, changed=False, duty=0.9) == LONGEST_S * BUSY_FACTOR
    assert pace(60.0, changed=False, duty=0.5) == LONGEST_S


def test_a_frozen_schedd_stalls_nobody_and_heals(jobs, watch):
    cluster = jobs(HELD.format(2))
    one = watch()
    eventually(lambda: one.answered)
    gaps, stop = [], threading.Event()

    def tick():
        last = time.monotonic()
        while not stop.wait(0.01):
            now = time.monotonic()
            gaps.append(now - last)
            last = now

    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    schedd = daemon(places.pool_dir(), "schedd")
    os.kill(schedd, signal.SIGSTOP)
    try:
        eventually(lambda: one.trouble == "The schedd does not answer.", 40)
        assert one.sign.seen < time.time() - 3
        assert states(one) == [5, 5]
        late = watch(f"ClusterId == {cluster} && ProcId == 1")  # who comes now hears at once that something is wrong
        eventually(lambda: late.trouble, 5)
        assert not late.answered
    finally:
        os.kill(schedd, signal.SIGCONT)
    eventually(lambda: not one.trouble and late.answered, 40)
    stop.set()
    ticker.join()
    assert states(late) == [5]
    assert max(gaps) < 1.0, max(gaps)
    tool("condor_rm", f"{cluster}.1")
    eventually(lambda: states(one) == [5] and states(late) == [], 20)


def test_a_killed_schedd_is_told_and_comes_back(jobs, watch):
    jobs(HELD.format(2))
    one = watch()
    eventually(lambda: one.answered)
    os.kill(daemon(places.pool_dir(), "schedd"), signal.SIGKILL)
    eventually(lambda: one.trouble, 20)
    assert "schedd" in one.trouble
    assert states(one) == [5, 5]
    seen = one.sign.seen
    eventually(lambda: not one.trouble, 60)
    assert one.sign.seen > seen
    eventually(lambda: states(one) == [5, 5])


def test_a_killed_feed_is_replaced(jobs, watch):
    cluster = jobs(HELD.format(2))
    one, two = watch(), watch(f"ClusterId == {cluster} && ProcId == 0")
    eventually(lambda: one.answered and two.answered)
    ((pid, children),) = feeds().items()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not any(alive(child) for child in children), 5)
    eventually(lambda: len(feeds()) == 1 and pid not in feeds())
    seen = one.sign.seen
    tool("condor_rm", f"{cluster}.0")
    eventually(lambda: states(one) == [5] and states(two) == [], 20)
    assert one.sign.seen > seen
    assert one.trouble == two.trouble == ""


def test_a_feed_whose_socket_is_deaf_is_waited_for_by_nobody(jobs, watch):
    jobs(HELD.format(1))
    one = watch()
    eventually(lambda: one.answered)
    ((pid, _),) = feeds().items()
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        two = watch("JobStatus == 5")
        two.ask(Ask("JobStatus == 2", PROJECTION))
        assert states(one) == [5]
        two.close()
        assert time.monotonic() - began < 2
        eventually(lambda: one.trouble == "The schedd gives no news.", 60)
    finally:
        os.kill(pid, signal.SIGCONT)
    eventually(lambda: one.trouble == "", 30)


def test_a_question_that_does_not_parse_is_refused_and_harms_nobody(jobs, watch):
    jobs(HELD.format(2))
    one, bad = watch(), watch("JobStatus = = 5")
    eventually(lambda: one.answered and bad.refused)
    assert isinstance(bad.refused, CellError)
    assert "is not a ClassAd expression" in str(bad.refused)
    assert not bad.answered
    assert states(one) == [5, 5]
    bad.ask(Ask("ProcId == 1", PROJECTION))
    eventually(lambda: states(bad) == [5], 20)


def test_strange_ads_and_what_is_left_out(jobs, watch):
    cluster = jobs(HELD.format(2))
    skipped = jobs(HELD.format(3))
    dag = jobs("universe = scheduler\nexecutable = /bin/sleep\narguments = 600\nhold = true\nqueue\n")
    tool("condor_qedit", f"{cluster}.0", "JobStatus", "undefined")
    tool("condor_qedit", f"{cluster}.1", "QDate", '"yesterday"')
    tool("condor_qedit", f"{cluster}.1", "JobBatchName", f'"{"x" * 5000}"')
    one = Subscription(
        watch().pool, Ask("true", (*PROJECTION, "JobBatchName"), without=ranges([skipped, dag])), lambda _ids: None
    )
    one.start()
    try:
        eventually(lambda: one.answered)
        assert set(one.rows) == {(cluster, 0), (cluster, 1), (dag, 0)}  # DAGMan's own is more than its log
        assert one.rows[cluster, 0][2] is None
        assert one.rows[cluster, 1][4] == "yesterday"
        assert len(one.rows[cluster, 1][5]) == 2001
    finally:
        one.close()
        tool("condor_qedit", f"{cluster}.0", "JobStatus", "5")  # or it can never be removed


def test_ranges_of_clusters():
    assert ranges([5, 3, 4, 9, 5]) == ((3, 5), (9, 9))
    assert among(((3, 5), (9, 9))) == "(ClusterId >= 3 && ClusterId <= 5) || ClusterId == 9"
    assert among(()) == "false"


def test_only_this_user_is_at_the_other_end(queue, watch):
    one = watch()
    eventually(lambda: one.answered)
    assert places.feed_dir().stat().st_mode & 0o777 == 0o700
    assert socket_file(queue).parent == places.feed_dir()
    path = Path(f"/var/tmp/htcmagic-test-{os.getpid()}")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    try:
        path.chmod(0o777)
        listener.listen()
        become = "os.setuid(12345);" if os.getuid() == 0 else ""
        code = f"import os, socket; {become} s = socket.socket(socket.AF_UNIX); s.connect({str(path)!r}); s.recv(1)"
        with subprocess.Popen([sys.executable, "-c", code]) as other:
            peer, _ = listener.accept()
            assert is_ours(peer) is (os.getuid() != 0)
            peer.close()
            assert other.wait(10) == 0
    finally:
        listener.close()
        path.unlink()
