"""Asking a kernel's own python what it can do: its set-up runs once, and tells what ``kernel.json`` must say.

What a launcher promises must be true of the *stack's* ipykernel, never of ours: an encryption it does not know hangs
the client, an interrupt by message is ignored by an old one.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Any

from htcmagic.errors import ContainerError, KernelError, StackError

MARK = "htcmagic-probe "
CODE = """
import json, os, platform, sys
if sys.path and sys.path[0] == "": del sys.path[0]
if os.environ.get("HTCMAGIC_INJECT"): sys.path.append(os.environ["HTCMAGIC_INJECT"])
said = dict(python=".".join(map(str, sys.version_info[:3])), executable=sys.executable or "", ipykernel="", problem="",
    where="", debugpy=False, protocol="", machine=platform.machine(), libc=" ".join(platform.libc_ver()).strip())
try:
    import ipykernel
    from ipykernel import kernelapp
    said.update(ipykernel=ipykernel.__version__, where=os.path.dirname(os.path.abspath(ipykernel.__file__)))
except Exception as error: said["problem"] = type(error).__name__ + ": " + str(error)
else:
    try:
        import debugpy
        said["debugpy"] = True
    except Exception: pass
    try:
        from ipykernel.kernelspec import get_kernel_dict
        said["protocol"] = str(get_kernel_dict().get("kernel_protocol_version", ""))
    except Exception: pass
sys.stdout.write("\\n" + "MARK" + json.dumps(said) + "\\n")
""".replace("MARK", MARK)
"""Runs in whatever python a stack has; so it is written for old ones too."""
START_S = 60
"""Allowed for python and imports, beside the set-up."""
TAIL_LINES = 3


@dataclass(frozen=True, slots=True)
class Probe:
    """What a kernel's python says of itself.

    Attributes
    ----------
    python, executable : str
        Its version, and where it is.
    ipykernel : str
        The version of ipykernel; empty if it cannot be imported.
    problem : str
        Why it cannot be imported.
    where : str
        The folder ipykernel was imported from.
    debugpy : bool
        Whether debugpy can be imported.
    protocol : str
        The kernel protocol that ipykernel declares in its own ``kernel.json``; empty if none.
    machine, libc : str
        As ``x86_64`` and ``glibc 2.34``; ``libc`` is empty where python cannot tell.
    """

    python: str
    executable: str
    ipykernel: str = ""
    problem: str = ""
    where: str = ""
    debugpy: bool = False
    protocol: str = ""
    machine: str = ""
    libc: str = ""

    @property
    def has_debugger(self) -> bool:
        """Whether launchers may offer the debugger."""
        return self.debugpy and self.at_least(6)

    @property
    def has_curve(self) -> bool:
        """Whether it can encrypt its connections."""
        return self.at_least(7, 3)

    @property
    def takes_messages(self) -> bool:
        """Whether it takes an interrupt by message."""
        return self.at_least(6, 2)

    def at_least(self, *version: int) -> bool:
        """Whether its ipykernel is of that version or a later one."""
        numbers = [int(part) for part in re.findall(r"\d+", self.ipykernel)[:2]]
        return bool(numbers) and tuple(numbers) >= version

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: object) -> Probe | None:
        """Read what :meth:`as_json` wrote; None if it was not."""
        if not isinstance(data, dict):
            return None
        known = {one.name for one in fields(cls)}
        try:
            return cls(**{name: value for name, value in data.items() if name in known})
        except TypeError:
            return None


def run(setup: Path, timeout_s: float, *, in_container: bool = False) -> Probe:
    """Return what the python of a kernel says, after running its set-up once.

    Parameters
    ----------
    setup : Path
        The kernel's ``setup.sh``.
    timeout_s : float
        Longest time for the set-up; python gets some more.
    in_container : bool
        Which kind of error to raise.

    Raises
    ------
    StackError or ContainerError
        The set-up does not work, or python does not start: with the last lines of what it said.
    """
    import tempfile  # noqa: PLC0415 - a list of kernels is shown sooner without

    kind = ContainerError if in_container else StackError
    hint = "Mend that and try again; --no-probe makes the kernel all the same."
    # Files, not pipes: what a set-up leaves running in the background holds its pipes open.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        status = _run([str(setup), "--python", "-c", CODE], timeout_s + START_S, out, err)
        said, complaints = _read(out), _read(err)
    if status is None:
        tail = _condensed(complaints)
        raise kind(f"The set-up does not end: no answer from python after {timeout_s + START_S:g} s{tail}.", hint=hint)
    for line in reversed(said.splitlines()):
        if line.startswith(MARK):
            found = Probe.from_json(json.loads(line[len(MARK) :]))
            if found is not None:
                return found
    failed = re.findall(r"^htcmagic: (?:kernel [^ :]+: )?(.*)$", complaints, re.MULTILINE)
    if status == 97 and failed:
        if in_container and re.search(r"\bno \S*python", failed[-1]):
            hint = "Add python3 and ipykernel to the image's recipe, or name a python it has with --python."
        before = re.sub(r"^htcmagic: .*", "", complaints, flags=re.MULTILINE)
        raise kind(f"{failed[-1][0].upper()}{failed[-1][1:]}{_condensed(before)}.", hint=hint)
    raise kind(f"Its python does not run (exit status {status}){_condensed(complaints or said)}.", hint=hint)


def _run(words: list[str], limit_s: float, out: IO[bytes], err: IO[bytes]) -> int | None:
    """Run a command in a process group of its own, which ends with it; its exit status, None if it took too long."""
    import subprocess  # noqa: PLC0415 - as above

    try:
        started = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment(), start_new_session=True
        )
    except OSError as error:
        raise KernelError(
            f"{words[0]} cannot be executed: {error.strerror}.",
            hint="Is that file system mounted noexec? Choose another with --prefix or --to.",
        ) from None
    deadline, pause = time.monotonic() + limit_s, 0.005
    try:
        # Not reaped before its group is ended, so that its number cannot have become another's.
        while os.waitid(os.P_PID, started.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if time.monotonic() > deadline:
                return None
            time.sleep(pause)
            pause = min(pause * 1.5, 0.1)
    finally:
        ended = os.waitid(os.P_PID, started.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        if not ended:
            os.killpg(started.pid, signal.SIGTERM)
            time.sleep(0.2)  # a container's runtime takes its mounts down
        os.killpg(started.pid, signal.SIGKILL)
        started.wait()
    return started.returncode


def environment(given: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment a kernel of this user would be started with, whoever asks."""
    ours = ("HTCMAGIC_HOME", "HTCMAGIC_PROGRAMS")
    return {
        name: value
        for name, value in given.items()
        if name in ours or not name.startswith(("HTCMAGIC_", "JPY_PARENT_PID"))
    }


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(4_000_000).decode(errors="replace")


def _condensed(text: str) -> str:
    """Return the last lines that say something, as one."""
    lines = [" ".join(line.split()) for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()]
    last = [line for line in lines if line][-TAIL_LINES:]
    said = " | ".join(line[:200] for line in last).rstrip(".")
    return f"; it said: {said}" if said else ""
