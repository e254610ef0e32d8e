"""Every view of condor_q against the real program: both look at the same real queue, and must say the same bytes."""

from __future__ import annotations

import json
import os
import re
import shlex
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_queue_text import crowd, empty_view, real_pool  # noqa: F401 - the fixtures

from htcmagic.magics.options import parse
from htcmagic.magics.queue import QueueMagics, prepared, read
from htcmagic.pool.address import Pool
from htcmagic.pool.client import Client
from htcmagic.queue.asking import ask

NOT_IN_OURS = re.compile(r"(?m)^(-- Schedd: \S+ : ).*$")


def ours(pool, line):
    """Return the table that ``%condor_q line`` returns."""
    return ask(pool.client, read(parse(QueueMagics.condor_q, prepared(line))))


def both(pool, line, words=None):
    """Ask the real program and ours until both saw the same second; the real text and our table."""
    for _ in range(4):
        table = ours(pool, line)
        real = NOT_IN_OURS.sub(r"\1", pool.tool("condor_q", *(words or shlex.split(line))).decode("utf-8", "replace"))
        if NOT_IN_OURS.sub(r"\1", table.text) == real:
            break
        time.sleep(0.3)
    return real, table


LINES = [
    *("-run", "-hold", "-hold-codes", "-idle", "-io", "-grid", "-totals", "-dag", "-dag -nobatch"),
    *("-cputime", "-currentrun", "-cputime -nobatch", "-currentrun -nobatch", "-cputime -run", "-currentrun -run"),
    *("-global", "-global -hold", "-global -nobatch", "-autocluster"),
    *("-allusers -hold", "-limit 5", "-limit 5 -nobatch", "-limit 7 -hold", "-limit 3 -af Owner ProcId"),
    *("-wide", "-wide -nobatch", "-wide:60 -nobatch", "-wide:60 -hold", "-wide:100", "-wide:100 -dag -nobatch"),
    *("-long", "-json", "-xml", "-long:new", "-long:json", "-long:xml", "-hold -json -attributes Owner"),
    *("-json -attributes Owner,ClusterId", "-long -attributes owner,ProcId", "-xml -attributes Owner,Cmd"),
    *("-af Owner ClusterId", "-af:jh Owner ClusterId JobStatus==5 Nothing", "-af:lrng Owner Requirements"),
    *("-af:V Owner Requirements", "-af:, Owner Cmd", "-af:hT Owner Cmd QDate", "-af:htY Owner QDate", "-af:t Cmd"),
    *("-autoformat Owner 'strcat(Owner, \"!\")'", "-hold -af Owner", "-run -long", "-hold -aaf Cmd"),
    *("-nobatch -aaf Cmd RequestMemory", "-idle -aaf:V Cmd 'RequestMemory * 2'", "-run -aaf JobUniverse"),
    *(r"-format %s Owner -format '%d\n' ClusterId", "-format '%-20s' Cmd -af Owner"),
    *(
        "-constraint 'JobStatus == 5' -hold",
        "-constraint 'ProcId > 3 || JobStatus == 2' -json",
        "-constraint false -run",
    ),
    *("nosuchuser -hold", "999999 -json", "999999 -af Owner", "999999 -run", "-constraint 'Nothing > 5' -nobatch"),
    *(
        "-l -attributes Owner",
        "-r",
        "-tot",
        "-cons JobStatus==2 -af Cmd",
        "-ho",
        "-w:80 -nob",
        "-c ProcId==0 -js -at Cmd",
    ),
]


@pytest.mark.parametrize("line", LINES)
def test_same_bytes_as_condor_q(real_pool, crowd, line):  # noqa: F811
    real, table = both(real_pool, line)
    assert NOT_IN_OURS.sub(r"\1", table.text) == real
    assert "-- Jobads" not in table.text


