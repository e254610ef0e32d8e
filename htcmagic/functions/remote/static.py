"""A job with tasks of its own: reads them from one file, writes their results to another."""

from __future__ import annotations

import faulthandler
import os
from pathlib import Path

from htcmagic.functions.remote import core, records


def main(home: Path, chunk: str, *, transferred: bool) -> int:
    """Run the tasks of one file.

    Parameters
    ----------
    home : Path
        The folder of the tasks: the run's own, or the job's scratch folder where files were copied.
    chunk : str
        The file's name below ``chunks``; also that of the results below ``results``.
    transferred : bool
        Whether the files were copied: then all lie in the job's folder itself.

    Returns
    -------
    int
        0: what became of the tasks is in the results. 1 where the job is one cell, and that failed.
    """
    source = home / chunk if transferred else home / "chunks" / chunk
    target = home / f"{chunk}.result" if transferred else home / "results" / chunk
    functions = home if transferred else home / "functions"
    context = core.here()
    os.chdir(context.scratch)
    faulthandler.enable()  # a crash says where

    ok = True
    with target.open("wb") as stream:  # read when the job has ended; should a task end it, those before are there
        for task, body in records.split(source.read_bytes()):
            header, parts = core.execute(context, task, body, (functions / task["function"]).read_bytes)
            records.write(stream, header, parts)
            stream.flush()
            if "folder" in header:
                records.remove(Path(header["folder"]))
            ok = bool(header["ok"])
    return 1 if not ok and any(map(core.is_cell, context.functions.values())) else 0
