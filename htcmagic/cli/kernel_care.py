"""``htc-kernel check | doctor | adopt | export | import``: is a kernel well, and what helps."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from htcmagic.errors import KernelError
from htcmagic.kernels import kernelspec

if TYPE_CHECKING:
    from htcmagic.kernels.check_verdict import Phase

CHECK = """Any kernel, ours or not; nothing of it is left running. The exit status is 0 if all is well, 1 if something \
failed, 2 if there is no such kernel.
examples:
  htc-kernel check b2                  every phase, with its time
  htc-kernel check --quick b2          only: does it start, does its stack work
  htc-kernel check --all --json        for monitoring: one JSON object
"""
DOCTOR = """Looks at kernels of all kinds, at Jupyter's folders and settings, and for kernels whose server is gone. \
Nothing is started or changed. The exit status is 0 if nothing was found, 1 otherwise.
examples:
  htc-kernel doctor                         everything
  htc-kernel doctor b2 atlas                these kernels
  htc-kernel doctor --end-orphans           and end kernels that nobody can reach any more; asks first
"""
ADOPT = """It keeps its meaning: Belle II's b2execute becomes --cvmfs belle2, a script around python becomes the \
kernel's own set-up, an environment or an image is taken as it is. What is not understood is refused. The old one is \
kept.
examples:
  htc-kernel adopt --dry-run b2light        what it would become
  htc-kernel adopt b2light                  in its place
  htc-kernel adopt b2light --name b2        beside it
  htc-kernel adopt --undo b2light           the old one back
"""
EXPORT = """A bundle holds the recipe and your own scripts; no secrets, no software.
examples:
  htc-kernel export b2                      b2.htc-kernel.tar.gz
  htc-kernel export b2 -o - | ssh there htc-kernel import -
"""
IMPORT = """The kernel is made anew for this machine. Its scripts run when it starts: look at them, with --dry-run.
examples:
  htc-kernel import b2.htc-kernel.tar.gz
  htc-kernel import b2.htc-kernel.tar.gz --name b2-of-anna
