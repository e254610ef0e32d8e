"""A set-up's environment, kept in a file and replayed: what is kept, what never is, and when it no longer holds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import kernels
import pytest
from cvmfs import namespace

from htcmagic.kernels.recipe import Recipe
from htcmagic.kernels.stack import Stack

COUNTED = 'echo "run as $SESSION" >>"$HOME/runs"\n'
SETUP = (
    COUNTED
    + """
export VALUE='it is $HOME "`id`" \\n' LINES=$'a\\nb' EMPTY=
PATH=/opt/stack/bin:$PATH:/opt/stack/late
export LD_LIBRARY_PATH=/opt/stack/lib MY_AREA=${TMPDIR:-/tmp}/area.$USER WORK=$(mktemp -d)
export RUN=$XDG_RUNTIME_DIR/stack TWO=$XDG_RUNTIME_DIR:$TMPDIR LOGNAME=${LOGNAME:-somebody}
export PROCESS=log.$$ SEEN_SESSION=$SESSION HERE=$PWD
export KRB5CCNAME=/tmp/krb X509_USER_PROXY=/tmp/proxy MY_TOKEN=secret DB_PASSWORD=secret SSH_AUTH_SOCK=/x
export XDG_DATA_DIRS=/opt/stack/share
unset LANG
umask 027
ulimit -s 12345
lsetup() { echo "set up $1"; helper; }
helper() { echo helped; }
export -f lsetup
"""
)
NEVER = {"KRB5CCNAME", "X509_USER_PROXY", "MY_TOKEN", "DB_PASSWORD", "SSH_AUTH_SOCK", "PROCESS", "WORK"}


class World:
    """A home folder, and a kernel with a snapshot."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "my home"
        self.runtime = folder / "run time"
        for one in (self.home, self.runtime):
            one.mkdir(mode=0o700)
        self.env = {
            "HOME": str(self.home), "USER": "me", "PATH": "/usr/bin:/bin:/my/own", "LANG": "C.UTF-8",
            "TMPDIR": str(folder), "XDG_RUNTIME_DIR": str(self.runtime), "SESSION": "this",
            "HTCMAGIC_HOME": str(folder / "kept"),
        }  # fmt: skip
        self.folder = folder

    def kernel(self, setup: str = SETUP, **more) -> Path:
        return kernels.sourcing(self.folder, setup, snapshot=True, **more)

    def given(self, kernel: Path, **more: str) -> dict:
        return kernels.given(kernel, {**self.env, **more}, cwd=self.folder)

    def refresh(self, kernel: Path, **more: str) -> subprocess.CompletedProcess[str]:
        return kernels.ask(kernel, "--refresh", env={**self.env, **more}, cwd=self.folder)

    def add(self, text: str) -> None:
        script = self.folder / "mine.source.sh"
        script.write_text(script.read_text() + text)

    @property
    def runs(self) -> int:
        """How often the set-up was run."""
        file = self.home / "runs"
        return len(file.read_text().splitlines()) if file.exists() else 0

    def files(self) -> list[Path]:
        return sorted((self.folder / "kept/snapshots").glob("*"))


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def plain(told: dict) -> dict[str, str]:
    return {
        name: value
        for name, value in told["env"].items()
        if not name.startswith(("HTCMAGIC_", "BASH_FUNC_", "_", "SHLVL", "PWD", "OLDPWD"))
    }


