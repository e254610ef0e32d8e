"""Kernels that others made, in a folder of the test's own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from htcmagic.kernels import processes

IPYKERNEL = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]


class Kernels:
    """A folder of kernels that Jupyter looks in first."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.folder = base / "share" / "kernels"
        self.folder.mkdir(parents=True)

    def add(self, name: str, argv: list[str] | None = None, **more: object) -> Path:
        """Write a kernel.json."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        data = {"argv": argv or IPYKERNEL, "display_name": f"Kernel {name}", "language": "python", **more}
        (folder / "kernel.json").write_text(json.dumps(data))
        return folder

    def wrapped(self, name: str, script: str, words: list[str] | None = None, **more: object) -> Path:
        """Write a kernel whose command is a script."""
        arguments = ["-f", "{connection_file}"] if words is None else words
        folder = self.add(name, ["{resource_dir}/go.sh", *arguments], **more)
        (folder / "go.sh").write_text(script.replace("PYTHON", sys.executable))
        (folder / "go.sh").chmod(0o755)
        return folder

    def stack(self, name: str, setup: str, verify: str = "", **values: object) -> Path:
        """Write a stack."""
        folder = self.base / "share" / "htcmagic" / "kernelspecs" / name
        folder.mkdir(parents=True)
        lines = [f"{key} = {json.dumps(value)}" for key, value in {"title": name.title(), **values}.items()]
        (folder / "stack.toml").write_text("\n".join(lines) + "\n")
        (folder / "setup.sh").write_text(setup)
        if verify:
            (folder / "verify.py").write_text(verify)
        return folder


@contextlib.contextmanager
def own_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernels]:
    """Have all of Jupyter's and htcmagic's folders below the test's own."""
    made = Kernels(tmp_path)
    settings = {
        "JUPYTER_PATH": tmp_path / "share",
        "JUPYTER_DATA_DIR": tmp_path / "data",
        "JUPYTER_RUNTIME_DIR": tmp_path / "runtime",
        "JUPYTER_CONFIG_DIR": tmp_path / "config",
        "IPYTHONDIR": tmp_path / "ipython",
        "HTCMAGIC_HOME": tmp_path / "htcmagic",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, str(value))
    yield made
    left = related(str(tmp_path))
    processes.end(left)
    assert [" ".join(one.words) for one in left] == []


def related(text: str) -> list[processes.Process]:
    """Return the processes that show `text` in their command line, or were started with it."""
    others = [one for one in processes.everything().values() if one.pid != os.getpid()]
    return [one for one in others if any(text in word for word in one.words) or text in str(one.environment)]


def run(*words: str, limit_s: float = 120) -> subprocess.CompletedProcess[str]:
    """Run htc-kernel."""
    command = [sys.executable, "-m", "htcmagic.cli.kernel", *words]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=limit_s, check=False, stdin=subprocess.DEVNULL
    )


def serve(name: str, connection_file: Path) -> subprocess.Popen[bytes]:
    """Start a kernel as a server does, and wait until it is there."""
    words = [sys.executable, "-m", "htcmagic.kernels.check_server", name, str(connection_file)]
    server = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )
    assert server.stdout is not None
    assert server.stdout.readline().startswith(b"started")
    return server


def until(condition, limit_s: float = 30) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)
