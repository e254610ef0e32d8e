"""What a live view is fed with, on a real pool: event logs for own clusters, the feed for the rest."""

from __future__ import annotations

import itertools
import os
import re
import time
from types import SimpleNamespace

import pytest
from conftest import Kernel
from pools import at_home, daemon, eventually, take_down, tool

from htcmagic import places
from htcmagic.errors import CellError, HTCMagicError
from htcmagic.jobs import store
from htcmagic.pool import personal, resolve
from htcmagic.queue.live import own as own_module
from htcmagic.queue.live.merge import spans
from htcmagic.queue.live.model import Want
from htcmagic.queue.live.others import PROJECTION, Others
from htcmagic.queue.live.source import LiveSource

HELD = "executable = /bin/sleep\narguments = 600 $(Process)\nhold = true\n"


@pytest.fixture(scope="module")
def queue(tmp_path_factory):
    """Stand in a pool whose schedd notes every command in its log."""
    with at_home(tmp_path_factory.mktemp("live"), "SCHEDD_DEBUG = D_COMMAND\n"):
        yield resolve.personal_pool()


@pytest.fixture(scope="module")
def kernel(queue, tmp_path_factory):
    """Start a kernel that submits; nobody watches in it."""
    started = Kernel(tmp_path_factory.mktemp("submits"))
    assert started.run("%load_ext htcmagic").error is None
    yield started
    started.stop()


@pytest.fixture
def empty(queue):
    """Leave the queue empty."""
    yield
    tool("condor_rm", "-all", check=False)
    eventually(lambda: not tool("condor_q", "-af", "ClusterId").stdout)


@pytest.fixture
def watch(queue):
    """Open sources, as many as a test wants; all are closed afterwards."""
    opened = []

    def start(*words, **more):
        source = LiveSource(Want(words=words, **more))
        seen = []
        opened.append(source)
        source.start(lambda: seen.append((time.time(), source.table())))
        return SimpleNamespace(source=source, seen=seen, table=source.table)

    yield start
    for one in opened:
        one.close()


@pytest.fixture
def bare(queue, tmp_path):
    """Submit without htcmagic; return the cluster's id."""

    def submit(text):
        (tmp_path / "bare.sub").write_text(text)
        return int(tool("condor_submit", "-terse", str(tmp_path / "bare.sub")).stdout.split(".")[0])

    return submit


def send(kernel, line, text):
    """Submit from the kernel; return the cluster's id."""
    assert kernel.run(f"%%condor {line} -o sent\n{text}").error is None
    return int(kernel.run("print(sent.id)").text)


def named(view, name):
    return next((batch for batch in view.table().batches if batch.name == name), None)


def log():
    return (places.pool_dir() / "log" / "SchedLog").read_text(errors="replace")


def test_own_clusters_cost_the_schedd_nothing(kernel, watch, empty):
    before = len(log())
    first = send(kernel, "--name mine -n 3", HELD)
    view = watch()
    batch = named(view, "mine")
    assert batch is not None, "own clusters are there when start returns"
    assert (batch.counts, batch.letters, batch.spans) == ({"held": 3}, "HHH", ((first, 0, 3),))
    assert (batch.total, batch.ids, batch.own, batch.gone) == (3, f"{first}.0-2", True, False)
    assert batch.hold == "submitted on hold at user's request"
    assert batch.constraint == f"ClusterId == {first}"
    jobs = batch.jobs()
    assert [job.id for job in jobs] == [f"{first}.{n}" for n in range(3)]
    assert jobs[1].command == "sleep 600 1"
    assert [job.id for job in batch.jobs(limit=1, offset=1)] == [f"{first}.1"]
    assert batch.jobs(states={"running"}) == []
    assert len(batch.jobs(states={"held"}, offset=1)) == 2

    second = send(kernel, "--name later -n 2", "executable = /bin/true\n")  # sent while it is watched
    assert eventually(lambda: named(view, "later")).spans == ((second, 0, 2),)
    eventually(lambda: named(view, "later").counts == {"done": 2})
    assert named(view, "later").letters == "DD"
    assert named(view, "later").gone
    assert not view.table().finished

    kernel.run("sent = None; import htcmagic; htcmagic.cluster('mine').release()")
    eventually(lambda: "running" in named(view, "mine").counts)
    job = named(view, "mine").jobs(states={"running"})[0]
    assert job.host.startswith("slot1")
    assert abs(job.started - time.time()) < 30
    kernel.run("htcmagic.cluster('mine').rm('enough')")
    eventually(lambda: view.table().finished)
    assert named(view, "mine").letters == "XXX"
    assert named(view, "mine").jobs()[0].reason.startswith("enough")
    versions = [table.version for _, table in view.seen]
    assert versions == sorted(set(versions))
    times = [at for at, _ in view.seen]
    assert all(b - a > 0.15 for a, b in itertools.pairwise(times))
    said = log()[before:]
    assert "(QUERY_JOB_ADS" not in said, re.findall(".*QUERY_JOB_ADS.*", said)
    assert "ACT_ON_JOBS" in said  # the log does tell


