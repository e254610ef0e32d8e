"""``python -m htcmagic.engines.lease``: waits for a kernel to end, then clears away what its engines left."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from htcmagic.kernels import processes

LOOK_S = 0.5
TRIES = 5
AGAIN_S = 1.5
ANSWER_S = 60
NOTHING = b"Couldn't find/remove all jobs"
STOPPED = "stopped"
ATTRIBUTE = "HtcmagicEngine"


def main(arguments: list[str]) -> int:
    """Wait, then clear away.

    Parameters
    ----------
    arguments : list of str
        The folder of the kernel's engines; the kernel's process number and start time.
    """
    family, pid, started_ticks = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they are meant for the kernel
    while _runs(pid, started_ticks):
        if _all_ended(family):
            return 0
        time.sleep(LOOK_S)
    engines = _engines(family)
    for folder in engines:
        _stop(folder)
    for folder in engines:
        end_processes(folder, "processes", "children")
    done = [_remove(folder) for folder in engines]
    if all(done):
        shutil.rmtree(family, ignore_errors=True)
    return 0


def _stop(folder: Path) -> None:
    with contextlib.suppress(OSError):
        (folder / STOPPED).touch()


def end_processes(folder: Path, *notes: str) -> None:
    """End an engine's own processes on this machine: an interchange, a controller.

    Parameters
    ----------
    folder : Path
        The engine's.
    *notes : str
        The files that tell of them; if not given, the one of those that are no children of the kernel's.
    """
    found = []
    for name in notes or ("processes",):
        with contextlib.suppress(OSError, ValueError):
            for line in (folder / name).read_text().splitlines():
                pid, started_ticks = map(int, line.split())
                one = processes.look(pid)
                if one is not None and one.started_ticks == started_ticks:
                    found.append(one)
    table = processes.everything() if found else {}
    below = {pid for one in found for pid in processes.below(one.pid, table)}
    processes.end([*found, *(table[pid] for pid in below)])


def _engines(family: Path) -> list[Path]:
    return [file.parent for file in family.glob("*/engine.json")]


def _all_ended(family: Path) -> bool:
    """Clear the family's folder away if its last engine was; nobody begins one at this moment."""
    if _engines(family):
        return False
    if not family.parent.exists():
        return True
    with (family.parent / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if _engines(family):
            return False
        shutil.rmtree(family, ignore_errors=True)
    return True


def _runs(pid: int, started_ticks: int) -> bool:
    found = processes.look(pid)
    return found is not None and found.started_ticks == started_ticks and found.state not in processes.GONE


def _remove(folder: Path) -> bool:
    """Remove an engine's jobs, also those that are finished but wait to be looked at; say whether that was done.

    It is done twice, as a submission may have been under way.
    """
    for _ in range(TRIES):
        if _removed(folder):
            time.sleep(AGAIN_S)
            return _removed(folder)
        time.sleep(AGAIN_S)
    return False


def _removed(folder: Path) -> bool:
    constraint = f'{ATTRIBUTE} == "{folder.name}"'
    for force in ((), ("-forcex",)):
        try:
            done = subprocess.run(
                [folder / "bin" / "condor_rm", *force, "-constraint", constraint],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=ANSWER_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        if not force and done.returncode and NOTHING not in done.stderr:
            return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
