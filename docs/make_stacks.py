"""Write docs/stacks.md from kernelspecs/: ``python docs/make_stacks.py``."""

# ruff: noqa: INP001 - a script

from __future__ import annotations

from pathlib import Path

from htcmagic.kernels.stack import Option, Stack, read

HERE = Path(__file__).parent
HEAD = """\
# Software stacks

Generated from [kernelspecs/](../kernelspecs/README.md) by `python docs/make_stacks.py`; do not edit.

    htc-kernel stacks                   what there is, what is mounted here, which file each comes from
    htc-kernel releases atlas           what a repository holds, newest first
    htc-kernel create --cvmfs atlas     a kernel; --release, --platform, and --option NAME=VALUE for the others

**We had no live CVMFS repository**: each stack's status says what was tried. The tests set stacks up from look-alikes
of their scripts at the true paths, with what is known of the true ones' faults. `htc-kernel check NAME` tells whether
yours works.

"""


def page() -> str:
    """Return the page's text."""
    stacks = [read(file.parent) for file in sorted((HERE.parent / "kernelspecs").glob("*/stack.toml"))]
    rows = ["| stack | title | kind | CVMFS repositories | status |", "|---|---|---|---|---|"]
    rows += [
        f"| [{one.name}](#{one.name}) | {one.title} | {one.kind} | {_repositories(one)} | {one.status} |"
        for one in stacks
    ]
    return HEAD + "\n".join(rows) + "\n" + "".join(map(_section, stacks))


def _repositories(stack: Stack) -> str:
    names = [*stack.repositories, *filter(None, [stack.image_repository])]
    return ", ".join(names) or "none"


def _section(stack: Stack) -> str:
    parts = [f"\n## {stack.name}", f"{stack.title}: {stack.about}.", f"    {_command(stack)}"]
    if stack.options:
        rows = ["| option | | default |", "|---|---|---|", *map(_row, stack.options.values())]
        parts.append("\n".join(rows))
    facts = [
        ("Image", f"`{stack.image}`" if stack.image else ""),
        ("Repositories", _repositories(stack)),
        ("Works on", ", ".join(stack.systems)),
        ("Proved by", _proof(stack)),
        ("Status", stack.status),
        ("Recipe from", ", ".join(f"<{one}>" for one in stack.sources)),
    ]
    parts.append("\n".join(f"- {name}: {text}" for name, text in facts if text))
    parts.append(f"```bash\n{stack.setup.strip()}\n```")
    return "\n\n".join(parts) + "\n"


def _command(stack: Stack) -> str:
    needed = [one.name for one in stack.options.values() if one.required and not one.default]
    return " ".join([f"htc-kernel create --cvmfs {stack.name}", *(f"--option {name}=…" for name in needed)])


def _row(option: Option) -> str:
    flag = f"--{option.name}" if option.name in {"release", "platform"} else f"--option {option.name}="
    default = option.default or ("required" if option.required else "")
    return f"| `{flag}` | {option.about.replace('|', ' or ')} | {default} |"


def _proof(stack: Stack) -> str:
    told = [f"`{name}` is set" for name in stack.markers]
    told += [f"python lies below {' or '.join(f'`{one}`' for one in stack.python_under)}"] if stack.python_under else []
    return ", ".join(told)


if __name__ == "__main__":
    (HERE / "stacks.md").write_text(page(), encoding="utf-8")
