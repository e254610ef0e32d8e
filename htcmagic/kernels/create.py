"""From a recipe to a kernel in its place: written aside, asked what it can do, then put there in one step."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jupyter_core.paths import jupyter_data_dir

from htcmagic.errors import ContainerError, KernelError, StackError
from htcmagic.kernels import install, kernelspec, probe, wishes, wrapper
from htcmagic.kernels.kernelspec import Kernel
from htcmagic.kernels.probe import Probe
from htcmagic.kernels.recipe import Recipe
from htcmagic.kernels.stack import Stack, load
from htcmagic.kernels.wishes import Wishes

Allow = Callable[[Kernel | None], None]
Report = Callable[[str], None]
_PYTHON_FIELDS = (
    "stack",
    "options",
    "modules",
    "sources",
    "conda",
    "venv",
    "python",
    "clean",
    "user_site",
    "injected",
    "container",
)
"""What of a recipe decides what its python can do."""


@dataclass(frozen=True, slots=True)
class Order:
    """A kernel to be made.

    Attributes
    ----------
    recipe : Recipe
        What it is made of.
    stack : Stack or None
        The stack that the recipe names.
    inject : bool
        Whether to put an ipykernel beside its python if that has none.
    beside : mapping of str to bytes
        Scripts of its own, by name: its recipe calls them ``$htc_folder/NAME``.
    """

    recipe: Recipe
    stack: Stack | None
    inject: bool = False
    beside: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """The command line that makes it again."""
        return wishes.command_of(self.recipe, self.stack)

    def files(self, known: Probe | None) -> dict[str, bytes]:
        """Return its files; `known` is what its python said.

        Raises
        ------
        StackError
            The script would not be valid bash.
        """
        made = kernelspec.contents(self.recipe, self.stack, known, self.command, self.beside)
        problem = wrapper.syntax_problem(made["setup.sh"].decode("utf-8", "surrogateescape"))
        if problem:
            source = f"Look at {self.stack.folder / 'setup.sh'}." if self.stack else "Please report that."
            raise StackError(
                f"{self.recipe.name}: setup.sh would not be valid bash: {problem.splitlines()[0]}", hint=source
            )
        return made

    def twin(self) -> Order:
        """Return the same kernel in safe mode: without the user's hooks and packages."""
        name, title = f"{self.recipe.name}-safe", f"{self.recipe.title} (safe mode)"
        return replace(self, recipe=replace(self.recipe, name=name, title=title, hooks=(), user_site=False))


def order(wanted: Wishes, *, report: Report, look: bool = True, fetch: bool = True) -> Order:
    """Return the kernel that was asked for: its stack's release found, its image fetched.

    Parameters
    ----------
    wanted : mapping
        What the user wants, as in :data:`htcmagic.kernels.wishes.WISHES`.
    report : callable
        Is told what takes long.
    look : bool
        Whether the stack's repositories and scripts must be there.
    fetch : bool
        Whether to find the image, and to pull it if need be.
    """
    recipe, stack = wishes.recipe_from(wanted)
    recipe = replace(recipe, creator=sys.executable)
    if stack is not None:
        _look_at(stack, recipe, report, look=look)
    if recipe.container is not None and fetch:
        from htcmagic.kernels import container  # noqa: PLC0415 - only for images

        recipe = replace(recipe, container=container.prepare(recipe.container, report=report))
    return Order(recipe, stack, bool(wanted.get("inject_ipykernel")))


def _look_at(stack: Stack, recipe: Recipe, report: Report, *, look: bool) -> None:
    """Say what is known to be missing for a stack, before its set-up fails for want of it."""
    from htcmagic.kernels import mounts, releases  # noqa: PLC0415 - only for stacks

    for name in mounts.missing(stack) if look else ():
        raise StackError(
            f"{stack.title} needs /cvmfs/{name}, which is not mounted here.",
            hint="Make the kernel where it is, or add --no-probe to make it all the same.",
        )
    if recipe.container is not None:
        return
    for file in mounts.absent(stack, recipe.options) if look else ():
        raise StackError(
            f"{stack.title} has no {file}.", hint=f"Is that the release? htc-kernel releases {stack.name} lists them."
        )
    for line in releases.notes(recipe.options):
        report(line)


def changed(kernel: Kernel, wanted: Wishes, *, report: Report, look: bool = True, fetch: bool = True) -> Order:
    """Return a kernel of ours with other options: each one given replaces what it was, a list as a whole."""
    recipe = kernel.recipe
    before = wishes.wishes_of(recipe, load(recipe.stack) if recipe.stack else None)
    if wanted.get("cvmfs", recipe.stack) != recipe.stack:
        for name in ("release", "platform", "option"):
            before.pop(name, None)
    new = order({**before, "name": recipe.name, **wanted}, report=report, look=look, fetch=fetch)
    new = replace(new, recipe=replace(new.recipe, injected=recipe.injected)) if new.inject else new
    return _with_own_files(new, kernel)


