"""What a job needs to run where a kernel runs: read from the kernel's own files, without HTCondor."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys

import pytest

from htcmagic.errors import KernelError
from htcmagic.kernels import environment, kernelspec
from htcmagic.kernels.environment import JobEnvironment
from htcmagic.kernels.recipe import Container, Recipe


@pytest.fixture
def kernels(tmp_path, monkeypatch):
    """Give a folder of kernels that Jupyter looks into, and an environment as no kernel of ours has it."""
    folder = tmp_path / "jupyter/kernels"
    folder.mkdir(parents=True)
    monkeypatch.setenv("JUPYTER_PATH", str(folder.parent))
    monkeypatch.delenv("HTCMAGIC_KERNEL", raising=False)
    monkeypatch.delenv("HTCMAGIC_KERNEL_DIR", raising=False)
    return folder


@pytest.fixture
def make(kernels):
    def install(name="b2", **recipe):
        folder = kernels / name
        folder.mkdir()
        made = Recipe(name=name, title=name, creator=sys.executable, **recipe)
        for file, content in kernelspec.contents(made, None, None, "htc-kernel create").items():
            (folder / file).write_bytes(content)
        return folder

    return install


@pytest.fixture
def inside(monkeypatch):
    def enter(folder):
        monkeypatch.setenv("HTCMAGIC_KERNEL", folder.name)
        monkeypatch.setenv("HTCMAGIC_KERNEL_DIR", str(folder))

    return enter


def test_in_an_ordinary_kernel_there_is_none(kernels):
    assert environment() is None


def test_in_a_kernel_of_ours_it_is_its_set_up(make, inside):
    folder = make(sources=("/opt/stack/setup.sh",), python="$STACK/bin/python3")
    inside(folder)
    found = environment()
    assert found.kernel == "b2"
    assert found.wrapper == folder / "setup.sh"
    assert found.container_image is None
    assert found.submit_commands() == {}
    assert str(found) == "kernel b2 (source /opt/stack/setup.sh)"
    assert pickle.loads(pickle.dumps(found)) == found  # noqa: S301


def test_another_kernels_is_found_by_its_name(make):
    folder = make(venv="/opt/venv")
    assert environment("B2").wrapper == folder / "setup.sh"
    assert environment("b2") == environment("B2")


def test_a_copied_kernel_goes_by_the_name_of_its_copy(make, inside, kernels):
    copy = shutil.copytree(make(venv="/opt/venv"), kernels / "mine")
    inside(copy)
    assert (environment().kernel, environment().wrapper) == ("mine", copy / "setup.sh")


@pytest.mark.parametrize(
    ("box", "anywhere", "here"),
    [
        (Container("docker://rootproject/root", "/data/root"), "docker://rootproject/root", "/data/root"),
        (Container("docker://rootproject/root"), "docker://rootproject/root", "docker://rootproject/root"),
        (Container("/data/image.sif", "/data/image.sif"), "/data/image.sif", "/data/image.sif"),
        (Container("/cvmfs/unpacked.cern.ch/a:b"), "/cvmfs/unpacked.cern.ch/a:b", "/cvmfs/unpacked.cern.ch/a:b"),
    ],
)
def test_an_image_is_named_for_jobs_anywhere_and_for_jobs_here(make, box, anywhere, here):
    make(container=box)
    found = environment("b2")
    assert found.wrapper is None
    assert found.submit_commands()["container_image"] == anywhere
    assert found.submit_commands(here=True)["container_image"] == here
    assert found.submit_commands()["universe"] == "container"
    kept = "transfer_container" in found.submit_commands()
    assert kept == anywhere.startswith("/cvmfs/"), "only what every machine mounts may stay where it is"
    assert ("transfer_container" in found.submit_commands(here=True)) == here.startswith("/")


def test_an_images_variables_are_set_without_a_wrapper(make):
    make(container=Container("/data/image"), settings=(("X", "a b"),), python="/opt/bin/python3")
    found = environment("b2")
    assert dict(found.variables) == {"PYTHONNOUSERSITE": "1", "X": "a b"}
    assert found.python == "/opt/bin/python3"


@pytest.mark.parametrize(
    "inside_image", [{"sources": ("/opt/s.sh",)}, {"prepend_path": ("/opt/bin",)}, {"python": "$X/bin/python"}]
)
def test_a_set_up_inside_an_image_needs_the_wrapper(make, inside_image):
    folder = make(container=Container("/data/image"), settings=(("X", "1"),), **inside_image)
    found = environment("b2")
    assert found.wrapper == folder / "setup.sh"
    assert found.variables == (), "the wrapper sets them"
    assert found.container_image == "/data/image"


def deleted(folder):
    shutil.rmtree(folder)


def without_wrapper(folder):
    (folder / "setup.sh").unlink()


def not_json(folder):
    (folder / "kernel.json").write_text("{")


def without_recipe(folder):
    data = json.loads((folder / "kernel.json").read_text())
    del data["metadata"]["htcmagic"]
    (folder / "kernel.json").write_text(json.dumps(data))


def with_another_recipe(folder):
    data = json.loads((folder / "kernel.json").read_text())
    data["metadata"]["htcmagic"]["recipe"] = {"name": "b2", "colour": "red"}
    (folder / "kernel.json").write_text(json.dumps(data))


@pytest.mark.parametrize("damage", [deleted, without_wrapper, not_json, without_recipe, with_another_recipe])
def test_a_damaged_kernel_is_told_and_not_passed_over(make, inside, damage):
    folder = make(sources=("/opt/s.sh",))
    inside(folder)
    damage(folder)
    with pytest.raises(KernelError) as caught:
        environment()
    assert caught.value.hint
    assert len(str(caught.value).splitlines()) == 2


def test_unknown_and_foreign_kernels_by_name_are_told(make, kernels):
    make()
    with pytest.raises(KernelError, match=r"no kernel 'b22'.*\n.*b2"):
        environment("b22")
    (kernels / "other").mkdir()
    (kernels / "other/kernel.json").write_text('{"argv": ["python"], "display_name": "Other", "language": "python"}')
    with pytest.raises(KernelError, match="was not made by htc-kernel"):
        environment("other")


def test_it_needs_neither_htcondor_nor_ipython(make):
    make(venv="/opt/venv")
    code = (
        "import sys\n"
        "sys.modules.update(htcondor2=None, classad2=None, IPython=None)\n"
        "from htcmagic.kernels import environment\n"
        "print(environment('b2'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("kernel b2 (venv /opt/venv)\n", "")


def test_it_is_a_value():
    one = JobEnvironment("a")
    assert one == JobEnvironment("a")
    assert hash(one) == hash(JobEnvironment("a"))
    with pytest.raises(AttributeError):
        one.kernel = "b"
