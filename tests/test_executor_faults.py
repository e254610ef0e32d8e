"""Executors when things go wrong: every result comes once, nothing stays behind, and the user is told why."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent import futures
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conftest import Kernel
from executors import of_notebook, rest, until

import htcmagic
from htcmagic.errors import HTCMagicError, PythonMismatch, ResultMissing, TimedOut, WorkerLost
from htcmagic.functions import executions, executorhome
from htcmagic.functions.remote import channel, records

pytestmark = pytest.mark.usefixtures("no_trouble")

Real = Callable[..., Any]


@of_notebook
def large(x: int) -> bytes:
    import time

    time.sleep(0.03)
    return bytes([x % 256]) * 4_000_000


@of_notebook
def trace(file: str, seconds: float) -> int:
    import time

    with open(file, "a") as stream:  # noqa: PTH123 - runs in a job
        stream.write("x")
    time.sleep(seconds)
    return len(file)


def worker_pids(path: Path) -> list[int]:
    """Return the parents among the processes of an executor's workers, as this machine counts processes."""
    found: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            except OSError:
                continue
            if b".pyz" in command and os.fsencode(path) in command:
                found[int(entry.name)] = int(parent)
    return [pid for pid, parent in found.items() if parent not in found]


def kill(ex: htcmagic.Executor) -> None:
    until(lambda: worker_pids(ex._execution.path))
    for pid in worker_pids(ex._execution.path):
        os.kill(pid, signal.SIGKILL)


def has_run(file: Path, times: int) -> bool:
    return file.exists() and len(file.read_text()) == times


def clusters(ex: htcmagic.Executor) -> list[str]:
    return [str(c.id) for c in ex._execution.workers.clusters if not c.done]


def test_a_worker_killed_before_it_takes_anything_is_replaced(make_executor: Any) -> None:
    ex = make_executor()
    assert ex.submit(rest, 0.0).result() == 0.0
    kill(ex)
    assert ex.submit(rest, 0.1).result(timeout=40) == 0.1


def test_a_call_whose_worker_is_killed_runs_again_and_then_gives_up(make_executor: Any, tmp_path: Path) -> None:
    ex = make_executor(retries=1)
    file = tmp_path / "trace"
    future = ex.submit(trace, str(file), 1.0)
    until(file.exists)
    kill(ex)
    assert future.result(timeout=40) == len(str(file))
    assert file.read_text() == "xx"
    file.unlink()
    future = ex.submit(trace, str(file), 30.0)
    for times in (1, 2):
        until(partial(has_run, file, times), 40)
        kill(ex)
    with pytest.raises(WorkerLost, match=r"Its worker vanished 2 times while it ran this; job \d") as caught:
        future.result(timeout=40)
    assert "retries=" in caught.value.hint
    assert ex.submit(rest, 0.0).result(timeout=40) == 0.0


def test_without_retries_the_first_kill_is_the_last(make_executor: Any, tmp_path: Path) -> None:
    ex = make_executor(retries=0)
    file = tmp_path / "trace"
    future = ex.submit(trace, str(file), 30.0)
    until(file.exists)
    kill(ex)
    with pytest.raises(WorkerLost, match="Its worker vanished while it ran this"):
        future.result(timeout=40)


@pytest.mark.parametrize("command", ["condor_vacate_job", "condor_rm"])
def test_an_evicted_or_removed_worker_gives_its_call_back(
    make_executor: Any, real: Real, tmp_path: Path, command: str
) -> None:
    ex = make_executor(retries=0 if command == "condor_vacate_job" else 1)
    file = tmp_path / "trace"
    future = ex.submit(trace, str(file), 1.5)
    until(file.exists)
    real(command, *clusters(ex))
    assert future.result(timeout=60) == len(str(file))
    assert file.read_text() == "xx"


def test_a_held_worker_is_shown_with_its_reason(make_executor: Any, real: Real, tmp_path: Path) -> None:
    ex = make_executor(name="held")
    file = tmp_path / "trace"
    future = ex.submit(trace, str(file), 0.5)
    until(file.exists)
    real("condor_hold", *clusters(ex))
    until(lambda: ex.status().workers.get("held") == 1)
    with pytest.raises(TimedOut, match=r"Workers: 1 held. .* held: via condor_hold"):
        future.result(timeout=1)
    assert "held: via condor_hold" in repr(ex)
    assert "held: via condor_hold" in ex.status()._repr_html_()
    assert not future.done()
    real("condor_release", *clusters(ex))
    assert future.result(timeout=60) == len(str(file))


