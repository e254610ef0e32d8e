"""Where modules come from: a distribution and its version, or files of the user's own and what is in them."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib import metadata
from pathlib import Path

Stamp = tuple[tuple[str, int], ...]
"""Folders on Python's path and when they were changed: what is installed cannot change without it."""


def origin(module: str) -> str:
    """Return what stands for a module's code: equal as long as that is.

    Returns
    -------
    str
        ``numpy==2.4.6`` for what was installed; for modules of the user's own, which includes what was installed to be
        edited, a digest of their files and of what these import; empty for Python itself.
    """
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names:
        return ""
    found: dict[str, str] = {}
    _collect(top, _stamp(), found)
    return " ".join(f"{name}:{told}" for name, told in sorted(found.items()) if told)


def is_own(module: str) -> bool:
    """Whether a module is the user's own, and not one that was installed."""
    return bool(_installed(module.partition(".")[0], _stamp())[1])


def _collect(top: str, stamp: Stamp, found: dict[str, str]) -> None:
    if top in found or top == "__main__":
        return
    told, place = _installed(top, stamp)
    found[top] = told
    if place:
        digest = hashlib.blake2b(digest_size=16)
        for file in _files(Path(place)):
            content, imports = _source(str(file), *_state(file))
            digest.update(str(file.relative_to(Path(place).parent)).encode("utf-8", "surrogateescape") + b"\0")
            digest.update(content)
            for name in imports:
                _collect(name, stamp, found)
        found[top] = digest.hexdigest()


@lru_cache(maxsize=1024)
def _installed(top: str, stamp: Stamp) -> tuple[str, str]:
    """Return a module's distribution and version, or the file or folder that it is."""
    if top in sys.stdlib_module_names or top in sys.builtin_module_names:
        return "", ""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    places = [spec.origin] if spec is not None and spec.origin and not folders else folders
    if places:
        versions = _versions([top], places) or _versions(_distributions(_packages(stamp)).get(top, ()), places)
        if versions:
            return versions, ""
    ours = [place for place in places if not _is_installed(place)]
    if ours:
        return "", ours[0]
    return str(getattr(sys.modules.get(top), "__version__", "?")), ""


def _versions(names: Iterable[str], places: list[str]) -> str:
    """Return distributions with their versions, of those that were installed to where the module lies."""
    told = set()
    for name in names:
        try:
            found = metadata.distribution(name)
        except (metadata.PackageNotFoundError, ValueError):
            continue
        base = str(found.locate_file(""))
        if any(place.startswith(base) for place in places):
            told.add(f"{name}=={found.version}")
    return " ".join(sorted(told))


def _packages(stamp: Stamp) -> Stamp:
    return tuple(one for one in stamp if "-packages" in one[0])


def _is_installed(place: str) -> bool:
    return "site-packages" in place or "dist-packages" in place or place.startswith((sys.prefix, sys.base_prefix))


@lru_cache(maxsize=4)
def _distributions(stamp: Stamp) -> dict[str, list[str]]:  # noqa: ARG001 - what it depends on
    """Return the distributions of each module: a fifth of a second, so once."""
    return dict(metadata.packages_distributions())


def _stamp() -> Stamp:
    found = []
    for folder in sys.path:
        try:
            found.append((folder, Path(folder or ".").stat().st_mtime_ns))
        except OSError:
            continue
    return tuple(found)


def _files(place: Path) -> Iterator[Path]:
    if place.is_dir():
        yield from sorted(file for file in place.rglob("*.py") if file.is_file())
    else:
        yield place


def _state(file: Path) -> tuple[int, int]:
    info = file.stat()
    return info.st_mtime_ns, info.st_size


@lru_cache(maxsize=8192)
def _source(file: str, changed: int, size: int) -> tuple[bytes, frozenset[str]]:  # noqa: ARG001 - what it depends on
    """Return a digest of a file and the names of the modules that it imports."""
    data = Path(file).read_bytes()
    imports: set[str] = set()
    try:
        for node in ast.walk(ast.parse(data)) if file.endswith(".py") else ():
            if isinstance(node, ast.Import):
                imports |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imports.add(node.module.partition(".")[0])
    except (SyntaxError, ValueError, RecursionError):
        pass
    return hashlib.blake2b(data, digest_size=16).digest(), frozenset(imports)
