"""joblib's calls, and so scikit-learn's, run by an executor's workers."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from joblib import ParallelBackendBase, parallel_config  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from htcmagic.functions.executor import Executor
    from htcmagic.functions.taskfuture import TaskFuture


class Backend(ParallelBackendBase):  # type: ignore[misc]
    """What joblib asks of those that run its batches."""

    supports_retrieve_callback = True
    supports_timeout = True

    def __init__(self, executor: Executor) -> None:
        super().__init__()
        self._executor = executor
        self._calls: set[TaskFuture] = set()

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return how many batches are under way at a time."""
        most = self._executor._max_workers  # noqa: SLF001 - CPython's name for it
        return min(most, n_jobs) if n_jobs is not None and n_jobs > 0 else most

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], Any] | None = None) -> TaskFuture:
        """Have a batch run."""
        future = self._executor.submit(operator.call, func)
        self._calls.add(future)
        future.add_done_callback(self._calls.discard)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: TaskFuture) -> Any:
        """Return what came of a batch."""
        return out.result()

    def abort_everything(self, ensure_ready: bool = True) -> None:  # noqa: FBT001, FBT002 - joblib's
        """Take back what has not begun."""
        del ensure_ready
        for future in list(self._calls):
            future.cancel()


@contextmanager
def used(executor: Executor) -> Iterator[None]:
    """Let joblib's ``Parallel`` use an executor where nothing else is said."""
    with parallel_config(backend=Backend(executor), n_jobs=executor._max_workers):  # noqa: SLF001
        yield