def test_workers_that_match_nothing_are_shown_with_the_reason(make_executor: Any) -> None:
    ex = make_executor(requirements="TARGET.Nonsense =?= 12345")
    future = ex.submit(rest, 0.0)
    until(lambda: ex.status().workers.get("idle") == 1)
    assert [reason.count("idle: ") for reason in ex.status().reasons] == [1]
    with pytest.raises(TimedOut, match=r"Workers: 1 idle\. .* idle: "):
        future.result(timeout=0.5)
    assert future.cancel()
    ex.shutdown()


def test_workers_that_cannot_start_fail_what_waits_for_them(make_executor: Any) -> None:
    ex = make_executor(python="/no/such/python")
    with pytest.raises(WorkerLost, match="The last 3 workers failed: there is no /no/such/python on "):
        ex.submit(rest, 0.0).result(timeout=60)


def test_another_python_is_told(make_executor: Any, tmp_path: Path) -> None:
    python = tmp_path / "python"
    said = "htcmagic: PythonMismatch: the worker has Python 3.9 (/x), the notebook 3.11"
    python.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 97\n")
    python.chmod(0o755)
    tmp_path.chmod(0o755)
    ex = make_executor(python=str(python))
    with pytest.raises(PythonMismatch, match=r"The last 3 workers failed: the worker has Python 3\.9 ") as caught:
        ex.submit(rest, 0.0).result(timeout=60)
    assert "PythonMismatch:" not in caught.value.message


def test_what_the_schedd_refuses_is_told_by_the_future(make_executor: Any) -> None:
    ex = make_executor(requirements="((")
    with pytest.raises(HTCMagicError):
        ex.submit(rest, 0.0).result(timeout=60)


def test_a_session_that_ends_orderly_takes_its_workers_along(start_kernel: Callable[[], Kernel]) -> None:
    kernel = start_kernel()
    told = kernel.run(
        "import htcmagic, time\nex = htcmagic.Executor(workers=1)\nex.submit(pow, 2, 2).result()\n"
        "f = ex.submit(time.sleep, 600)\nprint(ex._execution.path)"
    )
    path = Path(told.text.strip())
    until(lambda: worker_pids(path))
    kernel.manager.shutdown_kernel(now=False)
    until(lambda: not worker_pids(path) and not path.exists(), 10)


@pytest.mark.parametrize("way", ["", "chirp"])
def test_kills_at_random_lose_nothing_and_deliver_nothing_twice(make_executor: Any, way: str) -> None:
    ex = make_executor(workers=2, retries=50, channel=way)
    seen: Counter[int] = Counter()
    calls = [ex.submit(large, i) for i in range(60)]
    for i, future in enumerate(calls):
        future.add_done_callback(lambda _f, i=i: seen.update([i]))
    chance = random.Random(4)  # noqa: S311 - nothing is secret here
    for _ in range(4):
        time.sleep(chance.uniform(0.2, 0.8))
        for pid in worker_pids(ex._execution.path)[:1]:
            os.kill(pid, signal.SIGKILL)
    for i, future in enumerate(calls):
        assert future.result(timeout=90) == bytes([i]) * 4_000_000
    assert seen == Counter(range(60))


def test_results_that_are_lost_are_told(make_executor: Any) -> None:
    ex = make_executor()
    path = ex._execution.path
    future = ex.submit(rest, 0.5)
    until(future.running)
    for pid in worker_pids(path):
        os.kill(pid, signal.SIGSTOP)
    for claim in (path / "claimed").iterdir():
        claim.unlink()
    with pytest.raises(ResultMissing, match="Its result is lost"):
        future.result(timeout=30)
    kill(ex)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_a_result_file_of_another_user_is_not_unpickled(make_executor: Any) -> None:
    ex = make_executor()
    assert ex.submit(rest, 0.0).result() == 0.0
    path = ex._execution.path
    future = ex.submit(rest, 2.0)
    until(future.running)
    foreign = path / "results" / ".foreign"
    records.save(foreign, [({"id": future.id, "ok": True, "job": "1.0"}, [("value", b"cos\nabort\n(tR.")])])
    os.chown(foreign, 12345, -1)
    foreign.rename(path / "results" / "foreign")
    assert future.result(timeout=30) == 2.0
    assert "belongs to another user" in str(ex._execution.spool.refused["foreign"])


def test_a_schedd_that_restarts_is_waited_for(make_executor: Any, real: Real) -> None:
    ex = make_executor(workers=1)
    calls = [ex.submit(rest, 0.4) for _ in range(12)]
    calls[0].result(timeout=30)
    real("condor_restart", "-subsystem", "schedd")
    assert [f.result(timeout=120) for f in calls] == [0.4] * 12
    assert ex.submit(rest, 0.0).result(timeout=60) == 0.0


