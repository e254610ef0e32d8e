"""The engines' packages: imported when used, and asked for in one line where they are missing."""

from __future__ import annotations

import contextlib
import importlib
import warnings
from importlib import metadata
from typing import Any

from htcmagic.errors import HTCMagicError

TESTED = {"parsl": ("2025.1", "2026.10"), "dask_jobqueue": ("0.9", "0.9"), "ipyparallel": ("9.0.2", "9.2")}
"""The oldest and the newest that we have tried."""
EXTRAS = {"parsl": "parsl", "dask_jobqueue": "dask", "ipyparallel": "ipyparallel"}
TITLES = {"parsl": "Parsl", "dask_jobqueue": "dask-jobqueue", "ipyparallel": "ipyparallel"}

_told: set[str] = set()


def needed(name: str) -> Any:
    """Return a package.

    Raises
    ------
    HTCMagicError
        It is not installed, cannot be imported, or is too old.
    """
    title, install = TITLES[name], f"%pip install 'htcmagic[{EXTRAS[name]}]'"
    version, (oldest, newest) = _installed(name), TESTED[name]
    least, most = _number(oldest), _number(newest)
    if version and _number(version) < least:
        raise HTCMagicError(f"{title} {version} is too old: tried are {oldest} to {newest}.", hint=install)
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = f"{title} is not installed in this kernel." if error.name == name else f"{title}: {error}."
        raise HTCMagicError(missing, hint=install) from None
    except Exception as error:  # noqa: BLE001 - whatever a broken installation raises
        raise HTCMagicError(f"{title} cannot be imported: {type(error).__name__}: {error}", hint=install) from None
    if version and _number(version)[: len(most)] > most and name not in _told:
        _told.add(name)
        warnings.warn(f"{title} {version} is newer than what we have tried: {oldest} to {newest}.", stacklevel=3)
    return module


def _installed(name: str) -> str:
    """Return the version, also of a package that cannot be imported; empty if nothing tells it."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(name.replace("_", "-"))
    return ""


def _number(version: str) -> tuple[int, ...]:
    found = []
    for part in version.split(".")[:3]:
        digits = "".join(c for c in part if c.isdigit())
        found.append(int(digits or 0))
    return tuple(found)
