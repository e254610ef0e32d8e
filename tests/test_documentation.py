"""What the documentation shows works as pasted: the README's lines, the examples in the docstrings, the demo."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from conftest import own_pool
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]


def test_the_lines_of_the_readme_work_as_pasted(kernel):
    text = (ROOT / "README.md").read_text()
    ten_lines = text.partition("## Ten lines")[2].partition("\n## ")[0]
    cells = re.findall(r"^```\w*\n(.*?)^```", ten_lines, re.MULTILINE | re.DOTALL)
    assert len(cells) == 4
    outcomes = [kernel.run(cell) for cell in cells]
    assert [outcome.error for outcome in outcomes] == [None] * len(cells)
    assert outcomes[-1].result == "'point 1 0\\n'"


def test_the_python_of_the_readme_works_as_pasted(kernel):
    section = (ROOT / "README.md").read_text().partition("## Python")[2].partition("\n## ")[0]
    (cell,) = re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    outcome = kernel.run(cell, timeout=120)
    assert outcome.error is None, outcome.error
    assert outcome.text.endswith("42\n")
    assert kernel.run("sum(htcmagic.load('simulation1'))").result == str(sum(2 * x for x in range(10_000)))
    kernel.run("doubled.delete()")


def test_links_of_the_documentation_lead_somewhere():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists() or target.startswith("https://"), f"{page.name}: {target}"


def examples(docstring):
    """Return the cells of a docstring's ``In [n]:`` examples."""
    shown = re.split(r"\n(?:positional arguments|options):", docstring.partition("Example::")[2])[0]
    cells = re.split(r"^\s*In \[\d+\]: ", shown, flags=re.MULTILINE)[1:]
    return [re.sub(r"\n\s*\.\.\.: ", "\n", cell).strip() for cell in cells]


def magics():
    from htcmagic.magics import classes

    for kind in classes():
        for name in vars(kind):
            if name.startswith("condor") and vars(kind)[name].__doc__:
                yield name, vars(kind)[name].__doc__


@pytest.mark.parametrize(("name", "docstring"), list(magics()))
def test_examples_of_the_magics_run(kernel, notebook_dir, name, docstring):
    (notebook_dir / "fit.sub").write_text("executable = /bin/true\nqueue\n")
    cells = examples(docstring)
    assert cells, f"{name} has no example"
    kernel.run("%%condor --name scan --hold\nexecutable = /bin/true")
    kernel.run("import htcmagic; htcmagic.cluster('scan').release()")
    (notebook_dir / "hello.sub").write_text("executable = /bin/true\n")
    (notebook_dir / "analysis.dag").write_text("JOB hello hello.sub\n")
    if name == "condor_cache":
        made = "@htcmagic.task(cache=True)\ndef simulate(seed):\n    return seed\nsimulate(1).result()"
        assert kernel.run(made).error is None
    for cell in cells:
        if "example.org" in cell:
            continue  # a site's names: what it does with a real second pool is in test_resolve.py
        outcome = kernel.run(cell)
        assert outcome.error is None, (cell, outcome.error)
        assert "UsageError" not in outcome.text, (cell, outcome.text)


def test_the_notebook_on_kernels_runs(pool, tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    notebook = nbformat.read(ROOT / "notebooks/kernels.ipynb", as_version=4)
    options = {"kernel_name": "python3", "timeout": 120, "extra_arguments": ["--log-level=ERROR"]}
    NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}}, **options).execute()
    said = "\n".join(
        output.get("text") or output.get("data", {}).get("text/plain", "")
        for cell in notebook.cells
        for output in cell.get("outputs", [])
    )
    assert "mystack works." in said
    assert "2026.1 here & now" in said
    assert "does it call exit" in said
    assert "'a runs in release 2026.2\\n'" in said
    assert not (tmp_path / "data/kernels/mystack").exists()


def demo(output, **env):
    """Run the demo as ``make demo`` does."""
    command = [sys.executable, str(ROOT / "notebooks/demo.py"), "--output", str(output)]
    command += ["--schedd", env.pop("SCHEDD")] if "SCHEDD" in env else []
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **env}, timeout=200, check=False)


def check_demo(done, output):
    assert done.returncode == 0, done.stderr
    assert "9 points, 16 branches" in done.stdout
    page = (output / "gridscan.html").read_text()
    assert str(output / "gridscan.html") in done.stdout
    assert page.count("data:image/png;base64") >= 1
    assert "nan" not in done.stdout.lower().split()


def test_the_demo_runs_on_the_personal_pool(pool, tmp_path):
    check_demo(demo(tmp_path), tmp_path)


@pytest.mark.slow
def test_the_demo_runs_on_a_site_pool_unchanged(tmp_path_factory, tmp_path):
    """A second pool, reached through HTCondor's own configuration and by its schedd's name, stands for a site's."""
    with own_pool(tmp_path_factory.mktemp("site")) as (address, _):
        from htcmagic.pool.client import Client

        client = Client(address)
        name = client.schedd.name
        client.close()
        done = demo(tmp_path, CONDOR_CONFIG=address.config, SCHEDD=name)
        check_demo(done, tmp_path)
        assert "$_CONDOR_SCHEDD_HOST" in done.stdout
