"""Another user of the machine gets nothing of a personal pool: no answer, no file."""

from __future__ import annotations

import json
import pwd
import sys
from pathlib import Path

import ordinary
import pools
import pytest

from htcmagic.pool import personal

BREAK_IN = """
import json, os, subprocess, sys
folder, collector, schedd, condor_q = sys.argv[1:]
config, address = (os.path.expanduser(name) for name in ("~/condor_config", "~/address"))
open(address, "w").write(f"<{schedd}>\\n$CondorVersion: 25.14.1 2026-10-16 $\\n$CondorPlatform: X86_64-Debian_ $\\n")
open(config, "w").write(f"COLLECTOR_HOST = {collector}\\nSCHEDD_ADDRESS_FILE = {address}\\n"
                        "SEC_CLIENT_AUTHENTICATION_METHODS = " + os.environ["METHODS"] + "\\n"
                        "SEC_CLIENT_AUTHENTICATION = " + os.environ["AUTHENTICATION"] + "\\n")
os.environ["CONDOR_CONFIG"] = config
import classad2, htcondor2
ad = classad2.ClassAd()
ad["MyAddress"], ad["Name"], ad["MyType"] = f"<{schedd}>", "x", "Scheduler"
ad["CondorVersion"] = htcondor2.version()
told = {}
def attempt(name, action):
    try:
        told[name] = f"GOT IN: {action()!r}"
    except Exception as error:
        told[name] = f"{type(error).__name__}: {error}"
submit = htcondor2.Submit("executable = /bin/true\\nqueue 1")
attempt("query", lambda: htcondor2.Schedd(ad).query("true"))
attempt("submit", lambda: htcondor2.Schedd(ad).submit(submit).cluster())
attempt("act", lambda: dict(htcondor2.Schedd(ad).act(htcondor2.JobAction.Remove, "true", reason=("x", 0))))
attempt("edit", lambda: htcondor2.Schedd(ad).edit("true", "JobPrio", "5"))
attempt("status", lambda: list(htcondor2.Collector(collector).query()))
for daemon in ("READ", "WRITE", "ADMINISTRATOR", "DAEMON"):
    def ping():
        reply = dict(htcondor2.ping(ad, daemon))
        if not reply.get("AuthorizationSucceeded"):
            raise PermissionError(str(reply))
        return reply
    attempt(f"ping {daemon}", ping)
attempt("folder", lambda: os.listdir(folder))
attempt("config", lambda: open(folder + "/condor_config").read())
attempt("key", lambda: open(folder + "/passwords.d/POOL", "rb").read())
for words in ([condor_q, "-allusers"], [condor_q, "-global"]):
    done = subprocess.run(words, capture_output=True, text=True)
    told[" ".join(words[:2])] = f"{done.returncode} {done.stdout}{done.stderr}"
from htcmagic.pool import client
from htcmagic.pool.address import Pool
attempt("htcmagic", lambda: client.client(Pool(config=config, origin="me")).locate())
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Put up a pool of root's, with a job in it."""
    ordinary.anybody()
    with pools.at_home(tmp_path_factory.mktemp("roots")) as folder:
        personal.up()
        work = tmp_path_factory.mktemp("work")
        pools.submit(work, "executable = /bin/true\nhold = True")
        yield folder


@pytest.mark.parametrize("authentication", ["REQUIRED", "NEVER"])
@pytest.mark.parametrize("who", ["ordinary", "nobody"])
def test_a_stranger_is_refused_everything(home, who, authentication):
    break_in_as(ordinary.anybody() if who == "ordinary" else pwd.getpwuid(ordinary.NOBODY), home, authentication)


def break_in_as(who: pwd.struct_passwd, folder: Path, authentication: str) -> None:
    status = personal.status()
    schedd, collector = (address.partition("?")[0].strip("<>") for address in (status.schedd, status.collector))
    condor_q = f"{ordinary.programs_seen()}/{pools.installed().release_dir.parent.name}/usr/bin/condor_q"
    with ordinary.home_of(who) as own:
        done = ordinary.run_as(
            who,
            [sys.executable, "-c", BREAK_IN, str(folder), collector, schedd, condor_q],
            own,
            METHODS="FS, CLAIMTOBE, ANONYMOUS, IDTOKENS, SSL",
            AUTHENTICATION=authentication,
        )
    told = json.loads(done.stdout.splitlines()[-1])
    assert len(told) == 15
    assert told["htcmagic"].startswith("NotAuthorised: The schedd that me names refuses us: ")
    for attempt, outcome in told.items():
        print(f"{who.pw_name}: {attempt}: {' '.join(outcome.split())[:150]}")
        assert "GOT IN" not in outcome
        if attempt in {"folder", "config", "key"}:
            assert outcome.startswith("PermissionError")
        if "condor_q" in attempt:
            assert not outcome.startswith("0 "), outcome
            assert " 1 jobs" not in outcome
    assert pools.tool("condor_q", "-af", "JobStatus", "JobPrio").stdout == "5 0\n"
