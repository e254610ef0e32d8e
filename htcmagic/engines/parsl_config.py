"""A stock Parsl configuration for this pool."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import re
import shlex
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from htcmagic.engines import network, session
from htcmagic.engines.engine import Engine
from htcmagic.engines.session import expression
from htcmagic.engines.surroundings import Surroundings, surroundings
from htcmagic.engines.versions import needed
from htcmagic.engines.watching import watch
from htcmagic.errors import CellError
from htcmagic.functions.place import resources
from htcmagic.pool.client import Client
from htcmagic.pool.resolve import connect

if TYPE_CHECKING:
    from parsl import Config

WALLTIME = re.compile(r"(\d+):([0-5]\d):([0-5]\d)\Z")
MODULE = "parsl.executors.high_throughput"
HEARTBEAT = {"heartbeat_period": 15, "heartbeat_threshold": 60}
"""Half of Parsl's own: so long a call waits for a block that was killed."""
DRAINED_S = 600
"""Blocks of at least this walltime get no new calls in its last tenth."""
CERTIFICATES = ("client.key_secret", "server.key_secret")
"""What a worker opens of them."""
KEEP_S = 600
"""How long a block that has ended stays in the queue, for Parsl to see it."""


def parsl(
    blocks: int = 1,
    workers_per_block: int = 1,
    *,
    memory_gb: float = 1.0,
    walltime: str = "01:00:00",
    label: str = "htcmagic",
    schedd: str = "",
    pool: str = "",
    **options: Any,
) -> Config:
    """Return a stock ``parsl.Config`` that runs on this pool as it is.

    Parameters
    ----------
    blocks : int
        Blocks at first and at most; each is a job. ``init_blocks=`` and ``min_blocks=`` say it apart.
    workers_per_block : int
        Workers, and cores, of each.
    memory_gb : float
        Memory of each block.
    walltime : str
        ``HH:MM:SS`` after which HTCondor ends a block.
    label : str
        Name of the executor.
    schedd, pool : str
        Where to submit; as in ``%condor_pool``.
    **options
        Everything that ``Config``, ``HighThroughputExecutor`` and ``CondorProvider`` take; submit commands
        (``request_disk="2GB"``); attributes for the jobs' ads, which begin with a capital letter:
        ``ProjectName="OSG-Staff"``; and where workers run, if not in this kernel's own environment: ``python=``,
        ``container=``, ``stack=``, ``kernel=``, ``ship_env=True``.

    Returns
    -------
    parsl.Config
        For ``parsl.load(config)``; change what you like. ``config.engine`` knows its jobs: ``.status()``, ``.why()``,
        ``.stop()``; ``.graph()`` draws the tasks.

    Raises
    ------
    HTCMagicError
        Parsl is not installed.
    CellError
        An option is none.
    """
    module = needed("parsl")
    executors = importlib.import_module("parsl.executors")
    provider = importlib.import_module("htcmagic.engines.parsl_provider").Provider
    importlib.import_module("htcmagic.engines.parsl_files").register()
    seconds = _seconds(walltime)
    around = surroundings(options, "parsl", python=options.pop("python", ""))
    taking = {"config": module.Config, "executor": executors.HighThroughputExecutor, "provider": provider.__base__}
    parts = _sorted(options, taking)
    client = connect(schedd, pool)
    network_options = _network(client, parts["executor"])
    commands = _commands(parts["jobs"], seconds, around, here=client.pool.personal)
    engine = Engine(session.begin("parsl", label, client.pool), client)
    engine.address = 'htcmagic.engines.parsl(…, address="…")'
    wanted = {
        "max_blocks": blocks,
        "init_blocks": blocks,
        "cores_per_slot": workers_per_block,
        "mem_per_slot": memory_gb,
        "walltime": walltime,
    }
    own = {
        "label": label,
        "max_workers_per_node": workers_per_block,
        "interchange_launch_cmd": _interchange(engine),
        "launch_cmd": _launch(executors),
        **HEARTBEAT,
        **({"drain_period": seconds - max(60, seconds // 10)} if seconds >= DRAINED_S else {}),
        **network_options,
    }
    rest = {"run_dir": str(Path.cwd() / "runinfo"), "strategy": "simple", **parts["config"]}
    try:
        blocks_of = provider(engine, **_block(wanted | parts["provider"], commands, around, client))
        executor = executors.HighThroughputExecutor(**{**own, "provider": blocks_of, **parts["executor"]})
        config: Config = module.Config(executors=[executor], **rest)
    except BaseException:
        engine.finish()
        raise
    config.engine = engine
    engine.graph = lambda: importlib.import_module("htcmagic.engines.parsl_graph").tasks(module.dfk())
    _end_with(engine, executor, module)
    there = weakref.ref(executor)
    blocks_of.certificates = lambda: getattr(there(), "cert_dir", None)
    if config.monitoring is not None:
        _noted(engine, config.monitoring, executor)
    watch(engine)
    return config


def _block(given: dict[str, Any], commands: list[str], around: Surroundings, client: Client) -> dict[str, Any]:
    """Return the provider's options: the user's, after ours where both may be."""
    return {
        **given,
        "worker_init": _worker_init(around, given.get("worker_init", ""), here=client.pool.personal),
        "scheduler_options": "\n".join([*commands, given.get("scheduler_options", "")]),
        "transfer_input_files": [*around.files(), *given.get("transfer_input_files", [])],
    }


def _sorted(options: dict[str, Any], takers: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the options by who takes them."""
    known = {who: set(inspect.signature(kind).parameters) - {"self"} for who, kind in takers.items()}
    parts: dict[str, dict[str, Any]] = {who: {} for who in (*takers, "jobs")}
    for name, value in options.items():
        who = next((taker for taker, names in known.items() if name in names), "jobs")
        parts[who][name] = value
    for who, name in (("config", "executors"), ("executor", "provider")):
        if name in parts[who]:
            raise CellError(f"{name} is what is made here.", hint="Change it in the configuration that you get.")
    return parts


def _commands(options: dict[str, Any], seconds: int, around: Surroundings, *, here: bool) -> list[str]:
    """Return lines of a submit description."""
    lines = [
        f"leave_in_queue = JobStatus == 4 && time() - CompletionDate < {KEEP_S}",
        f"allowed_job_duration = {seconds}",
        "periodic_remove = JobStatus == 5 && HoldReasonCode == 46",
    ]
    lines += [f"{name} = {value}" for name, value in around.commands(here=here).items()]
    return [*lines, *marked(options)]


def marked(options: dict[str, Any]) -> list[str]:
    """Return lines of a submit description: capitalised names as attributes, others as submit commands.

    Raises
    ------
    CellError
        There is no such command.
    """
    attributes = {name: value for name, value in options.items() if re.fullmatch(r"[A-Z]\w*", name, re.ASCII)}
    commands = resources(**{name: value for name, value in options.items() if name not in attributes})
    return [
        *(f"+{name} = {expression(value)}" for name, value in attributes.items()),
        *(f"{name} = {' '.join(value.splitlines())}" for name, value in commands.items()),
    ]


def _seconds(walltime: str) -> int:
    found = WALLTIME.match(walltime)
    if not found:
        raise CellError(f"walltime {walltime!r} is not HH:MM:SS.", hint='For example: walltime="02:00:00"')
    hours, minutes, seconds = map(int, found.groups())
    return hours * 3600 + minutes * 60 + seconds


def _worker_init(around: Surroundings, early: str, *, here: bool) -> str:
    if here:  # so that files are where a notebook looks for them, as with Parsl's other providers; no image has it
        folder = shlex.quote(around.directory)
        early = f"[ ! -d {folder} ] || cd {folder} || exit 97\n{early}"
    probe = around.probe('"${htc_places[@]}"')
    return f"""{around.shell(early=early)}
htc_probe() {{  # ADDRESS,… PORT
    local htc_places
    IFS=, read -ra htc_places <<<"$1"
    htc_places=("${{htc_places[@]/%/:$2}}")
    {probe}
}}
{OWN}"""


OWN = """\
htc_own() {  # LOGS CERTIFICATES: as the notebook has them; where that is not seen, in the job's folder
    htc_logs=$1 htc_certificates=$2
    [ -d "$1" ] || htc_logs=${_CONDOR_SCRATCH_DIR:-.}/logs
    if [ "$2" != None ] && [ ! -d "$2" ]; then  # HTCondor has brought them along
        htc_certificates=$_CONDOR_SCRATCH_DIR/.certificates
        (umask 077 && mkdir -p "$htc_certificates" && cd "$_CONDOR_SCRATCH_DIR" && mv KEYS "$htc_certificates")
    fi
}""".replace("KEYS", " ".join(CERTIFICATES))


def _interchange(engine: Engine) -> list[str]:
    """Return the command that starts Parsl's interchange: of this Python, and marked as ours."""
    return session.noted(engine.session, [sys.executable, "-m", f"{MODULE}.interchange"])


def _launch(executors: Any) -> str:
    """Return the command that starts a block's workers: of the Python that was found there, after a look around."""
    stock = importlib.import_module(f"{executors.__name__}.high_throughput.executor").DEFAULT_LAUNCH_CMD
    program, _, words = stock.partition(" ")
    if program != "process_worker_pool.py":
        return str(stock)
    port = "worker_port" if "{worker_port}" in words else "task_port"  # as Parsl before 2025.6 calls it
    words = words.replace("{logdir}", '"$htc_logs"').replace("{cert_dir}", '"$htc_certificates"')
    own = f"htc_probe {{addresses}} {{{port}}}; htc_own '{{logdir}}' '{{cert_dir}}'"
    return f'{own}; exec "$htc_python" -m {MODULE}.process_worker_pool {words}'


def _network(client: Client, given: dict[str, Any]) -> dict[str, Any]:
    """Return addresses and ports: this machine's alone for the personal pool; else reachable, encrypted, the user's.

    Raises
    ------
    CellError
        There are no free ports.
    """
    found: dict[str, Any] = {"address": network.address(client), "encrypted": not client.pool.personal}
    if not client.pool.personal:
        first, end = network.ports()
        middle = (first + end) // 2
        found |= {"worker_port_range": (first, middle), "interchange_port_range": (middle, end)}
    chosen = found | given
    network.usable("address", str(chosen["address"]), client)
    network.check("worker_port_range", chosen.get("worker_port_range"), 1, "")
    network.check("interchange_port_range", chosen.get("interchange_port_range"), 3, "127.0.0.1")
    return found


def _noted(engine: Engine, *starting: Any) -> None:
    """Have the processes of Parsl's monitoring ended when the kernel is killed, which they themselves do not see."""

    def wrapped(start: Callable[..., Any]) -> Callable[..., Any]:
        def started(*arguments: Any, **keywords: Any) -> Any:
            with session.noting(engine.session):
                return start(*arguments, **keywords)

        return started

    for one in starting:
        one.start = wrapped(one.start)


def _end_with(engine: Engine, executor: Any, module: Any) -> None:
    """Let the engine end with its executor, and the executor with the engine."""
    shutdown, there = executor.shutdown, weakref.ref(executor)

    def ended(*arguments: Any, **keywords: Any) -> None:
        try:
            shutdown(*arguments, **keywords)
        finally:
            engine.finish()

    def close() -> None:
        this = there()
        if this is None or getattr(this, "interchange_proc", None) is None:
            return
        if not this.bad_state_is_set:
            with contextlib.suppress(Exception):  # of tasks that end at this moment
                why = engine.refused or f"The engine {engine.id} was stopped."
                this.set_bad_state_and_fail_all(RuntimeError(why))
        with contextlib.suppress(Exception):  # Parsl's own way down; what is left we remove
            loaded = module.dfk()
            if this in loaded.config.executors:
                loaded.cleanup()
                module.clear()

    executor.shutdown = ended
    engine.close = close
