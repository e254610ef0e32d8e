"""Images and what runs them: found, fetched, looked into.

What is asked of an image's registry or of its labels goes through spython, which knows one program, ``singularity``,
and talks on its own; so it runs in a process of its own, with that name on PATH for whatever was found.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from htcmagic import places
from htcmagic.errors import ContainerError
from htcmagic.kernels import outside
from htcmagic.kernels.recipe import Container, name_from

SITE_RUNTIME = "/cvmfs/oasis.opensciencegrid.org/mis/singularity/bin/singularity"  # codespell:ignore mis
PULLED = ("docker", "oras", "library", "shub", "docker-archive", "docker-daemon", "oci", "oci-archive", "http", "https")
INSTALL_HINT = "Install one, or get one for you alone: htc-pool install --with apptainer"
ANSWER_S = 20
"""For a program that tells its version, or a file system that tells whether an image is there."""
_ROOTS = ("bin", "usr/bin", ".singularity.d")
_FULL = re.compile(r"no space left|disk quota exceeded", re.IGNORECASE)
_NO_SUCH = re.compile(r"manifest unknown|not found|name unknown|denied|unauthorized", re.IGNORECASE)
_UNREACHABLE = re.compile(
    r"no such host|connection refused|timeout|timed out|network is unreachable|lookup .* on", re.IGNORECASE
)
_PULL = """
import sys
from spython.main import Client
from spython.utils import stream_command
try:
    for line in stream_command(Client._init_command(sys.argv[1:]), output_type="both"):
        sys.stdout.write(line)
        sys.stdout.flush()
except Exception as error:
    sys.exit(1)
