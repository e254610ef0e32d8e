"""``htc-pool``: a personal HTCondor pool for one user on one machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from htcmagic import places
from htcmagic.cli.guard import guarded
from htcmagic.errors import HTCMagicError
from htcmagic.pool import personal, programs

EPILOG = """\
examples:
  htc-pool up                          start it (and first install HTCondor for you, if it is not there)
  htc-pool run condor_q                any HTCondor command, on this pool
  htc-pool install --with apptainer    so that the pool runs container jobs too
  htc-pool down --purge                stop it and delete its queue, history and logs

Everything is kept below $HTCMAGIC_HOME, by default ~/.local/share/htcmagic. Changes to the pool's HTCondor
configuration go into files named *.conf in the folder that htc-pool config shows.
"""
LOG_LINES = 40


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status: 0 done, 1 an error, 2 wrong usage, or that of ``run``'s command."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = _parser()
    if not words:
        parser.print_help()
        return 2
    if words[:1] == ["run"] and words[1:2] not in (["-h"], ["--help"]):
        return guarded("htc-pool", lambda: _run(words[1:], parser))
    args = parser.parse_args(words)
    command: Callable[[argparse.Namespace], int] = args.command
    return guarded("htc-pool", lambda: command(args))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "htc-pool",
        description="A personal HTCondor pool: for one user on one machine, no root needed.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"htc-pool {version('htcmagic')}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")

    def add(name: str, function: Callable[[argparse.Namespace], int], told: str, more: str = "") -> Any:
        one = commands.add_parser(name, help=told, description=f"{told[0].upper()}{told[1:]}. {more}".strip())
        one.set_defaults(command=function)
        return one

    install = add("install", _install, "get HTCondor's programs for this user", "Nothing is done if they are there.")
    install.add_argument("--from", dest="source", type=Path, metavar="PATH", help="folder or tarball with a release")
    install.add_argument(
        "--with", dest="extra", action="append", default=[], choices=["apptainer"], help="for container jobs"
    )
    add("up", _up, "start the pool", "HTCondor is installed first if it is not there.")
    down = add("down", _down, "stop the pool and its running jobs", "The queue is kept: its jobs run again after up.")
    down.add_argument("--purge", action="store_true", help="delete its queue, history, logs and settings as well")
    add("status", _status, "is it up, where, which HTCondor", "The exit status is 3 when it is down.")
    add("config", _config, "show its HTCondor configuration", "And where that is, and where to put changes.")
    logs = add("logs", _logs, "show the ends of its daemons' logs")
    logs.add_argument(
        "daemon", nargs="?", help="only this one: schedd, startd, master, collector, negotiator, shadow, starter"
    )
    logs.add_argument("-n", type=int, default=LOG_LINES, metavar="LINES", help=f"how much of each ({LOG_LINES})")
    run = add("run", _unused, "run a command on this pool", "For example: htc-pool run condor_q -nobatch")
    run.add_argument("CMD", nargs=argparse.REMAINDER, help="a program, HTCondor's or another, and its arguments")
    return parser


def _unused(_args: argparse.Namespace) -> int:
    raise AssertionError  # main takes run's words as they are


def _report(line: str) -> None:
    print(line, flush=True)


def _install(args: argparse.Namespace) -> int:
    found = programs.install(args.source, with_apptainer="apptainer" in args.extra, report=_report)
    print(f"HTCondor {found.version}, {found.origin}: {found.bin}")
    if found.apptainer is not None:
        print(f"Apptainer: {found.apptainer}")
    if personal.is_up():
        print("The pool runs with what it was started with; to change that: htc-pool down; htc-pool up")
    return 0


def _up(_args: argparse.Namespace) -> int:
    was_up = personal.is_up()
    status = personal.up(_report)
    print("The pool was up already." if was_up else "The pool is up.", f"Schedd {_plain(status.schedd)}.")
    return 0


def _down(args: argparse.Namespace) -> int:
    was_up = personal.down(purge=args.purge)
    print(
        ("The pool is down." if was_up else "The pool was not up.") + (" Its files are deleted." if args.purge else "")
    )
    return 0


def _status(_args: argparse.Namespace) -> int:
    status = personal.status()
    found = programs.find()
    print(f"Pool       {'up' if status.up else 'down'}")
    print(f"HTCondor   {f'{found.version}, {found.origin}' if found else 'not installed: htc-pool install'}")
    if found is not None:
        print(f"Apptainer  {found.apptainer or 'not there: htc-pool install --with apptainer'}")
    print(f"Folder     {status.folder}")
    if status.up:
        print(f"Schedd     {_plain(status.schedd)}")
        print(f"Collector  {_plain(status.collector)}")
        print(f"Keeper     process {status.keeper_pid}")
        print(
            f"Contained  {'yes: its daemons and jobs end with it' if status.contained else 'no user namespaces here'}"
        )
    return 0 if status.up else 3


def _config(_args: argparse.Namespace) -> int:
    file = personal.config_file()
    if not file.exists():
        raise HTCMagicError(
            "There is no configuration yet.", hint="It is written when the pool is started: htc-pool up"
        )
    print(f"# {file}\n# your changes: {file.parent / 'config.d'}/*.conf\n")
    print(file.read_text(), end="")
    return 0


def _logs(args: argparse.Namespace) -> int:
    folder = places.pool_dir() / "log"
    files = sorted(file for file in folder.glob("*Log*") if file.suffix != ".old" and file.stat().st_size)
    if args.daemon:
        name = {"schedd": "sched", "startd": "start"}.get(args.daemon.lower(), args.daemon.lower())
        files = [file for file in files if file.name.partition(".")[0].lower() == f"{name}log"]
    if not files:
        raise HTCMagicError(f"There are no such logs in {folder}.", hint="They come with the pool: htc-pool up")
    for file in files:
        lines = file.read_text(errors="replace").splitlines()[-args.n :]
        print(f"==> {file} <==", *lines, "", sep="\n")
    return 0


def _run(command: list[str], parser: argparse.ArgumentParser) -> int:
    if command[:1] == ["--"]:
        command = command[1:]
    if not command:
        parser.error("run: which command? For example: htc-pool run condor_q")
    if not personal.is_up():
        personal.up(lambda line: print(line, file=sys.stderr))
    return personal.run(command)


def _plain(sinful: str) -> str:
    return sinful.partition("?")[0].strip("<>")


if __name__ == "__main__":
    sys.exit(main())