def test_an_event_is_told_within_a_second(kernel, watch, empty):
    send(kernel, "--name quick", "executable = /bin/sleep\narguments = 600\n")
    view = watch("quick")
    eventually(lambda: "running" in named(view, "quick").counts)
    events = places.log_dir() / view.source._own[next(iter(view.source._own))].cluster.run_dir.run / "events.log"
    tool("condor_hold", "-all")
    told = eventually(lambda: next((at for at, table in view.seen if "held" in table.batches[0].counts), 0.0))
    assert told - events.stat().st_mtime < 1.0
    assert view.table().batches[0].hold


def test_what_ended_long_ago_is_left_out_unless_it_is_named(kernel, watch, empty, monkeypatch):
    old = send(kernel, "--name old", "executable = /bin/true\n")
    kernel.run("sent.wait(60)")
    young = watch()
    assert named(young, "old").gone, "what has just ended is shown"
    assert not young.table().finished, "it waits: nothing was seen to end"
    monkeypatch.setattr(own_module, "RECENT_S", 0.0)
    monkeypatch.setattr("htcmagic.queue.live.source.RECENT_S", 0.0)
    assert named(watch(), "old") is None
    for word in ("old", str(old)):
        assert named(watch(word), "old").counts == {"done": 1}
        assert watch(word).table().finished


@pytest.mark.parametrize(
    ("word", "hint"),
    [("nothing", "%condor_jobs"), ("99999", "%condor_q --watch 99999"), ("99999.1", "job: %condor_q --watch 99999.1")],
)
def test_a_word_that_names_nothing_of_ours(kernel, word, hint):
    with pytest.raises(HTCMagicError) as told:
        LiveSource(Want(words=(word,)))
    assert word in told.value.message
    assert told.value.hint.endswith(hint)


def test_the_queue_is_own_logs_and_the_rest(queue, kernel, watch, bare, empty):
    mine = send(kernel, "--name scan -n 2", HELD)
    beside = bare(f'{HELD}+JobBatchName = "scan"\nqueue 3\n')
    other = bare(f"{HELD}queue 2\n")
    view = watch(queue=queue)
    assert named(view, "scan").counts == {"held": 2}, "own clusters are there at once"
    eventually(lambda: len(view.table().batches) == 2)
    scan, rest = view.table().batches
    assert (scan.total, scan.letters, scan.own) == (5, "HHHHH", False)
    assert scan.spans == ((mine, 0, 2), (beside, 0, 3))
    assert scan.ids == f"{mine}.0 ... {beside}.2"
    assert scan.constraint == f"(ClusterId >= {mine} && ClusterId <= {beside})"
    assert (rest.name, rest.counts, rest.ids) == ("", {"held": 2}, f"{other}.0-1")
    assert rest.owner
    assert [job.command for job in rest.jobs()] == ["sleep 600 0", "sleep 600 1"]
    assert rest.jobs()[0].reason == rest.hold != ""
    assert not any(cluster == mine for cluster, _ in view.source._feed.rows), "own ones are not asked after"
    assert view.table().where == tool("condor_q", "-totals").stdout.split("Schedd: ")[1].split(" :")[0]
    assert time.time() - view.table().seen < 30

    for_one = watch(f"{other}", queue=queue)
    eventually(lambda: for_one.table().batches)
    held = watch(queue=queue, constraint="ProcId == 1")
    eventually(lambda: len(held.table().batches) == 2)
    assert [batch.total for batch in held.table().batches] == [2, 1]
    assert held.table().batches[1].constraint == f"(ClusterId == {other}) && (ProcId == 1)"
    new = send(kernel, "--name new", HELD)
    eventually(lambda: named(view, "new"))
    eventually(lambda: not any(cluster == new for cluster, _ in view.source._feed.rows))
    tool("condor_rm", f"{other}.0")
    eventually(lambda: for_one.table().batches[0].counts == {"held": 1, "done": 1})
    assert for_one.table().batches[0].letters == "H"
    assert for_one.table().batches[0].spans == ((other, 1, 1),)
    tool("condor_rm", "-all")
    eventually(lambda: view.table().finished and for_one.table().finished and held.table().finished)
    assert for_one.table().batches[0].gone
    assert named(view, "new").counts == {"removed": 1}


