"""What happens to calls whose worker dies, or whose notebook does: orders that every engine's program understands."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

BY_VALUE = """
def patient(path, seconds):
    import time
    open(path + ".begun", "w").close()
    time.sleep(seconds)
    open(path, "w").close()
    return "came"
"""
"""A function of ``__main__``, as a notebook's are: every engine sends it by value."""

Call = Callable[..., Callable[[float], Any]]
"""Starts a function with its arguments; gives what waits, so many seconds, for its result."""


def trials(call: Call) -> tuple[Callable[..., dict[str, Any]], ...]:
    """Return the orders, for an engine with workers that are there."""
    theirs = vars(sys.modules["__main__"])
    exec(BY_VALUE, theirs)  # noqa: S102

    def ports() -> dict[str, Any]:
        """Count where this process and its children listen."""
        import psutil  # noqa: PLC0415

        me = psutil.Process()
        found = set()
        for one in (me, *me.children(recursive=True)):
            found |= {each.laddr for each in one.net_connections("tcp") if each.status == psutil.CONN_LISTEN}
        return {"ports": len(found)}

    def begin(path: str, seconds: float) -> dict[str, Any]:
        """Begin a call that takes long."""
        theirs["begun"] = call(theirs["patient"], path, seconds)
        while not os.path.exists(path + ".begun"):  # noqa: PTH110
            time.sleep(0.05)
        return {}

    def wait() -> dict[str, Any]:
        """Wait for it."""
        began = time.perf_counter()
        try:
            result = theirs["begun"](150.0)
        except Exception as error:  # noqa: BLE001 - each engine has its own
            return {"seconds": time.perf_counter() - began, "error": type(error).__name__}
        assert result == "came"
        return {"seconds": time.perf_counter() - began, "error": ""}

    return ports, begin, wait
