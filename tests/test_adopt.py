"""htc-kernel adopt: other people's kernels become ours and mean the same, or stay as they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import images
import pytest
from foreign import IPYKERNEL, Kernels, own_kernels, run

from htcmagic.errors import KernelError
from htcmagic.kernels import adopt, doctor, kernelspec
from htcmagic.kernels.adopt_script import NotUnderstood
from htcmagic.kernels.check import check
from htcmagic.kernels.recipe import Recipe


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernels]:
    with own_kernels(tmp_path, monkeypatch) as made:
        yield made


def planned(name: str = "old") -> tuple[Recipe, str]:
    """Return what a kernel becomes: its recipe, and its own script."""
    plan = adopt.plan(kernelspec.find(name), dry_run=True)
    return plan.order.recipe, plan.order.beside.get(adopt.SETUP, b"").decode()


def inside(name: str, *names: str) -> dict[str, str | None]:
    """Return what an adopted kernel's python finds in its environment."""
    folder = kernelspec.find(name).folder
    code = "import json, os, sys; print(json.dumps([os.environ.get(name) for name in sys.argv[1:]]))"
    done = subprocess.run(
        [str(folder / "setup.sh"), "--python", "-c", code, *names], capture_output=True, text=True, check=True
    )
    return dict(zip(names, json.loads(done.stdout), strict=True))


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_wrapper_is_adopted_works_and_comes_back(kernels: Kernels):
    script = "#!/bin/bash\n# site's own\nexport TOY=${BASE:-none}/toy\nTOOLS=here\nPYTHON -m ipykernel_launcher $@\n"
    folder = kernels.wrapped("old", script, env={"BASE": "/opt/base", "MORE": "it's"}, display_name="Old one")
    before = snapshot(folder)
    shown = run("adopt", "old", "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert "export TOY=${BASE:-none}/toy" in shown.stdout
    assert snapshot(folder) == before
    done = run("adopt", "old")
    assert done.returncode == 0, done.stderr
    assert "htc-kernel adopt --undo old" in done.stdout
    kernel = kernelspec.find("old")
    assert kernel.is_ours
    assert kernel.title == "Old one"
    assert kernel.edited() == {}
    assert kernel.recipe.python == sys.executable
    assert inside("old", "TOY", "MORE", "TOOLS") == {"TOY": "/opt/base/toy", "MORE": "it's", "TOOLS": None}
    verdict = check("old")
    assert verdict.ok, verdict
    assert run("adopt", "--undo", "old").returncode == 0
    assert snapshot(folder) == before
    again = run("adopt", "--undo", "old")
    assert again.returncode == 1
    assert "was not adopted here" in again.stderr


def test_beside_the_old_one_under_a_new_name(kernels: Kernels):
    folder = kernels.wrapped("old", '#!/bin/bash\nexec PYTHON -m ipykernel_launcher "$@"\n')
    before = snapshot(folder)
    done = run("adopt", "old", "--name", "new")
    assert done.returncode == 0, done.stderr
    assert snapshot(folder) == before
    assert kernelspec.find("new").is_ours
    taken = run("adopt", "old", "--name", "new")
    assert taken.returncode == 0 or "new already" in taken.stderr  # the same once more is no other kernel


def test_belle_2s_own_kernel_becomes_the_stack(kernels: Kernels):
    stack = kernels.stack("belle2", 'source "$htc_release"\n')
    (stack / "stack.toml").write_text('title = "Belle II"\n[options.release]\nrequired = true\n')
    tool = kernels.base / "b2execute"
    tool.write_text("#!/bin/bash\n")
    tool.chmod(0o755)
    kernels.add("old", [str(tool), "-x", "python3", "light-2603-ina", *IPYKERNEL[1:]], display_name="b2 light")
    recipe, script = planned()
    assert (recipe.stack, recipe.options, recipe.title) == ("belle2", {"release": "light-2603-ina"}, "b2 light")
    assert script == ""
    assert run("adopt", "old").returncode == 1  # its set-up fails here: there is no such release
    assert not kernelspec.find("old").is_ours
    assert run("adopt", "old", "--no-probe").returncode == 0
    assert kernelspec.find("old").recipe.stack == "belle2"


def test_a_plain_python_with_its_environment(kernels: Kernels, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", "/from/the/server")
    python = os.path.realpath(sys.executable)
    packages = next(Path(sys.prefix).glob("lib/python3*/site-packages"))
    env = {"PLAIN": 'a "b" $$c', "PYTHONPATH": str(packages), "MINE": "$HOME/x`y`:${USER_NOT_SET_HERE}"}
    kernels.add("old", [python, "-Xfrozen_modules=off", *IPYKERNEL[1:]], env=env)
    recipe, script = planned()
    assert recipe.python == python
    assert dict(recipe.settings) == {"PLAIN": 'a "b" $c', "PYTHONPATH": str(packages)}
    assert script.splitlines()[1:] == ['export MINE="${HOME}/x\\`y\\`:${USER_NOT_SET_HERE}"']
    assert run("adopt", "old").returncode == 0
    found = inside("old", "PLAIN", "MINE", "PYTHONPATH")
    assert found == {"PLAIN": 'a "b" $c', "MINE": f"{os.environ['HOME']}/x`y`:", "PYTHONPATH": str(packages)}


def test_environments_are_recognised(kernels: Kernels, tmp_path: Path):
    for name, mark in (("venv", "pyvenv.cfg"), ("conda", "conda-meta/history")):
        prefix = tmp_path / name
        (prefix / "bin").mkdir(parents=True)
        (prefix / "bin" / "python").symlink_to(sys.executable)
        (prefix / mark).parent.mkdir(exist_ok=True)
        (prefix / mark).write_text("")
        kernels.add(name, [str(prefix / "bin" / "python"), *IPYKERNEL[1:]])
        recipe, _ = planned(name)
        assert getattr(recipe, name) == str(prefix)
        assert recipe.python == ""


def test_a_bare_python_is_the_one_its_path_means(kernels: Kernels, tmp_path: Path):
    (tmp_path / "stack" / "bin").mkdir(parents=True)
    (tmp_path / "stack" / "bin" / "python3").symlink_to(sys.executable)
    kernels.add("meant", ["python3", *IPYKERNEL[1:]], env={"PATH": f"{tmp_path}/stack/bin:/usr/bin"})
    kernels.add("bare", ["python3", *IPYKERNEL[1:]])
    assert planned("meant")[0].python == str(tmp_path / "stack" / "bin" / "python3")
    assert planned("bare")[0].venv == sys.prefix


def test_a_container_becomes_one_of_ours(kernels: Kernels, tmp_path: Path):
    image, data = tmp_path / "image", tmp_path / "data"
    image.mkdir()
    data.mkdir()
    words = ["apptainer", "-q", "exec", "-e", "--nv", "-B", f"{data}:/data:ro", "--no-home", "--env", "A=1", str(image)]
    env = {"SINGULARITYENV_B": "2 \\$x", "C": "3"}
    kernels.add("old", [*words, "python3", *IPYKERNEL[1:]], env=env, interrupt_mode="message")
    recipe, _ = planned()
    box = recipe.container
    assert box is not None
    assert (box.image, box.binds, box.home) == (str(image), (f"{data}:/data:ro",), "none")
    assert set(box.flags) == {"cleanenv", "nv"}
    assert recipe.python == "python3"
    assert dict(recipe.settings) == {"A": "1", "B": "2 $x"}


WRAPPERS = {
    "a saved argument list": (
        '#!/bin/bash\nkept=("$@")\nset --\nexport A=1\nexec PYTHON -m ipykernel_launcher "${kept[@]}"\n',
        None,
        {"A": "1"},
    ),
    "the connection file by position": (
        '#!/bin/bash\nfile=$1\nexport A=1\nexec PYTHON -m ipykernel_launcher -f "$file"\n',
        ["{connection_file}"],
        {"A": "1"},
    ),
    "a release before the connection file": (
        '#!/bin/bash\nexport A=$1\nshift\nexec PYTHON -m ipykernel_launcher "$@"\n',
        ["r 42", "-f", "{connection_file}"],
        {"A": "r 42"},
    ),
    "python's own words in argv": (
        '#!/bin/bash\nexport A=1\nexec PYTHON "$@"\n',
        ["-m", "ipykernel_launcher", "-f", "{connection_file}"],
        {"A": "1"},
    ),
    "a python of the set-up": (
        '#!/bin/bash\nPY=PYTHON\nexport A=1\n"${PY}" \\\n -m ipykernel_launcher "$@"\nexit $?\n',
        None,
        {"A": "1"},
    ),
    "variables for python only": (
        '#!/bin/sh\nexec env A="1 2" B=3 PYTHON -m ipykernel_launcher "$@" 2>/dev/null\n',
        None,
        {"A": "1 2", "B": "3"},
    ),
    "options of the shell": ('#!/bin/bash -eu\nexport A=1\nexec PYTHON -m ipykernel_launcher "$@"\n', None, {"A": "1"}),
}


@pytest.mark.parametrize("what", WRAPPERS)
def test_wrappers_of_many_kinds(kernels: Kernels, what: str):
    script, words, wanted = WRAPPERS[what]
    kernels.wrapped("old", script, words)
    done = run("adopt", "old")
    assert done.returncode == 0, done.stderr
    assert inside("old", *wanted) == wanted
    assert kernelspec.find("old").probe is not None


def test_a_script_in_argv(kernels: Kernels):
    text = f'export A="x y"; exec {sys.executable} -m ipykernel_launcher "$@"'
    kernels.add("line", ["bash", "-c", text.replace("; ", "\n"), "name", "-f", "{connection_file}"])
    folder = kernels.wrapped("file", '#!/bin/bash\nexport A="x y"\nexec PYTHON -m ipykernel_launcher "$@"\n')
    kernels.add("file", ["bash", str(folder / "go.sh"), "-f", "{connection_file}"])
    for name in ("line", "file"):
        assert run("adopt", name).returncode == 0
        assert inside(name, "A") == {"A": "x y"}


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ('#!/bin/bash\nif true; then\nexec PYTHON -m ipykernel_launcher "$@"\nfi\n', "inside an if"),
        ('#!/bin/zsh\nexec PYTHON -m ipykernel_launcher "$@"\n', "for zsh"),
        (
            '#!/bin/bash\n. "$(dirname "$0")/x"\nexec PYTHON -m ipykernel_launcher "$@"\n',
            "looks for files beside itself",
        ),
        ('#!/bin/bash\nPYTHON -m ipykernel_launcher "$@"\nrm -rf /tmp/x\n', "goes on after the kernel"),
        ('#!/bin/bash\nPYTHON -m ipykernel_launcher "$@" | tee log\n', "more than a command"),
        ('#!/bin/bash\nexec srun PYTHON -m ipykernel_launcher "$@"\n', "does not start a python"),
        ('#!/bin/bash\nexec PYTHON -m ipykernel_launcher "$@" --profile=x\n', "'--profile=x'"),
        ("#!/bin/bash\nexec PYTHON -m ipykernel_launcher\n", "connection_file"),
        ('#!/bin/bash\nexec PYTHON -m bash_kernel "$@"\n', "'-m'"),
        ("#!/bin/bash\necho\n", "nowhere"),
    ],
)
def test_what_is_not_understood_is_refused_and_left(kernels: Kernels, script: str, why: str):
    folder = kernels.wrapped("old", script)
    before = snapshot(folder)
    done = run("adopt", "old")
    assert done.returncode == 1
    assert why in done.stderr
    assert "Nothing was changed." in done.stderr
    assert snapshot(folder) == before
    assert not (kernels.base / "htcmagic" / "adopted").exists()


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"language": "R"}, "kernel for r"),
        ({"metadata": {"kernel_provisioner": {}}}, "provisioner"),
        ({"argv": ["docker", "run", "x"]}, "docker"),
        ({"argv": ["apptainer", "run", "x"]}, "own script"),
        ({"argv": ["apptainer", "exec", "--writable", "x", "python3", *IPYKERNEL[1:]]}, "--writable"),
        ({"argv": ["apptainer", "exec", "x", "bash", "-c", "y"]}, "bash in the image"),
        ({"env": {"A": "$B", "B": "1"}}, "another variable"),
        ({"argv": ["/no/such/python", *IPYKERNEL[1:]]}, "not there"),
    ],
)
def test_kernels_that_no_recipe_can_say(kernels: Kernels, more: dict[str, object], why: str):
    kernels.add("old", **({"argv": IPYKERNEL} | more))
    with pytest.raises(NotUnderstood, match=why):
        adopt.plan(kernelspec.find("old"), dry_run=True)


