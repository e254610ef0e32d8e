"""One's own clusters, followed by their event logs: found on disk, from whatever session they were sent."""

from __future__ import annotations

import os
import pwd
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from htcmagic import places
from htcmagic.errors import HTCMagicError
from htcmagic.jobs import display
from htcmagic.jobs.cluster import Cluster, attach, detach, is_attached
from htcmagic.jobs.follower import follower
from htcmagic.jobs.model import JobState
from htcmagic.jobs.rundir import Record, RunDir, all_runs
from htcmagic.pool.client import ANSWER_S, SUBMIT_S
from htcmagic.queue.live.merge import Part
from htcmagic.queue.live.model import LETTERS, LiveJob

_LETTER = {state: LETTERS[state.value] for state in JobState}
LONGEST_WORD = 80
RECENT_S = 600.0
"""A cluster that ended before this is only shown when it is named."""
OLDEST_S = 30 * 86400.0
"""A cluster without a log that is older than this is not asked after unless it is named."""
_MACRO = re.compile(r"\$\((\w+)\)")


def user() -> str:
    """Return this user's name; empty if there is none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return ""


class Own:
    """One cluster of one's own, and the letters of its jobs."""

    def __init__(self, cluster: Cluster, changed: Callable[[], None]) -> None:
        self.cluster = cluster
        self._tell = changed
        self._lock = threading.Lock()
        self._letters = bytearray()
        self._command: tuple[str, str] | None = None
        self._part: tuple[str, Part] | None = None
        cluster.watchers.append(self._changed)
        self._fill()

    def close(self) -> None:
        """Stop watching."""
        if self._changed in self.cluster.watchers:
            self.cluster.watchers.remove(self._changed)

    @property
    def by_log(self) -> bool:
        """Whether it costs the schedd nothing."""
        return self.cluster.log is not None and not self.cluster.note

    def _fill(self) -> None:
        tracker = self.cluster.tracker
        first = _LETTER[tracker.state(-1)]
        with self._lock:
            self._letters = bytearray((first * tracker.procs).encode())
            for proc, state in list(tracker.states.items()):
                self._set(proc, state)

    def _set(self, proc: int, state: JobState) -> None:
        while proc >= len(self._letters):
            self._letters += b"I"
        self._letters[proc] = ord(_LETTER[state])

    def _changed(self, procs: set[int]) -> None:
        tracker = self.cluster.tracker
        with self._lock:
            for proc in procs:
                self._set(proc, tracker.state(proc))
            self._part = None
        self._tell()

    def part(self, owner: str) -> Part:
        """Return the cluster as of now."""
        with self._lock:
            if self._part is None or self._part[0] != owner or self._part[1].own != self.by_log:
                self._part = (owner, self._made(owner))
            return self._part[1]

    def _made(self, owner: str) -> Part:
        record = self.cluster.record
        letters = self._letters.decode()
        counts = {state: number for state, letter in LETTERS.items() if (number := letters.count(letter))}
        hold = ""
        if (held := letters.find("H")) >= 0:
            told = self.cluster.tracker.hold(held)
            hold = told.reason if told else ""
        return Part(
            cluster=record.cluster,
            pool=record.pool,
            name=record.name,
            owner=owner,
            group=f"{record.name}\x1f" if record.name else "",
            submitted=record.created or None,
            own=self.by_log,
            total=len(letters),
            counts=counts,
            hold=hold,
            letters=letters,
            spans=((record.cluster, 0, len(letters)),) if letters else (),
            jobs=self,
            gone=not letters.strip("DFX"),
        )

    def job(self, proc: int) -> LiveJob:
        """Return one job as of now."""
        tracker, record = self.cluster.tracker, self.cluster.record
        state = tracker.state(proc)
        host, started = tracker.start(proc)
        held = tracker.hold(proc)
        reason = held.reason if held else tracker.reasons.get(proc, "") if state is JobState.REMOVED else ""
        part = self._part
        owner = part[0] if part is not None else user()
        id_ = f"{record.cluster}.{proc}"
        return LiveJob(id_, state.value, record.created or None, started, host, reason, self._line(proc), owner)

    def _line(self, proc: int) -> str:
        """Return program and arguments as the description has them, with the values of this job."""
        if self._command is None:
            self._command = _described(self.cluster.run_dir)
        program, arguments = self._command
        values = {name.lower(): value for name, value in self.cluster.item(proc).items()}
        number = str(self.cluster.id)
        values |= {"process": str(proc), "procid": str(proc), "cluster": number, "clusterid": number}
        return " ".join(filter(None, [program, _MACRO.sub(lambda m: values.get(m[1].lower(), m[0]), arguments)]))


