"""Batches of tasks: their names, and what is in them."""

from __future__ import annotations

import sys
from pathlib import Path

from htcmagic.functions.remote import records
from htcmagic.functions.remote.records import Header

Task = tuple[Header, bytes]
"""Header (``id``, ``function``), and its pickled arguments."""


def tasks(file: Path) -> list[Task]:
    """Return the tasks in a file."""
    return records.split(file.read_bytes())


def shared(header: Header) -> Header:
    """Return a header whose texts are not kept anew for each of many results."""
    for name in ("host", "job", "python"):
        if name in header:
            header[name] = sys.intern(str(header[name]))
    return header


def seq(batch: str) -> str:
    """Return a batch's number; those that were split off have the same."""
    return batch.partition("-")[0].partition(".")[0]


def count(batch: str) -> int:
    """Return how many tasks a batch has."""
    return int(batch.rpartition("-")[2])
