"""Files among the arguments of memoized Parsl apps, which Parsl itself cannot compare."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from parsl import File
from parsl.dataflow.memoization import id_for_memo


def register() -> None:
    """Have files compared by name, and by time and size where they are input; unless somebody else has told how."""
    if id_for_memo.dispatch(File) is id_for_memo.dispatch(object):
        id_for_memo.register(File)(_identity)


def _identity(file: Any, output_ref: bool = False) -> bytes:  # noqa: FBT001, FBT002 - Parsl's way to call it
    known = [str(file.url)]
    if not output_ref and file.scheme == "file" and Path(file.path).exists():
        found = os.stat(file.path)  # noqa: PTH116 - one look for both
        known += [str(found.st_mtime_ns), str(found.st_size)]
    return "\0".join(known).encode()
