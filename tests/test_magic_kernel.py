"""``%htc_kernel`` in a real kernel."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import kernelhome
import pytest
from conftest import Kernel

from htcmagic.kernels import kernelspec


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kernel, Path]]:
    """Start a kernel whose Jupyter folders are its own; it, and where the user's kernels are."""
    with pytest.MonkeyPatch.context() as patch:
        kernels = kernelhome.isolate(tmp_path_factory.mktemp("notebook"), patch)
        started = Kernel(kernels.parents[1])
        try:
            assert started.run("%load_ext htcmagic").error is None
            yield started, kernels
        finally:
            started.stop()


def test_a_kernel_is_made_listed_and_deleted(notebook):
    kernel, kernels = notebook
    made = kernel.run(f"%htc_kernel create --venv {sys.prefix} --name nb --display-name '<b>Mine</b>'")
    assert made.error is None
    assert "<b>Mine</b> is ready: python 3." in made.text
    assert (kernels / "nb" / "kernel.json").exists()
    listed = kernel.run("%htc_kernel list")
    assert "nb" in listed.result
    assert "~/data/kernels" in listed.result
    page = listed.data[-1]["text/html"]
    assert "&lt;b&gt;Mine&lt;/b&gt;" in page
    assert "<b>" not in page
    assert "Made from  venv" in kernel.run("%htc_kernel show nb").text
    assert kernel.run("%htc_kernel remove --yes nb").error is None
    assert kernelspec.kernels(kernels) == []


def test_stacks_as_a_table(notebook):
    shown = notebook[0].run("%htc_kernel stacks")
    assert shown.error is None
    assert "belle2" in shown.result
    assert "<td" in shown.data[-1]["text/html"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("show nope", "There is no kernel 'nope'."),
        ("remove python3", "was not made by htc-kernel"),
        ("refresh --all", "%htc_kernel refresh has failed, as told above."),
    ],
)
def test_errors_are_lines_not_tracebacks(notebook, line, said):
    kernel, kernels = notebook
    for name in ("one", "two"):
        kernel.run(f"%htc_kernel create --no-probe --venv {sys.prefix} --name {name}")
    (kernels / "two" / "mine").touch()
    outcome = kernel.run(f"%htc_kernel {line}")
    assert outcome.error is not None
    assert outcome.error[0] == "KernelError"
    assert outcome.error[1].startswith(said) or said in outcome.error[1]
    assert "Traceback" not in outcome.error[2]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("fly", "invalid choice: 'fly'"),
        ("create --relase 1", "Did you mean --release?"),
        ("show 'x", "UsageError: No closing quotation: show 'x"),
    ],
)
def test_wrong_usage_is_told(notebook, line, said):
    outcome = notebook[0].run(f"%htc_kernel {line}")
    assert said in outcome.text
    assert "UsageError: " in outcome.text
    assert "Traceback" not in outcome.text


def test_help_is_shown(notebook):
    for line in ("", "create --help"):
        outcome = notebook[0].run(f"%htc_kernel {line}")
        assert outcome.error is None
        assert "usage: htc-kernel" in outcome.text
