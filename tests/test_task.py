"""``@htcmagic.task``: functions whose calls are jobs, in a real kernel on a real pool."""

from __future__ import annotations

import inspect
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from conftest import Kernel

import htcmagic
from htcmagic.errors import CellError
from htcmagic.functions import memo
from htcmagic.functions.task import Task


@htcmagic.task(cache=True, memory="4GB")
def simulate(seed: int, scale: float = 1.0) -> float:
    """Simulate."""
    return seed * scale


# --- without a pool


def test_it_looks_like_the_function() -> None:
    assert simulate.__name__ == "simulate"
    assert simulate.__doc__ == "Simulate."
    assert list(inspect.signature(simulate).parameters) == ["seed", "scale"]
    assert inspect.unwrap(simulate) is inspect.unwrap(simulate.__wrapped__)
    assert repr(simulate) == "<task simulate (cache, request_memory=4GB)>"
    assert repr(htcmagic.task(len)) == "<task len>"


def test_options_are_as_in_a_submit_description() -> None:
    assert simulate.options == {"request_memory": "4GB"}
    other = simulate.with_options(memory="8GB", cpus=2, max_workers=3)
    assert other.options == {"request_memory": "8GB", "request_cpus": "2", "max_workers": 3}
    assert other.cache
    assert other.with_options(cpus=None, cache=False).options == {"request_memory": "8GB", "max_workers": 3}
    assert not other.with_options(cache=False).cache
    assert simulate.options == {"request_memory": "4GB"}
    with pytest.raises(CellError, match="request_memroy") as slip:
        htcmagic.task(request_memroy="4GB")
    assert "Did you mean request_memory?" in str(slip.value)


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(CellError, match="is no function"):
        htcmagic.task(3)  # type: ignore[call-overload]

    def several() -> Iterator[int]:
        yield 1

    async def later() -> int:
        return 1

    with pytest.raises(CellError, match="several is a generator"):
        htcmagic.task(several)
    with pytest.raises(CellError, match="later is asynchronous"):
        htcmagic.task(later)


def test_a_task_of_a_task_is_one_task() -> None:
    again = htcmagic.task(cpus=2)(simulate)
    assert inspect.unwrap(again.__wrapped__) is inspect.unwrap(simulate.__wrapped__)


def test_local_calls_run_here_and_so_do_their_tasks() -> None:
    @htcmagic.task
    def fib(n: int) -> Any:
        return n if n < 2 else fib(n - 1) + fib(n - 2)  # type: ignore[operator]

    there: Future[int] = Future()
    there.set_result(10)
    assert fib.local(there) == 55
    assert simulate.local(2, scale=3) == 6


def test_it_travels_as_the_plain_function() -> None:
    """A Python without htcmagic gets the function, and the tasks that it calls as functions, too."""
    space: dict[str, Any] = {"__name__": "__main__", "htcmagic": htcmagic}
    source = """
    @htcmagic.task
    def double(x): return 2 * x

    @htcmagic.task
    def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)

    def work(n): return double(fib(n))
    """
    exec(textwrap.dedent(source), space)  # noqa: S102
    for call, expected in ((space["fib"], 55), (space["work"], 110)):
        program = "import pickle, sys; print(pickle.load(sys.stdin.buffer)(10), 'htcmagic' in sys.modules)"
        told = subprocess.run(
            [sys.executable, "-c", program], input=cloudpickle.dumps(call), capture_output=True, check=True
        )
        assert told.stdout.decode() == f"{expected} False\n"


def test_its_key_is_the_function_s(recwarn: pytest.WarningsRecorder) -> None:
    cell = "@htcmagic.task{}\ndef helper(x): return x\ndef work(x): return helper(x) + {}"
    found = []
    for options, number in (("", 1), ("(cpus=2)", 1), ("", 2)):
        space: dict[str, Any] = {"__name__": "__main__", "htcmagic": htcmagic}
        exec(cell.format(options, number), space)  # noqa: S102
        found.append(memo.key(space["work"], (1,), {}))
    assert found[0] == found[1] != found[2]
    assert None not in found
    assert not recwarn.list


