"""``htc-kernel`` as a user types it: what it says, how it ends, what it imports."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import kernelhome
import ordinary
import pytest
from kernelhome import VENV, fails, htc_kernel, works

from htcmagic.kernels import kernelspec

COMMANDS = ("create", "edit", "refresh", "diff", "list", "show", "remove", "stacks", "releases", "completion")
CARE = ("check", "doctor", "adopt", "export", "import")


@pytest.fixture(autouse=True)
def kernels(tmp_path, monkeypatch):
    """Give a folder of kernels that Jupyter looks into."""
    monkeypatch.chdir(tmp_path)
    return kernelhome.isolate(tmp_path, monkeypatch)


def create(name: str = "one", *more: str) -> Path:
    works("create", "--no-probe", "--name", name, "--python", "/usr/bin/python3", *more)
    return kernelspec.find(name).folder


def test_help_shows_every_command_and_examples():
    done = htc_kernel("--help")
    assert done.returncode == 0
    assert all(re.search(rf"^    {name}\s+\w", done.stdout, re.MULTILINE) for name in (*COMMANDS, *CARE))
    assert "htc-kernel create --cvmfs belle2" in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 120
    bare = htc_kernel()
    assert (bare.returncode, bare.stdout) == (2, done.stdout)


@pytest.mark.parametrize("name", [*COMMANDS, *CARE])
def test_help_of_each_command_has_examples(name):
    text = works(name, "--help")
    assert text.startswith(f"usage: htc-kernel {name}")
    assert "examples:\n  " in text
    assert max(len(line) for line in text.splitlines()) <= 120


def test_wrong_words_are_wrong_usage():
    for words, said in (
        (["fly"], "invalid choice: 'fly'"),
        (["create", "--relase", "1"], "--relase is not understood. Did you mean --release?"),
        (["create", "--rel", "1"], "--rel is not understood"),
        (["show"], "NAME"),
        (["show", "a", "b"], "b is not understood"),
        (["create", "--user", "--sys-prefix"], "not allowed with"),
        (["create", "--timeout", "soon"], "invalid int value"),
    ):
        lines = fails(*words, code=2)
        assert said in lines[0]
        assert lines[1].startswith("All options: htc-kernel")


def test_a_life_from_create_to_remove(kernels):
    assert works("create", "--venv", str(VENV), "--name", "b2", "--display-name", "Belle II").startswith(
        "Belle II is ready"
    )
    table = works("list").splitlines()
    assert re.match(r"NAME +TITLE +MADE FROM +WHERE +STATE", table[0])
    assert re.search(
        rf"^b2 +Belle II +venv {re.escape(str(VENV))} +~/data/kernels +ok$", "\n".join(table), re.MULTILINE
    )
    shown = works("show", "b2")
    assert "State      ok" in shown
    assert re.search(r"^ipykernel  \d+\.\d+\S* \(debugger, encryption\), /", shown, re.MULTILINE)
    again = f"htc-kernel create --name b2 --venv {VENV} --display-name 'Belle II'"
    assert shown.endswith(f"Again      {again}\n")
    assert works("diff", "b2") == "# b2: a refresh would change nothing\n"
    before = {file.name: file.read_bytes() for file in (kernels / "b2").iterdir()}
    assert "is ready" in works("refresh", "b2")
    assert {file.name: file.read_bytes() for file in (kernels / "b2").iterdir()} == before
    logs = kernels.parents[1] / "htcmagic" / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    (logs / "b2.log").write_text("what a set-up said")
    (logs / "b2-x.log").write_text("of another kernel")
    said, hint = fails("remove", "b2")
    assert (said, hint) == ("htc-kernel: remove asks first, and nobody is there to answer.", "Add --yes.")
    assert works("remove", "--dry-run", "b2") == f"b2 would be deleted: {kernels}/b2\n"
    assert works("remove", "--yes", "b2") == f"b2 is deleted: {kernels}/b2\n"
    assert [entry.name for entry in kernels.iterdir()] == [".htcmagic.lock"]
    assert [entry.name for entry in logs.iterdir()] == ["b2-x.log"]
    assert fails("show", "b2")[0] == "htc-kernel: There is no kernel 'b2'."


@pytest.mark.parametrize(("answer", "gone"), [(b"y\n", True), (b"n\n", False), (b"\n", False), (b"\x04", False)])
def test_remove_asks_at_a_terminal(kernels, answer, gone):
    folder = create()
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(kernelhome.HTC_KERNEL, [kernelhome.HTC_KERNEL, "remove", "one"])  # noqa: S606
    shown = b""
    while b"[y/N]" not in shown:
        shown += os.read(terminal, 1000)
    assert f"one: one, {folder}".encode() in shown
    os.write(terminal, answer)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == (0 if gone else 1)
    os.close(terminal)
    assert folder.exists() is not gone


def test_where_it_goes(tmp_path, kernels):
    for words, base in (
        (["--prefix", "p"], tmp_path / "p" / "share" / "jupyter" / "kernels"),
        (["--to", "any where"], tmp_path / "any where"),
        (["--user"], kernels),
    ):
        done = htc_kernel("create", "--no-probe", "--name", "one", "--venv", str(VENV), *words)
        assert f"  {base}/one\n" in done.stdout
        assert ("Jupyter does not look into" in done.stderr) == (base != kernels)
    assert works("show", "one", "--to", "any where").count(f"{tmp_path}/any where/one") == 1
    works("remove", "--yes", "one", "--prefix", "p")
    assert not (tmp_path / "p" / "share" / "jupyter" / "kernels" / "one").exists()
    assert (tmp_path / "any where" / "one").exists()


@pytest.mark.skipif(not os.access(sys.prefix, os.W_OK), reason="this environment belongs to somebody else")
def test_an_environments_own_kernels(tmp_path):
    target = Path(sys.prefix) / "share" / "jupyter" / "kernels" / "htcmagic-test"
    try:
        works("create", "--no-probe", "--name", "htcmagic-test", "--python", "/usr/bin/python3", "--sys-prefix")
        assert (target / "kernel.json").exists()
    finally:
        done = htc_kernel("remove", "--yes", "htcmagic-test", "--sys-prefix")
        (target.parent / ".htcmagic.lock").unlink()
    assert done.returncode == 0
    assert not target.exists()


def test_another_kernels_name_is_not_taken_unasked(tmp_path, kernels):
    said, hint = fails("create", "--no-probe", "--name", "python3", "--venv", str(VENV))
    assert said.startswith("htc-kernel: There is a kernel python3 already in ")
    assert "not made by htc-kernel" in said
    assert "--name" in hint
    assert "--force" in hint
    create()
    said, hint = fails("create", "--no-probe", "--name", "one", "--venv", str(VENV))
    assert "(python /usr/bin/python3)" in said
    assert "htc-kernel edit one" in hint
    create()  # the same once more
    create("one", "--force", "--set", "A=1")
    assert kernelspec.find("one").recipe.settings == (("A", "1"),)
    (kernels / "two-safe").mkdir()
    (kernels / "two-safe" / "kernel.json").write_text('{"argv": ["x"]}')
    assert "There is a kernel two-safe already" in fails(
        "create", "--no-probe", "--name", "two", "--venv", str(VENV), "--safe-twin"
    )[0]  # fmt: skip
    assert not (kernels / "two").exists()


def test_dry_run_prints_both_files_and_writes_nothing(kernels):
    words = ("create", "--venv", str(VENV), "--name", "one")
    done = htc_kernel(*words, "--dry-run")
    assert done.returncode == 0
    assert "Nothing was written." in done.stderr
    assert not kernels.exists()
    works(*words, "--no-probe")
    for name in ("kernel.json", "setup.sh"):
        assert f"==> {kernels}/one/{name} <==\n{(kernels / 'one' / name).read_text()}" in done.stdout
    told = json.loads(works(*words, "--set", "A=1", "--force", "--dry-run", "--json"))
    assert [one["folder"] for one in told] == [f"{kernels}/one"]
    assert "export A=1" in told[0]["files"]["setup.sh"]
    assert told[0]["command"].endswith("--set A=1")
    assert "export A=1" in works("edit", "one", "--set", "A=1", "--dry-run")
    assert kernelspec.find("one").recipe.settings == ()
    assert "==>" in works("refresh", "one", "--dry-run")


def test_edit_changes_what_is_named_and_nothing_else(kernels):
    create("one", "--set", "A=1", "B=2", "--clean", "--user-site", "--no-hooks")
    works("edit", "one", "--no-probe", "--set", "C=3", "--no-clean", "--display-name", "New")
    recipe = kernelspec.find("one").recipe
    assert recipe.settings == (("C", "3"),)
    assert (recipe.clean, recipe.user_site, recipe.hooks, recipe.title) == (False, True, (), "New")
    works("edit", "one", "--no-probe", "--set", "")
    assert kernelspec.find("one").recipe.settings == ()
    assert "which option is to change?" in fails("edit", "one")[0]
    assert "A kernel of what?" in fails("edit", "one", "--python", "")[0]
    said, hint = fails("edit", "python3", "--timeout", "5")
    assert "was not made by htc-kernel" in said
    assert "htc-kernel adopt python3" in hint


def test_edit_without_asking_keeps_what_is_known_where_it_holds(kernels):
    works("create", "--venv", str(VENV), "--name", "one")
    works("edit", "one", "--no-probe", "--set", "A=1")
    assert kernelspec.find("one").probe is not None
    works("edit", "one", "--no-probe", "--venv", "", "--python", "/usr/bin/python3")
    assert kernelspec.find("one").probe is None


def test_what_was_edited_by_hand_is_shown_and_kept(kernels):
    folder = create()
    script = folder / "setup.sh"
    script.write_text(script.read_text() + "# mine\n")
    assert re.search(r"^one .* edited by hand: setup.sh$", works("list"), re.MULTILINE)
    assert "setup.sh (edited)" in works("show", "one")
    lines = works("diff", "one").splitlines()
    assert lines[0] == f"# {script} was edited by hand"
    assert lines[-1] == "-# mine"
    for words in (["refresh", "one", "--no-probe"], ["edit", "one", "--no-probe", "--set", "A=1"]):
        said, hint = fails(*words)
        assert said == f"htc-kernel: {script} was edited by hand."
        assert hint == "htc-kernel diff one shows it; --force gives up what was changed."
    works("refresh", "one", "--no-probe", "--force")
    assert kernelspec.find("one").state == "ok"


def test_refresh_all_goes_on_after_one_that_fails(kernels):
    for name in ("one", "two", "three"):
        create(name)
    (kernels / "two" / "mine").touch()
    done = htc_kernel("refresh", "--all", "--no-probe")
    assert done.returncode == 1
    assert done.stderr.startswith(f"htc-kernel: two: {kernels}/two/mine was added by hand.\n")
    assert done.stdout.count("is ready") == 2
    assert "which kernels?" in fails("refresh")[0]
    assert "which kernels?" in fails("refresh", "one", "--all")[0]


def test_a_newer_version_shows_what_it_would_change(kernels):
    folder = create()
    own = kernelhome.kernel_json(folder)
    own["metadata"]["htcmagic"]["version"] = "0.0.1"
    own["metadata"]["htcmagic"]["files"]["kernel.json"] = kernelspec._hash_of_json(own)
    (folder / "kernel.json").write_text(json.dumps(own))
    assert kernelspec.find("one").edited() == {}
    assert re.search(r'^\+ +"version": "\d', works("diff", "one"), re.MULTILINE)


def test_json_is_json(tmp_path, kernels):
    (made,) = json.loads(works("create", "--venv", str(VENV), "--name", "one", "--json"))
    assert made["folder"] == f"{kernels}/one"
    assert made["probe"]["python"].startswith("3.")
    assert made == json.loads(works("show", "one", "--json"))
    listed = json.loads(works("list", "--json"))
    assert made in listed
    assert [one["ours"] for one in listed if one["name"] == "python3"] == [False]
    stacks = json.loads(works("stacks", "--json"))
    assert {"atlas", "belle2", "lcg"} <= {one["name"] for one in stacks}


def test_stacks_tell_where_they_come_from(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "site"))
    folder = kernelhome.add_stack(tmp_path / "site", "belle2", stack_toml='title = "Ours"\n', setup_sh="")
    bad = kernelhome.add_stack(tmp_path / "site", "bad", stack_toml="heading = 1\n", setup_sh="")
    shown = works("stacks")
    assert re.search(r"^belle2 +Ours .* ~/site/htcmagic/kernelspecs/belle2, before /", shown, re.MULTILINE)
    assert re.search(rf"^bad .* cannot be used: {bad}/stack.toml: unknown key", shown, re.MULTILINE)
    one = works("stacks", "belle2")
    assert f"From       {folder}" in one
    assert "Stack      belle2: Ours" in one
    assert fails("stacks", "bele2")[1] == "Did you mean belle2?"


def test_releases_of_a_repository_that_is_not_there():
    if Path("/cvmfs/belle.cern.ch").exists():
        assert works("releases", "belle2")
    else:
        said, hint = fails("releases", "belle2")
        assert "/cvmfs/belle.cern.ch is not mounted here" in said
        assert hint == "htc-kernel stacks belle2 tells more."


def test_fifty_kernels_are_listed_and_nothing_heavy_is_imported(kernels):
    create()
    for number in range(50):
        folder = kernels / f"k{number}"
        subprocess.run(["cp", "-r", kernels / "one", folder], check=True)
    heavy = (
        "IPython",
        "htcondor2",
        "classad2",
        "jupyter_client",
        "zmq",
        "spython",
        "asyncio",
        "htcmagic.pool",
        "argcomplete",
    )
    code = (
        "import sys; from htcmagic.cli import kernel; code = kernel.main(sys.argv[1:]);"
        f"print([name for name in {heavy!r} if name in sys.modules], code)"
    )
    for words in (["list"], ["create", "--no-probe", "--venv", str(VENV), "--name", "two"], ["show", "one"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True, timeout=60
        )
        assert done.stdout.endswith("\n[] 0\n"), done.stdout
        assert words != ["list"] or len(done.stdout.splitlines()) >= 53


def completions(line: str) -> list[str]:
    """Return what TAB offers at the end of a line."""
    env = {**os.environ, "_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": "\n"}
    command = f'exec "{kernelhome.HTC_KERNEL}" 8>&1 9>/dev/null >/dev/null'
    done = subprocess.run(["bash", "-c", command], env=env, capture_output=True, text=True, check=True, timeout=60)
    return [word.strip() for word in done.stdout.split("\n")]


def test_a_shell_completes_commands_kernels_and_stacks(kernels):
    create()
    assert {*COMMANDS, *CARE} <= set(completions("htc-kernel "))
    assert completions("htc-kernel show o") == ["one"]
    assert completions("htc-kernel create --cvmfs bel") == ["belle2"]
    assert completions("htc-kernel create --rel") == ["--release"]
    for shell in ("bash", "zsh", "fish"):
        assert "htc-kernel" in works("completion", shell)
    script = works("completion", "bash") + "\ncomplete -p htc-kernel"
    assert (
        "_python_argcomplete"
        in subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
    )


def test_into_a_closed_pipe():
    done = subprocess.run(
        ["bash", "-c", '"$0" list | head -0; echo ${PIPESTATUS[0]}', kernelhome.HTC_KERNEL],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_secrets_in_values_are_pointed_out(kernels):
    done = htc_kernel("create", "--no-probe", "--venv", str(VENV), "--name", "one", "--set", "MY_TOKEN=x")
    assert f"The value of MY_TOKEN can be read in {kernels}/one/setup.sh.\n" in done.stderr


def test_an_ordinary_user_makes_and_runs_one():
    who = ordinary.anybody()
    with ordinary.home_of(who) as own:
        for words, said in (
            (["create", "--venv", str(VENV), "--name", "one"], "is ready: python 3."),
            (["list"], "~/.local/share/jupyter/kernels"),
            (["create", "--venv", str(VENV), "--name", "two", "--prefix", "/usr", "--no-probe"], "Permission denied"),
            (["remove", "--yes", "one"], "one is deleted"),
        ):
            done = ordinary.run_as(who, [kernelhome.HTC_KERNEL, *words], own)
            assert said in done.stdout
            assert done.returncode == (1 if "denied" in said else 0), done.stdout
