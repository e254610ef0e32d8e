"""Several owners on one real pool: what an ordinary user sees, against the real condor_q run as that user."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import own_pool
from test_condor_q_views import NOT_IN_OURS, ours

from htcmagic import places
from htcmagic.pool import programs
from htcmagic.pool.address import Pool
from htcmagic.pool.client import Client

OWN = """\
include : {config}
SEC_DEFAULT_AUTHENTICATION_METHODS = IDTOKENS
SEC_CLIENT_AUTHENTICATION_METHODS = IDTOKENS
SEC_TOKEN_DIRECTORY = {tokens}
SEC_TOKEN_SYSTEM_DIRECTORY = {tokens}
SEC_PASSWORD_DIRECTORY = {tokens}/none
"""
HELD = "executable = /bin/sleep\nhold = true\nrequest_memory = 1\nrequest_disk = 1\n"
CELLS = {
    "alice": HELD + "arguments = $(Process)\nqueue 3\n",
    "verylongownername7": HELD + '+JobBatchName = "näme 測定"\nqueue 2\n',
    "bob": HELD + "description = <b>x</b>\nqueue\n",
}


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    """Yield a pool where three users have jobs: by owner ``client`` and ``tool``."""
    home = tmp_path_factory.mktemp("owners")
    found = programs.find()
    with own_pool(home) as (pool, env):
        (Path(pool.config).parent / "config.d/owners.conf").write_text("ALLOW_READ = *\nALLOW_WRITE = *\n")

        def run(env, program, *words):
            command = [str(found.program(program)), *words]
            return subprocess.run(command, env=env, capture_output=True, timeout=60, check=False)

        run(env, "condor_reconfig")
        domain = run(env, "condor_config_val", "UID_DOMAIN").stdout.decode().strip()
        users = {}
        for owner, cell in CELLS.items():
            tokens = places.private(home / owner)
            token = tokens / "token"
            token.write_bytes(run(env, "condor_token_create", "-identity", f"{owner}@{domain}").stdout)
            token.chmod(0o600)
            config = home / f"{owner}.conf"
            config.write_text(OWN.format(config=pool.config, tokens=tokens))
            theirs = {**env, "CONDOR_CONFIG": str(config)}
            file = home / f"{owner}.sub"
            file.write_text(cell)
            deadline = time.monotonic() + 30
            while (sent := run(theirs, "condor_submit", str(file))).returncode:
                assert time.monotonic() < deadline, sent.stderr
                time.sleep(0.3)

            def tool(program, *words, theirs=theirs):
                return run(theirs, program, *words).stdout

            client = Client(Pool(config=str(config), origin="a test"))
            users[owner] = SimpleNamespace(client=client, tool=tool)
        yield users
        for user in users.values():
            user.client.close()


LINES = [
    *(
        "",
        "-nobatch",
        "-hold",
        "-hold -allusers",
        "-allusers",
        "-allusers -nobatch",
        "-hold-codes -allusers",
        "-totals",
    ),
    *(
        "bob -hold",
        "alice bob -nobatch",
        "-allusers -af Owner ProcId",
        "-af Owner",
        "-cputime -nobatch",
        "-json -at Owner",
    ),
    *("-wide:90", "-wide:90 -allusers", "-dag -nobatch -allusers", "-idle -allusers", "-limit 1 -hold", "-run"),
]


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("owner", ["alice", "verylongownername7"])
def test_an_ordinary_user_sees_what_condor_q_shows(crowded, monkeypatch, owner, line):
    user = crowded[owner]
    if os.getuid() == 0:
        monkeypatch.setenv("CONDOR_IDS", "0.0")
    for _ in range(5):
        table = ours(user, line)
        real = NOT_IN_OURS.sub(r"\1", user.tool("condor_q", *shlex.split(line)).decode("utf-8", "replace"))
        if NOT_IN_OURS.sub(r"\1", table.text) == real:
            break
        time.sleep(0.3)
    assert NOT_IN_OURS.sub(r"\1", table.text) == real
    if line in {"-hold", "-nobatch", "-af Owner"}:
        assert {row["Owner" if "-af" in line else "OWNER"] for row in table.to_dicts()} == {owner}
        assert (f"Total for {owner}@" in table.text) == ("-af" not in line)
    if line == "-hold -allusers":
        assert len(re.findall(r"(?m)^ +\d+\.\d", table.text)) == 6 == len(table)
