"""What a stack's repositories hold: which releases there are, which platform fits, what is mounted.

Nothing here waits for a file system longer than it is told: :mod:`htcmagic.kernels.mounts` looks.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from glob import escape
from pathlib import Path

from htcmagic.errors import StackError
from htcmagic.kernels.mounts import CVMFS, WITHIN_S, ask, missing, silent
from htcmagic.kernels.stack import Option, Stack, all_folders, read
from htcmagic.kernels.systems import Machine, platform_of_this_machine, system_of

SHOWN = 8
"""How many of the available releases an error names."""


@dataclass(frozen=True, slots=True)
class Known:
    """One line of the catalogue.

    Attributes
    ----------
    name, title, kind, status : str
        As in the stack's file; empty where that cannot be read.
    folder : Path
        Where it is.
    shadowed : tuple of Path
        Folders of the same name that it wins over.
    repositories : tuple of str
        Those it needs.
    mounted : bool or None
        Whether they are there; None if nobody looked, or one did not answer.
    problem : str
        What is wrong with its file; empty if nothing is.
    """

    name: str
    folder: Path
    title: str = ""
    kind: str = ""
    status: str = ""
    shadowed: tuple[Path, ...] = ()
    repositories: tuple[str, ...] = ()
    mounted: bool | None = None
    problem: str = ""


def catalogue(within_s: float = 5.0, *, look: bool = True) -> list[Known]:
    """Return every stack that is found, by name; one that cannot be read is in it, with its problem.

    Parameters
    ----------
    within_s : float
        Longest time to wait for the repositories.
    look : bool
        Whether to look at them at all.
    """
    stacks: list[tuple[Known, Stack | None]] = []
    for name, (folder, *shadowed) in all_folders().items():
        try:
            stack = read(folder)
        except StackError as error:
            stacks.append((Known(name, folder, shadowed=tuple(shadowed), problem=error.message), None))
            continue
        needed = (*stack.repositories, *filter(None, [stack.image_repository]))
        known = Known(name, folder, stack.title, stack.kind, stack.status, tuple(shadowed), needed)
        stacks.append((known, stack))
    wanted = sorted({one for known, _ in stacks for one in known.repositories}) if look else []
    answers = dict(zip(wanted, ask([("filled", f"{CVMFS}/{one}") for one in wanted], within_s), strict=True))
    return [_with_mounts(known, answers) if stack and look else known for known, stack in stacks]


def _with_mounts(known: Known, answers: Mapping[str, object]) -> Known:
    given = [answers[one] for one in known.repositories]
    return replace(known, mounted=None if None in given else all(given))


def releases(
    stack: Stack,
    options: Mapping[str, str] | None = None,
    within_s: float = WITHIN_S,
    *,
    option: str = "release",
    machine: Machine | None = None,
) -> list[str]:
    """Return the values that the repositories have for an option, the newest first.

    Parameters
    ----------
    stack : Stack
        The stack.
    options : mapping, optional
        Options whose values are known; others count as any.
    within_s : float
        Longest time for the repositories to answer.
    option : str
        The option whose values are wanted.
    machine : Machine, optional
        What to look for; by default, this one.

    Raises
    ------
    StackError
        A repository does not answer; or the stack has no such option.
    """
    if option not in stack.options:
        raise StackError(f"The stack {stack.name} has no option {option!r}.", hint=_options_hint(stack))
    look = _Look(stack, stack.options[option], options or {}, machine or platform_of_this_machine(), within_s)
    return _newest_first({value for at in range(len(look.option.listed)) for value in look.values(at)})


def resolve(
    stack: Stack,
    given: Mapping[str, str],
    within_s: float = WITHIN_S,
    *,
    inside: bool = False,
    machine: Machine | None = None,
) -> dict[str, str]:
    """Return a value for every option of a stack: those given, checked, and defaults.

    Parameters
    ----------
    stack : Stack
        The stack.
    given : mapping
        What the user chose; ``latest`` for any option that is listed.
    within_s : float
        Longest time for each look at the repositories.
    inside : bool
        Whether the set-up happens in an image: then this machine's system does not matter.
    machine : Machine, optional
        Where the kernel is to run; by default, here.

    Raises
    ------
    StackError
        An unknown option; a release that is not there; this system is not one of the stack's; a repository that does
        not answer. Where a repository is not mounted, values are taken as they are.
    """
    machine = machine or platform_of_this_machine()
    if inside or stack.kind == "container":
        machine = Machine(machine.arch, "", machine.glibc)
    for name, value in given.items():
        _check_given(stack, name, value)
    if stack.systems and machine.system and machine.system not in stack.systems:
        raise StackError(
            f"{stack.title} works on {', '.join(stack.systems)}; this machine is {machine.system}.",
            hint=f"Run it in an image of one of them: htc-kernel create --cvmfs {stack.name} --container IMAGE",
        )
    away = missing(stack, within_s)
    chosen: dict[str, str] = {}
    for option in stack.options.values():
        wish = given.get(option.name, "") or option.default.replace("{arch}", machine.arch)
        chosen[option.name] = _resolved(_Look(stack, option, chosen, machine, within_s, away), wish)
    return chosen


@dataclass(frozen=True, slots=True)
class _Look:
    stack: Stack
    option: Option
    chosen: Mapping[str, str]
    machine: Machine
    within_s: float
    away: Sequence[str] = field(default_factory=list)

    def values(self, at: int) -> list[str]:
        """Return what one of the option's globs gives; raise StackError if no answer comes."""
        text = self.option.listed[at]
        spelled = list(_globs(text, self.chosen, self.machine))
        # One look at many folders, not one for each spelling of the system; but no look at folders of other systems.
        wide = "{os}" in text.rpartition("/")[2]
        asked = [next(_globs(text.replace("{os}", "*"), self.chosen, self.machine))] if wide else spelled
        answers = ask([("glob", path) for path in asked], self.within_s)
        if None in answers:
            raise silent("/".join(asked[0].split("/")[:3]), self.within_s)
        paths = [str(path) for answer in answers if isinstance(answer, list) for path in answer]
        kept = [path for path in paths if not wide or any(fnmatch(path, one) for one in spelled)]
        return sorted({value for path in kept if (value := _value(self.option, path))})

    @property
    def whose(self) -> str:
        return f"{self.stack.title}'s {self.option.name}"