"""
_INSPECT = """
import json, sys
from spython.main import Client
Client.quiet = True
said = Client.inspect(sys.argv[1])
sys.stdout.write("\\n" + ("".join(said["message"]) if "message" in said else json.dumps(said)))
"""

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Runtime:
    """The program that starts images.

    Attributes
    ----------
    path : Path
        Where it is.
    kind : str
        ``apptainer``, ``singularity-ce``, or ``singularity`` for the one that was before both.
    version : str
        As ``1.4.5``.
    """

    path: Path
    kind: str
    version: str

    def __str__(self) -> str:
        return f"{self.kind} {self.version}"


@dataclass(frozen=True, slots=True)
class Inside:
    """What an image says of itself.

    Attributes
    ----------
    labels : dict
        Its labels.
    environment : str
        The shell text that sets its variables; empty where the image has none.
    """

    labels: dict[str, str]
    environment: str


def runtime(recorded: str = "") -> Runtime:
    """Return the program that starts images here; who it is, it says itself, as ``singularity`` may be either.

    Parameters
    ----------
    recorded : str
        One to try first.

    Raises
    ------
    ContainerError
        There is none.
    """
    for one in _candidates(recorded):
        found = _asked(one)
        if found is not None:
            return found
    raise ContainerError("Neither apptainer nor singularity is on this machine.", hint=INSTALL_HINT)


def prepare(box: Container, *, report: Report, sif: bool = False) -> Container:
    """Return a container that can be started: its runtime found, its image there, pulled if need be.

    Parameters
    ----------
    box : Container
        As the user described it.
    report : callable
        Is told what takes long.
    sif : bool
        Whether a pulled image becomes one file rather than a folder; it starts more slowly.

    Raises
    ------
    ContainerError
        There is no runtime, no such image, or it cannot be pulled.
    """
    outside.check(box)
    if not box.image:
        raise ContainerError(
            "No image is named.", hint="Write --container IMAGE: a folder, a .sif file, docker://NAME:TAG …"
        )
    found = runtime(box.runtime)
    scheme, separator, _ = box.image.partition("://")
    if not separator:
        scheme = (
            box.image.partition(":")[0] if box.image.startswith(("docker-archive:", "oci-archive:", "oci:")) else ""
        )
    if not scheme:
        return replace(box, path=str(_local(box.image)), runtime=str(found.path))
    if scheme not in PULLED:
        raise ContainerError(
            f"{box.image}: images do not come from {scheme}://.", hint=f"Use one of {', '.join(PULLED)}."
        )
    return replace(box, path=str(_pulled(box.image, found, report, sif=sif)), runtime=str(found.path))


def inspect(image: str | Path, found: Runtime | None = None) -> Inside:
    """Return an image's labels and environment.

    Raises
    ------
    ContainerError
        It cannot be read.
    """
    with _spython(found or runtime(), _INSPECT, str(image)) as child:
        said, _ = child.communicate()
    try:
        attributes: dict[str, Any] = json.loads(said.rpartition("\n")[2])["attributes"]
    except (ValueError, KeyError, TypeError):
        raise ContainerError(f"{image} cannot be inspected: {_reason(said)}.", hint="Is it an image?") from None
    labels = attributes.get("labels")
    texts = attributes.get("environment")
    text = "\n".join(texts.values()) if isinstance(texts, dict) else texts or ""
    return Inside(labels if isinstance(labels, dict) else {}, text)


def _candidates(recorded: str) -> Iterator[str]:
    yield from (one for one in (os.environ.get("HTCMAGIC_APPTAINER", ""), recorded, "apptainer", "singularity") if one)
    yield from map(str, sorted(places.programs_dir().glob("apptainer-*/usr/bin/apptainer"), reverse=True))
    yield SITE_RUNTIME


def _asked(program: str) -> Runtime | None:
    path = shutil.which(program)
    if path is None:
        return None
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, errors="replace", timeout=ANSWER_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    # "apptainer version 1.4.5", "singularity-ce version 4.1.0", "singularity version 3.5.2", "2.6.1-dist"
    told = re.match(r"(?:(\S+) version )?v?(\d+\.\d+\S*)", done.stdout.strip())
    if done.returncode or told is None:
        return None
    return Runtime(Path(path).absolute(), told[1] or "singularity", told[2])


def _local(named: str) -> Path:
    path = Path(named).expanduser().absolute()
    # Another process looks: a repository that hangs would take this one with it.
    try:
        look = ["test", "-e", str(path)]
        there = (
            subprocess.run(look, timeout=ANSWER_S, check=False).returncode == 0
            if path.is_relative_to("/cvmfs")
            else path.exists()
        )
    except subprocess.TimeoutExpired:
        raise ContainerError(
            f"{path} does not answer within {ANSWER_S} s.", hint="Ask those who run CVMFS here."
        ) from None
    except OSError as error:
        raise ContainerError(f"{path} cannot be looked at: {error.strerror}.") from None
    if not there:
        hint = "Give a folder, a .sif file, or an address such as docker://NAME:TAG."
        if path.is_relative_to("/cvmfs"):
            repository = "/".join(path.parts[:3])[1:]
            hint = f"Is {repository} mounted, and the image's tag right? ls {path.parent}"
        elif re.fullmatch(r"[\w.-]+(/[\w.-]+)*(:[\w.-]+)?", named):
            hint = f"Did you mean docker://{named}?"
        raise ContainerError(f"There is no image {named}.", hint=hint)
    if path.is_dir() and not any((path / root).is_dir() for root in _ROOTS):
        raise ContainerError(
            f"The folder {path} is no image: it holds no system.", hint="An image's folder has bin, usr, etc …"
        )
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        raise ContainerError(f"The image {path} is not yours to read.", hint="Ask its owner.")
    return path


def _pulled(image: str, found: Runtime, report: Report, *, sif: bool) -> Path:
    """Return the copy of an image that is kept here; fetch it first if need be, whole or not at all."""
    images = places.home() / "images"
    tag = hashlib.sha256(image.encode()).hexdigest()[:8]
    final = images / f"{name_from(image.partition('://')[2] or image)}-{tag}{'.sif' if sif else ''}"
    if final.exists():
        report(f"{image} is here already: {final}")
        return final
    report(f"Fetching {image} into {final}")
    try:
        images.mkdir(mode=0o700, parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".new-", dir=images))
    except OSError as error:
        raise _unwritable(error) from None
    try:
        draft = work / "image"
        # Small blocks and a fast packing: a kernel that starts from a file reads a thousand small files.
        how = (
            ["--mksquashfs-args", "-comp zstd -Xcompression-level 6 -b 32K"]
            if sif and found.kind == "apptainer"
            else []
        )
        _pull([*(how if sif else ["--sandbox", "--fix-perms"]), str(draft), image], image, found, report)
        with contextlib.suppress(OSError):  # somebody else was faster, and theirs is as good
            draft.rename(final)
        if not final.exists():
            raise ContainerError(f"{image} was fetched, but {final} cannot be written.", hint="Is the disk full?")
    except OSError as error:
        raise _unwritable(error) from None
    finally:
        _remove(work)
    return final


def _pull(words: list[str], image: str, found: Runtime, report: Report) -> None:
    said: list[str] = []
    with _spython(found, _PULL, "build", "--force", *words) as child:
        for line in child.stdout or ():
            plain = re.sub(r"\x1b\[[0-9;]*m", "", line).strip()
            said.append(plain)
            if plain.startswith("INFO:") and "Build complete" not in plain:
                report(f"  {plain.removeprefix('INFO:').strip()}")
    if child.returncode == 0:
        return
    reason = _reason("\n".join(said))
    hint = f"Try it yourself: {found.path} build --sandbox DIR {image}"
    if _FULL.search(reason):
        hint = (
            "Free some space, or set HTCMAGIC_HOME, APPTAINER_TMPDIR, APPTAINER_CACHEDIR to folders on a larger disk."
        )
    elif _NO_SUCH.search(reason):
        hint = f"Is the name right, and may you read it? A private image wants: {found.path} registry login …"
    elif _UNREACHABLE.search(reason):
        hint = "Is its registry's name right, and the network up?"
    raise ContainerError(f"{image} cannot be fetched: {reason}.", hint=hint)


def _reason(said: str) -> str:
    """Return the line that tells most, without the runtime's own prefix."""
    lines = [line.strip() for line in re.sub(r"\x1b\[[0-9;]*m", "", said).splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(("FATAL", "ERROR"))] or lines or ["it said nothing"]
    reason = re.sub(r"^(FATAL|ERROR):\s*", "", told[-1])
    return re.sub(r"^(While performing build: |conveyor failed to get: )+", "", reason).rstrip(".")[:300]


