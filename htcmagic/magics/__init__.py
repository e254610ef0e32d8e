"""The magics: parse, delegate, return; nothing else."""

from __future__ import annotations

from typing import Any


def register(shell: Any) -> None:
    """Register every magics class, and the completion."""
    from htcmagic.magics.completion import Completion
    from htcmagic.magics.jobs import JobsMagics
    from htcmagic.magics.pool import PoolMagics
    from htcmagic.magics.queue import QueueMagics
    from htcmagic.magics.submit import SubmitMagics

    shell.register_magics(SubmitMagics, QueueMagics, JobsMagics, PoolMagics)
    Completion.install(shell)


def unregister(shell: Any) -> None:
    """Take the completion away."""
    from htcmagic.magics.completion import Completion

    Completion.remove(shell)
