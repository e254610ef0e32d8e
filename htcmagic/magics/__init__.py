"""The magics: parse, delegate, return; nothing else."""

from __future__ import annotations

from typing import Any


def register(shell: Any) -> None:
    """Register every magics class, and the completion."""
    from htcmagic.magics.actions import ActionMagics
    from htcmagic.magics.completion import Completion
    from htcmagic.magics.jobs import JobsMagics
    from htcmagic.magics.kernel import KernelMagics
    from htcmagic.magics.log import LogMagics
    from htcmagic.magics.pool import PoolMagics
    from htcmagic.magics.queue import QueueMagics
    from htcmagic.magics.script import ScriptMagics
    from htcmagic.magics.status import StatusMagics
    from htcmagic.magics.submit import SubmitMagics
    from htcmagic.magics.usage import UsageMagics
    from htcmagic.magics.why import WhyMagics

    shell.register_magics(
        SubmitMagics,
        ScriptMagics,
        QueueMagics,
        StatusMagics,
        WhyMagics,
        JobsMagics,
        ActionMagics,
        LogMagics,
        PoolMagics,
        KernelMagics,
    )
    shell.register_magics(UsageMagics)
    Completion.install(shell)


def unregister(shell: Any) -> None:
    """Take the completion away."""
    from htcmagic.magics.completion import Completion

    Completion.remove(shell)
