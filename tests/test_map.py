"""htcmagic.map on a real pool: results in order, tags, runs again, views, progress."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pools import eventually

import htcmagic
from htcmagic import places
from htcmagic.errors import CellError, DependencyFailed, HTCMagicError, NoSuchJob, TimedOut
from htcmagic.functions import mapindex, mapping, maprun, tags

PATIENCE_S = 60

CHUNKS = ["auto", 3]


def doubler() -> Callable[[Any], Any]:
    """Return a function that travels by value, as those of notebooks do."""

    def double(x):
        return 2 * x

    return double


@pytest.fixture(autouse=True)
def swept(pool: Any) -> Iterator[None]:
    """Leave no map behind."""
    yield
    for one in list(mapping._loaded.values()):
        one.delete()
    assert tags.known() == []


def run_folders() -> set[str]:
    return {path.name for path in places.runs_dir().iterdir()} if places.runs_dir().exists() else set()


@pytest.mark.parametrize("chunk", CHUNKS)
def test_a_map_gives_what_map_gives(chunk):
    numbers = htcmagic.map(doubler(), range(10), chunk=chunk)
    assert list(numbers) == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]
    assert numbers.results(PATIENCE_S) == list(map(doubler(), range(10)))
    assert (len(numbers), numbers[3], numbers[-1], numbers[2:4]) == (10, 6, 18, [4, 6])
    assert sorted(numbers.as_completed()) == [(i, 2 * i) for i in range(10)]
    assert numbers.status == {"idle": 0, "running": 0, "held": 0, "done": 10, "failed": 0, "removed": 0}
    assert numbers.done
    assert len(numbers.errors) == 0
    with pytest.raises(NoSuchJob, match="has 10 items, no item 10"):
        numbers[10]


@pytest.mark.parametrize(
    ("chunk", "jobs"), [(2, 3), *(pytest.param(*each, marks=pytest.mark.slow) for each in ((1, 5), (5, 1), (99, 1)))]
)
def test_a_chunk_is_so_many_items_a_job(chunk, jobs):
    made = htcmagic.map(doubler(), range(5), chunk=chunk)
    assert made.results(PATIENCE_S) == [0, 2, 4, 6, 8]
    assert [len(cluster) for cluster in made.clusters] == [jobs]


def test_short_calls_are_packed_and_leftover_jobs_removed():
    made = htcmagic.map(doubler(), range(1000))
    assert sum(made) == 999_000
    cluster = made.clusters[0]
    assert len(cluster) <= len(os.sched_getaffinity(0))
    assert len(list(made._run.legs[0].folders.results.iterdir())) < 200
    eventually(lambda: made.refresh() and cluster.done)


@pytest.mark.parametrize("chunk", CHUNKS)
def test_where_files_are_copied_it_works_the_same(chunk):
    def leave(x):
        (htcmagic.output_dir() / "sub").mkdir()
        (htcmagic.output_dir() / "sub" / "note.txt").write_text(f"note {x}")
        print("said", x)
        return x

    made = htcmagic.map(leave, range(4), chunk=chunk, should_transfer_files="YES")
    assert made.results(PATIENCE_S) == [0, 1, 2, 3]
    assert made.stdout(2) == "said 2\n"
    assert made.files(3)["sub/note.txt"].read_text() == "note 3"


def test_inputs_go_along(notebook_dir):
    (notebook_dir / "data.txt").write_text("42")

    def read(x):
        return x + int(open("data.txt").read())  # noqa: PTH123

    assert htcmagic.map(read, [1], chunk=1, inputs="data.txt").results(PATIENCE_S) == [43]
    with pytest.raises(CellError, match=r"there is no file 'data\.tx'"):
        htcmagic.map(read, [1], inputs=["data.tx"])


def test_several_iterables_end_with_the_shortest_and_none_is_no_job():
    def add(a, b, c):
        return a + b + c

    assert htcmagic.map(add, [1, 2, 3], itertools.count(10), (100, 200)).results(PATIENCE_S) == [111, 213]
    nothing = htcmagic.map(add, [], [1], [2])
    assert (list(nothing), nothing.results(), len(nothing), nothing.clusters) == ([], [], 0, [])
    assert nothing.done


@pytest.mark.parametrize("chunk", CHUNKS)
def test_errors_are_kept_by_number_and_raised_where_they_belong(chunk):
    def picky(x):
        print("looking at", x)
        if x % 4 == 1:
            raise ValueError(f"no {x}")
        return x

    made = htcmagic.map(picky, range(7), chunk=chunk).wait(PATIENCE_S)
    assert sorted(made.errors) == [1, 5]
    assert (made[0], made[2]) == (0, 2)
    assert repr(made.errors) == "1: ValueError: no 1\n5: ValueError: no 5"
    with pytest.raises(ValueError, match="no 1") as told:
        made.results()
    lines = told.value._render_traceback_()  # type: ignore[attr-defined]
    assert lines[0] == "Traceback (in the job, most recent call last):"
    assert not any("htcmagic/functions" in line for line in lines)
    assert lines[-1] == "This is item 1 of 7."
    assert made.stdout(5) == "looking at 5\n"
    with pytest.raises(ValueError, match="no 1"):
        list(made)
    good = []
    with pytest.raises(ValueError, match="no 1"):
        good.extend(number for number, _ in made.as_completed())
    assert "5 done, 2 failed" in repr(made)
    assert "item 1: ValueError: no 1 (and 1 more: .errors)" in repr(made)


@pytest.mark.parametrize("chunk", ["auto", pytest.param(3, marks=pytest.mark.slow)])
def test_only_what_failed_runs_again(chunk, notebook_dir):
    def once(x, folder):
        import pathlib

        with (pathlib.Path(folder) / f"ran-{x}").open("a") as stream:
            stream.write("x")
        if x == 2 and not (pathlib.Path(folder) / "mended").exists():
            raise RuntimeError("not yet")
        return x

    made = htcmagic.map(once, range(4), [str(notebook_dir)] * 4, chunk=chunk).wait(PATIENCE_S)
    assert list(made.errors) == [2]
    (notebook_dir / "mended").touch()
    assert made.rerun(request_memory="600MB").results(PATIENCE_S) == [0, 1, 2, 3]
    assert [(notebook_dir / f"ran-{x}").read_text() for x in range(4)] == ["x", "x", "xx", "x"]
    assert [len(cluster) for cluster in made.clusters][1:] == [1]
    assert "request_memory = 600MB" in made.clusters[1].run_dir.submit_file.read_text()
    assert made.rerun() is made
    assert len(made.clusters) == 2, "nothing to do"
    assert made.rerun(failed=False).results(PATIENCE_S) == [0, 1, 2, 3]
    assert len((notebook_dir / "ran-0").read_text()) == 2


def test_what_waits_is_not_sent_anew_in_silence():
    made = htcmagic.map(str, range(2), chunk=1, requirements="TARGET.Nowhere =?= 1")
    with pytest.raises(HTCMagicError, match="Nothing has failed") as told:
        made.rerun(requirements="true")
    assert ".cancel()" in told.value.hint
    assert made.cancel() == 2
    assert made.rerun(requirements="true").results(PATIENCE_S) == ["0", "1"]


def test_a_tag_finds_it_again_and_is_taken_only_once():
    made = htcmagic.map(doubler(), range(3), tag="simulation 1 (ä)")
    made.wait(PATIENCE_S)
    assert htcmagic.load("simulation 1 (ä)") is made
    assert htcmagic.load(str(made.clusters[0].id)) is made
    before = run_folders()
    with pytest.raises(HTCMagicError, match=r"There is a map 'simulation 1 \(ä\)' already") as told:
        htcmagic.map(doubler(), range(3), tag="simulation 1 (ä)")
    assert "overwrite=True" in told.value.hint
    assert run_folders() == before
    anew = htcmagic.map(doubler(), range(5), tag="simulation 1 (ä)", overwrite=True)
    assert anew.results(PATIENCE_S) == [0, 2, 4, 6, 8]
    assert not {cluster.run_dir.run for cluster in made.clusters} & run_folders()
    assert tags.known() == ["simulation 1 (ä)"]


def test_overwriting_removes_running_jobs_first():
    made = htcmagic.map(time.sleep, [300] * 4, tag="long", chunk=1)
    cluster = made.clusters[0]
    anew = htcmagic.map(doubler(), [1], tag="long", overwrite=True)
    assert anew.results(PATIENCE_S) == [2]
    eventually(lambda: cluster._client.query(f"ClusterId == {cluster.id}", ["ProcId"]).rows == [])


@pytest.mark.parametrize(
    ("tag", "why"),
    [
        ("a/b", "a slash"),
        ("../x", "a slash"),
        ("..", "a point"),
        (".hidden", "a point"),
        ("a..b", "two points"),
        ("", "empty"),
        ("  ", "empty"),
        (" a", "a blank"),
        ("a\nb", "cannot be seen"),
        ("a\x1b[31mb", "cannot be seen"),
        ("a\u202eb", "cannot be seen"),
        ("a\0b", "cannot be seen"),
        ("x" * 101, "too long"),
        ("ä" * 99 + "€€", "too long"),
        (5, "not int"),
    ],
)
def test_a_tag_that_is_no_name_is_refused_with_words(tag, why):
    before = run_folders()
    with pytest.raises(CellError, match=re.escape(why)) as told:
        htcmagic.map(doubler(), [1], tag=tag)
    assert told.value.message.isprintable()
    assert run_folders() == before
    assert tags.known() == []


def test_an_unknown_tag_suggests_a_near_one():
    with pytest.raises(HTCMagicError, match="There is no map 'x' of yours") as told:
        htcmagic.load("x")
    assert "There is none yet" in told.value.hint
    htcmagic.map(doubler(), [], tag="simulation1")
    with pytest.raises(HTCMagicError) as told:
        htcmagic.load("simulaton1")
    assert told.value.hint == "Did you mean 'simulation1'?"
    with pytest.raises(HTCMagicError) as told:
        htcmagic.load("../../etc/passwd")
    assert told.value.message == "There is no map '../../etc/passwd' of yours."


def test_maps_without_a_tag_are_named_after_their_function():
    assert [htcmagic.map(doubler(), []).tag for _ in range(2)] == ["double-1", "double-2"]
    assert htcmagic.map(lambda x: x, []).tag == "map-1"
    assert (places.home() / "maps").stat().st_mode & 0o777 == 0o700
    assert (places.home() / "maps" / "map-1").stat().st_mode & 0o777 == 0o700


def test_futures_among_items_are_waited_for():
    def add(a, b):
        return a + b

    first, second, never = Future[int](), Future[int](), Future[int]()
    made = htcmagic.map(add, [1, first, [second], never], [10, 20, [30], 40], tag="late")
    assert made[0] == 11
    first.set_result(2)
    assert made[1] == 22
    second.set_result(3)
    assert made[2] == [3, 30]
    assert not made.done
    never.set_exception(ValueError("no input"))
    made.wait(PATIENCE_S)
    with pytest.raises(DependencyFailed, match="its input a Future raised ValueError: no input"):
        made[3]
    again = htcmagic.map(doubler(), made.futures[:2])
    assert again.results(PATIENCE_S) == [22, 44]
    assert made.rerun().errors[3], "there is nothing that could be run again"


def test_its_futures_are_real_ones_and_keep_nothing():
    def picky(x):
        if x == 2:
            raise KeyError(x)
        return x

    made = htcmagic.map(picky, range(3))
    futures = made.futures
    assert [future.result(PATIENCE_S) for future in futures[:2]] == [0, 1]
    assert isinstance(futures[2].exception(PATIENCE_S), KeyError)
    assert [future.done() for future in futures] == [True] * 3
    assert futures[0]._result is None


def test_equal_calls_come_from_the_cache(notebook_dir):
    counter = str(notebook_dir / "count")

    def costly(x):
        with open(counter, "a") as stream:  # noqa: PTH123
            stream.write("x")
        return x * x

    first = htcmagic.map(costly, range(4), cache=True)
    assert first.results(PATIENCE_S) == [0, 1, 4, 9]
    eventually(lambda: not first.refresh()._run._uncached)
    second = htcmagic.map(costly, range(6), cache=True)
    assert second.results(PATIENCE_S) == [0, 1, 4, 9, 16, 25]
    assert len(Path(counter).read_text()) == 6
    third = htcmagic.map(costly, range(5), cache=True)
    assert (third.done, third.clusters, third.results()) == (True, [], [0, 1, 4, 9, 16])


def test_waiting_has_an_end_if_one_is_given():
    made = htcmagic.map(time.sleep, [300] * 3)
    with pytest.raises(TimedOut, match=r"After 0.5 s: sleep-1 \(\d+\): sleep, 3 items: ") as told:
        made.results(timeout=0.5)
    assert told.value.hint == "It goes on: wait again, or remove it: .rm()"
    assert made.rm() == len(made.clusters[0])
    made.wait(PATIENCE_S)
    assert made.status["removed"] == 3
    assert "was removed" in str(made.errors[0])


MANY = """
import sys, time, htcmagic
def slow(x):
    time.sleep(60)
