"""notebooks/dag.ipynb runs as it stands; the examples of the magics' docstrings do, too."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import dags
import nbformat
import pytest
from conftest import Kernel
from nbclient import NotebookClient
from test_documentation import examples

from htcmagic.magics.dag import DagMagics

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


def test_the_notebook_on_dags_runs(pool: Any, tmp_path: Path) -> None:
    notebook = nbformat.read(ROOT / "notebooks/dag.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    assert not any(cell.get("outputs") for cell in notebook.cells)
    options: dict[str, Any] = {"kernel_name": "python3", "timeout": 120, "extra_arguments": ["--log-level=ERROR"]}
    NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}}, **options).execute()
    said = [
        "\n".join(o.get("text") or o.get("data", {}).get("text/plain", "") for o in cell.get("outputs", []))
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]
    text = "\n".join(said)
    assert "$(events) = 2000 (from the notebook)" in text
    estimates, report = next(ast.literal_eval(each) for each in said if "three estimates are there" in each)
    assert report == "three estimates are there\n"
    assert all(2.9 < value < 3.4 for value in estimates)
    assert "fit failed: exit code 1 (cat: calibration.txt: No such file or directory)" in text
    assert "({'fetch': 'done', 'fit': 'done', 'plot': 'done'}, '1.02')" in text
    results = next(ast.literal_eval(each) for each in said if "'average'" in each)
    assert results["average"] == pytest.approx(sum(results[f"throw{i}"] for i in range(4)) / 4)
    assert "pi of functions (" in text


@pytest.mark.parametrize("name", ["condor_dag", "condor_submit_dag"])
def test_examples_of_the_magics_run(kernel: Kernel, notebook_dir: Path, name: str) -> None:
    (notebook_dir / "analysis.dag").write_text(dags.echo("a"))
    cells = examples(getattr(DagMagics, name).__doc__)  # type: ignore[no-untyped-call]
    assert cells
    for cell in cells:
        outcome = kernel.run(cell)
        assert outcome.error is None, (cell, outcome.error)
        assert "UsageError" not in outcome.text, (cell, outcome.text)
