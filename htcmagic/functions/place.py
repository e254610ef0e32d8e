"""Where the Python of a job comes from, and what a job may ask for."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from htcmagic.errors import CellError, ContainerError
from htcmagic.jobs import commands
from htcmagic.kernels.environment import JobEnvironment

if TYPE_CHECKING:
    from htcmagic.functions.shipping import Report

NO_KERNEL = "none"
WORDS = {"memory": "request_memory", "cpus": "request_cpus", "disk": "request_disk", "gpus": "request_gpus"}
"""Short words for what every job asks for."""
OURS = frozenset(
    """
    executable cmd arguments args queue universe transfer_executable transfer_output_files transfer_output_remaps
    container_image docker_image input in
    """.split()  # noqa: SIM905
)
"""Submit commands by which Python work itself is done."""
INSIDE = ("APPTAINER_CONTAINER", "SINGULARITY_CONTAINER")
"""Variables that tell a process which image it runs in."""

OWN = "the notebook's own Python"

_defaults: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Place:
    """How a job comes to a Python.

    Attributes
    ----------
    python : str
        The interpreter's path on the worker; empty: the one of the environment.
    environment : JobEnvironment or None
        The kernel's set-up or image around it; None for none.
    about : str
        In a few words, for people.
    archive : Path or None
        Packages that go along.
    """

    python: str = sys.executable
    environment: JobEnvironment | None = None
    about: str = OWN
    archive: Path | None = None

    def command(self) -> str:
        """Return the shell word that is Python."""
        if self.python:
            return shlex.quote(self.python)
        if self.environment is None:
            return "python3"
        if self.environment.wrapper is not None:
            return "${HTCMAGIC_PYTHON:-python3}"  # as the set-up has found it
        return shlex.quote(self.environment.python)

    def shell(self) -> str:
        """Return the lines of a job's script that find Python: in ``$htc_python``, and its packages in PYTHONPATH."""
        lines = [f"htc_python={self.command()}"]
        if self.archive is not None:
            version = f"{sys.version_info[0]}.{sys.version_info[1]}"
            if not self.python and (self.environment is None or self.environment.wrapper is None):
                lines = [SEARCH.replace("VERSION", version)]
            lines.append(UNPACK.replace("ARCHIVE", shlex.quote(str(self.archive))))
        return "\n".join(lines)


SEARCH = """\
htc_python=
for htc_word in pythonVERSION python3 python; do
    if "$htc_word" -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != "VERSION")' 2>/dev/null; then
        htc_python=$(command -v "$htc_word")
        break
    fi
done
if [ -z "$htc_python" ]; then
    htc_word=$(python3 -c 'import sys; print("only Python %d.%d" % sys.version_info[:2])' 2>/dev/null)
    htc_word="there is no Python VERSION on $(hostname), ${htc_word:-nor another}"
    printf 'htcmagic: PythonMismatch: %s\\n' "$htc_word" >&2
    exit 97
fi"""
"""Any Python of the same minor version will do, as the packages come along."""
UNPACK = """\
htc_archive=ARCHIVE
[ ! -f "$_CONDOR_SCRATCH_DIR/${htc_archive##*/}" ] || htc_archive=$_CONDOR_SCRATCH_DIR/${htc_archive##*/}
htc_packages=${_CONDOR_SCRATCH_DIR:-$PWD}/htcmagic-packages
mkdir -p "$htc_packages"
if ! tar -xzf "$htc_archive" -C "$htc_packages" 2>/dev/null &&
    ! "$htc_python" -m tarfile -e "$htc_archive" "$htc_packages"; then
    printf 'htcmagic: the packages cannot be unpacked on %s: is request_disk too small?\\n' "$(hostname)" >&2
    exit 97
fi
export PYTHONPATH=$htc_packages${PYTHONPATH:+:$PYTHONPATH}"""


