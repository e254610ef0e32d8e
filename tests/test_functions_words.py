"""The same words for the same things in cells, maps, executors and tasks; messages that can be pasted."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import pytest
from conftest import Kernel, Outcome
from executors import double, of_notebook, rest, until

import htcmagic
from htcmagic.errors import CellError, HTCMagicError, Interrupted, TaskFailed, WorkerLost
from htcmagic.functions import tags, waiting

AGAIN = "Stopped waiting. To remove the jobs, too: interrupt again within 2 s.\n"


@of_notebook
def end(how: str) -> None:
    import os
    import sys

    if how == "exit":
        sys.exit("so long")
    if how == "interrupt":
        raise KeyboardInterrupt
    os._exit(3)


@of_notebook
def odd() -> Any:
    class Odd:
        def __reduce__(self) -> Any:
            return eval, ("1/0",)

    return Odd()


@pytest.fixture(autouse=True)
def swept(pool: Any) -> Iterator[None]:
    """Leave no map behind."""
    yield
    for tag in tags.known():
        htcmagic.load(tag).delete()


@pytest.fixture
def ex(pool: Any) -> Iterator[htcmagic.Executor]:
    made = htcmagic.Executor(workers=1)
    yield made
    made._execution.end()


@pytest.fixture(scope="module")
def notebook(pool: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    started = Kernel(tmp_path_factory.mktemp("notebook"))
    assert started.run("%load_ext htcmagic\nimport htcmagic, time, threading").error is None
    yield started
    started.stop()


def interrupted(notebook: Kernel, cell: str, times: int, after_s: float = 1.0) -> Outcome:
    """Run a cell and press stop, once or twice."""
    notebook.run(cell, send_only=True)
    time.sleep(after_s)
    for number in range(times):
        time.sleep(0.5 if number else 0)
        notebook.manager.interrupt_kernel()
    return notebook.collect()


def test_what_would_end_the_session_is_a_failed_task_everywhere(ex: htcmagic.Executor) -> None:
    made = htcmagic.map(end, ["exit", "interrupt", "crash"], chunk=1).wait(60)
    calls = [ex.submit(end, how) for how in ("exit", "interrupt", "crash")]
    for errors in (made.errors, [call.exception() for call in calls]):
        assert [type(errors[n]) for n in range(3)] == [TaskFailed, TaskFailed, WorkerLost]
        assert str(errors[0]) == "SystemExit: so long"
    assert repr(calls[0]) == "<TaskFuture end('exit') failed>"


def test_what_was_cancelled_is_told_without_frames(ex: htcmagic.Executor) -> None:
    first, second = ex.submit(rest, 5), ex.submit(rest, 6)
    assert second.cancel()
    for ask in (second.result, second.exception):
        with pytest.raises(futures.CancelledError, match=r"^rest\(6\) was cancelled\.$") as told:
            ask()
        assert isinstance(told.value, HTCMagicError)
    assert not first.done()


def test_what_is_shut_down_says_what_to_do(ex: htcmagic.Executor) -> None:
    ex.shutdown()
    with pytest.raises(RuntimeError, match=r"after shutdown\nMake a new one: htcmagic\.Executor") as told:
        ex.submit(double, 1)
    assert isinstance(told.value, HTCMagicError)


def test_an_argument_that_cannot_be_sent_is_named(ex: htcmagic.Executor) -> None:
    lock = threading.Lock()
    for ask, named in (
        (lambda: htcmagic.map(double, [lock]), "The argument of item 0"),
        (lambda: htcmagic.map(pow, [lock], [2]), "Argument 1 of item 0"),
        (lambda: ex.submit(double, lock).result(), "The argument of double(<lock>)"),
        (lambda: ex.submit(double, x=lock).result(), "x, which double(x=<lock>) uses,"),
    ):
        with pytest.raises(CellError, match=f"^{re.escape(named)} cannot be sent to a job: cannot pickle"):
            ask()


def test_a_result_that_cannot_be_read_names_the_call(ex: htcmagic.Executor) -> None:
    with pytest.raises(HTCMagicError, match=r"^What odd\(\) returned cannot be unpickled here"):
        ex.submit(odd).result()


def test_a_map_of_an_executor_goes_on_when_its_reader_stops_waiting(
    ex: htcmagic.Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = ex.map(rest, [0.3, 0.4])
    monkeypatch.setattr(waiting, "_again", lambda: False)
    monkeypatch.setattr(futures.Future, "exception", _interrupt)
    with pytest.raises(Interrupted):
        next(results)
    monkeypatch.undo()
    assert sorted(call.result() for call in ex.pending) == [0.3, 0.4]


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def test_waiting_for_an_executor_can_be_stopped_and_says_how_to_end_it(notebook: Kernel) -> None:
    notebook.run("ex = htcmagic.Executor(workers=1)\nf = ex.submit(time.sleep, 60)")
    once = interrupted(notebook, "ex.shutdown()", 1)
    assert once.text == AGAIN
    assert once.error is not None
    assert once.error[2].splitlines()[-1] == "To remove them: ex.shutdown(cancel_futures=True)"
    assert notebook.run("print(f.running())").text == "True\n"
    twice = interrupted(notebook, "f.result()", 2)
    assert twice.error is not None
    assert twice.error[2].splitlines() == ["Interrupted: Stopped waiting, and removed the jobs."]
    assert notebook.run("f").result == "<TaskFuture sleep(60) cancelled>"


def test_a_cell_that_is_waited_for_hears_the_second_interrupt(notebook: Kernel) -> None:
    twice = interrupted(notebook, "%%condor_python -o c --wait\nimport time\ntime.sleep(60)", 2)
    assert twice.text.endswith(AGAIN)
    assert twice.error is not None
    assert twice.error[2].splitlines() == ["Interrupted: Stopped waiting, and removed the jobs."]
    assert notebook.run("c.wait(30).status['removed']").result == "1"
    error = notebook.run("c.result()").error
    assert error is not None
    assert re.fullmatch(r"Cancelled: Job \d+\.0 was cancelled\.\nRun it again: \.rerun\(\)", error[2])


def test_what_a_cell_shows_knows_of_every_result_that_was_read(notebook: Kernel) -> None:
    notebook.run("three = [1, 2, 3]")
    assert notebook.run("%%condor_python --over three -o fits\nfit = 2 * item").error is None
    assert notebook.run("print(fits.results(), ' 3 done' in repr(fits))").text == "[2, 4, 6] True\n"


def test_a_map_that_is_waited_for_in_a_cell_is_shown_once(notebook: Kernel) -> None:
    shown = notebook.run("htcmagic.map(time.sleep, [2]).wait()")
    assert len(shown.data) == 1
    until(lambda: "1 done" in notebook.run("htcmagic.load('sleep-1')").result)