"""
MEGABYTE = 1e6


def add_commands(add: Callable[..., Any]) -> None:
    """Add the commands."""
    check = add("check", _check, "start a kernel, use it, kill its server: a verdict with times", CHECK)
    _names(check)
    check.add_argument("--all", action="store_true", help="every kernel that Jupyter sees here")
    check.add_argument("--quick", action="store_true", help="end after the first result and the stack's own test")
    check.add_argument(
        "--no-kill", action="store_true", help="leave the second start away, in which the server is killed"
    )
    check.add_argument("--timeout", type=_seconds, default=120.0, metavar="S", help="longest time for one answer (120)")
    check.add_argument("--json", action="store_true", help="for machines")
    doctor = add("doctor", _doctor, "look for everything known to break kernels", DOCTOR)
    _names(doctor)
    doctor.add_argument("--end-orphans", action="store_true", help="end kernels whose server is gone; asks first")
    doctor.add_argument("--yes", action="store_true", help="do not ask")
    doctor.add_argument("--json", action="store_true", help="for machines")
    adopt = add("adopt", _adopt, "make a kernel of somebody else's one of ours", ADOPT)
    adopt.add_argument("name", metavar="NAME", help="the kernel's name").completer = _known
    adopt.add_argument("--name", dest="new", default="", metavar="NEW", help="make another beside it, of this name")
    adopt.add_argument("--undo", action="store_true", help="put the old kernel back")
    adopt.add_argument("--no-probe", action="store_true", help="do not run its set-up once")
    adopt.add_argument("--dry-run", action="store_true", help="only show what would be written")
    export = add("export", _export, "write a kernel of ours to a file for somebody else", EXPORT)
    export.add_argument("name", metavar="NAME", help="the kernel's name").completer = _ours
    export.add_argument("-o", dest="output", default="", metavar="FILE", help="the file; - for standard output")
    export.add_argument("--force", action="store_true", help="replace the file")
    taken = add("import", _import, "make a kernel from what export has written", IMPORT)
    taken.add_argument("file", metavar="FILE", help="the bundle; - for standard input")
    taken.add_argument("--name", default="", metavar="NAME", help="another name than its own")
    taken.add_argument("--force", action="store_true", help="take another kernel's place")
    taken.add_argument("--no-probe", action="store_true", help="do not run its set-up once")
    taken.add_argument("--dry-run", action="store_true", help="only show what would be written")


def _ours(**_: object) -> list[str]:
    return [kernel.name for kernel in kernelspec.kernels() if kernel.is_ours]


def _names(parser: Any) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="a kernel's name").completer = _known


def _known(**_: object) -> list[str]:
    return [kernel.name for kernel in kernelspec.kernels()]


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= 86_400:
        raise argparse.ArgumentTypeError("a number of seconds, up to a day")
    return value


def _usage(command: str, message: str) -> int:
    print(f"htc-kernel {command}: {message}", file=sys.stderr)
    return 2


# -- check


def _check(args: argparse.Namespace) -> int:
    from htcmagic.kernels import check  # noqa: PLC0415 - it knows jupyter_client, which is slow to import

    known = check.names()
    if bool(args.names) == args.all:
        return _usage("check", "Name kernels, or --all.")
    names = known if args.all else list(dict.fromkeys(args.names))
    try:
        with _ended_orderly():
            verdicts = [_one(name, args) for name in names]
    except KernelError as error:
        return _usage("check", str(error))
    told = [one.as_json() for one in verdicts]
    well = all(one.ok for one in verdicts)
    if args.json:
        print(json.dumps({"ok": well, "kernels": told}, indent=1))
    elif len(told) > 1:
        bad = ", ".join(one["kernel"] for one in told if not one["ok"])
        print(f"{len(told)} kernels: {f'trouble with {bad}' if bad else 'all well'}.")
    return 0 if well else 1


@contextlib.contextmanager
def _ended_orderly() -> Iterator[None]:
    """Let SIGTERM end us as Ctrl-C does, so that what was started is ended, too; not in a notebook's thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _one(name: str, args: argparse.Namespace) -> Any:
    from htcmagic.kernels import check  # noqa: PLC0415

    def report(phase: Phase) -> None:
        if args.json:
            return
        if not shown:
            print(f"{name}")
        shown.append(phase.name)
        seconds = f"{phase.seconds:7.2f} s" if phase.seconds is not None else "         "
        mark = {"ok": "  ", "failed": "! ", "skipped": "- "}[phase.state]
        print(f"{mark}{TITLES.get(phase.name, phase.name):<14}{seconds}  {phase.note}".rstrip(), flush=True)
        for line in phase.detail:
            print(f"      {line}")

    shown: list[str] = []
    verdict = check.check(name, timeout_s=args.timeout, quick=args.quick, kill=not args.no_kill, report=report)
    if not args.json:
        failed = ", ".join(TITLES.get(one.name, one.name) for one in verdict.phases if one.state == "failed")
        print(
            f"{name} works." if verdict.ok else f"{name} has trouble: {failed}. htc-kernel doctor {name} may tell why."
        )
    return verdict


TITLES = {"result": "first result", "verify": "stack's test", "kill": "server killed"}


# -- doctor


def _doctor(args: argparse.Namespace) -> int:
    from htcmagic.kernels import doctor, orphans  # noqa: PLC0415 - only for this command

    if args.yes and not args.end_orphans:
        return _usage("doctor", "--yes answers --end-orphans; without that nothing is asked.")
    try:
        findings = doctor.examine(args.names)
    except KernelError as error:
        return _usage("doctor", str(error))
    wanted = {name.lower() for name in args.names}
    left = [one for one in orphans.find() if not wanted or one.kernel in wanted]
    if args.json:
        told = {"findings": [one.as_json() for one in findings], "orphans": [one.as_json() for one in left]}
        print(json.dumps({"ok": not findings and not left, **told}, indent=1))
    else:
        _show_findings(findings)
        _show_orphans(left)
        if not findings and not left:
            count = len(wanted) or len(doctor.patients())
            print(f"{count} kernel{'s' if count != 1 else ''} looked at: nothing found.")
    if left and args.end_orphans:
        left = _end(left, args)
    return 1 if findings or left else 0


def _show_findings(findings: list[Any]) -> None:
    last = None
    for one in findings:
        if (one.kernel, one.folder) != last:
            print(f"{one.kernel}  {one.folder}" if one.kernel else "This machine")
            last = (one.kernel, one.folder)
        print(f"  {one.problem}\n      {one.remedy}")


def _show_orphans(left: list[Any]) -> None:
    if not left:
        return
    print("Kernels whose server is gone")
    for one in left:
        others = [str(member.pid) for member in one.members[1:]]
        more = f" (and {', '.join(others)})" if others else ""
        what = one.kernel if one.connection_file else f"{one.members[0].name} of a container"
        print(f"  process {one.pid}{more}, {what}, {_age(one.age_s)} old, {one.memory_bytes / MEGABYTE:.0f} MB")
    print("      htc-kernel doctor --end-orphans")


