"""The text of a queue against the real condor_q: both look at the same real queue, and must say the same bytes."""

import os
import re
import subprocess
import time
from types import SimpleNamespace

import pytest
from conftest import own_pool

from htcmagic import queue
from htcmagic.errors import CellError
from htcmagic.pool import programs
from htcmagic.pool.client import Client
from htcmagic.queue.rows import BATCH_PROJECTION, JOB_PROJECTION


@pytest.fixture(scope="session")
def real_pool(tmp_path_factory):
    """Yield a pool of its own: ``client``, ``htcondor2``, ``tool(program, *args)`` for the real programs."""
    with own_pool(tmp_path_factory.mktemp("queue")) as (pool, env):
        os.environ["CONDOR_CONFIG"] = pool.config
        import htcondor2

        htcondor2.reload_config()
        del os.environ["CONDOR_CONFIG"]
        client = Client(pool)
        client.bindings = htcondor2.Schedd()
        programs_found = programs.find()

        def tool(program, *words):
            command = [programs_found.program(program), *words]
            return subprocess.run(command, capture_output=True, check=False, timeout=60, env=env).stdout

        yield SimpleNamespace(client=client, htcondor2=htcondor2, tool=tool, env=env, bin=programs_found.bin)
        client.close()


@pytest.fixture(scope="session")
def empty_view(real_pool):
    """Return what both say of a user who has nothing, taken before there is much."""
    return both(real_pool, ["nosuchuser"])


BASE = "request_memory = 1\nrequest_disk = 1\nrequest_cpus = 1\n"
NEVER = BASE + "executable = /bin/sleep\narguments = 1000\nrequirements = false\n"
HELD = BASE + "executable = /bin/sleep\narguments = $(Process)\nhold = true\n"


@pytest.fixture(scope="session")
def crowd(real_pool, empty_view):
    """Fill a queue with about everything; yield its clusters by name."""
    h, schedd = real_pool.htcondor2, real_pool.client.bindings

    def submit(text, count=1):
        return schedd.submit(h.Submit(text), count=count).cluster()

    short = submit(BASE + "executable = /bin/true\nleave_in_queue = true\n", 2)
    wait_for(schedd, short, lambda states: set(states) == {4})
    ids = {
        "done": short,
        "idle": submit(NEVER, 3),
        "one": submit(NEVER),
        "held": submit(HELD, 4),
        "run": submit(BASE + "executable = /bin/sleep\narguments = 100000\n", 3),
        "removed": submit(NEVER + "leave_in_queue = true\n", 3),
        "batch": submit(HELD + '+JobBatchName = "fits"\n', 2),
        "batch2": submit(NEVER + '+JobBatchName = "fits"\n', 2),
        "long": submit(HELD.replace("/bin/sleep", "/tmp/" + "p" * 200) + f'+JobBatchName = "{"b" * 200}"\n', 2),
        "unicode": submit(
            HELD.replace("/bin/sleep", "/tmp/prögrämm-測定").replace("$(Process)", "\"'ä b' ß 測 ''\"")
            + '+JobBatchName = "näme 測定"\n'
        ),
        "odd": submit(HELD.replace("$(Process)", "a  b   ") + '+JobBatchName = ""\n'),
        "described": submit(HELD + "description = Größe & <b>\n"),
        "late": submit(NEVER + "max_materialize = 3\n", 40),
        "late held": submit(NEVER + 'max_idle = 2\n+JobBatchName = "late"\n', 7),
        "holes": submit(HELD, 300),
        "dag": submit("universe = scheduler\nexecutable = /bin/sleep\narguments = 99999\n"),
        "local": submit("universe = local\nexecutable = /bin/sleep\narguments = 99999\nhold = true\n"),
    }
    dag = ids["dag"]
    node = f'+DAGManJobId = {dag}\n+DAGNodeName = "A"\n'
    ids |= {
        "node": submit(HELD + node, 2),
        "node2": submit(NEVER + node.replace('"A"', '"B"')),
        "orphan": submit(NEVER + '+DAGManJobId = 1\n+DAGNodeName = "lost"\n', 2),
        "subdag": submit(
            f"universe = scheduler\nexecutable = /bin/sleep\narguments = 99999\n{node}+DAG_NodesTotal = 9\n"
        ),
        "named dag": submit(
            'universe = scheduler\nexecutable = /bin/sleep\narguments = 9999\n+JobBatchName = "my dag"\n'
        ),
    }
    ids["grandchild"] = submit(HELD + node.replace(str(dag), str(ids["subdag"])), 3)
    schedd.edit(f"ClusterId == {dag}", "DAG_NodesTotal", "12")
    schedd.edit(f"ClusterId == {dag}", "DAG_NodesDone", "5")
    dress(schedd, ids, h)
    settle(schedd, ids, h)
    yield ids
    schedd.edit("true", "LeaveJobInQueue", "false")
    schedd.act(h.JobAction.Remove, "true")


