"""``htc-kernel list``, ``show``, ``remove``, ``stacks`` and ``releases``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from htcmagic.cli.kernel_create import add_kernel, add_place, as_json, folder_of
from htcmagic.errors import KernelError, StackError
from htcmagic.kernels import kernelspec, own_files
from htcmagic.kernels.kernelspec import Kernel
from htcmagic.kernels.table import Table

COMMANDS = ("list", "show", "remove", "stacks", "releases")
LIST = """Ours, and those that others have made.
examples:
  htc-kernel list
  htc-kernel list --json | jq '.[] | select(.state != "ok")'
"""
SHOW = """What it is made of, what its python can do, whether it was edited, and the command that makes it again.
examples:
  htc-kernel show b2
"""
REMOVE = """With its logs and snapshots; asks first.
examples:
  htc-kernel remove b2 b2-safe
  htc-kernel remove --yes b2
"""
STACKS = """From Jupyter's data folders: a folder htcmagic/kernelspecs/NAME of yours wins over one of ours.
examples:
  htc-kernel stacks
  htc-kernel stacks belle2                 its options, and what it needs
"""
RELEASES = """As its repository lists them, newest first.
examples:
  htc-kernel releases belle2
"""


def add_commands(add: Callable[..., Any]) -> None:
    """Add the commands of this file."""
    one = add("list", _list, "list all kernels", LIST)
    add_place(one, "which")
    two = add("show", _show, "show what a kernel is made of", SHOW)
    add_kernel(two)
    add_place(two, "where it is")
    three = add("remove", _remove, "delete kernels", REMOVE)
    add_kernel(three, several=True)
    three.add_argument("--yes", action="store_true", help="do not ask")
    three.add_argument("--force", action="store_true", help="also those that htc-kernel has not made")
    three.add_argument("--dry-run", action="store_true", help="say what would be deleted, and delete nothing")
    add_place(three, "where they are")
    four = add("stacks", _stacks, "list the software stacks that are known", STACKS)
    four.add_argument("stack", nargs="?", metavar="STACK", help="tell more of this one").completer = _stack_names
    five = add("releases", _releases, "list a stack's releases", RELEASES)
    five.add_argument("stack", metavar="STACK", help="a stack's name").completer = _stack_names
    for parser in (one, two, four, five):
        parser.add_argument("--json", action="store_true", help="tell it as JSON")


def kernel_table(within: Path | None = None) -> Table:
    """Return all kernels as a table."""
    rows = tuple(
        (one.name, one.title, one.made_from, _homely(one.folder.parent), one.state)
        for one in kernelspec.kernels(within)
    )
    return Table(("name", "title", "made from", "where", "state"), rows)


def stack_table(*, look: bool = True) -> Table:
    """Return all stacks as a table; with `look`, whether their repositories are mounted."""
    from htcmagic.kernels import releases  # noqa: PLC0415 - only for stacks

    said = {True: "yes", False: "no", None: "does not answer" if look else ""}
    rows = []
    for one in releases.catalogue(look=look):
        over = f", before {', '.join(_homely(folder) for folder in one.shadowed)}" if one.shadowed else ""
        mounted = said[one.mounted] if one.repositories else "-"
        where = f"cannot be used: {one.problem}" if one.problem else f"{_homely(one.folder)}{over}"
        rows.append((one.name, one.title, ", ".join(one.repositories), mounted, where))
    return Table(("name", "title", "repositories", "mounted", "from"), tuple(rows))


def _list(args: argparse.Namespace) -> int:
    if args.json:
        print(json.dumps([as_json(one) for one in kernelspec.kernels(folder_of(args))], indent=1))
    else:
        print(kernel_table(folder_of(args)))
    return 0


def _show(args: argparse.Namespace) -> int:
    kernel = kernelspec.find(args.name, folder_of(args))
    if args.json:
        print(json.dumps(as_json(kernel), indent=1))
        return 0
    for label, text in rows_of(kernel):
        print(f"{label:<10} {text}")
    return 0


def rows_of(kernel: Kernel) -> list[tuple[str, str]]:
    """Return label and text of each line that tells of a kernel."""
    rows = [
        ("Kernel", f"{kernel.name}: {kernel.title}"),
        ("Made from", kernel.made_from),
        ("Folder", str(kernel.folder)),
    ]
    rows.append(("State", kernel.state))
    if not kernel.is_ours:
        return [*rows, ("Command", " ".join(kernel.argv))]
    known = kernel.probe
    if known is not None:
        can = [*(["debugger"] if known.has_debugger else []), *(["encryption"] if known.has_curve else [])]
        able = f" ({', '.join(can)})" if can else ""
        rows += [
            ("Python", f"{known.python}, {known.executable}"),
            ("ipykernel", f"{known.ipykernel}{able}, {known.where}"),
        ]
    else:
        rows.append(("Python", "was not asked"))
    rows.append(("Interrupt", f"by {kernel.data.get('interrupt_mode', 'signal')}"))
    edited = kernel.edited()
    files = sorted({*kernel.own.get("files", {}), *edited})
    rows.append(("Files", ", ".join(f"{name} ({edited[name]})" if name in edited else name for name in files)))
    rows.append(("Made by", f"htcmagic {kernel.own.get('version', '?')}"))
    own = own_files.names(kernel.recipe)  # what lies beside cannot be named in a command
    return [*rows, ("Again", f"htc-kernel export {kernel.name}, then import" if own else kernel.command)]


def _remove(args: argparse.Namespace) -> int:
    if not args.names:
        raise KernelError("remove: which kernels?", hint="htc-kernel list shows them.")
    chosen = [kernelspec.find(name, folder_of(args)) for name in dict.fromkeys(args.names)]
    for kernel in chosen:
        if not kernel.is_ours and not args.force:
            raise KernelError(
                f"The kernel {kernel.name} in {kernel.folder} was not made by htc-kernel. Nothing is deleted.",
                hint="Add --force to delete it.",
            )
    if args.dry_run:
        for kernel in chosen:
            print(f"{kernel.name} would be deleted: {kernel.folder}")
        return 0
    if not args.yes and not _agreed(chosen):
        return 1
    from htcmagic.kernels import install  # noqa: PLC0415 - only here

    for kernel in chosen:
        traces = [*kernel.snapshots(), *kernel.logs()] if kernel.is_ours else []
        install.remove(kernel)
        print(f"{kernel.name} is deleted: {kernel.folder}")
        for file in traces:
            file.unlink(missing_ok=True)
    return 0


def _agreed(chosen: list[Kernel]) -> bool:
    if not sys.stdin.isatty():
        raise KernelError("remove asks first, and nobody is there to answer.", hint="Add --yes.")
    for kernel in chosen:
        edited = f" ({kernel.state})" if kernel.is_ours and kernel.edited() else ""
        print(f"  {kernel.name}: {kernel.title}, {kernel.folder}{edited}")
    try:
        answer = input(f"Delete {'this kernel' if len(chosen) == 1 else f'these {len(chosen)} kernels'}? [y/N] ")
    except EOFError:
        answer = ""
    return answer.strip().lower() in {"y", "yes"}


def _stacks(args: argparse.Namespace) -> int:
    if args.stack:
        return _stack(args)
    table = stack_table()
    if args.json:
        print(json.dumps([dict(zip(table.head, row, strict=True)) for row in table.rows], indent=1))
    else:
        print(table)
    return 0


def _stack(args: argparse.Namespace) -> int:
    from htcmagic.kernels import mounts, stack  # noqa: PLC0415 - only for stacks

    one = stack.load(args.stack)
    rows = [("Stack", f"{one.name}: {one.title}"), ("About", one.about), ("Needs", ", ".join(one.repositories))]
    rows += [
        ("Image", one.image),
        ("Systems", ", ".join(one.systems)),
        ("From", str(one.folder)),
        ("Status", one.status),
    ]
    rows.append(("Missing", ", ".join(map(str, mounts.missing(one)))))
    for option in one.options.values():
        default = f" (default: {option.default})" if option.default else " (required)" if option.required else ""
        rows.append(("Option", f"{option.name}: {option.about}{default}"))
    rows += [("Source", source) for source in one.sources]
    if args.json:
        print(json.dumps([[label, text] for label, text in rows if text], indent=1))
        return 0
    for label, text in rows:
        if text:
            print(f"{label:<10} {text}")
    return 0


def _releases(args: argparse.Namespace) -> int:
    from htcmagic.kernels import mounts, releases, stack  # noqa: PLC0415 - only for stacks

    one = stack.load(args.stack)
    found = releases.releases(one)
    if not found and not args.json:
        away = mounts.missing(one)
        why = f"/cvmfs/{away[0]} is not mounted here" if away else "none is listed"
        raise StackError(
            f"No releases of {one.title} are found: {why}.",
            hint=f"htc-kernel stacks {one.name} tells more.",
        )
    print(json.dumps(found) if args.json else "\n".join(found))
    return 0


def _homely(path: Path) -> str:
    home = str(Path.home())
    text = str(path)
    return f"~{text[len(home) :]}" if home != "/" and (text == home or text.startswith(f"{home}/")) else text


def _stack_names(**_: Any) -> list[str]:
    from htcmagic.kernels import stack  # noqa: PLC0415 - only when a shell asks

    return list(stack.folders())
