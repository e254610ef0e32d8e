"""Engines whose workers run in an image: a real one, started by HTCondor with a real Apptainer."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import images
import pytest
from conftest import Kernel
from engines import value
from pools import at_home, eventually, tool

pytestmark = pytest.mark.slow

ASK = "(lambda: [__import__('os').environ.get('APPTAINER_CONTAINER', ''), __import__('sys').version_info[:2]])"
PACKAGES = ("parsl", "distributed", "ipyparallel")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Make an image with the engines in it, beside the others so that it may share their files."""
    plain = images.image("kernel")
    made = plain.parent.parent / f"engines-{tmp_path_factory.getbasetemp().name}"
    try:
        subprocess.run(["cp", "-al", plain, made], check=True)
        target = made / "usr/local/lib/python3.11/dist-packages"
        target.mkdir(parents=True, exist_ok=True)
        wanted = [f"{name}=={version(name)}" for name in PACKAGES]
        install = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-compile"]
        subprocess.run([*install, "--target", target, *wanted], check=True)
        yield made
    finally:
        images.remove(made)


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """Start a kernel whose personal pool has Apptainer."""
    images.apptainer()
    with at_home(tmp_path_factory.mktemp("home")):
        started = Kernel(tmp_path_factory.mktemp("notebook"))
        try:
            assert started.run("%load_ext htcmagic\nimport json, htcmagic").error is None
            yield started
        finally:
            started.stop()


def gone() -> bool:
    return not tool("condor_q", "-constraint", "HtcmagicEngine =!= undefined", "-af", "ClusterId").stdout.split()


def test_parsl_in_an_image(notebook: Kernel, image: Path) -> None:
    made = notebook.run(
        "import parsl\nconfig = htcmagic.engines.parsl(memory_gb=0.3, request_disk='50MB', "
        f"container={str(image)!r})\nparsl.load(config)",
        90,
    )
    assert made.error is None, made.error[2]
    assert value(notebook, f"parsl.python_app({ASK})().result()", 120) == [str(image), [3, 11]]
    notebook.run("parsl.dfk().cleanup(); parsl.clear()", 60)
    eventually(gone, 30)


def test_dask_in_an_image(notebook: Kernel, image: Path) -> None:
    made = notebook.run(
        f"cluster = htcmagic.engines.dask(1, memory='300MB', disk='50MB', container={str(image)!r})", 90
    )
    assert made.error is None, made.error[2]
    assert value(notebook, f"cluster.client.submit({ASK}).result(90)", 120) == [str(image), [3, 11]]
    notebook.run("cluster.close()", 60)
    eventually(gone, 30)


def test_ipyparallel_in_an_image(notebook: Kernel, image: Path) -> None:
    made = notebook.run(
        f"rc = htcmagic.engines.ipyparallel(1, memory='300MB', disk='50MB', container={str(image)!r})", 150
    )
    assert made.error is None, made.error[2]
    assert value(notebook, f"rc[0].apply_sync({ASK})", 120) == [str(image), [3, 11]]
    notebook.run("rc.engine.stop()", 60)
    eventually(gone, 30)


def test_an_image_without_the_engine_is_told(notebook: Kernel) -> None:
    plain = images.image("kernel")
    notebook.run(f"cluster = htcmagic.engines.dask(1, memory='300MB', disk='50MB', container={str(plain)!r})", 90)
    eventually(lambda: "there is no distributed in" in str(value(notebook, "cluster.engine.ends")), 60)
    notebook.run("cluster.close()", 60)
    eventually(gone, 30)
