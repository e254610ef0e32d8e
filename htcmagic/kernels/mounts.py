"""Whether files are there, asked of a file system that may hang.

What looks at a hanging network file system can perhaps not even be killed. So only child processes look, nobody waits
for them longer than the given time, and the answer that did not come is named.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping

from htcmagic.errors import StackError
from htcmagic.kernels.stack import Stack, expanded

CVMFS = "/cvmfs"
WITHIN_S = 20.0
"""Longest time for a file system to answer."""
_LOOK = """\
import glob, json, os, sys, threading
lock = threading.Lock()
def look(number, kind, path):
    try:
        if kind == "glob":
            found = sorted(glob.glob(path))
        elif kind == "there":
            found = os.path.exists(path)
        else:
            with os.scandir(path) as entries:
                found = any(True for _ in entries)
    except OSError:
        found = False
    with lock:
        os.write(1, (json.dumps([number, found]) + "\\n").encode())
for number, (kind, path) in enumerate(json.loads(sys.argv[1])):
    threading.Thread(target=look, args=(number, kind, path)).start()
"""


def missing(stack: Stack, within_s: float = WITHIN_S) -> list[str]:
    """Return which of the stack's repositories are not mounted here.

    Raises
    ------
    StackError
        One does not answer.
    """
    answers = ask([("filled", f"{CVMFS}/{one}") for one in stack.repositories], within_s)
    for name, answer in zip(stack.repositories, answers, strict=True):
        if answer is None:
            raise silent(f"{CVMFS}/{name}", within_s)
    return [name for name, answer in zip(stack.repositories, answers, strict=True) if not answer]


def absent(stack: Stack, options: Mapping[str, str], within_s: float = WITHIN_S) -> list[str]:
    """Return which of the stack's entry scripts are not there.

    Raises
    ------
    StackError
        The file system does not answer.
    """
    files = [expanded(entry, options) for entry in stack.entries]
    answers = ask([("there", file) for file in files], within_s)
    for file, answer in zip(files, answers, strict=True):
        if answer is None:
            raise silent(file, within_s)
    return [file for file, answer in zip(files, answers, strict=True) if not answer]


def silent(path: str, within_s: float) -> StackError:
    """Return the error that says that a file system hangs."""
    return StackError(f"{path} does not answer within {within_s:g} s.", hint="Try again later, or on another machine.")


def ask(questions: list[tuple[str, str]], within_s: float) -> list[object]:
    """Return the answers of a child process that looks at files, in order; None for those that did not come in time."""
    answers: list[object] = [None] * len(questions)
    if not questions:
        return answers
    command = [sys.executable, "-I", "-S", "-c", _LOOK, json.dumps(questions)]
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert child.stdout is not None  # noqa: S101
    told = b""
    try:
        told = child.communicate(timeout=within_s)[0]
    except subprocess.TimeoutExpired as error:
        told = error.stdout or b""
    finally:
        _forget(child)
    for line in told.splitlines():
        number, answer = json.loads(line)
        answers[number] = answer
    return answers


def _forget(child: subprocess.Popen[bytes]) -> None:
    """End a child; one that hangs in the file system ends when that answers, and is not waited for."""
    if child.stdout is not None:
        child.stdout.close()
    if child.poll() is None:
        child.kill()
        end = time.monotonic() + 0.5
        while child.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        if child.returncode is None:
            child.returncode = -9  # so that nobody is warned of it
