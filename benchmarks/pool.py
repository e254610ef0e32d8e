"""A personal pool of the benchmarks' own, gone when they end."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from worker import Worker

from htcmagic.pool import personal, programs


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

    def ours(self) -> Worker:
        """Start a process with our magics."""
        return Worker("ours", self.folder)

    def peers(self) -> Worker:
        """Start a process with HTCondor's bindings."""
        return Worker("peers", self.folder, self.env)

    def tool(self, name: str, *arguments: str) -> str:
        """Run one of HTCondor's programs; return what it wrote."""
        found = programs.find()
        assert found is not None
        command = [str(found.program(name)), *arguments]
        return subprocess.run(command, env=self.env, stdout=subprocess.PIPE, text=True, check=True).stdout

    def clear(self) -> None:
        """Empty the queue, so that what follows finds an idle schedd."""
        with self.peers() as peers:
            peers.do("remove", constraint="true")


@contextlib.contextmanager
def bench() -> Iterator[Bench]:
    """Start the pool; take it down with all its files, whatever happens."""
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
