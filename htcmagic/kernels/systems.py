"""Which machine this is, in the words of stacks: ``x86_64``, ``el9``; and which of their platforms it can run."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass

_FAMILIES = {
    "el": ("el", "almalinux", "alma", "rocky", "rhel", "redhat", "centos", "slc", "sl", "cc", "ol"),
    "ubuntu": ("ubuntu",),
    "debian": ("debian",),
}
_GLIBC = {
    "el6": (2, 12), "el7": (2, 17), "el8": (2, 28), "el9": (2, 34), "el10": (2, 39),
    "ubuntu18": (2, 27), "ubuntu20": (2, 31), "ubuntu22": (2, 35), "ubuntu24": (2, 39),
    "debian10": (2, 28), "debian11": (2, 31), "debian12": (2, 36), "debian13": (2, 41),
}  # fmt: skip
_CPUS = {"x86_64": ("x86_64", "amd64"), "aarch64": ("aarch64", "arm64"), "ppc64le": ("ppc64le",)}
_SYSTEM = re.compile(r"(?<![a-z])(el|almalinux|alma|rocky|rhel|centos|slc|sl|cc|ubuntu|debian)_?(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Machine:
    """What decides which binaries run.

    Attributes
    ----------
    arch : str
        As ``uname -m`` says: ``x86_64``, ``aarch64``.
    system : str
        As ``el9`` (and its rebuilds), ``ubuntu22``, ``debian12``; empty if not known, as in an image.
    glibc : tuple of int
        The C library's version; empty if not known.
    """

    arch: str
    system: str
    glibc: tuple[int, ...] = ()

    @property
    def cpu(self) -> str:
        """The architecture as Debian and CMS write it for PCs: ``amd64``."""
        return "amd64" if self.arch == "x86_64" else self.arch

    def spellings(self) -> list[str]:
        """Return the names that stacks have for this system: ``el9 almalinux9 RHEL_9 …``; any, if it is not known."""
        family, number = _split(self.system)
        if not family:
            return [self.system or "*"]
        names = [f"{one}{number}" for one in _FAMILIES.get(family, (family,))]
        if family == "el":
            return [*names, f"RHEL_{number}"]
        if family == "ubuntu":
            return [*names, f"ubuntu{number}04", f"ubuntu{number}.04", f"Ubuntu_{number}.04"]
        return names

    def fit(self, name: str) -> tuple[int, ...]:
        """Return how well what is called `name` runs here; greater is better, empty means not at all.

        A platform of the same system is best. Else one whose C library is not newer than ours: binaries find every
        symbol they ask for, though perhaps not every library of their system.
        """
        for arch, words in _CPUS.items():
            if arch != self.arch and any(word in name for word in words):
                return ()
        built = system_of(name)
        if not self.system:
            return (2, int(built.startswith("el")))  # most images are
        if not built or built == self.system:
            return (2,)
        theirs, ours = _GLIBC.get(built, ()), self.glibc or _GLIBC.get(self.system, ())
        return (1, *theirs) if theirs and ours and theirs <= ours else ()


def _split(system: str) -> tuple[str, str]:
    found = re.fullmatch(r"([a-z]+)(\d+)", system)
    return (found[1], found[2]) if found else ("", "")


def system_of(text: str) -> str:
    """Return the system that a platform's name speaks of, as ``el9``; empty if none.

    Examples
    --------
    >>> system_of("x86_64-ubuntu2204-gcc11-opt"), system_of("slc7_amd64_gcc900")
    ('ubuntu22', 'el7')
    """
    found = _SYSTEM.search(text)
    if not found:
        return ""
    word, number = found[1].lower(), found[2]
    if word in _FAMILIES["el"]:
        return f"el{number}"
    return f"{word}{number[:2]}"


def platform_of_this_machine() -> Machine:
    """Return what this machine is, from ``uname``, ``/etc/os-release`` and the C library."""
    try:
        told = platform.freedesktop_os_release()
    except OSError:
        told = {}
    return Machine(platform.machine(), _system(told), _glibc())


def _system(told: dict[str, str]) -> str:
    number = told.get("VERSION_ID", "").partition(".")[0]
    names = [told.get("ID", "").lower(), *told.get("ID_LIKE", "").lower().split()]
    if names[0] in _FAMILIES["el"] or (names[0] not in _FAMILIES and names[0] != "fedora" and "rhel" in names):
        return f"el{number}"
    return f"{names[0]}{number}" if re.fullmatch(r"[a-z]+", names[0]) else ""


def _glibc() -> tuple[int, ...]:
    try:
        said = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        return ()
    return tuple(int(part) for part in re.findall(r"\d+", said)[:2])
