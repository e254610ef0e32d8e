"""Where a job's standard output and error are, and what is in them."""

from __future__ import annotations

import re
from pathlib import Path

from htcmagic.errors import HTCMagicError
from htcmagic.jobs.rundir import Record, RunDir
from htcmagic.pool.client import client

SIMPLE = re.compile(r"\$\((\w+)\)")
ATTRIBUTE = {"output": "Out", "error": "Err"}
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
        self._fetched = False

    def item(self, proc: int) -> dict[str, str]:
        """Return the queue item of one job."""
        if self._items is None:
            self._items = self._run_dir.items(self._record.columns)
        if not self._items:
            return {}
        per_item = max(1, self._record.procs // len(self._items))
        found = self._items[min(proc // per_item, len(self._items) - 1)]
        return {k: v.replace("$(DOLLAR)", "$").replace("$(htcmagic_nil)", "") for k, v in found.items()}

    def read(self, proc: int, stream: str) -> str:
        """Return what a job has written; ``""`` where there is no file yet."""
        if self._record.spool and not self._fetched:
            client(self._record.pool).call(
                "retrieve", constraint=f"ClusterId == {self._record.cluster}", within_s=600.0
            )
            self._fetched = True
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

    def path(self, proc: int, stream: str) -> Path | None:
        """Return the file of ``"output"`` or ``"error"``; None if the job has none."""
        written = self._record.outputs[0 if stream == "output" else 1]
        if not written:
            return None
        values = {
            "cluster": str(self._record.cluster),
            "clusterid": str(self._record.cluster),
            "process": str(proc),
            "procid": str(proc),
            **{k.lower(): v for k, v in self.item(proc).items()},
        }
        if all(name.lower() in values for name in SIMPLE.findall(written)) and "$" not in SIMPLE.sub("", written):
            name = SIMPLE.sub(lambda found: values[found.group(1).lower()], written)
            if "/" in name[:1]:
                return Path(name)
        return self._asked(proc, ATTRIBUTE[stream])

    def _asked(self, proc: int, attribute: str) -> Path | None:
        """Ask the schedd, in its queue and then in its history."""
        constraint = f"ClusterId == {self._record.cluster} && ProcId == {proc}"
        ask = client(self._record.pool)
        rows = ask.query(constraint, [attribute, "Iwd"], limit=1).rows or ask.history(
            constraint, [attribute, "Iwd"], limit=1
        )
        if not rows or not rows[0][0]:
            return None
        return Path(str(rows[0][1] or "/")) / str(rows[0][0])
