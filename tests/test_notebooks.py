"""notebooks/python_jobs.ipynb and notebooks/watching.ipynb run as they stand, and show what they say."""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from pools import eventually

from htcmagic import places

ROOT = Path(__file__).parents[1]
Real = Callable[..., CompletedProcess[str]]


class Run(NotebookClient):
    """Executes a notebook; keeps what its cells gave, and what their live views showed on the way.

    Parameters
    ----------
    name : str
        The notebook.
    folder : Path
        Where it runs.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.updates: list[str] = []
        notebook = nbformat.read(ROOT / f"notebooks/{name}.ipynb", as_version=4)  # type: ignore[no-untyped-call]
        assert not any(cell.get("outputs") for cell in notebook.cells), "it is kept without outputs"
        super().__init__(
            notebook,
            kernel_name="python3",
            timeout=120,
            extra_arguments=["--log-level=ERROR"],
            resources={"metadata": {"path": str(folder)}},
        )
        self.execute()

    def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
        """Keep what a live view shows, then treat the message as ever."""
        if msg["msg_type"] == "update_display_data":
            self.updates.append(msg["content"]["data"].get("text/plain", ""))
        return super().process_message(msg, cell, cell_index)

    def cells(self, begins: str) -> list[Any]:
        """Return the code cells that are this, or else have a line which begins so."""
        line = re.compile(f"^{re.escape(begins)}", re.MULTILINE)
        code = [cell for cell in self.nb.cells if cell.cell_type == "code"]
        return [c for c in code if c.source == begins] or [c for c in code if line.search(c.source)]

    def outputs(self, begins: str) -> list[Any]:
        """Return the outputs of the one such cell."""
        (found,) = self.cells(begins)
        return list(found.outputs)

    def said(self, begins: str) -> str:
        """Return what that cell printed and showed, as text."""
        texts = [o.get("text") or o.get("data", {}).get("text/plain", "") for o in self.outputs(begins)]
        return "\n".join(texts)

    def value(self, begins: str) -> Any:
        """Return what that cell's last line gave, a literal."""
        (result,) = [o for o in self.outputs(begins) if o.output_type == "execute_result"]
        return ast.literal_eval(result["data"]["text/plain"])

    @property
    def errors(self) -> list[Any]:
        """Exceptions that it shows."""
        return [o for c in self.nb.cells for o in c.get("outputs", []) if o.output_type == "error"]

    @property
    def page(self) -> str:
        """The notebook as HTML."""
        return str(HTMLExporter().from_notebook_node(self.nb)[0])  # type: ignore[no-untyped-call]


def nobody_waits(real: Real) -> bool:
    return real("condor_q", "-af", "ClusterId").stdout == ""


