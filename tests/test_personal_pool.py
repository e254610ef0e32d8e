"""A personal pool: started once, healing, everybody's own, gone without a trace. Run as root and as ordinary users."""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import ordinary
import pools
import pytest
from conftest import leftovers

from htcmagic import places
from htcmagic.errors import PoolError
from htcmagic.pool import personal, resolve

HERE = Path(__file__)
SLOTS = "NUM_CPUS = 4\nMEMORY = 4096\nJOB_DEFAULT_LEASE_DURATION = 6\n"  # as ever, but the lease is a minute


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Put up a pool for this module."""
    with pools.at_home(tmp_path_factory.mktemp("own"), SLOTS) as folder:
        personal.up()
        yield folder


@pytest.fixture
def work(tmp_path):
    """Give an empty folder."""
    return tmp_path


def python(code: str, **popen) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, **popen)


def test_ten_ask_at_once_and_one_pool_is_started(tmp_path):
    with pools.at_home(tmp_path / "h") as folder:
        code = "from htcmagic.pool import personal; s = personal.up(); print(s.keeper_pid, s.collector)"
        asking = [python(code) for _ in range(10)]
        answers = {process.communicate(timeout=60)[0] for process in asking}
        assert [process.returncode for process in asking] == [0] * 10
        assert len(answers) == 1
        names = sorted(pools.processes(folder).values())
        assert [name for name in names if name in {"condor_master", "condor_schedd"}] == [
            "condor_master",
            "condor_schedd",
        ]
        assert answers.pop().startswith(f"{personal.status().keeper_pid} <127.0.0.1:")


def test_it_outlives_the_process_that_started_it_and_its_process_group(tmp_path):
    with pools.at_home(tmp_path / "h"):
        code = "import time; from htcmagic.pool import personal; personal.up(); print('up', flush=True); time.sleep(99)"
        starter = python(code, start_new_session=True)
        assert starter.stdout.readline() == "up\n"
        before = personal.status()
        os.killpg(starter.pid, signal.SIGKILL)
        starter.communicate()
        time.sleep(1)
        assert personal.status() == before
        assert before.up
        assert pools.tool("condor_q", "-totals").stdout


@pytest.mark.parametrize("name", ["keeper", *(pytest.param(name, marks=pytest.mark.slow) for name in pools.DAEMONS)])
def test_it_heals_when_one_of_its_processes_is_killed(home, work, name):
    pools.submit_patient_job(work)
    old = pools.processes(home)
    killed = pools.daemon(home, name)
    started = time.monotonic()
    os.kill(killed, signal.SIGKILL)
    if name == "keeper":
        pools.eventually(lambda: not personal.is_up())
    assert resolve.connect().locate().user.startswith(personal_user())
    answered = time.monotonic() - started
    pools.run_quick_job(work / "after")
    print(f"{name} killed: answers again after {answered:.1f} s, runs jobs after {time.monotonic() - started:.1f} s")
    alive = pools.processes(home)
    assert list(alive.values()).count(pools.process_name(name)) == (0 if name == "keeper" else 1)
    if name in {"keeper", "master"}:  # none of the old set is beside the new one
        assert set(alive) & set(old) == ({pools.daemon(home, "keeper")} if name == "master" else set())
    pools.eventually(lambda: pools.runs(work) == 1)
    (work / "go").touch()
    pools.eventually(lambda: pools.ended(work))
    noted = pools.events(work)
    assert noted.count("end") == 1
    assert "TWICE" not in noted
    assert noted in (["start", "end"], ["start", "start", "end"])


def personal_user() -> str:
    from htcmagic.pool.identity import identity

    return identity().name + "@"


def test_after_a_reboot_it_starts_over_stale_files_and_the_queue_is_there(tmp_path, work):
    with pools.at_home(tmp_path / "h") as folder:
        personal.up()
        job = pools.submit(work, "executable = /bin/echo\narguments = hello\nhold = True")
        stale = {file: file.read_bytes() for file in (folder / "log").glob(".*_address")}
        assert len(stale) >= 2
        while alive := pools.processes(folder):
            for pid in alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        for file, content in stale.items():
            file.write_bytes(content)
        assert not personal.is_up()
        personal.up()
        assert pools.tool("condor_q", "-af", "ClusterId").stdout.split() == [job.partition(".")[0]]
        pools.tool("condor_release", job)
        pools.eventually(lambda: pools.ended(work))


def test_down_ends_a_running_job_keeps_the_queue_and_up_runs_it_again(tmp_path, work):
    with pools.at_home(tmp_path / "h") as folder:
        personal.up()
        pools.submit_patient_job(work)
        started = time.monotonic()
        assert personal.down() is True
        print(f"down with a running job: {time.monotonic() - started:.1f} s")
        assert time.monotonic() - started < 15
        assert pools.processes(folder) == {}
        assert leftovers(folder) == []
        assert personal.down() is False
        (work / "go").touch()
        personal.up()
        pools.eventually(lambda: pools.ended(work))
        assert pools.events(work) == ["start", "start", "end"]
        personal.down(purge=True)
        assert not folder.exists()


def test_a_job_starts_soon_also_back_to_back(home, work):
    pools.run_quick_job(work / "warm")
    waits = [pools.run_quick_job(work / str(number)) for number in range(5)]
    time.sleep(2.5)
    idle = pools.run_quick_job(work / "idle")
    print(f"submission to start: idle {idle:.2f} s, back to back", *(f"{wait:.2f}" for wait in waits))
    assert statistics.median(waits) < 4
    assert idle < 4


def test_requests_cut_the_slot_and_files_travel(home, work):
    (work / "in.txt").write_text("moin\n")
    pools.submit(
        work,
        "executable = /bin/sh\ntransfer_executable = False\n"
        "arguments = \"-c 'pwd; cat in.txt; cp in.txt new.txt; echo; grep -e ^Cpus -e ^Memory .machine.ad'\"\n"
        "should_transfer_files = YES\ntransfer_input_files = in.txt\nrequest_cpus = 2\nrequest_memory = 256MB",
    )
    pools.eventually(lambda: pools.ended(work))
    said = (work / "out").read_text()
    assert said.startswith(f"{home}/execute/"), said + (work / "err").read_text()
    assert "moin\n" in said
    assert "Cpus = 2\nMemory = 256\n" in said
    assert (work / "new.txt").read_text() == "moin\n"


def test_a_job_sees_a_clean_environment_and_its_owners_home(home, work, monkeypatch):
    monkeypatch.setenv("VIRTUAL_ENV", "/somewhere")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    pools.submit(work, "executable = /usr/bin/env")
    pools.eventually(lambda: pools.ended(work))
    names = {line.partition("=")[0] for line in (work / "out").read_text().splitlines()}
    assert not names & {"VIRTUAL_ENV", "PYTHONPATH", "HTCMAGIC_HOME", "HTCMAGIC_POOL_DAEMON", "CONDOR_CONFIG", "USER"}
    assert f"HOME={Path.home()}\n" in (work / "out").read_text()


def test_the_users_own_configuration_counts_and_that_of_other_pools_does_not(home, tmp_path, monkeypatch):
    (tmp_path / ".condor").mkdir()
    (tmp_path / ".condor" / "user_config").write_text("SCHEDD_HOST = nowhere.invalid\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("_CONDOR_SCHEDD_HOST", "nowhere.invalid")
    assert pools.tool("condor_config_val", "NUM_CPUS").stdout == "4\n"
    assert "SCHEDD_HOST" in pools.tool("condor_config_val", "SCHEDD_HOST", check=False).stderr
    assert pools.tool("condor_status", "-af", "TotalSlotCpus").stdout.split()[0] == "4"


def test_it_listens_on_loopback_only(home):
    inodes = set()
    for pid in pools.processes(home):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            target = str(entry.readlink()) if entry.is_symlink() else ""
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    listening = []
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            words = line.split()
            if words[9] in inodes and (words[3] == "0A" or table.startswith("udp")):
                listening.append((table, words[1].partition(":")[0]))
    assert len(listening) >= 5
    assert {address for _, address in listening} == {"0100007F"}


def test_nothing_of_it_can_be_read_by_others(home):
    assert home.stat().st_mode & 0o777 == 0o700
    assert home.stat().st_uid == os.getuid()


def test_nonsense_in_the_configuration_is_named_and_mended(tmp_path):
    with pools.at_home(tmp_path / "h", "# mine\nFOO BAR )))\n") as folder:
        started = time.monotonic()
        with pytest.raises(PoolError) as told:
            personal.up()
        assert f"line 2 of {folder}/config.d/test.conf is wrong" in told.value.message
        assert "htc-pool up" in told.value.hint
        assert len(str(told.value).splitlines()) == 2
        assert time.monotonic() - started < 10
        assert not personal.is_up()
        assert pools.processes(folder) == {}
        (folder / "config.d" / "test.conf").unlink()
        assert personal.up().up


@pytest.mark.parametrize("where", ["d" * 60 + "/" + "e" * 60, "with a space & ü"])
def test_awkward_home_folders(tmp_path, where):
    with pools.at_home(tmp_path / where) as folder:
        personal.up()
        assert len(str(folder)) <= places.LONGEST_POOL_PATH
        assert folder.is_relative_to("/var/tmp")
        pools.run_quick_job(tmp_path / "work")


@pytest.mark.slow
def test_it_is_as_good_for_an_ordinary_user():
    as_ordinary_user(os.defpath, "heals and (keeper or schedd) or reboot or down or loopback or clean or travel")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", [os.defpath, "/nowhere"], ids=["contained", "without_namespaces"])
def test_all_of_this_as_an_ordinary_user(path):
    as_ordinary_user(path, "not ordinary and not stranger")


def as_ordinary_user(path: str, which: str) -> None:
    """Run tests of this module as somebody else."""
    done = ordinary.run_tests(HERE, f"({which}) and not ordinary", PATH=path, EXPECT_CONTAINED=str(path != "/nowhere"))
    print(done.stdout)
    assert done.returncode == 0
    assert " passed" in done.stdout


def test_daemons_are_contained_where_the_machine_allows_it(home):
    assert personal.status().contained is (os.environ.get("EXPECT_CONTAINED", "True") == "True")
