"""What was measured, as rows of one table."""

from __future__ import annotations

import json
import os
import platform
import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

NOISE = 0.15
"""How much a bound may be exceeded before it counts as missed: machines are shared, timings waver."""
PAGE = """\
# Performance

Written by the benchmarks themselves, on {when}: `make bench REPORT=docs/performance.md`. One machine, one personal
pool, ours and the peers in turns in one run.

The machine: {machine}.

After the &#124; is what is compared with. Figures are medians. The ratio is ours by the peer's: less is better; with
"faster" it is the peer's by ours. A bound counts as missed beyond 15 % of noise; "known": docs/design.md tells why."""
HEAD = ("what", "ours", "peer", "ratio", "bound", "verdict")


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison.

    Attributes
    ----------
    what : str
        For people, with the peer named.
    ours, peer : tuple of float
        One value a run, in `unit`; no peer where there is nothing to compare with.
    bound : float or None
        What must hold; None where the figure is only reported.
    of : str
        What the bound is for: ``"ratio"`` (ours by peer), ``"speedup"`` (peer by ours, at least), ``"ours"``, or
        ``"difference"`` (ours less peer).
    floor : float or None
        For a bound that is known to be missed, and why is told in docs/design.md: what fails the run instead.
    """

    what: str
    ours: tuple[float, ...]
    peer: tuple[float, ...] = ()
    unit: str = "s"
    bound: float | None = None
    of: str = "ratio"
    floor: float | None = None

    @property
    def figure(self) -> float | None:
        """What the bound is compared with."""
        ours = median(self.ours)
        if self.of == "ours":
            return ours
        if not self.peer:
            return None
        peer = median(self.peer)
        if self.of == "difference":
            return ours - peer
        above, below = (peer, ours) if self.of == "speedup" else (ours, peer)
        return above / below if below else None

    @property
    def excess(self) -> float:
        """By which share the bound is exceeded; 0 or less where it is kept."""
        if self.bound is None or self.figure is None:
            return 0.0
        if not self.bound:
            return self.figure
        return self.bound / self.figure - 1 if self.of == "speedup" else self.figure / self.bound - 1

    @property
    def missed(self) -> bool:
        """Whether the bound is missed by more than noise explains."""
        return self.excess > NOISE

    @property
    def failed(self) -> bool:
        """Whether the run ends with status 1 for it."""
        return self.missed and (self.floor is None or (self.figure or 0.0) < self.floor)

    @property
    def verdict(self) -> str:
        """One word, or two."""
        if self.bound is None:
            return "-"
        if self.missed:
            return "MISSED" if self.failed else "MISSED (known)"
        return "ok" if self.excess <= 0 else "ok (noise)"

    def cells(self) -> tuple[str, ...]:
        """Return the texts of its line."""
        ours, peer = (written(median(values), self.unit) if values else "" for values in (self.ours, self.peer))
        ratio = self.figure if self.of in {"ratio", "speedup"} else None
        if self.bound is None:
            bound = "report only"
        elif self.of == "ratio":
            bound = f"<= {self.bound:g} x"
        elif self.of == "speedup":
            bound = f">= {self.bound:g} x faster"
        else:
            bound = f"<= {written(self.bound, self.unit)}" + (" more" if self.of == "difference" else "")
        times = "" if ratio is None else f"{ratio:.0f} x faster" if self.of == "speedup" else f"{ratio:.2f} x"
        return (self.what, ours, peer, times, bound, self.verdict)


def written(value: float, unit: str) -> str:
    """Return a value with its unit, three digits of it."""
    if unit == "s":
        return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s" if value < 100 else f"{value:.0f} s"
    return f"{value:.2f} {unit}" if unit == "%" else f"{value:,.0f} {unit}".strip()


def table(rows: list[Row]) -> str:
    """Return all rows as text."""
    lines = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(HEAD))]
    texts = [
        "  ".join(
            cell.ljust(width) if n in {0, 4, 5} else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return "\n".join([texts[0], "-" * len(texts[0]), *texts[1:]])


def summary(rows: list[Row], failures: list[str], seconds: float) -> str:
    """Return the last line."""
    bounds = [row for row in rows if row.bound is not None]
    missed = [row.what for row in bounds if row.missed]
    kept = f"{len(bounds) - len(missed)} of {len(bounds)} bounds kept"
    more = [f"MISSED: {'; '.join(missed)}"] if missed else []
    more += [f"FAILED: {'; '.join(failures)}"] if failures else []
    return f"{'. '.join([kept, *more])}. Took {seconds:.0f} s; a bound counts as missed beyond {NOISE:.0%} of noise."


def markdown(sections: dict[str, list[Row]], versions: dict[str, str], last: str) -> str:
    """Return all rows as a page."""
    parts = [PAGE.format(when=time.strftime("%-d %B %Y"), machine=machine(versions))]
    for name, rows in sections.items():
        lines = [("what", "ours", "peer", "ratio", "bound", "verdict"), ("---", *["---:"] * 3, "---", "---")]
        lines += [tuple(cell.replace("|", "&#124;") for cell in marked(row)) for row in rows]
        parts.append(f"## {name[0].upper()}{name[1:]}\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join([*parts, last]) + "\n"


def marked(row: Row) -> tuple[str, ...]:
    """Return the texts of a row's line, what is missed in bold."""
    *cells, verdict = row.cells()
    return (*cells, f"**{verdict}**" if row.missed else verdict)


def machine(versions: dict[str, str]) -> str:
    """Return what this machine is, in general terms."""
    cpu = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    total = re.search(r"^MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    return ", ".join(
        [
            f"{os.cpu_count()} cores ({' '.join(cpu[1].split())})" if cpu else f"{os.cpu_count()} cores",
            f"{int(total[1]) / 2**20:.0f} GiB of memory" if total else "",
            system,
            f"Python {platform.python_version()}",
            *(f"{name} {version}" for name, version in versions.items()),
        ]
    )


def save(rows: list[Row], file: Path) -> None:
    """Write all figures, every single run's, as JSON."""
    file.parent.mkdir(exist_ok=True)
    document = {
        "when": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "rows": [{**asdict(row), "figure": row.figure, "verdict": row.verdict} for row in rows],
    }
    file.write_text(json.dumps(document, indent=1) + "\n")
