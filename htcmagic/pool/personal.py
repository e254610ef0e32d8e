"""A personal pool: HTCondor for one user on one machine, the embedded default where no schedd is configured."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from htcmagic.errors import HTCMagicError, PoolError
from htcmagic.pool import configuration, places, programs
from htcmagic.pool.keeper import sweep

START_S = 30.0
"""How long the daemons may take to come up; 0.3 to 3 s were seen."""
STOP_S = 20.0
FOLDERS = ("log", "spool", "execute", "lock", "run", "passwords.d", "tokens.d", "config.d")

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Status:
    """What is known of a personal pool without asking its daemons."""

    up: bool
    folder: Path
    keeper_pid: int | None
    collector: str
    schedd: str
    contained: bool
    """Whether its daemons and jobs live in a namespace that dies with them."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who runs the daemons, and by which prefix command."""

    name: str
    prefix: tuple[str, ...]


def config_file() -> Path:
    """Return the path of the pool's ``condor_config``."""
    return places.pool_dir() / "condor_config"


def is_up() -> bool:
    """Whether the pool's keeper runs (it holds a lock as long as it does)."""
    return _keeper_pid() is not None


def status() -> Status:
    """Return what is known of the pool from this machine's files."""
    folder = places.pool_dir()
    pid = _keeper_pid()
    return Status(
        up=pid is not None,
        folder=folder,
        keeper_pid=pid,
        collector=_first_line(folder / "log" / ".collector_address") if pid else "",
        schedd=_first_line(folder / "log" / ".schedd_address") if pid else "",
        contained=bool(pid) and "unshare" in _first_line(folder / "command"),
    )


def environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment in which HTCondor's programs and bindings use this pool.

    Parameters
    ----------
    base : mapping, optional
        Where to start from; this process's environment if not given. HTCondor settings in it are dropped.
    """
    env = {k: v for k, v in (os.environ if base is None else base).items() if not k.upper().startswith("_CONDOR_")}
    env["CONDOR_CONFIG"] = str(config_file())
    if os.getuid() == 0:
        env["CONDOR_IDS"] = "0.0"
    return env


def up(report: Report = lambda _line: None) -> Status:
    """Start the pool unless it runs; however many ask at once, it is started once.

    Parameters
    ----------
    report : callable
        Gets short lines on what is being done; nothing when the pool runs already.

    Raises
    ------
    InstallError
        HTCondor's programs are not there and cannot be had.
    PoolError
        The daemons do not come up.
    HTCMagicError
        The folder cannot be written.
    """
    if is_up():
        return _await_ready(report)
    folder = places.private(places.pool_dir())
    with _locked(folder / ".up.lock"):
        if not is_up():
            _prepare_and_start(folder, report)
        return _await_ready(report)


def down(*, purge: bool = False) -> bool:
    """Stop the pool, its jobs with it; queued jobs are kept and start again with the next `up`.

    Parameters
    ----------
    purge : bool
        Delete the pool's folder too: queue, history and logs.

    Returns
    -------
    bool
        Whether it was running.
    """
    folder = places.pool_dir()
    if not folder.exists():
        return False
    with _locked(folder / ".up.lock"):
        pid = _keeper_pid()
        if pid is not None:
            os.kill(pid, 15)
            deadline = time.monotonic() + STOP_S
            while is_up():
                if time.monotonic() > deadline:
                    raise PoolError(f"The pool's keeper, process {pid}, does not end.", hint=f"End it: kill -9 {pid}")
                time.sleep(0.02)
        sweep(folder)
        if purge:
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                folder.parent.rmdir()
    return pid is not None


def run(command: list[str]) -> int:
    """Run a command with this pool configured and HTCondor's programs on its PATH; return its exit status."""
    found = programs.find()
    env = environment()
    if found is not None:
        env["PATH"] = os.pathsep.join([str(found.bin), str(found.sbin), env.get("PATH", os.defpath)])
    try:
        return subprocess.run(command, env=env, check=False).returncode
    except FileNotFoundError:
        raise HTCMagicError(
            f"There is no program named {command[0]}.", hint="For example: htc-pool run condor_q"
        ) from None
    except PermissionError:
        raise HTCMagicError(f"{command[0]} cannot be executed.") from None


