"""What users are told who ask for what was cancelled, or submit to what has been shut down."""

from __future__ import annotations

from concurrent.futures import CancelledError

from htcmagic.errors import HTCMagicError


class Cancelled(HTCMagicError, CancelledError):  # noqa: N818
    """A call or a job was cancelled before it had a result; also a ``concurrent.futures.CancelledError``."""


class ShutDown(HTCMagicError, RuntimeError):  # noqa: N818
    """An executor takes no calls any more; also a ``RuntimeError``."""
