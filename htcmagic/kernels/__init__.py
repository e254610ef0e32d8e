"""Kernels that are a software stack, an environment or a container; needs neither HTCondor nor IPython."""

from __future__ import annotations

from htcmagic.kernels.environment import JobEnvironment, environment

__all__ = ["JobEnvironment", "environment"]
