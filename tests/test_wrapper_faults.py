"""What set-ups and environments do to a wrapper, and what it makes of them: the kernel, or the reason why not."""

from __future__ import annotations

import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import kernels
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from htcmagic.kernels.recipe import Recipe

HIDDEN = "cd export source printf echo unset builtin declare local read set exit eval trap type command compgen return"
"""Commands that become functions, which say that they were called."""
HARMLESS = {
    "errexit": "set -eu\nset -o pipefail\n",
    "posix": "set -o posix\n",
    "every option": "set -abefkmuvxCET\nset -o posix\n",
    "shopts": "shopt -s failglob nullglob nocasematch extdebug expand_aliases\n",
    "no IFS": "unset IFS\n",
    "odd IFS": "IFS=abcdeftuxPTH=/\n",
    "exported IFS": "export IFS=abcd/0123456789 CDPATH=/ GLOBIGNORE='*' TMOUT=1\n",
    "readonly": "readonly name=1 IFS=: found=2 where=3 text line one\n",
    "functions": "".join(
        f"{name}() {{ echo HOSTILE {name}; return 1; }}\n"
        for name in HIDDEN.split()
    ),
    "programs as functions": "readlink() { :; }\nrm() { :; }\nmv() { :; }\nexport -f readlink rm mv\n",
    "aliases": "shopt -s expand_aliases\nalias htc_emit=false export=false printf=false builtin=false exit=false\n",
    "traps": "trap 'echo HOSTILE >&9' EXIT ERR DEBUG RETURN TERM INT\nexec 9>/dev/null\n",
    "directory": "cd /\n",
    "gone directory": 'd=$(mktemp -d) && cd "$d" && rmdir "$d"\n',
    "stdin": "read -r line; cat; export LINE=$line\n",
    "stdin closed": "exec <&-\n",
    "output closed": "exec >&- 2>&-\n",
    "all files closed": 'for fd in {0..60}; do eval "exec $fd>&-"; done\n',
    "arguments": 'set -- "*" -f x.json; shift 2\n',
    "returns 1": "return 1\n",
    "false": "false\n",
    "PATH": "PATH=/nowhere\n",
    "no PATH": "unset PATH\n",
    "libraries": 'd=$(mktemp -d); echo no | tee "$d/libselinux.so.1" >"$d/libacl.so.1"; export LD_LIBRARY_PATH=$d\n',
    "much output": 'for i in {1..20000}; do echo "$i 123456789 123456789 123456789 123456789 12345"; done\n',
    "bytes": "printf '\\0\\377\\376\\033[31m\\r\\n'\n",
    "daemon": "sleep 300 & (sleep 301; :) &\ndisown\n",
    "home": "HOME=/nonexistent\n",
    "unexported": "export -n HOME\n",
    "arrays": "declare -a list=(1 2); export list; declare -Ax map=([a]=1)\n",
    "exported, not set": "export NOT_SET\n",
    "random": "export RANDOM SECONDS LINENO UID EUID PPID\n",
    "own names": "htc_child=1; htc_name=7; htc_found=8; htc_text='echo HOSTILE'\n",
}  # fmt: skip
SETTING = "export SET_UP='it is $HOME \"`id`'\n"


@pytest.mark.parametrize("name", HARMLESS)
def test_whatever_a_set_up_does_its_result_is_taken_over(name, tmp_path):
    kernel = kernels.sourcing(tmp_path, SETTING + HARMLESS[name])
    home = tmp_path / "home"
    env = {**os.environ, "HTCMAGIC_HOME": str(home), "INHERITED": "kept", "XDG_RUNTIME_DIR": ""}
    try:
        told = kernels.given(kernel, env, cwd=tmp_path, timeout=30)
    finally:
        for pid in kernels.below(str(kernel)):
            os.kill(pid, 9)
    assert told["env"]["SET_UP"] == 'it is $HOME "`id`'
    assert told["env"]["INHERITED"] == "kept"
    assert told["cwd"] == str(tmp_path)
    assert not [one for one in told["env"] if one.startswith("htc_") or one in {"SHELLOPTS", "POSIXLY_CORRECT"}]
    assert "HOSTILE" not in told["said"]
    assert not [target for fd, target in told["fds"].items() if int(fd) > 2 and "/proc/" not in target]
    assert told["children"] == []
    assert not list(home.glob("logs/*.*.*"))


