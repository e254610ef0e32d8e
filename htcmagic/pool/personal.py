"""A personal pool: HTCondor for one user on one machine, the embedded default where no schedd is configured."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from htcmagic import places
from htcmagic.errors import HTCMagicError, PoolError
from htcmagic.pool import configuration, keeper, programs
from htcmagic.pool.identity import CONTAINED, identity

PORTS = (20000, 32000)
START_S = 30.0
"""How long the daemons may take to come up; 0.3 to 3 s were seen."""
STOP_S = 20.0
STOPPED = "stopped"
"""A file that says: down because somebody wanted that."""
BORN = "born"
"""A file as old as the pool's queue: jobs that were sent before it are no more."""
_stay_down = False
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
        collector=_first_line(folder / "log" / ".collector_address") if pid is not None else "",
        schedd=_first_line(folder / "log" / ".schedd_address") if pid is not None else "",
        contained=pid is not None and " ".join(CONTAINED) in _first_line(folder / "command"),
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
    folder = places.pool_dir()
    if not is_up():
        with _locked(folder / ".up.lock"):
            if not is_up():
                _prepare_and_start(folder, report)
    return _await_ready(folder)


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
            _end(pid)
        keeper.sweep(folder)
        (folder / STOPPED).touch()
        if purge:
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                folder.parent.rmdir()
    return pid is not None


def stopped() -> bool:
    """Whether the pool is down because somebody wanted that, and not because it was killed."""
    return not is_up() and ((places.pool_dir() / STOPPED).exists() or not config_file().exists())


def purged(config: str, since: float) -> bool:
    """Whether the pool with this configuration was purged after a moment, and all of its jobs with it.

    Parameters
    ----------
    config : str
        Path of its ``condor_config``.
    since : float
        Seconds since 1970, UTC.
    """
    try:
        return (Path(config).parent / BORN).stat().st_mtime > since
    except OSError:
        return not Path(config).parent.exists()


def stay_down(*, wanted: bool) -> None:
    """Have the pool not started again unasked in this session, or take that back."""
    global _stay_down  # noqa: PLW0603
    _stay_down = wanted


def stays_down() -> bool:
    """Whether the user of this session has stopped the pool and it is still down."""
    return _stay_down and not is_up()


def run(command: list[str]) -> int:
    """Run a command with this pool configured and HTCondor's programs on its PATH; return its exit status."""
    found = programs.find()
    env = environment()
    if found is not None:
        env["PATH"] = os.pathsep.join([str(found.bin), str(found.sbin), env.get("PATH", os.defpath)])
    try:
        code = subprocess.run(command, env=env, check=False).returncode
    except FileNotFoundError:
        raise HTCMagicError(
            f"There is no program named {command[0]}.", hint="For example: htc-pool run condor_q"
        ) from None
    except OSError as error:
        raise HTCMagicError(f"{command[0]} cannot be executed: {error.strerror}.") from None
    return code if code >= 0 else 128 - code


def _end(pid: int) -> None:
    """Tell the keeper to end, and wait until it has."""
    deadline = time.monotonic() + STOP_S
    with contextlib.suppress(OSError):
        if b"htcmagic.pool.keeper" in Path(f"/proc/{pid}/cmdline").read_bytes():  # not so inside of a job of the pool
            os.kill(pid, signal.SIGTERM)
    while is_up():
        if time.monotonic() > deadline:
            raise PoolError(f"The pool's keeper, process {pid}, does not end.", hint=f"End it: kill -9 {pid}")
        time.sleep(0.02)


def _prepare_and_start(folder: Path, report: Report) -> None:
    found = programs.find() or programs.install(report=report)
    who = identity()
    for name in FOLDERS:
        places.private(folder / name)
    keeper.sweep(folder)
    (folder / STOPPED).unlink(missing_ok=True)
    if not (folder / BORN).exists():
        (folder / BORN).touch()
    text = configuration.render(folder, found, owner=who.name, port=_port(folder), home=Path.home())
    _write(folder / "condor_config", text)
    command = [*who.prefix, str(found.program("condor_master")), "-f"]
    _write(folder / "command", " ".join(command) + "\n")
    report(f"Starting a personal HTCondor pool ({found.version}) in {folder}.")
    keeper.forget_addresses(folder)
    with (folder / "log" / "KeeperLog").open("wb") as log:
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


def _await_ready(folder: Path) -> Status:
    """Wait until the schedd has written its address; it takes jobs from then on."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        now = status()
        if now.schedd.startswith("<") and now.collector.startswith("<"):
            return now
        if not now.up:
            raise PoolError(
                f"The personal pool cannot start: {_reason(folder)}.",
                hint="Mend that and try again: htc-pool up; more: htc-pool logs",
            )
        time.sleep(0.02)
    raise PoolError(
        f"The personal pool did not come up within {START_S:.0f} s: {_reason(folder)}.",
        hint="See why: htc-pool logs; try again: htc-pool down; htc-pool up",
    )


def _reason(folder: Path) -> str:
    """Return in one line why the daemons do not run, as far as HTCondor tells."""
    said = _text(folder / "log" / "KeeperLog").strip()
    wrong = re.search(r"^Configuration Error Line (\d+) while reading config source (.*)$", said, re.MULTILINE)
    if wrong:
        detail = re.sub(r"^(Config source )?Error( .*?, Line \d.*?)?: ", "", said.partition("\n")[0])
        detail = "" if detail == wrong[0] else f" ({detail})"
        return f"line {wrong[1]} of {wrong[2]} is wrong{detail}"
    log = _text(folder / "log" / "MasterLog").rpartition("STARTING UP")[2]
    failed = re.findall(r'ERROR "(.*)" at line|(The \S+ \(pid \d+\) (?:exited|was killed|died).*)', log)
    if failed:
        return "".join(failed[-1]).rstrip(".")
    return said.rpartition("\n")[2] or "its log does not say why"


def _daemon_environment() -> dict[str, str]:
    kept = {k: os.environ[k] for k in ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ") if k in os.environ}
    package_root = str(Path(__file__).parents[2])
    return {**environment(kept), "HTCMAGIC_POOL_DAEMON": "1", "PYTHONPATH": package_root}


def _port(folder: Path) -> int:
    """Return a free port with a free one after it: the last ones if they are free, so that addresses stay true.

    They are none that Linux gives to outgoing connections, so they stay free while the pool is down.
    """
    file = folder / "port"
    wanted = [random.randrange(*PORTS) for _ in range(100)]  # noqa: S311 - nothing secret
    with contextlib.suppress(ValueError):
        wanted.insert(0, int(_first_line(file)))
    for port in wanted:
        if _free(port) and _free(port + 1):
            _write(file, f"{port}\n")
            return port
    raise PoolError("There is no free port on 127.0.0.1.", hint="See who listens: ss -tln")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
        return True


def _keeper_pid() -> int | None:
    return keeper.holder(places.pool_dir())


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Hold a lock on a file below the pool's folder, which may be purged while we wait for it."""
    while True:
        places.private(file.parent)
        with file.open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if _same(lock.fileno(), file):
                yield
                return


def _same(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def _first_line(file: Path) -> str:
    return _text(file).partition("\n")[0]


def _write(file: Path, text: str) -> None:
    new = file.with_name(f".{file.name}.new")
    new.write_text(text)
    new.replace(file)
