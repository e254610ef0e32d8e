"""Runs the grid scan through a real kernel, prints its table and leaves the executed notebook as HTML.

``make demo``; ``make demo SCHEDD=name [POOL=collector]`` runs the same notebook on a site's pool. Ends with status 1
when a cell fails, a job fails or a number is missing.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter

HERE = Path(__file__).resolve().parent
NOTEBOOK = HERE / "gridscan.ipynb"
TIMEOUT_S = 900


class Narrated(NotebookClient):
    """Runs a notebook and shows on the terminal what its cells print or return as text."""

    def process_message(self, msg, cell, cell_index):
        """Show a message of the kernel, then treat it as ever."""
        content = msg["content"]
        if msg["msg_type"] == "stream":
            print(content["text"], end="", flush=True)
        elif msg["msg_type"] in {"execute_result", "display_data"} and "image/png" not in content["data"]:
            print(content["data"].get("text/plain", ""), flush=True)
        return super().process_message(msg, cell, cell_index)


def main(argv: list[str] | None = None) -> int:
    """Execute, export, and say where the pages are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--schedd", default="", help="a site's schedd, in place of a personal pool")
    parser.add_argument("--pool", default="", help="its collector")
    parser.add_argument("--output", type=Path, default=HERE.parent / "build" / "demo", help="where the page goes")
    args = parser.parse_args(argv)
    if args.schedd:
        os.environ["_CONDOR_SCHEDD_HOST"] = args.schedd
    if args.pool:
        os.environ["_CONDOR_COLLECTOR_HOST"] = args.pool
    began = time.monotonic()
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = Narrated(
        notebook,
        timeout=TIMEOUT_S,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(HERE)}},
    )
    try:
        client.execute()
    except CellExecutionError as error:
        print(f"\nThe demo failed:\n{error}", file=sys.stderr)
        return 1
    finally:
        args.output.mkdir(parents=True, exist_ok=True)
        page = args.output / "gridscan.html"
        nbformat.write(notebook, args.output / "gridscan.ipynb")
        page.write_text(HTMLExporter().from_notebook_node(notebook)[0])
    print(f"\nDone in {time.monotonic() - began:.0f} s. The executed notebook, with pictures: {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