def test_a_constraint_that_does_not_parse_is_told_at_once(queue):
    source = LiveSource(Want(queue=queue, constraint='Owner = "alice"'))
    began = time.monotonic()
    with pytest.raises(CellError) as told:
        source.start(lambda: None)
    assert time.monotonic() - began < 10
    assert "compared by ==" in told.value.hint
    source.close()
    with pytest.raises(CellError):
        LiveSource(Want(words=("a=b",), queue=queue))


def test_a_table_is_not_empty_before_the_schedd_has_answered(queue, watch, bare, empty):
    """A second view of a pool whose feed runs already: what is seen is what is told."""
    bare(f"{HELD}queue 2\n")
    eventually(lambda: watch(queue=queue).table().batches)
    for constraint in ("ProcId == 0", "ProcId < 2"):
        view = watch(queue=queue, constraint=constraint)
        while not (table := view.table()).seen:
            assert not table.finished
        assert table.batches


def test_a_constraint_on_what_no_job_has_is_told(queue, watch, bare, empty):
    bare(f"{HELD}queue\n")
    view = watch(queue=queue, constraint="JobStatsu == 5")
    said = "No job in the queue has an attribute JobStatsu. Did you mean JobStatus?"
    eventually(lambda: view.table().note == said)
    gone = watch("99999", queue=queue)
    eventually(lambda: gone.table().note == "Not in the queue: 99999. Ended already? %condor_history 99999")


def test_a_view_of_nothing(queue, watch, empty):
    waiting = watch(queue=queue)
    gone = watch("99999", queue=queue)
    eventually(lambda: gone.table().finished)
    assert gone.table().batches == ()
    eventually(lambda: waiting.table().seen)
    assert not waiting.table().finished


def test_a_frozen_schedd_makes_the_table_stale_and_own_clusters_live_on(queue, kernel, watch, bare, empty):
    send(kernel, "--name alive", "executable = /bin/sleep\narguments = 600\n")
    bare(f"{HELD}queue\n")
    view = watch(queue=queue)
    eventually(lambda: len(view.table().batches) == 2)
    schedd = daemon(places.pool_dir(), "schedd")
    os.kill(schedd, 19)
    try:
        eventually(lambda: view.table().stale, 40)
        table = view.table()
        assert "schedd" in table.note
        assert time.time() - table.seen > 3
        assert len(table.batches) == 2
        assert view.seen[-1][1].stale, "the view was told"
        began = time.monotonic()
        late = watch(queue=queue)
        assert named(late, "alive") is not None
        assert time.monotonic() - began < 5
        eventually(lambda: late.table().stale, 20)
        assert late.table().seen < time.time() - 3
    finally:
        os.kill(schedd, 18)
    eventually(lambda: not view.table().stale, 40)
    assert view.table().note == ""
    eventually(lambda: len(late.table().batches) == 2)


def test_a_dag_is_one_batch(queue, watch, bare, empty):
    root = bare(
        "universe = scheduler\nexecutable = /bin/sleep\narguments = 600\nhold = true\n"
        "+DAG_NodesTotal = 5\n+DAG_NodesDone = 1\nqueue\n"
    )
    node = bare(f'{HELD}+DAGManJobId = {root}\n+DAGNodeName = "A"\nqueue 2\n')
    orphan = bare(f'{HELD}+DAGManJobId = 99999\n+DAGNodeName = "<b>"\nqueue\n')
    view = watch(queue=queue)
    eventually(lambda: len(view.table().batches) == 2)
    dag, left = view.table().batches
    assert (dag.name, dag.total, dag.counts) == (f"DAG: {root}", 5, {"held": 2, "done": 1})
    assert (dag.ids, dag.letters) == (f"{node}.0-1", "HH")
    assert dag.constraint == f"(ClusterId >= {root} && ClusterId <= {node}) || DAGManJobId == {root}"
    assert (left.name, left.ids) == ("NODE: <b>", f"{orphan}.0")


