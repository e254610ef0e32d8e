"""The environment of a kernel of ours, as a job needs it: which set-up, which image.

Inside such a kernel two variables tell where its files are; ``kernel.json`` among them holds the recipe. Nothing is
asked of HTCondor here, so this works where its bindings are not installed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from htcmagic.errors import KernelError
from htcmagic.kernels.recipe import Recipe

if TYPE_CHECKING:
    from htcmagic.kernels.kernelspec import Kernel

OFF = "Or send jobs without the kernel's environment: --kernel none"


@dataclass(frozen=True, slots=True)
class JobEnvironment:
    """What a job needs to run where a kernel runs.

    Attributes
    ----------
    kernel : str
        The kernel's name.
    about : str
        What it is made of, in a few words.
    wrapper : Path or None
        Its ``setup.sh``: ``--run COMMAND…`` runs a command, ``--python …`` its python, with exit status 97 and the
        reason on standard error where that cannot be. None where the image is all there is.
    container_image : str or None
        The image, as the user named it (``docker://…``, a path), for a job anywhere; None without one.
    container_path : str or None
        What the kernel starts on this machine: that image, or the copy of it that was pulled.
    python : str
        What runs Python in the image where there is no wrapper.
    variables : tuple of (str, str)
        Variables to set where there is no wrapper that does. What HTCondor's ``environment`` gives to an image is
        evaluated by a shell, so values with dollar signs, backquotes or backslashes must get in by another way.
    """

    kernel: str
    about: str = ""
    wrapper: Path | None = None
    container_image: str | None = None
    container_path: str | None = None
    python: str = "python3"
    variables: tuple[tuple[str, str], ...] = ()
    kind: str = "kernel"
    """What `kernel` names, if not a kernel: ``image``, ``stack``."""

    def __str__(self) -> str:
        """Return it in one line."""
        return f"{self.kind} {self.kernel}" + (f" ({self.about})" if self.about else "")

    def submit_commands(self, *, here: bool = False) -> dict[str, str]:
        """Return the submit commands that a job needs beside its executable.

        Parameters
        ----------
        here : bool
            Whether jobs see this machine's files, as those of a personal pool do: the image is then used where it
            lies, copied to no job and pulled by none.
        """
        if self.container_image is None:
            return {}
        image = (self.container_path or self.container_image) if here else self.container_image
        commands = {"universe": "container", "container_image": image}
        if "://" not in image and (here or image.startswith("/cvmfs/")):
            commands["transfer_container"] = "false"
        return commands


def environment(name: str | None = None) -> JobEnvironment | None:
    """Return what a job needs to run where this kernel runs.

    Parameters
    ----------
    name : str, optional
        Another kernel of ours, by name.

    Returns
    -------
    JobEnvironment or None
        None in a kernel that ``htc-kernel`` has not made.

    Raises
    ------
    KernelError
        The kernel's files are gone or damaged; or there is no kernel `name` of ours.
    """
    from htcmagic.kernels import kernelspec  # noqa: PLC0415 - most kernels are not ours, and need none of it

    if name is not None:
        return _of(kernelspec.find(name))
    folder = os.environ.get("HTCMAGIC_KERNEL_DIR")
    if not folder:
        return None
    found = kernelspec.read(Path(folder))
    if found.problem:
        raise KernelError(
            f"The files of this kernel, {found.name}, are not what they were: in {found.folder}, {found.problem}.",
            hint=f"Make it anew with htc-kernel create. {OFF}",
        )
    return _of(found)


def _of(kernel: Kernel) -> JobEnvironment:
    from htcmagic.kernels.kernelspec import told  # noqa: PLC0415

    recipe, image = kernel.recipe, kernel.recipe.container
    wrapper = kernel.folder / "setup.sh"
    needed = _needs_wrapper(recipe)
    if needed and not wrapper.is_file():
        raise KernelError(
            f"The kernel {kernel.name} is not whole: {wrapper} does not exist.",
            hint=f"Make it anew: htc-kernel refresh {kernel.name}. {OFF}",
        )
    return JobEnvironment(
        kernel=kernel.name,
        about=told(recipe),
        wrapper=wrapper if needed else None,
        container_image=image.image if image else None,
        container_path=(image.path or image.image) if image else None,
        python=recipe.python or "python3",
        variables=() if needed else _variables(recipe),
    )


def _needs_wrapper(recipe: Recipe) -> bool:
    """Whether more is to be done than starting the image and setting variables."""
    return recipe.container is None or recipe.has_setup or bool(recipe.prepend_path) or "$" in recipe.python


def _variables(recipe: Recipe) -> tuple[tuple[str, str], ...]:
    return recipe.settings if recipe.user_site else (("PYTHONNOUSERSITE", "1"), *recipe.settings)
