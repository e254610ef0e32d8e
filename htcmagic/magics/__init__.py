"""The magics: parse, delegate, return; nothing else."""

from __future__ import annotations

from typing import Any


def register(shell: Any) -> None:
    """Register every magics class, and the completion."""
    from htcmagic.magics.completion import Completion  # noqa: PLC0415
    from htcmagic.magics.jobs import JobsMagics  # noqa: PLC0415
    from htcmagic.magics.pool import PoolMagics  # noqa: PLC0415
    from htcmagic.magics.queue import QueueMagics  # noqa: PLC0415
    from htcmagic.magics.submit import SubmitMagics  # noqa: PLC0415

    shell.register_magics(SubmitMagics, QueueMagics, JobsMagics, PoolMagics)
    Completion.install(shell)


def unregister(shell: Any) -> None:
    """Take the completion away."""
    from htcmagic.magics.completion import Completion  # noqa: PLC0415

    Completion.remove(shell)
