"""HTCondor and Apptainer out of Debian's packages, for one user, without root, installing nothing.

A package and the shared libraries that it needs are fetched with the machine's own apt, which checks their
signatures, into private folders: of apt's own state only its settings and keys are read. They are unpacked
into one prefix, and every ELF file there is told to use the prefix's own loader and libraries. So they may
come from a newer Debian than the machine's, and nothing goes through ``LD_LIBRARY_PATH``: the jobs that
HTCondor starts see the machine's own libraries.

The mirror is the one in apt's sources. ``HTCMAGIC_DEBIAN_MIRROR``, the address of another one, overrides it.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from htcmagic.errors import InstallError
from htcmagic.pool import elf, tools

MIRROR_VARIABLE = "HTCMAGIC_DEBIAN_MIRROR"
NOTE = "htcmagic-origin"
"""A file in each prefix: a phrase that says where it comes from, and the place that it was made for."""

ROOM = 300_000_000
"""Bytes that one installation may take while it is under way, package lists included."""

UPDATE_SECONDS = 600
DOWNLOAD_SECONDS = 3600
_OTHER_WAYS = "Use `conda install -c conda-forge htcondor`, or `htc-pool install --from TARBALL`."
_LOADERS = {
    "amd64": "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
    "arm64": "usr/lib/aarch64-linux-gnu/ld-linux-aarch64.so.1",
}
_SUITES = r"(?:stable|testing|unstable|sid|bullseye|bookworm|trixie|forky|duke)"
_KEYRINGS = [Path(f"/usr/share/keyrings/debian-archive-keyring.{ending}") for ending in ("gpg", "pgp")]
_LIBRARY = re.compile(
    r"zlib1g$|lib(?!perl|python|js-|pam-|semanage|subid|systemd-shared|debconf|sasl2-modules|c-gconv)"
    r"(?!.*-(common|perl)$)"
)
_UNREACHABLE = re.compile(
    r"could not (connect|resolve)|connection failed|failure resolving|timed out|unable to connect|unreachable|given up",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """One thing that can be unpacked.

    Parameters
    ----------
    title : str
        Its name for people.
    packages : tuple of str
        The packages whose programs are wanted; the first one names the version and the folder.
    suites : tuple of str
        Suites of Debian in the order of preference.
    proof : tuple of str
        A command that shows that it runs; the program is relative to the prefix.
    finish : Callable or None
        What is done to the prefix in the end, given the unpacked folder and its final place.
    """

    title: str
    packages: tuple[str, ...]
    suites: tuple[str, ...]
    proof: tuple[str, ...]
    finish: Callable[[Path, Path], None] | None = None


def _finish_apptainer(prefix: Path, final: Path) -> None:
    """Let Apptainer find its configuration, its session folder and its helpers in the prefix."""
    (prefix / "usr/etc").symlink_to("../etc")
    (prefix / "usr/lib/etc").symlink_to("../../etc")
    (prefix / "usr/lib/var/lib/apptainer/mnt/session").mkdir(parents=True)
    configuration = prefix / "etc/apptainer/apptainer.conf"
    text = configuration.read_text(encoding="utf-8")
    # Only root is meant; in many containers it lacks capabilities that "full" would ask for, and nothing starts.
    text = re.sub(r"(?m)^root default capabilities = .*$", "root default capabilities = no", text)
    path = f"{final}/usr/bin:$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    configuration.write_text(f"{text}\nbinary path = {path}\n", encoding="utf-8")


CONDOR = Recipe("HTCondor", ("condor",), ("testing", "sid", "trixie"), ("usr/bin/condor_version",))
APPTAINER = Recipe(
    "Apptainer",
    ("apptainer", "squashfuse", "squashfs-tools", "fuse-overlayfs"),
    ("sid", "testing"),
    ("usr/bin/apptainer", "version"),
    _finish_apptainer,
)


@dataclass(frozen=True, slots=True)
class _Found:
    """The packages of a recipe, as one suite has them."""

    suite: str
    version: str
    packages: list[str]
    size: int


def unpack(recipe: Recipe, work: Path, parent: Path, report: Callable[[str], None]) -> tuple[Path, Path]:
    """Fetch and unpack a recipe's packages.

    Parameters
    ----------
    recipe : Recipe
        What is wanted.
    work : Path
        An empty folder to work in, on the file system of `parent`.
    parent : Path
        The folder that is to hold the prefix.
    report : Callable
        Called with short lines of progress.

    Returns
    -------
    Path
        The prefix, ready but for its place, below `work`.
    Path
        The place below `parent` that it must be renamed to: it works nowhere else.

    Raises
    ------
    InstallError
        There is no apt, no network, no room, or Debian has nothing that fits.
    """
    loader = _LOADERS[_architecture()]
    if shutil.disk_usage(work).free < ROOM:
        raise InstallError(f"{parent} has less than {ROOM // 10**6} MB left.", hint=tools.FULL_DISK)
    if set(str(parent)) & set(':"$\\\n'):
        raise InstallError(
            f"Programs cannot be unpacked below {parent}: its name has a character that they trip over.",
            hint="Set HTCMAGIC_HOME to a folder with a plainer name.",
        )
    report(f"Looking for {recipe.title} in Debian")
    apt, found = _look(recipe, work)
    final = parent / f"{recipe.packages[0]}-{found.version}"
    size = f"{len(found.packages)} packages, {found.size / 1e6:.0f} MB"
    report(f"Fetching {recipe.title} {found.version}: {size}")
    archives, prefix = work / "archives", work / "prefix"
    archives.mkdir()
    prefix.mkdir(mode=0o755)
    _apt(apt, "download", *found.packages, timeout=DOWNLOAD_SECONDS, cwd=archives)
    report(f"Unpacking {recipe.title} {found.version}")
    what = f"Unpacking {recipe.title}"
    tools.spread(lambda archive: tools.run(what, "dpkg-deb", "-x", archive, prefix), archives.iterdir())
    elf.tie(prefix, final, loader)
    if recipe.finish is not None:
        recipe.finish(prefix, final)
    (prefix / NOTE).write_text(f"unpacked from Debian {found.suite}\n{final}\n", encoding="utf-8")
    return prefix, final


def _architecture() -> str:
    """Return Debian's name of this machine's kind, if Debian's tools are here and we know it."""
    for program in ("apt-get", "dpkg", "dpkg-deb"):
        if shutil.which(program) is None:
            raise InstallError(f"There is no {program} here to fetch HTCondor with.", hint=_OTHER_WAYS)
    name = tools.run("Asking dpkg for the architecture", "dpkg", "--print-architecture").strip()
    if name not in _LOADERS:
        raise InstallError(f"HTCondor cannot be unpacked on {name}.", hint=_OTHER_WAYS)
    return name


