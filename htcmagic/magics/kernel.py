"""``%htc_kernel``."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import TYPE_CHECKING

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand

from htcmagic.errors import KernelError

if TYPE_CHECKING:
    from htcmagic.kernels.table import Table

WRONG_USAGE = 2


@magics_class
class KernelMagics(Magics):
    """Kernels that are a software stack, an environment or a container."""

    @no_var_expand
    @line_magic
    def htc_kernel(self, line: str) -> Table | None:
        """Make, list, change and delete Jupyter kernels: the command ``htc-kernel``, in the notebook.

        Example::

            In [1]: %htc_kernel stacks

            In [2]: %htc_kernel create --cvmfs belle2 --release light-2603-ina --name b2

            In [3]: %htc_kernel list
        """
        from htcmagic.cli import kernel, kernel_look

        try:
            words = shlex.split(line)
        except ValueError as error:
            raise UsageError(f"{error}: {line.strip()}") from None
        if words == ["list"]:
            return kernel_look.kernel_table()
        if words == ["stacks"]:
            return kernel_look.stack_table()
        status = _status(kernel.run, words or ["--help"])
        if status == WRONG_USAGE:
            raise UsageError(f"%htc_kernel {' '.join(words[:1])}: what is wrong is told above.")
        if status:
            raise KernelError(f"%htc_kernel {' '.join(words[:1])} has failed, as told above.")
        return None


def _status(run: Callable[[list[str]], int], words: list[str]) -> int:
    """Run the command; wrong usage and ``--help`` end it in their own way."""
    try:
        return run(words)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
