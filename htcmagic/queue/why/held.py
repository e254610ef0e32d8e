"""Why a job is held, by whom, and the lines that set it free."""

from __future__ import annotations

import math
import re
import stat
from pathlib import Path

from htcmagic.jobs.display import clean
from htcmagic.queue.why import codes
from htcmagic.queue.why.fixes import Hand, printable, shell
from htcmagic.queue.why.model import Explanation, Fix, Group
from htcmagic.queue.why.words import ago, amount, be, opened, request, size, subject

LONGEST = 600
BY_USER = re.compile(r"\(by user ([^\s)]+)\)")
MEASURED = re.compile(r"(?:measured|peak)[^.;]*?(\d+)\s*(?:MB|megabytes)", re.IGNORECASE)
GROWTH = 1.5
"""What is used already, times this, is what to ask for next."""
STARTS_WITH = 256
"""Bytes of a program that are read to see what it is."""
NOT_STARTED, SPOOLING, POLICY = 6, 16, 3
NO_PROGRAM = 8
"""The errno of a file that is no program (ENOEXEC)."""


def explain(group: Group, hand: Hand, *, local: bool) -> Explanation:
    """Explain a group of held jobs.

    Parameters
    ----------
    group : Group
        The jobs.
    hand : Hand
        For the lines of fixes.
    local : bool
        Whether the jobs' files can be looked at from here.
    """
    code, subcode = int(group.number("HoldReasonCode") or 0), int(group.number("HoldReasonSubCode") or 0)
    known = codes.HOLDS.get(code, codes.HoldCode(f"for a reason that has no words here (code {code})", ""))
    reason = clean(group.text("HoldReason"), LONGEST).strip()
    resource = _resource(group, code, subcode, reason)
    words = _words(group, known, code, subcode, resource)
    details = [f'HTCondor says: "{reason}" (code {code}, subcode {subcode}).'] if reason else []
    held = group.age("EnteredCurrentStatus")
    if held is not None:
        details.append(f"Held {ago(held)} by {_by(known, reason)}.")
    holds = int(group.number("NumHolds") or 0)
    if holds > 1:
        details.append(f"It has been held {holds} times.")
    policy = group.expression("PeriodicHold")
    if code == POLICY and policy and policy != "false":
        details.append(f"Its policy: periodic_hold = {clean(policy, LONGEST)}")
    found = _program(group, code, subcode) if local else None
    if found is not None and found.says:
        details.append(found.says)
    elif known.advice and resource is None:
        details.append(known.advice)
    return Explanation(
        jobs=group.jobs,
        count=group.count,
        clusters=group.clusters,
        state="held",
        cause=f"hold-{code}",
        headline=f"{subject(group)} {be(group)} held: {opened(group, words)}.",
        details=tuple(details),
        fixes=tuple(_fixes(group, hand, code, resource, found)),
        urgent=code != SPOOLING,
        since=group.when("EnteredCurrentStatus"),
        ad=group.ad,
    )


def _by(known: codes.HoldCode, reason: str) -> str:
    user = BY_USER.search(reason)
    return f"user {user[1]}" if user else known.by


def _words(group: Group, known: codes.HoldCode, code: int, subcode: int, resource: str | None) -> str:
    if resource is not None:
        asked = group.number(f"Request{resource}")
        used = _used(group, resource)
        told = "" if asked is None else f", it had asked for {amount(resource, asked)}"
        use = (
            f"it used {amount(resource, used)} of {resource.lower()}" if used else f"it used up its {resource.lower()}"
        )
        return f"{use}{told}" if code == codes.OUT_OF_RESOURCES else f"{known.words}: {use}{told}"
    why = codes.errno_words(subcode) if code in codes.ERRNO else ""
    return f"{known.words} ({why})" if why else known.words


# memory and disk


