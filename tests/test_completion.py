"""TAB in a real kernel, as JupyterLab asks for it."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def typing_kernel(pool, tmp_path_factory):
    from conftest import Kernel

    started = Kernel(tmp_path_factory.mktemp("notebook"))
    started.run("%load_ext htcmagic")
    started.run("grid = [{'mass': 1, 'width': 2}]; points = [(1, 2)]; tune = 0.5; hidden_list = [1]")
    yield started
    started.stop()


def matches(kernel, text):
    """Return what TAB offers at the end of `text`, or at the mark |."""
    cursor = text.index("|") if "|" in text else len(text)
    reply = kernel.client.complete(text.replace("|", "", 1), cursor, reply=True, timeout=30)["content"]
    return reply["matches"]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("%%condor --o", "--over"),
        ("%%condor --max-|\nexecutable = a", "--max-materialize"),
        ("%%condor --over gr", "grid"),
        ("%condor_q -no", "-nobatch"),
        ("%condor_q --allu", "--allusers"),
        ("%condor_rm --con", "--constraint"),
        ("%%condor\nreq", "request_memory"),
        ("%%condor\nexecutable = a\nwhen_to", "when_to_transfer_output"),
        ("%%condor\nshould_transfer_files = ", "IF_NEEDED"),
        ("%%condor\nuniverse = cont", "container"),
        ("%%condor --over grid\narguments = $(ma", "mass"),
        ("%%condor --over points\narguments = $(It", "Item1"),
        ("%%condor\narguments = $(tu", "tune"),
        ("%%condor\nversion = 3\narguments = $(ver", "version"),
        ("%%condor\narguments = $(Clus", "ClusterId"),
        ("%%condor\nqueue x fr", "from"),
        ("%%condor\nqueue seed in (1, 2)\n|", "executable"),
    ],
)
def test_tab_offers(typing_kernel, typed, offered):
    assert offered in matches(typing_kernel, typed)


@pytest.mark.parametrize("magic", ["condor_q", "condor_rm", "condor_watch", "condor_tail", "condor_qedit"])
def test_tab_offers_my_clusters(kernel, magic):
    kernel.run("%%condor --name scan -o scan --hold\nexecutable = /bin/true")
    number = kernel.run("print(scan.id)").text.strip()
    assert number in matches(kernel, f"%{magic} {number[0]}" if len(number) > 1 else f"%{magic} ")
    kernel.run("scan.rm()")


@pytest.mark.parametrize("typed", ["%%bash\nreq", "req", "%condor_q\nreq"])
def test_tab_keeps_out_of_where_it_does_not_belong(typing_kernel, typed):
    assert not {"request_memory", "hidden_list"} & set(matches(typing_kernel, typed))


def test_tab_still_completes_python(typing_kernel):
    assert "hidden_list" in matches(typing_kernel, "hidden_l")


@pytest.mark.parametrize(
    "magic", ["%%condor", "%condor_submit", "%condor_q", "%condor_rm", "%condor_jobs", "%condor_pool"]
)
def test_a_question_mark_shows_the_options(typing_kernel, magic):
    reply = typing_kernel.client.execute(f"{magic}?", reply=True, timeout=30)["content"]
    shown = reply["payload"][0]["data"]["text/plain"]
    assert "--" in shown
    assert "Example::" in shown
