"""The words behind a magic that hands them on to one of HTCondor's programs: which option each is."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from htcmagic.errors import CellError

MANY = -1
"""An option takes all words up to the next option."""


@dataclass(frozen=True, slots=True)
class Word:
    """An option with its values, or a word of its own.

    Parameters
    ----------
    name : str
        The option's full name; empty for a word of its own.
    suffix : str
        What stands behind a colon: ``jh`` of ``-af:jh``.
    values : tuple of str
        The option's values, or the word.
    """

    name: str
    suffix: str
    values: tuple[str, ...]

    def spelled(self) -> list[str]:
        """Return it as the program takes it."""
        if not self.name:
            return list(self.values)
        return [f"-{self.name}:{self.suffix}" if self.suffix else f"-{self.name}", *self.values]


def read(program: str, words: Sequence[str], options: Mapping[str, int], short: Mapping[str, str]) -> list[Word]:
    """Return the words of a line by option.

    Parameters
    ----------
    program : str
        For messages.
    words : sequence of str
        As written, with one dash or two, abbreviated or not.
    options : mapping
        Number of values of each option, or `MANY`.
    short : mapping
        Abbreviations that the program takes though other options begin alike.

    Raises
    ------
    CellError
        An option is unknown, or lacks its value.
    """
    found: list[Word] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        dashed = re.fullmatch(r"--?([A-Za-z][A-Za-z_-]*)(?::(\S*))?(?:=(.*))?", word, re.DOTALL)
        if dashed is None:
            found.append(Word("", "", (word,)))
            continue
        name = _named(program, dashed[1].lower(), options, short)
        wanted = options[name]
        values = [dashed[3]] if dashed[3] is not None else []
        while rest and (wanted == MANY or len(values) < wanted):
            if wanted == MANY and re.match(r"--?[A-Za-z]", rest[0]):
                break
            values.append(rest.pop(0))
        if len(values) < max(wanted, 1 if wanted == MANY else 0):
            raise CellError(f"%{program} {word}: a value is missing.", hint=f"Its options: %{program}?")
        found.append(Word(name, dashed[2] or "", tuple(values)))
    return found


def _named(program: str, begun: str, options: Mapping[str, int], short: Mapping[str, str]) -> str:
    if begun in options:
        return begun
    if begun in short:
        return short[begun]
    longer = [name for name in options if name.startswith(begun)]
    if len(longer) == 1:
        return longer[0]
    import difflib  # noqa: PLC0415 - only after a slip

    near = longer[:3] or difflib.get_close_matches(begun, options, n=1)
    hint = f"Did you mean {' or '.join(f'-{name}' for name in near)}?" if near else f"Its options: %{program}?"
    raise CellError(f"%{program} has no option -{begun}.", hint=hint)


def spelled(words: Sequence[Word], *, without: Collection[str] = ()) -> list[str]:
    """Return words as the program takes them, but for some options."""
    return [part for word in words if word.name not in without for part in word.spelled()]


def values(words: Sequence[Word], *names: str) -> list[str]:
    """Return the values of all of some options."""
    return [value for word in words if word.name in names for value in word.values]


def given(words: Sequence[Word], *names: str) -> bool:
    """Whether one of some options is there."""
    return any(word.name in names for word in words)


def expressions(words: Sequence[Word]) -> list[str]:
    """Return the expressions of ``-format`` and ``-af``: the user's own columns."""
    return [
        value
        for word in words
        if word.name in {"format", "autoformat", "af"}
        for value in (word.values[1:] if word.name == "format" else word.values)
    ]