def _resource(group: Group, code: int, subcode: int, reason: str) -> str | None:
    """Return of what it used too much; None if it was not that."""
    if code == codes.OUT_OF_RESOURCES:
        by_code = {codes.MEMORY: "Memory", codes.DISK: "Disk"}.get(subcode)
        return by_code or ("Disk" if re.search(r"disk", reason, re.IGNORECASE) else "Memory")
    if code in {3, 21, 26}:  # a policy: its words, or the numbers, tell what it minds
        told = f"{reason} {group.expression('PeriodicHold') if code == POLICY else ''}"
        for resource, signs in (
            ("Memory", r"memory|ResidentSetSize|\bRSS\b|ImageSize"),
            ("Disk", r"disk ?usage|scratch|disk space"),
        ):
            used, asked = _used(group, resource), group.number(f"Request{resource}")
            if re.search(signs, told, re.IGNORECASE) and used and asked and used > asked * 0.9:
                return resource
    return None


def _used(group: Group, resource: str) -> float | None:
    """Return the most that is known to have been used."""
    if resource == "Disk":
        return group.number("DiskUsage")
    measured = MEASURED.findall(group.text("HoldReason"))
    known = [group.number("MemoryUsage"), *(float(number) for number in measured[:1])]
    return max((number for number in known if number), default=None)


def _more(group: Group, resource: str, code: int) -> float:
    """Return what to ask for next: half as much again as was used or given, in round numbers."""
    used, asked = _used(group, resource), group.number(f"Request{resource}")
    limit = group.number(f"{resource}Provisioned")  # what a machine allows may be more than was asked for
    known = [used, asked, limit if code == codes.OUT_OF_RESOURCES or not used else None]
    wanted = max((number for number in known if number), default=1024.0) * GROWTH
    unit = 1 if resource == "Memory" else 1024
    step = unit * (128 if wanted < 2048 * unit else 1024)
    return math.ceil(wanted / step) * step


# programs that do not start


def _program(group: Group, code: int, subcode: int) -> Fix | None:
    """Look at the program itself, where it is in reach; the lines are what mends it."""
    name = group.text("Cmd")
    if code != NOT_STARTED or not name or not printable(name):
        return None
    path = Path(group.text("Iwd")) / name
    shown = clean(str(path), LONGEST)
    try:
        mode = path.stat().st_mode
        start = _start(path) if stat.S_ISREG(mode) else b""  # a pipe would never answer
    except FileNotFoundError:
        return Fix(f"There is no {shown} on this machine.")
    except OSError:
        return None
    if not mode & 0o111:
        return Fix(f"{shown} is not executable.", (shell("chmod", "+x", str(path)),))
    if start and subcode == NO_PROGRAM and not start.startswith((b"\x7fELF", b"#!")):
        return Fix(f"{shown} is no program: a script begins with a line such as #!/bin/sh.")
    return _script(path, start) if start.startswith(b"#!") else None


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(STARTS_WITH)


def _script(path: Path, start: bytes) -> Fix | None:
    shown = clean(str(path), LONGEST)
    if b"\r\n" in start:
        return Fix(f"{shown} has Windows line ends.", (shell("sed", "-i", r"s/\r$//", str(path)),))
    words = start.splitlines()[0][2:].split()
    interpreter = words[0].decode(errors="replace") if words else ""
    if interpreter and not Path(interpreter).exists():
        return Fix(f"{shown} wants {clean(interpreter, 200)}, which is not there: see its first line.")
    return None


def _fixes(group: Group, hand: Hand, code: int, resource: str | None, found: Fix | None) -> list[Fix]:
    if code == SPOOLING:
        return []
    release = hand.release(group)
    if resource is not None:
        more = _more(group, resource, code)
        told = size(more if resource == "Memory" else more / 1024)
        return [
            Fix(
                f"ask for {told} of {resource.lower()} and let it run again",
                (*hand.edit(group, {f"Request{resource}": f"{int(more)}"}), release),
                request(resource, more),
            )
        ]
    if found is not None and found.lines:
        return [Fix("mend it, and let it run again", (*found.lines, release))]
    sure = code in {1, 11, 15, 18, 40, 41, 45}
    return [Fix("let it run" if sure else "then let it run again", (release,))]
