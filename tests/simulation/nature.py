"""What befalls a simulated world: its market, its exchange, its clock, its servers, its disks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from backend.database import sqlite3
from backend.domain.errors import ExecError
from tests.simulation import homes
from tests.simulation.exchanges import ASK, BID
from tests.simulation.world import World

_PAUSES = (0.01, 0.05, 0.2, 0.5, 1.0, 3.0)
_MOVES = (-1000, -100, -20, 0, 0, 20, 100, 1000)
_SILENT = ("denied", "limited", "html", "lost")
# A simulator that hides an order for longer than the margin would break its own promise.
_HIDES_S = 15.0
_STEPS = (-0.4, 0.6, -3.0, 2.0, -20.0, 20.0, -600.0, 600.0)

Act = Callable[[], Awaitable[None]]


class Nature:
    """Draws what goes wrong in this seed, and lets it go wrong until it is told to stop."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.over = False
        self._folder = folder
        self._copies: list[Path] = []
        self._later: set[asyncio.Task[None]] = set()
        self._acts, self._weights = self._drawn()

    def _drawn(self) -> tuple[list[Act], list[int]]:
        """Draw which kinds of trouble this seed has: some have none, some only a few kinds."""
        always: list[tuple[Act, int]] = [(self._market, 6), (self._stranger, 3)]
        groups: list[list[tuple[Act, int]]] = [
            [(self._submit, 12), (self._late, 3)],
            [(self._look_ups, 4), (self._look_ups_work, 4)],
            [(self._stream, 4), (self._stream_breaks, 2)],
            [(self._cancel_fails, 3), (self._cancel_by_hand, 2)],
            [(self._fees, 1), (self._key, 1)],
            [(self._step, 3)],
            [(self._suspend, 3)],
            [(self._kill, 3), (self._vanish, 1)],
            [(self._stop, 2)],
            [(self._copy, 2), (self._restore, 1)],
        ]
        dice = self.world.dice
        rate = dice.choice((0.0, 0.2, 0.4, 0.6, 0.9))
        for group in groups:
            if dice.random() < rate:
                always += group
        return [act for act, _ in always], [weight for _, weight in always]

    async def rage(self) -> None:
        """Let things happen, one after the other, until the day is over."""
        dice = self.world.dice
        while not self.over:
            await asyncio.sleep(dice.choice(_PAUSES))
            await dice.choices(self._acts, self._weights)[0]()

    async def end(self) -> None:
        """Let what was to happen later be forgotten."""
        for task in list(self._later):
            task.cancel()
        await asyncio.gather(*self._later, return_exceptions=True)

    def _note(self, what: str) -> None:
        self.world.note(f"nature: {what}")

    def _soon(self, seconds: float, then: Callable[[], None]) -> None:
        async def wait() -> None:
            await asyncio.sleep(seconds)
            then()

        task = asyncio.create_task(wait())
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    # --- the market ---

    async def _market(self) -> None:
        dice = self.world.dice
        move, depth = dice.choice(_MOVES), dice.choice(("0.008", "10", "10"))
        self._note(f"touch moves by {move}, depth {depth}")
        for traded in self.world.traded:
            traded.touch(BID + move, ASK + move, depth)

    async def _stranger(self) -> None:
        dice = self.world.dice
        side, quantity = dice.choice(("buy", "sell")), dice.choice(("0.004", "0.03"))
        self._note(f"a stranger: {side} {quantity}")
        self.world.main.stranger(side, quantity)

    # --- the exchange ---

    async def _submit(self) -> None:
        main = self.world.main
        word = self.world.dice.choice(main.faulty)
        self._note(f"the next order: {word}")
        main.next_submit(word)
        if word == "hidden":
            self._soon(_HIDES_S, main.show)

    async def _late(self) -> None:
        self._note("late requests arrive")
        await self.world.main.deliver_late()

    async def _cancel_fails(self) -> None:
        word = self.world.dice.choice(("lose_answer", "lose_request"))
        self._note(f"the next cancel: {word}")
        self.world.main.next_cancel(word)

    async def _cancel_by_hand(self) -> None:
        self._note("a cancel by hand")
        self.world.main.cancel_by_hand(self.world.dice.random())

    async def _look_ups(self) -> None:
        word = self.world.dice.choice(_SILENT)
        self._note(f"look-ups: {word}")
        self.world.main.look_ups(word)

    async def _look_ups_work(self) -> None:
        self._note("look-ups work")
        self.world.main.look_ups(None)

    async def _stream(self) -> None:
        word = self.world.dice.choice(("drop", "double", "silence", "last"))
        self._note(f"stream: {word}")
        self.world.main.stream(word, self.world.dice.randint(1, 4))

    async def _stream_breaks(self) -> None:
        self._note("stream breaks")
        await self.world.main.break_stream()

    async def _fees(self) -> None:
        rate = self.world.dice.choice(("0", "0.0005", "0.001", "0.002"))
        self._note(f"fees are {rate}")
        self.world.main.fees(rate)

    async def _key(self) -> None:
        main, seconds = self.world.main, self.world.dice.choice((0.5, 3.0, 10.0))
        self._note(f"the keys are refused for {seconds} s")
        main.key(good=False)
        self._soon(seconds, lambda: main.key(good=True))

    # --- time and servers ---

    async def _step(self) -> None:
        seconds = self.world.dice.choice(_STEPS)
        self._note(f"the clock steps by {seconds} s")
        self.world.step(seconds)

    async def _suspend(self) -> None:
        server = self.world.dice.choice(self.world.servers)
        seconds = self.world.dice.choice((0.3, 1.5, 4.0, 8.0, 20.0))
        if server.process is not None and server.up:
            self._note(f"{server.name} is suspended for {seconds} s")
            server.process.suspend(seconds)

    async def _kill(self) -> None:
        server = self.world.dice.choice(self.world.servers)
        self._note(f"kill {server.name}")
        server.kill()

    async def _vanish(self) -> None:
        server = self.world.dice.choice(self.world.servers)
        self._note(f"{server.name}'s host goes away")
        server.kill(goodbye=False)

    async def _stop(self) -> None:
        server = self.world.dice.choice(self.world.servers)
        self._note(f"stop {server.name}")
        server.stop()

    # --- copies ---

    async def _copy(self) -> None:
        world = self.world
        target = self._folder / f"copy-{len(self._copies)}.db"
        # A database that is busy or ails is no copy: whoever asked for one is told.
        with suppress(ExecError, RuntimeError, sqlite3.OperationalError):
            await homes.back_up(world.config.database, target, world.sim.clock)
            self._copies.append(target)
            self._note("a copy is made")

    async def _restore(self) -> None:
        if not self._copies:
            return
        copy = self.world.dice.choice(self._copies)
        self._note(f"{copy.name} is restored")
        await self.world.all_down()
        homes.restore(copy, self.world.config.database)
        self.world.oracle.forget_switches()
        await self.world.up_again()
