"""``htc-kernel create``, ``edit``, ``refresh`` and ``diff``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from htcmagic.errors import HTCMagicError, KernelError
from htcmagic.kernels import create, kernelspec
from htcmagic.kernels.kernelspec import Kernel
from htcmagic.kernels.recipe import Recipe
from htcmagic.kernels.wishes import WISHES

COMMANDS = ("create", "edit", "refresh", "diff")
CREATE = """Its set-up runs once, to ask its python what launchers must know; nothing is changed if that fails.
examples:
  htc-kernel create --cvmfs atlas
  htc-kernel create --cvmfs belle2 --release light-2603-ina --name b2 --snapshot
  htc-kernel create --container /cvmfs/unpacked.cern.ch/registry.hub.docker.com/library/python:3.12
  htc-kernel create --cvmfs dune --release v10_26_00d00 --container fnal-dev-sl7.sif
  htc-kernel create --source ~/setup.sh --python '$MYENV/bin/python'
  htc-kernel create --module root/6.32 python/3.12 --venv ~/venv --set OMP_NUM_THREADS=1
  htc-kernel create --conda igwn --display-name 'IGWN' --sys-prefix
  htc-kernel create --venv ~/venv --dry-run

The user's scripts all.sh and NAME.sh in $XDG_CONFIG_HOME/htcmagic/hooks are sourced last, where they are there.
Values of --set stand in a file that others may read: no passwords.
"""
EDIT = """What is not named stays; a list that is given replaces the whole list, and '' empties it.
examples:
  htc-kernel edit b2 --release light-2701-xyz
  htc-kernel edit b2 --set OMP_NUM_THREADS=1 --no-snapshot
  htc-kernel edit b2 --module ''
"""
REFRESH = """Its options stay; its python is asked again, its snapshot is taken anew.
examples:
  htc-kernel refresh b2
  htc-kernel refresh --all
"""
DIFF = """As a unified diff, with a line for each file that was edited by hand.
examples:
  htc-kernel diff b2
"""
Add = Callable[..., Any]
SAID = 3
"""Lines of a set-up's own words that are shown."""


def add_commands(add: Add) -> None:
    """Add the commands of this file."""
    one = add("create", _create, "make a kernel", CREATE)
    one.usage = "htc-kernel create [--cvmfs STACK | --source FILE | --venv DIR | --container IMAGE | …] [options]"
    _add_wishes(one, with_name=True)
    where = add_place(one, "where it goes")
    where.add_argument("--user", action="store_true", help="the user's own kernels (default)")
    how = one.add_argument_group("how it is made")
    how.add_argument("--safe-twin", action="store_true", help="make NAME-safe too: without hooks, without ~/.local/lib")
    _add_how(how, "take another kernel's place, or that of one edited by hand")
    two = add("edit", _edit, "change a kernel's options", EDIT)
    two.usage = "htc-kernel edit NAME [options]"
    add_kernel(two)
    _add_wishes(two, with_name=False)
    add_place(two, "where it is")
    _add_how(two.add_argument_group("how it is made"), "give up what was edited by hand")
    three = add("refresh", _refresh, "make a kernel anew, as this version of htc-kernel does", REFRESH)
    add_kernel(three, several=True)
    three.add_argument("--all", action="store_true", help="all kernels that htc-kernel has made")
    add_place(three, "where they are")
    _add_how(three.add_argument_group("how it is made"), "give up what was edited by hand")
    four = add("diff", _diff, "show what was edited by hand, and what refresh would change", DIFF)
    add_kernel(four)
    add_place(four, "where it is")


def add_kernel(parser: Any, *, several: bool = False) -> None:
    """Add a kernel's name, which a shell completes."""
    added = parser.add_argument(
        "names" if several else "name", metavar="NAME", nargs="*" if several else None, help="a kernel's name"
    )
    added.completer = _kernel_names


def add_place(parser: Any, title: str) -> Any:
    """Add the choice of a folder of kernels."""
    group = parser.add_argument_group(title)
    one_of = group.add_mutually_exclusive_group()
    one_of.add_argument("--sys-prefix", action="store_true", help="this environment's kernels")
    one_of.add_argument("--prefix", metavar="P", default="", help="those of another: P/share/jupyter/kernels")
    one_of.add_argument("--to", metavar="DIR", default="", help="any folder of kernels: DIR/NAME")
    return one_of


