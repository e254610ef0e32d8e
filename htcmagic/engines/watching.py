"""What Parsl, Dask and ipyparallel cannot see, told where they were begun: held, idle and vanished jobs, and why.

One daemon thread looks at the jobs of all engines of this kernel: each second in the beginning, less often when all is
as it should be. In a notebook it brings one display up to date; elsewhere it says each trouble once, on standard error.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from html import escape
from typing import Any

from htcmagic.engines import rows, session
from htcmagic.engines.engine import Engine
from htcmagic.engines.rows import Job
from htcmagic.errors import HTCMagicError
from htcmagic.jobs.display import COLOURS, clean, elapsed
from htcmagic.jobs.model import JobState
from htcmagic.queue.why import Explanation, explain

SOON_S, OFTEN_S, SELDOM_S = 1.0, 3.0, 10.0
LONG_S = 15.0
"""A job that is idle for longer is explained."""
EXPLAIN_S = 30.0
"""How often."""
ORDER = (("running", JobState.RUNNING), ("idle", JobState.IDLE), ("held", JobState.HELD), ("done", JobState.DONE))
TITLES = {"parsl": "Parsl", "dask": "Dask", "ipyparallel": "ipyparallel"}


def state(job: Job) -> str:
    """Return a job's state in a word."""
    if job.busy:
        return "running"
    return {rows.IDLE: "idle", rows.HELD: "held"}.get(job.status, "done")


def reasons(explanations: Iterable[Explanation]) -> list[str]:
    """Return why jobs are idle or held, a line each."""
    return [
        f"{clean(one.headline, 300).rstrip('.')}. More: %condor_why {one.jobs[0]}"
        for one in explanations
        if one.state in {"idle", "held"}
    ]


