"""Where a job's standard output and error are, and what is in them."""

from __future__ import annotations

import re
from pathlib import Path

from htcmagic.errors import HTCMagicError
from htcmagic.jobs import items
from htcmagic.jobs.rundir import Record, RunDir
from htcmagic.pool.client import client

SIMPLE = re.compile(r"\$\((\w+)\)")
ASKED = ("ProcId", "Out", "Err", "Iwd")
MOST_BYTES = 10_000_000


class Outputs:
    """Finds and reads the output files of one submission's jobs.

    Parameters
    ----------
    record : Record
        The submission.
    run_dir : RunDir
        Its folder.
    """

    def __init__(self, record: Record, run_dir: RunDir) -> None:
        self._record = record
        self._run_dir = run_dir
        self._items: list[dict[str, str]] | None = None
        self._paths: dict[object, tuple[object, ...]] = {}
        self._fetched: set[object] = set()

    def item(self, proc: int) -> dict[str, str]:
        """Return the queue item of one job."""
        if self._items is None:
            self._items = self._run_dir.items(self._record.columns)
        if not self._items:
            return {}
        per_item = max(1, self._record.procs // len(self._items))
        found = self._items[min(proc // per_item, len(self._items) - 1)]
        return {items.own_name(k): items.original(v) for k, v in found.items() if items.own_name(k)}

    def read(self, proc: int, stream: str) -> str:
        """Return what a job has written; ``""`` where there is no file yet."""
        if self._record.spool:
            self._retrieve(proc)
        path = self.path(proc, stream)
        if path is None:
            return ""
        try:
            with path.open("rb") as file:
                return file.read(MOST_BYTES).decode(errors="replace")
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise HTCMagicError(f"{path} cannot be read: {error.strerror}.") from None

    def reason(self, proc: int) -> str:
        """Return the last line of ours in a job's standard error, from a file that is here; empty without one."""
        path = self._plain_path(proc, "error")
        try:
            text = path.read_bytes()[-MOST_BYTES:].decode(errors="replace") if path is not None else ""
        except OSError:
            return ""
        said = [line.removeprefix("htcmagic: ") for line in text.splitlines() if line.startswith("htcmagic: ")]
        return said[-1] if said else ""

    def path(self, proc: int, stream: str) -> Path | None:
        """Return the file of ``"output"`` or ``"error"``; None if the job has none."""
        if not self._record.outputs[0 if stream == "output" else 1]:
            return None
        return self._plain_path(proc, stream) or self._asked(proc, stream)

    def _plain_path(self, proc: int, stream: str) -> Path | None:
        """Return that file where it can be told without asking the schedd."""
        written = self._record.outputs[0 if stream == "output" else 1]
        values = {
            "cluster": str(self._record.cluster),
            "clusterid": str(self._record.cluster),
            "process": str(proc),
            "procid": str(proc),
            **{k.lower(): v for k, v in self.item(proc).items()},
        }
        name, folder = (_filled(text, values) for text in (written, self._record.initialdir))
        if not name or folder is None:
            return None
        return Path(self._record.directory) / folder / name

    def _asked(self, proc: int, stream: str) -> Path | None:
        """Ask the schedd, in its queue and then in its history, for all jobs at once."""
        if proc not in self._paths:
            ask = client(self._record.pool)
            constraint = f"ClusterId == {self._record.cluster}"
            rows = ask.query(constraint, ASKED).rows
            if proc not in {row[0] for row in rows}:
                rows = [*rows, *ask.history(constraint, ASKED)]
            self._paths.update({row[0]: row[1:] for row in rows})
        if proc not in self._paths:
            return None
        out, err, folder = self._paths[proc]
        name = out if stream == "output" else err
        return Path(str(folder or "/")) / str(name) if name else None

    def _retrieve(self, proc: int) -> None:
        """Fetch what a spooled job has left with the schedd, once, when it has ended."""
        if proc in self._fetched:
            return
        ask = client(self._record.pool)
        completed = f"ClusterId == {self._record.cluster} && JobStatus == 4 && StageOutFinish =?= undefined"
        procs = [row[0] for row in ask.query(completed, ["ProcId"]).rows]
        if proc in procs:
            ask.call("retrieve", constraint=completed, within_s=600.0)
            self._fetched.update(procs)


def _filled(text: str, values: dict[str, str]) -> str | None:
    """Return text with its macros filled in; None where some are not known here."""
    if any(name.lower() not in values for name in SIMPLE.findall(text)) or "$" in SIMPLE.sub("", text):
        return None
    return SIMPLE.sub(lambda found: values[found.group(1).lower()], text)
