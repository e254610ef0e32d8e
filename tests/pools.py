"""Personal pools of a test's own: put up in a folder, looked at from the outside, taken down whatever happens."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from conftest import leftovers, use_home

from htcmagic import places
from htcmagic.pool import personal, programs, resolve

DAEMONS = ("master", "collector", "negotiator", "schedd", "startd")
PATIENCE_S = 60.0

JOB = """\
#!/bin/sh
# stays until told to go on; notes each start and end, and whether another one of it runs at the same time
exec 9>>"$1/alone"
flock -n 9 || echo TWICE >> "$1/events"
echo start >> "$1/events"
while [ ! -e "$1/go" ]; do sleep 0.1 9>&-; done
echo end >> "$1/events"
"""


@contextlib.contextmanager
def visit(home: Path) -> Iterator[Path]:
    """Use another htcmagic folder for a while; give its pool's folder."""
    before = {name: os.environ.get(name) for name in ("HTCMAGIC_HOME", "HTCMAGIC_PROGRAMS")}
    chosen = resolve._chosen
    use_home(home)
    resolve.choose(None)
    try:
        yield places.pool_dir()
    finally:
        resolve.choose(chosen)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


@contextlib.contextmanager
def at_home(home: Path, config: str = "") -> Iterator[Path]:
    """Visit a folder; its pool is taken down at the end, and nothing may be left of it."""
    with visit(home) as folder:
        try:
            if config:
                (places.private(folder / "config.d") / "test.conf").write_text(config)
            yield folder
        finally:
            take_down(folder)


def take_down(folder: Path) -> None:
    """End the pool in use, and leave nothing of it."""
    thaw(folder)
    personal.down(purge=True)
    assert not folder.exists()
    assert leftovers(folder) == []


def eventually(what: Callable[[], Any], within_s: float = PATIENCE_S) -> Any:
    """Return what `what` gives as soon as that is true."""
    deadline = time.monotonic() + within_s
    while not (value := what()):
        assert time.monotonic() < deadline, f"not within {within_s} s"
        time.sleep(0.05)
    return value


def installed() -> programs.Programs:
    """Return HTCondor's programs, which the set-up has brought."""
    found = programs.find()
    assert found is not None, "HTCondor's programs are missing. Run: make setup"
    return found


def tool(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run one of HTCondor's programs on the pool in use."""
    done = subprocess.run(
        [str(installed().program(command[0])), *command[1:]],
        env=personal.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def submit(folder: Path, text: str) -> str:
    """Submit a job that runs in `folder`, patiently; return its id."""
    file = folder / "job.sub"
    file.write_text(f"initialdir = {folder}\nlog = log\noutput = out\nerror = err\n{text}\nqueue\n")
    done = eventually(
        lambda: (said := tool("condor_submit", "-terse", str(file), check=False)).returncode == 0 and said
    )
    return done.stdout.split()[0]


def submit_patient_job(folder: Path) -> str:
    """Submit a job that ends when ``folder/go`` exists; return its id once it runs."""
    script = folder / "job.sh"
    script.write_text(JOB)
    script.chmod(0o755)
    job = submit(folder, f"executable = {script}\narguments = {folder}\nrequest_memory = 16MB")
    eventually(lambda: events(folder))
    return job


def events(folder: Path) -> list[str]:
    """Return what a patient job has noted."""
    file = folder / "events"
    return file.read_text().split() if file.exists() else []


def ended(folder: Path) -> bool:
    """Whether the event log of the job in `folder` tells its end."""
    log = folder / "log"
    return log.exists() and "Job terminated." in log.read_text()


def run_quick_job(folder: Path) -> float:
    """Run a job that only says hello; return the seconds from its submission to its start."""
    folder.mkdir(exist_ok=True)
    submit(folder, "executable = /bin/echo\narguments = hello\nrequest_memory = 16MB")
    eventually(lambda: ended(folder))
    assert (folder / "out").read_text() == "hello\n"
    stamps = re.findall(
        r"^00([01]) \(\S+\) (\S+ \S+) Job (?:submitted|executing)", (folder / "log").read_text(), re.MULTILINE
    )
    times = {kind: datetime.fromisoformat(stamp) for kind, stamp in stamps}
    return (times["1"] - times["0"]).total_seconds()


def processes(folder: Path) -> dict[int, str]:
    """Return number and name of the processes of a pool, its keeper and jobs included."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                environ = (entry / "environ").read_bytes()
                if f"{folder}/".encode() in environ and (
                    b"HTCMAGIC_POOL_DAEMON=1" in environ or b"_CONDOR_SLOT=" in environ
                ):
                    found[int(entry.name)] = (entry / "comm").read_text().strip()
    return found


def daemon(folder: Path, name: str) -> int:
    """Return the process number of a daemon, or of the keeper."""
    if name == "keeper":
        keeper = personal.status().keeper_pid
        assert keeper is not None
        return keeper
    (pid,) = eventually(lambda: [pid for pid, comm in processes(folder).items() if comm == process_name(name)])
    return int(pid)


def process_name(daemon: str) -> str:
    """Return what Linux calls a daemon's process: 15 bytes and no more."""
    return f"condor_{daemon}"[:15]


def runs(folder: Path) -> int:
    """Return how many processes of the patient job in `folder` there are."""
    count = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                count += (entry / "cmdline").read_bytes().split(b"\0")[2:3] == [os.fsencode(folder)]
    return count


def thaw(folder: Path) -> None:
    """Let stopped processes of a pool go on."""
    for pid in processes(folder):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGCONT)
