"""The life of an executor: cancelled calls, its end, its workers, what it shows in a notebook."""

from __future__ import annotations

import contextlib
import gc
import subprocess
import sys
import time
import weakref
from concurrent import futures
from pathlib import Path
from typing import Any

import pytest
from conftest import Kernel
from executors import double, fail, no_jobs, rest, until

import htcmagic
from htcmagic.errors import CellError
from htcmagic.functions import executorhome

pytestmark = pytest.mark.usefixtures("no_trouble")


def test_cancel(make_executor: Any) -> None:
    ex = make_executor()
    first = ex.submit(rest, 1.0)
    until(first.running)
    later = [ex.submit(rest, 0.0) for _ in range(3)]
    told: list[Any] = []
    later[1].add_done_callback(told.append)
    assert later[1].cancel()
    assert later[1].cancelled()
    assert told == [later[1]]
    assert not later[1].running()
    with pytest.raises(futures.CancelledError):
        later[1].result()
    assert later[1] in futures.wait(later, return_when=futures.ALL_COMPLETED).done
    assert [later[0].result(), later[2].result(), first.result()] == [0.0, 0.0, 1.0]
    assert not first.cancel()
    waits = ex.submit(double, ex.submit(rest, 0.5))
    assert waits.cancel()


def test_shutdown_waits_and_refuses_more(make_executor: Any) -> None:
    ex = make_executor()
    future = ex.submit(rest, 0.5)
    ex.shutdown()
    assert future.done()
    assert future.result() == 0.5
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        ex.submit(double, 1)
    with pytest.raises(RuntimeError):
        ex.map(double, [1])
    ex.shutdown()
    assert "shut down" in repr(ex)


def test_shutdown_without_waiting_finishes_what_was_submitted(make_executor: Any) -> None:
    ex = make_executor()
    calls = [ex.submit(rest, 0.2) for _ in range(3)]
    begun = time.monotonic()
    ex.shutdown(wait=False)
    assert time.monotonic() - begun < 0.2
    assert [f.result() for f in calls] == [0.2] * 3
    until(lambda: ex._execution.ended)
    assert no_jobs(ex)


def test_shutdown_cancels_what_has_not_begun(make_executor: Any) -> None:
    ex = make_executor()
    first = ex.submit(rest, 1.0)
    until(first.running)
    calls = [ex.submit(rest, 0.1) for _ in range(50)]
    ex.shutdown(cancel_futures=True)
    assert first.result() == 1.0
    assert sum(f.cancelled() for f in calls) >= 49
    assert no_jobs(ex)


def test_an_interrupted_with_block_leaves_no_job(make_executor: Any) -> None:
    kept = []
    with contextlib.suppress(KeyError), make_executor() as ex:
        kept.append(ex.submit(double, 2))
        raise KeyError
    assert kept[0].result() == 4
    assert no_jobs(ex)


def test_a_forgotten_executor_ends_when_its_calls_have(pool: Any) -> None:
    ex = htcmagic.Executor(workers=1, idle_s=60)
    future = ex.submit(rest, 0.5)
    kept = [ex._execution]
    gone = weakref.ref(ex)
    del ex
    gc.collect()
    assert gone() is None
    assert future.result() == 0.5
    until(lambda: kept[0].ended and not kept[0].workers.alive)
    path = kept[0].path
    assert path.exists()
    del future
    kept.clear()
    until(lambda: gc.collect() >= 0 and not path.exists())


def test_workers_scale_and_end_when_idle(make_executor: Any) -> None:
    ex = make_executor(workers=None, min_workers=0, max_workers=2, idle_s=1.0)
    assert ex.status().workers == {}
    assert ex.submit(double, 1).result() == 2
    assert sum(ex.status().workers.values()) == 1
    assert list(ex.map(rest, [0.6] * 6)) == [0.6] * 6
    assert len(ex._execution.workers._jobs) == 2
    until(lambda: not ex._execution.workers.alive)
    assert ex.submit(double, 2).result() == 4


def test_min_workers_are_there_before_anything_is_to_do(make_executor: Any) -> None:
    ex = make_executor(workers=None, min_workers=1, max_workers=2, idle_s=0.5)
    until(lambda: ex.status().workers.get("running") == 1)
    time.sleep(1.5)
    assert ex.status().workers.get("running") == 1
    ex.shutdown()
    assert no_jobs(ex)


def test_the_status_counts(make_executor: Any) -> None:
    ex = make_executor(name="counts")
    calls = [ex.submit(double, 1), ex.submit(fail, 1), ex.submit(rest, 1.0), ex.submit(double, 2)]
    until(lambda: calls[2].running() and calls[0].done())
    waits = ex.submit(double, calls[2])
    status = ex.status()
    assert status.tasks["done"] + status.tasks["failed"] >= 1
    assert status.tasks["blocked"] == 1
    futures.wait([*calls, waits])
    status = ex.status()
    assert status.tasks == {"done": 4, "failed": 1, "running": 0, "waiting": 0, "blocked": 0, "cancelled": 0}
    assert repr(ex) == "Executor counts: tasks: 4 done, 1 failed; workers: 1 running"
    assert "<b>Executor counts</b>" in status._repr_html_()


