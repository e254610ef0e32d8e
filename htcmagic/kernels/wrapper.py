"""``setup.sh``, rendered from a recipe and its stack: pure, same input, same bytes.

The script is values, machinery and literal set-up, in that order. Values are single-quoted assignments; the machinery
(``bash/*.bash``) and a stack's ``setup.sh`` are taken as they are, never filled in. What decided its shape: set-up
scripts read the kernel's own arguments, return 0 when they fail, call ``exit``, unset ``IFS``, define commands anew; so
they run in a process of their own, the *result* is verified, and the kernel takes over the environment.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from importlib.resources import files

from htcmagic.errors import StackError
from htcmagic.kernels.outside import outside_values
from htcmagic.kernels.recipe import Recipe
from htcmagic.kernels.stack import Stack

SCRUBBED = (
    "PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONUSERBASE", "PYTHONEXECUTABLE", "PYTHONSAFEPATH",
    "PYTHONPLATLIBDIR", "PYTHONNOUSERSITE", "LD_LIBRARY_PATH", "LD_PRELOAD", "LD_AUDIT", "VIRTUAL_ENV*", "CONDA_*",
    "_CE_*", "MAMBA_*", "JUPYTER_PATH", "JUPYTER_CONFIG_PATH", "ROOTSYS", "ROOT_INCLUDE_PATH", "CMAKE_PREFIX_PATH",
    "CLING_*", "DYLD_LIBRARY_PATH",
)  # fmt: skip
"""Inherited variables that make another python or another stack misbehave."""
STACKS_SCRUBBED = (
    "ALRB_*", "ATLAS_LOCAL_*", "AtlasProject", "AtlasSetup*", "BELLE2_*", "CMSSW_*", "SCRAM*", "LCG_*", "KEY4HEP_*",
    "key4hep_*", "EESSI_*", "LBENV_*", "SROOT*", "I3_*", "PRODUCTS", "SETUP_*", "UPS_*", "EUPS_*", "GEANT4*",
    "LOADEDMODULES", "_LMFILES_*", "_ModuleTable*", "__LMOD_*", "LMOD_*", "MODULEPATH*", "MODULESHOME", "EBROOT*",
    "EBVERSION*", "EBDEVEL*", "EBPYTHONPREFIXES", "JAVA_HOME", "FONTCONFIG_PATH", "PKG_CONFIG_PATH", "PYTHON3PATH",
    "GIT_EXEC_PATH", "QT_PLUGIN_PATH", "G4*",
)  # fmt: skip
"""What one stack leaves behind and the next trips over; forgotten where a stack of ours is set up."""
LAUNCH = 'exec(__import__("os").environ.pop("HTCMAGIC_LAUNCHER"))  # python -m ipykernel_launcher'
"""What python is started with: a short command line, by which everybody still knows a kernel."""
FRAGMENTS = ("start", "begin", "clean", "outside", "emit", "run", "snapshot", "mounted", "modules", "conda", "venv")
"""The machinery, in the order in which it stands in a script."""
_VARIABLE = re.compile(r"(\$\{[A-Za-z_]\w*\}|\$[A-Za-z_]\w*)", re.ASCII)
_UNNAMED = "snapshot-of-this"


def render(recipe: Recipe, stack: Stack | None, command: str) -> str:
    """Return the text of ``setup.sh``.

    Parameters
    ----------
    recipe : Recipe
        What the kernel is made of.
    stack : Stack or None
        The stack it names.
    command : str
        The command line that made it, for the reader.
    """
    parts = [_head(recipe, command), fragment("start"), _values(recipe, stack), fragment("begin")]
    if recipe.clean:
        parts.append(fragment("clean"))
    outside = recipe.container is not None
    if outside:
        parts.append(outside_values(recipe, _scrubbed(stack), _word))
    parts += ["htc_begin", fragment("outside") if outside else ""]
    parts += [fragment("emit"), fragment("run")]
    if _keeps_snapshot(recipe):
        parts.append(fragment("snapshot"))
    parts += [_scrub(recipe, stack), _after(recipe, stack), _setup(recipe, stack)]
    text = "\n".join(part.rstrip("\n") + "\n" for part in parts if part)
    return text.replace(_UNNAMED, hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12])


def fragment(name: str) -> str:
    """Return one piece of the machinery."""
    return (files("htcmagic.kernels") / "bash" / f"{name}.bash").read_text(encoding="utf-8")


def launcher() -> str:
    """Return the python code that becomes the kernel."""
    return (files("htcmagic.kernels") / "launcher.py").read_text(encoding="utf-8")


def _head(recipe: Recipe, command: str) -> str:
    said = command.replace("\n", " ")
    return f"""#!/bin/bash
