"""What a function may use while it runs in a job: ``htcmagic.progress``, ``htcmagic.output_dir``, ``htcmagic.File``.

On the worker this module comes along without the rest of htcmagic; elsewhere its functions do what makes sense there.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

_report: Callable[[float, float], None] | None = None
_folder: Path | None = None


class File:
    """A file that comes home: what a function returns in place of the file's content.

    Parameters
    ----------
    path : str or Path
        The file in the job; it is copied when the function has returned. On this side, ``path`` is where it is now.

    Examples
    --------
    >>> File("fit.root").path.name
    'fit.root'
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"File({str(self.path)!r})"


def progress(done: float, total: float) -> None:
    """Say how far a job is; the bar in the notebook moves, through the event log and without a query.

    Parameters
    ----------
    done, total : float
        So many of so many. Outside of a job this does nothing.
    """
    if _report is not None:
        _report(done, total)


def output_dir() -> Path:
    """Return the folder whose files come home beside the result; in a job a new one for each call of the function."""
    global _folder  # noqa: PLW0603
    if _folder is None:
        import tempfile  # noqa: PLC0415 - 8 ms that no job waits for

        _folder = Path(tempfile.mkdtemp(prefix="htcmagic-output-"))
    _folder.mkdir(parents=True, exist_ok=True)
    return _folder


def begin(folder: Path, report: Callable[[float, float], None] | None) -> None:
    """Be told by the runner where the next call's files go, and how its progress is reported."""
    global _folder, _report
    _folder, _report = folder, report
