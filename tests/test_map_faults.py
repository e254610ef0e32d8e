"""What goes wrong under htcmagic.map: bad input, functions that end their process, holds, kills, full disks."""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from pools import at_home, eventually

import htcmagic
from htcmagic import places
from htcmagic.errors import CellError, HTCMagicError, PythonMismatch, ResultMissing, TaskFailed
from htcmagic.functions import mapping, payload, tags
from htcmagic.functions.maprun import Run
from htcmagic.functions.tags import MapDir

PATIENCE_S = 60

CHUNKS = ["auto", 4]


@pytest.fixture(autouse=True)
def swept(pool: Any) -> Iterator[None]:
    """Leave no map behind."""
    yield
    for one in list(mapping._loaded.values()):
        one.delete()
    for tag in tags.known():
        htcmagic.load(tag).delete()
    assert [each.name for each in tags.home().iterdir()] == [] if tags.home().exists() else True


def run_folders() -> set[str]:
    return {path.name for path in places.runs_dir().iterdir()} if places.runs_dir().exists() else set()


def same(x: Any) -> Any:
    return x


def fresh(tag: str) -> Any:
    """Load a map as another session would."""
    folder = MapDir.of(tag)
    assert folder is not None
    run = Run(folder)
    run.refresh()
    return mapping.Map(run)


class Unpicklable:
    def __reduce__(self) -> Any:
        raise TypeError("it holds a lock")


def raising() -> Iterator[int]:
    yield 1
    raise RuntimeError("midway")


@pytest.mark.parametrize(
    ("call", "items", "kind", "why"),
    [
        (same, raising, RuntimeError, "midway"),
        (same, itertools.count, CellError, "no end to them"),
        (same, lambda: range(10_000_000), CellError, "10,000,000 items are more"),
        (same, lambda: [1, Unpicklable()], CellError, "The argument of item 1 cannot be sent to a job"),
        (same, lambda: 5, CellError, "which cannot be iterated over"),
        (5, lambda: [1], CellError, "5 is no function"),
        (same, lambda: [1], CellError, "memry is no submit command"),
    ],
)
def test_what_cannot_be_sent_is_told_and_nothing_is_left(call, items, kind, why, monkeypatch):
    from htcmagic.functions import mapitems

    if items is itertools.count:
        monkeypatch.setattr(mapitems, "MOST", 20_000)
    before = run_folders()
    with pytest.raises(kind, match=re.escape(why)):
        htcmagic.map(call, items(), tag="never", **({"memry": 1} if "memry" in why else {}))
    assert run_folders() == before
    assert tags.known() == []
    assert not tags.home().exists() or list(tags.home().iterdir()) == []


def test_a_very_large_argument_is_refused_before_it_is_copied(monkeypatch):
    monkeypatch.setattr(payload, "LARGEST", 1 << 20)
    with pytest.raises(CellError, match="The argument of item 1 is too large to send: more than 1 MB") as told:
        htcmagic.map(same, [b"", bytes(2 << 30)])
    assert "Write it to a file" in told.value.hint
    assert tags.known() == []


def test_an_earlier_map_stays_when_its_successor_cannot_be_made():
    htcmagic.map(lambda x: x, [7], tag="kept").wait(PATIENCE_S)
    with pytest.raises(RuntimeError, match="midway"):
        htcmagic.map(same, raising(), tag="kept", overwrite=True)
    assert htcmagic.load("kept").results() == [7]


def bad() -> Any:
    def bad(how):
        import ctypes
        import os
        import sys
        import types

        if how == "sys.exit":
            sys.exit(3)
        if how == "os._exit":
            os._exit(4)
        if how == "segfault":
            ctypes.string_at(0)
        if how == "kill":
            os.kill(os.getpid(), 9)
        if how == "print":
            print("a" * (100 << 20) + "z")
        if how == "not here":
            module = sys.modules["only_there"] = types.ModuleType("only_there")
            module.Thing = type("Thing", (), {"__module__": "only_there"})
            return module.Thing()
        if how == "not at all":
            return (x for x in [1])
        if isinstance(how, list):
            how.append("changed")
        return how

    return bad


HOWS = ["fine", "sys.exit", "os._exit", "segfault", "kill", "print", "not here", "not at all", ["list"], "fine, too"]


def test_functions_that_misbehave_harm_only_themselves():
    made = htcmagic.map(bad(), HOWS).wait(PATIENCE_S)
    assert sorted(made.errors) == [1, 2, 3, 4, 7]
    assert isinstance(made.errors[1], TaskFailed), "SystemExit would end the notebook's cell, or a script, in silence"
    assert "SystemExit: 3" in str(made.errors[1])
    assert "exit code 4" in str(made.errors[2])
    assert "SIGSEGV" in str(made.errors[3])
    assert "SIGKILL" in str(made.errors[4])
    assert isinstance(made.errors[7], TypeError)
    assert (made[0], made[9]) == ("fine", "fine, too")
    assert made[8] == ["list", "changed"]
    assert HOWS[8] == ["list"]
    assert made[5] == "print"
    said = made.stdout(5)
    assert len(said) < 200_000
    assert said.startswith("aaa")
    assert said.endswith("aaz\n")
    assert "characters are left out here" in said
    with pytest.raises(
        ResultMissing, match="cannot be unpickled here: ModuleNotFoundError: No module named 'only_there'"
    ):
        made[6]


