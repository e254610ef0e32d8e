"""%condor_status, %condor_userprio, %condor_version and %condor_config against the real programs."""

from __future__ import annotations

import re
import shlex
import time
from datetime import timedelta

import pytest
from test_queue_text import crowd, empty_view, real_pool  # noqa: F401 - the fixtures

from htcmagic.errors import CellError
from htcmagic.pool.address import Pool
from htcmagic.queue import others
from htcmagic.queue.status import status

SECONDS = re.compile(
    r"\d\+\d\d:\d\d:\d\d|\d+\.\d\d\d|(?m)^\"?(LastHeardFrom|MyCurrentTime).*$".replace("(?m)", ""), re.MULTILINE
)


def same(real, ours):
    """Return both texts without what changes while the one is made after the other."""
    return [SECONDS.sub("", text) for text in (real, ours)]


LINES = [
    *("", "-compact", "-avail", "-claimed", "-schedd", "-submitters", "-gpus", "-server", "-run", "-state"),
    *("-master", "-collector", "-negotiator", "-totals", "-total", "-compact -totals", "-claimed -totals"),
    *("-af Name Cpus", "-af:h Name Cpus*2 Nothing", "-af:jlng Name Memory", r"-format '%s\n' Name", "-schedd -af Name"),
    *("-constraint 'Cpus > 0' -af Name", "-constraint 'Cpus > 0'", "-const 'Memory > 100 && Cpus >= 1' -compact"),
    *("-constraint false", "slot1@HOST", "nowhere.example.org", "-limit 1 -af Name", "-sort Memory -af Name"),
    *("-json -attributes Name,Cpus", "-long -attributes Name,Cpus", "-xml -attributes Name,Cpus", "-l -attr Name"),
    *("-wide", "-any -af Name MyType", "-gpus -compact", "-aaf Cpus", "-compact -aaf Cpus", "-avail -af Name"),
]


@pytest.mark.parametrize("line", LINES)
def test_same_bytes_as_condor_status(real_pool, crowd, line):  # noqa: F811
    line = line.replace("HOST", real_pool.client.schedd.machine)
    words = shlex.split(line)
    for _ in range(5):
        table = status(real_pool.client, words)
        real, ours = same(real_pool.tool("condor_status", *words).decode(), table.text)
        if real == ours:
            break
        time.sleep(0.5)
    assert ours == real


def test_slots_as_data(real_pool, crowd):  # noqa: F811
    table = status(real_pool.client, [])
    assert table.columns == ("Name", "OpSys", "Arch", "State", "Activity", "LoadAv", "Mem", "ActvtyTime")
    assert [row["Name"] for row in table] == re.findall(r"(?m)^(slot\S+)", table.text)
    assert isinstance(table[0]["ActvtyTime"], timedelta)
    assert isinstance(table[0]["Mem"], int)
    assert len(table.to_dataframe()) == len(table)
    assert f">{table[0]['Name']}</td>" in table._repr_html_()


def test_expressions_and_whole_ads_as_data(real_pool, crowd):  # noqa: F811
    table = status(real_pool.client, ["-af", "Name", "Cpus * 2", r'strcat("a\tb\n", Arch)', "Nothing"])
    assert table[0]["Cpus * 2"] % 2 == 0
    assert table[0][r'strcat("a\tb\n", Arch)'].startswith("a\tb\n")
    assert table[0]["Nothing"] is None
    (schedd,) = status(real_pool.client, ["-schedd", "-json"])
    assert schedd["MyType"] == "Scheduler"
    assert isinstance(schedd["TotalHeldJobs"], int)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-compct"], "%condor_status has no option -compct.\nDid you mean -compact?"),
        (["-s"], "Did you mean -"),
        (["-constraint", "Cpus ="], "'Cpus =' is not a ClassAd expression."),
        (["-constraint"], "a value is missing"),
        (["-af"], "a value is missing"),
    ],
)
def test_slips(real_pool, words, said):  # noqa: F811
    with pytest.raises(CellError) as caught:
        status(real_pool.client, words)
    assert said in str(caught.value)


def test_a_constraint_that_fits_nothing_has_a_note(real_pool):  # noqa: F811
    assert "Cppus" in status(real_pool.client, ["-constraint", "Cppus > 1"]).note


def test_userprio(real_pool, crowd):  # noqa: F811
    table = others.userprio(real_pool.client.pool, ["-allusers"])
    real = real_pool.tool("condor_userprio", "-allusers").decode()
    assert re.sub(r"[\d.+:/]+", "", table.text) == re.sub(r"[\d.+:/]+", "", real)
    assert any(real_pool.client.schedd.me in str(row.get("Name")) for row in table)


def test_version(real_pool):  # noqa: F811
    table = others.version(Pool(), [])
    assert table.text == real_pool.tool("condor_version").decode()
    assert re.match(r"\d+\.\d+\.\d+ ", table[0]["VERSION"])


def test_config(real_pool):  # noqa: F811
    pool = real_pool.client.pool
    table = others.config(pool, ["CONDOR_HOST", "SPOOL"])
    assert table.text == real_pool.tool("condor_config_val", "CONDOR_HOST", "SPOOL").decode()
    assert [row["NAME"] for row in table] == ["CONDOR_HOST", "SPOOL"]
    everything = others.config(pool, [])
    assert len(everything) > 500
    assert {row["NAME"]: row["VALUE"] for row in everything}["CONDOR_HOST"] == table[0]["VALUE"]
    with pytest.raises(CellError, match="only shows"):
        others.config(pool, ["-rset", "A = 1"])
    with pytest.raises(CellError, match="Not defined"):
        others.config(pool, ["NO_SUCH_SETTING"])
