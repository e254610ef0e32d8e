"""A stand-in for a Jupyter server: starts the kernel of a folder, runs a cell, and waits to be killed.

    kernel_server.py FOLDER [--subreaper] [CELL]

Says ``KERNEL_PID SERVER_PID``, then ``ready`` and ``busy``. As a subreaper the first process adopts what the server
leaves, and does not even collect the server, like a container's first process that is no init.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    words = sys.argv[1:]
    if "--subreaper" in words:
        words.remove("--subreaper")
        assert ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
        if os.fork():
            time.sleep(300)
            return
    import kernels

    running = kernels.Started(Path(words[0]))
    print(running.pid, os.getpid(), flush=True)
    running.ready()
    print("ready", flush=True)
    if len(words) > 1:
        running.send(words[1])
        time.sleep(0.5)
        print("busy", flush=True)
    time.sleep(300)


if __name__ == "__main__":
    main()
