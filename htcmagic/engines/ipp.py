"""A connected ipyparallel client, its engines in jobs of this pool."""

from __future__ import annotations

import contextlib
import importlib
import json
import shlex
import subprocess
import sys
import time
import weakref
from pathlib import Path
from typing import Any

from htcmagic.engines import network, session
from htcmagic.engines.engine import Engine
from htcmagic.engines.parsl_config import marked
from htcmagic.engines.surroundings import Surroundings, script, surroundings
from htcmagic.engines.versions import needed
from htcmagic.engines.watching import Watch, watch
from htcmagic.errors import Interrupted, PoolError
from htcmagic.jobs.display import clean
from htcmagic.pool.client import Client
from htcmagic.pool.resolve import connect

WAIT_S = 120.0
RUN, SUBMIT = "worker.sh", "engines.sub"
RUNS = """\
htc_file=$1
[ ! -e "$_CONDOR_SCRATCH_DIR/${htc_file##*/}" ] || htc_file=$_CONDOR_SCRATCH_DIR/${htc_file##*/}
PROBE
export IPYTHONDIR=${_CONDOR_SCRATCH_DIR:-${TMPDIR:-/tmp}}/.ipython
exec "$htc_python" -m ipyparallel.engine --file="$htc_file" --timeout=60 --log-level=30"""
DESCRIPTION = """\
universe = vanilla
executable = {run}
arguments = {words}
transfer_input_files = {files}
output = {logs}/engine-$(ClusterId).$(ProcId).out
error = {logs}/engine-$(ClusterId).$(ProcId).err
log = {logs}/engines.log
batch_name = {label}
{lines}
queue {n}
"""


def ipyparallel(
    engines: int = 1,
    cores: int = 1,
    *,
    memory: str = "1GB",
    disk: str = "1GB",
    wait_s: float = WAIT_S,
    label: str = "ipyparallel",
    schedd: str = "",
    pool: str = "",
    **options: Any,
) -> Any:
    """Return a connected ``ipyparallel.Client``, with its engines in jobs of this pool; ``%%px`` uses them.

    Parameters
    ----------
    engines : int
        How many; each is a job.
    cores : int
        Of each.
    memory, disk : str
        What each may use.
    wait_s : float
        How long to wait for all of them; when it is over, those that have come are returned.
    label : str
        Batch name of the jobs.
    schedd, pool : str
        Where to submit; as in ``%condor_pool``.
    **options
        Everything that ``ipyparallel.Cluster`` takes; submit commands (``requirements=…``); attributes for the jobs'
        ads, which begin with a capital letter: ``ProjectName="OSG-Staff"``; and where engines run, if not in this
        kernel's own environment: ``container=``, ``stack=``, ``kernel=``, ``ship_env=True``.

    Returns
    -------
    ipyparallel.Client
        ``rc.cluster`` is its cluster; ``rc.engine`` knows its jobs: ``.status()``, ``.why()``, ``.stop()``.

    Raises
    ------
    HTCMagicError
        ipyparallel is not installed.
    PoolError
        No engine has come; the reason is told.
    CellError
        An option is none.
    """
    module = needed("ipyparallel")
    around = surroundings(options, "ipyparallel", python=options.pop("python", ""))
    client = connect(schedd, pool)
    traits = set(module.Cluster.class_trait_names())
    theirs = {name: value for name, value in options.items() if name in traits}
    asked = {"request_cpus": cores, "request_memory": memory, "request_disk": disk}
    lines = [f"{name} = {value}" for name, value in around.commands(here=client.pool.personal).items()]
    lines += marked(asked | {name: value for name, value in options.items() if name not in traits})
    network.usable("controller_ip", str(theirs.get("controller_ip") or _listens(client)), client)
    engine = Engine(session.begin("ipyparallel", label, client.pool), client)
    engine.address = 'htcmagic.engines.ipyparallel(…, controller_ip="…")'
    folder = engine.session.folder
    (folder / "logs").mkdir(mode=0o700)
    (folder / RUN).write_text(_worker(around), encoding="utf-8", errors="surrogateescape")
    (folder / RUN).chmod(0o700)
    try:
        cluster = module.Cluster(**(_settings(engine, _launcher(engine, around, lines)) | theirs))
    except BaseException:
        engine.finish()
        raise
    there = weakref.ref(cluster)
    engine.close = lambda: _close(there())
    shown = watch(engine)
    try:
        cluster.start_controller_sync()
        engine.alive = lambda: _alive(there())
        rc = cluster.connect_client_sync()  # engines need the files that are there from now on
        rc.engine = engine
        cluster.start_engines_sync(engines)
        _wait(rc, engines, wait_s, shown)
    except KeyboardInterrupt:
        engine.stop()
        raise Interrupted("Stopped waiting, and removed the engines.") from None
    except BaseException:
        engine.stop()
        raise
    if importlib.import_module("IPython").get_ipython() is not None:
        rc.activate()
    return rc


