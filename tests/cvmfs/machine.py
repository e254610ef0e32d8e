"""A machine with /cvmfs: a user's folders, and steps of :mod:`work` that are done there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from cvmfs import namespace

WORK = Path(__file__).with_name("work.py")


class Machine:
    """A user on a machine that sees `tree` at /cvmfs.

    Parameters
    ----------
    tree : Path
        The folder to show there.
    folder : Path
        An empty one: home, notebooks, kernels.
    """

    def __init__(self, tree: Path, folder: Path) -> None:
        self.tree = tree
        self.home, self.notebooks, self.jupyter = folder / "home", folder / "notebooks", folder / "jupyter"
        self.kernels = self.jupyter / "kernels"
        self.stacks = self.home / ".local/share/jupyter/htcmagic/kernelspecs"
        for one in (self.home, self.notebooks, self.kernels):
            one.mkdir(parents=True)
        self.grafts: dict[str, Path] = {}
        self.system = namespace.EL9
        self.env = {
            "PATH": os.defpath,
            "HOME": str(self.home),
            "USER": "somebody",
            "LANG": "C.UTF-8",
            "SHELL": "/bin/bash",
            "HTCMAGIC_HOME": str(folder / "htcmagic"),
            "JUPYTER_PATH": str(self.jupyter),
            "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
            "JUPYTER_PLATFORM_DIRS": "0",
            "IPYTHONDIR": str(folder / "ipython"),
            "KERNELS": str(self.kernels),
            "TMPDIR": str(folder),
        }

    def do(self, *steps: tuple[str, dict[str, Any]], timeout: float = 120) -> list[Any]:
        """Do steps in one process inside; their answers."""
        done = namespace.inside(
            self.tree,
            [sys.executable, str(WORK), json.dumps(steps)],
            grafts=self.grafts,
            system=self.system,
            env=self.env,
            cwd=self.notebooks,
            timeout=timeout,
        )
        assert done.returncode == 0, done.stderr
        answers = json.loads(done.stdout)
        assert isinstance(answers, list)
        return answers

    def one(self, step: str, **values: Any) -> Any:
        """Do one step; its answer."""
        return self.do((step, values))[0]

    def command(self, *words: str, timeout: float = 120, **env: str) -> subprocess.CompletedProcess[str]:
        """Run ``htc-kernel`` with words."""
        program = [sys.executable, "-m", "htcmagic.cli.kernel", *words]
        env = {**self.env, **env}
        return namespace.inside(
            self.tree, program, grafts=self.grafts, system=self.system, env=env, cwd=self.notebooks, timeout=timeout
        )

    def stack(self, name: str, toml: str, setup: str, *, within: Path | None = None, **files: str) -> Path:
        """Write a stack of the user's own, or below `within`; its folder."""
        folder = (within or self.stacks) / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "stack.toml").write_text(toml)
        (folder / "setup.sh").write_text(setup)
        for file, text in files.items():
            (folder / file.replace("_", ".")).write_text(text)
        return folder
