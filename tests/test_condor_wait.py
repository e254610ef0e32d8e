"""``%condor_wait`` for single jobs: an id means that job, not all of its cluster."""

from __future__ import annotations

SLEEP = "executable = /bin/sleep\nrequest_memory = 16MB\n"


def test_a_job_is_waited_for_by_its_id(kernel):
    assert kernel.run(f"%%condor --name wait -o c --hold -n 2\n{SLEEP}arguments = 1").error is None
    cluster = int(kernel.run("print(c.id)").text)
    kernel.run(f"%condor_release {cluster}.0")
    assert kernel.run(f"%condor_wait {cluster}.0 -wait 50").text == "All jobs done.\n"
    assert kernel.run(f"%condor_wait {cluster}.0 {cluster}.1 -wait 0.2").text == f"Time expired: {cluster}.1 is held\n"
    outcome = kernel.run(f"%condor_wait {cluster}.9")
    assert f"Cluster {cluster} has 2 jobs, no job 9." in outcome.error[2]
    assert "Traceback" not in outcome.error[2]
    kernel.run("c.rm()")