def _worker(around: Surroundings) -> str:
    return script(around, [RUNS.replace("PROBE", around.probe("${2:+$2}"))])


def _settings(engine: Engine, launcher: type) -> dict[str, Any]:
    """Return what the cluster is made of."""
    config = importlib.import_module("traitlets.config").Config()
    command = [sys.executable, "-m", "ipyparallel.controller"]
    config.LocalControllerLauncher.controller_cmd = session.noted(engine.session, command)
    settings: dict[str, Any] = {
        "engines": launcher,
        "controller": "local",
        "profile_dir": str(engine.session.folder / "profile"),
        "controller_ip": _listens(engine.client),
        "send_engines_connection_env": False,
        "log_level": 40,
        "config": config,
    }
    if not engine.client.pool.personal:
        settings["controller_location"] = network.address(engine.client)
        settings["controller_args"] = ["--IPController.enable_curve=True"]
    return settings


def _place(connection: Path) -> str:
    """Return where the controller waits for engines to register, as ``HOST:PORT``; nothing where that is not told."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        told = json.loads(connection.read_text())
        host = str(told["interface"]).partition("://")[2]
        return f"{told['location'] if host in {'*', '0.0.0.0'} else host}:{int(told['registration'])}"  # noqa: S104
    return ""


def _listens(client: Client) -> str:
    return network.LOOPBACK if client.pool.personal else network.address(client)


def _launcher(engine: Engine, around: Surroundings, lines: list[str]) -> type:
    """Return ipyparallel's launcher with a description that HTCondor can run."""
    launchers = importlib.import_module("ipyparallel.cluster.launcher")
    folder = engine.session.folder

    class HTCondorEngineSetLauncher(launchers.HTCondorEngineSetLauncher):  # type: ignore[misc, name-defined]
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.submit_command = [str(engine.session.bin / "condor_submit")]
            self.delete_command = [str(engine.session.bin / "condor_rm")]
            self.batch_file = str(folder / SUBMIT)

        def write_batch_script(self, n: int = 1) -> None:
            """Write the submit description."""
            self.n = n
            file = self.connection_files["engine"]
            text = DESCRIPTION.format(
                run=folder / RUN,
                words=f'"{shlex.quote(file)} {_place(Path(file))}"',
                files=", ".join([file, *around.files()]),
                logs=folder / "logs",
                label=session.expression(engine.session.label).strip('"'),
                lines="\n".join(lines),
                n=n,
            )
            Path(self.batch_file).write_text(text)

        def _run_command(self, command: list[str], **options: Any) -> str:
            done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
            if done.returncode:
                said = clean((done.stderr or done.stdout).strip(), 400)
                raise PoolError(f"{Path(command[0]).name} has refused: {said or done.returncode}")
            return str(done.stdout)

        def stop(self) -> Any:
            """Remove the jobs; they may have ended."""
            with contextlib.suppress(PoolError, OSError):
                return super().stop()
            return self.notify_stop({"job_id": self.job_id, "output": ""})

    return HTCondorEngineSetLauncher


def _wait(rc: Any, wanted: int, wait_s: float, shown: Watch) -> None:
    """Wait until the engines have come.

    Raises
    ------
    PoolError
        None has.
    """
    deadline = time.monotonic() + wait_s
    while len(rc) < wanted:
        over = shown.jobs and not any(job.busy or job.status == 1 for job in shown.jobs)
        ended = not shown.jobs and bool(shown.engine.ends)
        if time.monotonic() > deadline or ((over or ended) and shown.troubles()):
            break
        time.sleep(0.05)
    if len(rc) >= wanted or len(rc) > 0:
        return
    reasons = shown.troubles() or [f"none of {wanted} engines has come within {wait_s:g} s"]
    raise PoolError(f"No engine: {reasons[0]}", hint="\n".join(reasons[1:]))


def _alive(cluster: Any) -> bool:
    return cluster is not None and cluster.controller is not None and cluster.controller.state == "running"


def _close(cluster: Any) -> None:
    if cluster is not None:
        with contextlib.suppress(Exception):  # its own way down; what is left we remove
            cluster.stop_cluster_sync()
