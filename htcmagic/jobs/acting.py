"""Acting on jobs: what would change is counted first, many or others' jobs want a second word, ours is spared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from htcmagic.errors import HTCMagicError, PoolError
from htcmagic.jobs import choice
from htcmagic.jobs.choice import Target
from htcmagic.jobs.display import clean
from htcmagic.jobs.model import JobId
from htcmagic.pool.client import Client

MOST = 100
"""Jobs that are changed without a second word."""
COUNTED = ("ClusterId", "ProcId", "User", "JobStatus", "JobPrio")
LONGEST_NAME = 40


@dataclass(frozen=True, slots=True)
class Action:
    """What can be done to jobs, and its words.

    Attributes
    ----------
    would, done, already, unfit : str
        "would be …"; "… put on hold"; "was …"; "is …", for jobs whose state does not allow it.
    states : frozenset of int
        The ``JobStatus`` of jobs that it changes; empty for all.
    leaves : int
        A ``JobStatus`` in which it would do harm: HTCondor puts jobs on hold that are held for another reason, and
        that reason is lost.
    """

    name: str
    would: str
    done: str
    already: str = ""
    unfit: str = ""
    states: frozenset[int] = frozenset()
    leaves: int = 0


_STARTED = frozenset({2, 6, 7})
_PRESENT = frozenset({1, 2, 5, 6, 7})
REMOVE = Action(
    "Remove", "removed", "marked for removal", "being removed", "cannot be removed", frozenset({1, 2, *range(4, 8)})
)
HOLD = Action("Hold", "put on hold", "put on hold", "held already", "ended already", frozenset({1, 2, 6, 7}), leaves=5)
RELEASE = Action("Release", "released", "released", "released already", "not held", frozenset({5}))
SUSPEND = Action("Suspend", "suspended", "suspended", "suspended already", "not running", frozenset({2}))
CONTINUE = Action("Continue", "continued", "continued", "running already", "not suspended", frozenset({7}))
VACATE = Action("Vacate", "taken off their machines", "told to leave", "leaving already", "not running", _STARTED)
VACATE_FAST = Action("VacateFast", VACATE.would, VACATE.done, VACATE.already, VACATE.unfit, _STARTED)
PRIO = Action("prio", "given another priority", "", states=_PRESENT)
EDIT = Action("edit", "edited", "", states=_PRESENT)


@dataclass
class Plan:
    """What a line means, looked at before anything is changed.

    Attributes
    ----------
    counted : list or None
        Rows of `COUNTED`; None where nothing had to be asked.
    spared : JobId or None
        The job that we run in, left out.
    """

    client: Client
    action: Action
    targets: list[Target]
    counted: list[tuple[object, ...]] | None = None
    spared: JobId | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def jobs(self) -> list[JobId]:
        """The jobs that were named one by one."""
        return [one.job for one in self.targets if one.job is not None]

    @property
    def wide(self) -> list[Target]:
        """What was named otherwise."""
        return [one for one in self.targets if one.job is None]

    @property
    def left(self) -> set[tuple[object, ...]]:
        """Cluster and proc of the jobs that are already what the action would make them."""
        return {row[:2] for row in self.counted or () if row[3] == self.action.leaves}

    def constraint(self, text: str) -> str:
        """Return a constraint that leaves out our own job, and those that are to be left as they are."""
        parts = [text]
        if self.spared is not None:
            parts.append(f"!(ClusterId == {self.spared.cluster} && ProcId == {self.spared.proc})")
        if self.action.leaves:
            parts.append(f"JobStatus != {self.action.leaves}")
        return text if len(parts) == 1 else " && ".join([f"({text})", *parts[1:]])


def plan(
    client: Client, action: Action, targets: Sequence[Target], *, again: str, yes: bool, look: bool = False
) -> Plan:
    """Count what an action would change.

    Parameters
    ----------
    client : Client
        Where.
    action : Action
        What.
    targets : sequence of Target
        To which jobs.
    again : str
        The line that does it, shown if a second word is wanted.
    yes : bool
        Whether that word was said.
    look : bool
        Count in any case.

    Raises
    ------
    HTCMagicError
        It would change more than `MOST` jobs, or other people's, and nobody said yes.
    """
    made = Plan(client, action, list(dict.fromkeys(targets)))
    if look or action.leaves or not all(one.job is not None and one.pool is not None for one in made.targets):
        made.counted = client.query(choice.together(made.targets), COUNTED).rows
    own = choice.own_job(client)
    if own is not None and _covers(made, own):
        made.spared = own
        made.targets = [one for one in made.targets if one.job != own]
        made.counted = made.counted and [row for row in made.counted if row[:2] != own]
        made.notes.append(f"Job {own} runs this very kernel: left alone.")
    changed = [row for row in made.counted or () if not action.states or row[3] in action.states]
    if not yes:
        _ask(made, changed, again)
    return made


def _covers(made: Plan, own: JobId) -> bool:
    if made.counted is None:
        return own in made.jobs
    return any(row[:2] == own for row in made.counted)


def _ask(made: Plan, changed: Sequence[tuple[object, ...]], again: str) -> None:
    number = len(changed) if made.counted is not None else len(made.jobs)
    others = Counter(str(row[2]) for row in changed)
    if others:
        others.pop(made.client.schedd.user, 0)
    if number <= MOST and not others:
        return
    whose = ""
    if others:
        names = [f"{clean(name, LONGEST_NAME)} {count:,}" for name, count in others.most_common(3)]
        more = [f"{len(others) - 3} more"] if len(others) > 3 else []
        whose = f", {others.total():,} of them other people's ({', '.join([*names, *more])})"
    raise HTCMagicError(
        f"Nothing done yet: {_jobs(number)} would be {made.action.would}{whose}.", hint=f"If you mean that: {again}"
    )


def act(made: Plan, reason: str) -> list[str]:
    """Do it; return what is to be said."""
    left = made.left
    counts: Counter[str] = Counter(already_done=len(left))
    ids = [str(job) for job in made.jobs if job not in left]
    if ids:
        counts.update(made.client.act(made.action.name, ids, reason))
    for one in made.wide:
        counts.update(made.client.act(made.action.name, made.constraint(one.constraint), reason))
    return [*made.notes, *_outcome(made, counts)]


def _outcome(made: Plan, counts: Counter[str]) -> list[str]:
    action, number = made.action, counts["success"]
    single = f"Job {made.jobs[0]}" if len(made.targets) == 1 and made.jobs else ""
    if single:
        said = {
            "success": f" {action.done}",
            "already_done": f" was {action.already}",
            "bad_status": f" is {action.unfit}",
            "not_found": ": not found in the queue",
            "permission_denied": " is somebody else's: permission denied",
            "error": ": the schedd refuses, and does not say why",
        }
        return [f"{single}{next((text for key, text in said.items() if counts[key]), said['not_found'])}."]
    parts = [f"{_jobs(number)} {action.done}"] if number else []
    for key, one, many in (
        ("already_done", f"was {action.already}", f"were {action.already}"),
        ("bad_status", f"is {action.unfit}", f"are {action.unfit}"),
        ("permission_denied", "refused: permission denied", "refused: permission denied"),
        ("error", "refused: the schedd does not say why", "refused: the schedd does not say why"),
    ):
        if counts[key]:
            parts.append(f"{counts[key] if parts else _jobs(counts[key])} {one if counts[key] == 1 else many}")
    lines = [*([f"{', '.join(parts)}."] if parts else []), *missing(made, counts["not_found"], told=bool(parts))]
    if not lines and made.counted:  # the schedd passes over jobs in another state without a word
        return [f"{_jobs(len(made.counted))} {'is' if len(made.counted) == 1 else 'are'} {action.unfit}."]
    return lines


def missing(made: Plan, number: int = 0, *, told: bool = True) -> list[str]:
    """Return what to say of words that mean no job in the queue."""
    if not made.targets:
        return []
    if made.counted is None:
        return [f"{_jobs(number)} not found in the queue."] if number else []
    rows = made.counted
    absent = [one for one in made.targets if not any(one.has(*row[:3]) for row in rows)]
    named = [one for one in absent if one.job is not None or one.cluster or one.user]
    if named and not (told and made.spared):
        more = f" and {len(named) - 5} more" if len(named) > 5 else ""
        return [f"Not found in the queue: {', '.join(map(str, named[:5]))}{more}."]
    return [] if told or rows else ["No job was found for this."] if not made.spared else []


def prioritise(made: Plan, priority: int, *, by: bool) -> list[str]:
    """Set the jobs' priority, or change it by so much; return what is to be said."""
    here = made.constraint(choice.together(made.targets)) if made.targets else "false"
    rows = made.counted or []
    if not by:
        said = f"set to {priority}"
        number = _edit(made, here, {"JobPrio": str(priority)}) if rows else 0
    else:
        said = f"{'raised' if priority > 0 else 'lowered'} by {abs(priority)}"
        present = {row[4] for row in rows if isinstance(row[4], int)}
        number = 0
        for old in sorted(present, reverse=priority > 0):  # so that none is met again with its new one
            number += _edit(made, f"({here}) && JobPrio == {old}", {"JobPrio": str(old + priority)})
    return [*made.notes, *_edited(made, number, f"Priority of {{}} {said}")]


def edit(made: Plan, changes: dict[str, str]) -> list[str]:
    """Set attributes; return what is to be said."""
    number = _edit(made, made.constraint(choice.together(made.targets)), changes) if made.counted else 0
    return [*made.notes, *_edited(made, number, f"{', '.join(changes)} set in {{}}")]


def _edited(made: Plan, number: int, said: str) -> list[str]:
    if not number:
        return missing(made, told=False)
    single = len(made.targets) == 1 and made.jobs
    left = len(made.counted or ()) - number
    refused = f"; {left:,} left as they were, since they are not yours or have just ended" if left > 0 else ""
    return [f"{said.format(f'job {made.jobs[0]}' if single else _jobs(number))}{refused}.", *missing(made)]


def _edit(made: Plan, constraint: str, changes: dict[str, str]) -> int:
    try:
        return made.client.edit(constraint, changes)
    except PoolError as error:
        if "unable to edit" not in error.message.lower():
            raise
        raise PoolError(
            f"The schedd refuses to set {', '.join(changes)} there.",
            hint="Are the jobs yours, still in the queue, and is it no attribute that only HTCondor may set?",
        ) from None


def _jobs(number: int) -> str:
    return f"{number:,} job{'' if number == 1 else 's'}"
