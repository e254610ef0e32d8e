"""From what a user asks to a kernel in its place: options to a recipe and back, its python's answers, refusals."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import images
import kernelhome
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernelhome import VENV, fails, works

from htcmagic.cli.kernel import parser
from htcmagic.errors import KernelError
from htcmagic.kernels import create, kernelspec, probe, wishes
from htcmagic.kernels.recipe import NAME, VARIABLE, Container, Recipe

PYTHON = str(VENV / "bin" / "python")


@pytest.fixture(autouse=True)
def kernels(tmp_path, monkeypatch):
    """Give a folder of kernels that Jupyter looks into."""
    monkeypatch.chdir(tmp_path)
    return kernelhome.isolate(tmp_path, monkeypatch)


def script(folder: Path, text: str = "", name: str = "setup.sh") -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return str(folder / name)


# -- words to a recipe and back

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=12)
names = st.from_regex(NAME, fullmatch=True).filter(lambda name: ".." not in name)
paths = texts.map(lambda text: os.path.normpath("/" + text))
flags = st.lists(st.sampled_from(wishes.RUNTIME_FLAGS), unique=True).map(
    lambda chosen: tuple(name for name in wishes.RUNTIME_FLAGS if name in chosen)
)
boxes = st.builds(
    Container,
    image=texts.map(lambda text: f"docker://{text}"),
    home=st.sampled_from(["auto", "none", "/tmp"]),
    flags=flags,
    binds=st.lists(texts.map(lambda text: f"/{text}"), max_size=2).map(tuple),
    passed=st.lists(texts, max_size=2).map(tuple),
    groups=st.sampled_from([Container("").groups, (), ("grid",)]),
)
recipes = st.builds(
    Recipe,
    name=names,
    title=texts.filter(str.isprintable),
    modules=st.lists(texts, max_size=2).map(tuple),
    sources=st.lists(paths, max_size=2).map(tuple),
    python=texts.map(lambda text: f"$X/{text}"),
    settings=st.lists(st.tuples(st.from_regex(VARIABLE, fullmatch=True), texts | st.just("")), max_size=2).map(tuple),
    prepend_path=st.lists(paths, max_size=2).map(tuple),
    hooks=st.lists(paths, max_size=2).map(tuple),
    clean=st.booleans(),
    snapshot=st.booleans(),
    user_site=st.booleans(),
    timeout_s=st.integers(1, 86_400),
    container=boxes,
)


@settings(max_examples=60, deadline=None, database=None)
@given(recipe=recipes)
def test_the_command_that_is_shown_makes_the_same_recipe(recipe):
    words = shlex.split(wishes.command_of(recipe, None))
    assert words[:2] == ["htc-kernel", "create"]
    args = vars(parser(everything=False).parse_args(words[1:]))
    wanted = {wish.name: args[wish.name] for wish in wishes.WISHES if wish.name in args}
    wanted |= {"name": args["name"]} if "name" in args else {}
    again, stack = wishes.recipe_from(wanted)
    assert stack is None
    assert again == recipe
    assert Recipe.from_json(recipe.as_json()) == recipe


@pytest.mark.parametrize(
    ("words", "name", "title"),
    [
        (["--container", "/cvmfs/unpacked/fermilab/fnal-dev-sl7:latest"], "fnal-dev-sl7", "fnal-dev-sl7"),
        (["--container", "/images/My Image.sif"], "my-image", "My Image"),
        (["--container", "docker://python:3.12"], "python-3.12", "python:3.12"),
        (["--module", "root/6.32", "python/3.12"], "root-6.32", "root/6.32"),
        (["--source", "$X/my setup.sh"], "my-setup", "my setup"),
        (["--venv", "$HOME/work/Ana/.venv"], "ana", "Python (Ana)"),
        (["--conda", "$CONDA/envs/igwn-py311"], "igwn-py311", "Python (igwn-py311)"),
        (["--python", "$X/bin/python3.12"], "python3.12", "python3.12"),
        (["--source", "$X/Überlauf.sh"], "berlauf", "Überlauf"),
        (["--source", "$X/日本.sh"], "kernel", "日本"),
    ],
)
def test_a_kernel_is_named_after_what_it_is_made_of(words, name, title):
    args = vars(parser(everything=False).parse_args(["create", *words]))
    recipe, _ = wishes.recipe_from(args)
    assert (recipe.name, recipe.title) == (name, title)


@pytest.mark.parametrize(
    "name", ["../x", "x;id", "a b", "", ".x", "-x", "x/y", "naïve", "X", "a..b", "$(id)", "x\ny", "n" * 101]
)
def test_hostile_names_are_refused(name, kernels):
    said, hint = (
        fails("create", "--python", PYTHON, f"--name={name}") if name else ("htc-kernel: A kernel", "small letters")
    )
    assert said.startswith("htc-kernel: A kernel cannot be named") or not name
    assert "small letters" in hint
    assert not kernels.exists()


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        ([], "A kernel of what?", "create --help"),
        (["--source", "no.sh"], "--source no.sh: there is no such file.", "taken as it is"),
        (["--venv", "no env"], "--venv no env: there is no virtual environment", "python3 -m venv 'no env'"),
        (["--conda", "nope"], "--conda nope: there is no such environment.", "name its folder"),
        (["--conda", "/nope"], "--conda /nope: there is no environment with a python in /nope.", ""),
        (["--python", "/nope/python"], "--python /nope/python: there is no such program.", ""),
        (["--cvmfs", "bele2"], "There is no stack 'bele2'.", "Did you mean belle2?"),
        (["--python", "x", "--release", "1"], "--release says nothing without a stack.", "Add --cvmfs"),
        (["--python", "x", "--option", "a=1"], "--option says nothing without a stack.", "Add --cvmfs"),
        (["--python", "x", "--nv"], "--nv says nothing without a container.", "Add --container"),
        (["--python", "x", "--pass", "A*"], "--pass says nothing without a container.", "Add --container"),
        (["--python", "x", "--set", "A"], "--set A: there is no value.", "--set NAME=VALUE"),
        (["--python", "x", "--set", "A B=1"], "'A B' is not a variable's name.", "--set NAME=VALUE"),
        (["--python", "x", "--timeout", "0"], "--timeout 0: not a number of seconds", ""),
        (["--python", "x", "--display-name", "a\nb"], "A kernel cannot be shown as 'a\\nb'.", "control codes"),
        (["--python", "x", "--no-probe", "--inject-ipykernel"], "--inject-ipykernel needs to know", "--no-probe"),
        (["--container", "/nope.sif", "--home", "/nope"], "--home /nope: there is no such folder.", ""),
        (["--to", "/proc/nope", "--python", PYTHON, "--no-probe"], "Cannot write /proc/nope", "--to DIR"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_in_plain_words(words, said, hint, kernels):
    done = kernelhome.htc_kernel("create", *words)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0].startswith(f"htc-kernel: {said}")
    assert len(lines) <= 2
    assert hint in "".join(lines[1:])
    assert not kernels.exists()


# -- stacks

TOML = """
title = "My Stack"
markers = ["MY_RELEASE"]
[options.release]
about = "a release"
required = true
"""


def my_stack(tmp_path, monkeypatch, setup: str, toml: str = TOML) -> Path:
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "site"))
    return kernelhome.add_stack(tmp_path / "site", "mine", stack_toml=toml, setup_sh=setup, verify_py="print('fine')\n")


def test_a_sites_stack_becomes_a_kernel(tmp_path, monkeypatch, kernels):
    folder = my_stack(tmp_path, monkeypatch, f"export MY_RELEASE=$htc_release PATH={VENV}/bin:$PATH\necho noise\n")
    (folder / "logo-64x64.png").write_bytes(b"\x89PNG mine")
    said, _ = fails("create", "--cvmfs", "mine")
    assert "release must be named" in said
    assert works("create", "--cvmfs", "mine", "--release", "v 1;id").startswith("My Stack v 1;id is ready: python 3.")
    made = kernels / "mine"
    assert (made / "verify.py").read_text() == "print('fine')\n"
    assert (made / "logo-64x64.png").read_bytes() == b"\x89PNG mine"
    assert not (made / "logo-svg.svg").exists()
    code = "import os; print(os.environ['MY_RELEASE'], os.environ.get('MORE'))"
    done = subprocess.run([made / "setup.sh", "--python", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "v 1;id None\n"
    works("edit", "mine", "--release", "v2", "--set", "MORE=a  b")
    assert kernelspec.find("mine").title == "My Stack v2"
    done = subprocess.run([made / "setup.sh", "--python", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "v2 a  b\n"


def test_a_set_up_that_fails_is_told_and_nothing_is_made(tmp_path, monkeypatch, kernels):
    my_stack(
        tmp_path, monkeypatch, "echo 'one  \x1b[31mreason\x1b[0m' >&2\necho another.\nreturn 0 2>/dev/null || true\n"
    )
    said, hint = fails("create", "--cvmfs", "mine", "--release", "1")
    assert said == "htc-kernel: The set-up did not work: MY_RELEASE is not set after it; it said: one reason | another."
    assert "--no-probe" in hint
    assert [entry.name for entry in kernels.iterdir()] == [".htcmagic.lock"]
    assert "is ready." in works("create", "--cvmfs", "mine", "--release", "1", "--no-probe")
    assert kernelspec.find("mine").probe is None


def test_a_stack_that_is_no_bash_is_told(tmp_path, monkeypatch, kernels):
    my_stack(tmp_path, monkeypatch, "if true; then\n")
    said, hint = fails("create", "--cvmfs", "mine", "--release", "1", "--no-probe")
    assert "setup.sh would not be valid bash" in said
    assert hint == f"Look at {tmp_path}/site/htcmagic/kernelspecs/mine/setup.sh."


def test_a_repository_that_is_not_mounted_is_told(tmp_path, monkeypatch, kernels):
    toml = TOML + 'default = "1"\n[preset]\nA = "1"\n'
    my_stack(tmp_path, monkeypatch, "", 'repositories = ["no.such.repository"]\n' + toml)
    said, hint = fails("create", "--cvmfs", "mine")
    assert said == "htc-kernel: My Stack needs /cvmfs/no.such.repository, which is not mounted here."
    assert "--no-probe" in hint
    assert "My Stack" in works("create", "--cvmfs", "mine", "--no-probe")


# -- its python


def test_a_kernel_of_a_virtual_environment_says_what_it_can(kernels):
    works("create", "--venv", str(VENV), "--name", "here")
    found = kernelspec.find("here")
    assert found.probe is not None
    assert found.probe.python == ".".join(map(str, sys.version_info[:3]))
    assert Path(found.probe.executable) == VENV / "bin" / "python"
    assert found.data["metadata"]["debugger"] is True
    assert found.data["metadata"]["supported_encryption"] == ["curve"]
    assert found.data["kernel_protocol_version"] == found.probe.protocol != ""


def test_a_python_without_ipykernel_is_refused_with_two_ways_out(tmp_path, kernels):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    said, hint = fails("create", "--venv", "bare")
    assert f"The python {tmp_path}/bare/bin/python" in said
    assert "No module named 'ipykernel'" in said
    assert "--inject-ipykernel" in hint
    assert f"{tmp_path}/bare/bin/python -m pip install ipykernel" in hint
    assert kernelspec.look_up("bare") is None


def test_a_python_that_cannot_start_is_told(tmp_path, kernels):
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho 'Could not find platform independent libraries' >&2\nexit 3\n")
    program.chmod(0o755)
    said, _ = fails("create", "--python", str(program))
    assert said == (
        "htc-kernel: Its python does not run (exit status 3); it said: Could not find platform independent libraries."
    )


def test_the_folder_a_user_stands_in_does_not_matter(tmp_path, kernels):
    (tmp_path / "ipykernel.py").write_text("raise SystemExit('wrong one')")
    works("create", "--python", PYTHON, "--name", "here")
    assert kernelspec.find("here").probe.ipykernel[0].isdigit()


def running(word: str) -> list[int]:
    """Return the processes that have a word in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and word.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
    return found


