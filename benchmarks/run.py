"""Times htcmagic side by side with its peers, on a personal pool of its own: ``make bench``.

Prints one table and writes every figure to build/bench.json. Ends with status 1 when a bound is missed by more than
noise explains, or a comparison fails.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from importlib.metadata import version
from pathlib import Path

import choosing
import report
from cases import CASES, FULL, QUICK
from pool import bench

LONG = frozenset({15, 17})
"""Cases that take minutes whatever the number of jobs: not among the quick ones."""
BUILD = Path(__file__).resolve().parents[1] / "build"

EXPLAINED = """\
Medians of interleaved runs; after the | is the peer. "each, scaled": one call for each job, as a loop over grid points
does, timed for some of the jobs while half of them are queued already (calls slow down as the queue fills)."""


def main(argv: list[str] | None = None) -> int:
    """Measure, print, and say whether all bounds are kept."""
    cases = "; ".join(f"{number}: {name}" for number, (name, _) in CASES.items())
    parser = argparse.ArgumentParser(description=__doc__, epilog=cases)
    parser.add_argument("--only", default="", metavar="N[,N]", help="only these comparisons")
    parser.add_argument("--quick", action="store_true", help="1,000 jobs and fewer runs: a look, not a verdict")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the table as a page of Markdown, too")
    parser.add_argument("--choosing", type=Path, metavar="FILE", help="write the table of engines into this page, too")
    parser.add_argument("--no-demo", action="store_true", help="leave the demo out")
    args = parser.parse_args(argv)
    usual = [number for number in CASES if number not in LONG] if args.quick else list(CASES)
    chosen = [int(word) for word in args.only.split(",") if word] or usual
    if not set(chosen) <= set(CASES):
        parser.error(f"--only {args.only}: there are {cases}")
    if args.no_demo and 6 in chosen:
        chosen.remove(6)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    sections, failures = measure(chosen, quick=args.quick)
    rows = [row for part in sections.values() for row in part]
    report.save(rows, BUILD / "bench.json")
    last = report.summary(rows, failures, time.monotonic() - began)
    print(f"\n{EXPLAINED}\n\n{report.table(rows)}\n")
    print(last)
    for file in {BUILD / "performance.md", args.report} - {None}:
        file.write_text(report.markdown(sections, versions(), last))
    if args.choosing is not None:
        choosing.write(args.choosing, versions())
    return 1 if failures or any(row.failed for row in rows) else 0


def versions() -> dict[str, str]:
    """Return what was compared."""
    names = {
        "HTCondor": "htcondor",
        "Parsl": "parsl",
        "dask-jobqueue": "dask-jobqueue",
        "distributed": "distributed",
        "ipyparallel": "ipyparallel",
    }
    return {name: version(package) for name, package in names.items()}


def measure(chosen: list[int], *, quick: bool) -> tuple[dict[str, list[report.Row]], list[str]]:
    """Run the comparisons; one that fails does not keep the others from running."""
    sections: dict[str, list[report.Row]] = {}
    failures: list[str] = []
    with bench() as there:
        for number in chosen:
            name, case = CASES[number]
            print(f"{number}. {name} ...", end=" ", flush=True)
            began = time.monotonic()
            try:
                sections[name] = case(there, QUICK if quick else FULL)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told and the others go on
                failures.append(f"{name}: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
                print(f"FAILED: {error}")
            else:
                print(f"{time.monotonic() - began:.0f} s", flush=True)
    return sections, failures


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
