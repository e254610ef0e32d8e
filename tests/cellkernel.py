"""Python cells in a test: run in jobs from a real kernel, values of the kernel, cells that are refused."""

from __future__ import annotations

import json
from typing import Any

from conftest import Kernel, Outcome

ERROR_LINES = 2


def value(kernel: Kernel, expression: str, timeout: float = 90) -> Any:
    """Return a value of the kernel's."""
    outcome = kernel.run(f"print(json.dumps({expression}))", timeout)
    assert outcome.error is None, outcome.error[2]
    return json.loads(outcome.text)


def ran(kernel: Kernel, line: str, cell: str, timeout: float = 90) -> Outcome:
    """Run a cell in jobs, called c, and wait for them; return what the cell itself gave."""
    sent = kernel.run(f"%%condor_python -o c {line}\n{cell}", timeout)
    assert sent.error is None, sent.error[2]
    waited = kernel.run("c.wait(60)", timeout)
    assert waited.error is None, waited.error[2]
    return sent


def refused(kernel: Kernel, line: str, cell: str) -> str:
    """Run a cell that is not sent; return what is said, in two lines at most."""
    before = value(kernel, "len(htcmagic.clusters())")
    outcome = kernel.run(f"%%condor_python {line}\n{cell}")
    said = outcome.text + (outcome.error[2] if outcome.error else "")
    assert said, "it was not refused"
    assert len(said.strip().splitlines()) <= ERROR_LINES, said
    assert value(kernel, "len(htcmagic.clusters())") == before
    return said
