"""Kernels with scripts of their own, kept beside ``setup.sh`` and named ``$htc_folder/NAME`` in their recipe."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from htcmagic.errors import KernelError
from htcmagic.kernels import kernelspec
from htcmagic.kernels.create import Order
from htcmagic.kernels.recipe import Recipe
from htcmagic.kernels.stack import LOGOS

HERE = "$htc_folder/"
"""How ``setup.sh`` calls its own folder."""
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
TAKEN = frozenset({"kernel.json", "setup.sh", "diagnose.py", kernelspec.VERIFIER, *LOGOS})
"""Names of files that are not a kernel's own to choose."""


def names(recipe: Recipe) -> list[str]:
    """Return the names of the recipe's own files."""
    listed = [path.removeprefix(HERE) for path in (*recipe.sources, *recipe.hooks) if path.startswith(HERE)]
    return [name for name in dict.fromkeys(listed) if PLAIN.fullmatch(name) and name not in TAKEN]


def read(recipe: Recipe, folder: Path) -> dict[str, bytes]:
    """Return the recipe's own files as they are in a kernel's folder; those that are missing are left out."""
    found = {}
    for name in names(recipe):
        path = folder / name
        if path.is_file():
            found[name] = path.read_bytes()
    return found


def kept(order: Order, folder: Path) -> Order:
    """Return an order with the own files of the kernel that it changes.

    Parameters
    ----------
    order : Order
        What the kernel becomes.
    folder : Path
        Where it is.

    Raises
    ------
    KernelError
        One of them is gone.
    """
    wanted, there = names(order.recipe), read(order.recipe, folder)
    for name in wanted:
        if name not in there:
            raise KernelError(
                f"{folder / name} is gone, which the kernel sources.", hint="Put it back, or --source another."
            )
    return replace(order, beside=there) if wanted else order
