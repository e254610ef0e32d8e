"""Which pool is meant: named, chosen, configured, personal; and what is said when one of them is not there."""

from __future__ import annotations

import os
import re
import signal
from html import unescape
from pathlib import Path

import pools
import pytest

from htcmagic import places
from htcmagic.errors import HTCMagicError, ScheddUnreachable
from htcmagic.pool import personal, resolve
from htcmagic.pool.address import Pool


@pytest.fixture(autouse=True)
def fresh():
    """Decide anew in each test."""
    resolve.choose(None)
    yield
    resolve.choose(None)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Put up a second pool, which plays the site's; its configuration file, collector and schedd's name."""
    home = tmp_path_factory.mktemp("site")
    with pools.visit(home) as folder:
        (places.private(folder / "config.d") / "test.conf").write_text("SCHEDD_NAME = ap1@\n")
        collector = personal.up().collector.partition("?")[0].strip("<>")
        name = pools.eventually(scheduler_name)
    yield str(folder / "condor_config"), collector, name
    with pools.visit(home):
        pools.take_down(folder)


def scheduler_name() -> str:
    return pools.tool("condor_status", "-schedd", "-af", "Name").stdout.strip()


@pytest.fixture
def home(tmp_path, site):
    """Stand in a fresh home, where no personal pool is up."""
    with pools.at_home(tmp_path / "home") as folder:
        yield folder


@pytest.fixture
def at_site(site, monkeypatch):
    """Let HTCondor's configuration name the site."""
    monkeypatch.setenv("CONDOR_CONFIG", site[0])
    return site


def unexpected(line: str) -> None:
    pytest.fail(f"nothing was to be said: {line}")


def test_what_the_command_names_comes_first(at_site):
    resolve.choose(Pool("chosen", origin="%condor_pool"))
    assert resolve.resolve("ap2", "cm2", report=unexpected) == Pool("ap2", "cm2", origin="named in the command")


def test_then_the_sessions_choice(at_site):
    chosen = Pool("chosen", origin="%condor_pool")
    resolve.choose(chosen)
    assert resolve.resolve(report=unexpected) is chosen


def test_then_the_configuration_file_that_is_named(home, at_site):
    personal.up()
    client = resolve.connect(report=unexpected)
    assert client.pool.origin == f"$CONDOR_CONFIG ({at_site[0]})"
    assert not client.pool.personal
    assert client.locate().name == at_site[2]
    assert pools.eventually(lambda: client.slots()["slots"] == 1)


@pytest.mark.parametrize("config", [None, "ONLY_ENV"])
def test_or_the_environment_alone(home, site, monkeypatch, config):
    if config:
        monkeypatch.setenv("CONDOR_CONFIG", config)
    monkeypatch.setenv("_condor_SCHEDD_HOST", site[2])
    monkeypatch.setenv("_condor_COLLECTOR_HOST", site[1])
    client = resolve.connect(report=unexpected)
    assert client.pool.schedd == site[2]
    assert client.pool.origin == "$_condor_SCHEDD_HOST"
    assert client.locate().name == site[2]
    assert not personal.is_up()


def test_then_the_personal_pool_that_is_up(home):
    personal.up()
    pool = resolve.resolve(report=unexpected)
    assert pool.personal
    assert pool.origin == "personal pool"


def test_then_one_is_started_and_one_line_says_so(home):
    said = []
    client = resolve.connect(report=said.append)
    assert client.pool.personal
    assert len(said) == 1
    assert re.fullmatch(rf"Starting a personal HTCondor pool \(\S+\) in {home}\.", said[0])
    assert client.locate().user
    assert resolve.connect(report=unexpected).pool == client.pool


def test_a_configuration_without_a_schedd_leaves_it_to_the_personal_pool(home, tmp_path, monkeypatch):
    file = tmp_path / "condor_config"
    file.write_text("COLLECTOR_HOST = 127.0.0.1:9\nDAEMON_LIST = MASTER, STARTD\nLOCAL_CONFIG_DIR =\n")
    monkeypatch.setenv("CONDOR_CONFIG", str(file))
    client = resolve.connect()
    assert client.pool.personal
    assert client.locate().user


def test_the_personal_pools_own_configuration_names_the_personal_pool(home, monkeypatch):
    monkeypatch.setenv("CONDOR_CONFIG", str(personal.config_file()))
    assert resolve.resolve().personal


