"""TAB in a magic's line and in a submit cell: options, submit commands, macros, values."""

from __future__ import annotations

import re
from argparse import SUPPRESS
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher

from htcmagic.magics import completion_queue

MAGIC = re.compile(r"^\s*%{1,2}(condor\w*)")
MACRO_BEGUN = re.compile(r"\$\w*\(\s*\w*$")
SUBMITS = "condor"


class Completion:
    """IPython's completer, taught HTCondor's words.

    Parameters
    ----------
    shell : InteractiveShell
        Whose namespace and magics are used.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell

    @classmethod
    def install(cls, shell: Any) -> None:
        """Add it to a shell's completer, once."""
        cls.remove(shell)
        completer = getattr(shell, "Completer", None)
        if completer is not None:
            completion = cls(shell)

            @context_matcher(identifier="htcmagic")  # type: ignore[untyped-decorator,unused-ignore]
            def match(context: CompletionContext) -> SimpleMatcherResult:
                return completion.match(context)

            match.htcmagic = True
            completer.custom_matchers.append(match)

    @staticmethod
    def remove(shell: Any) -> None:
        """Take it out of a shell's completer."""
        completer = getattr(shell, "Completer", None)
        if completer is not None:
            completer.custom_matchers[:] = [m for m in completer.custom_matchers if not hasattr(m, "htcmagic")]

    def match(self, context: CompletionContext) -> SimpleMatcherResult:
        """Return what fits at the cursor; nothing outside our magics."""
        first = context.full_text.split("\n", 1)[0]
        found = MAGIC.match(first)
        nothing = SimpleMatcherResult(completions=[], suppress=False)
        words: Iterable[str | SimpleCompletion] | None
        if not found:
            return nothing
        before = context.line_with_cursor[: context.cursor_position]
        if context.cursor_line == 0:
            words = completion_queue.words(found.group(1), before, context.token)
            if words is None:
                words = self._on_the_line(found.group(1), before, context.token)
        elif found.group(1) == SUBMITS and first.lstrip().startswith("%%"):
            words = self._in_the_body(before, context.full_text, first)
        else:
            return nothing
        token = context.token
        offered = {w.text: w for word in words for w in [word if isinstance(word, SimpleCompletion) else _plain(word)]}
        fitting = [w for text, w in offered.items() if text.lower().startswith(token.lower()) and text != token]
        return SimpleMatcherResult(
            completions=fitting,
            matched_fragment=token,
            suppress=bool(fitting),
        )

    def _on_the_line(self, magic: str, before: str, token: str) -> Iterable[str]:
        words = before.split()
        previous = words[-1] if before.endswith(" ") else words[-2] if len(words) > 1 else ""
        if previous == "--over":
            return [name for name, value in self._variables() if _looks_like_items(value)]
        if previous == "--dir" or (magic == "condor_submit" and not token.startswith("-")):
            return []
        if magic in SENDS:
            if previous in NAMED:
                return NAMED[previous]()
            if not token.startswith("-"):
                return self._settings(before)
        options = self._options(magic)
        if token.startswith("-") and not token.startswith("--"):  # HTCondor's spelling
            return [*options, *(option[1:] for option in options if option.startswith("--"))]
        return [option for option in options if option.startswith("--")]

    def _settings(self, before: str) -> Iterable[str]:
        from htcmagic.jobs import commands

        assigned = re.search(r"(?:^|\s)(\w+)=\S*$", before)
        return commands.VALUES.get(assigned.group(1).lower(), ()) if assigned else [f"{c}=" for c in commands.COMMANDS]

    def _in_the_body(self, before: str, cell: str, first: str) -> Iterable[str]:
        from htcmagic.jobs import commands

        if MACRO_BEGUN.search(before):
            return self._macros(cell, first)
        assigned = re.match(r"\s*(\w+)\s*=\s*\S*$", before)
        if assigned:
            return commands.VALUES.get(assigned.group(1).lower(), ())
        if re.match(r"\s*queue\s+.*\s\w*$", before, re.IGNORECASE):
            return commands.QUEUE_WORDS
        return (*commands.COMMANDS, *commands.STATEMENTS) if re.match(r"\s*\w*$", before) else ()

    def _macros(self, cell: str, first: str) -> Iterable[str]:
        from htcmagic.jobs import commands
        from htcmagic.jobs.description import ASSIGNED, variables

        lines = cell.split("\n")[1:]
        own = [m.group(1) for line in lines if (m := ASSIGNED.match(line)) and m.group(1) not in commands.COMMANDS]
        queued = [
            v for line in lines if line.strip().lower().startswith("queue") for v in variables(line.strip()[5:].strip())
        ]
        over = re.search(r"--over[ =](\w+)", first)
        columns = _columns_of(self._shell.user_ns.get(over.group(1))) if over else []
        scalars = [name for name, value in self._variables() if isinstance(value, str | int | float | Path)]
        return [*columns, *queued, *own, *commands.MACROS, *scalars]

    def _options(self, magic: str) -> list[str]:
        function = self._shell.find_cell_magic(magic) or self._shell.find_line_magic(magic)
        parser = getattr(getattr(function, "__func__", function), "parser", None)
        shown = getattr(parser, "_option_string_actions", {})
        return sorted((name for name, action in shown.items() if action.help != SUPPRESS), key=str.lower)

    def _variables(self) -> list[tuple[str, object]]:
        hidden = self._shell.user_ns_hidden
        return [(n, v) for n, v in self._shell.user_ns.items() if not n.startswith("_") and n not in hidden]


def _plain(word: str) -> SimpleCompletion:
    return SimpleCompletion(text=word, type="htcondor")


def _looks_like_items(value: object) -> bool:
    return hasattr(value, "__iter__") and not isinstance(value, str | bytes | Mapping | type)


def _columns_of(value: object) -> list[str]:
    if hasattr(value, "columns"):
        return [str(column) for column in value.columns]
    if isinstance(value, list | tuple) and value:
        entry = value[0]
        if isinstance(entry, Mapping):
            return [str(key) for key in entry]
        if isinstance(entry, tuple):
            return list(getattr(entry, "_fields", [f"Item{n}" for n in range(len(entry))]))
    return ["Item"]


def _kernels() -> list[str]:
    from htcmagic.kernels import kernelspec

    return [kernel.name for kernel in kernelspec.kernels() if kernel.is_ours] + ["none"]


def _stacks() -> list[str]:
    from htcmagic.kernels import stack

    return list(stack.folders())


SENDS = frozenset({"condor_script", "condor_python"})
NAMED = {"--kernel": _kernels, "--stack": _stacks}
"""Options of theirs whose values are known."""