def dress(schedd, ids, h):
    """Give jobs of the crowd the values that only time would bring."""
    idle, held = ids["idle"], ids["held"]
    for job, name, value in (
        (f"{idle}.0", "ImageSize", "104857600"),
        (f"{idle}.1", "ImageSize", "1000000"),
        (f"{idle}.1", "JobPrio", "-12345"),
        (f"{idle}.2", "TransferringInput", "true"),
        (f"{idle}.2", "TransferQueued", "true"),
        (f"{held}.0", "LastRemoteWallClockTime", "100000.7"),
        (f"{held}.1", "MemoryUsage", "((ResidentSetSize + 1023) / 1024)"),
        (f"{held}.1", "ResidentSetSize", "123456"),
        (f"{held}.2", "TransferringOutput", "true"),
        (f"{held}.3", "JobCoolDownExpiration", str(int(time.time()) + 9999)),
        (f"{held}.3", "QDate", "1700000000"),
    ):
        schedd.edit([job], name, value)
    holes = ids["holes"]
    schedd.act(h.JobAction.Remove, f"ClusterId == {holes} && ProcId % 3 == 1")
    schedd.act(h.JobAction.Remove, f"ClusterId == {ids['removed']} && ProcId > 0")
    schedd.act(h.JobAction.Hold, f"ClusterId == {idle} && ProcId == 0", reason=("by hand", 7))
    schedd.act(h.JobAction.Hold, f"ClusterId == {ids['late held']} && ProcId == 0")


def wait_for(schedd, cluster, enough):
    """Wait until the states of a cluster's jobs are enough."""
    deadline = time.monotonic() + 60
    while not enough(states := [ad["JobStatus"] for ad in schedd.query(f"ClusterId == {cluster}", ["JobStatus"])]):
        assert time.monotonic() < deadline, states
        time.sleep(0.1)


def settle(schedd, ids, h):
    """Wait until jobs run, then suspend one."""
    wait_for(schedd, ids["run"], lambda states: 2 in states)
    time.sleep(1)
    running = schedd.query(f"ClusterId == {ids['run']} && JobStatus == 2", ["ProcId"])
    schedd.act(h.JobAction.Suspend, [f"{ids['run']}.{running[0]['ProcId']}"])
    wait_for(schedd, ids["run"], lambda states: 7 in states)
    time.sleep(1)


def both(pool, words, **flags):
    """Ask the real program and ours until both saw the same second; return both answers without address and time."""
    options = [*(["-nobatch"] if flags.get("nobatch") else []), *(["-allusers"] if flags.get("allusers") else [])]
    if "constraint" in flags:
        options += ["-constraint", flags["constraint"]]
    for _ in range(6):
        ours = str(queue.run(pool.client, queue.request(words, **flags)))
        real = pool.tool("condor_q", *words, *options).decode()
        answers = [re.sub(r"(?m)^(-- Schedd: \S+ : ).*$", r"\1", text) for text in (real, ours)]
        if answers[0] == answers[1]:
            break
        time.sleep(0.3)
    return answers


VIEWS = {
    "default": ([], {}),
    "nobatch": ([], {"nobatch": True}),
    "allusers": ([], {"allusers": True}),
    "allusers nobatch": ([], {"allusers": True, "nobatch": True}),
    "constraint": ([], {"constraint": "JobStatus == 5"}),
    "constraint nobatch": ([], {"constraint": "JobStatus == 5 || ProcId > 200", "nobatch": True}),
    "nothing": ([], {"constraint": "false"}),
    "nothing nobatch": ([], {"constraint": "false", "nobatch": True}),
    "nobody": (["nosuchuser"], {"nobatch": True}),
}


