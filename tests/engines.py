"""Engines in a test: values of a kernel, and what is left of an engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conftest import Kernel

from htcmagic import places


def value(kernel: Kernel, expression: str, timeout: float = 90) -> Any:
    """Return a value of the kernel's."""
    outcome = kernel.run(f"import json\nprint('=>', json.dumps({expression}, default=str))", timeout)
    assert outcome.error is None, outcome.error[2]
    return json.loads(outcome.text.rpartition("=> ")[2])


def quiet(real: Callable[..., Any]) -> bool:
    """Whether no job of an engine is in the queue."""
    return not real("condor_q", "-constraint", "HtcmagicEngine =!= undefined", "-af", "ClusterId").stdout.split()


def left_of(name: str) -> list[str]:
    """Return files and processes of an engine."""
    found = [str(file) for file in places.home().glob(f"engines/*/{name}/*")]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                environ = (entry / "environ").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if name in words or name in environ:
                found.append(words)
    return found