def test_the_notebook_on_python_jobs_runs(pool: Any, real: Real, tmp_path: Path) -> None:
    shutil.rmtree(places.home() / "cache", ignore_errors=True)  # of other tests: uses of its own are counted
    run = Run("python_jobs", tmp_path)

    assert run.value("doubled = ") == [2 * x for x in range(10)]
    assert run.value("again = ") == (6, 90)
    assert run.value("sum(") == 99_990_000

    assert "From the notebook: dimuon_masses, fit_peak, np" in run.said("%%condor_python --over")
    assert "6 jobs: 6 done" in run.said("%%condor_python --over")
    rows = run.said("table = ").splitlines()
    assert rows[0].split() == ["percent", "seed", "peak", "error"]
    peaks = [float(row.split()[3]) for row in rows[1:]]
    assert peaks == pytest.approx([91.19 * (1 + p / 100) for p in (-1, -0.6, -0.2, 0.2, 0.6, 1)], abs=0.05)
    assert [o["data"].keys() >= {"image/png"} for o in run.outputs("slope, ")] == [True]
    assert run.said("fits[2]").startswith("100 fits at -0.2 %, the first at 9")
    assert "image/png" in run.outputs("Image(")[-1]["data"]

    (error,) = run.errors
    assert error in run.outputs("masses.results()")
    shown = "\n".join(error["traceback"])
    assert "Notebook cell, line 9, in calibrated\n    mass *= float(calibration.read_text())" in shown
    assert re.search(r"\nFileNotFoundError: .*calibration.txt'\nIn job \d+\.\d+ on \S+, Python 3", shown)
    assert "functions/remote" not in shown
    assert run.value("calibration.write_text") == [91.2, pytest.approx(125.25)]

    numbers = [float(n) for n in re.findall(r"\d\.\d{5}", run.said("with htcmagic.Executor"))]
    assert numbers[3] == pytest.approx(sum(numbers[:3]) / 3, abs=2e-5)
    assert all(3.13 < n < 3.15 for n in numbers)

    first, second = run.cells("%time spread")
    assert first.outputs[-1]["data"] == second.outputs[-1]["data"]
    kept = re.findall(r"^simulate.*? +(\d+) +\d+ k?B +(\d+) ", run.said("%condor_cache"), re.MULTILINE)
    assert [sum(map(int, column)) for column in zip(*kept, strict=True)] == [4, 4]  # kept, used again
    assert "step 1\nstep 2\nstep 3\nstep 4\nstep 5" in re.sub("\n+", "\n", run.said("%%condor_python --follow"))
    bars = [each for each in run.updates if each.startswith("long (")]
    assert any(re.search(r" \([2468]0 %\)", each) for each in bars), bars

    assert run.page.count('src="data:image/png;base64,') == 2
    assert eventually(lambda: nobody_waits(real))


def test_the_notebook_on_watching_runs(pool: Any, real: Real, tmp_path: Path) -> None:
    run = Run("watching", tmp_path)
    assert run.errors == []

    queue = run.said("%condor_q")
    assert re.search(r"^\S+ +grid .* 5 \d+\.0-4$", queue, re.MULTILINE)
    assert re.search(r"^\S+ +later +\S+ \S+ +_ +_ +_ +1 +1 \d+\.0$", queue, re.MULTILINE)
    assert re.search(r"^\S+ +giant +\S+ \S+ +_ +_ +1 +_ +1 \d+\.0$", queue, re.MULTILINE)
    held = run.said("%condor_q -hold")
    assert "submitted on hold at user's request" in held
    assert "1 held" in held

    idle, why_held = run.said("%condor_why giant"), run.said("%condor_why later")
    assert re.search(r"\(giant\) is idle: it asks for 90 TB of memory, and no slot has more than \d", idle)
    assert re.search(r"^ +%condor_qedit \d+\.0 RequestMemory \d+$", idle, re.MULTILINE)
    assert "(later) is held: it was submitted on hold." in why_held
    assert re.search(r"^ +%condor_release \d+\.0$", why_held, re.MULTILINE)
    assert run.said("%condor_qedit giant").startswith("RequestMemory set in 1 job.")
    assert run.said("%condor_release later").startswith("1 job released.")
    assert "giant" in run.said("%condor_wait")
    assert "later" in run.said("%condor_wait")

    seen = [each for each in run.updates if "BATCH" in each]
    assert any(re.search(r"^giant .* 0 % +_ +_ +1 ", each, re.MULTILINE) for each in seen)  # idle, while it was
    (watched,) = run.outputs("%condor_watch")
    assert re.search(r"^giant .* 100 % +1 ", watched["data"]["text/plain"], re.MULTILINE)
    assert "<table" in watched["data"]["text/html"]
    assert '<div class="htcmagic-watch' in run.page

    assert "request_memory = " in run.said("%condor_usage")
    assert "image/png" in run.outputs("axes = %condor_plot")[-1]["data"]
    assert run.said("%condor_rm").startswith("1 job marked for removal.")
    states = run.value("grid.wait()")
    assert {state: number for state, number in states.items() if number} == {"done": 4, "removed": 1}
    assert eventually(lambda: nobody_waits(real))