def test_unmatchable_is_condor_q_s_own_word(real_pool, crowd):  # noqa: F811
    def shown(text):
        return re.sub(r"(?m) \d\+[\d:-]{8,} ", " ", NOT_IN_OURS.sub("", text))  # it takes the time of day for RUN_TIME

    table = ours(real_pool, "-unmatchable")
    real = real_pool.tool("condor_q", "-unmatchable").decode()
    assert shown(table.text) == shown(real)
    assert {f"{row['ClusterId']}.{row['ProcId']}" for row in table} >= {f"{crowd['one']}.0"}


def test_words_of_all_kinds(real_pool, crowd):  # noqa: F811
    owner = real_pool.client.schedd.me
    for jobs in (f"{crowd['held']} {crowd['odd']}", f"{crowd['held']}.2 {crowd['run']}.0", f"nosuchuser {owner}"):
        for form in ("-hold", "-run", "-af:j Cmd Owner", "-json", "-wide:90", "-dag -nobatch"):
            real, table = both(real_pool, f"{jobs} {form}")
            assert NOT_IN_OURS.sub(r"\1", table.text) == real, (jobs, form)


def test_print_formats_with_their_own_conditions(real_pool, crowd, tmp_path):  # noqa: F811
    file = tmp_path / "jobs.cpf"
    file.write_text(
        'SELECT\n ClusterId AS "  ID" NOSUFFIX WIDTH 5\n Owner AS OWNER WIDTH -14\n'
        " JobStatus==5 AS HELD\nWHERE ProcId == 0\nSUMMARY STANDARD\n"
    )
    line = f"-print-format {shlex.quote(str(file))}"
    real, table = both(real_pool, line)
    assert NOT_IN_OURS.sub(r"\1", table.text) == real
    assert table.columns == ("ID", "OWNER", "HELD")
    assert table[0] == {"ID": crowd["done"], "OWNER": real_pool.client.schedd.me, "HELD": False}
    ids = real_pool.tool("condor_q", "-constraint", "ProcId == 0", "-af", "ClusterId").decode().split()
    assert [str(row["ID"]) for row in table] == ids


@pytest.mark.parametrize("line", ["-hold", "-totals", "-nobatch -cputime", "-autocluster", ""])
def test_a_named_schedd_of_a_named_pool(real_pool, crowd, monkeypatch, line):  # noqa: F811
    here = real_pool.client.schedd
    config = real_pool.client.pool.config
    collector = (Path(config).parent / "log/.collector_address").read_text().split("\n")[0]
    if os.getuid() == 0:
        monkeypatch.setenv("CONDOR_IDS", "0.0")

    def tool(program, *words):
        return real_pool.tool(program, "-name", here.name, "-pool", collector, *words)

    named = SimpleNamespace(client=Client(Pool(here.name, collector, config=config)), tool=tool)
    try:
        real, table = both(named, line)
        # a superuser of the queue has no totals of his own, which shows only when somebody else has jobs
        mine = re.sub(rf"(?m)^Total for {re.escape(here.user)}: .*\n", "", table.text)
        assert NOT_IN_OURS.sub(r"\1", mine) == real
        assert f"-- Schedd: {here.name} : " in table.text
        assert len(table)
    finally:
        named.client.close()


def test_a_byte_that_is_not_utf8_breaks_no_view(real_pool, tmp_path):  # noqa: F811
    file = tmp_path / "odd.sub"
    file.write_bytes(b'executable = /bin/true\nhold = true\n+Odd = "a\xe9b\\\\c \\"d"\nlog = log\nqueue\n')
    terse = real_pool.tool("condor_submit", "-terse", f"initialdir={tmp_path}", str(file))
    cluster = terse.decode().partition(".")[0]
    for line in ("-af Odd ClusterId", "-hold -aaf Odd", "-json -attributes Odd,ClusterId", "-af:V Odd", "-nobatch"):
        real, table = both(real_pool, f"{cluster} {line}")
        assert NOT_IN_OURS.sub(r"\1", table.text) == real
        assert len(table) == 1
    assert ours(real_pool, f"{cluster} -af Odd")[0]["Odd"].startswith("a\ufffdb")
    log = both(real_pool, f"-userlog {tmp_path}/log -nobatch")
    assert re.sub("@.*", "", log[0]) == re.sub("@.*", "", log[1].text)
    assert str(log[1][0]["ClusterId"]) == cluster