REFUSED = {
    "exit": ("exit 0\n", "ended early, with exit status 0"),
    "exit 3": ("(exit 3) || exit 3\n", "ended early, with exit status 3"),
    "exec": ("exec true\n", "ended early, with exit status 0"),
    "exec shell": ("exec bash --login\n", "ended early"),
    "errexit": ("set -e\nfalse\n", "ended early, with exit status 1"),
    "nounset": ("set -u\necho $no_such_variable\n", "ended early"),
    "killed": ("kill -9 $$\n", "ended early, with exit status 137"),
    "hangs": ("echo waiting for something\nsleep 1000\n", "did not end within 2 s"),
    "hangs hard": ("trap '' TERM\nwhile :; do sleep 1000; done\n", "did not end within 2 s"),
    "hangs apart": ("setsid sleep 1000\n", "did not end within 2 s"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_set_up_that_does_not_come_to_its_end_is_told(name, tmp_path):
    setup, reason = REFUSED[name]
    kernel = kernels.sourcing(tmp_path, f"export MARK={tmp_path}\n{setup}", timeout_s=2)
    done = kernels.ask(kernel, "--run", "true", env={**os.environ, "HTCMAGIC_HOME": str(tmp_path / "home")}, timeout=20)
    assert done.returncode == 97
    assert done.stderr.splitlines()[-1].startswith("htcmagic: kernel mine: the set-up ")
    assert reason in done.stderr
    assert kernels.below(f"MARK={tmp_path}") == []


def test_limits_and_mask_are_taken_over(tmp_path):
    kernel = kernels.sourcing(tmp_path, "umask 027\nulimit -s 12345\n")
    told = kernels.given(kernel)
    assert told["umask"] == 0o027
    assert told["stack"] == 12345 * 1024
    hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
    if hard == resource.RLIM_INFINITY:
        told = kernels.given(kernels.sourcing(tmp_path, "ulimit -s unlimited\n", "other"))
        assert told["stack"] == resource.RLIM_INFINITY


VALUES = {
    "newline": "a\nb\n",
    "dollar": "$HOME ${HOME} $(id) `id` \\$x \\\\",
    "quotes": "'\"'\\''",
    "long": "x" * 120_000,
    "bytes": os.fsdecode(b"\xff\xfe \x80"),
    "empty": "",
    "unicode": "\u00fcml\u00e4ut \U0001f600",
    "control": "\x01\x1b[31m\r\t",
    "tilde": "~",
    "glob": "* [a-z] ?",
}


def test_values_that_a_set_up_exports_arrive_as_they_are(tmp_path):
    lines = [f"export V{number}={shlex.quote(value)}\n" for number, value in enumerate(VALUES.values())]
    script = tmp_path / "values.sh"
    script.write_bytes(os.fsencode("".join(lines)))
    kernel = kernels.write(
        Recipe("mine", "mine", sources=(str(script),), python=sys.executable), tmp_path
    )  # fmt: skip
    for locale in ("C", "C.UTF-8", "no_SUCH.locale"):
        told = kernels.given(kernel, {**os.environ, "LC_ALL": locale})
        for number, value in enumerate(VALUES.values()):
            assert os.fsdecode(told["env"][f"V{number}"].encode("latin-1")) == value


def hostile(folder: Path) -> dict[str, str]:
    """Return an environment that trips shell scripts."""
    start = folder / "bash env.sh"
    start.write_text(
        "set -eu; shopt -s expand_aliases; alias set=false unset=false case=false\n"
        "set() { echo HOSTILE; }; printf() { echo HOSTILE; }; exec() { echo HOSTILE; }\ntrap : DEBUG\n"
    )
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "BASH_ENV": str(start),
        "ENV": str(start),
        "SHELLOPTS": "braceexpand:errexit:nounset:noclobber:noglob:allexport:pipefail",
        "BASHOPTS": "extglob:nullglob:failglob",
        "IFS": "abcdefgh/=",
        "CDPATH": "/:/usr",
        "GLOBIGNORE": "*",
        "TMOUT": "1",
        "PROMPT_COMMAND": "echo HOSTILE",
        "htc_mode": "emit",
        "htc_python": "/bin/false",
        "htc_failed": "echo HOSTILE",
        "reason": "kept",
        "python": "kept",
        "word": "kept",
        "a.b": "kept",
        "x-y": "kept",
        "1": "kept",
        "": "kept",
        **{
            f"BASH_FUNC_{name}%%": "() { echo HOSTILE >&2; return 1; }"
            for name in [*HIDDEN.split(), "exec", "[", "umask", "kill"]
        },
    }


@pytest.mark.parametrize("kind", ["functions", "BASH_ENV", "POSIX mode"])
def test_a_hostile_environment_changes_nothing(kind, tmp_path):
    kernel = kernels.sourcing(tmp_path, SETTING + 'export COUNT="$#" MODE=$htc_mode OPTIONS=$-\n')
    env = hostile(tmp_path)
    if kind != "functions":
        env = {name: value for name, value in env.items() if not name.startswith("BASH_FUNC_")}
    if kind != "BASH_ENV":  # what it calls would be the functions; POSIX mode reads no such file
        del env["BASH_ENV"]
    if kind == "POSIX mode":
        env["POSIXLY_CORRECT"] = "1"
    told = kernels.given(kernel, env, stdin=subprocess.DEVNULL)
    assert told["env"]["SET_UP"] == 'it is $HOME "`id`'
    assert (told["env"]["COUNT"], told["env"]["OPTIONS"]) == ("0", "hB")
    assert "HOSTILE" not in told["said"]
    for name in ("reason", "python", "word", "a.b", "x-y", "BASH_ENV", "TMOUT", "POSIXLY_CORRECT"):
        assert told["env"].get(name) == env.get(name), name
    leaked = [name for name in told["env"] if name.startswith(("htc_", "BASH_FUNC_", "SHELLOPTS"))]
    assert leaked == []


NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,20}", fullmatch=True).filter(
    lambda name: (
        not re.fullmatch(
            r"_|IFS|PATH|PWD|OLDPWD|SHLVL|HOME|UID|EUID|PPID|(BASH|htc_|HTCMAGIC_|LD_|PYTHON|LC_|JPY_).*", name
        )
    )
)
BYTES = st.one_of(
    st.binary(max_size=60).filter(lambda value: b"\0" not in value),
    st.text(st.sampled_from("$`\\\"'!#~*?[]{}()<>|&; \n\tab="), max_size=30).map(str.encode),
)


