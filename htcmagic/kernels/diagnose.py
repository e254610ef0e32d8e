"""A kernel that only says why another one could not start: every cell is answered with the reason.

Started by ``setup.sh`` as ``python diagnose.py NAME REASON LOG -f CONNECTION_FILE``; stands alone beside it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ipykernel.kernelapp import IPKernelApp
from ipykernel.kernelbase import Kernel

LOG_LINES = 20
LINE_LENGTH = 300
NAME, REASON, LOG = sys.argv[1:4]


def told() -> list[str]:
    """Return what the user is shown, a line each."""
    lines = [f"The kernel {NAME} could not start: {REASON}."]
    try:
        with Path(LOG).open("rb") as log:
            log.seek(max(0, Path(LOG).stat().st_size - LOG_LINES * LINE_LENGTH))
            text = log.read().decode(errors="replace")
    except OSError:
        text = ""
    tail = [line[:LINE_LENGTH] for line in text.replace("\r", "\n").split("\n") if line.strip()][-LOG_LINES:]
    plain = [
        "".join(one if one.isprintable() or one == "\t" else "\N{REPLACEMENT CHARACTER}" for one in line)
        for line in tail
    ]
    if plain:
        lines += [f"The last lines of {LOG}:", *(f"    {line}" for line in plain)]
    lines.append(f"When that is mended, restart the kernel. In a terminal: htc-kernel check {NAME}")
    return lines


class DiagnosticKernel(Kernel):
    """Answers everything with the reason."""

    implementation = "htcmagic"
    implementation_version = "1"
    language_info = {  # noqa: RUF012 - a trait
        "name": "python",
        "version": ".".join(map(str, sys.version_info[:3])),
        "mimetype": "text/x-python",
        "codemirror_mode": {"name": "ipython", "version": 3},
        "pygments_lexer": "ipython3",
        "nbconvert_exporter": "python",
        "file_extension": ".py",
    }
    banner = f"The kernel {NAME} could not start: {REASON}."

    def do_execute(self, code: str, silent: bool, *_: Any, **__: Any) -> dict[str, Any]:  # type: ignore[override] # noqa: ARG002, FBT001
        """Give the reason as the cell's error."""
        content = {"ename": "KernelNotStarted", "evalue": REASON, "traceback": told()}
        if not silent:
            self.send_response(self.iopub_socket, "error", content)  # type: ignore[no-untyped-call]
        return {"status": "error", "execution_count": self.execution_count, **content}

    def do_debug_request(self, msg: dict[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        """Say that there is nothing to debug."""
        return {
            "type": "response",
            "request_seq": msg.get("seq", 0),
            "success": False,
            "command": msg.get("command", ""),
            "message": REASON,
        }


if __name__ == "__main__":
    sys.argv[1:4] = []
    IPKernelApp.launch_instance(kernel_class=DiagnosticKernel)