def _look(recipe: Recipe, work: Path) -> tuple[Path, _Found]:
    """Return apt's private configuration for the first suite that has the recipe, and what it has."""
    mirror, errors = _mirror(), []
    for suite in recipe.suites:
        apt = _private_apt(work / suite, mirror, suite)
        try:
            _apt(apt, "-o", "Acquire::Retries=0", "update", timeout=UPDATE_SECONDS)
            return apt, _closure(recipe, apt, suite)
        except InstallError as error:
            if error.hint == tools.FULL_DISK:
                raise
            if _UNREACHABLE.search(error.message):
                raise InstallError(
                    f"The Debian mirror does not answer: {error.message}",
                    hint=f"Check the network, or set {MIRROR_VARIABLE} to another mirror. {_OTHER_WAYS}",
                ) from None
            errors.append(error.message)
    raise InstallError(
        f"The Debian mirror has no {recipe.title} that can be used: {errors[0]}",
        hint=f"Set {MIRROR_VARIABLE} to another mirror of Debian. {_OTHER_WAYS}",
    )


def _mirror() -> str:
    """Return the address of the machine's Debian mirror, read from what apt would fetch in an update."""
    named = os.environ.get(MIRROR_VARIABLE)
    if named:
        return named.rstrip("/")
    listed = tools.run("Reading apt's sources", "apt-get", "--print-uris", "update", hint=_OTHER_WAYS)
    found = re.findall(rf"(?m)^'(\S+?)/dists/{_SUITES}/(main/)?", listed)
    if not found:
        raise InstallError(
            "apt knows no mirror of Debian on this machine.",
            hint=f"Set {MIRROR_VARIABLE} to the address of one. {_OTHER_WAYS}",
        )
    address: str = max(found, key=lambda one: (bool(one[1]), one[0].endswith("/debian")))[0]
    return address


def _private_apt(folder: Path, mirror: str, suite: str) -> Path:
    """Write a configuration under which apt knows one suite and touches nothing outside `folder`."""
    for name in ("lists/partial", "cache/archives/partial", "parts"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    keyrings = [f"signed-by={keyring}" for keyring in _KEYRINGS if keyring.exists()]
    options = " ".join(["target=Packages", "lang=none", *keyrings[:1]])
    (folder / "sources.list").write_text(f"deb [{options}] {mirror}/ {suite} main\n", encoding="utf-8")
    settings = {
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": folder / "parts",
        "Dir::Etc::preferences": folder / "preferences",
        "Dir::Etc::preferencesparts": folder / "parts",
        "Dir::State": folder,
        "Dir::State::Lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "root",
        "APT::Update::Error-Mode": "any",
        "Debug::NoLocking": "true",
        "APT::Get::AllowUnauthenticated": "false",
        "Acquire::AllowInsecureRepositories": "false",
        "Acquire::AllowDowngradeToInsecureRepositories": "false",
        "Acquire::Retries": "2",
        "Acquire::http::Timeout": "10",
        "Acquire::https::Timeout": "10",
    }
    hooks = ("Pre-Invoke", "Post-Invoke", "Post-Invoke-Success")
    lines = [f'{name} "{value}";' for name, value in settings.items()]
    lines += [f"#clear APT::Update::{hook};" for hook in hooks]
    configuration = folder / "apt.conf"
    configuration.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return configuration


def _apt(apt: Path, *arguments: str, timeout: float = 60, cwd: Path | None = None) -> str:
    command = ("apt-get", "-qq", "-c", str(apt), *arguments)
    return tools.run("apt-get", *command, hint="Check the network and try again.", timeout=timeout, cwd=cwd)


def _closure(recipe: Recipe, apt: Path, suite: str) -> _Found:
    """Return the recipe's packages and, of all that they depend on, the shared libraries."""
    listed = _apt(apt, "install", "--no-install-recommends", "-y", "--print-uris", *recipe.packages)
    sizes, version = {}, None
    for archive, size in re.findall(r"(?m)^'\S+' (\S+\.deb) (\d+)", listed):
        name, packaged, _ = archive.split("_")
        if name == recipe.packages[0]:
            version = re.match(r"(?:\d+%3a)?(\d+(?:\.\d+)*)", packaged)
        if name in recipe.packages or _LIBRARY.match(name):
            sizes[name] = int(size)
    if version is None:
        raise InstallError(f"apt-get install did not list {recipe.packages[0]}.")
    return _Found(suite, version[1], list(sizes), sum(sizes.values()))