def _resolved(look: _Look, wish: str) -> str:
    option = look.option
    if wish == "latest" and option.listed:
        value = "" if look.away else _latest(look)
        if value or not (option.required or (option.name == "release" and look.away)):
            return value
        where = f"/cvmfs/{look.away[0]} is not mounted here" if look.away else "none was found"
        raise StackError(
            f"{look.whose} must be named: the newest cannot be looked up, {where}.",
            hint=f"Add {_flag(option, 'NAME')}.",
        )
    if not wish and option.required:
        raise StackError(f"{look.whose} must be named: {option.about}.", hint=f"Add {_flag(option, 'NAME')}.")
    if wish and option.listed and not look.away and not (option.unlisted and re.fullmatch(option.unlisted, wish)):
        _check_listed(look, wish)
    return wish


def _latest(look: _Look) -> str:
    for at in range(len(look.option.listed)):
        group = look.values(at)
        able = [one for one in group if not look.option.latest or re.fullmatch(look.option.latest, one)]
        if look.option.name == "platform":
            able = _fitting(look, able or group)
        if able:
            return _newest_first(able)[0]
    return ""


def _fitting(look: _Look, platforms: list[str]) -> list[str]:
    """Return the platforms that this machine runs best."""
    ranked = {one: look.machine.fit(one) for one in platforms}
    best = max(ranked.values(), default=())
    if platforms and not best:
        here = f"{look.machine.arch}, {look.machine.system or 'any system'}"
        raise StackError(
            f"{look.stack.title} {look.chosen.get('release', '')} is not built for {here}.",
            hint=f"There is {', '.join(_newest_first(platforms)[:SHOWN])}: name one with --platform, and its system's "
            "image with --container.",
        )
    return [one for one, rank in ranked.items() if rank == best]


def _check_listed(look: _Look, wish: str) -> None:
    found: set[str] = set()
    for at in range(len(look.option.listed)):
        found.update(look.values(at))
        if wish in found:
            return
    if not found:
        return  # an unusual repository, of which only the entry is known: the set-up will tell
    known = _newest_first(found)
    near = difflib.get_close_matches(wish, known, n=3)
    shown = ", ".join(known[:SHOWN]) + (" …" if len(known) > SHOWN else "")
    hint = f"Did you mean {' or '.join(near)}? There is: {shown}" if near else f"There is: {shown}"
    raise StackError(f"{look.whose} {wish!r} is not in its repository.", hint=hint)


def _check_given(stack: Stack, name: str, value: str) -> None:
    if name not in stack.options:
        near = difflib.get_close_matches(name, stack.options, n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise StackError(f"The stack {stack.name} has no option {name!r}.", hint=hint + _options_hint(stack))
    if not value.isprintable():
        raise StackError(
            f"{name} of {stack.name} cannot be {value!r}.", hint="Leave line breaks and control codes away."
        )


def _options_hint(stack: Stack) -> str:
    return f"It has: {', '.join(stack.options)}." if stack.options else "It has none."


def _flag(option: Option, value: str) -> str:
    return f"--{option.name} {value}" if option.name in {"release", "platform"} else f"--option {option.name}={value}"


def notes(options: Mapping[str, str], *, machine: Machine | None = None) -> list[str]:
    """Return what a user should know of options that work, but perhaps not well."""
    machine = machine or platform_of_this_machine()
    built = system_of(options.get("platform", ""))
    if not built or built == machine.system:
        return []
    text = (
        f"{options['platform']} is built for {built}, and this machine is {machine.system}: libraries of its system may"
        f" be missing. An image of {built} (--container) has them."
    )
    return [text]


def _value(option: Option, path: str) -> str:
    if not option.pattern:
        return path.rpartition("/")[2]
    found = re.search(option.pattern, path)
    return ",".join(group for group in found.groups() if group) if found else ""


def _globs(text: str, known: Mapping[str, str], machine: Machine) -> Iterator[str]:
    """Yield the globs that one of an option's stands for: one for each spelling of the system."""
    values = {name: escape(value) for name, value in known.items() if value}
    values |= {"arch": machine.arch, "cpu": machine.cpu}
    path = text if text.startswith("/") else f"{CVMFS}/{text}"
    for spelling in machine.spellings() if "{os}" in text else [""]:
        parts = re.split(r"\{(\w+)\}", path.replace("{os}", spelling))
        yield "".join(values.get(part, "*") if at % 2 else part for at, part in enumerate(parts))


def _newest_first(values: Iterable[str]) -> list[str]:
    return sorted(values, key=_age, reverse=True)


def _age(value: str) -> list[tuple[int, int, str]]:
    """Return what sorts versions: numbers as numbers, and ``1.0-pre1`` before ``1.0``."""
    key = []
    for part in re.split(r"(\d+)", value):
        if part.isdigit():
            key.append((3, int(part), ""))
        elif part:
            early = re.match(r"[-_.~]?(pre|rc|alpha|beta|dev)", part)
            key.append((0 if early else 2, 0, part))
    return [*key, (1, 0, "")]