def gone(word: str) -> bool:
    deadline = time.monotonic() + 10
    while running(word) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not running(word)


HANGS = "export MARK_{0}=1; trap '' TERM; (trap '' TERM; sleep 300 & sleep 300) & echo waiting; sleep 300; sleep 300\n"


def test_a_set_up_that_hangs_is_ended_with_all_it_has_started(tmp_path, kernels):
    mark = f"hang{os.getpid()}"
    said, _ = fails("create", "--source", script(tmp_path, HANGS.format(mark)), "--python", PYTHON, "--timeout", "1")
    assert "The set-up did not end within 1 s; it said: " in said
    assert "waiting" in said
    assert gone(f"MARK_{mark}")
    assert kernelspec.kernels(kernels) == []


def test_a_python_that_hangs_is_ended_with_all_it_has_started(tmp_path):
    mark = f"python{os.getpid()}"
    setup = Path(script(tmp_path / "kernel", "#!/bin/bash\n" + HANGS.format(mark)))
    setup.chmod(0o755)
    with pytest.raises(KernelError, match="The set-up does not end: no answer from python after 1 s"):
        probe.run(setup, 1 - probe.START_S)
    assert gone(f"MARK_{mark}")


def test_what_a_set_up_leaves_running_does_not_hold_us_up(tmp_path, kernels):
    mark = f"agent{os.getpid()}"
    text = f"export MARK_{mark}=1; sleep 300 & disown\n"
    started = time.monotonic()
    works("create", "--source", script(tmp_path, text), "--python", PYTHON, "--name", "here")
    assert time.monotonic() - started < 60
    assert gone(f"MARK_{mark}")