# The kernel {recipe.name}, made by htcmagic: {said}
# setup.sh -f CONNECTION_FILE      starts the kernel, as Jupyter does
# setup.sh --run COMMAND [WORD…]   runs a command in the same environment;  --python [WORD…]  its python
# setup.sh --refresh               keeps the environment of the set-up anew, for kernels with a snapshot
# shellcheck disable=SC1003,SC1090,SC1091,SC2016,SC2034,SC2053,SC2086,SC2154,SC2206,SC2329
"""


def _values(recipe: Recipe, stack: Stack | None) -> str:
    _check_options(recipe)
    snapshot = f"{recipe.name}-{_UNNAMED}" if _keeps_snapshot(recipe) else ""
    lines = [
        f"htc_kernel={shlex.quote(recipe.name)}",
        f"htc_creator={shlex.quote(recipe.creator)}",
        f"htc_timeout_s={recipe.timeout_s}",
        f"htc_has_setup={'1' if recipe.has_setup else ''}",
        f"htc_snapshot={snapshot}",
        *(f"htc_{name}={shlex.quote(value)}" for name, value in sorted(recipe.options.items())),
        f"htc_python={shlex.quote(_python(recipe, stack))}",
        f"htc_markers=({' '.join(map(shlex.quote, stack.markers if stack else ()))})",
        f"htc_launch={shlex.quote(LAUNCH)}",
        f"htc_launcher={shlex.quote(launcher())}",
    ]
    return "\n".join(lines) + "\n"


def _check_options(recipe: Recipe) -> None:
    """Refuse options whose variables would be the machinery's own."""
    text = "".join(map(fragment, FRAGMENTS)) + "htc_kernel htc_creator htc_timeout_s"
    used = set(re.findall(r"\bhtc_\w+", text))
    for name in recipe.options:
        if f"htc_{name}" in used:
            hint = "Give it another name in stack.toml."
            raise StackError(f"{recipe.stack}: an option cannot be called {name}.", hint=hint)


def _keeps_snapshot(recipe: Recipe) -> bool:
    return recipe.snapshot and recipe.has_setup


def _word(text: str) -> str:
    """Quote `text` for bash but for the variables in it, and the home folder."""
    if text.startswith("~/"):
        return '"$HOME"' + _word(text[1:])
    parts = [part for part in _VARIABLE.split(text) if part]
    return "".join(f'"{part}"' if _VARIABLE.fullmatch(part) else shlex.quote(part) for part in parts) or "''"


def _python(recipe: Recipe, stack: Stack | None) -> str:
    """Return the python as a word for bash to evaluate after the set-up."""
    if recipe.python:
        return _word(recipe.python)
    if recipe.venv:
        return _word(f"{recipe.venv}/bin/python")
    if recipe.conda:
        return _word(f"{recipe.conda}/bin/python")
    return _word(stack.python if stack is not None else "python3")


def _scrubbed(stack: Stack | None) -> tuple[str, ...]:
    return (*SCRUBBED, *((*STACKS_SCRUBBED, *stack.scrubbed) if stack is not None else ()))


def _scrub(recipe: Recipe, stack: Stack | None) -> str:
    """Return the function that forgets what another python or stack has left; for an image, its outside does that."""
    if recipe.container is not None:
        return "htc_scrub() { :; }"
    names = dict.fromkeys(_scrubbed(stack))
    globs = [name for name in names if "*" in name.removesuffix("*") or "?" in name]
    words = ['"${!' + name[:-1] + '@}"' if name.endswith("*") else name for name in names if name not in globs]
    lines = [f"    unset -v {' '.join(words)}"]
    if globs:
        forgotten = f'        case $htc_word in {" | ".join(globs)}) unset -v "$htc_word" ;; esac'
        lines += ["    while read -r htc_word; do", forgotten, "    done < <(compgen -e)"]
    if stack is not None:
        lines.append("    unset -f module ml _module_raw _moduleraw")
    return """# What another python or another stack has left behind.
htc_scrub() {
    for htc_word in "$VIRTUAL_ENV" "$CONDA_PREFIX"; do
        [[ -z $htc_word ]] || { PATH=:$PATH: PATH=${PATH//":$htc_word/bin:"/:} PATH=${PATH#:} PATH=${PATH%:}; }
    done
""" + "\n".join([*lines, "}"])


