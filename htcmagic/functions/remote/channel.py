"""How a worker reaches its run's folder: as plain files where it sees them, else through HTCondor's own channel."""

# ruff: noqa: D102 - what the methods do is told once, in Channel

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

WORKER_FILE = "worker.json"
MISSING, NO_SPACE = -3, -6
"""What Chirp answers if there is no such file; if the disk is full."""
LONGEST_LINE = 5120
ANSWER_S = 30.0
BLOCK = 1 << 20


class Channel(Protocol):
    """What a worker does in the folder of its run; names are relative to it.

    Attributes
    ----------
    rests_s : tuple of float
        Longest time between two looks for tasks: soon after the last task, and later.
    """

    rests_s: tuple[float, float]

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, without those that begin with a dot."""

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""

    def move(self, old: str, new: str) -> bool:
        """Rename; False if it is not there any more."""

    def read(self, name: str) -> bytes:
        """Return a small file's content; empty if there is none."""

    def fetch(self, name: str, target: Path) -> None:
        """Make the file readable at `target`, whatever becomes of it in the folder."""

    def write(self, name: str, blocks: Sequence[bytes]) -> None:
        """Write a file, whole or not at all."""

    def room(self, scratch: Path) -> Path:
        """Return the folder in which large results are written."""

    def deliver(self, file: Path, name: str) -> None:
        """Make a file of :meth:`room` appear under its name."""

    def remove(self, name: str) -> None:
        """Delete a file, if it is there."""


class Files:
    """The folder as it is seen here."""

    rests_s = (0.02, 0.1)

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def names(self, folder: str) -> list[str]:
        return [name for name in os.listdir(f"{self.folder}/{folder}") if name[0] != "."]  # noqa: PTH208 - often

    def exists(self, name: str) -> bool:
        return os.path.exists(f"{self.folder}/{name}")  # noqa: PTH110 - often

    def move(self, old: str, new: str) -> bool:
        try:
            os.rename(f"{self.folder}/{old}", f"{self.folder}/{new}")  # noqa: PTH104 - often
        except FileNotFoundError:
            return False
        return True

    def read(self, name: str) -> bytes:
        try:
            return Path(self.folder, name).read_bytes()
        except FileNotFoundError:
            return b""

    def fetch(self, name: str, target: Path) -> None:
        try:
            target.hardlink_to(Path(self.folder, name))
        except FileNotFoundError:
            raise
        except OSError:  # another disk
            shutil.copyfile(Path(self.folder, name), target)

    def write(self, name: str, blocks: Sequence[bytes]) -> None:
        folder, _, last = name.rpartition("/")
        new = Path(self.folder, folder, f".{last}.new")
        try:
            with new.open("wb") as stream:
                stream.writelines(blocks)
            new.replace(Path(self.folder, name))
        except BaseException:
            new.unlink(missing_ok=True)
            raise

    def room(self, scratch: Path) -> Path:
        del scratch
        return Path(self.folder, "results")

    def deliver(self, file: Path, name: str) -> None:
        file.replace(Path(self.folder, name))

    def remove(self, name: str) -> None:
        Path(self.folder, name).unlink(missing_ok=True)


