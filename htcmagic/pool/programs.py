"""HTCondor's programs: where they are on this machine, and how they get here when they are not.

They may be HTCondor's own packages, a conda environment, a release that somebody named with ``--from``, or what
:mod:`htcmagic.pool.debian` unpacked for this user. All of them look different; :class:`Programs` hides that.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from htcmagic import places
from htcmagic.errors import HTCMagicError, InstallError
from htcmagic.pool import debian, tools

_TEMPORARY = ".new-"
_LIBEXEC_SIGNS = ("condor_shared_port", "condor_ssh_to_job_sshd_setup")
_LIB_SIGNS = ("condor_ssh_to_job_sshd_config_template", "CondorJavaInfo.class")
_NO_RELEASE = "A release of HTCondor has bin/condor_version and sbin/condor_master."


@dataclass(frozen=True, slots=True)
class Programs:
    """HTCondor's programs on this machine.

    Parameters
    ----------
    release_dir : Path
        The folder that holds all others: HTCondor's ``RELEASE_DIR``.
    bin, sbin, libexec, lib : Path
        The folders that HTCondor's configuration calls ``BIN``, ``SBIN``, ``LIBEXEC`` and ``LIB``.
    version : str
        HTCondor's version, as in ``25.14.1``.
    origin : str
        Where they come from, as one phrase for the user: "on PATH".
    apptainer : Path or None
        Apptainer or Singularity, for jobs in containers.
    """

    release_dir: Path
    bin: Path
    sbin: Path
    libexec: Path
    lib: Path
    version: str
    origin: str
    apptainer: Path | None

    def program(self, name: str) -> Path:
        """Return the path of a program in ``BIN`` or ``SBIN``.

        Parameters
        ----------
        name : str
            Its name, as in ``condor_q``.

        Raises
        ------
        InstallError
            This HTCondor has no such program.
        """
        for folder in (self.bin, self.sbin):
            if os.access(folder / name, os.X_OK):
                return folder / name
        raise InstallError(f"HTCondor {self.version} {self.origin} has no {name}.")


def find() -> Programs | None:
    """Return HTCondor's programs if they are on this machine.

    Returns
    -------
    Programs or None
        Those that were named to :func:`install`, else those on PATH, else those of the conda environment, else those
        unpacked for this user. Programs that do not run on this machine do not count.
    """
    for root, origin in _roots():
        with contextlib.suppress(InstallError):
            return _at(root, origin)
    return None


def install(source: Path | None = None, *, with_apptainer: bool = False, report: Callable[[str], None]) -> Programs:
    """Return HTCondor's programs, and get them first if need be.

    Parameters
    ----------
    source : Path, optional
        A folder with a release of HTCondor, or a tarball of one. It is remembered and preferred to others.
    with_apptainer : bool, optional
        Whether Apptainer is wanted, too.
    report : Callable
        Called with short lines of progress.

    Raises
    ------
    InstallError
        They cannot be had; the message says why and what else can be done.
    """
    found = find() if source is None else None
    if found is not None and (found.apptainer is not None or not with_apptainer):
        return found
    if not sys.platform.startswith("linux"):
        hint = "Run the notebook on a Linux machine or in a Linux container."
        raise InstallError("HTCondor's daemons run on Linux only.", hint=hint)
    with _to_ourselves(report) as work:
        if source is not None:
            _remember(source.expanduser().absolute(), work, report)
        elif find() is None:
            _unpack(debian.CONDOR, work / "condor", report)
        if with_apptainer and _apptainer() is None:
            _unpack(debian.APPTAINER, work / "apptainer", report)
    found = find()
    if found is None:
        raise InstallError("HTCondor was installed, but cannot be found again.", hint="Try once more.")
    return found


def _roots() -> Iterator[tuple[Path, str]]:
    """Return the folders that may hold HTCondor, best first, each with a phrase on where it comes from."""
    named = _remembered()
    if named is not None:
        yield named, f"from {named}"
    conda = [path for path in (Path(sys.prefix), Path(os.environ.get("CONDA_PREFIX", "/"))) if _is_conda(path)]
    for folder in os.get_exec_path():
        version = Path(folder) / "condor_version"
        if os.access(version, os.X_OK):
            root = Path(os.path.realpath(version)).parent.parent
            ours = next((path for path in conda if os.path.realpath(path) == str(root)), None)
            yield root, f"in the conda environment {ours}" if ours else "on PATH"
    for path in conda:
        yield path, f"in the conda environment {path}"
    for prefix in _unpacked(debian.CONDOR):
        yield prefix / "usr", _note(prefix)[0]


def _is_conda(path: Path) -> bool:
    return os.access(path / "conda-meta", os.R_OK)


def _at(root: Path, origin: str) -> Programs:
    """Return the programs below `root`; raise an InstallError if there are none, or they do not run."""
    sbin = _first((root / "sbin", root / "bin"), ("condor_master",))
    if sbin is None:
        raise InstallError(f"HTCondor {origin} lacks condor_master.", hint=_NO_RELEASE)
    hint = "Is it made for this machine?"
    said = tools.run(f"HTCondor {origin}", root / "bin/condor_version", timeout=30, hint=hint)
    version = re.search(r"\$CondorVersion: (\d+(?:\.\d+)+)", said)
    if version is None:
        raise InstallError(f"HTCondor {origin} tells no version.", hint=_NO_RELEASE)
    libs = [root / name for name in ("lib/condor", "lib64/condor", "lib", "lib64")]
    libexecs = [root / "libexec/condor", root / "libexec", *(lib / "libexec" for lib in libs)]
    return Programs(
        release_dir=root,
        bin=root / "bin",
        sbin=sbin,
        libexec=_first(libexecs, _LIBEXEC_SIGNS) or root / "libexec",
        lib=_first(libs, _LIB_SIGNS) or root / "lib",
        version=version[1],
        origin=origin,
        apptainer=_apptainer(),
    )


def _first(folders: Iterable[Path], signs: tuple[str, ...]) -> Path | None:
    """Return the first of `folders` that holds one of `signs`."""
    return next((folder for folder in folders if any(os.access(folder / sign, os.R_OK) for sign in signs)), None)


def _apptainer() -> Path | None:
    ours = (prefix / "usr/bin/apptainer" for prefix in _unpacked(debian.APPTAINER))
    named = (shutil.which(name) for name in ("apptainer", "singularity"))
    return next((Path(path) for path in (*ours, *named) if path), None)


def _unpacked(recipe: debian.Recipe) -> list[Path]:
    """Return the prefixes of a recipe, newest version first, that lie where they were made for."""
    folder, name = places.programs_dir(), recipe.packages[0]
    if not os.access(folder, os.R_OK | os.X_OK):
        return []
    found = [path for path in folder.glob(f"{name}-[0-9]*") if _note(path)[1:] == [str(path)]]
    return sorted(found, key=lambda path: [int(part) for part in re.findall(r"\d+", path.name)], reverse=True)


def _note(prefix: Path) -> list[str]:
    """Return the two lines of a prefix's note; nothing if it has none."""
    try:
        return (prefix / debian.NOTE).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