def test_ctrl_c_leaves_nothing(tmp_path, kernels):
    mark = f"ctrlc{os.getpid()}"
    words = [kernelhome.HTC_KERNEL, "create", "--source", script(tmp_path, HANGS.format(mark)), "--python", PYTHON]
    started = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not running(f"MARK_{mark}") and time.monotonic() < deadline:
        time.sleep(0.05)
    started.send_signal(signal.SIGINT)
    assert "interrupted" in started.communicate(timeout=30)[1]
    assert started.returncode == 130
    assert gone(f"MARK_{mark}")
    assert kernelhome.leftovers(kernels) == []
    assert kernelspec.kernels(kernels) == []


# -- a home of its own


def test_a_home_with_blanks_and_quotes(tmp_path, monkeypatch):
    home = tmp_path / 'it\'s a "home"'
    kernels = kernelhome.isolate(home, monkeypatch)
    hook = script(home / ".config" / "htcmagic" / "hooks", "export HOOKED=all\n", "all.sh")
    source = script(home / "my set-up", f"export MY='{VENV}'\n")
    works("create", "--source", source, "--python", "$MY/bin/python", "--safe-twin", "--prepend-path", str(home))
    code = "from os import environ as e; print(e.get('HOOKED'), e['PATH'].split(':')[0], e.get('PYTHONNOUSERSITE'))"
    for name, hooked in (("setup", "all"), ("setup-safe", "None")):
        done = subprocess.run(
            [kernels / name / "setup.sh", "--python", "-c", code], capture_output=True, text=True, check=True
        )
        assert done.stdout == f"{hooked} {home} 1\n"
        assert kernelspec.find(name).state == "ok"
    assert kernelspec.find("setup-safe").title == "setup (safe mode)"
    Path(hook).unlink()
    assert subprocess.run([kernels / "setup" / "setup.sh", "--run", "true"], check=False).returncode == 0