class Chirp:
    """The folder as the job's shadow sees it: no port is opened, no file system is shared.

    Its own small client, as htchirp waits for ever for what a broken connection does not send.
    """

    rests_s = (0.05, 0.25)

    def __init__(self, folder: Path, config: Path | None = None) -> None:
        self.folder = str(folder)
        self._config = config or _config()
        self._socket: socket.socket | None = None
        self._left = b""

    def names(self, folder: str) -> list[str]:
        self._say("getdir", f"{self.folder}/{folder}")
        found = self._take(self._number()).decode("utf-8", "surrogateescape").split("\n")
        return [name for name in found if name and not name.startswith(".")]

    def exists(self, name: str) -> bool:
        self._say("access", f"{self.folder}/{name}", 0)
        return self._number(MISSING) != MISSING

    def move(self, old: str, new: str) -> bool:
        self._say("rename", f"{self.folder}/{old}", f"{self.folder}/{new}")
        return self._number(MISSING) != MISSING

    def read(self, name: str) -> bytes:
        self._say("getfile", f"{self.folder}/{name}")
        size = self._number(MISSING)
        return self._take(size) if size > 0 else b""

    def fetch(self, name: str, target: Path) -> None:
        self._say("getfile", f"{self.folder}/{name}")
        size = self._number()
        with target.open("wb") as stream:
            while size:
                block = self._take(min(size, BLOCK))
                stream.write(block)
                size -= len(block)

    def write(self, name: str, blocks: Sequence[bytes]) -> None:
        size = sum(len(block) for block in blocks)
        folder, _, last = name.rpartition("/")
        new = f"{folder}/.{last}.new" if folder else f".{last}.new"
        self._say("putfile", f"{self.folder}/{new}", 0o600, size)
        self._number()
        for block in blocks:
            self._send(block)
        self._arrived(new, name, size)

    def room(self, scratch: Path) -> Path:
        return scratch

    def deliver(self, file: Path, name: str) -> None:
        size = file.stat().st_size
        folder, _, last = name.rpartition("/")
        new = f"{folder}/.{last}.new"
        self._say("putfile", f"{self.folder}/{new}", 0o600, size)
        self._number()
        with file.open("rb") as stream:
            while block := stream.read(BLOCK):
                self._send(block)
        self._arrived(new, name, size)
        file.unlink()

    def remove(self, name: str) -> None:
        self._say("unlink", f"{self.folder}/{name}")
        self._number(MISSING)

    def _arrived(self, new: str, name: str, size: int) -> None:
        if self._number() != size or not self.move(new, name):
            raise OSError(f"{name} has not arrived whole")

    def _say(self, command: str, *words: object) -> None:
        text = " ".join([command, *(_quoted(str(word)) for word in words)])
        line = text.encode("utf-8", "surrogateescape") + b"\n"
        if len(line) > LONGEST_LINE:
            raise OSError(f"too long for Chirp: {text[:200]}")
        if self._socket is None:
            self._connect()
        self._send(line)

    def _connect(self) -> None:
        host, port, cookie = self._config.read_text(encoding="utf-8").split()
        self._left = b""
        self._socket = socket.create_connection((host, int(port)), timeout=ANSWER_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._send(f"cookie {_quoted(cookie)}\n".encode())
        self._number()

    def _send(self, data: bytes) -> None:
        with self._fresh_after_trouble():
            assert self._socket is not None  # noqa: S101 - _say has connected
            self._socket.sendall(data)

    def _number(self, *allowed: int) -> int:
        while b"\n" not in self._left:
            self._more()
        line, _, self._left = self._left.partition(b"\n")
        number = int(line)
        if number == MISSING and MISSING not in allowed:
            raise FileNotFoundError("the folder of the tasks is gone")
        if number < 0 and number not in allowed:
            raise OSError(f"Chirp answers {number}" + (": the disk is full" if number == NO_SPACE else ""))
        return number

    def _take(self, size: int) -> bytes:
        blocks, missing = [], size
        while missing:
            if not self._left:
                self._more()
            block, self._left = self._left[:missing], self._left[missing:]
            blocks.append(block)
            missing -= len(block)
        return b"".join(blocks)

    def _more(self) -> None:
        with self._fresh_after_trouble():
            assert self._socket is not None  # noqa: S101 - something was said before
            data = self._socket.recv(BLOCK)
            if not data:
                raise ConnectionResetError("Chirp has hung up")
        self._left += data

    @contextlib.contextmanager
    def _fresh_after_trouble(self) -> Iterator[None]:
        """Connect anew next time: half an answer may still be under way."""
        try:
            yield
        except OSError:
            if self._socket is not None:
                self._socket.close()
            self._socket = None
            raise


def _quoted(word: str) -> str:
    return "".join(f"\\{c}" if c in "\\ \n\t\r" else c for c in word)


def _config() -> Path:
    return Path(
        os.environ.get("_CONDOR_CHIRP_CONFIG") or Path(os.environ.get("_CONDOR_SCRATCH_DIR", "."), ".chirp.config")
    )


def reach(folder: Path, token: str) -> Channel:
    """Return a channel to the folder: plain files if the one that is seen here is the one that is meant.

    Parameters
    ----------
    folder : Path
        Where it is on the submit machine.
    token : str
        What its ``worker.json`` must say, as a folder of that path may be another one here.
    """
    try:
        options = json.loads((folder / WORKER_FILE).read_bytes())
        seen = options["token"] == token and os.access(folder / "claimed", os.W_OK)
    except (OSError, ValueError, KeyError):
        options, seen = {}, False
    if seen and options.get("channel") != "chirp":
        return Files(folder)
    return Chirp(folder)