def tail_of_logs(lines: int = 5) -> str:
    """Return the last lines of the master's log, for an error message."""
    try:
        text = (places.pool_dir() / "log" / "MasterLog").read_text(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def _prepare_and_start(folder: Path, report: Report) -> None:
    found = programs.find() or programs.install(report=report)
    who = _identity()
    for name in FOLDERS:
        places.private(folder / name)
    sweep(folder)
    text = configuration.render(folder, found, owner=who.name, port=_port(folder))
    _write(folder / "condor_config", text)
    command = [*who.prefix, str(found.program("condor_master")), "-f"]
    _write(folder / "command", " ".join(command) + "\n")
    report(f"Starting a personal HTCondor pool ({found.version}) in {folder}.")
    for address in (folder / "log").glob(".*_address"):
        address.unlink(missing_ok=True)
    with (folder / "log" / "KeeperLog").open("ab") as log:
        subprocess.run(
            [sys.executable, "-m", "htcmagic.pool.keeper", str(folder), "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=_daemon_environment(),
            start_new_session=True,
            check=False,
        )


def _await_ready(report: Report) -> Status:
    """Wait until the schedd has written its address; it takes jobs from then on."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        now = status()
        if now.up and now.schedd.startswith("<") and now.collector.startswith("<"):
            return now
        time.sleep(0.02)
    for line in tail_of_logs().splitlines():
        report(line)
    raise PoolError(
        f"The personal pool did not come up within {START_S:.0f} s.",
        hint="See why: htc-pool logs; try again: htc-pool down; htc-pool up",
    )


def _daemon_environment() -> dict[str, str]:
    kept = {k: os.environ[k] for k in ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ") if k in os.environ}
    package_root = str(Path(__file__).parents[2])
    return {**environment(kept), "HTCMAGIC_POOL_DAEMON": "1", "PYTHONPATH": package_root}


def _identity() -> Identity:
    """Decide who runs the daemons.

    HTCondor refuses jobs of root. In a user namespace root outside is somebody ordinary inside, and stays the
    only one whom the daemons see as that somebody: every other user of the machine shows up as the overflow id.
    """
    uid = os.getuid()
    if uid != 0:
        try:
            name = pwd.getpwuid(uid).pw_name
        except KeyError:
            raise PoolError(
                f"User id {uid} has no name on this machine, so HTCondor cannot know you.",
                hint="Add a line for it to /etc/passwd.",
            ) from None
        return Identity(name, _namespace(("--map-current-user",)))
    somebody = min(
        (entry for entry in pwd.getpwall() if 0 < entry.pw_uid < 65534),
        key=lambda entry: (entry.pw_uid < 1000, entry.pw_uid),
    )
    prefix = _namespace((f"--map-user={somebody.pw_uid}", f"--map-group={somebody.pw_gid}"))
    if not prefix:
        raise PoolError(
            "HTCondor runs no jobs of root, and this machine allows no user namespaces to work around that.",
            hint="Be an ordinary user, or allow user namespaces (in Docker: --security-opt seccomp=unconfined).",
        )
    return Identity(somebody.pw_name, prefix)


def _namespace(mapping: tuple[str, ...]) -> tuple[str, ...]:
    """Return the command that puts a program into namespaces that die with it; empty where not allowed."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return ()
    prefix = (unshare, "--user", *mapping, "--pid", "--fork", "--kill-child", "--mount-proc")
    tried = subprocess.run([*prefix, "true"], capture_output=True, check=False)
    return prefix if tried.returncode == 0 else ()


def _port(folder: Path) -> int:
    """Return a free port for the collector: the last one if it is still free, so that addresses stay true."""
    file = folder / "port"
    with contextlib.suppress(OSError, ValueError), socket.socket() as probe:
        port = int(_first_line(file))
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    _write(file, f"{port}\n")
    return port


def _keeper_pid() -> int | None:
    file = places.pool_dir() / "keeper.lock"
    try:
        with file.open("r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        with contextlib.suppress(ValueError):
            return int(_first_line(file))
        return 0
    except OSError:
        pass
    return None


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _first_line(file: Path) -> str:
    try:
        return file.read_text(errors="replace").partition("\n")[0]
    except OSError:
        return ""


def _write(file: Path, text: str) -> None:
    new = file.with_name(f".{file.name}.new")
    new.write_text(text)
    new.replace(file)
