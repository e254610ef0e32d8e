"""A function that is a node of a DAG: one task; its arguments may be the results of earlier nodes."""

from __future__ import annotations

import os
from pathlib import Path

from htcmagic.functions.remote import core, parents, records


def main(folder: Path, number: str, *, transferred: bool) -> int:
    """Run one node.

    Parameters
    ----------
    folder : Path
        The run's folder, or the job's scratch folder where files were copied.
    number : str
        The node's files are called so.
    transferred : bool
        Whether the files were copied: then all lie in the job's folder itself.

    Returns
    -------
    int
        1 where the function has failed, for DAGMan to know; what it raised is in the result.
    """
    home = folder if transferred else folder / "nodes"
    functions = folder if transferred else folder / "functions"
    parents.home = home
    context = core.here()
    os.chdir(context.scratch)
    ((header, body),) = records.split((home / f"{number}.task").read_bytes())
    result = core.execute(context, header, body, (functions / header["function"]).read_bytes)
    records.save(home / f"{number}.result", [result])
    if "folder" in result[0]:
        records.remove(Path(result[0]["folder"]))
    return 0 if result[0]["ok"] else 1
