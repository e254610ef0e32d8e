"""The magics: parse, delegate, return; nothing else."""

from __future__ import annotations

from typing import Any

CLASSES = {
    "actions": "ActionMagics",
    "cache": "CacheMagics",
    "dag": "DagMagics",
    "engines": "EngineMagics",
    "jobs": "JobsMagics",
    "kernel": "KernelMagics",
    "log": "LogMagics",
    "pool": "PoolMagics",
    "python": "PythonMagics",
    "queue": "QueueMagics",
    "script": "ScriptMagics",
    "status": "StatusMagics",
    "submit": "SubmitMagics",
    "usage": "UsageMagics",
    "watch": "WatchMagics",
    "why": "WhyMagics",
}
"""The magics by the module that has them."""


def classes() -> list[type]:
    """Return all classes of magics."""
    from importlib import import_module

    return [getattr(import_module(f"htcmagic.magics.{module}"), name) for module, name in CLASSES.items()]


def register(shell: Any) -> None:
    """Register every magics class, the completion, and buttons for explanations."""
    from htcmagic.magics import why_buttons
    from htcmagic.magics.completion import Completion

    shell.register_magics(*classes())
    Completion.install(shell)
    why_buttons.install(shell)


def unregister(shell: Any) -> None:
    """Take the completion away."""
    from htcmagic.magics.completion import Completion

    Completion.remove(shell)
