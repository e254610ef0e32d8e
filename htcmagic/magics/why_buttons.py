"""Buttons for what ``%condor_why`` offers, where the front end has widgets: they run its lines."""

from __future__ import annotations

import shlex
import threading
import uuid
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from htcmagic.errors import HTCMagicError
from htcmagic.magics import output

if TYPE_CHECKING:
    from htcmagic.queue.why.model import Explanation

RUN = frozenset(f"%condor_{name}" for name in ("release", "rm", "hold", "qedit", "prio", "vacate_job", "continue"))
"""Magics that a button may run: those that say what they did, and ask before they touch many jobs or others'."""


def install(shell: Any) -> None:
    """Let a shell show explanations with buttons; nothing is imported before there is one."""
    formatter = getattr(getattr(shell, "display_formatter", None), "ipython_display_formatter", None)
    if formatter is not None:
        for name in ("Why", "Explanation"):
            formatter.for_type_by_name("htcmagic.queue.why.model", name, show)


def show(shown: Any) -> None:
    """Show explanations with buttons.

    Raises
    ------
    NotImplementedError
        Buttons are of no use here: IPython shows it as it shows anything else.
    """
    from IPython import get_ipython
    from IPython.display import display

    from htcmagic.queue.live import widget
    from htcmagic.queue.live.view import parent_cell
    from htcmagic.queue.why import html

    shell = get_ipython()
    explanations = [shown] if hasattr(shown, "headline") else list(shown)
    lines = runnable(explanations)
    if not any(lines) or not parent_cell(shell)[0] or not widget.available():
        raise NotImplementedError
    buttons = Buttons(shell, lines)
    notes = getattr(shown, "notes", ())
    text = html.render(explanations, notes, place=f"htcmagic-{buttons.token}")
    display({"text/html": text, "text/plain": str(shown)}, raw=True)


def runnable(explanations: Sequence[Explanation]) -> list[list[str]]:
    """Return the lines of each fix that is drawn, in order; none where a button may not run them."""
    from htcmagic.queue.why.html import MOST

    found = []
    for one in explanations[:MOST]:
        for fix in one.fixes:
            safe = all(line.partition(" ")[0] in RUN and line.isprintable() for line in fix.lines)
            found.append(list(fix.lines) if safe else [])
    return found


@cache
def _widget_class() -> Any:
    import anywidget
    import traitlets

    from htcmagic.queue.why import html

    program = Path(html.__file__).with_name("buttons.js").read_text("utf-8")
    traits = {"token": traitlets.Unicode().tag(sync=True), "lines": traitlets.List().tag(sync=True)}
    return type("Buttons", (anywidget.AnyWidget,), {"_esm": program, **traits})


class Buttons:
    """The buttons of one output.

    Parameters
    ----------
    shell : InteractiveShell
        Whose magics are run.
    lines : list of list of str
        What each button runs; the browser only says which button.
    """

    def __init__(self, shell: Any, lines: list[list[str]]) -> None:
        self.token = uuid.uuid4().hex
        self._shell = shell
        self._lines = lines
        self._widget = _widget_class()(token=self.token, lines=lines)
        self._widget.on_msg(self._message)

    def _message(self, _widget: Any, content: Any, _buffers: Any) -> None:
        number = content.get("number") if isinstance(content, dict) else None
        if isinstance(number, int) and 0 <= number < len(self._lines) and self._lines[number]:
            self._widget.send({"kind": "ack", "id": content.get("id")})
            arguments = (content.get("id"), self._lines[number])
            threading.Thread(target=self._run, args=arguments, name="htcmagic-click", daemon=True).start()

    def _run(self, click: Any, lines: Sequence[str]) -> None:
        """Run lines in a thread: a schedd that does not answer must not stop the kernel."""
        said, well = run(self._shell, lines)
        self._widget.send({"kind": "outcome", "id": click, "ok": well, "says": said})


def run(shell: Any, lines: Sequence[str]) -> tuple[str, bool]:
    """Run magic lines one after the other until one fails; what they say, and whether all went well."""
    with output.kept() as said:
        try:
            for line in lines:
                name, _, rest = line.partition(" ")
                shlex.split(rest)
                shell.find_line_magic(name.removeprefix("%"))(rest)
        except HTCMagicError as error:
            return "\n".join(filter(None, [*said, error.message, error.hint])), False
        except (UsageError, ValueError) as error:
            return "\n".join([*said, str(error)]), False
        except Exception as error:  # noqa: BLE001 - whoever clicked has to be told
            return "\n".join([*said, f"That failed: {error}"]), False
    return "\n".join(said), True