@contextlib.contextmanager
def _to_ourselves(report: Callable[[str], None]) -> Iterator[Path]:
    """Hold the lock of the programs' folder and give a work folder in it; nothing of it is left behind."""
    try:
        folder = places.private(places.programs_dir())
        with (folder / ".lock").open("a") as lock:
            _lock(lock.fileno(), report)
            for left in folder.glob(f"{_TEMPORARY}*"):
                _remove(left)
            work = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=folder))
            try:
                yield work
            finally:
                _remove(work)
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        raise InstallError(
            f"Cannot write to {error.filename or places.programs_dir()}: {error.strerror}.",
            hint=tools.FULL_DISK if full else "Set HTCMAGIC_HOME to a folder that you can write to.",
        ) from None
    except InstallError:
        raise
    except HTCMagicError as error:
        raise InstallError(error.message, hint=error.hint) from None


def _remove(folder: Path) -> None:
    """Remove a work folder, though programs of a killed installation may still be writing into it for a moment."""
    for _ in range(30):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)


def _lock(descriptor: int, report: Callable[[str], None]) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        report("Waiting for another installation to end")
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _unpack(recipe: debian.Recipe, work: Path, report: Callable[[str], None]) -> None:
    started = time.monotonic()
    work.mkdir()
    prefix, final = debian.unpack(recipe, work, places.programs_dir(), report)
    _put(prefix, final, work)
    hint = f"Set HTCMAGIC_HOME to a folder from where programs may run, unlike {final.parent}."
    try:
        tools.run(f"Running {recipe.title}", final / recipe.proof[0], *recipe.proof[1:], hint=hint)
    except InstallError:
        _put(None, final, work)
        raise
    report(f"{recipe.title} {final.name.rpartition('-')[2]} is ready in {time.monotonic() - started:.0f} s")


def _put(new: Path | None, final: Path, work: Path) -> None:
    """Rename `new` to `final`; what was there before goes with the work folder."""
    if final.exists():
        final.rename(Path(tempfile.mkdtemp(dir=work)) / "old")
    if new is not None:
        new.rename(final)


def _record() -> Path:
    return places.programs_dir() / "from.json"


def _remembered() -> Path | None:
    try:
        return Path(json.loads(_record().read_text(encoding="utf-8"))["release_dir"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(source: Path, work: Path, report: Callable[[str], None]) -> None:
    """Check that `source` is a release of HTCondor, unpack it if it is a tarball, and note its place."""
    started = time.monotonic()
    if source.is_dir():
        found = _release(source, source)
        root = found.release_dir
    elif source.exists():
        report(f"Unpacking {source.name}")
        folder = work / "release"
        folder.mkdir()
        hint = f"Is it a tarball? {_NO_RELEASE}"
        tools.run(f"Unpacking {source.name}", "tar", "-xf", source, "-C", folder, "--no-same-owner", hint=hint)
        found = _release(folder, source)
        final = places.programs_dir() / f"from-{found.version}"
        _put(folder, final, work)
        root = final / found.release_dir.relative_to(folder)
    else:
        raise InstallError(f"{source} does not exist.", hint=_NO_RELEASE)
    draft = work / "from.json"
    draft.write_text(json.dumps({"release_dir": str(root)}) + "\n", encoding="utf-8")
    draft.replace(_record())
    report(f"HTCondor {found.version} is ready in {time.monotonic() - started:.0f} s")


def _release(folder: Path, source: Path) -> Programs:
    """Return the release that `folder` is or holds, at most two folders down."""
    for pattern in (".", "usr", "*", "*/usr"):
        for root in sorted(folder.glob(pattern)) if pattern != "." else [folder]:
            if os.access(root / "bin/condor_version", os.R_OK):
                return _at(root, f"from {source}")
    raise InstallError(f"{source} holds no HTCondor.", hint=_NO_RELEASE)