@pytest.mark.parametrize("view", VIEWS)
def test_same_bytes_as_condor_q(real_pool, crowd, view):
    words, flags = VIEWS[view]
    real, ours = both(real_pool, words, **flags)
    assert ours == real
    assert real.count("\n") > 5


def test_same_bytes_for_an_empty_answer(empty_view):
    real, ours = empty_view
    assert ours == real


@pytest.mark.parametrize("nobatch", [False, True])
def test_same_bytes_for_every_cluster_alone(real_pool, crowd, nobatch):
    for name, cluster in crowd.items():
        real, ours = both(real_pool, [str(cluster)], nobatch=nobatch)
        assert ours == real, name
        real, ours = both(real_pool, [f"{cluster}.1", f"{cluster}.0"], nobatch=nobatch)
        assert ours == real, name


def test_same_bytes_for_words_of_all_kinds(real_pool, crowd):
    owner = real_pool.client.query("true", ["Owner"]).rows[0][0]
    for words in ([owner], [owner, "nosuchuser"], [str(crowd["dag"]), f"{crowd['held']}.2", "nosuchuser"], ["999999."]):
        for flags in ({}, {"nobatch": True}, {"constraint": "ProcId == 0"}):
            real, ours = both(real_pool, words, **flags)
            assert ours == real, words


def test_heading_tells_schedd_address_and_time(real_pool):
    line = str(queue.run(real_pool.client, queue.request([]))).splitlines()[2]
    real = real_pool.tool("condor_q").decode().splitlines()[2]
    assert line.partition(" @ ")[0] == real.partition(" @ ")[0]
    assert re.fullmatch(r"\d\d/\d\d/\d\d \d\d:\d\d:\d\d", line.partition(" @ ")[2])


def test_rows_of_a_real_queue(real_pool, crowd):
    table = queue.run(real_pool.client, queue.request([str(crowd["held"])], nobatch=True))
    assert len(table) == 4
    first = table[0]
    assert (first.id, first.state, first.status, first.command) == (f"{crowd['held']}.0", "H", 5, "sleep 0")
    assert first.run_time.total_seconds() == 100000
    assert table[1].size_mb == 123  # the schedd rounds sizes up
    assert table[2].state == ">"
    assert table[3].state == "Hc"
    assert table[3].submitted.timestamp() == 1700000000
    batch = queue.run(real_pool.client, queue.request([str(crowd["dag"])]))
    assert [row.batch_name for row in batch] == [f"DAG: {crowd['dag']}"]


# what is asked


def test_request_composes_as_condor_q_does(real_pool):
    for words, flags in (
        (["5"], {}),
        (["5"], {"nobatch": True}),
        (["5.0", "6.1", "7."], {}),
        (["bob", "joe", "5"], {"constraint": "a == 1"}),
        ([], {"constraint": "a == 1"}),
        (["007.01"], {"nobatch": True}),
    ):
        options = ["-nobatch"] if flags.get("nobatch") else []
        options += ["-constraint", flags["constraint"]] if "constraint" in flags else []
        said = subprocess.run(
            [f"{real_pool.bin}/condor_q", *words, *options, "-dry-run"],
            capture_output=True,
            text=True,
            check=True,
            env=real_pool.env,
        )
        constraint = re.search(r"(?m)^Constraint: (.*)$", said.stderr)[1]
        my_jobs = re.search(r"fetch=(\d)", said.stderr)[1] == "4"
        request = queue.request(words, **flags)
        assert request.constraint == constraint
        assert request.my_jobs == my_jobs


def test_default_request():
    assert queue.request([]) == queue.Request("true", BATCH_PROJECTION, nobatch=False, my_jobs=True, partial=False)
    assert queue.request([], allusers=True).my_jobs is False
    assert queue.request([], nobatch=True).projection == JOB_PROJECTION


@pytest.mark.parametrize(
    "word", ["-hold", "1.2.3", "17,18", "a b", 'x"||true||"', "", "1e3", "99999999999", "٣", "JobStatus==1"]
)
def test_nonsense_words_are_refused_with_a_hint(word):
    with pytest.raises(CellError) as caught:
        queue.request([word])
    assert caught.value.hint
