"""Clusters as the feed tells of them: rows of a queue into parts of the table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from htcmagic.pool.address import Pool
from htcmagic.pool.feed_wire import Ids, Row
from htcmagic.queue.live.merge import Part, spans
from htcmagic.queue.live.model import LETTERS, LiveJob
from htcmagic.queue.rows import BATCH_PROJECTION, SCHEDULER_UNIVERSE, whole, words
from htcmagic.queue.text import command_of

PROJECTION = (
    *BATCH_PROJECTION,
    *("HoldReason", "RemoteHost", "LastRemoteHost", "JobCurrentStartDate"),
    *("Cmd", "Args", "Arguments", "JobDescription"),
)
_AT = {name: place for place, name in enumerate(PROJECTION)}
_STATE = {1: "idle", 2: "running", 3: "removed", 4: "done", 5: "held", 6: "running", 7: "suspended"}
MOST_GONE = 1000
"""Clusters that have left the queue are shown to the end, but not more of them than this."""
SURE_S = 3.0
"""A smaller difference between two clocks is none: the schedd tells whole seconds."""


class Others:
    """The clusters in one schedd's answers.

    Parameters
    ----------
    pool : Pool
        Whose schedd.
    partial : bool
        Whether clusters may come incomplete, so that what is missing is not what is done.
    """

    def __init__(self, pool: Pool, *, partial: bool) -> None:
        self._pool = pool
        self._partial = partial
        self._rows: dict[int, dict[int, Row]] = {}
        self._parts: dict[int, Part] = {}
        self._skew_s = 0.0
        self._me = ""

    def take(self, rows: Mapping[Ids, Row], ids: set[Ids], skew_s: float, me: str) -> None:
        """Take over what has changed.

        Parameters
        ----------
        rows : mapping
            All jobs, by cluster and proc.
        ids : set
            Those that are new, changed or gone.
        skew_s : float
            How far the schedd's clock is ahead of ours.
        me : str
            Who we are there.
        """
        self._me = me
        self._skew_s = skew_s if abs(skew_s) > SURE_S else 0.0
        touched = set()
        for cluster, proc in ids:
            row = rows.get((cluster, proc))
            number, place = whole(cluster), whole(proc)
            if row is None:
                self._rows.get(number, {}).pop(place, None)
            else:
                self._rows.setdefault(number, {})[place] = row
            touched.add(number)
        for number in touched:
            self._renew(number)

    def _renew(self, cluster: int) -> None:
        jobs = self._rows.get(cluster, {})
        if jobs:
            self._parts[cluster] = self._part(cluster, jobs)
            return
        self._rows.pop(cluster, None)
        part = self._parts.pop(cluster, None)
        if part is None or self._partial or part.first:
            return
        counts = {"done": part.total} if part.counted and part.total else {}
        self._parts[cluster] = replace(part, counts=counts, hold="", letters="", spans=(), gone=True)
        gone = [number for number, each in self._parts.items() if each.gone]
        for number in gone[:-MOST_GONE]:
            del self._parts[number]

    def parts(self, without: set[int]) -> list[Part]:
        """Return the clusters but for those that are followed by their logs; one of these need not be shown as gone."""
        without = without - self.managers()
        for cluster in without & set(self._parts):
            if self._parts[cluster].gone:
                del self._parts[cluster]
        roots = {number for number, part in self._parts.items() if part.first}
        found = []
        for number, part in self._parts.items():
            if number in without:
                continue
            root = part.group.removeprefix("dag\x1f") if part.group.startswith("dag\x1f") and not part.first else ""
            orphan = bool(root) and int(root) not in roots
            found.append(replace(part, group="") if orphan else part)
        return found

    def managers(self) -> set[int]:
        """Return the ids of clusters that are DAGMan's own: their batches hold more than their logs tell."""
        return {number for number, part in self._parts.items() if part.first}

    def clusters(self) -> set[int]:
        """Return the ids of clusters that have jobs in the queue."""
        return set(self._rows)

    def _part(self, cluster: int, jobs: dict[int, Row]) -> Part:
        procs = sorted(jobs)
        row = jobs[procs[0]]
        root = _dag(row)
        manager = row[_AT["JobUniverse"]] == SCHEDULER_UNIVERSE
        states = [state(jobs[proc]) for proc in procs]
        counts, total = self._counts(row, states)
        if manager:  # its own job is none of the batch's
            total = whole(row[_AT["DAG_NodesTotal"]]) or len(procs)
            counts = {"done": whole(row[_AT["DAG_NodesDone"]])} if row[_AT["DAG_NodesTotal"]] is not None else {}
        owner, name = words(row[_AT["Owner"]]), _name(row, cluster, manager=manager)
        batch = row[_AT["JobBatchName"]]
        mine = "" if owner == self._me else owner
        group = f"{batch}\x1f{mine}" if isinstance(batch, str) and not manager else ""
        if manager or root:
            group = f"dag\x1f{root or cluster}"
        held = next((proc for proc in procs if state(jobs[proc]) == "held"), None)
        return Part(
            cluster=cluster,
            pool=self._pool,
            name=name,
            owner=owner,
            group=group,
            submitted=self._time(row[_AT["QDate"]]),
            own=False,
            total=total,
            counts=counts,
            hold="" if held is None else words(jobs[held][_AT["HoldReason"]]),
            letters="".join([LETTERS[each] for each in states]),
            spans=spans(cluster, procs),
            jobs=_Jobs(self, cluster, jobs),
            first=manager and not root,
            counted=not manager,
        )

    def _counts(self, row: Row, states: list[str]) -> tuple[dict[str, int], int]:
        """Return jobs by state, those included that have left or are yet to come; and how many they are."""
        counts = Counter(states)
        submitted = whole(row[_AT["TotalSubmitProcs"]])
        if self._partial or submitted < len(states):
            return dict(counts), len(states)
        made = whole(row[_AT["JobMaterializeNextProcId"]], -1)
        coming = max(submitted - made, 0) if made >= 0 else 0
        counts["idle"] += coming
        counts["done"] += max(submitted - coming - len(states), 0)
        return {state: number for state, number in counts.items() if number}, submitted

    def _time(self, value: object) -> float | None:
        """Return a moment of the schedd's clock by ours."""
        seconds = whole(value)
        return seconds - self._skew_s if 0 < seconds < 253_000_000_000 else None

    def job(self, cluster: int, proc: int, row: Row) -> LiveJob:
        """Return one job."""
        now = state(row)
        return LiveJob(
            id=f"{cluster}.{proc}",
            state=now,
            submitted=self._time(row[_AT["QDate"]]),
            started=self._time(row[_AT["JobCurrentStartDate"]]),
            host=words(row[_AT["RemoteHost"]]) or words(row[_AT["LastRemoteHost"]]),
            reason=words(row[_AT["HoldReason"]]) if now == "held" else "",
            command=command_of(
                row[_AT["Cmd"]], row[_AT["Args"]], row[_AT["Arguments"]], row[_AT["JobDescription"]], None
            ),
            owner=words(row[_AT["Owner"]]),
        )


class _Jobs:
    """Makes jobs of the rows that a part was made from."""

    def __init__(self, others: Others, cluster: int, rows: dict[int, Row]) -> None:
        self._others = others
        self._cluster = cluster
        self._rows = dict(rows)

    def job(self, proc: int) -> LiveJob:
        return self._others.job(self._cluster, proc, self._rows[proc])


def state(row: Row) -> str:
    """Return what a job is."""
    return _STATE.get(whole(row[_AT["JobStatus"]]), "idle")


def _dag(row: Row) -> int:
    """Return the cluster of the DAGMan that a job is a node of, or 0."""
    value = row[_AT["DAGManJobId"]]
    if isinstance(value, str):
        number = value.partition(".")[0].strip()
        return int(number) if number.isdecimal() and len(number) < 10 else 0
    return max(whole(value), 0)


def _name(row: Row, cluster: int, *, manager: bool) -> str:
    """Return the batch's name as condor_q has it; empty where it would show the id."""
    name, node = row[_AT["JobBatchName"]], row[_AT["DAGNodeName"]]
    if isinstance(name, str):
        return name
    if manager:
        return f"DAG: {cluster}"
    return f"NODE: {node}" if isinstance(node, str) and row[_AT["DAGManJobId"]] is not None else ""