def test_in_a_chunk_those_before_are_kept_and_those_after_are_told_why():
    made = htcmagic.map(bad(), ["a", "segfault", "b", "c", "d", "os._exit"], chunk=3).wait(PATIENCE_S)
    assert (made[0], made[3], made[4]) == ("a", "c", "d")
    assert re.fullmatch(
        r"1: WorkerLost: Item 1 has no result: its job \d+\.0 ended with signal 11\.\n"
        r"2: ResultMissing: Item 2 was not run: item 1 has ended their job\.\n"
        r"5: WorkerLost: Item 5 has no result: its job \d+\.1 ended with exit code 4\.",
        repr(made.errors),
    )
    assert made.rerun().wait(PATIENCE_S).status["done"] == 3
    assert sorted(made.errors) == [1, 2, 5]


def hungry() -> Any:
    """Return a function that needs 700 MB for item 1, and is killed as by the kernel where it may not have them."""

    def hungry(x):
        import os
        import pathlib

        ad = pathlib.Path(os.environ["_CONDOR_JOB_AD"]).read_text()
        asked = next(line for line in ad.splitlines() if line.startswith("RequestMemory ="))
        if x == 1 and int(asked.partition("=")[2]) < 700:
            os.kill(os.getpid(), 9)
        return x

    return hungry


def test_a_job_killed_for_memory_is_held_and_runs_again_with_more():
    policy = {"on_exit_hold": "ExitBySignal && ExitSignal == 9", "on_exit_hold_reason": '"more memory than asked for"'}
    made = htcmagic.map(hungry(), range(4), chunk=2, tag="hog", request_memory="200MB", **policy)
    eventually(lambda: made.status["held"], PATIENCE_S)
    eventually(lambda: made.status["done"], PATIENCE_S)
    assert made.status["held"] == 2
    assert "held: more memory than asked for" in repr(made)
    assert "held: more memory than asked for" in made._views.data()["text/html"]
    with pytest.raises(HTCMagicError, match="held: more memory than asked for") as told:
        made.results(timeout=0.2)
    assert '.rerun(request_memory="4GB")' in told.value.hint
    assert made.rerun(request_memory="1GB") is made
    assert made.results(PATIENCE_S) == [0, 1, 2, 3]
    eventually(lambda: made.clusters[0].done)


def test_a_call_of_a_worker_killed_for_memory_runs_again_with_more():
    made = htcmagic.map(hungry(), range(4), request_memory="200MB").wait(PATIENCE_S)
    assert list(made.errors) == [1]
    assert "SIGKILL" in str(made.errors[1])
    assert made.rerun(request_memory="1GB").results(PATIENCE_S) == [0, 1, 2, 3]


LIMITS = """
use POLICY : HOLD_IF_MEMORY_EXCEEDED
STARTER_UPDATE_INTERVAL = 2
STARTER_INITIAL_UPDATE_INTERVAL = 1
POLLING_INTERVAL = 1
"""


@pytest.mark.slow
def test_a_pool_that_holds_for_memory_says_so_and_the_other_calls_are_done(tmp_path_factory):
    def hog(x):
        import time as clock

        if x == 3:
            keep = bytearray(b"x") * (700 << 20)
            clock.sleep(40 if x else len(keep))
        return x

    with at_home(tmp_path_factory.mktemp("limits"), LIMITS):
        made = htcmagic.map(hog, range(20), request_memory="300MB")
        eventually(lambda: made.refresh().status["held"], PATIENCE_S)
        eventually(lambda: made.refresh().status["done"] == 19, PATIENCE_S)
        assert "held: Error from slot1_" in repr(made)
        assert "memory usage exceeded request_memory" in repr(made)
        assert made._run.unwell() == [3]
        made.delete()


def test_a_held_worker_keeps_what_it_was_running_and_others_do_the_rest(notebook_dir, real):
    def work(x, folder):
        import pathlib
        import time as clock

        (pathlib.Path(folder) / f"began-{x}").touch()
        while x == 0 and not (pathlib.Path(folder) / "go").exists():
            clock.sleep(0.05)
        return x

    made = htcmagic.map(work, range(40), [str(notebook_dir)] * 40)
    eventually((notebook_dir / "began-0").exists, PATIENCE_S)
    leg = made._run.legs[0]
    (claim,) = [name for name, *_ in eventually(lambda: list(leg._claims()))][:1] or [""]
    proc = int(claim.partition(".")[0])
    eventually(lambda: made.refresh().status["done"] == 39, PATIENCE_S)
    real("condor_hold", "-reason", "too hungry", f"{made.clusters[0].id}.{proc}")
    eventually(lambda: made.refresh().status["held"] == 1, PATIENCE_S)
    assert "held: too hungry" in repr(made)
    (notebook_dir / "go").touch()
    assert made.rerun(request_memory="2GB").results(PATIENCE_S) == list(range(40))
    assert [len(cluster) for cluster in made.clusters][1:] == [1]


