"""Kernels of a test's own: Jupyter's folders, the command as a user types it, stacks and pythons made for the test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HTC_KERNEL = str(Path(sys.executable).with_name("htc-kernel"))
VENV = Path(sys.prefix)
"""An environment with ipykernel: this one."""


def isolate(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have Jupyter and htcmagic keep everything below `folder`; return where the user's kernels are."""
    monkeypatch.setenv("HOME", str(folder))
    for name, below in (("JUPYTER_DATA_DIR", "data"), ("HTCMAGIC_HOME", "htcmagic"), ("IPYTHONDIR", "ipython")):
        monkeypatch.setenv(name, str(folder / below))
    for name in ("JUPYTER_PATH", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "VIRTUAL_ENV", "JPY_PARENT_PID"):
        monkeypatch.delenv(name, raising=False)
    return folder / "data" / "kernels"


def htc_kernel(*words: str, timeout: float = 120, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return subprocess.run(
        [HTC_KERNEL, *words],
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def works(*words: str, **env: str) -> str:
    """Run the command, which must succeed; return what it printed."""
    done = htc_kernel(*words, **env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fails(*words: str, code: int = 1, **env: str) -> tuple[str, str]:
    """Run the command, which must fail; return its two lines of error."""
    done = htc_kernel(*words, **env)
    assert done.returncode == code, done.stdout
    lines = [line for line in done.stderr.splitlines() if not line.startswith("Setting ")]
    assert len(lines) == 2, done.stderr
    assert lines[0].startswith("htc-kernel")
    return lines[0], lines[1]


def kernel_json(folder: Path) -> dict[str, Any]:
    """Return what a kernel's kernel.json says."""
    data: dict[str, Any] = json.loads((folder / "kernel.json").read_text())
    return data


def add_stack(base: Path, name: str, **files: str) -> Path:
    """Write a stack into a folder of Jupyter's data; return its folder."""
    folder = base / "htcmagic" / "kernelspecs" / name
    folder.mkdir(parents=True)
    for file, text in files.items():
        (folder / file.replace("_", ".")).write_text(text)
    return folder


def leftovers(kernels: Path) -> list[str]:
    """Return what hidden things are in a folder of kernels beside its lock."""
    return [entry.name for entry in kernels.glob(".*") if entry.name != ".htcmagic.lock"]