def test_hostile_names_are_harmless(make_executor: Any) -> None:
    ex = make_executor(name='<script>alert(1)</script>"x')
    assert "<script>" not in ex.status()._repr_html_()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"workers": 0}, "workers=0: a whole number, 1 or more"),
        ({"workers": 2, "max_workers": 3}, "workers=… says how many"),
        ({"min_workers": 3, "max_workers": 2}, "min_workers=3 is more than max_workers=2"),
        ({"idle_s": 0}, "idle_s=0: seconds are wanted"),
        ({"detach": True}, "by what name is it found again"),
        ({"colour": "red"}, "colour is no submit command"),
    ],
)
def test_slips(pool: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(CellError, match=says):
        htcmagic.Executor(**options)


def test_resources_are_asked_for(make_executor: Any) -> None:
    ex = make_executor(memory="300MB", My_Note='"mine"')
    ex.submit(double, 1).result()
    (cluster,) = ex._execution.workers.clusters
    rows = cluster._client.query(f"ClusterId == {cluster.id}", ["RequestMemory", "Note"]).rows
    assert [tuple(row) for row in rows] == [(300, "mine")]


def test_a_script_that_ends_leaves_no_job(pool: Any, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import htcmagic, time\n"
        "ex = htcmagic.Executor(workers=2, name='script')\n"
        "print(ex.submit(pow, 2, 3).result(), ex._execution.path, ex._execution.workers.clusters[0].id)\n"
        "ex.submit(time.sleep, 100)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    value, path, cluster = done.stdout.split()
    assert value == "8"
    assert not Path(path).exists()
    from htcmagic.pool.resolve import connect

    until(lambda: not connect("", "").query(f"ClusterId == {cluster} && JobStatus != 3", ["ProcId"]).rows)


def test_in_a_notebook(kernel: Kernel) -> None:
    kernel.run("import htcmagic\nex = htcmagic.Executor(workers=2, name='pi')")
    shown = kernel.run("ex")
    assert shown.error is None
    assert "no tasks yet" in shown.data[-1]["text/html"]
    outcome = kernel.run(
        "def f(x):\n    return x * scale\nscale = 3\nimport time\nprint(sum(ex.map(f, range(10))))\ntime.sleep(.6)"
    )
    assert outcome.text == "135\n"
    assert any("10&nbsp;done" in update["text/html"] for update in outcome.updates)
    failed = kernel.run("ex.submit(lambda: 1 / 0).result()")
    assert failed.error is not None
    assert failed.error[0] == "ZeroDivisionError"
    assert "Traceback (in the job" in failed.error[2]
    assert "concurrent/futures" not in failed.error[2]
    ended = kernel.run("ex.shutdown()\nex")
    assert "shut down" in ended.data[-1]["text/html"]


def test_an_interrupt_stops_the_waiting_alone(kernel: Kernel) -> None:
    kernel.run("import htcmagic, time\nex = htcmagic.Executor(workers=1)\nf = ex.submit(time.sleep, 3)")
    kernel.run("f.result()", send_only=True)
    time.sleep(1.0)
    kernel.manager.interrupt_kernel()
    outcome = kernel.collect()
    assert outcome.error is not None
    assert "Stopped waiting" in outcome.error[2]
    assert "shutdown(cancel_futures=True)" in outcome.error[2]
    assert kernel.run("print(f.result())").text == "None\n"


def test_an_interrupt_in_a_with_block_does_not_wait(make_executor: Any) -> None:
    with contextlib.suppress(KeyboardInterrupt), make_executor() as ex:
        first = ex.submit(rest, 1.0)
        later = [ex.submit(rest, 1.0) for _ in range(20)]
        until(first.running)
        begun = time.monotonic()
        raise KeyboardInterrupt
    assert time.monotonic() - begun < 0.9
    assert first.result() == 1.0
    until(lambda: ex._execution.ended)
    assert sum(f.cancelled() for f in later) >= 19
    assert no_jobs(ex)


def test_folders_of_killed_sessions_are_swept(pool: Any) -> None:
    base = executorhome.folder("", detach=False).parent
    left = base / "left"
    left.mkdir()
    (left / executorhome.ABOUT).write_text('{"name": "", "detach": false, "clusters": ["nothing"]}')
    named = base / "named-left"
    named.mkdir()
    (named / executorhome.ABOUT).write_text('{"name": "left", "detach": true, "clusters": []}')
    executorhome.sweep(base)
    until(lambda: not left.exists())  # another sweep, begun with the first line, may have been faster
    assert named.exists()