def _described(run_dir: RunDir) -> tuple[str, str]:
    try:
        text = run_dir.submit_file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "", ""
    found = {}
    for name in ("executable", "arguments"):
        lines = re.findall(rf"(?mi)^[ \t]*{name}[ \t]*=[ \t]*(.*?)[ \t]*$", text)
        found[name] = lines[-1] if lines else ""
    return found["executable"].strip('"').rpartition("/")[2], found["arguments"].strip('"')


class Runs:
    """The submissions of this user on disk: those there are, and those that come.

    Parameters
    ----------
    wanted : callable
        Whether a record is watched, but for its age.
    recent_s : float
        Clusters that ended longer before now than this are left out.
    named : frozenset of str
        Runs whose age does not matter.
    """

    def __init__(
        self, wanted: Callable[[Record], bool], *, recent_s: float, named: frozenset[str] = frozenset()
    ) -> None:
        self._wanted = wanted
        self._named = named
        self._after = time.time() - recent_s
        self._known: set[str] = set()
        self._arriving: dict[str, float] = {}
        self._looked_ns = -1

    def look(self) -> Iterator[Cluster]:
        """Yield clusters that are new since the last look, the newest first; the schedd is asked nothing."""
        for name in sorted([*self._appeared(), *self._arriving], reverse=True):
            run_dir = RunDir(places.runs_dir() / name)
            record = loaded(run_dir)
            if record is None or not record.cluster:  # it is just being made, or sent
                first = self._arriving.setdefault(name, time.monotonic())
                if time.monotonic() - first > SUBMIT_S + ANSWER_S or not run_dir.path.exists():
                    del self._arriving[name]
                continue
            self._arriving.pop(name, None)
            if not (self._wanted(record) and self._timely(run_dir, record)):
                continue
            known = is_attached(run_dir)
            cluster = attach(run_dir, record)
            follower().catch_up(cluster)
            if not self._late(cluster):
                yield cluster
            elif not known:
                detach(cluster)

    def _appeared(self) -> list[str]:
        folder = places.runs_dir()
        try:
            changed_ns = folder.stat().st_mtime_ns
            settled = changed_ns == self._looked_ns and time.time_ns() - changed_ns > 2_000_000_000
            if settled:
                return []
            self._looked_ns = changed_ns
            names = {entry.name for entry in os.scandir(folder) if entry.is_dir()}
        except OSError:
            return []
        new = names - self._known
        self._known = names
        return [name for name in new if name not in self._arriving]

    def _timely(self, run_dir: RunDir, record: Record) -> bool:
        if run_dir.run in self._named:
            return True
        try:
            return run_dir.ended_file.stat().st_mtime > self._after
        except OSError:
            return readable(record) or record.created > time.time() - OLDEST_S

    def _late(self, cluster: Cluster) -> bool:
        """Whether a cluster, looked at now, ended too long ago to be shown; an end is remembered on disk."""
        looked = cluster.summary()
        if not looked.final:
            return False
        ended = looked.ended or cluster.record.created
        mark = cluster.run_dir.ended_file
        try:
            if not mark.exists():
                mark.touch()
                os.utime(mark, (ended, ended))
        except OSError:  # then it is looked at again next time
            pass
        return cluster.record.run not in self._named and ended <= self._after


def readable(record: Record) -> bool:
    """Whether a cluster's log can be followed from here."""
    return bool(record.log) and Path(record.log).is_file()


def chosen(words: tuple[str, ...], recent_s: float) -> Runs:
    """Return the runs that words name, or all of them.

    Of each word the newest is shown however long ago it ended.

    Raises
    ------
    HTCMagicError
        A word names no cluster of one's own.
    """
    if not words:
        return Runs(lambda _record: True, recent_s=recent_s)
    newest: dict[str, str] = {}
    for run_dir in all_runs():
        record = loaded(run_dir)
        if record is not None and record.cluster:
            for name in {record.name, str(record.cluster), record.run} & set(words):
                newest.setdefault(name, record.run)
            if len(newest) == len(set(words)):
                break
    for word in words:
        if word not in newest:
            raise _unknown(display.clean(word, LONGEST_WORD))
    return Runs(
        lambda record: bool({record.name, str(record.cluster), record.run} & set(words)),
        recent_s=recent_s,
        named=frozenset(newest.values()),
    )


def loaded(run_dir: RunDir) -> Record | None:
    """Return what is known of a run; None if that cannot be read."""
    try:
        return run_dir.load()
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _unknown(word: str) -> HTCMagicError:
    if re.fullmatch(r"\d+(\.\d*)?", word):
        what = "job" if word.partition(".")[2] else "cluster"
        return HTCMagicError(
            f"{word} is no cluster that you have sent from a notebook.",
            hint=f"Watch the queue for this {what}: %condor_q --watch {word}",
        )
    return HTCMagicError(f"There is no cluster {word} of yours.", hint="List them: %condor_jobs")