def test_a_set_up_that_fails_changes_nothing(kernels: Kernels):
    folder = kernels.wrapped("old", '#!/bin/bash\nexit 3\nexec PYTHON -m ipykernel_launcher "$@"\n')
    before = snapshot(folder)
    done = run("adopt", "old")
    assert done.returncode == 1
    assert "exit" in done.stderr
    assert snapshot(folder) == before
    assert [path.name for path in kernels.folder.iterdir() if not path.name.startswith(".htcmagic.lock")] == ["old"]
    adopted = kernels.base / "htcmagic" / "adopted"
    assert not adopted.exists() or list(adopted.iterdir()) == []


def test_what_is_ours_is_not_adopted_and_a_stranger_is_not_undone(kernels: Kernels):
    kernels.wrapped("old", '#!/bin/bash\nexec PYTHON -m ipykernel_launcher "$@"\n')
    assert run("adopt", "old", "--no-probe").returncode == 0
    with pytest.raises(KernelError, match="one of ours"):
        adopt.plan(kernelspec.find("old"))
    kernels.add("old")  # somebody else has taken the place
    done = run("adopt", "--undo", "old")
    assert done.returncode == 1
    assert "another kernel by now" in done.stderr
    assert kernelspec.find("old").argv[0] == sys.executable


def test_a_kernel_behind_a_link_comes_back_as_a_link(kernels: Kernels, tmp_path: Path):
    folder = kernels.wrapped("real", '#!/bin/bash\nexec PYTHON -m ipykernel_launcher "$@"\n')
    elsewhere = tmp_path / "elsewhere"
    folder.rename(elsewhere)
    (kernels.folder / "old").symlink_to(elsewhere)
    before = snapshot(elsewhere)
    assert run("adopt", "old", "--no-probe").returncode == 0
    assert kernelspec.find("old").is_ours
    assert snapshot(elsewhere) == before
    assert run("adopt", "--undo", "old").returncode == 0
    assert (kernels.folder / "old").readlink() == elsewhere


