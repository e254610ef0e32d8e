"""A remote exception as the user sees it: the frames of their own code, where it ran, nothing of ours."""

from __future__ import annotations

import contextlib
import linecache
from dataclasses import dataclass
from typing import Any

from htcmagic.jobs.display import clean

LONGEST = 2000


@dataclass(frozen=True)
class Remote:
    """What a job told of an exception.

    Attributes
    ----------
    error : dict
        As :func:`htcmagic.functions.remote.failure.describe` returns it.
    where : dict
        ``host``, ``job``, ``python``.
    stderr : str
        Path of the job's standard error; empty if not known.
    """

    error: dict[str, Any]
    where: dict[str, Any]
    stderr: str = ""

    @property
    def summary(self) -> str:
        """Type and message, in one line."""
        return _line(self.error)

    @property
    def place(self) -> str:
        """Where it happened, in one line."""
        job = f"job {self.where['job']} on " if self.where.get("job") else "on "
        stderr = f"; standard error: {self.stderr}" if self.stderr else ""
        return f"In {job}{clean(str(self.where.get('host', '')), 100)}, Python {self.where.get('python', '')}{stderr}"

    def lines(self, *, variables: bool = False) -> list[str]:
        """Return the traceback, outermost frame first.

        Parameters
        ----------
        variables : bool
            With the local variables of the innermost frames.
        """
        return [*_told(self.error, variables=variables), self.place]

    def text(self, *, variables: bool = False) -> str:
        """Return :meth:`lines` as one text."""
        return "\n".join(self.lines(variables=variables))

    def __str__(self) -> str:
        return self.text()


class RemoteTraceback(Exception):  # noqa: N818
    """What ``raise … from`` shows of a remote exception outside of IPython."""

    def __init__(self, remote: Remote) -> None:
        super().__init__(remote)
        self.remote = remote

    def __str__(self) -> str:
        return f"\n{self.remote.text()}"


def attach(error: BaseException, told: Remote) -> BaseException:
    """Make an exception show its remote traceback: in IPython that alone, elsewhere as its cause."""
    error.__cause__ = RemoteTraceback(told)
    with contextlib.suppress(AttributeError, TypeError):
        error.remote = told  # type: ignore[attr-defined]
        error._render_traceback_ = told.lines  # type: ignore[attr-defined]  # IPython's name for it
    return error


def _told(error: dict[str, Any], *, variables: bool) -> list[str]:
    lines = []
    for kind, joint in (
        ("cause", "The above exception was the direct cause of the following exception:"),
        ("context", "During handling of the above exception, another exception occurred:"),
    ):
        if kind in error:
            lines += [*_told(error[kind], variables=variables), "", joint, ""]
    if error["frames"]:
        lines.append("Traceback (in the job, most recent call last):")
    for frame in error["frames"]:
        name, file = clean(frame["name"], 200), clean(frame["file"], 500)
        lines.append(f"  {_file(file)}, line {frame['line']}, in {name}")
        text = frame["text"] or linecache.getline(frame["file"], frame["line"]).strip()
        if text:
            lines.append(f"    {clean(text, LONGEST)}")
        if variables:
            lines += [f"      {clean(key, 100)} = {clean(value, 300)}" for key, value in frame["locals"].items()]
    if "syntax" in error:
        file, line, text = error["syntax"]
        lines += [f"  {_file(clean(str(file), 500))}, line {line}", f"    {clean(str(text or '').strip(), LONGEST)}"]
    return [*lines, _line(error)]


def _file(name: str) -> str:
    if "ipykernel_" in name:
        return "Notebook cell"
    return "Job cell" if name.startswith("<job cell") else f'File "{name}"'


def _line(error: dict[str, Any]) -> str:
    message = "\n".join(clean(line, LONGEST) for line in error["message"].splitlines())
    return f"{clean(error['type'], 200)}: {message}" if message else clean(error["type"], 200)