def test_a_dollar_in_a_folders_name_is_told(tmp_path, monkeypatch):
    script(tmp_path / "a$b")
    monkeypatch.chdir(tmp_path / "a$b")
    said, _ = fails("create", "--source", "setup.sh")
    assert said == f"htc-kernel: {tmp_path}/a$b/setup.sh has a $ in its name, which here begins a variable."


def test_the_kernel_that_was_made_runs(tmp_path, monkeypatch):
    from jupyter_client.manager import start_new_kernel

    kernelhome.isolate(tmp_path / "it's here", monkeypatch)
    works("create", "--venv", str(VENV), "--name", "here", "--set", "SAID=$PATH `id` 'x'")
    manager, client = start_new_kernel(kernel_name="here", startup_timeout=60)
    try:
        shown = []
        client.execute_interactive(
            "import os; print(os.environ['SAID'])",
            timeout=60,
            output_hook=lambda message: shown.append(message["content"]),
        )
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert {"name": "stdout", "text": "$PATH `id` 'x'\n"} in shown


def test_conda_environments_are_found_by_name(tmp_path, kernels):
    prefix = tmp_path / "miniforge3" / "envs" / "ana"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin" / "python").symlink_to(PYTHON)
    (tmp_path / "miniforge3" / "envs" / "empty").mkdir()
    works("create", "--conda", "ana", "--no-probe")
    assert kernelspec.find("ana").recipe.conda == str(prefix)
    said, hint = fails("create", "--conda", "anna")
    assert said.endswith("there is no such environment.")
    assert hint == "There are: ana."