def _after(recipe: Recipe, stack: Stack | None) -> str:
    """Return the functions that are evaluated when the set-up has happened."""
    named = recipe.python or recipe.venv or recipe.conda
    under = stack.python_under if stack is not None and not named else ()
    places = f"    declare -p htc_under >/dev/null 2>&1 || htc_under=({' '.join(map(_word, under))})"
    lines = ["htc_places() {", places, "}"]
    if _keeps_snapshot(recipe):
        homes = [f"{recipe.venv}/pyvenv.cfg"] if recipe.venv else []
        homes += [f"{recipe.conda}/conda-meta/history"] if recipe.conda else []
        watched = [*(stack.entries if stack else ()), *recipe.sources, *homes, *recipe.hooks]
        repositories = [f"/cvmfs/{name}" for name in (stack.repositories if stack else ())]
        lines += [
            f"htc_repositories=({' '.join(map(_word, repositories))})",
            "htc_watched() {",
            f"    htc_files=({' '.join(map(_word, watched))})",
            f"    htc_depends={'$htc_modulepath' if recipe.modules else ''}",
            "}",
        ]
    lines += ["htc_finish() {", *(f"    {line}" for line in _finish(recipe, stack)), "}"]
    return "\n".join(lines)


def _finish(recipe: Recipe, stack: Stack | None) -> list[str]:
    lines = ["[[ $htc_posix == none ]] || export POSIXLY_CORRECT=$htc_posix"]
    if stack is None:
        lines.append("[[ -z $htc_bash_env || -n $BASH_ENV ]] || export BASH_ENV=$htc_bash_env")
    if not recipe.user_site:
        lines.append("export PYTHONNOUSERSITE=1")
    lines += [f"export {name}={shlex.quote(value)}" for name, value in recipe.settings]
    if recipe.prepend_path:
        lines.append(f"PATH={':'.join(map(_word, recipe.prepend_path))}:$PATH")
    if recipe.injected:
        lines.append(f"export HTCMAGIC_INJECT={shlex.quote(recipe.injected)}")
    return lines


def _setup(recipe: Recipe, stack: Stack | None) -> str:
    lines = ["# ---- 5. The set-up itself, from here on in a process of its own.", "htc_main"]
    if not recipe.has_setup:
        return lines[1]
    if stack is not None:
        lines.append(fragment("mounted"))
        lines += [f"htc_mounted {shlex.quote(name)}" for name in stack.repositories]
        lines += [f"htc_entry {_word(file)}" for file in stack.entries]
        lines += [f"export {name}={shlex.quote(value)}" for name, value in sorted(stack.preset.items())]
        lines += [f"# -- {stack.name}/setup.sh", stack.setup.strip("\n"), f"# -- end of {stack.name}/setup.sh"]
    if recipe.modules:
        lines += ["" if stack else "htc_purge=1", fragment("modules")]
        lines += [f"htc_module {shlex.quote(name)}" for name in recipe.modules]
    lines += [f"htc_script {path}\nsource {path}" for path in map(_word, recipe.sources)]
    for prefix, name in ((recipe.conda, "conda"), (recipe.venv, "venv")):
        if prefix:
            lines += [f"htc_prefix={_word(prefix)}", fragment(name)]
    lines += [f"[[ ! -r {path} ]] || source {path}" for path in map(_word, recipe.hooks)]
    end = "\\htc_through_command" if stack is not None and stack.kind == "exec" else "\\htc_emit"
    return "\n".join(line for line in [*lines, "# ---- The set-up's end.", end] if line)


def syntax_problem(text: str) -> str:
    """Return what bash says against `text` without running it; empty if it is well formed."""
    import subprocess  # noqa: PLC0415

    done = subprocess.run(["/bin/bash", "-n"], input=text, capture_output=True, text=True, check=False)
    return done.stderr.strip()
