"""A variable names its jobs to every magic, whatever handle it holds."""

from __future__ import annotations

import pytest

MAKE = """
import htcmagic
def slow(x):
    import time
    time.sleep(120)
"""
HANDLES = {
    "cluster": "%%condor --hold --name same -o thing\nexecutable = /bin/true",
    "cell": "%%condor_python --hold --name same -o thing\n1 + 1",
    "map": "thing = htcmagic.map(slow, range(2), chunk=1, hold='true')",
}


@pytest.mark.parametrize("handle", list(HANDLES))
def test_a_variable_names_its_own_jobs(kernel, handle):
    kernel.run(MAKE)
    assert kernel.run(HANDLES[handle]).error is None
    ids = kernel.run("from htcmagic.jobs.naming import clusters_behind; print(*[c.id for c in clusters_behind(thing)])")
    number = ids.text.strip()
    kernel.run("%%condor --hold --name same -o other\nexecutable = /bin/true")  # a newer one of the same name
    for line in ("%condor_why thing", "%condor_log thing"):
        outcome = kernel.run(line)
        assert outcome.error is None, (line, outcome.error)
    assert number in kernel.run("%condor_why thing").result
    kernel.run("view = %condor_watch thing --form html")
    view = kernel.run("print([b.ids.split('.')[0] for b in view.table.batches])")
    assert number in view.text, view.text
    assert "other" not in view.text
    kernel.run("htcmagic.cluster(clusters_behind(thing)[0].id).release()" if handle == "cluster" else "pass")
    if handle == "cluster":  # a view that is stopped shows what is true then, not what was a second before
        told = kernel.run("thing.wait(60); view.stop(); print([dict(b.counts) for b in view.table.batches])")
        assert "'done': 1" in told.text, told.text
        assert kernel.run("%condor_rm thing").error is None
        kernel.run("other.rm()")
        return
    said = kernel.run("%condor_rm thing").text
    assert "removed" in said or "removal" in said, said
    left = kernel.run("print(other.status['held'], sum(sum(c.status.values()) for c in clusters_behind(thing)))").text
    assert left.split()[0] == "1"
    assert kernel.run("%condor_wait thing --wait 20").text.startswith("All jobs done")
    kernel.run("other.rm()")
