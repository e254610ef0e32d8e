"""An ipykernel that fits somebody else's python, kept beside it: for images and stacks that have none.

pip fetches it for the version, the machine and the C library that the python told; nothing of it is run here. The
folder is put behind the python's own packages, so that nothing the stack has is replaced.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from htcmagic import places
from htcmagic.errors import KernelError

OLDEST = (3, 6)
_BY_HAND = "Or install ipykernel into that python yourself."
# What ipykernel needs on older pythons only; pip decides that by the python that runs it, not by the one it is for.
_ONLY_BELOW = {(3, 12): ("typing_extensions",), (3, 11): ("exceptiongroup",), (3, 10): ("importlib_metadata", "zipp")}


def prepare(python: str, machine: str, libc: str) -> Path:
    """Return a folder with an ipykernel for a python; fetch it first if need be.

    Parameters
    ----------
    python : str
        Its version, as ``3.9.2``.
    machine : str
        As ``x86_64``.
    libc : str
        As ``glibc 2.28`` or ``musl 1.2``; empty for one that does not say, as with musl of old.

    Raises
    ------
    KernelError
        There is no pip here, or none is to be had for that python.
    """
    numbers = tuple(int(part) for part in re.findall(r"\d+", python)[:2])
    if len(numbers) < 2 or numbers < OLDEST:
        raise KernelError(
            f"There is no ipykernel to put beside a python {python}.", hint="It takes python 3.6 or later."
        )
    version = ".".join(map(str, numbers))
    tag = re.sub(r"[^\w.-]+", "-", f"python{version}-{machine}-{libc or 'musl'}")
    final = places.home() / "ipykernel" / tag
    if (final / "ipykernel").is_dir():
        return final
    if importlib.util.find_spec("pip") is None:
        raise KernelError(
            f"pip is missing in {sys.executable}, so no ipykernel can be fetched.",
            hint=f"Run: {sys.executable} -m ensurepip. {_BY_HAND}",
        )
    try:
        final.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".new-", dir=final.parent))
    except OSError as error:
        raise KernelError(
            f"Cannot write to {error.filename}: {error.strerror}.", hint="Set HTCMAGIC_HOME to a folder of your own."
        ) from None
    try:
        _fetch(work / "made", version, numbers, _platforms(machine, libc))
        work.chmod(0o755)
        with contextlib.suppress(OSError):  # somebody else was faster
            (work / "made").rename(final)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return final


def _platforms(machine: str, libc: str) -> list[str]:
    """Return the names under which packages for that machine and C library are published, best first."""
    kind, _, version = libc.partition(" ")
    numbers = [int(part) for part in re.findall(r"\d+", version)[:2]]
    if kind != "glibc":
        newest = numbers[1] if len(numbers) == 2 else 2
        return [f"musllinux_1_{minor}_{machine}" for minor in range(newest, -1, -1)]
    newest = numbers[1] if len(numbers) == 2 else 17
    names = [f"manylinux_2_{minor}_{machine}" for minor in range(newest, 4, -1)]
    aliases = {"manylinux2014": 17, "manylinux2010": 12, "manylinux1": 5}
    return names + [f"{alias}_{machine}" for alias, least in aliases.items() if newest >= least]


def _fetch(target: Path, version: str, numbers: tuple[int, ...], platforms: list[str]) -> None:
    more = [name for below, names in _ONLY_BELOW.items() if numbers < below for name in names]
    words = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
        "--no-compile",
    ]
    words += ["--target", str(target), "--only-binary=:all:", "--implementation", "cp", "--python-version", version]
    words += [word for name in platforms for word in ("--platform", name)]
    done = subprocess.run(
        [*words, "ipykernel", *more],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env={
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PIP_TARGET", "PIP_PREFIX", "PIP_USER"))
        },
        check=False,
    )
    if done.returncode or not (target / "ipykernel").is_dir():
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.startswith("ERROR")] or [
            "pip said nothing"
        ]
        raise KernelError(
            f"No ipykernel for python {version} could be fetched: {lines[-1].removeprefix('ERROR: ')[:200]}",
            hint=f"Is the network up? {_BY_HAND}",
        )
