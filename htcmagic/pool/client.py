"""Talking to a pool: each call runs in a child process that holds HTCondor's bindings.

The bindings keep Python's global lock while they wait for a daemon, up to 20 s when it is frozen, deaf to Ctrl-C; a
crash in them would take the kernel along; and their configuration is one per process, while a notebook may use a
personal pool and a site's. So none of them is ever imported in the kernel. The child (:mod:`.door`) starts on
the first call and stays; after an interrupt or a time-out it is killed, and the next call starts another.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from htcmagic import errors
from htcmagic.errors import Interrupted, PoolError, ScheddUnreachable
from htcmagic.pool import personal, wire
from htcmagic.pool.address import Pool, Schedd

ANSWER_S = 20.0
"""Longest wait for an answer to a question; HTCondor's own tools give up after as long."""
SUBMIT_S = 600.0
"""Longest wait for a submission: 20,000 jobs take some 6 s."""
HEAL_S = 12.0
"""How long a personal pool may take to come back by itself after one of its daemons was killed."""


@dataclass(frozen=True, slots=True)
class QueryResult:
    """Rows in the order of the projection, and the schedd's own totals."""

    rows: list[tuple[object, ...]]
    summary: dict[str, object]


class Client:
    """The calls on one pool.

    Parameters
    ----------
    pool : Pool
        Which.
    """

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._door = Door(environment(pool))
        self._schedd: Schedd | None = None

    @property
    def schedd(self) -> Schedd:
        """The schedd, asked once: name, address, version, who we are there.

        Raises
        ------
        ScheddUnreachable
            There is none, or it does not answer.
        NotAuthorised
            It does not know us.
        """
        if self._schedd is None:
            self._schedd = self.locate()
        return self._schedd

    def locate(self) -> Schedd:
        """Find the schedd anew and ask it who we are."""
        return Schedd(**self.call("locate"))

    def call(self, operation: str, *, within_s: float = ANSWER_S, again: bool = True, **arguments: Any) -> Any:
        """Run one operation of :mod:`.door`.

        A personal pool that cannot be reached gets time to come back, unless `again` is false.
        """
        deadline = time.monotonic() + HEAL_S
        while True:
            try:
                return self._door.call(operation, self.pool, within_s, arguments)
            except ScheddUnreachable as error:
                if not (again and self.pool.personal and error.transient and time.monotonic() < deadline):
                    raise
                ours = self.pool.config == str(personal.config_file())
                if ours and personal.stopped():
                    raise ScheddUnreachable("The personal pool is down.", hint="Start it: %condor_pool up") from None
                if ours and not personal.is_up():
                    personal.up()
                self._schedd = None
                self._door.close()  # it has read the configuration of a pool that is no more
                time.sleep(0.2)

    def query(
        self,
        constraint: str,
        projection: Sequence[str],
        *,
        limit: int = -1,
        my_jobs: bool = False,
        totals: bool = False,
        within_s: float = ANSWER_S,
        again: bool = True,
    ) -> QueryResult:
        """Return the jobs in the queue for which `constraint` is true.

        Parameters
        ----------
        constraint : str
            A ClassAd expression.
        projection : sequence of str
            Attributes wanted, at least one.
        limit : int
            Most rows; -1 for all.
        my_jobs : bool
            Only our own, as ``condor_q`` does by default.
        totals : bool
            Ask for the schedd's own totals, too.
        within_s, again
            As in :meth:`call`.
        """
        rows, summary = self.call(
            "query",
            constraint=constraint,
            projection=list(projection),
            limit=limit,
            my_jobs=my_jobs,
            totals=totals,
            within_s=within_s,
            again=again,
        )
        return QueryResult(rows, summary)

    def history(self, constraint: str, projection: Sequence[str], *, limit: int = -1) -> list[tuple[object, ...]]:
        """Return jobs that have left the queue, newest first."""
        rows: list[tuple[object, ...]] = self.call(
            "history", constraint=constraint, projection=list(projection), limit=limit, within_s=120.0
        )
        return rows

    def act(self, action: str, spec: str | Sequence[str], reason: str) -> dict[str, int]:
        """Remove, hold, release, suspend, continue or vacate jobs.

        Parameters
        ----------
        action : str
            Name in ``htcondor2.JobAction``: ``Remove``, ``Hold``, ``Release``, …
        spec : str or sequence of str
            A constraint, or ids ``cluster.proc``.
        reason : str
            Kept in the job's ad.

        Returns
        -------
        dict
            ``success``, ``not_found``, ``bad_status``, ``already_done``, ``permission_denied``, ``error``: numbers.
        """
        spec = spec if isinstance(spec, str) else list(spec)
        answer: dict[str, int] = self.call("act", action=action, spec=spec, reason=reason)
        return answer

    def edit(self, constraint: str, changes: dict[str, str]) -> int:
        """Set attributes (ClassAd expressions) of the jobs that match; return how many were changed."""
        return int(self.call("edit", constraint=constraint, changes=changes))

    def slots(self) -> dict[str, Any]:
        """Return what the collector knows of the pool's size: ``{"slots": int, "cores": int, "memory_mib": int}``."""
        answer: dict[str, Any] = self.call("slots")
        return answer

    def close(self) -> None:
        """End the child process."""
        self._door.close()


