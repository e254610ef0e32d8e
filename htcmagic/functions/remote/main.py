"""The program of a job: ``python htcmagic.pyz MODE FOLDER …``."""

from __future__ import annotations

import atexit
import os
import sys
from pathlib import Path


def main(arguments: list[str]) -> int:
    """Do as told.

    Parameters
    ----------
    arguments : list of str
        Mode and folder of the run; then what the mode wants.
    """
    mode, folder = arguments[:2]
    scratch = os.environ.get("_CONDOR_SCRATCH_DIR", "")
    transferred = bool(scratch) and (Path(scratch) / Path(sys.argv[0]).name).exists()
    if scratch and scratch not in sys.path:
        sys.path.insert(1, scratch)
    if mode == "static":
        from htcmagic.functions.remote import static  # noqa: PLC0415 - the other mode's modules are not needed

        home = Path(scratch) if transferred else Path(folder)
        return leave(static.main(home, arguments[2], transferred=transferred))
    if mode == "node":
        from htcmagic.functions.remote import node  # noqa: PLC0415

        return leave(node.main(Path(scratch if transferred else folder), arguments[2], transferred=transferred))
    from htcmagic.functions.remote import pull  # noqa: PLC0415

    return pull.main(Path(folder), arguments[2:], transferred=transferred)


def leave(status: int) -> int:
    """End this process now, but for threads, exit functions and output: taking Python apart takes 8 ms more."""
    try:
        if "threading" in sys.modules:
            sys.modules["threading"]._shutdown()  # noqa: SLF001 - as Python itself begins its end
        atexit._run_exitfuncs()  # noqa: SLF001
        sys.stdout.flush()
        sys.stderr.flush()
    except Exception:  # noqa: BLE001 - Python's own way tells of it
        return status
    os._exit(status)
