"""A stock dask-jobqueue cluster on this pool."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
import re
import shlex
import weakref
from pathlib import Path
from typing import Any

from htcmagic.engines import network, session
from htcmagic.engines.engine import Engine
from htcmagic.engines.rows import Job
from htcmagic.engines.session import expression
from htcmagic.engines.surroundings import Surroundings, script, surroundings
from htcmagic.engines.versions import needed
from htcmagic.engines.watching import watch
from htcmagic.errors import CellError, HTCMagicError
from htcmagic.functions.place import resources
from htcmagic.pool.client import Client
from htcmagic.pool.resolve import connect

WORKER_LEAVES_S = 60
"""A worker that cannot reach the scheduler for so long ends."""
CLOSE_S = 10
RUN = "worker.sh"
PREFIX = "JUPYTERHUB_SERVICE_PREFIX"
STOCK_LINK = "{scheme}://{host}:{port}/status"


def dask(
    workers: int = 0,
    cores: int = 1,
    *,
    memory: str = "1GB",
    disk: str = "1GB",
    maximum: int | None = None,
    label: str = "dask",
    schedd: str = "",
    pool: str = "",
    **options: Any,
) -> Any:
    """Return a stock ``dask_jobqueue.HTCondorCluster`` that runs on this pool as it is.

    Parameters
    ----------
    workers : int
        Workers to start with; each is a job.
    cores : int
        Threads, and cores, of each.
    memory, disk : str
        What each may use.
    maximum : int, optional
        Adapt to the load: from `workers` to so many.
    label : str
        Batch name of the jobs.
    schedd, pool : str
        Where to submit; as in ``%condor_pool``.
    **options
        Everything that ``HTCondorCluster`` takes; submit commands (``requirements=…``); attributes for the jobs' ads,
        which begin with a capital letter: ``ProjectName="OSG-Staff"``; and where workers run, if not in this kernel's
        own environment: ``python=``, ``container=``, ``stack=``, ``kernel=``, ``ship_env=True``.

    Returns
    -------
    dask_jobqueue.HTCondorCluster
        ``cluster.client`` is its client; ``cluster.scale(n)``, ``cluster.adapt(…)``, ``cluster.close()`` as always;
        ``cluster.engine`` knows its jobs: ``.status()``, ``.why()``, ``.stop()``.

    Raises
    ------
    HTCMagicError
        dask-jobqueue is not installed.
    CellError
        An option is none.
    """
    module = needed("dask_jobqueue")
    around = surroundings(options, "distributed", python=options.pop("python", ""))
    client = connect(schedd, pool)
    options, directives = _directives(options, module)
    if not client.pool.personal:
        options.setdefault("security", True)
        _encrypts(options["security"])
    scheduler = _scheduler(client, options.pop("scheduler_options", {}))
    engine = Engine(session.begin("dask", label, client.pool), client)
    engine.address = 'htcmagic.engines.dask(…, scheduler_options={"host": "…"})'
    _write(engine.session.folder / RUN, script(around, [RUNS.replace("{probe}", around.probe('${4:+"$4"}'))]))
    _link_dashboard()
    directives = {"RequestCpus": cores, **around.commands(here=client.pool.personal), **directives}
    job = _job_class(engine, around)
    cluster = _cluster_class(module, engine)(
        **{
            "job_cls": job,
            "cores": cores,
            "memory": memory,
            "disk": disk,
            "processes": 1,
            "name": label,
            "python": '"$htc_python"',
            "death_timeout": WORKER_LEAVES_S,
            "log_directory": str(engine.session.folder / "logs"),
            "local_directory": '"${_CONDOR_SCRATCH_DIR:-/tmp}"',
            "shared_temp_directory": str(engine.session.folder),
            **options,
            "scheduler_options": scheduler,
            "job_extra_directives": directives | _given(options.get("job_extra_directives")),
        }
    )
    if maximum is not None:
        cluster.adapt(minimum_jobs=workers, maximum_jobs=maximum)
    elif workers:
        cluster.scale(jobs=workers)
    watch(engine)
    return cluster


def _directives(options: dict[str, Any], module: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return dask-jobqueue's options, and what goes into the submit description.

    Raises
    ------
    CellError
        An option is neither.
    """
    core = importlib.import_module(f"{module.__name__}.core")
    told = core.job_parameters + core.cluster_parameters + str(module.HTCondorCluster.__doc__)
    known = set(re.findall(r"^\s*(\w+) ?: ", told, re.MULTILINE)) | {"loop", "protocol", "job_extra_directives"}
    theirs = {name: value for name, value in options.items() if name in known}
    marks = {name: value for name, value in options.items() if name not in known and name[0].isupper()}
    commands = resources(**{name: value for name, value in options.items() if name not in known | set(marks)})
    for name in ("job_cls", "cores", "disk"):
        if name in theirs:
            raise CellError(f"{name} is what is made here.")
    return theirs, {f"MY.{name}": expression(value) for name, value in marks.items()} | commands


def _encrypts(security: Any) -> None:
    """Make sure that certificates can be made.

    Raises
    ------
    HTCMagicError
        They cannot.
    """
    if security is True and importlib.util.find_spec("cryptography") is None:
        raise HTCMagicError(
            "Between machines Dask is to use TLS, and the package cryptography is not installed.",
            hint="%pip install cryptography    or, where the network is trusted: security=None",
        )


def _given(directives: Any) -> dict[str, Any]:
    return dict(directives or {})