def test_a_replay_gives_what_the_set_up_gave(world):
    kernel = world.kernel()
    done = world.refresh(kernel)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) in world.files()
    assert world.runs == 1
    replayed, told = world.given(kernel), None
    assert world.runs == 1
    for file in world.files():
        file.unlink()
    told = world.given(kernel)
    assert world.runs == 2
    live = plain(told)
    assert {name for name in live if name not in plain(replayed)} == NEVER
    assert plain(replayed) == {name: value for name, value in live.items() if name not in NEVER}
    assert (replayed["umask"], replayed["stack"]) == (0o027, 12345 * 1024)
    env = replayed["env"]
    assert env["PATH"] == "/opt/stack/bin:/usr/bin:/bin:/my/own:/opt/stack/late"
    assert env["VALUE"] == 'it is $HOME "`id`" \\n'
    assert env["LINES"] == "a\nb"
    assert env["MY_AREA"] == f"{world.folder}/area.me"
    assert env["TWO"] == f"{world.runtime}:{world.folder}"
    assert env["HERE"] == str(world.home)
    assert env["SEEN_SESSION"] == ""
    assert (env["SESSION"], env["XDG_DATA_DIRS"]) == ("this", "/opt/stack/share")
    assert "LANG" not in env
    assert (live["KRB5CCNAME"], live["MY_TOKEN"]) == ("/tmp/krb", "secret")


def test_it_fits_another_session(world, tmp_path):
    kernel = world.kernel()
    world.refresh(kernel)
    other = tmp_path / "other"
    other.mkdir()
    env = world.given(
        kernel, TMPDIR=str(other), XDG_RUNTIME_DIR="", PATH="/bin:/else", SESSION="another", KRB5CCNAME="/mine"
    )["env"]
    assert world.runs == 1
    assert env["MY_AREA"] == f"{other}/area.me"
    assert env["RUN"] == "/tmp/stack"
    assert env["PATH"] == "/opt/stack/bin:/bin:/else:/opt/stack/late"
    assert (env["SESSION"], env["KRB5CCNAME"]) == ("another", "/mine")


def test_the_files_are_private_and_hold_no_secret(world):
    world.refresh(world.kernel())
    assert [file.name.rpartition("-")[0] for file in world.files()] == ["mine", "mine"]
    for file in world.files():
        assert file.stat().st_mode & 0o777 == 0o600
        text = file.read_text()
        assert "secret" not in text
        assert "/tmp/krb" not in text
    assert (world.folder / "kept/snapshots").stat().st_mode & 0o777 == 0o700
    assert not [file for file in world.files() if file.name.startswith(".")]


def test_functions_are_there_when_they_are_called(world):
    kernel = world.kernel()
    world.refresh(kernel)
    done = kernels.ask(kernel, "--run", "bash", "-c", 'lsetup "a b"; lsetup c; type -t hidden', env=world.env)
    assert done.stdout == "set up a b\nhelped\nset up c\nhelped\n"
    assert world.runs == 1
    with kernels.started(kernel, {**world.env, "SHELL": "/bin/bash"}) as running:
        assert running.run("!lsetup here").text.split() == ["set", "up", "here", "helped"]


