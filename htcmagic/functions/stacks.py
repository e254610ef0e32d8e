"""A software stack for jobs, without a kernel: its set-up rendered for them."""

from __future__ import annotations

import hashlib

from htcmagic import places
from htcmagic.errors import StackError
from htcmagic.kernels import wishes, wrapper
from htcmagic.kernels.environment import JobEnvironment


def environment(named: str) -> JobEnvironment:
    """Return what a job needs to run in a stack.

    Parameters
    ----------
    named : str
        ``NAME``, or ``NAME:RELEASE``.

    Raises
    ------
    KernelError
        There is no such stack or release, or it is not mounted here.
    """
    name, _, release = named.partition(":")
    wanted = {"cvmfs": name, "name": f"stack-{name.lower()}", **({"release": release} if release else {})}
    recipe, stack = wishes.recipe_from(wanted)
    text = wrapper.render(recipe, stack, f"%%condor_python --stack {named}")
    problem = wrapper.syntax_problem(text)
    if problem:
        raise StackError(f"{named}: its set-up would not be valid bash: {problem.splitlines()[0]}")
    folder = places.private(places.home() / "setups")
    file = folder / f"{name}-{hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}.sh"
    if not file.exists():
        new = file.with_suffix(".new")
        new.write_text(text, encoding="utf-8", errors="surrogateescape")
        new.replace(file)
    image = recipe.container.image if recipe.container is not None else None
    return JobEnvironment(named, stack.about if stack else "", file, image, image, kind="stack")