@contextlib.contextmanager
def _spython(found: Runtime, code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run `code` with spython in a process that finds the runtime by the one name it knows."""
    with tempfile.TemporaryDirectory(prefix="htcmagic-") as folder:
        # Not a link: an unpacked program finds its own files by the place it is called at.
        program = Path(folder) / "singularity"
        program.write_text(f'#!/bin/sh\nexec "{found.path}" "$@"\n', encoding="utf-8")
        program.chmod(0o700)
        env = os.environ | {"PATH": f"{folder}:{os.environ.get('PATH', os.defpath)}", "MESSAGELEVEL": "1"}
        child = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=env,
        )
        try:
            yield child
        finally:
            if child.poll() is None and sys.exc_info()[0] is not None:
                child.terminate()
            child.wait()
            if child.stdout is not None:
                child.stdout.close()


def _unwritable(error: OSError) -> ContainerError:
    return ContainerError(
        f"Cannot write to {error.filename or places.home()}: {error.strerror}.",
        hint="Set HTCMAGIC_HOME to a folder with room that you can write to.",
    )


def _remove(work: Path) -> None:
    """Delete it even where an image has folders that nobody may write to."""
    for where, _, _ in os.walk(work):
        with contextlib.suppress(OSError):
            Path(where).chmod(0o700)
    shutil.rmtree(work, ignore_errors=True)