def again(kernel: Kernel, *, report: Report, fetch: bool = True) -> Order:
    """Return a kernel of ours as this version makes it; its image is fetched again if it is gone.

    Raises
    ------
    KernelError
        It is not ours, or its stack is not known any more.
    """
    recipe = replace(kernel.recipe, creator=sys.executable)
    if recipe.container is not None and fetch:
        from htcmagic.kernels import container  # noqa: PLC0415 - only for images

        recipe = replace(recipe, container=container.prepare(recipe.container, report=report))
    return _with_own_files(Order(recipe, load(recipe.stack) if recipe.stack else None, bool(recipe.injected)), kernel)


def _with_own_files(made: Order, kernel: Kernel) -> Order:
    """Keep the scripts that lie beside an adopted or imported kernel."""
    from htcmagic.kernels import own_files  # noqa: PLC0415 - it builds on this module

    return own_files.kept(made, kernel.folder)


def place(*, sys_prefix: bool = False, prefix: str = "", to: str = "") -> Path:
    """Return the folder of kernels that was chosen; without a choice, the user's own."""
    if to:
        return Path(wishes.absolute(to))
    base = sys.prefix if sys_prefix else wishes.absolute(prefix) if prefix else ""
    return Path(base) / "share" / "jupyter" / "kernels" if base else Path(jupyter_data_dir()) / "kernels"


def unless_taken(wanted: Order, kernels: Path, *, force: bool) -> Allow:
    """Return the test that a new kernel stands in nobody's way.

    Not in that of another kernel of its name, here or anywhere Jupyter looks, nor over files edited by hand. The same
    recipe once more is no other kernel.
    """
    name = wanted.recipe.name

    def allow(there: Kernel | None) -> None:
        elsewhere = kernelspec.look_up(name) if kernels in kernelspec.folders() else None
        for one in (there, elsewhere):
            if one is None or force:
                continue
            if not one.is_ours or _identity(one.recipe) != _identity(wanted.recipe):
                what = one.made_from if one.is_ours else "not made by htc-kernel"
                own = f", change it: htc-kernel edit {name}," if one.is_ours else ""
                raise KernelError(
                    f"There is a kernel {name} already in {one.folder.parent}: {one.title} ({what}).",
                    hint=f"Choose another name with --name{own} or take its place with --force.",
                )
        unless_edited(force=force)(there)

    return allow


def unless_edited(*, force: bool) -> Allow:
    """Return the test that nothing is lost of what was edited by hand."""

    def allow(there: Kernel | None) -> None:
        if there is None or force or not there.is_ours:
            return
        for name, what in there.edited().items():
            raise KernelError(
                f"{there.folder / name} was {what} by hand.",
                hint=f"htc-kernel diff {there.name} shows it; --force gives up what was changed.",
            )

    return allow


