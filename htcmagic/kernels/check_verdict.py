"""What a check of a kernel finds, and reading the signs that it is found by."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from jupyter_client.manager import KernelManager

from htcmagic.kernels.check_talk import NoAnswer

TAIL_LINES = 12


@dataclass(frozen=True, slots=True)
class Phase:
    """One thing that was tried.

    Attributes
    ----------
    name : str
        ``set-up kernel_info result verify completion interrupt restart shutdown kill leftovers``.
    state : str
        ``ok``, ``failed`` or ``skipped``.
    seconds : float or None
        How long it took, where that means something.
    note : str
        One line.
    detail : tuple of str
        More lines, for a failure.
    """

    name: str
    state: str = "ok"
    seconds: float | None = None
    note: str = ""
    detail: tuple[str, ...] = ()


@dataclass(slots=True)
class Verdict:
    """What a check found."""

    kernel: str
    folder: str = ""
    phases: list[Phase] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return all(phase.state != "failed" for phase in self.phases)

    def as_json(self) -> dict[str, Any]:
        """Return it for machines."""
        phases = [
            {"name": one.name, "state": one.state, "seconds": one.seconds and round(one.seconds, 3), "note": one.note}
            | ({"detail": list(one.detail)} if one.detail else {})
            for one in self.phases
        ]
        return {
            "kernel": self.kernel,
            "ok": self.ok,
            "folder": self.folder,
            "versions": self.versions,
            "phases": phases,
        }


def told(text: str) -> Any:
    """Return what one of our cells has printed for us."""
    for line in text.splitlines():
        if line.startswith("htcmagic:"):
            with contextlib.suppress(ValueError):
                return json.loads(line.removeprefix("htcmagic:"))
    return None


def recipe_of(folder: str) -> dict[str, Any]:
    """Return the recipe of a kernel of ours; nothing for any other."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        data = json.loads((Path(folder) / "kernel.json").read_text(encoding="utf-8"))
        recipe = data.get("metadata", {}).get("htcmagic", {}).get("recipe", {})
        return recipe if isinstance(recipe, dict) else {}
    return {}


def start_failure(error: Exception, name: str) -> str:
    """Return why Jupyter could not start a kernel."""
    if type(error).__name__ == "NoSuchKernel":
        return f"Jupyter hides this kernel: its provisioner is not installed here (htc-kernel doctor {name})"
    lines = str(error).splitlines()
    return f"it cannot be started: {type(error).__name__}: {lines[0] if lines else ''}".rstrip(": ")


def no_start(error: NoAnswer, manager: KernelManager, timeout_s: float) -> str:
    """Return why a kernel that was started does not answer."""
    code = getattr(getattr(manager.provisioner, "process", None), "returncode", None)
    if code is not None:
        how = f"signal {-code}" if code < 0 else f"exit status {code}"
        return f"the kernel ended before it answered, with {how}"
    return f"{error} within {timeout_s:g} s" if str(error) == "no answer" else str(error)


def tail(said: IO[bytes]) -> list[str]:
    """Return the last lines of what a kernel has said."""
    said.seek(0)
    return said.read().decode(errors="replace").splitlines()[-TAIL_LINES:]


def plain(traceback: list[str]) -> list[str]:
    """Return a traceback's last lines without colours."""
    return [re.sub(r"\x1b\[[0-9;]*m", "", line) for text in traceback for line in text.splitlines()][-2 * TAIL_LINES :]
