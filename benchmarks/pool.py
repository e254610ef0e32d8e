"""A personal pool of the benchmarks' own, gone when they end."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from worker import Worker

from htcmagic.pool import personal, programs

IDLE_S = 2.5
"""Pause before a job, so that it finds an idle pool: right after another the pool waits for its next round."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where the benchmarks run.

    Attributes
    ----------
    folder : Path
        Empty at first; deleted at the end.
    env : dict
        The environment in which HTCondor's programs and bindings use the pool.
    """

    folder: Path
    env: dict[str, str]

    def ours(self, program: str = "ours") -> Worker:
        """Start a process with our magics."""
        return Worker(program, self.folder)

    def peers(self, program: str = "peers") -> Worker:
        """Start a process with HTCondor's bindings, or another peer; HTCondor's programs are on its PATH."""
        return Worker(program, self.folder, self.tools_env)

    @property
    def tools_env(self) -> dict[str, str]:
        """The environment, with HTCondor's programs and this Python's on PATH."""
        found = programs.find()
        assert found is not None
        folders = [str(Path(sys.executable).parent), str(found.bin), str(found.sbin), self.env.get("PATH", os.defpath)]
        return {**self.env, "PATH": os.pathsep.join(folders)}

    def tool(self, name: str, *arguments: str) -> str:
        """Run one of HTCondor's programs; return what it wrote."""
        found = programs.find()
        assert found is not None
        command = [str(found.program(name)), *arguments]
        return subprocess.run(command, env=self.env, stdout=subprocess.PIPE, text=True, check=True).stdout

    def measured(self, name: str, *arguments: str) -> tuple[float, float]:
        """Run one of HTCondor's programs; return its seconds, and its memory at its largest in MiB."""
        found = programs.find()
        assert found is not None
        began = time.perf_counter()
        with subprocess.Popen([str(found.program(name)), *arguments], env=self.env, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.read()
            _, status, used = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return seconds, used.ru_maxrss / 1024

    def clear(self) -> None:
        """Empty the queue, so that what follows finds an idle schedd."""
        with self.peers() as peers:
            peers.do("remove", constraint="true")

    def rest(self) -> None:
        """Wait until the pool is idle."""
        self.clear()
        time.sleep(IDLE_S)


@contextlib.contextmanager
def bench() -> Iterator[Bench]:
    """Start the pool; take it down with all its files, whatever happens."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or every process would compile ours anew, and not the peers'
    for name in list(os.environ):
        if name.upper().startswith(("_CONDOR_", "CONDOR_CONFIG")):
            del os.environ[name]  # whatever pool this machine belongs to, the benchmarks bring their own
    programs_dir = Path(os.environ.get("HTCMAGIC_HOME", Path.home() / ".local/share/htcmagic")) / "programs"
    os.environ.setdefault("HTCMAGIC_PROGRAMS", str(programs_dir))
    if programs.find() is None:
        raise SystemExit("HTCondor's programs are missing. Run: make setup")
    with tempfile.TemporaryDirectory(prefix="htcmagic-bench-") as folder:
        os.environ["HTCMAGIC_HOME"] = str(Path(folder) / "home")
        try:
            personal.up()
            yield Bench(Path(folder), personal.environment())
        finally:
            personal.down(purge=True)
