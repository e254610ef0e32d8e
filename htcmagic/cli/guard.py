"""How our commands end: an exit status and a line or two, never a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from htcmagic.errors import HTCMagicError


def guarded(program: str, command: Callable[[], int], *, interrupted: str = "interrupted") -> int:
    """Run a command; return its exit status, or that of how it ended.

    Parameters
    ----------
    program : str
        The name that errors begin with.
    command : callable
        What is run.
    interrupted : str
        What is said after Ctrl-C.
    """
    try:
        code = command()
        sys.stdout.flush()
    except HTCMagicError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{program}: {interrupted}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # htc-pool logs | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"{program}: {error.filename or 'the operating system'}: {error.strerror}", file=sys.stderr)
        return 1
    return code
