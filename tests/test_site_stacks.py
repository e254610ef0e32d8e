"""Stacks that a user or a site writes: from scratch, in place of ours, slow ones, hanging ones, broken ones."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest
from cvmfs import tree
from cvmfs.machine import Machine

TOML = """
title = "Our site"
repositories = ["site.example.org"]
entries = ["/cvmfs/site.example.org/$htc_release/setup.sh"]
markers = ["SITE_RELEASE"]
python_under = ["/cvmfs/site.example.org/"]

[options.release]
about = "a folder there"
default = "latest"
listed = ["/cvmfs/site.example.org/*/setup.sh"]
pattern = "site.example.org/([^/]+)/"
"""
SETUP = 'source "/cvmfs/site.example.org/$htc_release/setup.sh"\n'
SCRIPT = """\
[ $# = 0 ] || { echo "arguments leaked: $*"; return 64; }
export SITE_RELEASE=%s PATH=/cvmfs/site.example.org/python/bin:$PATH SITE_ODD='a $HOME "b" c`d`
e\\f'
site_tool() { echo "tool of $SITE_RELEASE"; }
export -f site_tool
"""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Give a machine whose /cvmfs has one repository, with two releases."""
    top = tmp_path / "cvmfs"
    made = Machine(top, tmp_path)
    base = top / "site.example.org"
    tree.python(base / "python", ["site_of_tree"])
    for release in ("1.9", "1.10"):
        (base / release).mkdir()
        (base / release / "setup.sh").write_text(SCRIPT % release)
    return made


def script(machine: Machine, text: str, release: str = "1.10") -> None:
    """Write another set-up script in the tree."""
    (machine.tree / "site.example.org" / release / "setup.sh").write_text(text)


def first_error(machine: Machine, name: str = "k", **env: str) -> list[str]:
    """Start a kernel that must be a diagnostic one; its first cell's error."""
    told = machine.one("ask", name=name, cells=["print('the host')"], **env)
    assert told["died"] == "", told["said"]
    (cell,) = told["cells"]
    assert cell["text"] == ""
    assert cell["error"] is not None
    error: list[str] = cell["error"]
    return error


def test_a_stack_from_scratch_works(machine: Machine) -> None:
    machine.stack("ours", TOML, SETUP)
    cells = [
        "import os, sys; print(sys.executable); print(os.environ['SITE_RELEASE']); print(os.getcwd())",
        "os.environ['SITE_ODD']",
        "import site_of_tree; print(site_of_tree.TREE)",
        "!bash -c site_tool",
    ]
    made, told = machine.do(("make", {"name": "k", "stack": "ours"}), ("ask", {"name": "k", "cells": cells}))
    assert made["options"] == {"release": "1.10"}
    first, odd, imported, tool = told["cells"]
    assert first["text"].split("\n")[:3] == [
        "/cvmfs/site.example.org/python/bin/python3",
        "1.10",
        str(machine.notebooks),
    ]
    assert ast.literal_eval(odd["result"]) == 'a $HOME "b" c`d`\ne\\f'
    assert imported["text"] == "site_of_tree\n"
    assert tool["text"].strip() == "tool of 1.10"


def test_a_release_is_chosen_by_name_and_what_there_is_not_is_refused(machine: Machine) -> None:
    machine.stack("ours", TOML, SETUP)
    older, none = machine.do(
        ("make", {"name": "a", "stack": "ours", "options": {"release": "1.9"}}),
        ("make", {"name": "b", "stack": "ours", "options": {"release": "1.8"}}),
    )
    assert older["options"] == {"release": "1.9"}
    assert none["kind"] == "StackError"
    assert "1.8" in none["error"]
    assert "1.9" in none["error"]


def test_a_release_that_goes_away_is_told_by_the_kernel(machine: Machine) -> None:
    machine.stack("ours", TOML, SETUP)
    machine.one("make", name="k", stack="ours")
    (machine.tree / "site.example.org/1.10/setup.sh").unlink()
    _, reason, text = first_error(machine)
    assert "/cvmfs/site.example.org/1.10/setup.sh" in text
    assert reason


def test_a_repository_that_is_not_mounted_is_told_by_the_kernel(machine: Machine) -> None:
    machine.stack("ours", TOML, SETUP)
    machine.one("make", name="k", stack="ours")
    (machine.tree / "site.example.org").rename(machine.tree / "other.example.org")
    _, reason, _ = first_error(machine)
    assert "site.example.org" in reason


def stack_files() -> dict[str, tuple[str, str, str]]:
    """Return broken stacks: stack.toml, setup.sh, and what the message must say."""
    return {
        "syntax": ("title = \n", SETUP, "stack.toml"),
        "unknown-key": ('title = "x"\nmarker = ["A"]\n', SETUP, "markers"),
        "no-title": ("markers = []\n", SETUP, "title"),
        "wrong-kind": ('title = "x"\nkind = "sourced"\n', SETUP, "sourced"),
        "wrong-list": ('title = "x"\nmarkers = [1]\n', SETUP, "markers"),
        "preset": ('title = "x"\n[preset]\n"a-b" = "1"\n', SETUP, "a-b"),
        "option": ('title = "x"\n[options.release]\ndefaults = "1"\n', SETUP, "release"),
        "option-type": ('title = "x"\n[options]\nrelease = "1"\n', SETUP, "release"),
        "kind-type": ('title = "x"\nkind = 3\n', SETUP, "kind"),
        "title-type": ("title = 3\n", SETUP, "title"),
        "python-type": ('title = "x"\npython = ["python3"]\n', SETUP, "python"),
        "preset-type": ('title = "x"\npreset = "A=1"\n', SETUP, "preset"),
        "options-type": ('title = "x"\noptions = ["release"]\n', SETUP, "options"),
        "no-setup": ('title = "x"\n', "", "setup.sh"),
    }


def test_a_broken_stack_is_told_with_its_file(machine: Machine) -> None:
    broken = stack_files()
    for name, (toml, setup, _) in broken.items():
        folder = machine.stack(name, toml, setup)
        if not setup:
            (folder / "setup.sh").unlink()
    machine.stack("good", TOML, SETUP)
    *answers, good = machine.do(*(("make", {"name": "k", "stack": name}) for name in [*broken, "good"]))
    for (name, (_, _, said)), told in zip(broken.items(), answers, strict=True):
        assert told.get("kind") == "StackError", (name, told)
        assert str(machine.stacks / name) in told["error"]
        assert said in told["error"]
    assert good["options"] == {"release": "1.10"}


def test_a_stack_whose_bash_is_wrong_is_refused(machine: Machine) -> None:
    folder = machine.stack("bad", TOML, "if true; then\n")
    done = machine.command("create", "--cvmfs", "bad", "--no-probe")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert str(folder) in done.stderr or "setup.sh" in done.stderr


def test_unreadable_bytes_are_told_with_their_file(machine: Machine) -> None:
    folder = machine.stack("bad", TOML, SETUP)
    (folder / "setup.sh").write_bytes(b"echo \xff\n")
    (folder / "stack.toml").write_bytes(b'title = "\xff"\n')
    assert str(folder) in machine.one("make", name="b", stack="bad")["error"]


def test_the_users_folder_wins_over_ours_and_the_path_of_jupyter_over_both(machine: Machine) -> None:
    shipped = machine.one("make", name="k", stack="lcg", options={"release": "LCG_107"})
    assert "error" in shipped  # the repository is not there, so it was ours
    machine.stack("lcg", TOML, SETUP)
    users = machine.one("make", name="k", stack="lcg")
    machine.stack("lcg", TOML, SETUP, within=machine.jupyter / "htcmagic/kernelspecs")
    sites = machine.one("make", name="k", stack="lcg")
    assert users["stack"] == str(machine.stacks / "lcg")
    assert sites["stack"] == str(machine.jupyter / "htcmagic/kernelspecs/lcg")


def test_a_stack_in_etc_wins_over_ours(machine: Machine, tmp_path: Path) -> None:
    site = tmp_path / "etc"
    machine.stack("lcg", TOML, SETUP, within=site / "kernelspecs")
    machine.grafts["/etc/htcmagic"] = site
    made = machine.one("make", name="k", stack="lcg")
    assert made["stack"] == "/etc/htcmagic/kernelspecs/lcg"


def test_an_unknown_stack_is_refused_with_the_nearest(machine: Machine) -> None:
    machine.stack("our-site", TOML, SETUP)
    made = machine.one("make", name="k", stack="our-sites")
    assert "our-site" in made["error"].split("\n")[1]


def test_a_folder_with_a_name_no_stack_can_have_is_not_one(machine: Machine) -> None:
    for name in ("-x", "..x", "UPPER", "a b"):
        machine.stack(name, TOML, SETUP)
    machine.stack("good", TOML, SETUP)
    known = machine.one("stacks")
    assert "good" in known
    assert not {"-x", "..x", "UPPER", "a b"} & set(known)


SLOW = [
    pytest.param("while :; do sleep 1; done\n", id="loop", marks=pytest.mark.slow),
    pytest.param("sleep 1000\n", id="child", marks=pytest.mark.slow),
    pytest.param("trap '' TERM INT; while :; do sleep 1; done\n", id="deaf"),
]


@pytest.mark.parametrize("text", SLOW)
def test_a_set_up_that_hangs_is_told_after_its_time(machine: Machine, text: str) -> None:
    machine.stack("ours", TOML, SETUP)
    script(machine, f"export HANGS_FOR_TEST={machine.notebooks}\n{text}")
    machine.one("make", name="k", stack="ours", timeout_s=2)
    _, reason, _ = first_error(machine)
    assert "2 s" in reason
    assert left(f"HANGS_FOR_TEST={machine.notebooks}") == []


def test_a_repository_that_hangs_is_told_after_its_time(machine: Machine) -> None:
    machine.stack("ours", TOML, SETUP)
    machine.one("make", name="k", stack="ours", timeout_s=2)
    entry = machine.tree / "site.example.org/1.10/setup.sh"
    entry.unlink()
    os.mkfifo(entry)
    _, reason, _ = first_error(machine)
    assert "2 s" in reason


def left(marker: str) -> list[str]:
    """Return the command lines of processes whose environment has `marker`."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and marker.encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_text())
        except OSError:
            continue
    return found


def test_a_slow_set_up_is_waited_for(machine: Machine) -> None:
    machine.stack("ours", TOML, SETUP)
    script(machine, f"sleep 3\n{SCRIPT % 'slow'}")
    machine.one("make", name="k", stack="ours")
    told = machine.one("ask", name="k", cells=["import os; print(os.environ['SITE_RELEASE'])"])
    assert told["cells"][0]["text"] == "slow\n"


ENDINGS = {
    "exit": ("exit 0\n", "exit"),
    "exec": ("exec true\n", "exit"),
    "returns": ("return 1\n", "SITE_RELEASE"),
    "lies": ("echo 'no such release' >&2\n", "SITE_RELEASE"),
    "host": ("export SITE_RELEASE=1\n", "python3"),
    "syntax": ("if true; then\n", "SITE_RELEASE"),
}


def test_a_set_up_that_does_not_do_its_work_is_told(machine: Machine) -> None:
    machine.stack("ours", TOML, SETUP)
    machine.one("make", name="k", stack="ours")
    for kind, (text, said) in ENDINGS.items():
        script(machine, text)
        told = machine.one("run", name="k", words=["true"])
        assert told["status"] == 97, kind
        assert said in told["err"].splitlines()[-1], kind


def test_what_a_set_up_says_before_it_fails_is_shown_in_the_first_cell(machine: Machine) -> None:
    machine.stack("ours", TOML, SETUP)
    machine.one("make", name="k", stack="ours")
    script(machine, ENDINGS["lies"][0])
    _, reason, shown = first_error(machine)
    assert "SITE_RELEASE" in reason
    assert "no such release" in shown
    assert "htc-kernel check k" in shown


RUNNER = """\
#!/bin/sh
echo "the runner speaks"
[ "$1" = 1.10 ] || { echo "no release $1" >&2; exit 3; }
shift
SITE_RELEASE=1.10 PATH=/cvmfs/site.example.org/python/bin:$PATH exec "$@"
"""


def test_stacks_of_the_other_kinds_from_scratch(machine: Machine) -> None:
    base = machine.tree / "site.example.org"
    (base / "run").write_text(RUNNER)
    (base / "run").chmod(0o755)
    (base / "print").write_text(
        "#!/bin/sh\necho export SITE_RELEASE=1.10 'PATH=/cvmfs/site.example.org/python/bin:$PATH;'\n"
    )
    (base / "print").chmod(0o755)
    toml = TOML.replace("entries", 'kind = "KIND"\nentries')
    machine.stack("runs", toml.replace("KIND", "exec"), "htc_exec=(/cvmfs/site.example.org/run $htc_release)\n")
    machine.stack("prints", toml.replace("KIND", "eval"), 'eval "$(/cvmfs/site.example.org/print)"\n')
    cells = ["import os, sys; print(sys.executable, os.environ['SITE_RELEASE'])"]
    answers = machine.do(
        ("make", {"name": "runs", "stack": "runs"}),
        ("make", {"name": "prints", "stack": "prints"}),
        ("make", {"name": "fails", "stack": "runs", "options": {"release": "1.9"}}),
        *(("ask", {"name": name, "cells": cells}) for name in ("runs", "prints", "fails")),
    )
    for told in answers[3:5]:
        assert told["cells"][0]["text"] == "/cvmfs/site.example.org/python/bin/python3 1.10\n"
    assert answers[5]["cells"][0]["error"] is not None
    assert "no release 1.9" in answers[5]["cells"][0]["error"][2]


def test_a_snapshot_is_used_until_its_script_changes(machine: Machine) -> None:
    machine.stack("ours", TOML, SETUP)
    count = machine.notebooks / "count"
    text = f"echo >>{count}\nalias site_alias=true\n{SCRIPT % 'slow'}"
    script(machine, text)
    machine.one("make", name="k", stack="ours", snapshot=True)
    for _ in range(3):
        told = machine.one("run", name="k", words=["bash", "-c", "echo $SITE_RELEASE; site_tool"])
        assert told["out"] == "slow\ntool of slow\n", told["err"]
    assert len(count.read_text()) == 1
    script(machine, text.replace("slow", "other"))
    told = machine.one("run", name="k", words=["bash", "-c", "echo $SITE_RELEASE; site_tool"])
    assert told["out"] == "other\ntool of other\n", told["err"]
    assert len(count.read_text()) == 2
