"""What the nodes of test_dag_functions.py call; a job imports this file, so it needs nothing of the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def throw(seed: int, n: int = 100) -> float:
    """Estimate pi."""
    import random

    rng = random.Random(seed)  # noqa: S311 - nothing secret
    print("seed", seed)
    return sum(rng.random() ** 2 + rng.random() ** 2 < 1 for _ in range(n)) * 4 / n


def average(values: list[float], *, scale: float = 1) -> float:
    """Reduce."""
    return sum(values) / len(values) * scale


def write(text: str) -> Any:
    """Return a file."""
    import htcmagic

    Path("out.txt").write_text(text)
    return htcmagic.File("out.txt")


def read(file: Any) -> str:
    """Read a file of another node."""
    return Path(file.path).read_text().upper()


def refuse(value: float) -> None:
    """Fail."""
    raise ValueError(f"not {value}")
