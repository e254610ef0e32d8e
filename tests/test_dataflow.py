"""Futures as arguments: found, waited for, filled in; failures with the chain that led to them."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

from htcmagic.errors import DependencyFailed, HTCMagicError, JobError
from htcmagic.functions import dataflow


class Pair(NamedTuple):
    left: Any
    right: Any


class Flow:
    """Calls on threads, wired as those of our executor are."""

    def __init__(self) -> None:
        self.threads = ThreadPoolExecutor(4)
        self.started: list[str] = []

    def submit(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        out: Future[Any] = Future()
        out.label = dataflow.label(call, args, kwargs)  # type: ignore[attr-defined]

        def done(inner: Future[Any]) -> None:
            error = inner.exception()
            if error is not None:
                out.set_exception(error)
            else:
                out.set_result(inner.result())

        def start() -> None:
            self.started.append(out.label)  # type: ignore[attr-defined]
            given, named = dataflow.filled(args, kwargs)
            self.threads.submit(call, *given, **named).add_done_callback(done)

        dataflow.after(dataflow.futures_in(args, kwargs), start, out.set_exception, out.label)  # type: ignore[attr-defined]
        return out


@pytest.fixture
def flow() -> Iterator[Flow]:
    made = Flow()
    yield made
    made.threads.shutdown()


def load(seed: int) -> int:
    if seed < 0:
        raise ValueError(f"no seed {seed}")
    return seed


def total(parts: Any, **_more: Any) -> int:
    return sum(parts)


def finished(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future


def test_futures_are_found_in_boxes_and_each_once() -> None:
    one, two, three = Future[int](), Future[int](), Future[int]()
    found = dataflow.futures_in((one, [two, (one, {"x": {three}})], 3), {"again": [one], "text": "abc"})
    assert {id(f) for f in found} == {id(one), id(two), id(three)}
    assert len(found) == 3
    assert dataflow.futures_in((1, [2], "abc"), {"x": {"y": 3}}) == []
    assert dataflow.futures_in((Pair(one, 2),), {}) == [one]


def test_a_list_that_holds_itself_is_no_endless_loop() -> None:
    ring: list[Any] = [finished(1)]
    ring.append(ring)
    (found,), _ = dataflow.filled((ring,), {})
    assert dataflow.futures_in((ring,), {}) == [ring[0]]
    assert found[0] == 1
    assert found[1] is found


def test_results_take_the_places_of_futures_and_nothing_else_is_copied() -> None:
    untouched = [1, {"a": 2}]
    args, kwargs = dataflow.filled(
        (finished(1), [finished(2), (finished(3),)], untouched, Pair(finished(4), 5)), {"x": {"y": finished(6)}}
    )
    assert args == (1, [2, (3,)], [1, {"a": 2}], Pair(4, 5))
    assert args[2] is untouched
    assert type(args[3]) is Pair
    assert kwargs == {"x": {"y": 6}}


def test_work_starts_when_its_inputs_are_there(flow: Flow) -> None:
    def wait() -> int:
        time.sleep(0.2)
        return 5

    slow = flow.submit(wait)
    later = flow.submit(total, [slow, flow.submit(load, 2)], why=finished(1))
    assert not later.done()
    assert later.result(10) == 7
    assert flow.started[-1].startswith("total(")


def test_a_failed_input_is_named_with_its_reason(flow: Flow) -> None:
    error = flow.submit(total, [flow.submit(load, 1), flow.submit(load, -3)]).exception(10)
    assert isinstance(error, DependencyFailed)
    assert isinstance(error, JobError)
    assert error.message == "total([load(1), load(-3)]) was not run: its input load(-3) raised ValueError: no seed -3"
    assert error.chain == ("load(-3)",)
    assert isinstance(error.root, ValueError)
    assert error.__cause__ is error.root
    assert "total([load(1), load(-3)])" not in flow.started


def test_the_chain_goes_through_several_levels(flow: Flow) -> None:
    broken = flow.submit(load, -1)
    middle = flow.submit(total, [broken])
    error = flow.submit(total, (middle, 1), end=True).exception(10)
    assert isinstance(error, DependencyFailed)
    assert error.message.endswith("was not run: load(-1), which it depends on, raised ValueError: no seed -1")
    assert error.hint == "  total((total(…), 1), end=True) ← total([load(-1)]) ← load(-1)"
    assert error.chain == ("total([load(-1)])", "load(-1)")


def test_where_it_failed_in_its_job_is_shown_too(flow: Flow) -> None:
    broken: Future[Any] = Future()
    problem = ValueError("bad")
    problem._render_traceback_ = lambda: ["Traceback (in the job …)", "ValueError: bad"]  # type: ignore[attr-defined]
    broken.set_exception(problem)
    error = flow.submit(total, [broken]).exception(10)
    assert isinstance(error, DependencyFailed)
    lines = error._render_traceback_()
    assert lines[0].startswith("DependencyFailed: total([a Future]) was not run")
    assert lines[-3:] == ["a Future:", "Traceback (in the job …)", "ValueError: bad"]


def test_a_cancelled_input_is_told_as_that(flow: Flow) -> None:
    never: Future[Any] = Future()
    later = flow.submit(total, [never])
    assert never.cancel()
    error = later.exception(10)
    assert isinstance(error, DependencyFailed)
    assert error.message == "total([a Future]) was not run: its input a Future was cancelled."
    assert isinstance(error.root, CancelledError)


def test_it_fails_with_the_first_and_once(flow: Flow) -> None:
    never, broken, again = Future[int](), Future[int](), Future[int]()
    said: list[BaseException] = []
    dataflow.after([never, broken, again], lambda: pytest.fail("started"), said.append)
    broken.set_exception(KeyError("x"))
    again.set_exception(KeyError("y"))
    never.set_result(1)
    assert len(said) == 1
    assert str(said[0]).splitlines()[0] == "The task was not run: its input a Future raised KeyError: 'x'"


def test_what_start_raises_is_the_failure() -> None:
    said: list[BaseException] = []

    def start() -> None:
        raise HTCMagicError("cannot be sent")

    dataflow.after([], start, said.append)
    dataflow.after([finished(1)], start, said.append)
    assert [str(one) for one in said] == ["cannot be sent"] * 2


def test_long_chains_do_not_overflow_the_stack(flow: Flow) -> None:
    gate: Future[int] = Future()
    good = bad = gate
    for _ in range(3000):
        good = flow.submit(total, [good])
    assert not good.done()
    gate.set_result(7)
    assert good.result(30) == 7
    bad = flow.submit(load, -1)
    for _ in range(3000):
        bad = flow.submit(total, [bad])
    error = bad.exception(30)
    assert isinstance(error, DependencyFailed)
    assert "… ←" in error.hint
    assert error.hint.endswith("← load(-1)")
    assert len(error.hint) < 1000


def test_arrivals_from_many_threads_start_it_once() -> None:
    for _ in range(50):
        inputs: list[Future[int]] = [Future() for _ in range(8)]
        started: list[int] = []
        dataflow.after(inputs, lambda seen=started: seen.append(1), lambda error: pytest.fail(str(error)))  # type: ignore[misc]
        threads = [threading.Thread(target=one.set_result, args=(1,)) for one in inputs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert started == [1]


def test_the_error_travels(flow: Flow) -> None:
    error = flow.submit(total, [flow.submit(load, -1)]).exception(10)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert str(again) == str(error)
    assert again.chain == ("load(-1)",)
    assert isinstance(again.root, ValueError)


def test_labels_are_short_harmless_and_run_nobodys_code() -> None:
    class Loud:
        def __repr__(self) -> str:
            raise AssertionError("repr() was called")

    assert dataflow.label(load, (3,), {"x": "a"}) == "load(3, x='a')"
    assert dataflow.label(load, (Loud(), [Loud(), [1]], {"a": 1}), {}) == "load(<Loud>, [<Loud>, …], <dict>)"
    assert dataflow.label(load, (10**5000, (1,), list(range(9))), {}) == "load(int…, (1,), [0, 1, 2, 3, …])"
    assert dataflow.label(load, ("\x1b[31mred" + "x" * 1000,), {}).isprintable()
    assert len(dataflow.label(load, tuple("abcdefgh" * 3 for _ in range(100)), {})) <= dataflow.LONGEST