# the same as data


def test_rows_are_in_the_order_of_the_text(real_pool, crowd):  # noqa: F811
    for line in ("-hold", "-idle", "-io", "-run", "-dag -nobatch", "-cputime -nobatch", "-hold -aaf Cmd"):
        table = ours(real_pool, line)
        first = [found.split()[0] for found in re.findall(r"(?m)^ +\d+\.\d+ ", table.text)]
        shown = [row["ID"] for row in table]
        assert (sorted(shown) == sorted(first)) if "-dag" in line else (shown == first), line


def test_af_gives_a_column_an_expression(real_pool, crowd):  # noqa: F811
    held = crowd["held"]
    table = ours(real_pool, f"{held} -af ProcId JobStatus==5 Nothing 'ProcId * 2.5' Requirements")
    assert table.columns == ("ProcId", "JobStatus==5", "Nothing", "ProcId * 2.5", "Requirements")
    assert [row["ProcId"] for row in table] == [0, 1, 2, 3]
    assert table[1]["JobStatus==5"] is True
    assert table[1]["Nothing"] is None
    assert table[1]["ProcId * 2.5"] == 2.5
    assert len(table.to_dataframe()) == 4


@pytest.mark.parametrize("form", ["-long", "-json", "-xml", "-long:new"])
def test_whole_ads_are_dicts(real_pool, crowd, form):  # noqa: F811
    cluster = crowd["unicode"]
    table = ours(real_pool, f"{cluster} {form}")
    ad = json.loads(real_pool.tool("condor_q", str(cluster), "-json"))[0]
    (row,) = table
    plain = {name: value for name, value in ad.items() if not isinstance(value, str | dict | list)}
    assert {name: row[name] for name in plain if name != "ServerTime"} == {
        name: value for name, value in plain.items() if name != "ServerTime"
    }
    assert row["Cmd"] == ad["Cmd"] == "/tmp/prögrämm-測定"
    assert row["JobBatchName"] == "näme 測定"
    assert row["Requirements"].startswith("(")
    few = ours(real_pool, f"{cluster} {form} -attributes Cmd,ProcId")
    assert few.to_dicts() == [{"Cmd": "/tmp/prögrämm-測定", "ProcId": 0}]


def test_hold_run_codes_and_totals_as_data(real_pool, crowd):  # noqa: F811
    held = ours(real_pool, f"{crowd['held']} -hold")
    assert held[0]["CODE"] == 15
    assert "hold" in held[0]["HOLD_REASON"]
    assert held[0]["HELD_SINCE"].year > 2000
    running = ours(real_pool, "-run").to_dicts()
    assert all(row["HOST(S)"] for row in running)
    assert all(row["RUN_TIME"].total_seconds() > 0 for row in running)
    codes = ours(real_pool, "-hold-codes")
    everything = ours(real_pool, "-hold")
    assert sum(row["COUNT"] for row in codes) == len(everything)
    assert [(row["CODE"], row["SUB"]) for row in codes][:2] == [(1, 0), (1, 7)]
    assert ours(real_pool, "-totals")[0]["HELD"] == len(everything)


def test_several_arrays_of_a_global_answer_are_one_table(real_pool, crowd):  # noqa: F811
    table = ours(real_pool, "-global -constraint ClusterId==" + str(crowd["held"]))
    assert len(table) == 4
    assert {row["ClusterId"] for row in table} == {crowd["held"]}


def test_files_in_place_of_a_schedd(real_pool, crowd, tmp_path):  # noqa: F811
    file = tmp_path / "ads"
    file.write_bytes(real_pool.tool("condor_q", str(crowd["held"]), "-long"))
    table = ours(real_pool, f"-jobads {file} -hold")
    assert re.sub("@.*", "", table.text) == re.sub(
        "@.*", "", real_pool.tool("condor_q", "-jobads", str(file), "-hold").decode()
    )
    assert [row["ProcId"] for row in table] == [0, 1, 2, 3]
    assert len(ours(real_pool, f"-jobads:long {file} -af Owner")) == 4