def _add_wishes(parser: Any, *, with_name: bool) -> None:
    groups: dict[str, Any] = {}
    completers = {"cvmfs": _stack_names, "release": _releases, "conda": _conda_names}
    for wish in WISHES:
        group = groups.get(wish.group) or groups.setdefault(wish.group, parser.add_argument_group(wish.group))
        if with_name and wish.name == "display_name":
            group.add_argument("--name", metavar="NAME", default=argparse.SUPPRESS, help="its name (else the stack's…)")
        options: dict[str, Any] = {"dest": wish.name, "default": argparse.SUPPRESS, "help": wish.about}
        if wish.kind == "switch":
            added = group.add_argument(wish.flag, action=argparse.BooleanOptionalAction, **options)
        elif wish.kind == "seconds":
            added = group.add_argument(wish.flag, metavar=wish.metavar, type=int, **options)
        elif wish.kind == "texts":
            added = group.add_argument(wish.flag, metavar=wish.metavar, nargs="+", action="extend", **options)
        else:
            added = group.add_argument(wish.flag, metavar=wish.metavar, **options)
        if wish.name in completers:
            added.completer = completers[wish.name]
        if wish.name == "hook":
            group.add_argument(
                "--no-hooks",
                dest="hook",
                action="store_const",
                const=[],
                default=argparse.SUPPRESS,
                help="no scripts of mine",
            )


def _add_how(group: Any, forced: str) -> None:
    group.add_argument("--force", action="store_true", help=forced)
    group.add_argument("--no-probe", action="store_true", help="do not run the set-up; launchers are promised less")
    group.add_argument("--dry-run", action="store_true", help="print what would be written, and change nothing")
    group.add_argument("--json", action="store_true", help="tell it as JSON")


def folder_of(args: argparse.Namespace) -> Path | None:
    """Return the folder of kernels that was chosen; None without a choice."""
    if args.sys_prefix or args.prefix or args.to:
        return create.place(sys_prefix=args.sys_prefix, prefix=args.prefix, to=args.to)
    return None


def _wished(args: argparse.Namespace, *more: str) -> dict[str, Any]:
    names = {wish.name for wish in WISHES} | set(more)
    return {name: value for name, value in vars(args).items() if name in names}


def _looking(args: argparse.Namespace) -> dict[str, bool]:
    return {"look": not (args.no_probe or args.dry_run), "fetch": not args.dry_run}


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _create(args: argparse.Namespace) -> int:
    kernels = folder_of(args) or create.place()
    wanted = create.order(_wished(args, "name"), report=_report, **_looking(args))
    orders = [wanted, wanted.twin()] if args.safe_twin else [wanted]
    allows = [create.unless_taken(one, kernels, force=args.force) for one in orders]
    for one, allow in zip(orders, allows, strict=True):
        allow(kernelspec.look_up(one.recipe.name, kernels))
    if args.dry_run:
        return _preview([(one, kernels / one.recipe.name, one.files(None)) for one in orders], as_json=args.json)
    made = [
        create.make(one, kernels, allow, ask=not args.no_probe, report=_report)
        for one, allow in zip(orders, allows, strict=True)
    ]
    _tell(made, args, kernels)
    return 0


def _edit(args: argparse.Namespace) -> int:
    kernel = kernelspec.find(args.name, folder_of(args))
    wanted = _wished(args)
    if not wanted:
        raise KernelError(
            "edit: which option is to change?", hint=f"For example: htc-kernel edit {kernel.name} --timeout 600"
        )
    new = create.changed(kernel, wanted, report=_report, **_looking(args))
    return _remake(kernel, new, args)


def _remake(kernel: Kernel, new: create.Order, args: argparse.Namespace) -> int:
    allow = create.unless_edited(force=args.force)
    known = create.known_already(kernel, new)
    if args.dry_run:
        allow(kernel)
        return _preview([(new, kernel.folder, new.files(known))], as_json=args.json)
    kernels = kernel.folder.parent
    made = create.make(new, kernels, allow, ask=not args.no_probe, known=known, report=_report)
    _tell([made], args, kernels)
    return 0


def _refresh(args: argparse.Namespace) -> int:
    within = folder_of(args)
    if bool(args.names) == args.all:
        raise KernelError("refresh: which kernels?", hint="Name them, or say --all.")
    chosen = [kernelspec.find(name, within) for name in args.names]
    if args.all:
        chosen = [kernel for kernel in kernelspec.kernels(within) if kernel.is_ours]
    failed = 0
    for kernel in chosen:
        try:
            _remake(kernel, create.again(kernel, report=_report, fetch=not args.dry_run), args)
        except HTCMagicError as error:
            if len(chosen) == 1:
                raise
            failed += 1
            print(f"htc-kernel: {kernel.name}: {error}", file=sys.stderr)
    return 1 if failed else 0


