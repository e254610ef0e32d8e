"""``htc-pool`` as a user types it: what it says, how it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import ordinary
import pools
import pytest

from htcmagic import places
from htcmagic.pool import personal

HTC_POOL = str(Path(sys.executable).with_name("htc-pool"))
COMMANDS = ("install", "up", "down", "status", "config", "logs", "run")


@pytest.fixture
def home(tmp_path):
    """Stand in a fresh home."""
    with pools.at_home(tmp_path / "home") as folder:
        yield folder


@pytest.fixture(scope="module")
def up(tmp_path_factory):
    """Put up a pool for this module."""
    with pools.at_home(tmp_path_factory.mktemp("cli")) as folder:
        personal.up()
        yield folder


def htc_pool(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [HTC_POOL, *words], env={**os.environ, **env}, capture_output=True, text=True, timeout=120, check=False
    )


def fails(*words: str, code: int = 1, **env: str) -> list[str]:
    """Return the two lines that a failing command says."""
    done = htc_pool(*words, **env)
    print(done.stderr)
    assert done.returncode == code, done.stdout
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("htc-pool: ")
    return lines


def test_help_shows_every_command_and_examples():
    done = htc_pool("--help")
    assert done.returncode == 0
    assert all(re.search(rf"^    {name} +\w", done.stdout, re.MULTILINE) for name in COMMANDS)
    assert "htc-pool run condor_q " in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 120
    bare = htc_pool()
    assert (bare.returncode, bare.stdout) == (2, done.stdout)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_command(name):
    done = htc_pool(name, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: htc-pool {name}")
    assert done.stdout.count("\n") >= 5


def test_wrong_words_are_wrong_usage():
    for words, said in ((["fly"], "invalid choice: 'fly'"), (["up", "now"], "now"), (["run"], "which command?")):
        done = htc_pool(*words)
        assert done.returncode == 2
        assert said in done.stderr


def test_a_life_from_up_to_purge(home):
    assert htc_pool("status").returncode == 3
    assert fails("config")[1].endswith("htc-pool up")
    assert fails("logs")[1].endswith("htc-pool up")
    first = htc_pool("up")
    assert first.returncode == 0
    started, now = first.stdout.splitlines()
    assert started == f"Starting a personal HTCondor pool ({pools.installed().version}) in {home}."
    assert re.fullmatch(r"The pool is up\. Schedd 127\.0\.0\.1:\d+\.", now)
    assert htc_pool("up").stdout == now.replace("is up", "was up already") + "\n"
    assert htc_pool("down").stdout == "The pool is down.\n"
    assert htc_pool("down").stdout == "The pool was not up.\n"
    assert htc_pool("config").returncode == 0
    assert home.exists()
    assert htc_pool("down", "--purge").stdout == "The pool was not up. Its files are deleted.\n"
    assert not home.exists()


def test_status_config_and_logs_of_a_pool_that_is_up(up):
    status = htc_pool("status")
    assert status.returncode == 0
    told = dict(line.split(maxsplit=1) for line in status.stdout.splitlines())
    assert list(told) == ["Pool", "HTCondor", "Apptainer", "Folder", "Schedd", "Collector", "Keeper", "Contained"]
    assert told["Pool"] == "up"
    assert told["HTCondor"].startswith(pools.installed().version)
    assert told["Folder"] == str(up)
    assert re.fullmatch(r"127\.0\.0\.1:\d+", told["Schedd"])
    config = htc_pool("config").stdout
    assert config.startswith(f"# {up}/condor_config\n# your changes: {up}/config.d/*.conf\n")
    assert (up / "condor_config").read_text() in config
    logs = htc_pool("logs", "-n", "3").stdout
    assert {f"==> {up}/log/{name} <==" for name in ("MasterLog", "SchedLog", "StartLog")} <= set(logs.splitlines())
    only = htc_pool("logs", "schedd", "-n", "2").stdout.splitlines()
    assert only[0] == f"==> {up}/log/SchedLog <=="
    assert len(only) == 4
    assert fails("logs", "nonsense")


def test_logs_into_a_closed_pipe_say_nothing_more(up):
    done = subprocess.run(
        ["sh", "-c", '"$0" logs | head -1; exit 0', HTC_POOL], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith("==> ")
    assert done.stderr == ""


def test_run_gives_htcondors_own_programs_their_pool_and_hands_on_how_they_end(up, tmp_path):
    queue = htc_pool("run", "condor_q", "-allusers")
    assert queue.returncode == 0
    assert "Total for all users: 0 jobs" in queue.stdout
    submitted = htc_pool("run", "--", "condor_submit", "-terse", "/dev/null")
    assert submitted.returncode == 1
    assert htc_pool("run", "sh", "-c", "exit 7").returncode == 7
    assert htc_pool("run", "sh", "-c", "kill -9 $$").returncode == 128 + 9
    assert htc_pool("run", "sh", "-c", "echo $CONDOR_CONFIG").stdout == f"{up}/condor_config\n"
    assert htc_pool("run", "sh", "-c", "env", _condor_SCHEDD_HOST="x").stdout.count("_condor_") == 0
    assert fails("run", "condor_nothing")[1] == "For example: htc-pool run condor_q"
    (tmp_path / "data").write_text("no program")
    done = htc_pool("run", str(tmp_path / "data"))
    assert done.returncode == 1
    assert done.stderr == f"htc-pool: {tmp_path}/data cannot be executed: Permission denied.\n"


def test_run_starts_the_pool_and_keeps_standard_output_clean(home):
    done = htc_pool("run", "condor_q", "-af", "ClusterId")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("Starting a personal HTCondor pool")


def test_ctrl_c_ends_the_command_that_runs(up):
    started = subprocess.Popen(
        [HTC_POOL, "run", "sleep", "99"],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    pools.eventually(lambda: Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text())
    os.killpg(started.pid, signal.SIGINT)
    assert started.communicate(timeout=30)[1] == "htc-pool: interrupted\n"
    assert started.returncode == 130


def test_an_ordinary_user_has_a_pool_of_their_own(up):
    who = ordinary.anybody()
    with ordinary.home_of(who) as own:
        for words, code, said in (
            (["run", "condor_q"], 0, "Total for all users: 0 jobs"),
            (["status"], 0, f"Folder     {own}"),
            (["down", "--purge"], 0, "The pool is down. Its files are deleted."),
        ):
            done = ordinary.run_as(who, [HTC_POOL, *words], own, HTCMAGIC_PROGRAMS=ordinary.programs_seen())
            assert done.returncode == code, done.stdout
            assert said in done.stdout
    assert personal.is_up()


def test_nothing_to_install_with(home, tmp_path):
    said = fails("up", PATH="/nowhere", HTCMAGIC_PROGRAMS=str(tmp_path / "none"))
    assert "apt-get" in said[0]
    assert "--from" in said[1]
    assert "not installed: htc-pool install" in htc_pool("status", PATH="/nowhere", HTCMAGIC_PROGRAMS="/nowhere").stdout


@pytest.mark.skipif(os.getuid() != 0, reason="only root needs user namespaces")
def test_root_without_namespaces(home):
    said = fails("up", PATH="/nowhere")
    assert "HTCondor runs no jobs of root" in said[0]
    assert "ordinary user" in said[1]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can put another /etc/passwd in place")
@pytest.mark.parametrize("names", [("root", "nobody"), ("root", "daemon", "nobody")])
def test_root_on_a_machine_without_ordinary_users(home, tmp_path, names):
    users = tmp_path / "passwd"
    lines = Path("/etc/passwd").read_text().splitlines()
    users.write_text("".join(f"{line}\n" for line in lines if line.partition(":")[0] in names))
    script = 'mount --bind "$1" /etc/passwd; "$2" up && "$2" run condor_ping -type schedd WRITE'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", str(users), HTC_POOL],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if "daemon" in names:
        assert done.returncode == 0, done.stderr
        assert "WRITE command using (" in done.stdout
        assert "daemon@" in done.stdout
    else:
        assert done.stderr.splitlines()[1] == "Add an ordinary user: useradd condor"


@pytest.mark.parametrize(
    ("home_is", "said"), [("not writable", "Permission denied"), ("somebody else's", "belongs to somebody else")]
)
def test_a_home_that_is_not_ours(home_is, said):
    who = ordinary.anybody()
    with ordinary.home_of(who) as own:
        taken = own / "taken"
        (taken / "pool").mkdir(parents=True)
        taken.chmod(0o555 if home_is == "not writable" else 0o777)
        wanted = taken / "h" if home_is == "not writable" else taken
        done = ordinary.run_as(
            who, [HTC_POOL, "up"], own, HTCMAGIC_HOME=str(wanted), HTCMAGIC_PROGRAMS=ordinary.programs_seen()
        )
    print(done.stdout)
    assert done.returncode == 1
    assert said in done.stdout.splitlines()[0]
    assert done.stdout.splitlines()[1].startswith("Set HTCMAGIC_HOME to a folder ")
    assert len(done.stdout.splitlines()) == 2


def test_a_daemon_that_cannot_run_is_named(home):
    (places.private(home / "config.d") / "a.conf").write_text("DAEMON_LIST = MASTER, FOO\n")
    assert "FOO" in fails_to_start(home)


def fails_to_start(home: Path) -> str:
    done = htc_pool("up")
    assert done.returncode == 1
    assert done.stdout == f"Starting a personal HTCondor pool ({pools.installed().version}) in {home}.\n"
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert "htc-pool logs" in lines[1]
    return lines[0]
