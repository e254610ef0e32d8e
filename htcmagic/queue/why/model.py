"""What an explanation is made of: frozen values, text and HTML made from them elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, overload

from htcmagic.jobs.model import JobId

LARGEST = 1e15


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that must be true for a slot to take the job.

    Attributes
    ----------
    kind : str
        ``resource`` (a request), ``requirements`` (a part of the job's) or ``start`` (the machine's side).
    text : str
        As people write it: ``request_memory = 190 GB``, else the expression.
    ever, now : int
        Slots that satisfy it when they are empty, and those that do and take jobs now.
    without : int
        Slots that would take the job if it were not for this.
    note : str
        What slots offer in its place.
    """

    kind: str
    text: str
    ever: int
    now: int
    without: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Fix:
    """A change that helps.

    Attributes
    ----------
    says : str
        What it does, in words.
    lines : tuple of str
        What to type into a cell, line by line; empty if there is nothing to type.
    submit : str
        The line for the submit description, for the next time; empty if there is none.
    """

    says: str
    lines: tuple[str, ...] = ()
    submit: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why jobs are in the state they are in: one for all jobs that share the reason.

    Attributes
    ----------
    jobs : tuple of JobId
        The first thousand of them.
    count : int
        How many there are.
    clusters : mapping
        How many of each cluster.
    state : str
        ``idle``, ``held``, ``running``, ``suspended``, ``transferring output``, ``completed`` or ``removed``.
    cause : str
        The reason in a word, to select by: ``no-match``, ``busy``, ``new``, ``limit``, ``hold-34``, ``exit-1``, …
    headline : str
        The reason in one sentence.
    details : tuple of str
        What else is known, a sentence each.
    conditions : tuple of Condition
        For an idle job: what a slot has to satisfy.
    slots : int or None
        How many slots were looked at.
    fixes : tuple of Fix
        The nearest first.
    urgent : bool
        Whether nothing will happen without somebody's doing.
    since : datetime or None
        When it came into this state.
    ad : mapping
        The ad of one of the jobs.
    """

    jobs: tuple[JobId, ...]
    count: int
    clusters: Mapping[int, int]
    state: str
    cause: str
    headline: str
    details: tuple[str, ...] = ()
    conditions: tuple[Condition, ...] = ()
    slots: int | None = None
    fixes: tuple[Fix, ...] = ()
    urgent: bool = False
    since: datetime | None = None
    ad: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain Python, fit for JSON but for `since`; without the ad."""
        told = {
            name: getattr(self, name) for name in ("count", "state", "cause", "headline", "slots", "urgent", "since")
        }
        return told | {
            "jobs": [str(job) for job in self.jobs],
            "clusters": dict(self.clusters),
            "details": list(self.details),
            "conditions": [asdict(condition) for condition in self.conditions],
            "fixes": [{"says": fix.says, "lines": list(fix.lines), "submit": fix.submit} for fix in self.fixes],
        }

    def __str__(self) -> str:
        from htcmagic.queue.why import text  # noqa: PLC0415 - which draws these values

        return text.explanation(self)

    def _repr_html_(self) -> str:
        from htcmagic.queue.why import html  # noqa: PLC0415

        return html.render([self], ())


class Why(Sequence[Explanation]):
    """The answer of ``%condor_why``: explanations, those that want somebody's doing first.

    Parameters
    ----------
    explanations : sequence of Explanation
        One for each reason.
    notes : sequence of str
        What was not looked at, and what goes well.
    """

    def __init__(self, explanations: Sequence[Explanation], notes: Sequence[str] = ()) -> None:
        self.explanations = tuple(explanations)
        self.notes = tuple(notes)

    def __len__(self) -> int:
        return len(self.explanations)

    @overload
    def __getitem__(self, index: int) -> Explanation: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Explanation, ...]: ...
    def __getitem__(self, index: int | slice) -> Explanation | tuple[Explanation, ...]:
        return self.explanations[index]

    def __iter__(self) -> Iterator[Explanation]:
        return iter(self.explanations)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain Python."""
        return {"explanations": [one.to_dict() for one in self], "notes": list(self.notes)}

    def __str__(self) -> str:
        from htcmagic.queue.why import text  # noqa: PLC0415

        return text.render(self.explanations, self.notes)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from htcmagic.queue.why import html  # noqa: PLC0415

        return html.render(self.explanations, self.notes)


@dataclass(frozen=True, slots=True)
class Group:
    """Jobs that share their reason, as the door found them, and how to speak of them."""

    status: int
    count: int
    jobs: tuple[JobId, ...]
    clusters: Mapping[int, int]
    ad: Mapping[str, Any]
    now: int
    """The schedd's clock, in epoch seconds."""
    match: Mapping[str, Any] | None = None

    def number(self, name: str) -> float | None:
        """Return a number of the ad; None if it is none, or one that makes no sense (a user can set any)."""
        value = self.value(name)
        known = isinstance(value, int | float) and not isinstance(value, bool)
        return value if known and abs(value) < LARGEST else None

    def text(self, name: str) -> str:
        """Return a string of the ad; empty if it is none."""
        value = self.value(name)
        return value if isinstance(value, str) else ""

    def value(self, name: str) -> Any:
        """Return a value of the ad, an expression's in the ad itself."""
        found = self.ad.get(name)
        return found.get("value") if isinstance(found, Mapping) else found

    def expression(self, name: str) -> str:
        """Return the text of an expression of the ad; empty if it is none."""
        found = self.ad.get(name)
        return str(found.get("expression", "")) if isinstance(found, Mapping) else ""

    def age(self, name: str) -> float | None:
        """Return the seconds since a time of the ad; None where it makes no sense."""
        when = self.number(name)
        return max(0.0, self.now - when) if when is not None and when > 0 else None

    def when(self, name: str) -> datetime | None:
        """Return a time of the ad."""
        when = self.number(name)
        if when is None or not 0 < when < 253_000_000_000:
            return None
        return datetime.fromtimestamp(when, UTC)
