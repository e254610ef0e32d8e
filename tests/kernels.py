"""Kernels of ours, started from their folder by a real jupyter_client; what runs below a process; a folder for each."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from conftest import Kernel, Outcome

from htcmagic.kernels import kernelspec
from htcmagic.kernels.recipe import Recipe
from htcmagic.kernels.stack import Stack


def write(recipe: Recipe, folder: Path, stack: Stack | None = None) -> Path:
    """Write a kernel's files below `folder`; return the kernel's own folder."""
    made = folder / recipe.name
    made.mkdir(parents=True, exist_ok=True)
    for name, content in kernelspec.contents(recipe, stack, None, "htc-kernel create").items():
        (made / name).write_bytes(content)
        (made / name).chmod(0o755 if name in kernelspec.PROGRAMS else 0o644)
    return made


def sourcing(folder: Path, setup: str, name: str = "mine", **more: Any) -> Path:
    """Write a kernel that sources a script with the text `setup`; return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / f"{name}.source.sh"
    script.write_text(setup)
    values = {"python": sys.executable, "creator": sys.executable, **more}
    return write(Recipe(name=name, title=name, sources=(str(script),), **values), folder)


DUMP = """
import json, os, resource, sys
fds = {}
for fd in os.listdir("/proc/self/fd"):
    try:
        fds[fd] = os.readlink("/proc/self/fd/" + fd)
    except OSError:
        pass
json.dump({
    "env": {os.fsencode(n).decode("latin-1"): os.fsencode(v).decode("latin-1") for n, v in os.environ.items()},
    "umask": os.umask(0), "stack": resource.getrlimit(resource.RLIMIT_STACK)[0], "cwd": os.getcwd(), "fds": fds,
    "argv": sys.argv, "children": [c for t in os.listdir("/proc/self/task")
                                   for c in open(f"/proc/self/task/{t}/children").read().split()],
}, sys.stdout)
"""
"""Tells what a process was given; strings are bytes, as latin-1."""


def ask(
    folder: Path,
    *words: str,
    env: Mapping[str, str] | Mapping[bytes, bytes] | None = None,
    timeout: float = 60,
    **more: Any,
) -> subprocess.CompletedProcess[str]:
    """Run ``setup.sh`` with some words, in this environment or just the one given."""
    return subprocess.run(
        [str(folder / "setup.sh"), *words],
        env=env, capture_output=True, text=True, errors="replace", timeout=timeout, check=False, **more,
    )  # fmt: skip


def given(folder: Path, env: Mapping[str, str] | Mapping[bytes, bytes] | None = None, **more: Any) -> dict[str, Any]:
    """Return what the python of a kernel is given by its wrapper: environment, masks, open files."""
    done = ask(folder, "--python", "-c", DUMP, env=env, **more)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.replace("\ufffd", "?"))
    told["said"] = done.stderr
    return told


class Started(Kernel):
    """A running kernel of a folder.

    Attributes
    ----------
    manager, client : object
        Of jupyter_client.
    """

    def __init__(self, folder: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> None:
        self.manager = manager(folder)
        self.log = folder.parent / f"{folder.name}.stderr"
        self._log = self.log.open("ab")  # restarts use it again
        told = {"stdout": self._log, "stderr": self._log}
        self.manager.start_kernel(env={**os.environ, **(env or {})}, cwd=str(cwd or folder.parent), **told)
        self.client = self.manager.client()
        self.client.start_channels()

    @property
    def pid(self) -> int:
        """The process that Jupyter knows."""
        pid = self.manager.provisioner.pid
        assert pid is not None
        return pid

    @property
    def said(self) -> str:
        """What has come out of it on stderr."""
        return self.log.read_text(errors="replace")

    def ready(self, timeout: float = 60) -> None:
        """Wait until it answers."""
        self.client.wait_for_ready(timeout=timeout)

    def run(self, code: str, timeout: float = 60, **more: Any) -> Outcome:
        """Execute a cell and collect what it gives; a timeout is a failure."""
        self.send(code, **more)
        return self.collect(timeout)

    def send(self, code: str, **more: Any) -> None:
        """Execute a cell and return at once; :meth:`collect` gets what it gives."""
        self.message = self.client.execute(code, **more)

    def stop(self) -> None:
        """End it."""
        super().stop()
        self._log.close()


def manager(folder: Path) -> Any:
    """Return jupyter_client's manager of the kernel in a folder, wherever that is."""
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
    from jupyter_client.manager import KernelManager

    class Specs(KernelSpecManager):
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            assert kernel_name == folder.name
            return KernelSpec.from_resource_dir(str(folder))

    return KernelManager(kernel_name=folder.name, kernel_spec_manager=Specs())


@contextlib.contextmanager
def started(
    folder: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None, *, ready: bool = True
) -> Iterator[Started]:
    """Run the kernel of a folder, with variables added to the environment; it is gone at the end."""
    kernel = Started(folder, env, cwd)
    try:
        if ready:
            kernel.ready()
        yield kernel
    finally:
        kernel.stop()


def group(leader: int) -> dict[int, str]:
    """Return the living processes of a process group and their command lines."""
    found = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            state, _, pgrp = (entry / "stat").read_text().rpartition(") ")[2].split()[:3]
            if int(pgrp) == leader and state not in "ZX":
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return found


def gone(leader: int, within_s: float) -> bool:
    """Wait until nothing lives in a process group; kill the rest if that takes too long."""
    deadline = time.monotonic() + within_s
    while group(leader):
        if time.monotonic() > deadline:
            for pid in group(leader):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            return False
        time.sleep(0.05)
    return True


def below(word: str) -> list[int]:
    """Return the living processes whose environment has a value with `word` in it."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if int(entry.name) != os.getpid() and word.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
    return found
