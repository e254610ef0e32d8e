"""What is kept of a DAG in the folder of its run, beside what is kept of every submission."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from htcmagic import places
from htcmagic.jobs.rundir import RunDir, all_runs

RESCUE = re.compile(r"\.rescue(\d{3})\Z")
DONE = re.compile(r"^\s*DONE\s+(\S+)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class DagRecord:
    """What is kept.

    Attributes
    ----------
    file : str
        The DAG that DAGMan reads; rescue DAGs lie beside it.
    directory : str
        Where its relative paths start.
    origin : str
        The run in which it was first sent; its own if it is that.
    rescue : str
        The rescue DAG that it was resumed from.
    node_log : str
        The log of its nodes' jobs; ``@(CLUSTER)`` in it is DAGMan's own id.
    limits : dict
        Throttles that it was sent with.
    """

    file: str
    directory: str
    origin: str
    rescue: str = ""
    node_log: str = ""
    limits: dict[str, int] | None = None
    functions: bool = False


def record_file(run_dir: RunDir) -> Path:
    """Return the file of a run that says that it is a DAG."""
    return run_dir.path / "dag.json"


def out_file(run_dir: RunDir) -> Path:
    """Return what DAGMan writes for people."""
    return run_dir.path / "dagman.out"


def node_log(run_dir: RunDir) -> str:
    """Return the path for the log of nodes' jobs: none that DAGMan refuses, and on a local disk.

    DAGMan does not start with a log below /tmp, where it might be cleaned away.
    """
    folder = places.log_dir()
    if folder.is_relative_to("/tmp"):  # noqa: S108
        folder = places.private(places.pool_dir() / "dags")
    return f"{folder / run_dir.run}.@(CLUSTER).nodes.log"


def save(run_dir: RunDir, record: DagRecord) -> None:
    """Keep it."""
    run_dir.write(record_file(run_dir), json.dumps(asdict(record), indent=1))


def load(run_dir: RunDir) -> DagRecord | None:
    """Read it again; None where the run is no DAG."""
    try:
        return DagRecord(**json.loads(record_file(run_dir).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def dag_runs() -> Iterator[tuple[RunDir, DagRecord]]:
    """Yield this user's DAGs, the newest try of each, newest first."""
    seen = set()
    for run_dir in all_runs():
        record = load(run_dir)
        if record is not None and record.origin not in seen:
            seen.add(record.origin)
            yield run_dir, record


def rescues(file: Path) -> list[Path]:
    """Return the rescue DAGs of a DAG, oldest first."""
    found = [path for path in file.parent.glob(f"{_literal(file.name)}.rescue*") if RESCUE.search(path.name)]
    return sorted(found)


def _literal(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)


def done_in(rescue: Path) -> list[str]:
    """Return the nodes that a rescue DAG calls done."""
    try:
        return DONE.findall(rescue.read_text(errors="replace"))
    except OSError:
        return []