m = htcmagic.map(slow, range(100_000), tag="many")
try: m.wait(2)
except htcmagic.HTCMagicError: pass
spent, began = time.process_time(), time.monotonic()
try: m.wait(5)
except htcmagic.HTCMagicError: pass
share = (time.process_time() - spent) / (time.monotonic() - began)
peak = int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0]) >> 10  # ru_maxrss has the parent's
assert m.rm()
m.wait(60)
print(m.status["removed"], peak, share)
m.delete()
"""


def test_a_hundred_thousand_items_need_little_memory_and_time():
    done = subprocess.run([sys.executable, "-c", MANY], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    removed, peak_mib, share = (float(word) for word in done.stdout.split())
    assert removed == 100_000
    assert peak_mib < 300
    assert share < 0.05


def test_ranges_are_kept_short():
    some = [0, 1, 2, 7, 9, 10]
    assert mapindex.packed(some) == [[0, 3], [7, 8], [9, 11]]
    assert list(mapindex.unpacked(json.loads(json.dumps(mapindex.packed(some))))) == some


def test_how_many_jobs_depends_on_the_pool():
    def pool(*, personal: bool, local: bool) -> Any:
        return SimpleNamespace(pool=SimpleNamespace(personal=personal), schedd=SimpleNamespace(local=local))

    cores = len(os.sched_getaffinity(0))
    here, site, far = (
        pool(personal=True, local=True),
        pool(personal=False, local=True),
        pool(personal=False, local=False),
    )
    assert maprun.shape("auto", 1000, here, {}) == ("pull", 1, cores)
    assert maprun.shape("auto", 1000, here, {"request_cpus": str(2 * cores)}) == ("pull", 1, 1)
    assert maprun.shape("auto", 1, here, {}) == ("pull", 1, 1)
    assert maprun.shape("auto", 10_000, site, {}) == ("pull", 1, 500)
    assert maprun.shape("auto", 10_000, far, {}) == ("static", 20, 500)
    assert maprun.shape(7, 15, here, {}) == ("static", 7, 3)


def test_the_schedd_may_make_the_jobs_bit_by_bit():
    made = htcmagic.map(doubler(), range(6), chunk=1, max_idle=2)
    assert made.results(PATIENCE_S) == [0, 2, 4, 6, 8, 10]
    assert "max_idle = 2" in made.clusters[0].run_dir.submit_file.read_text()
