"""Conda's and mamba's environments, found without asking them: conda takes seconds to answer."""

from __future__ import annotations

import os
from pathlib import Path


def environments() -> dict[str, str]:
    """Return conda's and mamba's environments that have a python: name to folder."""
    env, home = os.environ, Path.home()
    roots = [env.get("MAMBA_ROOT_PREFIX"), env.get("CONDA_ROOT")]
    roots += [str(Path(env["CONDA_EXE"]).parents[1])] if env.get("CONDA_EXE", "").count("/") > 2 else []
    roots += [str(home / name) for name in ("miniforge3", "miniconda3", "anaconda3", "mambaforge", "micromamba")]
    bases = [Path(root) for root in roots if root]
    shelves = [
        Path(one) for key in ("CONDA_ENVS_PATH", "CONDA_ENVS_DIRS") for one in env.get(key, "").split(":") if one
    ]
    shelves += [*(base / "envs" for base in bases), home / ".conda" / "envs"]
    found = {"base": next((base for base in bases if (base / "bin" / "python").exists()), home)}
    try:
        noted = (home / ".conda" / "environments.txt").read_text(errors="replace").split("\n")
    except OSError:
        noted = []
    for folder in [
        *(Path(line) for line in noted if line),
        *(one for shelf in reversed(shelves) for one in _below(shelf)),
    ]:
        found[folder.name] = folder
    return {name: str(folder) for name, folder in found.items() if os.access(folder / "bin" / "python", os.X_OK)}


def _below(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
