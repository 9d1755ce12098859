"""One seed: a scheduler, a clock, a network, disks and dice, and nothing of it real."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import itertools
import logging
import os
import random
import sys
import warnings
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import fastapi.dependencies.models
import httpcore._async.http11 as kept_alive
import structlog

import backend.database
import backend.journal
from backend.journal import Journal
from tests.simulation.loop import SCHEDULES, Died, SimLoop
from tests.simulation.network import Network
from tests.simulation.process import Process
from tests.simulation.sites import Sites
from tests.simulation.storage import SimOs, SimSqlite, entropy_of

T = TypeVar("T")

# As the kit's clock begins; without the kit, whose MCP client takes a second to import.
START = datetime(2026, 5, 26, 14, 14, 41, tzinfo=UTC)

_seeds = itertools.count()


class SimClock:
    """The time of day: START and virtual time, and what it was stepped by."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop
        self._off = 0.0

    def __call__(self) -> datetime:
        """Return the present moment, aware, in UTC."""
        return START + timedelta(seconds=self._loop.time() + self._off)

    def step(self, seconds: float) -> None:
        """Put the clock on, or back."""
        self._off += seconds


class Trace:
    """What happened, and when."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop
        self._hash = hashlib.sha256()
        self._tail: deque[tuple[float, str]] = deque(maxlen=5000)

    def add(self, what: str) -> None:
        """Write down that something happened now."""
        now = self._loop.time()
        self._hash.update(f"{now!r} {self._loop.steps} {what}\n".encode())
        self._tail.append((now, what))

    def digest(self) -> str:
        """Return what two runs of one seed have in common: every step, and its moment."""
        whole = self._hash.copy()
        whole.update(f"{self._loop.time()!r} {self._loop.steps}".encode())
        return whole.hexdigest()

    def tail(self, count: int) -> list[str]:
        """Return the last lines."""
        return [f"{now * 1000:12.3f} ms  {what}" for now, what in list(self._tail)[-count:]]


class Sim:
    """All that one seed has.

    Attributes:
        dice: the one source of chance.
        clock: the servers' time of day.
        sites: the fault sites, with a swarm drawn by the dice, and not yet `enabled`.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.dice = random.Random(seed)
        self.loop = SimLoop(self.dice, self.dice.choice(SCHEDULES))
        self.clock = SimClock(self.loop)
        self.trace = Trace(self.loop)
        self.sites = Sites(self.dice)
        self.sites.swarm()
        self.network = Network(self.loop, self.dice, self.sites, self.trace, _idle())
        self.loop.network = self.network
        self.loop.before_step = self._outlives
        self.disk = SimOs(self)
        self.processes: list[Process] = []

    def process(self, name: str, *, exposed: bool = True) -> Process:
        """Start a process: see `Process.start` for its work."""
        made = Process(self, name, len(self.processes) + 1, exposed=exposed)
        self.processes.append(made)
        return made

    def journal(self, path: Path) -> Journal:
        """Return the product's journal; its file has faults as every file has."""
        return Journal(path)

    def empty(self) -> None:
        """Let go of everything that could hold the dead."""
        self.loop.dropped.clear()
        self.network.end()
        for process in self.processes:
            process.left.clear()
            process.resources.clear()

    def _outlives(self, process: Process) -> bool:
        site = "step: kill"
        if self.sites.chance(site):
            self.trace.add(site)
            process.kill()
        return process.alive


def simulate(seed: int, main: Callable[[Sim], Coroutine[Any, Any, T]]) -> T:
    """Run `main` in a world of its own, and leave nothing behind.

    Raises:
        Endless: it takes too long, or waits for what cannot come.
    """
    sim = Sim(seed)
    with _in_place(sim):
        try:
            return sim.loop.run_until_complete(main(sim))
        except BaseException as error:
            error.add_note(f"seed {seed}, the last of its trace:")
            for line in sim.trace.tail(30):
                error.add_note(line)
            raise
        finally:
            _bury(sim)


@contextmanager
def _in_place(sim: Sim) -> Iterator[None]:
    """Put what the operating system gives in its place, for one seed."""
    entropy = entropy_of(sim.seed)
    chance = random.getstate()
    random.seed(sim.seed)
    with ExitStack() as undo:
        undo.callback(random.setstate, chance)
        undo.callback(gc.enable)
        # When garbage is found must not depend on what ran before, nor cost for its size.
        gc.disable()
        if next(_seeds) % 100 in (0, 5):  # At first, when much was made once, and now and then.
            gc.collect()
            gc.freeze()
        for module, name, stand_in in (
            (backend.database, "sqlite3", SimSqlite(sim)),
            (backend.journal, "os", sim.disk),
            (kept_alive, "time", _Time(sim.loop)),
            (random, "_urandom", entropy),
            (os, "urandom", entropy),
        ):
            undo.callback(_put, module, name, vars(module)[name])
            _put(module, name, stand_in)
        yield


def _put(module: ModuleType, name: str, value: Any) -> None:
    vars(module)[name] = value


class _Time:
    """Stands in for the module `time` where connections are kept alive by it."""

    def __init__(self, loop: SimLoop) -> None:
        self.monotonic = loop.time


def _bury(sim: Sim) -> None:
    """End what is left, and let go of the dead: now their `finally` may run, on nothing."""
    loop = sim.loop
    for process in sim.processes:
        process.kill()
    left = sorted(asyncio.all_tasks(loop), key=hash)
    tasks: list[Any] = [task for process in sim.processes for task in process.left] + left
    loop.close()
    with _silence():
        for task in tasks:
            task._log_destroy_pending = False
            _close(task.get_coro())
        tasks.clear()
        left.clear()
        sim.empty()
        for forget in _remembered():
            forget()
        gc.collect()
    sim.disk.close_all()


@contextmanager
def _silence() -> Iterator[None]:
    """Let nobody hear what the dead say in their last `except` and `finally`."""
    hook, told = sys.unraisablehook, structlog.get_config()["processors"]
    sys.unraisablehook = _unheard
    structlog.configure(processors=[_dropped])
    logging.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.unraisablehook = hook
        structlog.configure(processors=told)
        logging.disable(logging.NOTSET)


def _close(coroutine: Any) -> None:
    for _ in range(100):  # A `finally` that awaits is closed again.
        try:
            coroutine.close()
        except RuntimeError as error:
            if "ignored GeneratorExit" in str(error):
                continue
        except (Exception, Died):  # noqa: BLE001 - whatever the dead say is not heard
            return
        return


@cache
def _remembered() -> list[Callable[[], None]]:
    """Return how to empty what FastAPI remembers of the endpoints of every server ever made."""
    found = vars(fastapi.dependencies.models).values()
    return [each.cache_clear for each in found if hasattr(each, "cache_clear")]


def _unheard(_: Any) -> None:
    pass


def _dropped(*_: Any) -> Any:
    raise structlog.DropEvent


@cache
def _idle() -> int:
    """Return the reading end of a pipe into which nobody writes."""
    return os.pipe()[0]
