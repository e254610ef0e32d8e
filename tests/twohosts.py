"""Two hosts on one machine, for a process inside of ALONE: networks with a wire between them, a real pool across it.

The notebook's host has collector, negotiator and schedd, and an address that the other one does not know; the
other host has the startd, and does not see the notebook's folders. So whatever a worker needs of the notebook crosses a
network; the programs of the machine, this Python among them, are on both.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from htcmagic import places
from htcmagic.pool import command, personal, programs
from htcmagic.pool.identity import identity

ALONE = ("unshare", "--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")
"""What begins a process with a network and processes of its own: nothing outlives it, and nobody need be root."""
NOTEBOOK, WORKER, ELSEWHERE = "10.77.0.1", "10.77.0.2", "10.88.0.1"
PORT = 9618
COMMON = f"""\
CONDOR_HOST = {NOTEBOOK}
COLLECTOR_HOST = {NOTEBOOK}:{PORT}
UID_DOMAIN = two.hosts
"""
FIRST = f"""\
{COMMON}
NETWORK_INTERFACE = {NOTEBOOK}
FILESYSTEM_DOMAIN = notebook.two.hosts
DAEMON_LIST = MASTER COLLECTOR NEGOTIATOR SCHEDD
"""
SECOND = f"""\
include : {{first}}
LOCAL_DIR = {{folder}}
LOCAL_CONFIG_DIR =
{COMMON}
NETWORK_INTERFACE = {WORKER}
FILESYSTEM_DOMAIN = worker.two.hosts
DAEMON_LIST = MASTER STARTD
MASTER_NAME = worker
"""


def run(*words: str) -> str:
    """Run a command."""
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout


@contextlib.contextmanager
def two_hosts(folder: Path) -> Iterator[None]:
    """Wire two hosts, run a pool over them that HTCondor's configuration names, and stand in the notebook's folder."""
    os.environ["HTCMAGIC_HOME"] = str(folder / "home")
    own = [folder / name for name in ("notebook", "work")]
    for each in own:
        each.mkdir()
    os.chdir(own[1])
    with subprocess.Popen(["unshare", "--net", "--mount", "sleep", "infinity"]) as other:
        try:
            until(lambda: network(other.pid) != network("self"))
            wire(other.pid)
            for each in own:
                run(*entering(other.pid), "mount", "-t", "tmpfs", "none", str(each))
            config = places.private(places.pool_dir() / "config.d")
            (config / "two.conf").write_text(FIRST)
            personal.up()
            with second(other.pid, folder / "second"):
                os.environ["CONDOR_CONFIG"], os.environ["CONDOR_IDS"] = str(personal.config_file()), "0.0"
                os.environ["HTCMAGIC_HOME"] = str(own[0])
                until(lambda: slots() == ["worker"])
                yield
        finally:
            os.environ["HTCMAGIC_HOME"] = str(folder / "home")
            personal.down(purge=True)
            other.kill()


def network(process: int | str) -> Path:
    """Return which network a process is on."""
    return Path(f"/proc/{process}/ns/net").readlink()


def entering(pid: int) -> tuple[str, ...]:
    """Return what begins a command on another process's host."""
    return ("nsenter", "--target", str(pid), "--net", "--mount")


def wire(pid: int) -> None:
    """Have a wire to another process's network, and an address of our own that is not on it."""
    there = (*entering(pid), "ip")
    run("ip", "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", str(pid))
    for words in (("ip",), there):
        run(*words, "link", "set", "lo", "up")
        run(*words, "link", "set", "wire", "up")
    run("ip", "address", "add", f"{NOTEBOOK}/24", "dev", "wire")
    run(*there, "address", "add", f"{WORKER}/24", "dev", "wire")
    run("ip", "address", "add", f"{ELSEWHERE}/32", "dev", "lo")


@contextlib.contextmanager
def second(pid: int, folder: Path) -> Iterator[None]:
    """Run the other host's daemons."""
    for name in personal.FOLDERS:
        (folder / name).mkdir(parents=True, mode=0o700)
    config = folder / "condor_config"
    config.write_text(SECOND.format(first=personal.config_file(), folder=folder))
    found = programs.find()
    assert found is not None, "HTCondor's programs are missing. Run: make setup"
    words = [*entering(pid), *identity().prefix, str(found.program("condor_master")), "-f"]
    with subprocess.Popen(words, env={**os.environ, "CONDOR_CONFIG": str(config)}) as master:
        try:
            yield
        finally:
            master.kill()  # and with its namespace all that it has started


def slots() -> list[str]:
    """Return the machines that offer slots."""
    program = command.path("condor_status")
    done = subprocess.run(
        [str(program), "-af", "FileSystemDomain"], capture_output=True, text=True, timeout=60, check=False
    )
    return sorted({line.partition(".")[0] for line in done.stdout.split()})


def until(what: Callable[[], Any], within_s: float = 40.0) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline, f"not within {within_s} s"
        time.sleep(0.1)