@pytest.mark.parametrize("content", [None, "FOO BAR )))\n"], ids=["missing", "nonsense"])
def test_a_configuration_file_that_cannot_be_read(home, tmp_path, monkeypatch, content):
    file = tmp_path / "condor_config"
    if content:
        file.write_text(content)
    monkeypatch.setenv("CONDOR_CONFIG", str(file))
    with pytest.raises(HTCMagicError) as told:
        resolve.resolve(report=unexpected)
    print(told.value)
    assert "$CONDOR_CONFIG" in told.value.message
    assert str(file) in told.value.message
    assert told.value.hint.startswith("Mend ")
    assert len(str(told.value).splitlines()) == 2
    assert not personal.is_up()


def test_a_configured_schedd_that_is_down_is_an_error_and_nothing_else_is_taken(tmp_path, monkeypatch):
    with pools.at_home(tmp_path / "other") as folder:
        personal.up()
        personal.down()
        monkeypatch.setenv("CONDOR_CONFIG", str(folder / "condor_config"))
        with pools.at_home(tmp_path / "mine"):
            refused("does not answer", str(folder / "condor_config"))
            assert not personal.is_up()
            personal.up()
            refused("does not answer", str(folder / "condor_config"))


def test_a_site_that_goes_down_in_the_middle_is_named(tmp_path, home, monkeypatch):
    with pools.at_home(tmp_path / "other") as folder:
        personal.up()
        with pools.at_home(tmp_path / "mine"):
            monkeypatch.setenv("CONDOR_CONFIG", str(folder / "condor_config"))
            assert resolve.connect().locate().name
        personal.down()
        with pools.at_home(tmp_path / "mine"):
            refused("does not answer", str(folder / "condor_config"))


@pytest.mark.parametrize(("host", "collector"), [("nowhere", "127.0.0.1:9"), ("nowhere", "SITE"), ("nowhere", None)])
def test_an_environment_that_names_nobody_is_an_error(home, site, monkeypatch, host, collector):
    monkeypatch.setenv("_CONDOR_SCHEDD_HOST", host)
    if collector:
        monkeypatch.setenv("_CONDOR_COLLECTOR_HOST", site[1] if collector == "SITE" else collector)
    refused("", "$_CONDOR_SCHEDD_HOST")
    assert not personal.is_up()


@pytest.mark.slow
def test_a_frozen_schedd_is_an_error_too(home, at_site, monkeypatch):
    folder = Path(at_site[0]).parent
    (schedd,) = [pid for pid, name in pools.processes(folder).items() if name == "condor_schedd"]
    os.kill(schedd, signal.SIGSTOP)
    try:
        refused("not answer", at_site[0])
        assert not personal.is_up()
    finally:
        os.kill(schedd, signal.SIGCONT)
    assert pools.eventually(lambda: resolve.connect().locate().name == at_site[2])


def refused(what: str, where: str) -> None:
    """Check that there is an error that says what is wrong, who named it, and what to do."""
    with pytest.raises(ScheddUnreachable) as told:
        resolve.connect(report=unexpected).locate()
    print(told.value)
    assert type(told.value) is ScheddUnreachable
    assert what in told.value.message
    assert where in told.value.message
    assert "%condor_pool" in told.value.hint or "later" in told.value.hint
    assert len(str(told.value).splitlines()) == 2


def test_the_magic_shows_everything_about_the_pool(kernel):
    shown = kernel.run("%condor_pool")
    assert shown.error is None
    lines = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in shown.result.splitlines())
    status = personal.status()
    assert list(lines) == ["Schedd", "Collector", "HTCondor", "I am", "Chosen by", "Size"]
    assert status.schedd.partition("?")[0].strip("<>") in lines["Schedd"]
    assert lines["Collector"] == status.collector.partition("?")[0].strip("<>")
    assert lines["HTCondor"] == pools.installed().version
    assert re.match(r"\w+@\S+ \(authenticated by FS\)", lines["I am"])
    assert lines["Chosen by"] == "personal pool"
    assert re.fullmatch(rf"1 slot, {os.cpu_count()} cores, [\d.,]+ GiB", lines["Size"])
    html = unescape(shown.data[-1]["text/html"])
    assert all(text in html for text in lines.values())


def test_the_magic_takes_another_pool_and_comes_back(kernel, site):
    shown = kernel.run(f"%condor_pool --schedd {site[2]} --pool {site[1]}")
    assert shown.error is None
    assert "Chosen by  %condor_pool\n" in shown.result
    assert site[2] in shown.result
    refused = kernel.run("%condor_pool --schedd nowhere --pool 127.0.0.1:9")
    assert "127.0.0.1:9 does not answer" in refused.text + str(refused.error)
    assert site[2] in kernel.run("%condor_pool").result
    assert "Chosen by  personal pool\n" in kernel.run("%condor_pool auto").result
