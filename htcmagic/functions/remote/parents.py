"""What a node of a DAG takes from the nodes before it: their results, read where its arguments name them."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

from htcmagic.functions import job
from htcmagic.functions.remote import records

home = Path()
"""Where the files of nodes lie: set by :mod:`.node`."""
_read: dict[str, Any] = {}


def take(number: str) -> Any:
    """Return what an earlier node has returned; in its place, a node's pickled arguments hold a call of this function.

    Parameters
    ----------
    number : str
        That node's files are called so.
    """
    if number not in _read:
        (record,) = records.scan(home / f"{number}.result")
        if not record.header["ok"]:
            raise RuntimeError(f"the node {record.header['id']} has failed, so it has no result")
        value = pickle.loads(record.part("value") or b"")
        if isinstance(value, job.File):
            folder = Path(os.environ.get("_CONDOR_SCRATCH_DIR") or Path.cwd()) / "htcmagic-parents" / number
            folder.mkdir(parents=True, exist_ok=True)
            record.save(f"file:{value.path}", folder / value.path)
            value.path = folder / value.path
        _read[number] = value
    return _read[number]
