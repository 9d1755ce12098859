"""What is traded, and the exchange's own word on it: paper, or a simulated exchange."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from backend.services.claim import Claimed
from backend.store import accounts, ledger
from backend.store.accounts import Account
from backend.testing import FrozenClock, Stack, stack
from backend.testing.prices import ChosenPrices
from tests.matrix.world import World, world
from tests.processes.started import at_the_exchange

NAMES = ("paper", "binance", "bitstamp")


class Ground(ABC):
    """One server with one account, and what its exchange truly holds.

    Attributes:
        limits: a price below the market at which a buy rests, and one at which it fills.
    """

    stack: Stack
    account_id: str
    symbol: str
    quantities: tuple[str, ...]
    rests_at: str
    faults: tuple[str, ...]

    @abstractmethod
    def goes_wrong(self, word: str) -> None:
        """Let the next order go wrong."""

    @abstractmethod
    def crash_market(self, on: bool) -> None:
        """Let the market fall below what rests, so that it fills; or bring it back."""

    @abstractmethod
    def received(self) -> list[str]:
        """Return the ids of the orders of which a byte reached the exchange, each time."""

    @abstractmethod
    def theirs(self) -> dict[str, Decimal]:
        """Return what is filled of each order, by the exchange's own books."""

    @abstractmethod
    async def totals(self) -> dict[str, Decimal]:
        """Return the exchange's balances."""

    @abstractmethod
    async def until_settled(self) -> None:
        """Let pass what finds every order or proves it absent."""

    async def advance(self, *seconds: float) -> None:
        for step in seconds:
            await self.stack.advance(step)

    async def catch_up(self) -> None:
        """Bring the clock up to the real one: other processes write by that."""
        behind = (datetime.now(UTC) - self.stack.clock()).total_seconds()
        await self.advance(max(behind, 0) + 0.001)

    async def account(self) -> Account:
        read = self.stack.backend.desk.database.read
        found = await read(lambda tx: accounts.find(tx, self.account_id))
        assert found is not None
        return found

    async def booked(self) -> dict[str, Decimal]:
        """Return what our books hold of each currency."""
        number = (await self.account()).number
        found = await self.stack.backend.desk.database.read(lambda tx: ledger.all_funds(tx, number))
        return {one.currency: one.total for one in found if one.total}


class OnPaper(Ground):
    account_id, symbol, quantities, rests_at = "paper:main", "AAPL", ("1", "2", "3"), "200"
    faults = ("lose_answer", "lose_request")

    def __init__(self, opened: Stack) -> None:
        self.stack = opened

    def goes_wrong(self, word: str) -> None:
        getattr(self.stack.faults, word)()

    def crash_market(self, on: bool) -> None:
        prices = self.stack.prices
        assert isinstance(prices, ChosenPrices)
        prices.set("AAPL", *(("199.00", "199.02") if on else ("215.38", "215.40")))

    def received(self) -> list[str]:
        return [order.client_order_id for order in self.stack.faults.sent]

    def theirs(self) -> dict[str, Decimal]:
        return {order: filled for order, _, filled in at_the_exchange(self.stack.home)}

    async def totals(self) -> dict[str, Decimal]:
        exchange = await self.stack.backend.desk.exchange(await self.account())
        return {one.currency: one.total for one in await exchange.balances()}

    async def until_settled(self) -> None:
        await self.advance(6, 3, 3, 1)


class OnExchange(Ground):
    quantities, rests_at = ("0.01", "0.02", "0.05"), "49000"
    faults = ("lose_answer", "lose_request", "error", "html", "truncated")

    def __init__(self, w: World) -> None:
        self._w, self.stack, self.account_id = w, w.stack, w.account_id
        self.symbol = w.side.symbol

    def goes_wrong(self, word: str) -> None:
        self._w.side.next_submit(word)

    def crash_market(self, on: bool) -> None:
        self._w.side.touch(*(("48980", "48990") if on else ("49990", "50000")))

    def received(self) -> list[str]:
        return self._w.side.orders_received()

    def theirs(self) -> dict[str, Decimal]:
        return {o.client_order_id or "": o.filled for o in self._w.side.theirs()}

    async def totals(self) -> dict[str, Decimal]:
        return self._w.side.balances()

    async def until_settled(self) -> None:
        self.crash_market(False)
        await self._w.advance(6)
        await self._w.until_absent()
        await self._w.advance(31, 1, 1)
        self.crash_market(False)


@asynccontextmanager
async def ground(home: Path, name: str, **settings: Any) -> AsyncIterator[Ground]:
    """Open a home that trades there, on a clock that stands where the real one is."""
    if name == "paper":
        clock = FrozenClock(datetime.now(UTC))
        async with stack(home, clock=clock, **settings) as opened:
            yield OnPaper(opened)
        return
    async with world(home, name, **settings) as w:
        made = OnExchange(w)
        made.crash_market(False)
        await made.catch_up()
        yield made


class AtStep:
    """The product's database, with something that happens once at a step of a confirm.

    Args:
        step: `claimed` is after the claim's commit, before the first byte; `answered` is when
            the exchange has taken the order and its answer is not yet written.
    """

    def __init__(self, database: Any, step: str, then: Callable[[], Awaitable[object]]) -> None:
        self._database = database
        self._step = step
        self._then = then
        self._claimed = self._done = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    async def write(self, body: Callable[[Any], Any]) -> Any:
        if self._claimed and self._step == "answered":
            await self._once()
        result = await self._database.write(body)
        if isinstance(result, Claimed):
            self._claimed = True
            if self._step == "claimed":
                await self._once()
        return result

    async def _once(self) -> None:
        if not self._done:
            self._done = True
            await asyncio.shield(asyncio.ensure_future(self._then()))
