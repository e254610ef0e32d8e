"""``htc-kernel doctor``: what is known to break kernels, looked for in every kernel of this machine, ours or not.

Each test is a failure that was measured. Nothing is changed and no kernel is started; at most a kernel's python is
asked for its packages, with a limit.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from htcmagic.errors import KernelError
from htcmagic.kernels import kernelspec
from htcmagic.kernels.foreign import Command, read
from htcmagic.kernels.kernelspec import Kernel

LOOK_S = 5.0
"""Longest time to look at one path: repositories and network folders may hang."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or will be.

    Attributes
    ----------
    check : str
        Which test found it.
    problem : str
        One line.
    remedy : str
        One line: what to do.
    kernel : str
        The kernel's name; empty for the machine.
    folder : str
        Where that kernel is.
    """

    check: str
    problem: str
    remedy: str
    kernel: str = ""
    folder: str = ""

    def as_json(self) -> dict[str, str]:
        """Return it for machines."""
        return {
            "kernel": self.kernel,
            "folder": self.folder,
            "check": self.check,
            "problem": self.problem,
            "remedy": self.remedy,
        }


@dataclass(slots=True)
class Patient:
    """A kernel that is looked at, and what was found.

    Attributes
    ----------
    kernel : Kernel
        What its folder says.
    hides : list of Kernel
        Kernels of the same name that it hides.
    """

    kernel: Kernel
    hides: list[Kernel] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    command: Command = field(init=False)

    def __post_init__(self) -> None:
        self.command = read(self.kernel)

    @property
    def env(self) -> dict[str, str]:
        """What ``kernel.json`` sets, and ``env`` in front of the command."""
        given = self.kernel.data.get("env")
        plain = {str(key): str(value) for key, value in given.items()} if isinstance(given, dict) else {}
        return {**plain, **self.command.settings}

    @property
    def metadata(self) -> dict[str, Any]:
        """What ``kernel.json`` says under ``metadata``."""
        metadata = self.kernel.data.get("metadata")
        return metadata if isinstance(metadata, dict) else {}

    def say(self, check: str, problem: str, remedy: str) -> None:
        """Note a finding."""
        self.findings.append(Finding(check, problem, remedy, self.kernel.name, str(self.kernel.folder)))


def patients(names: Collection[str] = ()) -> list[Patient]:
    """Return all kernels that Jupyter sees here, or those of these names.

    Raises
    ------
    KernelError
        There is no kernel of a name.
    """
    found: dict[str, Patient] = {}
    for base in kernelspec.folders():
        for folder in _folders(base):
            kernel = kernelspec.read(folder)
            if kernel.name in found:
                found[kernel.name].hides.append(kernel)
            else:
                found[kernel.name] = Patient(kernel)
    for name in names:
        if name.lower() not in found:
            kernelspec.find(name)  # raises, with the names that are near
            raise KernelError(f"There is no kernel {name!r}.")
    wanted = {name.lower() for name in names} or set(found)
    return [found[name] for name in sorted(wanted)]


def _folders(base: Path) -> Iterator[Path]:
    try:
        entries = sorted(base.iterdir())
    except OSError:
        return
    for folder in entries:
        if (folder / "kernel.json").is_file() and not folder.name.startswith(".htcmagic."):
            yield folder


def examine(names: Collection[str] = ()) -> list[Finding]:
    """Return what is wrong with the kernels of these names, or with all kernels and the machine.

    Parameters
    ----------
    names : collection of str
        Kernels; empty for all.

    Raises
    ------
    KernelError
        There is no kernel of a name.
    """
    from htcmagic.kernels import (  # noqa: PLC0415 - only for this command
        doctor_command,
        doctor_container,
        doctor_machine,
        doctor_ours,
        doctor_python,
        doctor_spec,
    )

    everybody = patients()
    chosen = [one for one in everybody if not names or one.kernel.name in {name.lower() for name in names}]
    if names:
        patients(names)
    tests = (doctor_spec.test, doctor_command.test, doctor_container.test, doctor_ours.test, doctor_python.test)

    def look(one: Patient) -> None:
        for test in tests[: 1 if one.kernel.problem else None]:
            test(one)

    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(look, chosen))
    doctor_spec.compare(everybody, chosen)
    machine = [] if names else doctor_machine.test()
    return [*machine, *(finding for one in chosen for finding in one.findings)]


def within(limit_s: float, question: Callable[[], _T], otherwise: _T) -> _T:
    """Return the answer to `question`; `otherwise` if there is none in time, as where a repository hangs."""
    answers: list[_T] = []

    def ask() -> None:
        try:
            answers.append(question())
        except OSError:
            answers.append(otherwise)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(limit_s)
    return answers[0] if answers else otherwise


def is_there(path: str) -> bool:
    """Return whether something is at `path`; False if that cannot be told in time."""
    return within(LOOK_S, lambda: os.path.exists(path), otherwise=False)  # noqa: PTH110