def _age(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _end(left: list[Any], args: argparse.Namespace) -> list[Any]:
    from htcmagic.kernels import orphans  # noqa: PLC0415

    if not args.yes:
        if args.json or not sys.stdin.isatty():
            raise KernelError(
                "Nobody is here to say yes.", hint="htc-kernel doctor --end-orphans --yes ends them unasked."
            )
        if input(f"End {'it' if len(left) == 1 else f'these {len(left)}'}? [y/N] ").strip().lower() not in {"y", "yes"}:
            return left
    remaining = {process.pid for process in orphans.end(left)}
    stayed = [one for one in left if any(member.pid in remaining for member in one.members)]
    ended = len(left) - len(stayed)
    print(
        f"{ended} ended.{f' {len(stayed)} would not go.' if stayed else ''}",
        file=sys.stderr if args.json else sys.stdout,
    )
    return stayed


# -- adopt


def _adopt(args: argparse.Namespace) -> int:
    from htcmagic.kernels import adopt, adopt_place, create  # noqa: PLC0415 - only for this command

    if args.undo:
        if args.new or args.dry_run or args.no_probe:
            return _usage("adopt", "--undo stands alone.")
        print(f"{args.name} is again as it was: {adopt_place.undo(args.name)}")
        return 0
    kernel = kernelspec.find(args.name)
    if not args.new and kernel.folder.name != kernel.name:
        raise KernelError(
            f"The folder {kernel.folder.name} has capital letters, which a kernel of ours cannot have.",
            hint=f"Make one beside it: htc-kernel adopt {args.name} --name NEW",
        )
    made = adopt.plan(kernel, args.new, ask=not args.no_probe, dry_run=args.dry_run, report=_say)
    base = create.place() if args.new else adopt_place.target(kernel)
    if args.dry_run:
        _show_files(made.files, base / made.order.recipe.name)
    elif args.new:
        free = create.unless_taken(made.order, base, force=False)
        new = create.make(made.order, base, free, ask=not args.no_probe, report=_say)
        print(f"{new.name}, made after {kernel.name}: {new.folder}")
    else:
        new, kept = adopt_place.put(kernel, made.order, base, ask=not args.no_probe, report=_say)
        print(f"{new.name} is one of ours now: {new.folder}")
        print(f"  The old one is kept in {kept}; to have it back: htc-kernel adopt --undo {new.name}")
    for note in made.notes:
        print(f"  {note}")
    print(
        f"The same as a command: {made.order.command}" if args.dry_run and not made.order.beside else "",
        end="\n" * args.dry_run,
    )
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _show_files(files: Any, folder: Path) -> None:
    for name, content in files.items():
        print(f"# ---- {folder / name}")
        print(content.decode("utf-8", "replace").rstrip("\n"))


# -- export, import


def _export(args: argparse.Namespace) -> int:
    from htcmagic.kernels import bundle  # noqa: PLC0415 - only for this command

    kernel = kernelspec.find(args.name)
    packed = bundle.pack(kernel)
    content = bundle.write(packed)
    to_stdout = args.output == "-"
    if to_stdout:
        sys.stdout.buffer.write(content)
    else:
        file = Path(args.output or f"{kernel.name}.htc-kernel.tar.gz")
        bundle.save(content, file, force=args.force)
        scripts = ", ".join(sorted(packed.files))
        print(f"{file}: {kernel.name}{f' with {scripts}' if scripts else ''}")
    for note in packed.notes:
        print(f"  {note}", file=sys.stderr if to_stdout else sys.stdout)
    return 0


def _import(args: argparse.Namespace) -> int:
    from htcmagic.kernels import bundle, create  # noqa: PLC0415 - only for this command

    read = bundle.read(Path("/dev/stdin" if args.file == "-" else args.file))
    order = bundle.order(read, args.name, ask=not args.no_probe, dry_run=args.dry_run, report=_say)
    base = create.place()
    if args.dry_run:
        made = order.files(None)
        _show_files({name: made[name] for name in ("kernel.json", "setup.sh", *order.beside)}, base / order.recipe.name)
    else:
        free = create.unless_taken(order, base, force=args.force)
        new = create.make(order, base, free, ask=not args.no_probe, report=_say)
        print(f"{new.name}: {new.folder}")
    for note in read.notes:
        print(f"  {note}")
    return 0