def _identity(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe without what depends on who made it and where."""
    plain = recipe.as_json()
    for name in ("creator", "injected"):
        plain.pop(name, None)
    for name in ("path", "runtime"):
        plain.get("container", {}).pop(name, None)
    return plain


def known_already(kernel: Kernel, wanted: Order) -> Probe | None:
    """Return what a kernel's python said when it was made, if that holds for another order too."""
    same = all(getattr(kernel.recipe, name) == getattr(wanted.recipe, name) for name in _PYTHON_FIELDS)
    return kernel.probe if same else None


def make(
    wanted: Order, kernels: Path, allow: Allow, *, ask: bool = True, known: Probe | None = None, report: Report
) -> Kernel:
    """Make a kernel and put it in its place; until then nothing of it is seen.

    Parameters
    ----------
    wanted : Order
        What is to be made.
    kernels : Path
        The folder of kernels.
    allow : callable
        Raises if the kernel that is in its place must stay.
    ask : bool
        Whether to run the set-up once and ask its python what it can do.
    known : Probe, optional
        What is known of its python, where it is not asked.
    report : callable
        Is told what takes long.
    """
    name = wanted.recipe.name
    allow(kernelspec.look_up(name, kernels))
    if not ask and wanted.inject and not wanted.recipe.injected:
        raise KernelError("--inject-ipykernel needs to know the python.", hint="Leave --no-probe away.")
    with install.staging(kernels) as stage:
        if ask:
            report(f"Setting {name} up once, to ask its python what it can do.")
            wanted, known = _asked(wanted, stage)
        stage.write(name, wanted.files(known))
        before = kernelspec.look_up(name, kernels)
        old = before.snapshots() if before is not None else []
        made = kernelspec.read(stage.put(name, allow))
    for file in set(old) - set(made.snapshots()):
        file.unlink(missing_ok=True)
    if wanted.recipe.snapshot and ask:
        report("Keeping the environment of its set-up.")
        _refresh_snapshot(made)
    return made


def _asked(wanted: Order, stage: install.Staging) -> tuple[Order, Probe]:
    """Return what is made in the end, and what its python says."""
    wanted = replace(wanted, recipe=replace(wanted.recipe, injected=""))
    found = _ask(wanted, stage)
    if wanted.inject and not found.ipykernel:
        from htcmagic.kernels import inject as beside  # noqa: PLC0415 - rarely needed

        folder = beside.prepare(found.python, found.machine, found.libc)
        wanted = replace(wanted, recipe=replace(wanted.recipe, injected=str(folder)))
        found = _ask(wanted, stage)
    if not found.ipykernel:
        raise _no_kernel(wanted, found)
    return wanted, found


def _no_kernel(wanted: Order, found: Probe) -> KernelError:
    in_container = wanted.recipe.container is not None
    kind = ContainerError if in_container else StackError
    program = "python3" if in_container else found.executable
    if in_container or os.access(Path(found.executable).parent, os.W_OK):
        where = "to the image's recipe add" if in_container else "install it there"
        install_it = f"{where}: {program} -m pip install ipykernel"
    else:
        make = f"{program} -m venv --system-site-packages DIR; DIR/bin/pip install ipykernel"
        install_it = f"add --venv DIR, made on it: {make}"
    if wanted.recipe.injected:
        return kind(
            f"The ipykernel beside {found.executable} {found.python} does not work with it: {found.problem}.",
            hint=f"{install_it[0].upper()}{install_it[1:]}",
        )
    return kind(
        f"The python {found.executable} {found.python} cannot be a kernel: {found.problem}.",
        hint=f"Put an ipykernel beside it with --inject-ipykernel, or {install_it}",
    )


def _ask(wanted: Order, stage: install.Staging) -> Probe:
    folder = stage.write(wanted.recipe.name, wanted.files(None))
    in_container = wanted.recipe.container is not None
    return probe.run(folder / "setup.sh", wanted.recipe.timeout_s, in_container=in_container)


def _refresh_snapshot(kernel: Kernel) -> None:
    import subprocess  # noqa: PLC0415 - only for this

    done = subprocess.run(
        [kernel.folder / "setup.sh", "--refresh"],
        env=probe.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise StackError(f"The kernel {kernel.name} is made, but its environment could not be kept: {said}")


def create(*, kernels: Path | None = None, force: bool = False, ask: bool = True, **wanted: Any) -> Kernel:
    """Make a kernel, as ``htc-kernel create`` does.

    Parameters
    ----------
    kernels : Path, optional
        The folder of kernels; the user's own if not given.
    force : bool
        Whether to take another kernel's place.
    ask : bool
        Whether to run the set-up once.
    **wanted
        The command's options: ``cvmfs="atlas"``, ``set=["A=1"]``.

    Returns
    -------
    Kernel
        What was made.
    """
    known = {wish.name for wish in wishes.WISHES} | {"name"}
    for name in wanted:
        if name not in known:
            raise KernelError(f"A kernel has no option {name!r}.", hint=f"There are: {', '.join(sorted(known))}.")
    there = kernels or place()
    one = order(wanted, report=_quiet, look=ask)
    return make(one, there, unless_taken(one, there, force=force), ask=ask, report=_quiet)


def _quiet(_line: str) -> None:
    """Say nothing."""


def differences(kernel: Kernel, files: Mapping[str, bytes]) -> list[str]:
    """Return how a kernel's files differ from others for it, as a unified diff."""
    import difflib  # noqa: PLC0415 - only for this

    lines: list[str] = []
    names = sorted({*files, *(name for name, what in kernel.edited().items() if what == "added")})
    for name in names:
        file = kernel.folder / name
        now = file.read_bytes() if file.is_file() else b""
        new = files.get(name, b"")
        if now == new:
            continue
        try:
            one, other = now.decode().splitlines(), new.decode().splitlines()
        except UnicodeDecodeError:
            lines.append(f"{file}: another image")
            continue
        written = f"{name} as htc-kernel refresh writes it" if name in files else "nothing"
        lines += difflib.unified_diff(one, other, str(file), written, lineterm="")
    return lines
