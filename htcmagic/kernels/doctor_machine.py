"""What may be wrong around the kernels: Jupyter's folders and settings, and what was left behind."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jupyter_core.paths import jupyter_config_path, jupyter_runtime_dir

from htcmagic import places
from htcmagic.kernels import kernelspec, processes
from htcmagic.kernels.doctor import Finding

LITTLE_BYTES = 1_000_000
OLD_S = 3600.0
OF_STACKS = (
    "LCG_VERSION",
    "BELLE2_RELEASE",
    "BELLE2_TOOLS",
    "ROOTSYS",
    "KEY4HEP_STACK",
    "CMSSW_BASE",
    "AtlasProject",
    "CONDA_PREFIX",
)
CONFIGURED = ("jupyter_config", "jupyter_server_config", "jupyter_notebook_config", "jupyter_lab_config")


def test() -> list[Finding]:
    """Return what is wrong with the machine."""
    return [*_path(), *_runtime(), *_configuration(), *_litter()]


def _path() -> Iterator[Finding]:
    for folder in filter(None, os.environ.get("JUPYTER_PATH", "").split(os.pathsep)):
        blamed = [name for name in OF_STACKS if _within(folder, os.environ.get(name, ""))]
        if folder.startswith("/cvmfs/") or blamed:
            problem = f"JUPYTER_PATH holds {folder}, of a stack that is set up here: its kernels come before yours."
            yield Finding("jupyter-path", problem, "Start the server without the stack, or first: unset JUPYTER_PATH")


def _within(folder: str, base: str) -> bool:
    return base.startswith("/") and Path(folder).is_relative_to(base)


def _runtime() -> Iterator[Finding]:
    folder = Path(jupyter_runtime_dir())
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not os.access(there, os.W_OK | os.X_OK):
        problem = f"No connection file can be written to {folder}."
        yield Finding("runtime", problem, "Make it yours and writable, or set JUPYTER_RUNTIME_DIR to a folder that is.")
        return
    info = os.statvfs(there)
    if info.f_bavail * info.f_frsize < LITTLE_BYTES:
        problem = f"The disk of {folder} is full: kernels cannot be told how to connect."
        yield Finding("full", problem, "Free some space there, or set JUPYTER_RUNTIME_DIR.")
    if folder.exists():
        owner, mode = folder.stat().st_uid, stat.S_IMODE(folder.stat().st_mode)
        if owner != os.getuid():
            remedy = "Set JUPYTER_RUNTIME_DIR to a folder of your own."
            yield Finding("runtime", f"{folder} belongs to somebody else.", remedy)
        elif mode & 0o022:
            problem = f"Others may write to {folder}, where the keys of your kernels are."
            yield Finding("runtime", problem, f"chmod 700 {folder}")
    kind = places.file_system(there)
    if kind in places.NETWORK_FILE_SYSTEMS:
        problem = f"{folder} is on a network file system ({kind}), where kernels start late and ipc sockets fail."
        yield Finding("runtime", problem, "Set JUPYTER_RUNTIME_DIR to a local folder, such as /run/user/$UID/jupyter")


def _configuration() -> Iterator[Finding]:
    for file, told in _settings():
        name = told.get("kernel_spec_manager_class")
        if isinstance(name, str) and not _importable(name.rpartition(".")[0]):
            problem = f"{file} wants {name}, which is not installed here: servers from here show no kernel at all."
            yield Finding("manager", problem, "Install its package where the server is, or take the line out.")
        for key in ("allowed_kernelspecs", "whitelist"):
            if told.get(key):
                problem = f"{file} lets Jupyter show {told[key]} only."
                yield Finding("allowed", problem, "New kernels must be added there, or the line taken out.")
        if told.get("conda_only") is True:
            problem = f"{file} hides all kernels that are not conda environments (conda_only)."
            yield Finding("conda-only", problem, "Take that line out.")


def _settings() -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the settings about kernels in each of Jupyter's configuration files."""
    for base in dict.fromkeys(jupyter_config_path()):
        files = [Path(base) / f"{name}.json" for name in CONFIGURED]
        files += [file for name in CONFIGURED for file in sorted((Path(base) / f"{name}.d").glob("*.json"))]
        for file in files:
            try:
                data = json.loads(file.read_text())
            except (OSError, ValueError):
                continue
            tables = [table for table in data.values() if isinstance(table, dict)] if isinstance(data, dict) else []
            yield file, {key: value for table in tables for key, value in table.items()}
        for name in CONFIGURED:
            file = Path(base) / f"{name}.py"
            try:
                text = file.read_text(errors="replace")
            except OSError:
                continue
            yield file, _of_python(text)


def _of_python(text: str) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for line in text.splitlines():
        found = re.match(
            r"\s*c\.\w+\.(kernel_spec_manager_class|allowed_kernelspecs|whitelist|conda_only)\s*=\s*(.*)", line
        )
        if found:
            value = found[2].partition("#")[0].strip()
            told[found[1]] = value == "True" if found[1] == "conda_only" else value.strip("'\"")
    return told


def _importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError, AttributeError):
        return False


def _litter() -> Iterator[Finding]:
    """Look for what killed commands and set-ups have left."""
    for base in kernelspec.folders():
        for folder in _old(base, ".htcmagic.*"):
            if folder.is_dir():
                yield Finding("litter", f"{folder} was left by a killed htc-kernel.", f"rm -r {folder}")
    named = [os.environ.get("XDG_RUNTIME_DIR", ""), str(places.home() / "logs"), tempfile.gettempdir(), "/tmp"]  # noqa: S108
    for base in {Path(name) for name in named if name}:
        for file in _old(base, "htcmagic.*"):
            found = re.fullmatch(r"htcmagic\.(\d+)\.\d+", file.name)
            if found and file.is_file() and processes.look(int(found[1])) is None:
                problem = f"{file} was left by a killed set-up; the environment in it may hold secrets."
                yield Finding("litter", problem, f"rm {file}")


def _old(base: Path, pattern: str) -> list[Path]:
    try:
        return [
            path
            for path in sorted(base.glob(pattern))
            if path.lstat().st_uid == os.getuid() and time.time() - path.lstat().st_mtime > OLD_S
        ]
    except OSError:
        return []
