"""Sending a DAG: DAGMan is a job like every other submission, so it is kept, found and removed like one."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from htcmagic.engines.dag import preparing, rundir
from htcmagic.engines.dag.handle import Dag
from htcmagic.engines.dag.preparing import Options, Prepared
from htcmagic.engines.dag.rundir import DagRecord
from htcmagic.errors import CellError
from htcmagic.jobs import script, sending, submission
from htcmagic.jobs.cluster import Cluster, attach
from htcmagic.jobs.rundir import RunDir
from htcmagic.pool.client import Client

ATTRIBUTE = "HtcmagicDag"
"""In the ads of DAGMan's job and of all jobs of its nodes: the run in which the DAG was first sent."""
REPLACED = frozenset({"output", "error", "log", "environment", "my.jobbatchname"})
QUOTED = re.compile(r"[\s'\"]|\A\Z")


def send(
    prepared: Prepared,
    options: Options,
    client: Client,
    run_dir: RunDir,
    *,
    file: Path | None = None,
    functions: bool = False,
) -> Dag:
    """Send DAGMan; on failure nothing is left of it.

    Parameters
    ----------
    file : Path, optional
        Where the DAG is; if not given, it is written into the run's folder.
    functions : bool
        Whether its nodes are Python functions.
    """
    try:
        if file is None:
            file = run_dir.path / f"{preparing.safe_name(options.name)}.dag"
            run_dir.write(file, prepared.text)
        preparing.second_opinion(file, prepared, client)
    except BaseException:
        run_dir.discard()
        raise
    record = DagRecord(
        str(file), str(prepared.directory), run_dir.run, limits=dict(options.limits), functions=functions
    )
    return Dag(*start(record, options.name, client, run_dir))


def start(record: DagRecord, name: str, client: Client, run_dir: RunDir) -> tuple[Cluster, DagRecord, RunDir]:
    """Send DAGMan for a DAG that is there, from its newest rescue DAG if it has one; return what a handle wants."""
    rescues = rundir.rescues(Path(record.file))
    record = DagRecord(
        record.file,
        record.directory,
        record.origin,
        str(rescues[-1]) if rescues else "",
        rundir.node_log(run_dir),
        record.limits,
        record.functions,
    )
    try:
        described = describe(record, client, run_dir)
        wanted = submission.Options(name=name, directory=record.directory, checked=False)
        prepared = submission.prepare(described, wanted, {}, client, run_dir)
        rundir.save(run_dir, record)
    except BaseException:
        run_dir.discard()
        raise
    sent = sending.send(prepared, client, run_dir)
    return attach(run_dir, sent.record), record, run_dir


def describe(record: DagRecord, client: Client, run_dir: RunDir) -> str:
    """Return the submit description of DAGMan's job."""
    env = dict(os.environ)
    pairs: list[tuple[str, str]] = client.call(
        "dag_description", file=record.file, options=dict(record.limits or {}), cwd=record.directory, env=env
    )
    given = dict(pairs)
    if not given.get("executable"):
        raise CellError("HTCondor's condor_dagman is not on this machine.", hint="Get it: htc-pool install")
    settings = script.read_environment(given.get("environment", '""'))
    settings["_CONDOR_DAGMAN_LOG"] = str(rundir.out_file(run_dir))
    settings["_CONDOR_DAGMAN_DEFAULT_NODE_LOG"] = record.node_log
    settings["_CONDOR_DAGMAN_INHERIT_ATTRS"] = ATTRIBUTE
    if shutil.which("condor_submit_dag") is None:  # DAGMan calls it for a DAG in a DAG
        settings["PATH"] = os.pathsep.join([str(Path(given["executable"]).parent), env.get("PATH", os.defpath)])
    if client.pool.personal:
        settings.setdefault("_CONDOR_DAGMAN_USER_LOG_SCAN_INTERVAL", "1")  # in place of 5 s: somebody waits
    lines = [f"{key} = {value}" for key, value in pairs if key.lower() not in REPLACED]
    lines += [
        f'environment = "{" ".join(_word(f"{name}={value}") for name, value in settings.items())}"',
        f"output = {run_dir.path}/dagman.lib.out",
        f"error = {run_dir.path}/dagman.lib.err",
        f'My.{ATTRIBUTE} = "{record.origin}"',
    ]
    return "\n".join([*lines, "queue"])


def _word(word: str) -> str:
    doubled = word.replace('"', '""')
    return "'" + doubled.replace("'", "''") + "'" if QUOTED.search(word) else doubled
