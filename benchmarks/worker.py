"""A Python process that does timed things when told to: orders in, figures out, one JSON line each."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

HERE = Path(__file__).resolve().parent


class Worker:
    """The parent's end.

    Parameters
    ----------
    program : str
        The module beside this one that does the work: ``ours``, ``peers``, …
    folder : Path
        Where it stands.
    env : dict, optional
        Its environment; ours if not given.
    """

    def __init__(self, program: str, folder: Path, env: dict[str, str] | None = None) -> None:
        self._errors = folder / f"{program}.err"
        with self._errors.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / f"{program}.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=folder,
                env=env,
                text=True,
                start_new_session=True,
            )

    def do(self, order: str, **arguments: object) -> dict[str, Any]:
        """Have it do something and return what it measured."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps({"order": order, **arguments}) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            tail = self._errors.read_text(errors="replace").strip().splitlines()[-3:]
            raise RuntimeError(" ".join([f"{order} failed:", *tail]))
        measured: dict[str, Any] = json.loads(answer)
        return measured

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pid in session(self.process.pid):  # what a peer has left behind
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def session(leader: int) -> list[int]:
    """Return the processes that still belong to a session."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and (entry / "stat").read_text().rpartition(")")[2].split()[3] == str(leader):
                found.append(int(entry.name))
    return found


def serve(*functions: Callable[..., dict[str, Any]]) -> None:
    """Be the child's end: run the function named in each order; what it prints goes nowhere."""
    answers = os.fdopen(os.dup(1), "w")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    by_name = {function.__name__: function for function in functions}
    for line in sys.stdin:
        order = json.loads(line)
        answers.write(json.dumps(by_name[order.pop("order")](**order)) + "\n")
        answers.flush()