CHANGES = {
    "the script": lambda world: world.add("# more\n"),
    "its time alone": lambda world: os.utime(world.folder / "mine.source.sh", ns=(1, 1)),
    "the hook": lambda world: (world.folder / "hook.sh").write_text("export HOOK=1\n"),
    "the user's home": lambda world: world.env.update(HOME=str(shutil.copytree(world.home, world.folder / "moved"))),
    "python is gone": lambda world: (world.folder / "python").unlink(),
    "another fingerprint": lambda world: world.files()[-1].write_text("# x\n#\n# /bin/sh\nhtc_complete=1\n"),
    "cut short": lambda world: world.files()[-1].write_text(world.files()[-1].read_text().rpartition("htc_python")[0]),
    "empty": lambda world: world.files()[-1].write_text(""),
    "gone": lambda world: world.files()[-1].unlink(),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_makes_it_stale_and_the_next_set_up_is_kept(change, world):
    (world.folder / "python").symlink_to(sys.executable)
    setup = COUNTED + f'export A=1 MY="{world.folder}/python"\n[[ -x $MY ]] || MY={sys.executable}\n'
    kernel = world.kernel(setup, hooks=(str(world.folder / "hook.sh"),), python="$MY")
    world.refresh(kernel)
    world.given(kernel)
    assert world.runs == 1
    CHANGES[change](world)
    if change == "the user's home":
        world.home = world.folder / "moved"
    told = world.given(kernel)
    assert world.runs == 2
    assert told["env"]["A"] == "1"
    assert ("out of date" in told["said"]) == (change != "gone")
    told = world.given(kernel)
    assert world.runs == 2
    assert told["env"].get("HOOK") == ("1" if change == "the hook" else None)


def test_other_options_are_another_snapshot_and_older_ones_go(world):
    known = Stack(
        name="site",
        title="S",
        folder=world.folder,
        setup=COUNTED + "export RELEASE=$htc_release\n",
        python=sys.executable,
    )
    recipe = Recipe("mine", "m", stack="site", options={"release": "1"}, snapshot=True)
    neighbour = replace(recipe, name="mine-too")
    world.refresh(kernels.write(neighbour, world.folder, known))
    world.refresh(kernels.write(recipe, world.folder, known))
    assert len(world.files()) == 2
    kernel = kernels.write(replace(recipe, options={"release": "2"}), world.folder, known)
    assert world.given(kernel)["env"]["RELEASE"] == "2"
    assert world.runs == 3
    assert len(world.files()) == 2
    assert world.given(kernels.write(neighbour, world.folder, known))["env"]["RELEASE"] == "1"
    assert world.runs == 3


def with_cvmfs(world: World, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script where a folder of the world is /cvmfs, perhaps with a getfattr of the world's."""
    asked = world.home / "getfattr"
    grafts = {"/usr/bin/getfattr": asked} if asked.exists() else {}
    return namespace.inside(world.home / "cvmfs", ["sh", "-c", script], grafts=grafts, system="", env=world.env)


GETFATTR = """#!/bin/sh
for one; do :; done
echo "# file: $one"
echo "user.revision=\\"$(cat "$HOME/number")\\""
"""


def test_a_repository_s_files_and_its_revision_count(world):
    (world.home / "cvmfs/one.test").mkdir(parents=True)
    entry = world.home / "cvmfs/one.test/setup.sh"
    entry.write_text("export RELEASE=1\n")
    known = Stack(
        name="site", title="S", folder=world.folder, repositories=("one.test",), python=sys.executable,
        entries=("/cvmfs/one.test/setup.sh",), setup=COUNTED + "source /cvmfs/one.test/setup.sh\n",
    )  # fmt: skip
    kernel = kernels.write(Recipe("mine", "m", stack="site", snapshot=True), world.folder, known)
    twice = f"for n in 1 2; do '{kernel}/setup.sh' --run sh -c 'echo $RELEASE'; done\n"
    change = "echo 'export RELEASE=2 # longer' >/cvmfs/one.test/setup.sh\n"
    done = with_cvmfs(world, twice + change + twice)
    assert done.stdout.split() == ["1", "1", "2", "2"], done.stderr
    assert world.runs == 2
    # Where revisions are told, they alone count: of a repository's files there may be thousands.
    (world.home / "getfattr").write_text(GETFATTR)
    (world.home / "getfattr").chmod(0o755)
    (world.home / "number").write_text("7")
    done = with_cvmfs(world, twice + change.replace("2", "3") + twice + 'echo 8 >"$HOME/number"\n' + twice)
    assert done.stdout.split() == ["2", "2", "2", "2", "3", "3"], done.stderr
    assert world.runs == 4
    (world.home / "getfattr").write_text("#!/bin/sh\nexec sleep 100\n")
    began = time.monotonic()
    done = with_cvmfs(world, twice.replace("1 2", "1"))
    assert done.stdout == "3\n"
    assert time.monotonic() - began < 60
    assert world.runs == 5


def test_what_is_not_ours_is_not_sourced(world):
    kernel = world.kernel(COUNTED + "export A=1\n")
    world.refresh(kernel)
    file = world.files()[-1]
    if os.getuid() == 0:
        os.chown(file, 65534, 65534)
        assert world.given(kernel)["env"]["A"] == "1"
        assert world.runs == 2
    file.unlink()
    file.symlink_to("/nowhere")
    assert world.given(kernel)["env"]["A"] == "1"


@pytest.mark.parametrize("where", ["no folder", "full"])
def test_without_room_for_it_the_kernel_starts_all_the_same(where, world):
    kernel = world.kernel(COUNTED + "export A=1\n")
    if where == "no folder":
        Path(world.env["HTCMAGIC_HOME"]).write_text("")
        assert world.given(kernel)["env"]["A"] == "1"
        done = world.refresh(kernel)
        assert done.returncode == 97
    else:
        if os.getuid() != 0:
            pytest.skip("needs root, to mount a small disk")
        (world.folder / "kept").mkdir()
        words = """
            mount -t tmpfs -o size=68k,mode=700 none "$HTCMAGIC_HOME"
            mkdir "$HTCMAGIC_HOME/logs" "$HTCMAGIC_HOME/snapshots"
            cat /dev/zero 2>/dev/null >"$HTCMAGIC_HOME/full"
            "$0" --run sh -c 'echo $A'
            "$0" --refresh
            echo $?
            ls -A "$HTCMAGIC_HOME/snapshots"
        """
        done = subprocess.run(
            ["unshare", "-m", "bash", "-c", words, kernel / "setup.sh"],
            env=world.env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.stdout == "1\n97\n"
    assert "its environment could not be kept" in done.stderr


def test_two_at_once_and_one_killed_leave_a_whole_one_or_none(world):
    kernel = world.kernel(
        COUNTED + "".join(f"export A{number}={'x' * 1000}\n" for number in range(100)) + "export A=1\n"
    )
    with ThreadPoolExecutor(4) as pool:
        assert [done.returncode for done in pool.map(lambda _: world.refresh(kernel), range(6))] == [0] * 6
    assert len(world.files()) == 1
    for number in range(6):
        one = subprocess.Popen(
            [kernel / "setup.sh", "--refresh"], env=world.env, stdout=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(0.01 + 0.02 * number)
        os.killpg(one.pid, 9)
        one.wait()
        assert world.files()[-1].read_text().endswith("\nhtc_complete=1\n")
    before = world.runs
    assert world.given(kernel)["env"]["A"] == "1"
    assert world.runs == before


def test_a_set_up_that_fails_is_not_kept_and_says_so(world):
    kernel = world.kernel(COUNTED + "exit 3\n")
    done = world.refresh(kernel)
    assert done.returncode == 97
    assert "ended early, with exit status 3" in done.stderr
    assert world.files() == []
    done = kernels.ask(kernels.sourcing(world.folder, "true\n", "plain"), "--refresh", env=world.env)
    assert done.returncode == 97
    assert "not made with --snapshot" in done.stderr


def test_a_command_s_environment_is_kept_as_well(world):
    runner = world.folder / "lb-run"
    runner.write_text(f'#!/bin/sh\n{COUNTED}export RELEASE="$1" PATH="/opt/stack:$PATH" MY_TOKEN=secret\nshift\n"$@"\n')
    runner.chmod(0o755)
    known = Stack(
        name="site", title="S", folder=world.folder, kind="exec", markers=("RELEASE",), python=sys.executable,
        setup=f"htc_exec=('{runner}' v1)\n",
    )  # fmt: skip
    kernel = kernels.write(Recipe("mine", "m", stack="site", snapshot=True), world.folder, known)
    for runs in (1, 1):
        told = world.given(kernel)
        assert (told["env"]["RELEASE"], told["env"]["PATH"]) == ("v1", "/opt/stack:/usr/bin:/bin:/my/own")
        assert world.runs == runs
    assert "secret" not in world.files()[0].read_text()


def test_kernels_start_from_it(world):
    kernel = world.kernel(COUNTED + "sleep 2\nexport A=1\n")
    for _ in range(3):
        with kernels.started(kernel, world.env) as running:
            assert running.run("import os; print(os.environ['A'])").text == "1\n"
    assert world.runs == 1
