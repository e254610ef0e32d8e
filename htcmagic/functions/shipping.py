"""The packages of this environment in one file, for jobs where it is not seen; made once, and again when it changes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import site
import sys
import sysconfig
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from htcmagic import places
from htcmagic.errors import HTCMagicError

Report = Callable[[str], None]
KEPT_S = 30 * 86400
"""How long an archive that nobody used any more is kept."""
LARGE = 50 << 20
"""Bytes from which on packing is announced."""
NEEDLESS = (".pth", ".egg-link")


def archive(*, report: Report | None = None, folders: list[Path] | None = None) -> Path:
    """Return the archive of the environment's packages; packed if there is none of just these files.

    Parameters
    ----------
    report : callable, optional
        Is told what takes long.
    folders : list of Path, optional
        Folders with packages; those of this Python if not given.

    Raises
    ------
    HTCMagicError
        It cannot be written.
    """
    found = dict(_files(packages() if folders is None else folders))
    listing, size = hashlib.sha256(sys.version.encode()), 0
    for name, path in sorted(found.items()):
        info = path.stat()
        size += info.st_size
        listing.update(f"{name}\0{info.st_size}\0{info.st_mtime_ns}\0".encode("utf-8", "surrogateescape"))
    shelf = places.private(places.home() / "environments")
    target = shelf / f"packages-{listing.hexdigest()[:16]}.tar.gz"
    _forget_older(shelf, target)
    if target.exists():
        with contextlib.suppress(OSError):
            os.utime(target)
        return target
    if report is not None and size > LARGE:
        report(f"Packing this environment's packages: {size >> 20} MB. It is done again only when they change.")
    _pack(found, target)
    return target


def packages() -> list[Path]:
    """Return the folders that hold this environment's packages, first wins; none of PYTHONPATH's, nor Python's own."""
    homes = [*site.getsitepackages(), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    if site.ENABLE_USER_SITE:
        homes.insert(0, site.getusersitepackages())
    return [Path(home) for home in dict.fromkeys(homes) if home in sys.path and Path(home).is_dir()]


def _files(folders: list[Path]) -> Iterator[tuple[str, Path]]:
    """Yield names in the archive and files; of what is installed as a link to its source, the packages alone."""
    seen: set[str] = set()
    for folder in folders:
        for path in _below(folder):
            name = str(path.relative_to(folder))
            if name not in seen and not name.endswith(NEEDLESS):
                seen.add(name)
                yield name, path
        for linked in _linked(folder):
            for child in sorted(linked.iterdir()):
                inside = [child] if child.is_file() and child.suffix in {".py", ".so"} else []
                if (child / "__init__.py").is_file():
                    inside = list(_below(child))
                for path in inside:
                    name = str(path.relative_to(linked))
                    if name not in seen:
                        seen.add(name)
                        yield name, path


def _below(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder, links followed, each real folder once."""
    real: set[str] = set()
    for here, names, files in os.walk(folder, followlinks=True):
        if (there := os.path.realpath(here)) in real:
            names.clear()
            continue
        real.add(there)
        names.sort()
        for name in sorted(files):
            path = Path(here, name)
            if path.is_file() and os.access(path, os.R_OK):
                yield path


def _linked(folder: Path) -> Iterator[Path]:
    """Yield the folders that ``.pth`` files add."""
    for file in sorted(folder.glob("*.pth")):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            for line in file.read_text(encoding="utf-8").splitlines():
                path = folder / line.strip()
                if line.strip() and not line.startswith(("#", "import ", "import\t")) and path.is_dir():
                    yield path


def _pack(found: dict[str, Path], target: Path) -> None:
    new = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with tarfile.open(new, "w:gz", compresslevel=1, dereference=True) as packed:
            for name, path in sorted(found.items()):
                with contextlib.suppress(FileNotFoundError):
                    packed.add(path, name, recursive=False)
        new.replace(target)
    except OSError as error:
        raise HTCMagicError(
            f"Cannot write {target}: {error.strerror}.", hint="Make room, or set HTCMAGIC_HOME elsewhere."
        ) from None
    finally:
        new.unlink(missing_ok=True)


def _forget_older(shelf: Path, but: Path) -> None:
    for file in shelf.glob("packages-*.tar.gz"):
        with contextlib.suppress(OSError):
            if file != but and time.time() - file.stat().st_mtime > KEPT_S:
                file.unlink()
