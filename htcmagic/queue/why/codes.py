"""Codes in words.

Hold codes: HTCondor manual, "Hold Reason Codes" (codes-other-values/hold-reason-codes). The words on likely causes and
what to do are ours.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import NamedTuple


class HoldCode(NamedTuple):
    """One ``HoldReasonCode``."""

    words: str
    """What happened; follows "held: "."""
    advice: str
    """What to look at."""
    by: str = "HTCondor"
    """Who did it."""


USER, MACHINE, ADMIN, JOB = "a user", "the machine it ran on", "the schedd's policy", "the job's own policy"

HOLDS: dict[int, HoldCode] = {
    1: HoldCode("a user asked for it", "Release it when what it was held for is settled.", USER),
    3: HoldCode(
        "its own policy (periodic_hold or on_exit_hold) became true",
        "Mend what the policy looks for, or it is held again.",
        JOB,
    ),
    4: HoldCode("its credentials are not valid", "Renew them (proxy, token, Kerberos ticket), then release it."),
    5: HoldCode(
        "one of its policy expressions is undefined",
        "Look for a misspelt attribute in periodic_hold, periodic_remove or on_exit_…",
        JOB,
    ),
    6: HoldCode("its program could not be started", "Is it there, executable, and made for this machine?", MACHINE),
    7: HoldCode("its standard output could not be opened", "Is the folder of output = there, and may you write?"),
    8: HoldCode("its standard input could not be opened", "Is the file of input = there, and may you read it?"),
    9: HoldCode("the stream of its standard output could not be opened", "Is the folder of output = there?"),
    10: HoldCode("the stream of its standard input could not be opened", "Is the file of input = there?"),
    11: HoldCode("the transfer of its files broke down", "Release it: often the network was to blame."),
    12: HoldCode(
        "its output could not be brought back",
        "Did the job write every file of transfer_output_files? Is there room and permission where they go?",
    ),
    13: HoldCode(
        "its input could not be sent",
        "Is every file of transfer_input_files there, and readable? Then release it.",
    ),
    14: HoldCode("its folder (initialdir) cannot be entered", "Make the folder, or mend its permissions."),
    15: HoldCode("it was submitted on hold", "Release it when it may start.", USER),
    16: HoldCode("its input files are still being sent to the schedd", "Wait; it goes on by itself."),
    17: HoldCode("the shadow does not fit its universe", "Ask the schedd's administrator."),
    18: HoldCode("the transfer of its files broke down", "Release it: often the network was to blame."),
    19: HoldCode("a hook that prepares jobs failed", "Ask the pool's administrator.", MACHINE),
    20: HoldCode("it missed its start time (deferral_time)", "Give it a later one, or a larger deferral_window."),
    21: HoldCode("the machine it ran on put it on hold", "Its reason says what the machine's policy minds.", MACHINE),
    22: HoldCode("its event log could not be opened", "Is the folder of log = there, and may you write?"),
    23: HoldCode("its user's account cannot be used", "Ask the pool's administrator."),
    24: HoldCode("there is no shadow for it", "Ask the schedd's administrator."),
    25: HoldCode("its cron_… settings are not valid", "Mend them and submit it again."),
    26: HoldCode("the schedd's policy put it on hold", "Its reason says what the site minds.", ADMIN),
    27: HoldCode("the schedd's policy is undefined for it", "Ask the schedd's administrator.", ADMIN),
    32: HoldCode("its input is larger than the schedd allows", "Send less, or fetch it by URL.", ADMIN),
    33: HoldCode("its output is larger than the schedd allows", "Write less, or put it somewhere by URL.", ADMIN),
    34: HoldCode("it used more than it had asked for", "Ask for more.", MACHINE),
    35: HoldCode("its Docker image is not valid", "Check docker_image or container_image."),
    36: HoldCode("it failed when it was asked for a checkpoint", "Does it handle the signal it asked for?"),
    37: HoldCode("its EC2 settings are wrong", "Its reason says which."),
    38: HoldCode("EC2: an internal error", "Its reason says which."),
    39: HoldCode("EC2: the schedd is not set up for it", "Ask the schedd's administrator."),
    40: HoldCode("EC2 could not be reached", "Release it to try again."),
    41: HoldCode("EC2 failed", "Release it to try again."),
    42: HoldCode("EC2: the instance may be lost", "Look for it by hand before you release it."),
    43: HoldCode("its PreCmd failed", "Its reason says how.", JOB),
    44: HoldCode("its PostCmd failed", "Its reason says how.", JOB),
    45: HoldCode(
        "Apptainer did not run on that machine",
        "Release it to try another machine; if that fails too, is the image sound?",
        MACHINE,
    ),
    46: HoldCode("it took longer than it may (allowed_job_duration)", "Allow more time.", JOB),
    47: HoldCode("it ran longer than it may (allowed_execute_duration)", "Allow more time.", JOB),
    48: HoldCode("a hook of the shadow failed", "Ask the schedd's administrator.", ADMIN),
}
ERRNO = frozenset({6, 7, 8, 9, 10, 14})
"""Codes whose subcode is an errno."""
MEMORY, DISK = 102, 104
"""Subcodes of code 34 (HTCondor manual, as above)."""
OUT_OF_RESOURCES = 34

EXITS = {
    126: "the shell could not execute a program: is it executable?",
    127: "the shell did not find a program: is it on the machine, is PATH set?",
}
SIGNALS = {
    "SIGKILL": "killed from outside; often for memory",
    "SIGSEGV": "the program used memory that is not its own",
    "SIGABRT": "the program gave up (abort, a failed assert, an uncaught C++ exception)",
    "SIGBUS": "a file it had mapped became shorter, or the disk was full",
    "SIGFPE": "a division by zero or the like",
    "SIGILL": "made for another processor",
    "SIGTERM": "asked to end",
    "SIGXCPU": "its limit of CPU time was reached",
    "SIGXFSZ": "its limit of file size was reached",
    "SIGPIPE": "whoever read its output had gone",
}


def errno_words(code: int) -> str:
    """Return what an errno means; empty if it is none."""
    return os.strerror(code) if 0 < code < 134 else ""


def signal_name(number: int) -> str:
    """Return a signal's name and number."""
    with contextlib.suppress(ValueError):
        return f"{signal.Signals(number).name} ({number})"
    return f"signal {number}"


def signal_words(number: int) -> str:
    """Return what a signal usually means; empty if it is not known."""
    with contextlib.suppress(ValueError):
        return SIGNALS.get(signal.Signals(number).name, "")
    return ""
