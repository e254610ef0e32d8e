"""The spool: what workers do with it, on real folders with real workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from executors import of_notebook, tasks_of, until

from htcmagic.errors import HTCMagicError, ResultMissing, TaskFailed, WorkerLost
from htcmagic.functions import payload, spool
from htcmagic.functions.bundle import bundle
from htcmagic.functions.remote import channel, core, records
from htcmagic.functions.results import Outcome
from htcmagic.functions.spool import Options, Spool


@of_notebook
def special(x: Any) -> Any:
    import os
    import signal
    import sys
    import time

    if x == "exit":
        os._exit(3)
    if x == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if x == "sys.exit":
        sys.exit("so long")
    if x == "fork":
        os.fork()
    if x == "slow":
        time.sleep(0.6)
    if x == "large":
        return b"x" * 3_000_000
    if x == "daemon":
        import subprocess

        return subprocess.Popen(["sleep", "100"]).pid
    print("said", x)
    return x


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Spool]:
    folder = tmp_path / "spool"
    folder.mkdir()
    one = Spool(folder, retries=1).make(Options(idle_s=30, lease_s=30))
    yield one
    one.stop()


@pytest.fixture
def worker(made: Spool, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str = "", *more: str) -> subprocess.Popen[bytes]:
        scratch = tmp_path / f"scratch{len(started)}"
        scratch.mkdir()
        argument = name if "@" in name else spool.argument(made.token, name or f"w{len(started)}")
        started.append(
            subprocess.Popen(
                [sys.executable, str(bundle()), "pull", str(made.path), argument, *more],
                env={**os.environ, "_CONDOR_SCRATCH_DIR": str(scratch)},
            )
        )
        return started[-1]

    yield start
    made.stop()
    for process in started:
        process.kill()
        process.wait()


def gather(made: Spool, number: int, within_s: float = 20) -> dict[int, Outcome]:
    found: dict[int, Outcome] = {}
    deadline = time.monotonic() + within_s
    while len(found) < number and time.monotonic() < deadline:
        for record in made.poll():
            assert record.header["id"] not in found
            found[record.header["id"]] = Outcome(record, made.path / "files")
        time.sleep(0.002)
    assert len(found) == number
    return found


def test_a_worker_takes_tasks_in_order_and_ends_when_told(made: Spool, worker: Any) -> None:
    function = payload.function(special)
    made.keep(function)
    process = worker()
    made.put(tasks_of(function, range(300)))
    found = gather(made, 300)
    assert [found[i].value() for i in range(300)] == list(range(300))
    assert found[3].stdout == "said 3\n"
    assert found[3].record.header["label"] == "task 3"
    assert made.open == 0
    assert made.claims() == {}
    assert made.waiting() == []
    made.stop()
    assert process.wait(10) == 0


def test_what_user_code_does_to_its_process_is_answered(made: Spool, worker: Any) -> None:
    function = payload.function(special)
    made.keep(function)
    worker()
    values = ["a", "exit", "segfault", "sys.exit", "fork", "large", "b"]
    made.put(tasks_of(function, values))
    found = gather(made, len(values))
    assert found[0].value() == "a"
    with pytest.raises(WorkerLost, match="exit code 3"):
        found[1].value()
    with pytest.raises(WorkerLost, match=r"signal 11 \(SIGSEGV\)"):
        found[2].value()
    with pytest.raises(TaskFailed, match="SystemExit: so long"):
        found[3].value()
    assert found[4].value() == "fork"
    assert len(found[5].value()) == 3_000_000
    assert found[6].value() == "b"
    assert not list(made.path.glob("results/.*"))


def test_what_a_task_leaves_running_does_not_outlive_the_worker(made: Spool, worker: Any) -> None:
    function = payload.function(special)
    made.keep(function)
    process = worker()
    made.put(tasks_of(function, ["daemon"]))
    pid = gather(made, 1)[0].value()
    assert Path(f"/proc/{pid}").exists()
    process.terminate()
    assert process.wait(10) == 0
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text()


def test_a_slow_batch_is_shared_with_others(made: Spool, worker: Any) -> None:
    function = payload.function(special)
    made.keep(function)
    worker(), worker(), worker()
    made.put(tasks_of(function, ["slow"] * 6))
    begun = time.monotonic()
    found = gather(made, 6)
    assert time.monotonic() - begun < 6 * 0.6 - 0.3
    assert len({outcome.record.path.split("/")[-1].split(".")[0] for outcome in found.values()}) > 1


def test_an_eviction_hands_tasks_back_and_a_kill_counts(made: Spool, worker: Any) -> None:
    function = payload.function(special)
    made.keep(function)
    first = worker()
    made.put(tasks_of(function, ["slow"]))
    until(made.claims)
    first.terminate()
    assert first.wait(10) == 0
    assert made.claims() == {}
    assert len(made.waiting()) == 1
    for again in (True, False):
        process = worker()
        until(made.claims)
        (name,) = made.claims()
        process.kill()
        process.wait()
        given = made.give_back(name)
        assert given == (([0], []) if again else ([], [0]))
    assert made.open == 0
    assert made.waiting() == []


def test_a_batch_of_several_is_handed_out_singly_and_does_not_count(made: Spool) -> None:
    function = payload.function(special)
    made.put(tasks_of(function, range(3)))
    (name,) = made.waiting()
    for number in range(3):
        (made.path / "tasks" / name).rename(made.path / "claimed" / f"w.{number}~{name}")
        given = made.give_back(f"w.{number}")
        assert sorted(given.again) == [0, 1, 2]
        assert given.lost == []
        assert sorted(n.rpartition("-")[2] for n in made.waiting()) == ["1", "1", "1"]
        merged = [t for n in made.waiting() for t in records.split((made.path / "tasks" / n).read_bytes())]
        for n in made.waiting():
            (made.path / "tasks" / n).unlink()
        made.put(merged)
        (name,) = made.waiting()


def test_split_off_tasks_are_not_handed_out_twice(made: Spool) -> None:
    """Its worker was killed after it had handed tasks out and before it let go of the batch."""
    function = payload.function(special)
    made.put(tasks_of(function, range(4)))
    (name,) = made.waiting()
    seq = name.partition("-")[0]
    (made.path / "tasks" / name).rename(made.path / "claimed" / f"w.1~{name}")
    split = [(header, [("args", body)]) for header, body in tasks_of(function, range(2, 4), 2)]
    records.save(made.path / "tasks" / f"{seq}.0000ab-2", split)
    assert made.give_back("w.1") == ([0, 1], [])
    ids = [record.header["id"] for n in made.waiting() for record in records.scan(made.path / "tasks" / n)]
    assert sorted(ids) == [0, 1, 2, 3]


def test_taking_back_leaves_the_others(made: Spool, worker: Any) -> None:
    function = payload.function(special)
    made.keep(function)
    made.put(tasks_of(function, range(5)))
    assert made.take_back({1, 3, 77}) == {1, 3}
    assert made.take_back({1}) == set()
    worker()
    assert sorted(gather(made, 3)) == [0, 2, 4]


def test_another_session_finds_everything(made: Spool, worker: Any) -> None:
    function = payload.function(special)
    made.keep(function)
    process = worker()
    made.put(tasks_of(function, range(2)))
    gather(made, 2)
    made.put(tasks_of(function, range(2, 4), 2))
    until(lambda: len(list((made.path / "results").iterdir())) > 0)
    process.kill()
    process.wait()
    made.put(tasks_of(function, [4], 4))
    other = Spool(made.path)
    assert sorted(other.adopt()) == [2, 3, 4]
    assert other.token == made.token
    assert sorted(record.header["id"] for record in other.fetched()) == [0, 1]
    for name in other.claims():
        other.give_back(name)
    worker("again")
    assert sorted(gather(other, 3)) == [2, 3, 4]


def test_results_of_somebody_else_are_not_read(made: Spool, tmp_path: Path) -> None:
    function = payload.function(special)
    made.put(tasks_of(function, [0]))
    for name in made.waiting():
        (made.path / "tasks" / name).unlink()
    foreign = tmp_path / "foreign"
    records.save(foreign, [({"id": 0, "ok": True, "job": "1.0"}, [("value", b"cos\nsystem\n(S'false'\ntR.")])])
    (made.path / "results" / "bad").symlink_to(foreign)
    assert made.poll() == []
    assert "bad" in made.refused
    assert isinstance(made.refused["bad"], ResultMissing)
    assert made.vanished() == [0]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_a_result_file_of_another_user_is_refused(made: Spool) -> None:
    function = payload.function(special)
    made.put(tasks_of(function, [0]))
    file = made.path / "results" / "bad"
    records.save(file, [({"id": 0, "ok": True, "job": "1.0"}, [("value", b"N.")])])
    os.chown(file, 12345, -1)
    assert made.poll() == []
    assert "belongs to another user" in str(made.refused["bad"])


def test_half_a_result_file_is_no_result(made: Spool) -> None:
    function = payload.function(special)
    made.put(tasks_of(function, [0]))
    (made.path / "results" / "half").write_bytes(b'{"id": 0, "ok": true, "parts": [["value", 10]]}\nabc')
    (made.path / "results" / "junk").write_bytes(b"\x80\x81 no json\n")
    assert made.poll() == []
    assert made.open == 1


def test_a_full_disk_is_told(made: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    function = payload.function(special)
    (made.path / "tasks").rmdir()
    (made.path / "tasks").symlink_to("/dev/full")
    with pytest.raises(HTCMagicError, match="Cannot write"):
        made.put(tasks_of(function, [0]))


def test_a_worker_ends_when_nobody_waits_any_more(tmp_path: Path, made: Spool, worker: Any) -> None:
    options = json.loads((made.path / channel.WORKER_FILE).read_text())
    (made.path / channel.WORKER_FILE).write_text(json.dumps({**options, "lease_s": 0.8}))
    process = worker()
    for _ in range(8):
        made.beat()
        time.sleep(0.2)
        assert process.poll() is None
    assert process.wait(10) == 0


def test_a_worker_ends_when_it_is_idle_but_not_one_that_stays(made: Spool, worker: Any) -> None:
    options = json.loads((made.path / channel.WORKER_FILE).read_text())
    (made.path / channel.WORKER_FILE).write_text(json.dumps({**options, "idle_s": 0.3}))
    one = worker()
    other = worker(spool.argument("", "other", stays=True).replace("@", f"@{made.token}", 1))
    assert one.wait(10) == 0
    time.sleep(0.5)
    assert other.poll() is None
    made.stop()
    assert other.wait(10) == 0


def test_a_worker_without_its_folder_ends(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(bundle()), "pull", str(tmp_path / "none"), "w0@token"],
        env={**os.environ, "_CONDOR_SCRATCH_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "htcmagic:" in done.stderr


def test_a_worker_whose_children_die_at_once_gives_up(tmp_path: Path, made: Spool) -> None:
    from htcmagic.functions.remote.crew import Batch, Crew

    function = payload.function(special)
    made.put(tasks_of(function, [0]))
    (name,) = made.waiting()
    crew = Crew(core.Context(tmp_path), tmp_path, "w")
    batch = Batch(1, name, made.path / "tasks" / name)
    crew._start()
    os.kill(crew._pid, signal.SIGKILL)
    time.sleep(0.05)
    assert list(crew.work(batch, 0.05)) == [] or batch.open == {}
    crew.dismiss()
