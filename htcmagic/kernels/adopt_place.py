"""Putting an adopted kernel in the place of the old one, which is kept; and putting that back."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from htcmagic import places
from htcmagic.errors import KernelError
from htcmagic.kernels import create, install, kernelspec
from htcmagic.kernels.create import Order
from htcmagic.kernels.kernelspec import Kernel

KERNEL, NOTE = "kernel", "from.json"


def kept_in() -> Path:
    """Return the folder where adopted kernels are kept as they were."""
    return places.home() / "adopted"


def target(kernel: Kernel) -> Path:
    """Return the folder of kernels in which one of ours takes the place of a foreign kernel.

    Raises
    ------
    KernelError
        There is none: its own may not be written to, and the user's comes after it.
    """
    base = kernel.folder.parent
    if os.access(base, os.W_OK):
        return base
    own, order = create.place(), kernelspec.folders()
    if own in order and order.index(own) < order.index(base):
        return own
    raise KernelError(
        f"Nothing can be written to {base}.", hint="Make one of another name beside it: htc-kernel adopt --name NEW"
    )


def put(
    kernel: Kernel, order: Order, base: Path, *, ask: bool = True, report: Callable[[str], None]
) -> tuple[Kernel, Path]:
    """Put an adopted kernel in place of the foreign one; what was made, and where the old one is kept.

    Parameters
    ----------
    kernel : Kernel
        The foreign one.
    order : Order
        What it becomes, under the same name.
    base : Path
        The folder of kernels.
    ask : bool
        Whether to run the set-up once and ask its python what it can do.
    report : callable
        Is told what takes long.
    """

    def allow(there: Kernel | None) -> None:
        if there is not None and (there.folder != kernel.folder or there.data != kernel.data):
            raise KernelError(f"{there.folder} has just changed.", hint="Look at it, and try again.")

    kept = _keep(kernel, base / order.recipe.name)
    try:
        made = create.make(order, base, allow, ask=ask, report=report)
    except BaseException:
        shutil.rmtree(kept, ignore_errors=True)
        raise
    return made, kept


def _keep(kernel: Kernel, made: Path) -> Path:
    base = places.private(kept_in())
    kept = next(path for number in range(1, 10_000) if not (path := base / f"{kernel.name}.{number}").exists())
    with install.plainly(kept):
        kept.mkdir()
        if kernel.folder.is_symlink():
            (kept / KERNEL).symlink_to(os.path.realpath(kernel.folder))
        else:
            shutil.copytree(kernel.folder, kept / KERNEL, symlinks=True)
        (kept / NOTE).write_text(json.dumps({"folder": str(kernel.folder), "made": str(made)}) + "\n")
    return kept


def undo(name: str) -> Path:
    """Put a kernel back as it was before it was adopted; its folder.

    Raises
    ------
    KernelError
        It was not adopted here, or another has taken its place since.
    """
    kept = _latest(name)
    told = json.loads((kept / NOTE).read_text())
    folder, made = Path(told["folder"]), Path(told["made"])
    now = kernelspec.read(made) if (made / "kernel.json").exists() else None
    if now is not None and not now.is_ours:
        raise KernelError(f"{made} holds another kernel by now.", hint=f"The old one is kept in {kept / KERNEL}.")
    if made != folder:
        if now is not None:
            install.remove(now)
    else:
        _restore(kept / KERNEL, folder)
    shutil.rmtree(kept, ignore_errors=True)
    with contextlib.suppress(OSError):
        kept_in().rmdir()
    return folder


def _restore(kept: Path, folder: Path) -> None:
    def allow(there: Kernel | None) -> None:
        if there is not None and not there.is_ours:
            raise KernelError(f"{folder} holds another kernel by now.", hint=f"The old one is kept in {kept}.")

    with install.staging(folder.parent) as stage, install.plainly(folder):
        if kept.is_symlink():
            (stage.folder / folder.name).symlink_to(kept.readlink())
        else:
            shutil.copytree(kept, stage.folder / folder.name, symlinks=True)
        stage.put(folder.name, allow)


def _latest(name: str) -> Path:
    numbered = [
        (int(number), path)
        for path in (kept_in().iterdir() if kept_in().is_dir() else ())
        for stem, _, number in [path.name.rpartition(".")]
        if stem == name.lower() and number.isdecimal() and (path / NOTE).is_file()
    ]
    if not numbered:
        raise KernelError(f"The kernel {name} was not adopted here.", hint=f"Adopted kernels are kept in {kept_in()}.")
    return max(numbered)[1]
