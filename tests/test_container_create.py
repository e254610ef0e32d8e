"""Images found, fetched, looked into; kernels made of them; an ipykernel put beside: real registry, Apptainer, pip."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import images
import kernelhome
import kernels
import pytest
import registry
from boxes import boxed, shell

from htcmagic import places
from htcmagic.errors import ContainerError, KernelError
from htcmagic.kernels import container, inject
from htcmagic.kernels.recipe import Container


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Give everything a home of its own; the unpacked runtime stays in its place."""
    images.folder()
    monkeypatch.setenv("HTCMAGIC_HOME", str(tmp_path / "htcmagic"))
    monkeypatch.setenv("APPTAINER_CACHEDIR", str(tmp_path / "cache"))
    monkeypatch.setenv("APPTAINER_NOHTTPS", "1")
    monkeypatch.delenv("HTCMAGIC_APPTAINER", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def prepare(image, **more):
    said = []
    return container.prepare(Container(str(image)), report=said.append, **more), said


def refused(image):
    with pytest.raises(ContainerError) as caught:
        prepare(image)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2, lines
    return lines


def test_a_folder_and_a_file_are_taken_as_they_are(home):
    (home / "my image").symlink_to(images.image("kernel"))
    assert prepare("my image")[0].path == str(home / "my image")
    box, said = prepare(images.image("kernel.sif"))
    assert (box.path, said) == (str(images.image("kernel.sif")), [])
    assert box.runtime == str(container.runtime().path)


@pytest.mark.parametrize(
    ("image", "said", "hint"),
    [
        ("python:3.12", "There is no image python:3.12.", "docker://python:3.12"),
        ("/nowhere/x.sif", "There is no image /nowhere/x.sif.", "docker://NAME:TAG"),
        ("/cvmfs/none.example.org/x:1", "There is no image", "Is /cvmfs/none.example.org mounted"),
        ("ftp://x", "images do not come from ftp://", "docker"),
        ("instance://x", "images do not come from instance://", "docker"),
        ("", "No image is named.", "--container IMAGE"),
        (".", "is no image: it holds no system", "bin, usr, etc"),
        ("docker://127.0.0.1:9/some/image:1", "connection refused", "registry"),
    ],
)
def test_what_is_no_image_is_refused(home, image, said, hint):
    lines = refused(image)
    assert said in lines[0]
    assert hint in lines[1]
    assert not list(places.home().glob("images/*"))


def test_an_image_is_fetched_from_a_registry_and_started(home):
    with registry.serving(images.image("empty"), home, {"FROM_IMAGE": "a b"}) as address:
        box, said = prepare(f"docker://{address}")
        assert said[0].startswith(f"Fetching docker://{address} into {places.home()}/images/")
        assert any("Extracting OCI image" in line for line in said)
        assert not any(".new-" in line for line in said)
    assert Path(box.path).is_dir()
    assert [entry.name for entry in Path(box.path).parent.iterdir()] == [Path(box.path).name]
    again, said = prepare(f"docker://{address}")
    assert again == box
    assert said == [f"docker://{address} is here already: {box.path}"]
    assert shell(boxed(home, box.path), 'echo "$FROM_IMAGE"') == "a b"
    found = container.inspect(box.path)
    assert found.labels["org.example.made"] == "here"
    assert "FROM_IMAGE" in found.environment


def test_an_image_is_fetched_into_a_file(home):
    with registry.serving(images.image("empty"), home, {}) as address:
        box, _ = prepare(f"docker://{address}", sif=True)
    assert Path(box.path).is_file()
    assert shell(boxed(home, box.path), "echo runs") == "runs"


def test_two_at_once_get_the_same_image(home):
    with registry.serving(images.image("empty"), home, {}) as address, ThreadPoolExecutor(2) as pool:
        paths = list(pool.map(lambda _: prepare(f"docker://{address}")[0].path, range(2)))
    assert paths[0] == paths[1]
    assert [str(entry) for entry in (places.home() / "images").iterdir()] == paths[:1]


def test_half_an_image_is_none(home):
    with registry.serving(images.image("empty"), home, {}, broken=True) as address:
        assert "unexpected EOF" in refused(f"docker://{address}")[0]
        lines = refused(f"docker://{address.replace('small', 'none')}")
        assert "manifest unknown" in lines[0]
        assert "Is the name right" in lines[1]
    assert list((places.home() / "images").iterdir()) == []


def test_apptainer_alone_on_path_is_enough(home, monkeypatch):
    programs = home / "bin"
    programs.mkdir()
    (programs / "apptainer").write_text(f'#!/bin/sh\nexec "{images.apptainer()}" "$@"\n')
    (programs / "apptainer").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("HTCMAGIC_PROGRAMS", str(home / "none"))
    found = container.runtime()
    assert (found.path, found.kind) == (programs / "apptainer", "apptainer")
    assert container.inspect(images.image("env")).labels["org.example.what"] == "sets variables"
    with registry.serving(images.image("empty"), home, {}) as address:
        assert Path(prepare(f"docker://{address}")[0].path).is_dir()
    (programs / "apptainer").unlink()
    with pytest.raises(ContainerError, match="Neither apptainer nor singularity") as caught:
        container.runtime()
    assert "htc-pool install --with apptainer" in caught.value.hint


@pytest.mark.parametrize(
    ("told", "kind", "version"),
    [
        ("apptainer version 1.4.5", "apptainer", "1.4.5"),
        ("apptainer version 1.3.0-1.el9", "apptainer", "1.3.0-1.el9"),
        ("singularity-ce version 4.1.0", "singularity-ce", "4.1.0"),
        ("singularity version 3.5.2", "singularity", "3.5.2"),
        ("2.6.1-dist", "singularity", "2.6.1-dist"),
    ],
)
def test_a_runtime_says_itself_what_it_is(home, monkeypatch, told, kind, version):
    program = home / "singularity"
    program.write_text(f"#!/bin/sh\necho {told}\n")
    program.chmod(0o755)
    monkeypatch.setenv("HTCMAGIC_APPTAINER", str(program))
    assert container.runtime() == container.Runtime(program, kind, version)


def test_what_cannot_be_inspected_is_told(home):
    with pytest.raises(ContainerError, match=r"cannot be inspected: .*image format not recognized"):
        container.inspect("/etc/passwd")


def test_spython_says_nothing_on_its_own(home, capfd):
    container.inspect(images.image("env"))
    refused("docker://127.0.0.1:9/some/image:1")
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def command(home, monkeypatch):
    """Give Jupyter and the command a home of their own."""
    runtime_dir = images.apptainer().parents[3]
    folder = kernelhome.isolate(home, monkeypatch)
    monkeypatch.setenv("HTCMAGIC_PROGRAMS", str(runtime_dir))
    return folder


def test_a_kernel_is_made_of_an_image(command):
    kernelhome.works("create", "--container", str(images.image("kernel")), "--name", "boxed")
    data = kernelhome.kernel_json(command / "boxed")
    assert data["interrupt_mode"] == "message"
    assert "supported_encryption" not in data["metadata"]
    with kernels.started(command / "boxed") as kernel:
        assert kernel.run("import ipykernel; print(ipykernel.__version__)").text == "6.17.0\n"


def test_an_old_ipykernel_gets_signals(command):
    kernelhome.works("create", "--container", str(images.image("ipykernel-5")), "--name", "old")
    assert kernelhome.kernel_json(command / "old")["interrupt_mode"] == "signal"


def test_an_image_that_cannot_be_a_kernel_is_refused_with_the_ways_out(command):
    message, hint = kernelhome.fails("create", "--container", str(images.image("bare")), "--name", "bare")
    assert "cannot be a kernel: ModuleNotFoundError" in message
    assert "--inject-ipykernel" in hint
    assert "python3 -m pip install ipykernel" in hint
    message, hint = kernelhome.fails("create", "--container", str(images.image("empty")), "--name", "empty")
    assert "python3" in message
    assert not (command / "bare").exists()
    assert not (command / "empty").exists()


def test_an_ipykernel_is_put_beside(command):
    kernelhome.works(
        "create", "--container", str(images.image("bare")), "--name", "bare", "--inject-ipykernel", "--contain"
    )
    folder = places.home() / "ipykernel"
    assert [entry.name for entry in folder.iterdir()] == [f"python3.11-{os.uname().machine}-glibc-2.36"]
    with kernels.started(command / "bare") as kernel:
        outcome = kernel.run("import ipykernel, sys; print(ipykernel.__file__, sys.version_info[:3])")
        assert outcome.text.startswith(f"{folder}/")
        assert outcome.text.endswith(" (3, 11, 2)\n")


@pytest.mark.parametrize(("python", "libc"), [("3.9.2", "glibc 2.31"), ("3.12.1", ""), ("3.7.3", "glibc 2.17")])
@pytest.mark.slow
def test_it_is_of_the_right_kind(home, python, libc):
    made = inject.prepare(python, "x86_64", libc)
    assert inject.prepare(python, "x86_64", libc) == made
    version = "".join(python.split(".")[:2])
    libraries = [path.name for path in made.rglob("*.so*") if "zmq" in str(path)]
    assert any(f"cpython-{version}" in name or "abi3" in name for name in libraries), libraries
    assert [entry.name for entry in made.parent.iterdir()] == [made.name]


def test_nothing_is_put_beside_what_is_too_old_or_without_pip(home, monkeypatch):
    with pytest.raises(KernelError, match=r"no ipykernel to put beside a python 2\.7"):
        inject.prepare("2.7.18", "x86_64", "glibc 2.17")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(KernelError, match="could be fetched: No matching distribution found for ipykernel"):
        inject.prepare("3.11.2", "x86_64", "glibc 2.36")
    assert list((places.home() / "ipykernel").iterdir()) == []
    venv = home / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    code = (
        f"import sys; sys.path.append({str(Path(__file__).parents[1])!r})\n"
        "from htcmagic.kernels import inject\nfrom htcmagic.errors import KernelError\n"
        "try: inject.prepare('3.11.2', 'x86_64', 'glibc 2.36')\nexcept KernelError as error: print(error)"
    )
    done = subprocess.run([venv / "bin/python", "-c", code], capture_output=True, text=True, check=True)
    assert "pip is missing" in done.stdout
    assert "-m ensurepip" in done.stdout


@pytest.mark.slow
def test_a_kernel_is_made_of_an_image_in_a_registry(command, home, monkeypatch):
    with registry.serving(images.image("kernel"), home, {"FROM_IMAGE": "yes"}) as address:
        kernelhome.works("create", "--container", f"docker://{address}", "--name", "pulled")
    with kernels.started(command / "pulled") as kernel:
        assert kernel.run("import os; print(os.environ['FROM_IMAGE'])").text == "yes\n"
        shutil.rmtree(places.home() / "images")
    with kernels.started(command / "pulled") as kernel:
        assert "is not there any more" in kernel.run("1").error[2]