def test_a_deleted_log_is_told(kernel, watch, empty):
    send(kernel, "--name lost", HELD)
    view = watch("lost")
    assert view.table().batches[0].own
    store.cluster("lost").log.unlink()
    eventually(lambda: "deleted" in view.table().note)
    assert not view.table().batches[0].own
    assert view.table().batches[0].counts == {"held": 1}


def row(**values):
    return tuple(values.get(name) for name in PROJECTION)


def test_times_are_by_this_machines_clock():
    others = Others(resolve.Pool(origin="a test"), partial=False)
    one = row(ClusterId=7, ProcId=0, JobStatus=2, QDate=5000, JobCurrentStartDate=6000, Owner="alice")
    others.take({(7, 0): one}, {(7, 0)}, 3600.4, "alice")
    (part,) = others.parts(set())
    assert abs(part.submitted - 1399.6) < 0.01
    assert abs(part.jobs.job(0).started - 2399.6) < 0.01
    others.take({(7, 0): one}, {(7, 0)}, 0.7, "alice")  # whole seconds tell no more
    assert others.parts(set())[0].submitted == 5000


def test_ads_without_the_usual_attributes():
    others = Others(resolve.Pool(origin="a test"), partial=False)
    rows = {
        (1, 0): row(ClusterId=1, ProcId=0),
        (2, 0): row(ClusterId=2, ProcId=0, JobStatus="x", QDate=float("nan"), TotalSubmitProcs=float("inf"), Owner=5),
        (3, 4): row(ClusterId=3, ProcId=4, JobStatus=99, DAGManJobId="99999999999999999999.0", JobBatchName=7),
        (4, 0): row(ClusterId=4, ProcId=0, JobStatus=5, TotalSubmitProcs=10, JobMaterializeNextProcId=4),
        (5, 0): row(ClusterId=5, ProcId=0, JobStatus=7, DAGManJobId=5, JobUniverse=7),
    }
    others.take(rows, set(rows), 0.0, "")
    parts = {part.cluster: part for part in others.parts(set())}
    assert [parts[n].counts for n in (1, 2, 3)] == [{"idle": 1}] * 3
    assert parts[4].counts == {"held": 1, "idle": 6, "done": 3}
    assert parts[4].total == 10
    assert parts[3].spans == ((3, 4, 1),)
    assert parts[1].jobs.job(0).command == ""
    assert spans(1, [0, 1, 2, 5, 7, 8]) == ((1, 0, 3), (1, 5, 1), (1, 7, 2))


def test_a_stopped_and_a_purged_pool_are_told(tmp_path_factory):
    with at_home(tmp_path_factory.mktemp("purged")) as folder:
        resolve.personal_pool()
        submits = Kernel(tmp_path_factory.mktemp("submits"))
        try:
            assert submits.run("%load_ext htcmagic").error is None
            send(submits, "--name left", HELD)
        finally:
            submits.stop()
        source = LiveSource(Want())
        source.start(lambda: None)
        try:
            assert source.table().batches[0].counts == {"held": 1}
            personal.down()
            eventually(lambda: source.table().note == "The personal pool is down.")
            assert source.table().batches[0].counts == {"held": 1}
            take_down(folder)
            eventually(lambda: source.table().finished)
            assert source.table().batches[0].counts == {"removed": 1}
            resolve.personal_pool()  # its clusters are counted from 1 again
            again = Kernel(tmp_path_factory.mktemp("again"))
            try:
                assert again.run("%load_ext htcmagic").error is None
                assert send(again, "--name left -n 2", HELD) == 1
            finally:
                again.stop()
            eventually(lambda: [batch.counts for batch in source.table().batches] == [{"held": 2}])
            assert not source.table().finished
        finally:
            source.close()
