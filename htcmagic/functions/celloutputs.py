"""The variables that a cell has left in a job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from htcmagic.errors import HTCMagicError
from htcmagic.jobs import display

if TYPE_CHECKING:
    from htcmagic.functions.cellfuture import CellFuture


class Outputs(Mapping[str, Any]):
    """The variables that a cell has left in one job; ``.fit`` and ``["fit"]`` are the same. Read when asked for."""

    def __init__(self, future: CellFuture) -> None:
        self._future = future
        self._outcome = future.outcome()
        self._names = self._outcome.record.names("out:")
        self._read: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise self._missing(name)
        if name not in self._read:
            self._read[name] = self._outcome.output(name)
        return self._read[name]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._names]

    def __repr__(self) -> str:
        return "Outputs(" + ", ".join(f"{name}={self[name]!r}" for name in self) + ")"

    def _missing(self, name: str) -> NoOutput:
        why = self._outcome.left_out().get(name, "the cell did not set it, or it was not asked for")
        return NoOutput(f"Job {self._future.id} has left no {name}: {display.clean(why, 300)}.")


class NoOutput(HTCMagicError, KeyError):  # noqa: N818
    """A cell has left no variable of that name."""
