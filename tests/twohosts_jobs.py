"""What cells and functions do on a host that sees nothing of the notebook's: ``twohosts_jobs.py SCENE FOLDER``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from twohosts import two_hosts

import htcmagic

SMALL = {"memory": "100MB", "disk": "50MB"}


def shell() -> InteractiveShell:
    made = InteractiveShell.instance()
    made.run_line_magic("load_ext", "htcmagic")
    return made


def run(made: InteractiveShell, cell: str) -> None:
    made.run_cell(cell).raise_error()


def cells() -> Any:
    """Run a description and a script, with input files and output files."""
    made = shell()
    Path("data.txt").write_text("the data\n")
    made.user_ns["grid"] = [{"x": "it's $x", "n": n} for n in range(3)]
    more = "request_memory = 32MB\nrequest_disk = 10MB\n"
    run(
        made,
        "%%condor --over grid -o told\nexecutable = /bin/sh\ntransfer_input_files = data.txt\n"
        f"arguments = \"-c 'cat data.txt; echo $(n) >made.$(n)'\"\n{more}queue",
    )
    run(made, '%%condor_script --over grid -o said --memory 32MB\necho "$x $n"; hostname -I')
    told, said = made.user_ns["told"].wait(90), made.user_ns["said"].wait(90)
    return [
        [told.stdout(n) for n in range(3)],
        sorted(file.name for file in Path().glob("made.*")),
        [said.stdout(n).split() for n in range(3)],
    ]


def python() -> Any:
    """Run a Python cell: names go along, values, prints, files and progress come back."""
    made = shell()
    made.user_ns["points"] = [1, 2, 3]
    run(made, "offset = 10\ndef shifted(x):\n    return x + offset")
    run(
        made,
        "%%condor_python --over points -o fits --memory 100MB\nimport htcmagic, socket\nhtcmagic.progress(1, 2)\n"
        "print('point', item)\n(htcmagic.output_dir() / 'curve.txt').write_text(str(item))\nshifted(item)",
    )
    fits = made.user_ns["fits"]
    return [fits.results(90), [fits[n].stdout() for n in range(3)], fits.files(0)["curve.txt"].read_text()]


def double(x: int) -> int:
    return 2 * x


def total(values: list[int]) -> int:
    return sum(values)


def functions() -> Any:
    """Run maps, an executor, a task whose argument is a future."""
    doubled = htcmagic.map(double, range(500), **SMALL)
    found = [sum(doubled.results(90)), sum(htcmagic.load(doubled.tag).results(5))]
    with htcmagic.Executor(workers=2, **SMALL) as ex:
        first = ex.submit(double, 21)
        found.append(ex.submit(double, first).result(60))
        found.append(len(ex.submit(bytes, 3_000_000).result(60)))
    task = htcmagic.task(cache=True, request_memory="100MB", request_disk="50MB")(double)
    found.append(task(task(1)).result(60))
    return found


def workflow() -> Any:
    """Run a DAG of functions: results travel as files."""
    flow = htcmagic.dag("flow", **SMALL)
    flow.add(total, [flow.add(double, n) for n in range(3)])
    return flow.submit().results(120)["total"]


SCENES: dict[str, Callable[[], Any]] = {each.__name__: each for each in (cells, python, functions, workflow)}

if __name__ == "__main__":
    scene, scratch = sys.argv[1], Path(sys.argv[2])
    with two_hosts(scratch):
        print("=>", json.dumps(SCENES[scene]()), flush=True)