def _diff(args: argparse.Namespace) -> int:
    kernel = kernelspec.find(args.name, folder_of(args))
    new = create.again(kernel, report=_report, fetch=False)
    for name, what in kernel.edited().items():
        print(f"# {kernel.folder / name} was {what} by hand")
    lines = create.differences(kernel, new.files(create.known_already(kernel, new)))
    print("\n".join(lines) if lines else f"# {kernel.name}: a refresh would change nothing")
    return 0


def _preview(planned: Iterable[tuple[create.Order, Path, Mapping[str, bytes]]], *, as_json: bool) -> int:
    shown = ("kernel.json", "setup.sh")
    if as_json:
        told = [
            {
                "folder": str(folder),
                "command": order.command,
                "files": {name: content.decode(errors="replace") for name, content in files.items() if name in shown},
            }
            for order, folder, files in planned
        ]
        print(json.dumps(told, indent=1))
        return 0
    for _, folder, files in planned:
        for name in shown:
            print(f"==> {folder / name} <==", files[name].decode(errors="replace"), sep="\n")
        others = ", ".join(sorted(set(files) - set(shown)))
        print(f"==> beside them: {others}")
    _report(
        "Nothing was written. Its python was not asked: debugger, encryption and interrupts may be told differently."
    )
    return 0


def _tell(made: list[Kernel], args: argparse.Namespace, kernels: Path) -> None:
    if args.json:
        print(json.dumps([as_json(kernel) for kernel in made], indent=1))
        return
    for kernel in made:
        known = kernel.probe
        python = f": python {known.python}, ipykernel {known.ipykernel}" if known is not None else ""
        print(f"{kernel.title} is ready{python}.\n  {kernel.folder}")
        if kernel.recipe.injected:
            print(f"  Its ipykernel is put beside: {kernel.recipe.injected}")
        if known is not None and _from_path(kernel.recipe):
            print(f"  Its python is the first on PATH, here {known.executable}; --python names another.")
        for line in _said(kernel):
            print(line)
    if kernels not in kernelspec.folders():
        _report(f"Jupyter does not look into {kernels}: its parent folder must be on JUPYTER_PATH.")
    for name, _ in made[0].recipe.settings:
        if any(part in name.upper() for part in ("TOKEN", "PASSW", "SECRET", "PRIVATE_KEY")):
            _report(f"The value of {name} can be read in {made[0].folder / 'setup.sh'}.")


def _from_path(recipe: Recipe) -> bool:
    return not (recipe.stack or recipe.python or recipe.venv or recipe.conda or recipe.container)


def _said(kernel: Kernel) -> list[str]:
    """Return the last lines of what the set-up has said while it was asked: it may have failed in its own eyes."""
    if kernel.probe is None or not kernel.recipe.has_setup:
        return []
    lines = [line for log in kernel.logs() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    tail = ["    " + "".join(c if c.isprintable() else " " for c in line)[:200] for line in lines[-SAID:]]
    return ["  Its set-up has said, at the end:", *tail] if tail else []


def as_json(kernel: Kernel) -> dict[str, Any]:
    """Return what there is to know of a kernel, as JSON values."""
    known = kernel.probe
    return {
        "name": kernel.name,
        "title": kernel.title,
        "folder": str(kernel.folder),
        "ours": kernel.is_ours,
        "state": kernel.state,
        "made_from": kernel.made_from,
        "edited": kernel.edited(),
        "command": kernel.command,
        "version": kernel.own.get("version", ""),
        "recipe": kernel.own.get("recipe"),
        "probe": known.as_json() if known is not None else None,
    }


def _kernel_names(**_: Any) -> list[str]:
    return [kernel.name for kernel in kernelspec.kernels()]


def _stack_names(**_: Any) -> list[str]:
    from htcmagic.kernels import stack  # noqa: PLC0415 - only when a shell asks

    return list(stack.folders())


def _releases(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    from htcmagic.kernels import releases, stack  # noqa: PLC0415 - only when a shell asks

    name = getattr(parsed_args, "cvmfs", "")
    return releases.releases(stack.load(name), within_s=2.0) if name else []


def _conda_names(**_: Any) -> list[str]:
    from htcmagic.kernels import conda  # noqa: PLC0415 - only when a shell asks

    return list(conda.environments())
