"""The end of what a running job has written: from its file where that grows here, else through HTCondor."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from htcmagic.errors import HTCMagicError, InstallError, NoSuchJob
from htcmagic.jobs.model import JobId
from htcmagic.pool import command
from htcmagic.pool.client import ANSWER_S, Client, environment

WANTED = ("JobStatus", "Out", "Err", "Iwd", "ShouldTransferFiles", "StreamOut", "StreamErr", "JobCurrentStartDate")
RUNNING = frozenset({2, 6, 7})
BYTES_A_LINE = 200
"""What HTCondor's program is asked for; it counts bytes, not lines."""
MOST_BYTES = 1_000_000
LOOK_S = 0.3
ASK_S = 2.0
"""How often the schedd is asked whether a job that writes here still runs."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One output of a job, as of now.

    Attributes
    ----------
    path : Path
        Its file here, be it there or not.
    here : bool
        Whether the job writes right into it.
    status : int
        ``JobStatus``.
    """

    client: Client
    job: JobId
    error: bool
    path: Path
    here: bool
    status: int

    def last(self, lines: int) -> str:
        """Return the last lines written so far.

        Raises
        ------
        NoSuchJob
            It has just ended.
        HTCMagicError
            What it wrote cannot be seen.
        """
        if self.here:
            return _end_of(self.path, lines)[0]
        most = min(max(lines * BYTES_A_LINE, 1024), MOST_BYTES)
        printed = command.run(self.client.pool, "condor_tail", self._words("-maxbytes", str(most)), within_s=ANSWER_S)
        if printed.status and not self.client.query(f"{_only(self.job)} && JobStatus != 4", ["ProcId"]).rows:
            raise _gone(self.job)  # it has ended meanwhile
        if printed.status:
            raise HTCMagicError(
                f"condor_tail: {' '.join(printed.words.split()) or 'it ended without a word'}",
                hint=f"Is the job still running? %condor_q {self.job}",
            )
        return "".join(printed.output.decode("utf-8", "replace").splitlines(keepends=True)[-lines:] if lines else [])

    def outside(self) -> bool:
        """Whether HTCondor says that this is no file of its own but one that lies elsewhere."""
        try:
            printed = command.run(self.client.pool, "condor_tail", self._words("-maxbytes", "1"), within_s=ANSWER_S)
        except InstallError:
            return True
        except HTCMagicError:
            return False
        return "outside sandbox" in printed.words

    def follow(self, lines: int) -> Iterator[str]:
        """Yield the last lines, then what is written, until the job has ended."""
        if self.here:
            yield from self._grows(lines)
        else:
            seen = ""
            for piece in self._streamed():
                seen = (seen + piece)[-MOST_BYTES:]
                yield piece
            self._wait_for_the_end()
            yield self._rest(seen, lines)

    def _wait_for_the_end(self) -> None:
        """HTCondor's program ends when the job does; its files come after that."""
        deadline = time.monotonic() + ANSWER_S
        while (
            time.monotonic() < deadline and self.client.query(f"{_only(self.job)} && JobStatus != 4", ["ProcId"]).rows
        ):
            time.sleep(LOOK_S)

    def _rest(self, seen: str, lines: int) -> str:
        """Return what the job has written since it was last seen, from the file that has come here."""
        whole, _ = _end_of(self.path, MOST_BYTES)
        at = whole.rfind(seen[-1000:]) if seen else -1
        return _end_of(self.path, lines)[0] if at < 0 else whole[at + len(seen[-1000:]) :]

    @property
    def waits(self) -> bool:
        """Whether nothing is to be had before the job starts."""
        return not self.here and self.status not in RUNNING

    @property
    def state(self) -> str:
        """What the job does, in words."""
        return {1: "idle", 5: "held"}.get(self.status, "running" if self.status in RUNNING else "about to leave")

    def _words(self, *options: str) -> list[str]:
        streams = ["-no-stdout", "-stderr"] if self.error else []
        return [*command.where(self.client.pool), *streams, *options, str(self.job)]

    def _grows(self, lines: int) -> Iterator[str]:
        text, offset = _end_of(self.path, lines)
        yield text
        ask_at, running = 0.0, True
        while True:
            if running and time.monotonic() >= ask_at:
                running = bool(self.client.query(_only(self.job), ["ProcId"]).rows)
                ask_at = time.monotonic() + ASK_S
            new, offset = _beyond(self.path, offset)
            yield new
            if not running and not new:
                return
            time.sleep(LOOK_S if running else 0)

    def _streamed(self) -> Iterator[str]:
        program = command.path("condor_tail")
        if program is None:
            raise InstallError("condor_tail is not on this machine.", hint=command.GET_THEM)
        process = subprocess.Popen(
            [str(program), *self._words("-follow")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(self.client.pool),
            start_new_session=True,
        )
        assert process.stdout is not None  # noqa: S101
        stream = process.stdout.fileno()
        try:
            while True:
                if select.select([stream], [], [], LOOK_S)[0]:
                    piece = os.read(stream, 1 << 16)
                    if not piece:
                        return
                    yield piece.decode("utf-8", "replace")
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def stream(client: Client, job: JobId, *, error: bool = False) -> Stream:
    """Find out where a job's output, or its standard error, is.

    Raises
    ------
    HTCMagicError
        The job is not in the queue, or has no such output.
    """
    rows = client.query(_only(job), WANTED).rows
    if not rows:
        raise _gone(job)
    status, out, err, folder, transfer, stream_out, stream_err, started = rows[0]
    name = str((err if error else out) or "")
    if name in {"", "/dev/null"}:
        raise HTCMagicError(
            f"Job {job} keeps no {'standard error' if error else 'standard output'}.",
            hint=f"In the description: {'error' if error else 'output'} = FILE",
        )
    path = Path(str(folder or "/")) / name
    here = transfer == "NO" or bool(stream_err if error else stream_out) or _fresh(path, transfer, started)
    found = Stream(client, job, error, path, here, status if isinstance(status, int) else 0)
    if not here and transfer == "IF_NEEDED" and path.is_file() and status in RUNNING and found.outside():
        return replace(found, here=True)
    return found


def _fresh(path: Path, transfer: object, started: object) -> bool:
    """Whether a job that transfers files only if need be has written into its file here since it started."""
    if transfer != "IF_NEEDED":
        return False
    with contextlib.suppress(OSError):
        info = path.stat()
        return info.st_size > 0 and isinstance(started, int) and info.st_mtime >= started
    return False


def _gone(job: JobId) -> NoSuchJob:
    return NoSuchJob(
        f"Job {job} is not in the queue.", hint=f"If it has ended: %condor_history {job}; its output is in its file"
    )


def _only(job: JobId) -> str:
    return f"ClusterId == {job.cluster} && ProcId == {job.proc}"


def _end_of(path: Path, lines: int) -> tuple[str, int]:
    """Return a file's last lines, and its size."""
    try:
        if not path.is_file() and path.exists():
            raise HTCMagicError(f"{path} is no file.")
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - MOST_BYTES))
            body = file.read(MOST_BYTES)
    except FileNotFoundError:
        return "", 0
    except OSError as error:
        raise HTCMagicError(f"{path} cannot be read: {error.strerror}.") from None
    kept = body.splitlines(keepends=True)[-lines:] if lines else []
    return b"".join(kept).decode("utf-8", "replace"), size


def _beyond(path: Path, offset: int) -> tuple[str, int]:
    """Return what a file holds from a place on, and the place where it ends."""
    try:
        with path.open("rb") as file:
            if file.seek(0, os.SEEK_END) < offset:
                offset = 0  # the job began anew
            file.seek(offset)
            body = file.read(MOST_BYTES)
    except OSError:
        return "", offset
    return body.decode("utf-8", "replace"), offset + len(body)
