"""The spool by chance: every task's result comes once, whoever crashes when."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from executors import of_notebook, tasks_of
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from htcmagic.functions import payload
from htcmagic.functions.remote import channel, core, pull
from htcmagic.functions.results import Outcome
from htcmagic.functions.spool import Options, Spool


@of_notebook
def twice(x: int) -> int:
    import time

    time.sleep(0.002)
    return 2 * x


class Stepping(channel.Files):
    """Does one thing after the other, when it is told to: so its process can be killed between any two."""

    def __init__(self, folder: Path, orders: int, answers: int) -> None:
        super().__init__(folder)
        self._orders = orders
        self._answers = answers
        self._runs = False

    def _step(self) -> None:
        if not self._runs:
            os.write(self._answers, b".")
            self._runs = os.read(self._orders, 1) != b"1"

    def names(self, folder: str) -> list[str]:
        self._step()
        return super().names(folder)

    def move(self, old: str, new: str) -> bool:
        self._step()
        return super().move(old, new)

    def write(self, name: str, blocks: Sequence[bytes]) -> None:
        self._step()
        super().write(name, blocks)

    def remove(self, name: str) -> None:
        self._step()
        super().remove(name)


class Hand:
    """A worker in a process of its own, one step at a time."""

    def __init__(self, folder: Path, number: int) -> None:
        self.scratch = Path(tempfile.mkdtemp())
        self.item = f"w{number}"
        orders, answers = os.pipe(), os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(orders[1])
            os.close(answers[0])
            code = 1
            try:
                one = pull.Worker(
                    Stepping(folder, orders[0], answers[1]), self.item, core.Context(self.scratch), stays=False
                )
                signal.signal(signal.SIGTERM, one.terminate)
                code = one.run()
            except BaseException:  # noqa: BLE001 - shown; the test sees the exit code
                traceback.print_exc(file=sys.__stderr__)
            finally:
                os._exit(code)
        os.close(orders[0])
        os.close(answers[1])
        self._orders, self._answers = orders[1], answers[0]
        self.over = False
        self._rest()

    def _rest(self) -> None:
        self.over = not os.read(self._answers, 1)

    def step(self) -> None:
        if not self.over:
            os.write(self._orders, b"1")
            self._rest()

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self._bury()

    def evict(self) -> None:
        os.kill(self.pid, signal.SIGTERM)
        self.finish()

    def finish(self) -> None:
        """Let it run until there is nothing to do."""
        if not self.over:
            os.write(self._orders, b"r")
        assert self._bury() == 0

    def _bury(self) -> int:
        _, status = os.waitpid(self.pid, 0)
        os.close(self._orders)
        os.close(self._answers)
        shutil.rmtree(self.scratch, ignore_errors=True)
        return os.waitstatus_to_exitcode(status)


class Chance(RuleBasedStateMachine):
    """Claims, crashes, splits, evictions, give-backs and cancellations in any order."""

    @initialize()
    def make(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.spool = Spool(self.folder, retries=1).make(Options(idle_s=0.3, split_s=0.0, drain=True, detach=True))
        self.function = payload.function(twice)
        self.spool.keep(self.function)
        self.put_so_far = 0
        self.hands: list[Hand] = []
        self.started = 0
        self.dead: list[str] = []
        self.got: Counter[int] = Counter()
        self.lost: list[int] = []
        self.cancelled: set[int] = set()

    @rule(size=st.integers(1, 4))
    def put(self, size: int) -> None:
        values = range(self.put_so_far, self.put_so_far + size)
        self.spool.put(tasks_of(self.function, values, self.put_so_far))
        self.put_so_far += size

    @precondition(lambda self: len(self.hands) < 3)
    @rule()
    def start(self) -> None:
        self.hands.append(Hand(self.folder, self.started))
        self.started += 1

    @precondition(lambda self: self.hands)
    @rule(which=st.integers(0, 2), steps=st.integers(1, 6))
    def work(self, which: int, steps: int) -> None:
        for _ in range(steps):
            self.hands[which % len(self.hands)].step()

    @precondition(lambda self: self.hands)
    @rule(which=st.integers(0, 2))
    def kill(self, which: int) -> None:
        hand = self.hands.pop(which % len(self.hands))
        hand.kill()
        self.dead.append(hand.item)

    @precondition(lambda self: self.hands)
    @rule(which=st.integers(0, 2))
    def evict(self, which: int) -> None:
        self.hands.pop(which % len(self.hands)).evict()

    @precondition(lambda self: self.dead)
    @rule(which=st.integers(0, 2))
    def give_back(self, which: int) -> None:
        self._give_back(self.dead[which % len(self.dead)])

    def _give_back(self, item: str) -> None:
        for worker in self.spool.claims():
            if worker.partition(".")[0] == item:
                self.lost += self.spool.give_back(worker).lost

    @precondition(lambda self: self.put_so_far)
    @rule(which=st.integers(0, 100))
    def cancel(self, which: int) -> None:
        self.cancelled |= self.spool.take_back({which % self.put_so_far})

    @rule()
    def poll(self) -> None:
        self._poll()

    def _poll(self) -> None:
        for record in self.spool.poll():
            number = record.header["id"]
            assert Outcome(record, self.folder).value() == 2 * number
            self.got[number] += 1

    def teardown(self) -> None:
        if not hasattr(self, "folder"):
            return
        try:
            self._finish()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _finish(self) -> None:
        for hand in self.hands:
            hand.finish()
        for item in self.dead:
            self._give_back(item)
        deadline = time.monotonic() + 30
        while self.spool.waiting() or self.spool.claims():
            Hand(self.folder, 99).finish()
            assert time.monotonic() < deadline
        self.spool._next_listing = 0.0
        self._poll()
        ended = Counter(self.got.keys()) + Counter(self.lost) + Counter(self.cancelled)
        assert all(number == 1 for number in self.got.values())
        assert ended == Counter(range(self.put_so_far)), (self.got, self.lost, self.cancelled)
        assert self.spool.open == 0


Chance.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestChance = Chance.TestCase
