"""Random queues, read from a file by the real ``condor_q -jobads``: what time and luck rarely bring together."""

import random
import time

import pytest
from test_queue_text import real_pool  # noqa: F401 - the fixture

from htcmagic.queue import Snapshot, text
from htcmagic.queue.batches import batches
from htcmagic.queue.rows import BATCH_PROJECTION, JOB_PROJECTION, count

NOW = int(time.time())
COMMANDS = ["/bin/sleep", "e", "/x/y/", "", "ä/ö", "a\\b", "x" * 200]
ARGUMENTS = ["1", "ü ß", "a  ", "", "x'y'", "200"]
NAMES = ["bn", "b2", "näme", "x" * 9, "x" * 10, "x" * 11, "x" * 200, "ID: 3", "a b"]


def random_cluster(luck, number, earlier):
    """Yield the jobs of one cluster as dicts."""

    def maybe(chance, **attributes):
        return attributes if luck.random() < chance else {}

    procs = luck.choice([1, 1, 2, 5, 30])
    procs = sorted(luck.sample(range(luck.choice([procs, procs * 3, 1500])), procs))
    universe = luck.choice([5, 5, 5, 5, 5, 12, 7])
    common = {
        "Owner": luck.choice(["bob", "alice", "cloudsdk", "a", "verylongowner77", "ünï"]),
        "QDate": luck.randint(NOW - 10**7, NOW),
        "JobUniverse": universe,
        "Cmd": luck.choice(COMMANDS),
        **maybe(0.4, JobBatchName=luck.choice(NAMES)),
        **maybe(0.9, TotalSubmitProcs=procs[-1] + 1),
        **maybe(0.2, JobMaterializeNextProcId=procs[-1] + 1),
    }
    if earlier and luck.random() < 0.4:
        dag = luck.choice(earlier)
        common |= {"DAGManJobId": luck.choice([dag, dag, f"{dag}.0", 4, "unknown", 0])}
        common |= maybe(0.8, DAGNodeName=luck.choice("ABC"))
    if universe == 7:
        procs = [0]
        common |= maybe(0.6, DAG_NodesTotal=luck.randint(0, 9), DAG_NodesDone=luck.randint(0, 5))
    for proc in procs:
        yield {
            **common,
            "ClusterId": number,
            "ProcId": proc,
            "JobStatus": luck.choice([1, 2, 3, 4, 5, 6, 7, 1, 2, 5]),
            "JobPrio": luck.choice([0, 0, 0, 5, -10, luck.randint(-2000, 9999)]),
            **maybe(0.5, Args=luck.choice(ARGUMENTS)),
            **maybe(0.2, Arguments=luck.choice(ARGUMENTS)),
            **maybe(0.2, JobDescription=luck.choice(["", "dd"])),
            **maybe(0.1, MATCH_EXP_JobDescription=luck.choice(["", "mm"])),
            **maybe(0.9, ImageSize=luck.choice([0, 45, 1000, 10**5, luck.randint(0, 10**9)])),
            **maybe(0.5, MemoryUsage=luck.choice([0, 5, 12.9, luck.randint(0, 10**5)])),
            **maybe(0.5, LastRemoteWallClockTime=luck.choice([0.0, luck.random() * 10 ** luck.randint(1, 9), 5])),
            **maybe(0.6, ShadowBday=luck.choice([0, NOW - luck.randint(-3, 10**6)])),
            **maybe(0.1, TransferringInput=luck.random() < 0.5),
            **maybe(0.1, TransferringOutput=luck.random() < 0.5),
            **maybe(0.1, TransferQueued=luck.random() < 0.5),
            **maybe(0.1, JobCoolDownExpiration=luck.choice([0, NOW - 9999, NOW + 9999])),
        }


def random_queue(luck):
    number, earlier, jobs = luck.choice([1, 1, 900, 9990, 99990, 12345678]), [], []
    for _ in range(luck.randint(1, 9)):
        number += luck.randint(1, 3)
        jobs += random_cluster(luck, number, earlier)
        earlier.append(number)
    return jobs


def literal(value):
    if isinstance(value, str):
        return f'"{value}"'
    return str(value).lower() if isinstance(value, bool) else repr(value)


@pytest.mark.parametrize("seed", range(40))
def test_random_queue_looks_as_in_condor_q(real_pool, tmp_path, seed):  # noqa: F811
    luck = random.Random(seed)  # noqa: S311
    jobs = random_queue(luck)
    ads = [{**job, "ServerTime": NOW, "RemoteUserCpu": 0.0} for job in jobs]
    luck.shuffle(ads)
    file = tmp_path / "ads"
    file.write_text("\n".join("".join(f"{name}={literal(value)}\n" for name, value in ad.items()) for ad in ads))
    for nobatch, projection in ((True, JOB_PROJECTION), (False, BATCH_PROJECTION)):
        options = ["-nobatch"] if nobatch else []
        real = real_pool.tool("condor_q", "-jobads", str(file), *options).decode().splitlines()
        if not real:
            continue  # condor_q aborts on a few shapes that no DAGMan makes; ours shows them
        rows = [tuple(job.get(name) for name in projection) for job in jobs]
        snapshot = Snapshot(rows, "s", "<a>", NOW, count(rows))
        ours = text.job_lines(snapshot) if nobatch else text.batch_lines(batches(snapshot), rows)
        assert ours == real[3 : 3 + len(ours)]
        assert text.footer(snapshot) == real[-2].rstrip()
