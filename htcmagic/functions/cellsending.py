"""A cell's jobs to the pool: all or none; or only shown."""

from __future__ import annotations

from htcmagic import places
from htcmagic.errors import Interrupted
from htcmagic.functions import cells, jobs
from htcmagic.functions.cellrun import CellRun, found
from htcmagic.jobs import display, sending, submission
from htcmagic.jobs.cluster import attach
from htcmagic.jobs.rundir import RunDir
from htcmagic.pool.client import Client

ASKED = (("cpus", "CPU"), ("memory", "memory"), ("disk", "disk"), ("gpus", "GPU"))


def send(order: cells.Order, client: Client, *, report: cells.Report | None = None) -> CellRun:
    """Send a cell's jobs, all or none."""
    run_dir, prepared = _prepared(order, client, report)
    sent = sending.send(prepared, client, run_dir)
    if report is not None:
        for line in (*prepared.notes, *sent.warnings, *_along(order)):
            report(line)
    return found(run_dir, attach(run_dir, sent.record))


def dry_run(order: cells.Order, client: Client, *, report: cells.Report) -> None:
    """Say what would be sent; send nothing."""
    run_dir, prepared = _prepared(order, client, report)
    run_dir.discard()
    for line in (*prepared.notes, *_along(order), submission.shown(prepared)):
        report(line)


def _prepared(order: cells.Order, client: Client, report: cells.Report | None) -> tuple[RunDir, submission.Submission]:
    run_dir = RunDir.create(places.log_dir())
    try:
        return run_dir, cells.prepare(order, client, run_dir, report=report)
    except KeyboardInterrupt:
        run_dir.discard()
        raise Interrupted("Nothing was sent.") from None
    except BaseException:
        run_dir.discard()
        raise


def _along(order: cells.Order) -> list[str]:
    """Return what each job asks for and what went along, in a line for people."""
    asked = {**jobs.DEFAULTS, **order.wish.resources}
    words = [f"{asked[f'request_{name}']} {word}" for name, word in ASKED if f"request_{name}" in asked]
    line = f"Each job asks for {', '.join(words)}."
    if order.sent:
        size = len(order.function.data)
        told = f"{size >> 20} MB" if size >> 20 else f"{max(1, size >> 10)} kB"
        line += f" From the notebook: {display.clean(', '.join(order.sent), 200)} ({told})."
    return [line]
