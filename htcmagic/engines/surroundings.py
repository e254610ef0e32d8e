"""Where a worker of an engine runs: in the kernel's own environment, or the one that was named.

A worker's script begins with lines from here. They bring the kernel's set-up along and start the script anew inside of
it; find Python; and say in one line what is wrong, with exit status 97, where the worker could not work.
"""

from __future__ import annotations

import hashlib
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from htcmagic.errors import CellError
from htcmagic.functions.place import Place, place

WORDS = ("kernel", "stack", "container", "ship_env")
"""Options of every engine, as ``%%condor_python`` has them."""
REFUSED = 97
"""Exit status of a worker that says why it cannot work."""
UNREACHED = "cannot reach the notebook at"
"""In its words, where that is the reason."""
REACHED_S = 12.0
"""A worker that runs for longer has reached it: each trial takes 8 s at most."""
INSIDE = """\
if [ -z "${{HTCMAGIC_ENGINE_INSIDE:-}}" ]; then  # {about}
    htc_folder=$(mktemp -d "${{_CONDOR_SCRATCH_DIR:-${{TMPDIR:-/tmp}}}}/.htcmagic.XXXXXXXX") || exit 97
    cat >"$htc_folder/setup.sh" <<'{tag}'
{setup}
{tag}
    export HTCMAGIC_ENGINE_INSIDE=1 HTCMAGIC_HOME=$htc_folder
    {image}
    unset HTCMAGIC_KERNEL_DIR JPY_PARENT_PID
    exec /bin/bash "$htc_folder/setup.sh" --run /bin/bash "$(readlink -f "$0")" "$@"
fi
unset HTCMAGIC_ENGINE_INSIDE HTCMAGIC_INSIDE HTCMAGIC_HOME"""
PROBE = """\
import importlib.util as u, os, socket, sys
def stop(why):
    sys.stderr.write("htcmagic: " + why + "\\n")
    sys.exit(97)
host = socket.gethostname()
here = "%d.%d" % sys.version_info[:2]
version, module, *places = sys.argv[1:]
if here != version:
    stop("Python %s on %s is not the notebook's %s" % (here, host, version))
if u.find_spec(module) is None:
    stop("there is no %s in %s on %s" % (module, sys.executable, host))
failed = []
for place in places:
    address, _, port = place.rpartition(":")
    try:
        with socket.create_connection((address.strip("[]"), int(port)), 8) as there:
            sys.stdout.write(there.getsockname()[0])
        break
    except OSError as error:
        failed.append("%s: %s" % (place, error.strerror or error))
else:
    if places:
        stop("%s UNREACHED %s" % (host, "; ".join(failed)))
""".replace("UNREACHED", UNREACHED)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where workers run.

    Attributes
    ----------
    place : Place
        Which Python, in which environment.
    module : str
        What it must have.
    directory : str
        The notebook's folder: modules in it are found by workers that see it.
    """

    place: Place
    module: str
    directory: str

    def shell(self, *, early: str = "") -> str:
        """Return the first lines of a worker's script: they leave Python in ``$htc_python``.

        Parameters
        ----------
        early : str
            Lines of the user's that come after the set-up, and before Python is looked for.
        """
        lines = [*self._set_up(), SHORT, early, self.place.shell(), MISSING]
        where = shlex.quote(self.directory)
        lines.append(f'[ ! -d {where} ] || export PYTHONPATH="${{PYTHONPATH:+$PYTHONPATH:}}"{where}')
        return "\n".join(filter(None, lines))

    def probe(self, addresses: str = "") -> str:
        """Return the line that ends a worker which could not work; else its own address is in ``$htc_address``.

        Parameters
        ----------
        addresses : str
            Shell words ``HOST:PORT``; one of them must be reachable.
        """
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        return f'htc_address=$("$htc_python" -c {shlex.quote(PROBE)} {version} {self.module} {addresses}) || exit $?'

    def commands(self, *, here: bool) -> dict[str, str]:
        """Return the submit commands that bring a worker there."""
        found = {} if self.place.environment is None else self.place.environment.submit_commands(here=here)
        if "container_image" in found:
            found["should_transfer_files"] = "YES"
        return found

    def files(self) -> list[str]:
        """Return the files that go along."""
        return [] if self.place.archive is None else [str(self.place.archive)]

    def _set_up(self) -> list[str]:
        environment = self.place.environment
        if environment is None:
            return []
        if environment.wrapper is None:
            return [f"export {name}={shlex.quote(value)}" for name, value in environment.variables]
        setup = environment.wrapper.read_text(encoding="utf-8", errors="surrogateescape").rstrip("\n")
        tag = f"END_OF_{hashlib.sha256(setup.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"
        image = "export HTCMAGIC_INSIDE=$htc_folder" if environment.container_image else ":"
        return [INSIDE.format(about=f"{environment.kind} {environment.kernel}", tag=tag, setup=setup, image=image)]


SHORT = """\
htc_short=${TMPDIR:-}
if [ "${#htc_short}" -gt 70 ]; then  # a socket's name has 108 bytes at most
    htc_short=/tmp/htcmagic-$UID
    if mkdir -pm 700 "$htc_short" && [ -O "$htc_short" ] && [ ! -L "$htc_short" ]; then
        export TMPDIR=$htc_short
    fi
fi"""
MISSING = """\
if ! command -v "$htc_python" >/dev/null 2>&1; then
    printf 'htcmagic: there is no %s on %s\\n' "$htc_python" "$(hostname)" >&2
    exit 97
fi"""


def surroundings(options: dict[str, Any], module: str, *, python: str = "") -> Surroundings:
    """Take the words that say where workers run out of the options.

    Raises
    ------
    CellError
        Two of them exclude each other.
    HTCMagicError
        What is named is not there.
    """
    if "container_image" in options:
        if "container" in options:
            raise CellError("container and container_image say the same.", hint="Leave one out.")
        options["container"] = options.pop("container_image")
    named = {word: options.pop(word) for word in WORDS if word in options}
    return Surroundings(place(python, **named), module, str(Path.cwd()))


def last_words(text: str) -> str:
    """Return the line of a worker's standard error that says why it ended: ours, else its last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    own = [line.removeprefix("htcmagic: ") for line in lines if line.startswith("htcmagic: ")]
    return own[-1] if own else (lines[-1] if lines else "")


def script(surroundings: Surroundings, command: Sequence[str]) -> str:
    """Return a worker's whole script: the lines from here, then `command`."""
    return "\n".join(["#!/bin/bash", "export PATH", surroundings.shell(), *command, ""])