def test_a_released_worker_goes_on(notebook_dir, real):
    def work(x, folder):
        import pathlib
        import time as clock

        (pathlib.Path(folder) / "began").touch()
        while not (pathlib.Path(folder) / "go").exists():
            clock.sleep(0.05)
        return x

    made = htcmagic.map(work, [5], [str(notebook_dir)])
    eventually((notebook_dir / "began").exists, PATIENCE_S)
    real("condor_hold", f"{made.clusters[0].id}")
    eventually(lambda: made.refresh().status["held"] == 1, PATIENCE_S)
    (notebook_dir / "go").touch()
    real("condor_release", f"{made.clusters[0].id}")
    assert made.results(PATIENCE_S) == [5]


def test_killed_workers_lose_nothing(notebook_dir, real):
    def work(x, folder):
        import pathlib
        import time as clock

        with (pathlib.Path(folder) / f"began-{x}").open("a") as stream:
            stream.write("x")
        clock.sleep(0.1)
        return x

    made = htcmagic.map(work, range(30), [str(notebook_dir)] * 30)
    eventually(lambda: made.status["done"] >= 3, PATIENCE_S)
    real("condor_vacate_job", "-fast", f"{made.clusters[0].id}")
    assert made.results(PATIENCE_S) == list(range(30))
    assert sum(len(file.read_text()) for file in notebook_dir.glob("began-*")) < 60


def test_a_full_disk_is_told_and_nothing_is_left(kernel):
    before = run_folders()
    outcome = kernel.run(
        "import resource, htcmagic\n"
        "before = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))\n"
        "try: htcmagic.map(abs, range(10000))\n"
        "finally: resource.setrlimit(resource.RLIMIT_FSIZE, before)\n"
    )
    assert outcome.error[0] == "HTCMagicError"
    assert "File too large" in outcome.error[2]
    assert len(outcome.error[2].splitlines()) == 2
    assert run_folders() == before
    assert list(tags.home().iterdir()) == []


@pytest.mark.skipif(os.getuid() != 0, reason="gives a file to another user")
@pytest.mark.parametrize("chunk", ["auto", pytest.param(4, marks=pytest.mark.slow)])
def test_results_of_another_user_are_not_unpickled(chunk):
    made = htcmagic.map(lambda x: x, range(4), chunk=chunk, tag="mine").wait(PATIENCE_S)
    for file in made._run.legs[0].folders.results.iterdir():
        os.chown(file, 65534, 65534)
    for one in (made, fresh("mine")):
        with pytest.raises(ResultMissing, match=r"belongs to another user \(uid 65534\), so it is not read"):
            one[2]
    assert made.rerun(failed=False).results(PATIENCE_S) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "how", ["deleted", *(pytest.param(how, marks=pytest.mark.slow) for how in ("cut short", "linked", "garbage"))]
)
def test_results_that_are_spoilt_are_told(how):
    made = htcmagic.map(lambda x: x, range(4), chunk=4, tag="spoilt").wait(PATIENCE_S)
    (file,) = made._run.legs[0].folders.results.iterdir()
    content = file.read_bytes()
    file.unlink()
    if how == "cut short":
        file.write_bytes(content[:-5])
    elif how == "garbage":
        file.write_bytes(b"\x80garbage\n" + bytes(len(content)))
    elif how == "linked":
        file.with_name(".real").write_bytes(content)
        file.symlink_to(file.with_name(".real"))
    other = fresh("spoilt")
    if how == "cut short":
        assert other[0] == 0
    with pytest.raises(ResultMissing) as told:
        other[3]
    assert len(str(told.value).splitlines()) == 2
    assert other.rerun().results(PATIENCE_S) == [0, 1, 2, 3]


@pytest.mark.parametrize("chunk", CHUNKS)
def test_another_python_is_told(chunk, tmp_path):
    other = tmp_path / "python"
    code = "import runpy, sys; sys.version_info = (3, 9, 2); sys.argv = sys.argv[1:]; "
    other.write_text(
        f'#!/bin/sh\nexec {sys.executable} -c \'{code}runpy.run_path(sys.argv[0], run_name="__main__")\' "$@"\n'
    )
    other.chmod(0o755)
    made = htcmagic.map(lambda x: x, range(8), chunk=chunk, python=str(other)).wait(PATIENCE_S)
    assert made.status["failed"] == 8
    with pytest.raises(PythonMismatch, match=r"the worker has Python 3\.9 .*, the notebook 3\.") as told:
        made[7]
    assert "container=IMAGE" in told.value.hint


def test_a_damaged_record_is_told_and_can_be_overwritten():
    htcmagic.map(lambda x: x, [1], tag="damaged").wait(PATIENCE_S)
    folder = MapDir.of("damaged")
    assert folder is not None
    kept = folder.record_file.read_text()
    folder.record_file.write_text(kept[:50])
    mapping._loaded.clear()
    with pytest.raises(HTCMagicError, match="is damaged"):
        htcmagic.load("damaged")
    folder.record_file.write_text(kept)
    assert htcmagic.load("damaged").results() == [1]