def _scheduler(client: Client, given: dict[str, Any]) -> dict[str, Any]:
    """Return where the scheduler listens.

    Raises
    ------
    CellError
        There is no free port; workers could not get there.
    """
    if client.pool.personal:
        return {"host": network.LOOPBACK, "dashboard_address": f"{network.LOOPBACK}:0", **given}
    host = given.get("host") or network.address(client)
    network.usable("host", str(host), client)
    wanted = given.get("port", network.ports())
    port = network.check("port", wanted, 1, host)[0] if isinstance(wanted, tuple) else wanted
    return {"dashboard_address": ":0", **given, "host": host, "port": port}


def _link_dashboard() -> None:
    """Lead the dashboard's link through JupyterHub's proxy, where there is one."""
    config = importlib.import_module("dask").config
    importlib.import_module("distributed")  # whose defaults would come after ours
    if os.environ.get(PREFIX) and config.get("distributed.dashboard.link") == STOCK_LINK:
        config.set({"distributed.dashboard.link": os.environ[PREFIX].rstrip("/") + "/proxy/{port}/status"})


RUNS = """\
htc_command=$1
{probe}
case " $htc_command " in
*" --host "* | *" --interface "* | *" --listen-address "* | *" --contact-address "*) htc_address= ;;
esac
case $htc_address in 127.*) htc_address= ;; esac  # on the notebook's own machine Dask knows it
[ -z "$htc_address" ] || htc_command+=" --host $htc_address"  # alone it asks for the way to 8.8.8.8, which may not be
if [ -n "$2" ] && [ -e "$_CONDOR_SCRATCH_DIR/${3##*/}" ]; then  # files that HTCondor has brought along
    htc_command=${htc_command//"$2"/"$_CONDOR_SCRATCH_DIR"}
fi
eval "$htc_command\""""


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8", errors="surrogateescape")
    file.chmod(0o700)


def _quoted(words: list[str]) -> str:
    """Return arguments in HTCondor's new syntax, each as it is: empty ones and dollar signs, too."""
    return " ".join(
        "'" + word.replace("'", "''").replace('"', '""').replace("$(", "$(DOLLAR)(") + "'" for word in words
    )


def _job_class(engine: Engine, around: Surroundings) -> type:
    """Return dask-jobqueue's job with HTCondor's programs as this pool wants them called, and words quoted right."""
    module = importlib.import_module("dask_jobqueue.htcondor")
    folder = engine.session.folder

    class HTCondorJob(module.HTCondorJob):  # type: ignore[misc, name-defined]
        executable = str(folder / RUN)

        def __init__(self, *arguments: Any, **keywords: Any) -> None:
            super().__init__(*arguments, **keywords)
            security = keywords.get("security")
            tls = security.get_tls_config_for_role("worker") if security else {}
            self._files = [value for value in tls.values() if isinstance(value, str) and value.startswith("/")]
            for command in ("submit_command", "cancel_command"):
                words = shlex.split(getattr(self, command))
                setattr(self, command, shlex.join([str(engine.session.bin / Path(words[0]).name), *words[1:]]))

        def job_script(self) -> str:
            """Return the submit description."""
            scheduler = str(self.scheduler).partition("://")[2]
            words = [self._command_template, "", "", scheduler if ":" in scheduler else ""]
            lines: list[str] = [line for line in super().job_script().splitlines() if "Arguments =" not in line]
            files = [*self._files, *around.files()]
            if self._files:
                words[1:3] = [str(Path(self._files[0]).parent), self._files[0]]
            if files:
                lines.insert(-2, f"transfer_input_files = {', '.join(files)}")
            lines.insert(-2, f'Arguments = "{_quoted(words)}"')
            return "\n".join(lines) + "\n"

    return HTCondorJob


def _cluster_class(module: Any, engine: Engine) -> Any:
    """Return dask-jobqueue's cluster, with its client, and with its end as the engine's."""

    class HTCondorCluster(module.HTCondorCluster):  # type: ignore[misc]
        def __init__(self, **options: Any) -> None:
            self.engine = engine
            there = weakref.ref(self)
            engine.close = lambda: _close(there())
            engine.lost = lambda job: _replace(there(), job)
            try:
                super().__init__(**options)
            except BaseException:
                self._forget()
                engine.finish()
                raise

        def _forget(self) -> None:
            """Delete the files of the certificates, which Python would otherwise look for later."""
            for name in ("_job_ca_file", "_job_cert", "_job_key"):
                if hasattr(self, name):
                    getattr(self, name).close()

        @property
        def client(self) -> Any:
            """A client of it, always the same."""
            if getattr(self, "_own_client", None) is None:
                self._own_client = self.get_client()
            return self._own_client

        async def _close(self) -> None:
            await super()._close()
            self._forget()
            await asyncio.to_thread(engine.finish)

    return HTCondorCluster


def _replace(cluster: Any, job: Job) -> None:
    """Let Dask know of a worker's end: it sends another, but for one that would fail as well."""
    if cluster is None or cluster.engine.ended:
        return

    async def forget() -> None:
        for name, worker in list(cluster.workers.items()):
            if worker.job_id == str(job.id):
                del cluster.workers[name]
                if job.exit_code:
                    cluster.worker_spec.pop(name, None)
        await cluster._correct_state()  # noqa: SLF001 - as Dask itself does it after a change

    cluster.loop.add_callback(forget)


def _close(cluster: Any) -> None:
    """Close it from another thread than its own."""
    if cluster is None:
        return
    if cluster.asynchronous:  # in a server's loop, as the pane of dask-labextension has it
        asyncio.run_coroutine_threadsafe(cluster._close(), cluster.loop.asyncio_loop).result(CLOSE_S)  # noqa: SLF001
    else:
        cluster.close(timeout=CLOSE_S)
