"""docs/condor_q.md: every option of the real condor_q, and what ``%condor_q`` makes of it; written by this file.

To write it anew: ``python tests/test_condor_q_parity.py`` in the environment of the tests.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from htcmagic.magics.options import parse
from htcmagic.magics.queue import QueueMagics, prepared, read
from htcmagic.pool import programs

PAGE = Path(__file__).parents[1] / "docs" / "condor_q.md"
OURS = "drawn by htcmagic"
ADS = "condor_q, from the ads that the data is made of"
LIVE = "condor_q, live"
FILE = "condor_q, from the file"

HEAD = """\
# %condor_q and condor_q, option by option

Written by `tests/test_condor_q_parity.py` from HTCondor's own `condor_q -help`; `tests/test_condor_q_views.py` and
`tests/test_queue_text.py` compare the text of ours and of the program byte by byte on one real queue.

Options are spelled with one dash or two, and abbreviated as the program allows. The answer is a table: `.text`,
`.columns`, `.to_dicts()`, `.to_dataframe()`, iteration, slices, HTML. Byte for byte the same but for: the time in the
header; codes that would steer a terminal, which are made visible; bytes that are not UTF-8, which are replaced.

Where the text comes from:

- *drawn by htcmagic*: no program is needed, the fastest way.
- *condor_q, from the ads that the data is made of*: one query by htcmagic; the program draws its answer from a file
  (`-jobads`), and gets the header and the totals of a live schedd. Without HTCondor's programs there are data and HTML.
- *condor_q, live*: what only a live schedd knows. The text is the program's own query, stopped after 20 s and by
  Ctrl-C; the data, except for `-totals`, is asked for (`-json`) when it is first used.
- *condor_q, from the file*: as written, with the program's own header.

| Option | %condor_q | Text | Data |
|---|---|---|---|
"""

TAIL = """
## Left out

| Option | Why |
|---|---|
"""

ID = "rows of the view's columns"
TAKEN = {
    "": ("", OURS, "a row a batch"),
    "batch": ("-batch", OURS, "a row a batch"),
    "nobatch": ("-nobatch", OURS, "a row a job"),
    "<cluster>": ("17", "as the view", "as the view"),
    "<cluster>.<proc>": ("17.3", "as the view", "as the view"),
    "<owner>": ("alice", "as the view", "as the view"),
    "constraint": ("-constraint 'JobStatus == 5'", "as the view", "as the view"),
    "allusers": ("-allusers", "as the view", "as the view"),
    "limit": ("-limit 5", "as the view", "as the view"),
    "name": ("-name ap1", "as the view", "as the view"),
    "pool": ("-pool cm", "as the view", "as the view"),
    "global": ("-global", LIVE, "whole ads of all schedds"),
    "run": ("-run", ADS, ID),
    "hold": ("-hold", ADS, ID),
    "hold-codes": ("-hold-codes", ADS, ID),
    "idle": ("-idle", ADS, ID),
    "io": ("-io", ADS, ID),
    "grid": ("-grid", ADS, ID),
    "dag": ("-dag -nobatch", ADS + "; without -nobatch " + OURS, "a row a job"),
    "totals": ("-totals", LIVE, "a row a line, of the same text"),
    "cputime": ("-cputime -nobatch", ADS, "a row a job"),
    "currentrun": ("-currentrun -nobatch", ADS, "a row a job"),
    "autocluster": ("-autocluster", LIVE, "whole ads"),
    "unmatchable": ("-unmatchable", LIVE, "whole ads"),
    "wide": ("-wide:60", ADS + "; without a number " + OURS, "as the view"),
    "autoformat": ("-autoformat:h Owner", ADS, "a column an expression"),
    "af": ("-af:jh Owner Cmd", ADS, "a column an expression"),
    "aaf": ("-hold -aaf Cmd", ADS, "the view's columns, and one an expression"),
    "format": ("-format %s Owner", ADS, "a column an expression"),
    "print-format": ("-print-format FILE", ADS, "a column a line of the file"),
    "long": ("-long", ADS, "whole ads"),
    "xml": ("-xml", ADS, "whole ads"),
    "json": ("-json", ADS, "whole ads"),
    "attributes": ("-json -attributes Owner", ADS, "these attributes"),
    "jobads": ("-jobads FILE", FILE, "whole ads"),
    "userlog": ("-userlog FILE", FILE, "whole ads"),
}
LEFT_OUT = {
    "schedd-constraint": "name the schedd: -name",
    "submitter": "name the owner: `%condor_q alice`",
    "factory": "condor_q -factory is for administrators of the access point",
    "jobset": "job sets have no view here",
    "debug": "`!condor_q -debug`",
    "expert": "messages are ours",
    "help": "`%condor_q?`",
    "stream-results": "a table is complete",
    "version": "`%condor_version`",
    "analyze": "`%condor_why`",
    "better-analyze": "`%condor_why`",
    "machine": "`%condor_why`",
    "mconstraint": "`%condor_why`",
    "slotads": "`%condor_why`",
    "userprios": "`%condor_why`",
    "nouserprios": "`%condor_why`",
    "reverse-analyze": "`%condor_why`",
    "verbose": "`%condor_why`",
}


def page():
    """Return what docs/condor_q.md says."""
    rows = []
    for option, (example, text, data) in TAKEN.items():
        shown = option if option.startswith("<") else f"-{option}" if option else "(none)"
        rows.append(f"| `{shown}` | `%condor_q{' ' if example else ''}{example}` | {text} | {data} |\n")
    left = [f"| `-{option}` | {why} |\n" for option, why in LEFT_OUT.items()]
    return HEAD + "".join(rows) + TAIL + "".join(left)


def test_the_page_is_what_this_file_says():
    assert PAGE.read_text() == page(), "write it anew: python tests/test_condor_q_parity.py"


def test_every_option_of_condor_q_is_there():
    done = subprocess.run(
        [str(programs.find().program("condor_q")), "-help"],
        capture_output=True,
        text=True,
        check=False,
        env={"CONDOR_CONFIG": "ONLY_ENV"},
    )
    told = set(re.findall(r"(?m)^\t-([a-z-]+)", done.stdout + done.stderr))
    assert len(told) > 40
    assert told - set(TAKEN) - set(LEFT_OUT) == set()


@pytest.mark.parametrize("example", [example for example, _, _ in TAKEN.values()])
def test_every_example_is_understood(example):
    options = read(parse(QueueMagics.condor_q, prepared(example)))
    assert options.drawn_by_us or options.drawing() or options.source


if __name__ == "__main__":
    PAGE.write_text(page())
