"""Functions whose calls are jobs: ``@htcmagic.task``."""

from __future__ import annotations

import functools
import inspect
import operator
import types
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from htcmagic.errors import CellError
from htcmagic.functions import dataflow, place

if TYPE_CHECKING:
    from htcmagic.functions.mapping import Map

R = TypeVar("R")
NO_COMMANDS = frozenset({"python", "container", "stack", "ship_env", "kernel", "workers", "min_workers", "max_workers"})
NO_COMMANDS |= {"idle_s", "retries"}
"""Options beside submit commands: where Python comes from, and how many workers there are."""

_local: ContextVar[bool] = ContextVar("_local", default=False)


class Task(Generic[R]):
    """A function whose calls run in jobs; made by :func:`task`.

    A call returns a future at once. Futures among its arguments, those of other calls as well, are waited for: the call
    starts when their results are there. All tasks that ask for the same share their warm workers, which come with the
    first call and go when there is nothing to do. In a job a task is the plain function.

    Attributes
    ----------
    options : dict
        What its jobs ask for.
    cache : bool
        Whether results are kept and found again.
    """

    __name__: str

    def __init__(self, function: Callable[..., R], options: Mapping[str, Any], *, cache: bool) -> None:
        functools.update_wrapper(self, function)
        self.__wrapped__ = function
        self.options = dict(options)
        self.cache = cache

    def __call__(self, *args: Any, **kwargs: Any) -> Future[R]:
        """Start a call; futures among the arguments are its inputs."""
        if _local.get():
            return self.__wrapped__(*args, **kwargs)  # type: ignore[return-value]  # a part of a call that runs here
        from htcmagic.functions import sharing  # noqa: PLC0415 - with its first use

        return sharing.submit(self, args, kwargs)

    def map(self, *iterables: Any, **options: Any) -> Map:
        """Call it for each item: as :func:`htcmagic.map`, with the options of this task where others are not given.

        Parameters
        ----------
        *iterables : iterable
            The arguments.
        **options : object
            Those of :func:`htcmagic.map`: ``tag="…"``, ``chunk=…``, submit commands.
        """
        from htcmagic.functions import mapping  # noqa: PLC0415 - with its first use

        own = {name: value for name, value in self.options.items() if name not in {"idle_s", "min_workers"}}
        return mapping.map(self.__wrapped__, *iterables, **{"cache": self.cache, **own, **options})

    def local(self, *args: Any, **kwargs: Any) -> R:
        """Call it here and now, tasks that it calls included; futures among the arguments are waited for."""
        args, kwargs = dataflow.filled(args, kwargs)
        token = _local.set(True)
        try:
            return self.__wrapped__(*args, **kwargs)
        finally:
            _local.reset(token)

    def with_options(self, *, cache: bool | None = None, **options: Any) -> Task[R]:
        """Return the same function as a task that asks for something else; None takes an option away."""
        changed = {name: value for name, value in {**self.options, **_checked(options)}.items() if value is not None}
        return Task(self.__wrapped__, changed, cache=self.cache if cache is None else cache)

    def shutdown(self) -> None:
        """End the workers that it shares with other tasks; calls without result are cancelled."""
        from htcmagic.functions import sharing  # noqa: PLC0415 - with its first use

        sharing.end(self)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Be a method where it is one."""
        return self if instance is None else types.MethodType(self, instance)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as the plain function, which needs nothing of ours on the worker."""
        return operator.getitem, ([self.__wrapped__], 0)

    def __repr__(self) -> str:
        asked = [*(["cache"] if self.cache else []), *(f"{name}={value}" for name, value in self.options.items())]
        return f"<task {getattr(self, '__name__', '?')}{' (' + ', '.join(asked) + ')' if asked else ''}>"


@overload
def task(call: Callable[..., R], /) -> Task[R]: ...
@overload
def task(call: None = None, /, *, cache: bool = ..., **options: Any) -> Callable[[Callable[..., R]], Task[R]]: ...
def task(call: Callable[..., Any] | None = None, /, *, cache: bool = False, **options: Any) -> Any:
    """Make the calls of a function run in jobs.

    Parameters
    ----------
    cache : bool
        Keep results, and find them again when the same code is called with the same arguments; see ``%condor_cache``.
    **options : object
        What the jobs ask for, as in a submit description: ``request_memory="4GB"``; those of
        :class:`htcmagic.Executor`, as ``max_workers=20``; where Python comes from, as ``container="docker://…"``.

    Returns
    -------
    Task
        In place of the function: calling it returns a ``concurrent.futures.Future``.

    Examples
    --------
    ::

        In [1]: @htcmagic.task(cache=True, request_memory="200MB")
           ...: def simulate(seed):
           ...:     return seed**2

        In [2]: @htcmagic.task
           ...: def total(parts):
           ...:     return sum(parts)

        In [3]: total([simulate(seed) for seed in range(10)]).result()
        Out[3]: 285

        In [4]: simulate.map(range(10)).results()[-1], simulate.local(4)
        Out[4]: (81, 16)
    """

    def decorate(function: Callable[..., Any]) -> Task[Any]:
        plain = function.__wrapped__ if isinstance(function, Task) else function
        _check(plain)
        return Task(plain, checked, cache=cache)

    checked = _checked(options)
    return decorate if call is None else decorate(call)


def _check(function: Any) -> None:
    if not callable(function):
        raise CellError(f"{str(function)[:60]} is no function.", hint="@htcmagic.task stands before a def.")
    kind = (
        "asynchronous"
        if inspect.iscoroutinefunction(function)
        else "a generator"
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
        else ""
    )
    if kind:
        name = getattr(function, "__name__", "It")
        raise CellError(f"{name} is {kind}, whose calls give nothing that a job can send back.", hint="Return a value.")


def _checked(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options, submit commands as HTCondor spells them; None is kept.

    Raises
    ------
    CellError
        One is no submit command.
    """
    found: dict[str, Any] = {}
    for name, value in options.items():
        if name in NO_COMMANDS:
            found[name] = value
        elif value is None:
            found[next(iter(place.resources(**{name: ""})))] = None
        else:
            found |= place.resources(**{name: value})
    return found
