"""htcmagic.Executor as a ``concurrent.futures.Executor``: the behaviours that CPython's own tests ask for."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import weakref
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import pytest
from executors import double, fail, no_jobs, of_notebook, rest, until

import htcmagic
from htcmagic.errors import CellError, HTCMagicError, ResultMissing, TimedOut, WorkerLost
from htcmagic.functions.packing import Packer

pytestmark = pytest.mark.usefixtures("no_trouble")


@of_notebook
def say(x: Any) -> Any:
    print("hello", x)
    return x


@pytest.fixture(scope="module")
def ex(pool: Any) -> Iterator[htcmagic.Executor]:
    with htcmagic.Executor(workers=1, name="tests", idle_s=60) as made:  # other tests want the other core
        yield made


def test_submit(ex: htcmagic.Executor) -> None:
    future = ex.submit(pow, 2, 8)
    assert isinstance(ex, futures.Executor)
    assert isinstance(future, futures.Future)
    assert future.result() == 256
    assert future.done()
    assert not future.running()
    assert future.exception() is None
    assert future.job.partition(".")[0].isdigit()


def test_submit_keywords_named_like_its_own(ex: htcmagic.Executor) -> None:
    assert ex.submit(of_notebook(lambda self, fn: (self, fn)), self=1, fn=2).result() == (1, 2)
    with pytest.raises(TypeError):
        ex.submit(fn=double, x=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        ex.submit()  # type: ignore[call-arg]


def test_map_keeps_the_order(ex: htcmagic.Executor) -> None:
    assert list(ex.map(pow, range(50), range(50))) == list(map(pow, range(50), range(50)))
    assert list(ex.map(double, range(300), chunksize=7)) == [2 * x for x in range(300)]
    assert list(ex.map(double, [])) == []


def test_map_raises_in_its_place(ex: htcmagic.Executor) -> None:
    found = ex.map(divmod, [1, 1, 1, 1], [2, 3, 0, 5])
    assert next(found) == (0, 1)
    assert next(found) == (0, 1)
    with pytest.raises(ZeroDivisionError):
        next(found)


def test_map_timeout(ex: htcmagic.Executor) -> None:
    found = ex.map(rest, [0.0, 0.0, 3.0], timeout=1)
    assert [next(found), next(found)] == [0.0, 0.0]
    with pytest.raises(futures.TimeoutError):
        next(found)


def test_a_failing_iterable_fails_where_it_stands(ex: htcmagic.Executor) -> None:
    def values() -> Iterator[int]:
        yield 1
        raise KeyError("midway")

    with pytest.raises(KeyError, match="midway"):
        ex.map(double, values())
    assert ex.submit(double, 1).result() == 2


def test_many_tasks(ex: htcmagic.Executor) -> None:
    assert [f.result() for f in [ex.submit(double, i) for i in range(3000)]] == [2 * i for i in range(3000)]


def test_an_exception_keeps_its_class_and_the_remote_lines(ex: htcmagic.Executor) -> None:
    future = ex.submit(fail, 7)
    with pytest.raises(ValueError, match="no 7") as caught:
        future.result()
    assert future.exception() is caught.value
    shown = "\n".join(caught.value._render_traceback_())  # type: ignore[attr-defined]
    assert 'raise ValueError(f"no {x}")' in shown
    assert f"In job {future.job} on " in shown
    assert "functions/remote" not in shown
    assert "raise ValueError" in str(caught.value.__cause__)


def test_what_a_call_prints_is_kept(ex: htcmagic.Executor) -> None:
    future = ex.submit(say, 5)
    assert future.result() == 5
    assert future.stdout() == "hello 5\n"
    assert future.outcome is not None
    assert future.outcome.seconds < 5


def test_callbacks(ex: htcmagic.Executor) -> None:
    seen: list[Any] = []
    happened = threading.Event()

    def bad(_future: Any) -> None:
        raise RuntimeError("a callback's own trouble")

    future = ex.submit(rest, 0.1)
    future.add_done_callback(bad)
    future.add_done_callback(seen.append)
    future.add_done_callback(lambda _f: happened.set())
    assert happened.wait(20)
    assert seen == [future]
    future.add_done_callback(lambda f: seen.append(f.result()))
    assert seen == [future, 0.1]


def test_wait_and_as_completed(ex: htcmagic.Executor) -> None:
    quick, bad, slow = ex.submit(double, 1), ex.submit(fail, 1), ex.submit(rest, 1.0)
    done, missing = futures.wait([slow, quick], timeout=20, return_when=futures.FIRST_COMPLETED)
    assert (done, missing) == ({quick}, {slow})
    done, missing = futures.wait([slow, bad], timeout=20, return_when=futures.FIRST_EXCEPTION)
    assert (done, missing) == ({bad}, {slow})
    assert list(futures.as_completed([slow, quick], timeout=20))[-1] is slow
    assert futures.wait([slow, quick, bad]).not_done == set()
    with pytest.raises(futures.TimeoutError):
        list(futures.as_completed([ex.submit(rest, 1.0)], timeout=0))


def test_asyncio_takes_its_futures(ex: htcmagic.Executor) -> None:
    async def main() -> list[Any]:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(ex, double, i) for i in range(5)))

    assert asyncio.run(main()) == [0, 2, 4, 6, 8]


def test_a_time_out_says_how_things_stand(ex: htcmagic.Executor) -> None:
    future = ex.submit(rest, 1.5)
    with pytest.raises(TimedOut, match=r"rest\(1.5\) is not done. Workers: ") as caught:
        future.result(timeout=0.2)
    assert isinstance(caught.value, TimeoutError)
    until(future.running)
    assert not future.cancel()
    assert future.result(timeout=20) == 1.5


def test_what_cannot_be_pickled_is_told_by_the_future(ex: htcmagic.Executor) -> None:
    lock = threading.Lock()
    uses = of_notebook(lambda: lock)
    for future in (ex.submit(uses), ex.submit(double, lock), ex.submit(double, b"x" * (201 << 20))):
        with pytest.raises(CellError):
            future.result()
    with pytest.raises(TypeError, match="cannot pickle"):
        ex.submit(of_notebook(lambda: __import__("threading").Lock())).result()
    assert ex.submit(double, 4).result() == 8


def test_what_cannot_be_unpickled_here_is_told(ex: htcmagic.Executor) -> None:
    @of_notebook
    def trap() -> Any:
        class Trap:
            def __reduce__(self) -> Any:
                return (eval, ("1/0",))

        return Trap()

    with pytest.raises(ResultMissing, match="cannot be unpickled here: ZeroDivisionError"):
        ex.submit(trap).result()


def test_large_results_are_read_when_they_are_asked_for(ex: htcmagic.Executor) -> None:
    future = ex.submit(bytes, 3_000_000)
    futures.wait([future])
    assert future._result is None
    assert future.result() == bytes(3_000_000)
    assert future.exception() is None


def test_workers_cannot_submit(ex: htcmagic.Executor) -> None:
    inner = of_notebook(lambda: ex.submit(double, 1))
    with pytest.raises(CellError, match="an Executor stays in its session"):
        ex.submit(inner).result()


def test_what_a_function_uses_is_looked_at_each_time(ex: htcmagic.Executor) -> None:
    box = {"scale": 2}
    level = 10

    def scaled(x: int) -> int:
        return box["scale"] * x + level

    scaled = of_notebook(scaled)
    first = ex.submit(scaled, 1)
    box["scale"], level = 3, 20
    second = ex.submit(scaled, 1)
    assert (first.result(), second.result()) == (12, 23)


def test_a_function_that_has_not_changed_is_packed_once() -> None:
    packer = Packer()
    namespace: dict[str, Any] = {"__name__": "__main__", "level": 1}
    exec("def f(x): return g(x) + level\ndef g(x): return x", namespace)  # noqa: S102 - as a notebook does
    first = packer.function(namespace["f"])
    assert packer.function(namespace["f"]) is first
    namespace["level"] = 2
    second = packer.function(namespace["f"])
    assert second is not first
    exec("def g(x): return -x", namespace)  # noqa: S102
    assert packer.function(namespace["f"]).name not in {first.name, second.name}
    namespace["level"] = [1]
    assert packer.function(namespace["f"]) is not packer.function(namespace["f"])


def test_futures_as_arguments(ex: htcmagic.Executor) -> None:
    slow = ex.submit(rest, 0.3)
    total = ex.submit(of_notebook(lambda a, b: a + sum(b)), slow, [ex.submit(double, 1), 5])
    assert total.result() == pytest.approx(7.3)
    with pytest.raises(HTCMagicError, match="was not run") as caught:
        ex.submit(double, ex.submit(fail, 1)).result()
    assert isinstance(caught.value.root, ValueError)  # type: ignore[attr-defined]


def test_nothing_of_a_call_is_kept_when_it_has_ended(ex: htcmagic.Executor) -> None:
    class Big:
        pass

    Big = of_notebook(Big)  # type: ignore[misc]  # noqa: N806
    big = Big()
    gone = weakref.ref(big)
    future = ex.submit(of_notebook(lambda _: None), big)
    assert future.result() is None
    del big
    until(lambda: gc.collect() >= 0 and gone() is None)


def test_calls_are_not_computed_twice(make_executor: Any, tmp_path: Path) -> None:
    ex = make_executor(cache=True)
    trace = tmp_path / "trace"

    def traced(x: int, file: str) -> int:
        with open(file, "a") as stream:  # noqa: PTH123
            stream.write("x")
        return x

    traced = of_notebook(traced)
    assert [ex.submit(traced, 1, str(trace)).result() for _ in range(3)] == [1, 1, 1]
    assert trace.read_text() == "x"
    assert ex.submit(traced, 2, str(trace)).result() == 2


def test_output_files_come_home(ex: htcmagic.Executor) -> None:
    def writes() -> Any:
        import htcmagic

        (htcmagic.output_dir() / "a.txt").write_text("content")
        return 1

    future = ex.submit(of_notebook(writes))
    assert future.result() == 1
    assert future.outcome is not None
    assert future.outcome.files()["a.txt"].read_text() == "content"


def test_through_htcondors_own_channel(make_executor: Any) -> None:
    ex = make_executor(workers=2, channel="chirp")
    assert list(ex.map(double, range(500))) == [2 * i for i in range(500)]
    assert len(ex.submit(bytes, 2_000_000).result()) == 2_000_000
    with pytest.raises(WorkerLost):
        ex.submit(os._exit, 1).result()
    ex.shutdown()
    assert no_jobs(ex)


def test_dask_computes_with_it(ex: htcmagic.Executor) -> None:
    dask = pytest.importorskip("dask")
    total = dask.delayed(sum)([dask.delayed(pow)(i, 2) for i in range(20)])
    assert total.compute(scheduler=ex) == sum(i * i for i in range(20))
    with dask.config.set(pool=ex, scheduler="threads"):
        assert total.compute() == sum(i * i for i in range(20))


def test_joblib_and_scikit_learn_compute_with_it(ex: htcmagic.Executor) -> None:
    joblib = pytest.importorskip("joblib")
    from sklearn.datasets import make_classification  # type: ignore[import-untyped]
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
    from sklearn.model_selection import cross_val_score  # type: ignore[import-untyped]

    with ex.joblib():
        assert joblib.Parallel()(joblib.delayed(double)(i) for i in range(100)) == [2 * i for i in range(100)]
        with pytest.raises(ValueError, match="no 3"):
            joblib.Parallel()(joblib.delayed(fail)(i) for i in range(3, 4))
        samples, classes = make_classification(200, random_state=1)
        scores = cross_val_score(LogisticRegression(), samples, classes, cv=4)
    assert scores.tolist() == cross_val_score(LogisticRegression(), samples, classes, cv=4).tolist()
    assert joblib.Parallel(n_jobs=1)(joblib.delayed(double)(i) for i in range(2)) == [0, 2]
