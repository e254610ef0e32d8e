"""How items of a map ended: one as a future, and what those raised that failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from htcmagic.functions.mapindex import FAILED, LOST, REMOVED, WAITING
from htcmagic.functions.maprun import Run
from htcmagic.functions.mapview import brief

if TYPE_CHECKING:
    from htcmagic.functions.mapping import Map

SHOWN = 5


class Errors(Mapping[int, BaseException]):
    """What items raised, by their number; made when it is looked at."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def _has(self, item: object) -> bool:
        states = self._run.index.states
        return isinstance(item, int) and 0 <= item < len(states) and states[item] in {FAILED, LOST, REMOVED}

    def __getitem__(self, item: int) -> BaseException:
        error = self._run.error(item) if self._has(item) else None
        if error is None:
            raise KeyError(item)
        return error

    def __contains__(self, item: object) -> bool:
        return self._has(item)

    def __iter__(self) -> Iterator[int]:
        return self._run.index.among(FAILED, LOST, REMOVED)

    def __len__(self) -> int:
        return sum(self._run.index.totals[state] for state in (FAILED, LOST, REMOVED))

    def __repr__(self) -> str:
        lines: list[str] = []
        for item in self:
            if len(lines) >= SHOWN:
                lines.append(f"… and {len(self) - SHOWN:,} more")
                break
            lines.append(f"{item}: {brief(self._run.error(item))}")
        return "\n".join(lines) or "no errors"


class ItemFuture(Future[Any]):
    """One item as a ``concurrent.futures.Future``; its result stays on disk."""

    def __init__(self, of: Map, item: int) -> None:
        super().__init__()
        self._map = of
        self.item = item
        self.label = f"{of.tag}[{item}]"

    def result(self, timeout: float | None = None) -> Any:
        """Return the item's result, waiting for it if need be, or raise what it raised."""
        super().result(timeout)
        return self._map[self.item]

    def cancel(self) -> bool:
        """Return false: a map is cancelled as a whole."""
        return False

    def settle(self, run: Run) -> None:
        """Take over how the item ended."""
        if self.done() or run.index.states[self.item] == WAITING:
            return
        error = run.error(self.item)
        if error is None:
            self.set_result(None)
        else:
            self.set_exception(error)
