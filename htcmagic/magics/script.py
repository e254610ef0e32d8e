"""``%%condor_script``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from IPython.core.magic import Magics, cell_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments

from htcmagic.magics.options import parse
from htcmagic.magics.output import say
from htcmagic.magics.submit import submit, submit_arguments

if TYPE_CHECKING:
    from htcmagic.jobs.cluster import Cluster
    from htcmagic.jobs.rundir import RunDir
    from htcmagic.jobs.submission import Options
    from htcmagic.kernels.environment import JobEnvironment
    from htcmagic.pool.client import Client

NO_KERNEL = "none"


@magics_class
class ScriptMagics(Magics):
    """Submission of scripts."""

    @no_var_expand
    @cell_magic
    @magic_arguments()
    @argument(
        "settings", nargs="*", metavar="KEY=VALUE", help="submit commands, as request_memory=2GB or environment=…"
    )
    @argument("--memory", metavar="SIZE", help="request_memory: 2GB; a plain number is MB")
    @argument("--cpus", metavar="N", help="request_cpus")
    @argument("--disk", metavar="SIZE", help="request_disk: 1GB; a plain number is kB")
    @argument("--gpus", metavar="N", help="request_gpus")
    @argument(
        "--inputs",
        "--transfer-input-files",
        dest="inputs",
        default="",
        metavar="FILES",
        help="files that go along, separated by commas; the job finds them in its folder",
    )
    @argument(
        "--kernel",
        metavar="NAME",
        help="run in the environment of this kernel of ours, or of none (default: the one this notebook runs in)",
    )
    @submit_arguments
    def condor_script(self, line: str, cell: str) -> Cluster | None:
        """Submit the cell: a script, in the language that its #! line says, else in bash.

        A job per item of --over. Each value reaches the script unchanged: as a variable named after the key or
        column (item, or item0, item1 … where there are no names) and as $1, $2 …; the job's own numbers are
        $JOB_CLUSTER and $JOB_PROC. Nothing is expanded in the cell. In a kernel made by htc-kernel the script runs
        in the environment of that kernel: its software stack is set up on the worker, or its image is used.

        Example::

            In [1]: points = [{"mass": 500, "tune": "a b"}, {"mass": 750, "tune": "c"}]

            In [2]: %%condor_script --over points --memory 200MB --name fits -o fits
               ...: #!/bin/bash
               ...: echo "mass $mass, tune $2, job $JOB_PROC on $(hostname)"

            In [3]: fits.wait(); fits[0].stdout()
        """
        from htcmagic.jobs import script

        args = parse(self.condor_script, line)
        script.read(cell)  # before a pool is looked for
        environment = _environment(args.kernel)
        asked = {name: getattr(args, name) for name in ("memory", "cpus", "disk", "gpus")}
        args.set = [*(f"request_{name}={value}" for name, value in asked.items() if value), *args.settings, *args.set]

        def describe(options: Options, client: Client, run_dir: RunDir) -> tuple[str, Options]:
            job = script.plan(cell, options, environment, run_dir.path, inputs=args.inputs, here=client.pool.personal)
            for name, text in job.files.items():
                run_dir.write(run_dir.path / name, text, mode=0o700)
            for note in job.notes:
                say(note)
            return job.text, job.options

        return submit(self.shell, args, describe)


def _environment(named: str | None) -> JobEnvironment | None:
    from htcmagic.kernels.environment import environment

    return None if named == NO_KERNEL else environment(named)
