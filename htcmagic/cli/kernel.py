# PYTHON_ARGCOMPLETE_OK
"""``htc-kernel``: kernels that are an experiment's software stack, an environment, or a container."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from htcmagic.cli import kernel_create, kernel_look
from htcmagic.cli.guard import guarded
from htcmagic.kernels.kernelspec import VERSION

EPILOG = """\
examples:
  htc-kernel stacks                                    the software stacks that are known
  htc-kernel create --cvmfs belle2 --release light-2603-ina --name b2
  htc-kernel create --container docker://python:3.12 --inject-ipykernel
  htc-kernel create --venv ~/venv --source ~/setup.sh
  htc-kernel check b2                                  start it, run in it, interrupt it, kill it
  htc-kernel list                                      all kernels, and which were made here
  eval "$(htc-kernel completion bash)"                 TAB completes commands, kernels, stacks, releases

A kernel is a folder with kernel.json and setup.sh. It needs nothing of htcmagic when it starts; what its set-up says is
kept in $HTCMAGIC_HOME/logs, by default ~/.local/share/htcmagic/logs. htc-kernel COMMAND --help tells more.
"""
SHELLS = ("bash", "zsh", "fish")
_HERE = (*kernel_create.COMMANDS, *kernel_look.COMMANDS, "completion")


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Wraps a description, leaves examples as they are, and gives commands' names room."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog)
        self._action_max_length = 14

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        kind = argparse.RawDescriptionHelpFormatter if "\n" in text else argparse.HelpFormatter
        return kind._fill_text(self, text, width, indent)  # noqa: SLF001 - argparse's own way to be changed


class Parser(argparse.ArgumentParser):
    """Says what is wrong with a command line in two lines, and what was probably meant."""

    def error(self, message: str) -> Any:
        """End with status 2."""
        self.exit(2, f"{self.prog}: {message}\nAll options: {self.prog} --help\n")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, and name the options that are not known together with those that are near."""
        found, left = self.parse_known_args(args, namespace)
        if left:
            import difflib  # noqa: PLC0415 - only after a slip

            used = getattr(found, "parser", self)
            known = used._option_string_actions  # noqa: SLF001 - argparse has no other way to ask
            near = difflib.get_close_matches(left[0].partition("=")[0], known, n=1)
            used.error(f"{left[0]} is not understood.{f' Did you mean {near[0]}?' if near else ''}")
        return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status: 0 done, 1 an error, 2 wrong usage."""
    words = sys.argv[1:] if argv is None else argv
    said = "interrupted; nothing was changed that was not told"
    return guarded("htc-kernel", lambda: run(words), interrupted=said)


def run(words: Sequence[str]) -> int:
    """Run one command; errors come as exceptions, wrong usage as SystemExit."""
    completing = "_ARGCOMPLETE" in os.environ
    first = next((word for word in words if not word.startswith("-")), "")
    made = parser(everything=completing or first not in _HERE)
    if completing:
        import argcomplete  # noqa: PLC0415 - only when a shell asks

        argcomplete.autocomplete(made)
    if not words:
        made.print_help()
        return 2
    args = made.parse_args(list(words))
    command: Callable[[argparse.Namespace], int] = args.command
    return command(args)


def parser(*, everything: bool = True) -> argparse.ArgumentParser:
    """Return the command line's parser; without `everything`, only what this command needs."""
    top = Parser(
        "htc-kernel",
        description="Jupyter kernels that are an experiment's software stack, an environment, or a container.",
        epilog=EPILOG,
        formatter_class=Formatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"htc-kernel {VERSION}")
    commands = top.add_subparsers(metavar="COMMAND", required=True, title="commands", parser_class=Parser)

    def add(name: str, function: Callable[[argparse.Namespace], int], told: str, more: str = "") -> Any:
        """Add a command; `more` is what stands below its description, examples after a line of their own."""
        text, _, examples = more.partition("\n")
        one = commands.add_parser(
            name,
            help=told,
            description=f"{told[0].upper()}{told[1:]}. {text}".strip(),
            epilog=examples or None,
            formatter_class=Formatter,
            allow_abbrev=False,
        )
        one.set_defaults(command=function, parser=one)
        return one

    kernel_create.add_commands(add)
    kernel_look.add_commands(add)
    if everything:
        from htcmagic.cli import kernel_care  # noqa: PLC0415 - they know jupyter_client

        kernel_care.add_commands(add)
    shells = add("completion", _completion, "print what makes a shell complete htc-kernel's words", COMPLETION)
    shells.add_argument("shell", choices=SHELLS, metavar="bash|zsh|fish")
    return top


COMPLETION = """For commands, options, kernels, stacks and releases.
examples:
  eval "$(htc-kernel completion bash)"          in ~/.bashrc
  eval "$(htc-kernel completion zsh)"           in ~/.zshrc
  htc-kernel completion fish | source           in ~/.config/fish/config.fish
"""


def _completion(args: argparse.Namespace) -> int:
    from argcomplete import shellcode  # type: ignore[attr-defined,unused-ignore] # noqa: PLC0415

    print(shellcode(["htc-kernel"], shell=args.shell))
    return 0


if __name__ == "__main__":
    sys.exit(main())
