"""Install a kernel in a process that dies at its first step, then at its second, and so on; look at what is left.

Run as ``python crash_install.py KERNELS new|replace exchange|no-exchange``; prints how many steps
there are, and after how many no kernel was there until the next command that writes.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import shutil
import struct
import sys
from itertools import count
from pathlib import Path

from htcmagic.kernels import install, kernelspec
from htcmagic.kernels.recipe import Recipe

STEPS = {
    "open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.listdir", "os.scandir", "fcntl.flock",
    "ctypes.dlsym",
}  # fmt: skip
"""What python tells of before it does it."""
KERNELS, BEFORE, EXCHANGE = Path(sys.argv[1]), sys.argv[2], sys.argv[3]


class Countdown:
    """Ends the process at a step."""

    left: int | None = None

    def __call__(self, event: str, _arguments: object) -> None:
        """Count one."""
        if self.left is not None and event in STEPS:
            self.left -= 1
            if self.left < 0:
                os._exit(9)


def refuse_exchange() -> None:
    """Have the system say EINVAL to renameat2 with RENAME_EXCHANGE, as it does on NFS."""
    number = {"x86_64": 316, "aarch64": 276}[platform.machine()]
    refusal = 0x50000 | errno.EINVAL
    load, equal, answer = 0x20, 0x15, 0x06
    rules = [(load, 0, 0, 0), (equal, 0, 3, number), (load, 0, 0, 16 + 4 * 8), (equal, 0, 1, 2)]
    rules += [(answer, 0, 0, refusal), (answer, 0, 0, 0x7FFF0000)]
    text = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(rules), ctypes.addressof(text)))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, program, 0, 0) == 0, ctypes.get_errno()


def files(name: str, title: str) -> dict[str, bytes]:
    """Return a kernel's files."""
    return kernelspec.contents(Recipe(name, title, python="/usr/bin/python3"), None, None, "htc-kernel create")


def put(name: str, content: dict[str, bytes]) -> None:
    """Install a kernel."""
    with install.staging(KERNELS) as stage:
        stage.write(name, content)
        stage.put(name, lambda _there: None)


def look(step: int, *, may_be_gone: bool) -> str:
    """Return the title of what is there, which must be whole."""
    one = kernelspec.look_up("one", KERNELS)
    if one is None:
        assert may_be_gone, step
        return ""
    assert (one.problem, one.edited()) == ("", {}), step
    assert {kernel.name for kernel in kernelspec.kernels(KERNELS)} <= {"one", "other"}, step
    return one.title


def main() -> None:
    """Die at each step."""
    if EXCHANGE == "no-exchange":
        refuse_exchange()
    countdown = Countdown()
    sys.addaudithook(countdown)
    old, new, other = files("one", "old"), files("one", "new"), files("other", "other")
    replacing = BEFORE == "replace"
    gone = 0
    for step in count():
        shutil.rmtree(KERNELS, ignore_errors=True)
        if replacing:
            put("one", old)
        child = os.fork()
        if not child:
            countdown.left = step
            put("one", new)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in {0, 9}, status
        title = look(step, may_be_gone=not replacing or EXCHANGE == "no-exchange")
        assert status == 9 or title == "new"
        gone += not title
        put("other", other)
        assert look(step, may_be_gone=not replacing) in {"old", "new", ""}
        rest = [entry.name for entry in KERNELS.glob(".*") if entry.name != install.LOCK]
        assert rest == [], (step, rest)
        if status == 0:
            sys.stdout.write(f"{step} {gone}\n")
            return


if __name__ == "__main__":
    main()
