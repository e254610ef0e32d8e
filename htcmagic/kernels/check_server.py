"""A Jupyter server as far as a kernel can tell: what starts it, and is killed to see what the kernel does.

Run as ``python -m htcmagic.kernels.check_server NAME CONNECTION_FILE``. Says ``started PID`` when the kernel is
started; ends, with its kernel, when its standard input is closed.
"""

from __future__ import annotations

import sys

from jupyter_client.manager import KernelManager


def main(name: str, connection_file: str) -> int:
    """Start the kernel and keep it until nobody listens any more."""
    manager = KernelManager(kernel_name=name, connection_file=connection_file)
    manager.start_kernel(stdout=sys.stderr, stderr=sys.stderr)
    sys.stdout.write(f"started {getattr(manager.provisioner, 'pid', None) or 0}\n")
    sys.stdout.flush()
    sys.stdin.read()
    manager.shutdown_kernel(now=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
