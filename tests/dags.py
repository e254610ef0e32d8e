"""DAGs for the tests: sent as the magic sends them, without a kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from htcmagic import places
from htcmagic.engines.dag import preparing, sending
from htcmagic.engines.dag.handle import Dag
from htcmagic.engines.dag.preparing import Options
from htcmagic.jobs.rundir import RunDir
from htcmagic.pool.resolve import connect


def prepared(text: str, namespace: dict[str, Any] | None = None, **options: Any) -> preparing.Prepared:
    """Check a DAG."""
    run_dir = RunDir.create(places.log_dir())
    try:
        client = connect("", "", report=print)
        return preparing.prepare(text, Options(**options), namespace or {}, client, run_dir.output_dir)
    finally:
        run_dir.discard()


def sent(
    text: str, namespace: dict[str, Any] | None = None, *, name: str = "t", file: Path | None = None, **options: Any
) -> Dag:
    """Check a DAG and send it."""
    client = connect("", "", report=print)
    run_dir = RunDir.create(places.log_dir())
    wanted = Options(name=name, completed=file is None, **options)
    outputs = None if file is not None else run_dir.output_dir
    try:
        ready = preparing.prepare(text, wanted, namespace or {}, client, outputs)
    except BaseException:
        run_dir.discard()
        raise
    return sending.send(ready, wanted, client, run_dir, file=file)


def echo(*names: str, arguments: str = "$(JOB)") -> str:
    """Return nodes that say their names."""
    head = f"SUBMIT-DESCRIPTION echo {{\n    executable = /bin/echo\n    arguments = {arguments}\n}}\n"
    return head + "".join(f"JOB {name} echo\n" for name in names)


def shell(name: str, script: str) -> str:
    """Return a node that runs a few words of shell."""
    return f"JOB {name} {{\n    executable = /bin/sh\n    arguments = \"-c '{script}'\"\n}}\n"