def test_what_lies_beside_survives_a_refresh_and_an_edit(kernels: Kernels):
    kernels.wrapped("old", '#!/bin/bash\nexport A=1\nexec PYTHON -m ipykernel_launcher "$@"\n')
    assert run("adopt", "old").returncode == 0
    for words in (["refresh", "old"], ["edit", "old", "--set", "B=2"]):
        done = run(*words)
        assert done.returncode == 0, done.stderr
        kernel = kernelspec.find("old")
        assert kernel.edited() == {}
        assert inside("old", "A") == {"A": "1"}
    assert inside("old", "B") == {"B": "2"}
    (kernelspec.find("old").folder / adopt.SETUP).unlink()
    done = run("refresh", "old", "--force")
    assert done.returncode == 1
    assert "adopted-setup.sh is gone" in done.stderr


def test_a_real_container_behaves_once_it_is_adopted(kernels: Kernels):
    words = [str(images.apptainer()), "exec", str(images.image("kernel"))]
    kernels.add("box", [*words, "python3", *IPYKERNEL[1:]])
    assert {one.check for one in doctor.examine(["box"])} == {"container-orphan", "container-interrupt"}
    assert run("adopt", "box").returncode == 0
    assert doctor.examine(["box"]) == []
    verdict = check("box")
    assert verdict.ok, verdict
    assert verdict.versions["executable"] == "/usr/bin/python3"