class Door:
    """A child process that answers one question at a time.

    Parameters
    ----------
    env : dict
        Its environment: HTCondor's configuration is found through it.
    """

    def __init__(self, env: dict[str, str] | None = None) -> None:
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._finalizer: weakref.finalize[Any, Any] | None = None

    def call(self, operation: str, pool: Pool | None, within_s: float, arguments: dict[str, Any]) -> Any:
        """Ask and wait for the answer; Python's signals are served all the time.

        Raises
        ------
        ScheddUnreachable
            No answer within `within_s` seconds.
        PoolError
            The child died, or the answer is an error.
        """
        with self._lock:
            process = self._start()
            try:
                return self._ask(process, {"op": operation, "pool": pool, "args": arguments}, within_s)
            except _Deaf as error:
                self.close()
                raise ScheddUnreachable(error.message, hint=error.hint) from None
            except KeyboardInterrupt:
                self.close()
                raise Interrupted(f"Interrupted: {pool or 'the pool'} had not answered yet.") from None
            except BaseException as error:
                if not isinstance(error, errors.HTCMagicError):
                    self.close()
                raise

    def close(self) -> None:
        """Kill the child process, if there is one."""
        if self._finalizer is not None:
            self._finalizer()
        self._process = self._finalizer = None

    def _start(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            env = dict(os.environ if self._env is None else self._env)
            root = str(Path(__file__).parents[2])
            env["PYTHONPATH"] = os.pathsep.join(filter(None, [root, env.get("PYTHONPATH", "")]))
            words = tempfile.TemporaryFile()  # noqa: SIM115 - the finalizer closes it
            self._process = subprocess.Popen(
                [sys.executable, "-m", "htcmagic.pool"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=words,
                env=env,
                start_new_session=True,
            )
            self._finalizer = weakref.finalize(self, _end, self._process, words)
            self._words = words
        return self._process

    def _ask(self, process: subprocess.Popen[bytes], request: dict[str, Any], within_s: float) -> Any:
        assert process.stdin is not None  # noqa: S101
        assert process.stdout is not None  # noqa: S101
        try:
            wire.write(process.stdin, request)
            ready, _, _ = select.select([process.stdout], [], [], within_s)
            if not ready:
                pool = request["pool"]
                who = "HTCondor's configuration" if pool is None else pool.its_schedd
                raise _Deaf(
                    f"{who[0].upper()}{who[1:]} has not answered within {within_s:.0f} s.",
                    hint="It may be overloaded or frozen. Jobs already sent are not affected; try again later.",
                    transient=False,
                )
            kind, value = wire.read(process.stdout)
        except (BrokenPipeError, EOFError):
            raise PoolError(self._last_words(), hint="Try again; see %condor_pool.", transient=True) from None
        if kind == "ok":
            return value
        raise value

    def _last_words(self) -> str:
        self._words.seek(0)
        tail = self._words.read().decode(errors="replace").strip().splitlines()[-1:]
        return " ".join(["HTCondor's Python bindings ended unexpectedly.", *tail])


class _Deaf(ScheddUnreachable):
    """No answer in time: the child is of no further use."""


def _end(process: subprocess.Popen[bytes], words: IO[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, words):
        if stream is not None:
            with contextlib.suppress(OSError):  # what was not yet written is of no use to anybody
                stream.close()


def environment(pool: Pool) -> dict[str, str] | None:
    """Return the environment in which HTCondor uses a pool; None for this process's own."""
    if pool.personal:
        return {**personal.environment(), "CONDOR_CONFIG": pool.config}
    return {**os.environ, "CONDOR_CONFIG": pool.config} if pool.config else None


_clients: dict[tuple[str, str, str], Client] = {}


def client(pool: Pool) -> Client:
    """Return this process's client for a pool, the same for equal addresses."""
    return _clients.setdefault(pool.key, Client(pool))