def test_workers_of_a_killed_session_end(start_kernel: Callable[[], Kernel]) -> None:
    kernel = start_kernel()
    told = kernel.run(
        "import htcmagic, time\nex = htcmagic.Executor(workers=1, lease_s=2)\n"
        "ex.submit(pow, 2, 2).result()\nf = ex.submit(time.sleep, 600)\nprint(ex._execution.path)"
    )
    path = Path(told.text.strip())
    until(lambda: worker_pids(path))
    os.kill(kernel.manager.provisioner.pid, signal.SIGKILL)  # type: ignore[union-attr]
    until(lambda: not worker_pids(path), 30)
    executorhome.sweep(path.parent)
    until(lambda: not path.exists())


DETACHED = "import htcmagic, time\nex = htcmagic.Executor(workers=1, name='pi', detach=True, lease_s=2, idle_s=40)\n"


def test_a_detached_executor_is_found_again(start_kernel: Callable[[], Kernel]) -> None:
    first = start_kernel()
    told = first.run(
        f"{DETACHED}a = ex.submit(pow, 2, 10)\nprint(a.result(), ex._execution.path)\n"
        "calls = [ex.submit(pow, 3, i) for i in range(5)] + [ex.submit(time.sleep, 4)]\ncalls[0].result()\n"
    )
    assert told.error is None, told.error
    value, where = told.text.split()
    assert value == "1024"
    other = start_kernel()
    refused = other.run(DETACHED)
    assert refused.error is not None
    assert "in use by another session" in refused.error[1] + refused.error[2]
    again = first.run(f"{DETACHED}print(len(ex.pending))")
    assert again.text == "5\n"
    os.kill(first.manager.provisioner.pid, signal.SIGKILL)  # type: ignore[union-attr]
    time.sleep(3.0)
    assert worker_pids(Path(where))
    found = other.run(f"{DETACHED}print(sorted(str(f.result()) for f in ex.pending), len(ex.pending))")
    assert found.error is None, found.error
    assert found.text == "['27', '3', '81', '9', 'None'] 0\n"
    assert other.run("print(ex.submit(pow, 2, 5).result()); ex.shutdown()").text == "32\n"
    until(lambda: not worker_pids(Path(where)))


def test_a_detached_executor_outlives_a_session_that_ends(pool: Any) -> None:
    ex = htcmagic.Executor(workers=1, name="outlives", detach=True, idle_s=40)
    assert ex.submit(pow, 2, 3).result() == 8
    future = ex.submit(rest, 1.5)
    until(future.running)
    executions._leave(os.getpid())  # what happens when a session ends
    path = ex._execution.path
    assert worker_pids(path)
    again = htcmagic.Executor(workers=1, name="outlives", detach=True, idle_s=40)
    assert again._execution is not ex._execution
    (left,) = again.pending
    assert left.label == "rest(1.5)"
    assert left.result(timeout=30) == 1.5
    assert again.pending == []
    again.shutdown()
    assert not worker_pids(path)


def test_the_disk_is_full(make_executor: Any) -> None:
    ex = make_executor()
    assert ex.submit(rest, 0.0).result() == 0.0
    tasks = ex._execution.path / "tasks"
    tasks.rmdir()
    tasks.symlink_to("/dev/full")
    with pytest.raises(HTCMagicError, match="Cannot write"):
        ex.submit(rest, 0.0).result(timeout=20)


def test_waiting_and_resting_cost_next_to_nothing(make_executor: Any) -> None:
    ex = make_executor()
    future = ex.submit(rest, 3.0)
    until(future.running)
    (pid,) = worker_pids(ex._execution.path)
    ticks = os.sysconf("SC_CLK_TCK")

    def worker_cpu() -> float:
        return (
            sum(int(word) for word in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]) / ticks
        )

    before, worker_before = time.process_time(), worker_cpu()
    assert future.result() == 3.0
    assert time.process_time() - before < 0.3
    assert worker_cpu() - worker_before < 0.3
    options = json.loads((ex._execution.path / channel.WORKER_FILE).read_text())
    assert options["lease_s"] == 60


def test_held_up_futures_do_not_block_others(make_executor: Any) -> None:
    ex = make_executor(workers=1)
    slow = ex.submit(rest, 1.0)
    quick = [ex.submit(rest, 0.0) for _ in range(20)]
    assert futures.wait([slow, *quick], timeout=30).not_done == set()