class Watch:
    """One engine on the screen.

    Parameters
    ----------
    engine : Engine
        Which.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.jobs: list[Job] = []
        self.due = 0.0
        self._explained = (0.0, frozenset[Any]())
        self._reasons: list[str] = []
        self._said: set[str] = set()
        self._handle: Any = None
        self._shown = ""
        self._failed = ""

    def show(self) -> None:
        """Show it under the running cell, if there is one."""
        ipython = sys.modules.get("IPython")  # a plain program need not wait until that is imported
        if ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None:
            self._handle = ipython.display.display(self._data(), raw=True, display_id=True)

    def unwanted(self) -> bool:
        """Whether another kernel has stopped it, or none of its jobs could work."""
        stopped = self.engine.session.folder / session.STOPPED
        return not self.engine.ended and (bool(self.engine.refused) or stopped.exists())

    def look(self) -> None:
        """Look at the jobs, and show what has changed."""
        begun = time.monotonic()
        if not self.engine.alive():
            self.engine.finish()
        try:
            self.jobs = [] if self.engine.ended else self.engine.look()
            self._explain()
            self._failed = ""
        except HTCMagicError as error:
            self._failed = error.message
        except Exception as error:  # noqa: BLE001 - a watcher outlives what it watches
            self._failed = str(error)
        waits = any(not job.busy for job in self.jobs) or not self.jobs
        young = time.time() - self.engine.session.created < 60
        pause_s = SOON_S if waits and young else OFTEN_S if waits else SELDOM_S
        self.due = begun + max(pause_s, 10 * (time.monotonic() - begun))
        self.update()

    def _explain(self) -> None:
        """Find out why jobs are held or idle, when that is new or some time ago."""
        now = time.time()
        stuck = [
            job
            for job in self.jobs
            if job.status == rows.HELD or (job.status == rows.IDLE and now - (job.since or job.queued) > LONG_S)
        ]
        key = frozenset((job.id, job.status) for job in stuck)
        if not stuck:
            self._reasons, self._explained = [], (0.0, key)
            return
        if key == self._explained[1] and time.monotonic() - self._explained[0] < EXPLAIN_S:
            return
        wanted = f"{self.engine.session.constraint} && (JobStatus == 1 || JobStatus == 5)"
        found = explain(self.engine.client, constraint=wanted)
        self._reasons = reasons(found)
        self._explained = (time.monotonic(), key)

    def troubles(self) -> list[str]:
        """Return what the user should know, one line each."""
        if self.engine.ended:
            return list(self.engine.ends)
        failed = [f"not known at present: {clean(self._failed, 300)}"] if self._failed else []
        return [*self._reasons, *self.engine.ends, *failed]

    def line(self) -> str:
        """Return it in a line of text; troubles below."""
        counts = Counter(map(state, self.jobs))
        told = ", ".join(f"{counts[word]:,} {word}" for word, _ in ORDER if counts[word])
        told = "ended" if self.engine.ended else told or f"no {self.engine.called(2).split()[1]} yet"
        head = f"{TITLES[self.engine.kind]} {self.engine.id} on {self.engine.client.pool}: {told}{self._use()}"
        return "\n".join([head, *(f"  {text}" for text in self.troubles())])

    def _use(self) -> str:
        cores = sum(job.cpus for job in self.jobs if job.busy)
        if not cores or self.engine.ended:
            return ""
        return f"; {cores:g} core{'' if cores == 1 else 's'}"

    def html(self) -> str:
        """Return it as HTML; every foreign text in it is escaped."""
        counts = Counter(map(state, self.jobs))
        legend = "".join(
            f'<span style="margin-right:1em;white-space:nowrap"><span style="display:inline-block;width:.7em;'
            f'height:.7em;border-radius:2px;background:{COLOURS[colour]};margin-right:.35em"></span>'
            f"{counts[word]:,}&nbsp;{word}</span>"
            for word, colour in ORDER
            if counts[word]
        )
        if self.engine.ended or not legend:
            word = "ended" if self.engine.ended else f"no {self.engine.called(2).split()[1]} yet"
            legend = f'<span style="opacity:.7">{word}</span>'
        age = "" if self.engine.ended else elapsed(time.time() - self.engine.session.created)
        right = " · ".join(filter(None, [str(self.engine.client.pool), self._use().lstrip("; "), age]))
        below = "".join(f'<div style="margin-top:.3em;color:#b57e00">{escape(text)}</div>' for text in self.troubles())
        stop = "" if self.engine.ended else f"%condor_engines --stop {self.engine.id}"
        return (
            '<div class="htcmagic-engine" style="font-family:var(--jp-ui-font-family,sans-serif);font-size:13px;'
            'max-width:52em;padding:.35em 0"><div style="display:flex;justify-content:space-between;'
            f'margin-bottom:.3em"><b>{TITLES[self.engine.kind]} {escape(self.engine.id)}</b>'
            f'<span style="opacity:.7">{escape(right)}</span></div>'
            f'<div style="display:flex;justify-content:space-between"><span>{legend}</span>'
            f'<code style="opacity:.7">{escape(stop)}</code></div>{below}</div>'
        )

    def _data(self) -> dict[str, str]:
        return {"text/html": self.html(), "text/plain": self.line()}

    def update(self) -> None:
        """Show what has changed."""
        if self._handle is None:
            for text in self.troubles():
                if text not in self._said:
                    self._said.add(text)
                    sys.stderr.write(f"htcmagic: {self.engine.id}: {text}\n")
            return
        data = self._data()
        if data["text/html"] != self._shown:
            self._shown = data["text/html"]
            self._handle.update(data, raw=True)


class Watcher:
    """The thread."""

    def __init__(self) -> None:
        self._watches: list[Watch] = []
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, engine: Engine) -> Watch:
        """Watch an engine, too."""
        watch = Watch(engine)
        watch.show()
        with self._lock:
            self._watches.append(watch)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="htcmagic-engines", daemon=True)
                self._thread.start()
        self._wake.set()
        return watch

    def _run(self) -> None:
        while True:
            self._wake.wait(0.25)
            self._wake.clear()
            with self._lock:
                watches = list(self._watches)
                if not watches:
                    self._thread = None
                    return
            for watch in watches:
                if watch.unwanted():
                    watch.engine.stop()
                ended = watch.engine.ended
                if ended or time.monotonic() >= watch.due:
                    watch.look()
                if ended:
                    with self._lock:
                        self._watches.remove(watch)


_watcher = Watcher()


def watch(engine: Engine) -> Watch:
    """Watch an engine's jobs, and show how they are where this is called."""
    return _watcher.add(engine)
