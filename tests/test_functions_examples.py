"""The examples in the docstrings of map, load, Executor and task run as shown, and give what they show."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Kernel

import htcmagic
from htcmagic.functions import tags


@pytest.fixture(autouse=True)
def swept(pool: Any) -> Iterator[None]:
    """Leave no map behind."""
    yield
    for tag in tags.known():
        htcmagic.load(tag).delete()


def examples(call: Any) -> list[tuple[str, str]]:
    """Return the cells of a docstring's examples, each with what it gives; empty if that is not shown."""
    text = inspect.cleandoc(call.__doc__).partition("Examples\n--------\n::\n")[2]
    found = []
    for part in re.split(r"^    In \[\d+\]: ", text, flags=re.MULTILINE)[1:]:
        cell, _, result = part.partition("\n    Out[")
        found.append((re.sub(r"\n +\.\.\.: ", "\n", cell).strip(), result.partition("]: ")[2].strip()))
    return found


@pytest.mark.parametrize("name", ["map", "load", "Executor", "task"])
def test_the_examples_run_as_shown(kernel: Kernel, name: str) -> None:
    kernel.run("import htcmagic")
    cells = examples(getattr(htcmagic, name))
    assert any(result for _, result in cells), f"{name} has no example"
    for cell, result in cells:
        outcome = kernel.run(cell, timeout=120)
        assert outcome.error is None, (cell, outcome.error[2])
        if result:
            assert outcome.result == result, cell