@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(NAMES.map(str.encode), BYTES, min_size=55, max_size=70))
def test_inherited_values_reach_the_kernel_unchanged(tmp_path_factory, values):
    folder = tmp_path_factory.getbasetemp() / "inherited"
    kernel = kernels.sourcing(folder, SETTING)
    env = {b"PATH": os.environb[b"PATH"], b"HOME": os.fsencode(folder), **values}
    told = kernels.given(kernel, env)
    arrived = {name: value for name, value in told["env"].items() if name.encode() in values}
    assert arrived == {name.decode(): value.decode("latin-1") for name, value in values.items()}


def test_odd_names_of_folders(tmp_path):
    home = tmp_path / 'it\'s "my" home'
    kernel = kernels.sourcing(home / "kernels of 'mine'", SETTING + "echo told\n")
    env = {**os.environ, "HOME": str(home), "HTCMAGIC_HOME": "", "XDG_DATA_HOME": ""}
    told = kernels.given(kernel, env, cwd=home)
    assert told["env"]["SET_UP"]
    assert told["env"]["HTCMAGIC_KERNEL_DIR"] == str(kernel)
    with kernels.started(kernel, env, home) as running:
        assert running.run("import os; print(os.environ['HTCMAGIC_KERNEL'])").text == "mine\n"
    log = home / ".local/share/htcmagic/logs/mine.log"
    assert log.is_file()
    assert log.stat().st_mode & 0o777 == 0o600
    done = subprocess.run(
        ["bash", "setup.sh", "--run", "pwd"], cwd=kernel, env=env, capture_output=True, text=True, check=False
    )
    assert done.stdout == f"{kernel}\n"


@pytest.mark.parametrize("place", ["home", "everything"])
def test_nowhere_to_write(place, tmp_path):
    kernel = kernels.sourcing(tmp_path, SETTING + "echo told\n")
    env = {**os.environ, "HTCMAGIC_HOME": "/dev/null/no", "XDG_RUNTIME_DIR": "/dev/null"}
    if place == "home":
        told = kernels.given(kernel, env)
        assert told["env"]["SET_UP"]
        assert "told" in told["said"]
        assert not list(Path("/tmp").glob("htcmagic.mine.*"))
    else:
        # For this process alone, /tmp and /dev/shm are small full disks.
        small = "mount -t tmpfs -o size=4k none $d && cat /dev/zero 2>/dev/null >$d/full"
        script = f'for d in /tmp /dev/shm; do {small}; done; exec "$@"'
        copy = Path("/var/tmp") / f"htcmagic-test-{os.getpid()}"
        shutil.copytree(tmp_path, copy)
        try:
            done = subprocess.run(
                ["unshare", "-U", "-r", "-m", "sh", "-c", script, "sh", str(copy / "mine/setup.sh"), "--run", "true"],
                env=env | {"TMPDIR": "/tmp"}, capture_output=True, text=True, check=False,
            )  # fmt: skip
        finally:
            shutil.rmtree(copy)
        assert done.returncode == 97
        assert "nothing can be written to" in done.stderr
