"""The notebooks on engines, run from the first cell to the last; what they say is looked at."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import nbformat
import pytest
from engines import quiet
from nbclient import NotebookClient
from pools import eventually

pytestmark = pytest.mark.slow

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


@pytest.fixture
def played(pool, tmp_path, real):
    """Run a notebook in an empty folder; return the text of each cell with code."""

    def play(name):
        notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
        assert all(not cell.get("outputs") for cell in notebook.cells)
        options = {"kernel_name": "python3", "timeout": 150, "extra_arguments": ["--log-level=ERROR"]}
        NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}}, **options).execute()
        eventually(lambda: quiet(real), 15)
        return [
            "".join(
                output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.get("outputs", [])
            )
            for cell in notebook.cells
            if cell.cell_type == "code"
        ]

    return play


def test_pi_with_parsl(played):
    cells = played("parsl_pi")
    told = re.findall(r"3\.\d+", cells[2])
    assert len(told) == 4
    assert abs(sum(map(float, told[:3])) / 3 - float(told[3])) < 1e-3
    assert cells[3].count("/bin/bash") + cells[3].count("bash parsl") >= 4
    assert re.search(r"parsl-\w+ +htcmagic +[1-4] ", cells[4])
    assert cells[-1] == "Nothing runs under Parsl, Dask, ipyparallel or DAGMan."


def test_a_screening_with_parsl(played):
    cells = played("parsl_dataflow")
    assert [name for name, _ in ast.literal_eval(cells[2])] == ["C111", "C104", "C110"]
    assert cells[3] == "25 tasks: 25 done"
    assert "13 calls of the program for 13 compounds" in cells[4]
    assert "13 calls in all" in cells[5]
    assert "stopped" in cells[6]


def test_an_analysis_with_dask(played):
    cells = played("dask_analysis")
    assert cells[1] == "8"
    assert re.search(r"[\d,]+ pairs, the peak is at 9[012] GeV", cells[2])
    assert "dask-" in cells[5]
