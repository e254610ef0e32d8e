"""From a plan to what is sent: tasks as files, a DAG in HTCondor's language around them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

from htcmagic import places
from htcmagic.engines.dag import preparing, sending
from htcmagic.engines.dag.build import TASK, Plan, Step, quoted_values
from htcmagic.engines.dag.preparing import Options
from htcmagic.errors import CellError, Interrupted
from htcmagic.functions import jobs, payload
from htcmagic.functions.payload import Function
from htcmagic.functions.remote import records
from htcmagic.jobs import script, submission
from htcmagic.jobs.rundir import RunDir
from htcmagic.pool.client import Client
from htcmagic.pool.resolve import connect

if TYPE_CHECKING:
    from htcmagic.engines.dag.handle import Dag

FUNCTION, PROGRAM = "function", "program"
"""How descriptions in the DAG are called, with a number."""
INPUTS = "htcmagic_inputs"
"""The macro that names a node's own files."""
EMPTY = '[ "$htc_home" != "$_CONDOR_SCRATCH_DIR" ] || : >"$htc_home/$1.result"'
"""A file that is to come home but is not there would hold the job, and hide how it ended."""


def send(plan: Plan, limits: Mapping[str, int], schedd: str, pool: str) -> Dag:
    """Write everything into a new run's folder and send it; on failure nothing is left."""
    if not plan.steps:
        raise CellError("there is no node.", hint="Add one: flow.add(function, argument)")
    client = connect(schedd, pool, report=print)
    run_dir = RunDir.create(places.log_dir())
    options = Options(plan.name, limits)
    try:
        text = Assembly(plan, client, run_dir).text()
        prepared = preparing.prepare(text, options, {}, client, run_dir.output_dir)
    except KeyboardInterrupt:
        run_dir.discard()
        raise Interrupted("Nothing was sent.") from None
    except BaseException:
        run_dir.discard()
        raise
    functions = any(step.is_function for step in plan.steps)
    return sending.send(prepared, options, client, run_dir, functions=functions)


class Assembly:
    """Puts a plan's DAG together."""

    def __init__(self, plan: Plan, client: Client, run_dir: RunDir) -> None:
        self.plan = plan
        self.client = client
        self.run_dir = run_dir
        self.folders = jobs.Folders(run_dir.path)
        self.nodes = run_dir.path / "nodes"
        self.descriptions: dict[str, str] = {}
        """Name by text."""
        self.functions: dict[object, Function] = {}
        self.script = ""

    def text(self) -> str:
        """Return the DAG, and write the files that it needs."""
        lines: list[str] = []
        edges: dict[int, list[str]] = {}
        with jobs.writing(self.run_dir.path):
            self.folders.make()
            self.nodes.mkdir(mode=0o700)
            for step in self.plan.steps:
                lines += self.function(step, edges) if step.is_function else self.program(step)
                edges.setdefault(step.number, [])
                edges[step.number] += [each.name for each in step.after if each.name not in edges[step.number]]
        for step in self.plan.steps:
            if step.retries:
                lines.append(f"RETRY {step.name} {step.retries}")
            if edges[step.number]:
                lines.append(f"PARENT {' '.join(edges[step.number])} CHILD {step.name}")
        head = [f"SUBMIT-DESCRIPTION {name} {{\n{text}\n}}" for text, name in self.descriptions.items()]
        return "\n".join([*head, *lines, ""])

    def named(self, text: str, kind: str) -> str:
        """Return the name of a description in the DAG."""
        return self.descriptions.setdefault(text, f"htcmagic_{kind}_{len(self.descriptions)}")

    def program(self, step: Step) -> list[str]:
        """Return the lines of a node that is a description."""
        text = str(step.what)
        if any(line.strip().startswith("}") for line in text.split("\n")):
            raise CellError(f"node {step.name}: a line of its description begins with a brace, which ends it in a DAG.")
        more = "".join(f"\n{name} = {value}" for name, value in step.submit.items())
        lines = [f"JOB {step.name} {self.named(text.rstrip() + more, PROGRAM)}"]
        if step.values:
            lines.append(f"VARS {step.name}{quoted_values(step.values)}")
        return lines

    def function(self, step: Step, edges: dict[int, list[str]]) -> list[str]:
        """Return the lines of a node that is a function; its task is written."""
        function = self.packed(step)
        body, inputs = self.plan.packed(step)
        edges[step.number] = [each.name for each in inputs]
        header = {"id": step.name, "function": function.name}
        records.save(self.nodes / f"{step.number}.task", [(header, [("args", body)])])
        files = [str(self.folders.functions / function.name), str(self.nodes / f"{step.number}.task")]
        files += [str(self.nodes / f"{each.number}.result") for each in inputs]
        values = {TASK: step.number, INPUTS: ", ".join(files)}
        name = self.named(self.description(step), FUNCTION)
        return [f"JOB {step.name} {name}", f"VARS {step.name}{quoted_values(values)}"]

    def packed(self, step: Step) -> Function:
        """Return a node's function, packed once however many nodes call it."""
        if step.what not in self.functions:
            assert callable(step.what)  # noqa: S101 - a program is no function
            function = self.functions[step.what] = payload.function(step.what)
            self.folders.keep(function)
        return self.functions[step.what]

    def description(self, step: Step) -> str:
        """Return the submit description of a function node."""
        if not self.script:
            self.script = self.described()
        commands = {**jobs.DEFAULTS, **self.plan.resources, **step.submit}
        return "\n".join([self.script, *(f"{name} = {value}" for name, value in commands.items())])

    def described(self) -> str:
        """Write the script of function nodes, and return what all their descriptions begin with."""
        place = self.plan.place
        runner = jobs._runner(self.folders)  # noqa: SLF001
        text = jobs.SCRIPT.format(
            about=place.about,
            empty=EMPTY,
            python=place.shell(),
            home=shlex.quote(str(self.folders.path)),
            folder=shlex.quote(str(self.folders.path)),
            bundle=runner.name,
            mode="node",
            arguments='"$1"',
        )
        files = [str(runner), *([str(place.archive)] if place.archive is not None else []), f"$({INPUTS})"]
        in_image = place.environment is not None and place.environment.container_image is not None
        settings = {
            "arguments": f"$({TASK})",
            "should_transfer_files": "YES" if in_image else "IF_NEEDED",
            "when_to_transfer_output": "ON_EXIT",
            "transfer_input_files": ", ".join(files),
            "transfer_output_files": f"$({TASK}).result",
            "transfer_output_remaps": f'"$({TASK}).result = {self.nodes}/$({TASK}).result"',
        }
        options = submission.Options(settings=settings)
        job = script.plan(text, options, place.environment, self.folders.path, here=self.client.pool.personal)
        for name, content in job.files.items():
            self.run_dir.write(self.run_dir.path / name, content, mode=0o700)
        lines = [line for line in job.text.split("\n") if line != "queue"]
        return "\n".join([*lines, *(f"{name} = {value}" for name, value in job.options.settings.items())])