def test_a_method_may_be_a_task() -> None:
    class Model:
        def __init__(self, slope: int) -> None:
            self.slope = slope

        @htcmagic.task
        def at(self, x: int) -> int:
            return self.slope * x

    assert isinstance(Model.at, Task)
    assert Model.at.local(Model(3), 4) == 12
    assert Model(3).at.__self__.slope == 3


# --- on the pool

COUNTING = """
import htcmagic, os
OFFSET = 1
def note(seed):
    with open({log!r}, "a") as log:
        log.write(f"{{seed}}\\n")
def helper(x): return x * 10 + OFFSET

@htcmagic.task(cache=True)
def simulate(seed):
    note(seed)
    return helper(seed)
print([f.result(60) for f in [simulate(1), simulate(2)]])
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def ran(log: Path) -> list[int]:
    """Return what was computed since this was last asked."""
    found = sorted(int(line) for line in log.read_text().split()) if log.exists() else []
    log.unlink(missing_ok=True)
    return found


def shown(kernel: Kernel, cell: str) -> str:
    outcome = kernel.run(textwrap.dedent(cell), 120)
    assert outcome.error is None, outcome.error
    return (outcome.text + outcome.result).strip()


def test_calls_are_jobs_and_futures_may_be_their_arguments(kernel: Kernel, real: Callable[..., Any]) -> None:
    cell = """
    import htcmagic, os
    @htcmagic.task
    def load(seed):
        return seed, os.getpid()
    @htcmagic.task(request_cpus=1)
    def total(parts, scale=1):
        return sum(seed for seed, _ in parts) * scale
    @htcmagic.task
    def scale(): return 10
    out = total([load(seed) for seed in range(5)], scale=scale())
    print(type(out).__mro__[-2].__name__, out.result(60))
    print(load(1).result(60)[1] != os.getpid())
    """
    assert shown(kernel, cell).splitlines() == ["Future 100", "True"]
    assert (
        len(shown(kernel, "from htcmagic.functions import sharing; print(*sharing._shared, sep='\\n')").splitlines())
        == 1
    )


def test_idle_workers_make_room_for_other_tasks(kernel: Kernel) -> None:
    cell = """
    import htcmagic, time
    @htcmagic.task(idle_s=600)
    def first(n):
        time.sleep(0.5)
        return n
    @htcmagic.task(memory="512MB", idle_s=600)
    def second(n): return sum(n)
    print(second([first(n) for n in range(6)]).result(60))
    print(first(second([first(1), first(2)])).result(60))
    """
    assert shown(kernel, cell).splitlines() == ["15", "3"]
    assert shown(kernel, "first.shutdown(); second.shutdown(); first(7).result(60)") == "7"
    assert shown(kernel, "sum(htcmagic.map(abs, range(3)).results(60))") == "3"


def test_nothing_is_left_when_the_session_ends(pool: Any, real: Callable[..., Any], notebook_dir: Path) -> None:
    (notebook_dir / "script.py").write_text(
        "import htcmagic\n@htcmagic.task\ndef double(x): return 2 * x\nprint(double(21).result(60))\n"
    )
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, timeout=90, check=False)
    assert done.stdout == "42\n", done.stderr
    assert real("condor_q", "-af", "JobBatchName").stdout == ""


def test_in_a_job_a_task_is_the_function(kernel: Kernel, notebook_dir: Path) -> None:
    (notebook_dir / "own_tasks.py").write_text(
        "import htcmagic\n@htcmagic.task(cpus=1)\ndef double(x): return 2 * x\n@htcmagic.task\ndef one(): return 1\n"
    )
    cell = """
    import htcmagic, own_tasks
    @htcmagic.task
    def inner(x): return x + own_tasks.one()
    @htcmagic.task
    def outer(x): return inner(x) + own_tasks.double(x)
    print(outer(10).result(60), own_tasks.double(4).result(60))
    """
    assert shown(kernel, cell) == "31 8"


def test_a_failed_input_is_shown_with_its_job_s_traceback(kernel: Kernel) -> None:
    cell = """
    import htcmagic
    @htcmagic.task
    def load(seed):
        if seed < 0:
            raise ValueError(f"no seed {seed}")
        return seed
    @htcmagic.task
    def fit(data): return data
    @htcmagic.task
    def plot(fits): return fits
    plot([fit(load(1)), fit(load(-1))]).result(60)
    """
    outcome = kernel.run(textwrap.dedent(cell), 120)
    assert outcome.error is not None
    name, _, text = outcome.error
    assert name == "DependencyFailed"
    lines = text.splitlines()
    assert lines[0].startswith(
        "DependencyFailed: plot([fit(load(1)), fit(load(-1))]) was not run: load(-1), which it depends on, raised"
    )
    assert lines[1] == "  plot([fit(load(1)), fit(load(-1))]) ← fit(load(-1)) ← load(-1)"
    assert 'raise ValueError(f"no seed {seed}")' in text
    assert "htcmagic/functions" not in text


def test_the_cache_through_the_life_of_a_notebook(
    kernel: Kernel, start_kernel: Callable[[], Kernel], log: Path
) -> None:
    cell = COUNTING.format(log=str(log))
    assert shown(kernel, cell) == "[11, 21]"
    assert ran(log) == [1, 2]

    assert shown(kernel, cell) == "[11, 21]"
    moved = "# a comment\n\n\n" + cell.replace("def simulate", "# another\ndef simulate")
    assert shown(kernel, moved) == "[11, 21]"
    assert shown(start_kernel(), cell) == "[11, 21]"
    assert ran(log) == []

    assert shown(kernel, cell.replace("OFFSET = 1", "OFFSET = 2")) == "[12, 22]"
    assert ran(log) == [1, 2]
    assert shown(kernel, cell.replace("x * 10", "x * 20")) == "[21, 41]"
    assert ran(log) == [1, 2]
    assert shown(kernel, cell.replace("return helper(seed)", "return -helper(seed)")) == "[-11, -21]"
    assert ran(log) == [1, 2]
    assert shown(kernel, cell) == "[11, 21]"
    assert ran(log) == []
    assert "simulate" in shown(kernel, "%condor_cache")


def test_maps_and_executors_share_the_cache(kernel: Kernel, start_kernel: Callable[[], Kernel], log: Path) -> None:
    cell = COUNTING.format(log=str(log))
    assert shown(kernel, cell) == "[11, 21]"
    assert ran(log) == [1, 2]
    assert shown(kernel, "list(simulate.map([1, 2, 3]))") == "[11, 21, 31]"
    assert ran(log) == [3]
    direct = "with htcmagic.Executor(cache=True) as ex: print(list(ex.map(simulate.__wrapped__, [1, 3, 4])))"
    assert shown(kernel, direct) == "[11, 31, 41]"
    assert ran(log) == [4]
    other = start_kernel()
    assert shown(other, cell) == "[11, 21]"
    again = "list(htcmagic.map(simulate.__wrapped__, [4, 3, 5], cache=True))"
    assert shown(other, again) == "[41, 31, 51]"
    assert ran(log) == [5]


def test_what_cannot_be_cached_is_computed(kernel: Kernel, log: Path) -> None:
    cell = """
    import htcmagic
    import time
    class Restless:
        def __reduce__(self):
            return Restless, (), {"made": time.monotonic_ns()}
    @htcmagic.task(cache=True)
    def work(x): return 5
    print(work(Restless()).result(60), work(Restless()).result(60))
    """
    told = shown(kernel, cell)
    assert told.endswith("5 5")
    assert told.count("work is not cached: x, which it is given, cannot be recognised in another session") == 1


def test_files_come_from_the_cache_too(kernel: Kernel) -> None:
    cell = """
    import htcmagic
    @htcmagic.task(cache=True)
    def write(text):
        with open("out.txt", "w") as file:
            file.write(text)
        return htcmagic.File("out.txt")
    print([write("hello").result(60).path.read_text() for _ in range(2)])
    """
    assert shown(kernel, cell) == "['hello', 'hello']"
    assert shown(kernel, cell) == "['hello', 'hello']"