def test_from_python(kernels):
    made = create.create(venv=str(VENV), name="here", set=["A=1"], ask=False)
    assert made.recipe.settings == (("A", "1"),)
    with pytest.raises(KernelError, match="no option 'vnev'"):
        create.create(vnev="x")


def test_a_snapshot_is_taken_kept_and_deleted_with_its_kernel(tmp_path, kernels):
    source = script(tmp_path, "echo ran >> $HOME/ran; export SLOW=1\n")
    snapshots = tmp_path / "htcmagic" / "snapshots"
    works("create", "--source", source, "--python", PYTHON, "--name", "one", "--snapshot")
    works("create", "--source", source, "--python", PYTHON, "--name", "one-more", "--snapshot")
    found = kernelspec.find("one")
    kept = found.snapshots()
    assert kept
    assert all(file.parent == snapshots and file.name.startswith("one-") for file in kept)
    runs = (tmp_path / "ran").read_text()
    done = subprocess.run([found.folder / "setup.sh", "--run", "env"], capture_output=True, text=True, check=True)
    assert "SLOW=1\n" in done.stdout
    assert (tmp_path / "ran").read_text() == runs
    works("refresh", "one")
    assert len((tmp_path / "ran").read_text()) > len(runs)
    works("edit", "one", "--no-snapshot", "--no-probe")
    assert not any(file.exists() for file in kept)
    other = kernelspec.find("one-more").snapshots()
    works("remove", "--yes", "one")
    assert all(file.exists() for file in other)
    works("remove", "--yes", "one-more")
    assert list(snapshots.glob("one*")) == []


# -- images

TWO_WAYS = (
    "Put an ipykernel beside it with --inject-ipykernel, or to the image's recipe add: python3 -m pip install ipykernel"
)


@pytest.mark.parametrize(
    ("image", "interrupt", "debugger"),
    [("kernel", "message", True), ("ipykernel-6.0", "signal", True), ("ipykernel-5", "signal", False)],
)
def test_an_image_becomes_a_kernel_that_promises_what_it_can(image, interrupt, debugger):
    images.apptainer()
    works("create", "--container", str(images.image(image)), "--name", "box", "--contain", "--set", "A=$HOME `id`")
    found = kernelspec.find("box")
    assert found.data["interrupt_mode"] == interrupt
    assert found.data["metadata"]["debugger"] is debugger
    assert "supported_encryption" not in found.data["metadata"]
    assert found.recipe.container is not None
    assert found.recipe.container.flags == ("contain",)
    code = "import os; print(os.environ['A'])"
    done = subprocess.run(
        [found.folder / "setup.sh", "--python", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "$HOME `id`\n"


def test_images_that_cannot_be_kernels(tmp_path):
    images.apptainer()
    said, hint = fails("create", "--container", str(images.image("bare")))
    assert "cannot be a kernel: ModuleNotFoundError: No module named 'ipykernel'." in said
    assert hint == TWO_WAYS
    said, hint = fails("create", "--container", str(images.image("empty")))
    assert "no python3" in said
    assert hint == "Add python3 and ipykernel to the image's recipe, or name a python it has with --python."
    said, hint = fails("create", "--container", "debian:12")
    assert (said, hint) == ("htc-kernel: There is no image debian:12.", "Did you mean docker://debian:12?")
    assert kernelspec.kernels(create.place()) == []


def test_refresh_tells_of_an_image_that_is_gone(tmp_path):
    images.apptainer()
    image = tmp_path / "image"
    (image / "bin").mkdir(parents=True)
    works("create", "--container", "image", "--no-probe")
    shutil.rmtree(image)
    assert kernelspec.find("image").state == f"broken: {image} is not there"
    assert fails("refresh", "image")[0] == f"htc-kernel: There is no image {image}."
