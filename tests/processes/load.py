"""Clients that trade at random through many doors at once, and remember what they were told."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx

from tests.processes.doors import FINAL, Door, Told

# What a client may be told no for; anything else is a defect.
_EXPECTED = frozenset(
    {
        "trade_not_pending",
        "order_not_open",
        "buying_power",
        "kill_switch",
        "storage",
        "rate_limited",
        "exchange_unavailable",
        "not_found",
        "failed",
        "price_moved",
        "stale_quote",
        "max_pending_trades",
    }
)


@dataclass(frozen=True)
class Market:
    """What is traded on one account, and prices at which orders rest for a while."""

    account_id: str
    symbols: tuple[str, ...]
    quantities: tuple[str, ...]
    low: str
    high: str


@dataclass
class Memory:
    """What all clients of a home know.

    Attributes:
        told: how trades ended, by what clients were told.
        won: how many confirms of a trade were told that they had won.
        lost: calls of which the answer never came, as (what, trade id).
        wrong: answers that should not be.
    """

    told: dict[str, str] = field(default_factory=dict)
    won: Counter[str] = field(default_factory=Counter)
    planned: set[str] = field(default_factory=set)
    lost: list[tuple[str, str]] = field(default_factory=list)
    answers: int = 0
    wrong: list[str] = field(default_factory=list)
    _awaited: int = 0
    _reached: asyncio.Event = field(default_factory=asyncio.Event)

    async def more(self, answers: int) -> None:
        """Return when so many answers more were heard."""
        self._awaited = self.answers + answers
        self._reached.clear()
        if answers:
            await self._reached.wait()

    def hear(self, trade_id: str, told: Told) -> None:
        """Take one answer in, and hold it against the earlier ones."""
        self.answers += 1
        if self.answers >= self._awaited:
            self._reached.set()
        if told.refused and told.code not in _EXPECTED and told.http != 422:
            self.wrong.append(f"{trade_id}: {told.http} {told.body}")
        if told.status in FINAL:
            before = self.told.setdefault(trade_id, told.status)
            if before != told.status:
                self.wrong.append(f"{trade_id} was told {before}, then {told.status}")

    async def called(self, what: str, trade_id: str, call: Awaitable[Told]) -> Told:
        """Await an answer, and remember that it was lost if the server goes away."""
        try:
            return await call
        except httpx.TransportError:
            self.lost.append((what, trade_id))
            raise


@dataclass
class Client:
    """One client: plans, confirms up to three times at once, cancels, and lets orders rest."""

    door: Door
    markets: Sequence[Market]
    memory: Memory
    chance: Random

    async def run(self) -> None:
        """Trade until the server is gone, or this is cancelled."""
        try:
            while True:
                await self._trade()
        except httpx.TransportError:
            return

    async def _trade(self) -> None:
        chance, memory = self.chance, self.memory
        planned = await memory.called("plan", "", self.door.plan(**self._terms()))
        if planned.refused:
            memory.hear("a plan", planned)
            return
        trade_id = str(planned.body["trade_id"])
        memory.planned.add(trade_id)
        if chance.random() < 0.1:
            return  # Left to expire.
        if chance.random() < 0.15:
            await self._cancel(trade_id)
            return
        jobs = [self.confirm(trade_id) for _ in range(chance.randint(1, 3))]
        if chance.random() < 0.2:
            jobs.append(self._cancel(trade_id))
        await asyncio.gather(*jobs)
        if chance.random() < 0.6:
            call = self.door.cancel_order(trade_id)
            memory.hear(trade_id, await memory.called("cancel an order", trade_id, call))

    async def confirm(self, trade_id: str) -> None:
        """Confirm, and remember the answer."""
        memory = self.memory
        told = await memory.called("confirm", trade_id, self.door.confirm(trade_id))
        memory.hear(trade_id, told)
        memory.won[trade_id] += told.won

    async def _cancel(self, trade_id: str) -> None:
        call = self.door.cancel(trade_id)
        self.memory.hear(trade_id, await self.memory.called("cancel", trade_id, call))

    def _terms(self) -> dict[str, Any]:
        chance = self.chance
        market = chance.choice(self.markets)
        terms = {
            "account_id": market.account_id,
            "symbol": chance.choice(market.symbols),
            "side": chance.choice(("buy", "buy", "sell")),
            "quantity": chance.choice(market.quantities),
        }
        if chance.random() < 0.4:
            rests = market.low if terms["side"] == "buy" else market.high
            price = rests if chance.random() < 0.7 else market.high
            terms |= {"order_type": "limit", "limit_price": price}
        return terms


async def reach(memory: Memory, answers: int, tasks: Sequence[asyncio.Task[None]]) -> None:
    """Let clients trade until they heard so many answers more.

    Raises:
        AssertionError: they ended before, or it took a minute.
    """
    reached = asyncio.create_task(memory.more(answers))
    await asyncio.wait({reached, *tasks}, timeout=60, return_when=asyncio.FIRST_COMPLETED)
    for ended in (task for task in tasks if task.done()):
        ended.result()
    assert reached.done(), f"{memory.answers} answers and no more"
    await reached


async def stop(tasks: Sequence[asyncio.Task[None]]) -> None:
    """End clients where they are: what they were waiting for is not known any more."""
    for task in tasks:
        task.cancel()
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(ended, BaseException) and not isinstance(ended, asyncio.CancelledError):
            raise ended
