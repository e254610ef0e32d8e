"""A kernel's folder: what is written, that it is whole or not there, and what was edited by hand."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import kernelhome
import pytest
from jupyter_client.kernelspec import KernelSpecManager

from htcmagic.errors import KernelError
from htcmagic.kernels import create, install, kernelspec
from htcmagic.kernels.probe import Probe
from htcmagic.kernels.recipe import Container, Recipe

NEW = Probe("3.12.1", "/p/python3", "7.4.0", debugpy=True, protocol="5.5", machine="x86_64", libc="glibc 2.34")
RECIPE = Recipe("one", "One of mine", python="/usr/bin/python3", settings=(("A", "it's $HOME"),))


@pytest.fixture
def kernels(tmp_path, monkeypatch):
    """Give a folder of kernels that Jupyter looks into."""
    return kernelhome.isolate(tmp_path, monkeypatch)


def put(kernels: Path, recipe: Recipe = RECIPE, *, force: bool = False) -> kernelspec.Kernel:
    wanted = create.Order(recipe, None)
    return create.make(wanted, kernels, create.unless_taken(wanted, kernels, force=force), ask=False, report=print)


def rendered(recipe: Recipe = RECIPE, probe: Probe | None = NEW) -> dict[str, bytes]:
    return kernelspec.contents(recipe, None, probe, "htc-kernel create")


def spec(recipe: Recipe = RECIPE, probe: Probe | None = NEW) -> dict[str, object]:
    return json.loads(rendered(recipe, probe)["kernel.json"])


def test_same_recipe_same_bytes():
    assert rendered() == rendered()
    assert rendered(replace(RECIPE, title="Another"))["kernel.json"] != rendered()["kernel.json"]
    assert set(rendered()) == {"kernel.json", "setup.sh", "diagnose.py", *kernelspec.LOGOS}


@pytest.mark.parametrize(
    ("version", "debugpy", "debugger", "curve", "interrupt"),
    [
        ("7.4.0", True, True, True, "message"),
        ("7.3.0", False, False, True, "message"),
        ("7.2.1", True, True, False, "message"),
        ("6.29.4", True, True, False, "message"),
        ("6.2.0", False, False, False, "message"),
        ("6.1.0", True, True, False, "signal"),
        ("5.5.6", True, False, False, "signal"),
        ("10.0", True, True, True, "message"),
        ("7.3.0rc1", True, True, True, "message"),
        ("", True, False, False, "signal"),
    ],
)
def test_launchers_are_promised_what_the_stacks_own_ipykernel_can(version, debugpy, debugger, curve, interrupt):
    told = replace(NEW, ipykernel=version, debugpy=debugpy)
    inside = replace(RECIPE, container=Container("image"))
    assert spec(RECIPE, told)["interrupt_mode"] == "signal"
    data = spec(inside, told)
    assert data["interrupt_mode"] == interrupt
    assert data["metadata"]["debugger"] is debugger
    assert data["metadata"].get("supported_encryption") == (["curve"] if curve else None)


def test_without_asking_nothing_is_promised():
    data = spec(replace(RECIPE, container=Container("image")), None)
    assert data["interrupt_mode"] == "signal"
    assert data["metadata"]["debugger"] is False
    assert "supported_encryption" not in data["metadata"]
    assert "kernel_protocol_version" not in data


def test_jupyter_reads_it_and_finds_everything_in_it(kernels):
    made = put(kernels)
    found = KernelSpecManager().get_kernel_spec("one")
    assert found.display_name == "One of mine"
    assert found.language == "python"
    assert [word.replace("{resource_dir}", found.resource_dir) for word in found.argv] == [
        f"{made.folder}/setup.sh", "-f", "{connection_file}",
    ]  # fmt: skip
    assert found.env == {}
    assert found.metadata["htcmagic"]["recipe"]["settings"] == [["A", "it's $HOME"]]
    assert kernelspec.find("one").recipe == RECIPE
    assert kernelspec.find("ONE").state == "ok"


@pytest.mark.parametrize(
    ("mask", "program", "plain"), [(0o022, 0o755, 0o644), (0o077, 0o700, 0o600), (0o177, 0o700, 0o600)]
)
def test_modes_are_the_users_but_always_usable(kernels, mask, program, plain):
    kernels.mkdir(parents=True)
    before = os.umask(mask)
    try:
        made = put(kernels)
    finally:
        os.umask(before)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in made.folder.iterdir()}
    assert modes.pop("setup.sh") == program
    assert set(modes.values()) == {plain}
    assert stat.S_IMODE(made.folder.stat().st_mode) & 0o500 == 0o500


def change(folder: Path, name: str) -> None:
    file = folder / name
    if name == "kernel.json":
        data = kernelhome.kernel_json(folder)
        file.write_text(json.dumps(data | {"display_name": "Mine"}))
    elif file.exists():
        file.write_bytes(file.read_bytes() + b"\n")
    else:
        file.write_text("added")


@pytest.mark.parametrize("name", ["setup.sh", "kernel.json", "diagnose.py", "logo-64x64.png", "kernel.js"])
def test_what_was_edited_by_hand_is_not_overwritten(kernels, name):
    folder = put(kernels).folder
    change(folder, name)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    what = "added" if name == "kernel.js" else "edited"
    assert kernelspec.find("one").edited() == {name: what}
    with pytest.raises(KernelError, match=rf"{folder}/{name} was {what} by hand.\nhtc-kernel diff one") as refused:
        put(kernels, kernelspec.find("one").recipe)
    assert "--force" in refused.value.hint
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert kernelhome.leftovers(kernels) == []
    assert put(kernels, force=True).edited() == {}


def test_deleted_files_are_told_and_formatting_does_not_matter(kernels):
    folder = put(kernels).folder
    (folder / "kernel.json").write_text(json.dumps(kernelhome.kernel_json(folder), indent=7))
    (folder / ".setup.sh.swp").write_text("an editor's")
    assert kernelspec.find("one").edited() == {}
    (folder / "diagnose.py").unlink()
    assert kernelspec.find("one").edited() == {"diagnose.py": "deleted"}


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ('{"argv": []}', "broken: kernel.json names no command"),
        ('{"argv": ["/nowhere/python"]}', "broken: /nowhere/python is not there"),
        ('{"argv": ["/etc/passwd"]}', "broken: /etc/passwd cannot be executed"),
        ("[]", "broken: kernel.json is not a JSON object"),
        ('{"argv": ["python3"], "metadata": {"htcmagic": 1}}', "not ours"),
        (
            '{"argv": ["python3"], "metadata": {"htcmagic": {"recipe": {"nonsense": 1}}}}',
            "broken: The kernel's recipe cannot be read",
        ),
        ('{"argv"', "broken: kernel.json is not JSON"),
        ("\xff", "broken: kernel.json is not JSON"),
    ],
)
def test_other_kernels_are_read_as_they_are(kernels, text, state):
    (kernels / "odd").mkdir(parents=True)
    (kernels / "odd" / "kernel.json").write_bytes(text.encode("latin-1"))
    found = kernelspec.find("odd")
    assert found.state.startswith(state)
    assert "odd" in [kernel.name for kernel in kernelspec.kernels()]
    with pytest.raises(KernelError):
        print(found.recipe)


def test_what_a_kernel_needs_and_is_gone_makes_it_broken(kernels, tmp_path):
    image = tmp_path / "image"
    image.mkdir()
    assert put(kernels, replace(RECIPE, container=Container(str(image), str(image)))).state == "ok"
    image.rmdir()
    assert kernelspec.find("one").state == f"broken: {image} is not there"


# -- whole or not at all


@pytest.mark.parametrize("before", ["new", "replace"])
@pytest.mark.parametrize("how", ["exchange", "no-exchange"])
def test_a_crash_at_any_step_leaves_the_old_or_the_new_kernel(tmp_path, before, how):
    program = Path(__file__).with_name("crash_install.py")
    words = [sys.executable, str(program), str(tmp_path / "kernels"), before, how]
    done = subprocess.run(words, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    steps, gone = map(int, done.stdout.split())
    assert steps > 20
    if before == "replace":
        assert (gone > 0) == (how == "no-exchange")


def test_of_several_at_once_one_wins_and_the_others_are_told(kernels, tmp_path):
    for number in range(4):
        (tmp_path / f"{number}.sh").touch()
    with ThreadPoolExecutor(4) as pool:
        words = [
            ("create", "--no-probe", "--name", "one", "--source", f"{tmp_path}/{number}.sh") for number in range(4)
        ]
        done = list(pool.map(lambda each: kernelhome.htc_kernel(*each), words))
    assert sorted(one.returncode for one in done) == [0, 1, 1, 1]
    assert all("There is a kernel one already" in one.stderr for one in done if one.returncode)
    assert kernelspec.find("one").state == "ok"
    assert kernelhome.leftovers(kernels) == []


def test_the_same_kernel_made_several_times_at_once(kernels):
    words = ("create", "--no-probe", "--name", "one", "--python", "/usr/bin/python3")
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: kernelhome.htc_kernel(*words), range(4)))
    assert [one.stderr for one in done if one.returncode] == []
    assert kernelspec.find("one").state == "ok"
    assert kernelhome.leftovers(kernels) == []


def test_somebody_else_at_work_is_waited_for(kernels):
    with install.staging(kernels) as stage:
        assert kernelhome.leftovers(kernels) == [stage.folder.name]
        put(kernels)  # does not sweep what is in use
        assert stage.folder.is_dir()
    assert kernelhome.leftovers(kernels) == []


def test_a_link_in_place_of_a_kernel_is_replaced_and_what_it_leads_to_stays(kernels, tmp_path):
    elsewhere = put(tmp_path / "elsewhere").folder
    kernels.mkdir(parents=True)
    (kernels / "one").symlink_to(elsewhere)
    made = put(kernels)
    assert not made.folder.is_symlink()
    assert kernelspec.read(elsewhere).state == "ok"
    assert kernelhome.leftovers(kernels) == []


@pytest.mark.parametrize(
    ("options", "said"), [("ro", "Read-only file system"), ("size=16k", "No space left on device")]
)
@pytest.mark.skipif(shutil.which("unshare") is None, reason="no unshare to mount a small file system with")
def test_a_full_or_read_only_file_system(kernels, tmp_path, options, said):
    target = tmp_path / "small"
    target.mkdir()
    script = (
        f'mount -t tmpfs -o {options} none "$1" && {{ "$2" create --no-probe --to "$1" --name one '
        '--python /usr/bin/python3; echo "status $?"; ls -A "$1"; }'
    )
    how = ["--mount"] if os.getuid() == 0 else ["--mount", "--map-root-user"]
    words = ["unshare", *how, "sh", "-c", script, "sh", str(target), kernelhome.HTC_KERNEL]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    assert set(done.stdout.split("\n")) <= {"status 1", ".htcmagic.lock", ""}, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("htc-kernel: Cannot write ")
    assert said in lines[0]
    assert "--to" in lines[1]