def place(
    python: str = "",
    container: str = "",
    stack: str = "",
    *,
    ship_env: bool = False,
    kernel: str | None = None,
    report: Report | None = None,
) -> Place:
    """Return where a job's Python comes from: this kernel's own environment, unless something else is named.

    Parameters
    ----------
    python : str
        An interpreter's path on the worker.
    container : str
        An image: ``docker://…``, a SIF file, a folder; its ``python3`` is used.
    stack : str
        A software stack, as ``htc-kernel stacks`` lists them: ``NAME`` or ``NAME:RELEASE``.
    ship_env : bool
        Take this environment's packages along, for any Python of the same minor version on the worker.
    kernel : str, optional
        A kernel made by htc-kernel; ``none`` for no environment.
    report : callable, optional
        Is told what takes long.

    Raises
    ------
    HTCMagicError
        What is named is not there, or two that exclude each other are named.
    """
    named = [f"--{word}" for word, value in (("kernel", kernel), ("container", container), ("stack", stack)) if value]
    if len(named) > 1:
        raise CellError(f"{' and '.join(named)} both say where Python comes from.", hint="Leave one out.")
    found = _environment(container, stack, kernel)
    own = not named or kernel == NO_KERNEL
    interpreter, about = python, f"Python of {found.kind} {found.kernel}" if found is not None else OWN
    if found is None and not python and not ship_env:
        interpreter = sys.executable
    if python:
        about = f"{python}, in {found.kind} {found.kernel}" if found is not None else python
    archive = None
    if ship_env:
        from htcmagic.functions import shipping  # noqa: PLC0415 - rarely

        archive = shipping.archive(report=report)
        about = f"this environment's packages, for {about if python or not own or found else 'a Python of the worker'}"
    return Place(interpreter, found, about, archive)


def _environment(container: str, stack: str, kernel: str | None) -> JobEnvironment | None:
    if container:
        return _image(container)
    if stack:
        from htcmagic.functions import stacks  # noqa: PLC0415 - rarely

        return stacks.environment(stack)
    if kernel == NO_KERNEL:
        return None
    from htcmagic.kernels.environment import environment  # noqa: PLC0415 - may look for kernels

    found = environment(kernel)
    inside = next((os.environ[name] for name in INSIDE if os.environ.get(name)), "")
    if found is None and inside:
        return _image(inside, sys.executable, checked=False)
    return found


def _image(image: str, python: str = "python3", *, checked: bool = True) -> JobEnvironment:
    if "://" not in image:
        path = Path(image).expanduser().absolute()
        if checked and not path.exists() and not image.startswith("/cvmfs/"):
            raise ContainerError(
                f"There is no image {image}.", hint="Give a folder, a .sif file, or docker://NAME:TAG."
            )
        image = str(path)
    return JobEnvironment(image.rpartition("/")[2] or image, "an image", None, image, image, python, kind="image")


def defaults() -> dict[str, str]:
    """Return the submit commands that %condor_defaults has set for this notebook."""
    return dict(_defaults)


def set_defaults(settings: Mapping[str, Any], *, anew: bool = False) -> dict[str, str]:
    """Change the submit commands of this notebook's Python jobs; an empty value takes one away.

    Parameters
    ----------
    settings : mapping
        As :func:`resources` takes them.
    anew : bool
        Forget the earlier ones.
    """
    checked = resources(**settings)
    if anew:
        _defaults.clear()
    for name, value in checked.items():
        _defaults.pop(name, None)
        if value:
            _defaults[name] = value
    return defaults()


def resources(**submit: Any) -> dict[str, str]:
    """Return submit commands as HTCondor spells them.

    Parameters
    ----------
    **submit : object
        ``memory="2GB"``, ``cpus=2``, ``disk=…``, ``gpus=…``, or any submit command: ``request_memory="2GB"``,
        ``requirements='…'``; a job attribute of your own as ``My_NAME``. None leaves one out.

    Raises
    ------
    CellError
        There is no such command, or it is one by which the work itself is done.
    """
    found: dict[str, str] = {}
    for name, value in submit.items():
        if value is None:
            continue
        command = WORDS.get(name.lower(), name)
        found[_known(command)] = str(value).lower() if isinstance(value, bool) else str(value)
    return found


def _known(name: str) -> str:
    if re.match(r"(\+|my[._])\w", name, re.IGNORECASE):
        return re.sub(r"^my[._]", "My.", name, flags=re.IGNORECASE)
    lower = name.lower()
    if lower in OURS:
        raise CellError(f"{name}: that is how Python work itself is done.", hint="To submit a program, use %%condor.")
    if lower in commands.COMMANDS or lower in commands.ALIASES:
        return lower
    if lower.startswith(("request_", "require_")):  # of a resource that a site has made up
        near = _near(lower, [word for word in commands.COMMANDS if word.startswith(("request_", "require_"))], 0.8)
    else:
        near = _near(lower, [*WORDS, *commands.COMMANDS], 0.75)
    if near or not lower.startswith("request_"):
        hint = f"Did you mean {near}?" if near else "For example: memory=2GB, or request_memory=2GB"
        raise CellError(f"{name} is no submit command.", hint=hint)
    return lower


def _near(word: str, known: list[str], likeness: float) -> str:
    import difflib  # noqa: PLC0415 - only after a slip

    return next(iter(difflib.get_close_matches(word, known, n=1, cutoff=likeness)), "")
