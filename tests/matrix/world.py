"""A whole server with an account at one simulated exchange, on one clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from backend.services import audit
from backend.services.claim import Claimed
from backend.store import accounts, ledger, orders, trades
from backend.store.accounts import Account
from backend.testing import Stack
from backend.testing.answers import Answer
from backend.testing.clock import FrozenClock
from backend.testing.stack import stack
from tests.exchanges.scripted import START
from tests.matrix.sides import SIDES, ExchangeSide
from tests.services.spoken import until

# Approvals, bands and daily limits are not what is tried here.
LIMITS = {"price_band": "100000"}

each_exchange = pytest.mark.parametrize("exchange", sorted(SIDES))


@dataclass
class TheirClock:
    """The exchange's clock: ours, unless ours was put off."""

    ours: FrozenClock
    off: timedelta = field(default_factory=timedelta)

    def __call__(self) -> datetime:
        return self.ours() + self.off


class AfterClaim:
    """The product's database, with something that happens between a claim and its sending."""

    def __init__(self, database: Any, then: Callable[[], Awaitable[object]]) -> None:
        self._database = database
        self._then = then

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    async def write(self, body: Callable[[Any], Any]) -> Any:
        result = await self._database.write(body)
        if isinstance(result, Claimed):
            await self._then()
        return result


@dataclass
class World:
    """One server, one exchange, one account.

    Attributes:
        account_id: `exchange:identifier`; the environment is testnet.
    """

    stack: Stack
    side: ExchangeSide
    account_id: str
    their_clock: TheirClock

    @property
    def desk(self) -> Any:
        return self.stack.backend.desk

    async def plan(self, side: str = "buy", quantity: str = "0.01", **more: Any) -> Answer:
        """Plan a trade of the exchange's symbol; `limit_price` makes it a limit order."""
        if "limit_price" in more:
            more.setdefault("order_type", "limit")
        symbol = more.pop("symbol", self.side.symbol)
        return await self.stack.plan(symbol, side, quantity, account_id=self.account_id, **more)

    async def confirm(self, trade: Answer | str) -> Answer:
        return await self.stack.confirm(trade)

    async def do(self, side: str = "buy", quantity: str = "0.01", **more: Any) -> Answer:
        """Plan and confirm."""
        return await self.confirm(await self.plan(side, quantity, **more))

    async def look(self, trade: Answer | str) -> Answer:
        """Return the whole trade."""
        trade_id = trade if isinstance(trade, str) else trade.trade_id
        return await self.stack.call("get_trade", trade_id=trade_id)

    async def advance(self, *seconds: float) -> None:
        """Move the clock by each of these, with one round of background work after each."""
        for step in seconds:
            await self.stack.advance(step)

    async def until_absent(self) -> None:
        """Let pass what proves absence: the validity, the margin and three spaced answers."""
        spacing = self.side.spacing_s
        await self.advance(self.side.absent_after_s, spacing, spacing, spacing)

    def step_clock(self, seconds: float) -> None:
        """Put our clock, not the exchange's, forward or back."""
        self.stack.clock.advance(seconds)
        self.their_clock.off -= timedelta(seconds=seconds)

    # --- interference ---

    @contextmanager
    def after_claim(self, then: Callable[[], Awaitable[object]]) -> Iterator[None]:
        """Meanwhile, do this after each claim's commit and before the first byte leaves."""
        desk, database = self.desk, self.desk.database
        desk.database = AfterClaim(database, then)
        try:
            yield
        finally:
            desk.database = database

    async def crash_at_claim(self, trade: Answer) -> Answer:
        """Confirm; die between the claim's commit and the first byte; start again."""
        reached = asyncio.Event()

        async def hang() -> None:
            reached.set()
            await asyncio.Event().wait()

        with self.after_claim(hang):
            asked = asyncio.create_task(self.confirm(trade))
            await reached.wait()
        await self.stack.crash()
        return await asked

    async def crash_in_flight(self, trade: Answer) -> Answer:
        """Confirm; die when the order has arrived and nothing came back; start again."""
        asked = asyncio.create_task(self.confirm(trade))
        await until(lambda: trade.trade_id in self.side.orders_received())
        await self.stack.crash()
        return await asked

    # --- looking ---

    async def comes_to(
        self, trade: Answer, status: str, state: str | None = None, filled: str | None = None
    ) -> None:
        """Wait, on a clock that stands, until the trade (and its order) is so."""
        for _ in range(20_000):
            found = await self.desk.database.read(
                lambda tx: (trades.get(tx, trade.trade_id), orders.find(tx, trade.trade_id))
            )
            order = found[1]
            same = state is None or order.state == state
            if found[0].status == status and same and filled in (None, str(order.filled_quantity)):
                return
            await asyncio.sleep(0)
        raise AssertionError(f"it never was {status}: {found}")

    async def told_of(self, event: str) -> None:
        """Wait, on a clock that stands, until the audit holds one of these."""
        for _ in range(20_000):
            if await self.events(event):
                return
            await asyncio.sleep(0)
        raise AssertionError(f"there never was {event}")

    async def order(self, trade: Answer) -> orders.OrderRow:
        """Return the order's row."""
        order: orders.OrderRow = await self.desk.database.read(
            lambda tx: orders.get(tx, trade.trade_id)
        )
        return order

    async def events(self, event: str) -> list[dict[str, Any]]:
        """Return what the audit holds of one kind of event, oldest first."""
        told = await audit.events(self.desk, None, None, 1000)
        return [row for row in reversed(told["events"]) if row["event"] == event]

    async def account(self) -> Account:
        """Return our account's row as it is now."""
        found: Account | None = await self.desk.database.read(
            lambda tx: accounts.find(tx, self.account_id)
        )
        assert found is not None
        return found

    async def funds(self) -> dict[str, tuple[str, str]]:
        """Return total and held by currency, by our books."""
        account = await self.account()
        found = await self.desk.database.read(lambda tx: ledger.all_funds(tx, account.number))
        return {f.currency: (format(f.total, "f"), format(f.held, "f")) for f in found}

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Follow the private stream meanwhile, as the keeper does in the background."""
        account = await self.account()
        keeper, polled = self.stack.backend.keeper, self.desk.polled
        polled.pop(account.number, None)
        task = asyncio.create_task(keeper.listen(account.number))
        try:
            # A stream begins with a look at everything.
            await until(lambda: account.number in polled or task.done())
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def agrees(self) -> None:
        """Assert that our books, at rest, are the exchange's: orders, fills, balances."""
        account = await self.account()
        theirs = [o for o in self.side.theirs() if (o.client_order_id or "").startswith("trd-")]
        ids = [o.client_order_id for o in theirs]
        assert len(ids) == len(set(ids)), "two orders of one trade"
        received = self.side.orders_received()
        assert len(received) == len(set(received)), "an order was sent twice"
        for order in theirs:
            assert order.client_order_id is not None
            ours = await self.desk.database.read(
                lambda tx, key=order.client_order_id: orders.get(tx, key)
            )
            assert ours.filled_quantity == order.filled, f"{order} but we booked {ours}"
        held = await self.desk.database.read(lambda tx: ledger.all_funds(tx, account.number))
        assert {f.currency: f.total for f in held if f.total} == self.side.balances()
        report = await audit.invariants(self.desk)
        assert report["whole"], report

    async def stopped(self) -> str | None:
        """Return why the account takes no new risk, or None."""
        return (await self.account()).break_reason


@asynccontextmanager
async def world(
    home: Path, exchange: str, account: Mapping[str, str] | None = None, **settings: Any
) -> AsyncIterator[World]:
    """Start a simulator and a server with an account there, and stop both at the end.

    Args:
        account: settings of the account.
        settings: of the server, as `stack` takes them.
    """
    clock = FrozenClock(START)
    their_clock = TheirClock(clock)
    side = SIDES[exchange](their_clock)
    await side.start()
    try:
        async with stack(home, clock=clock, simulators=side.addresses, **settings) as opened:
            body = {
                "exchange": exchange,
                "identifier": side.identifier,
                "environment": "testnet",
                "currency": side.payment,
                "credentials": side.credentials,
                "limits": LIMITS,
                "settings": dict(account or {}),
            }
            made = await opened.operator.post("/api/v1/accounts", json=body)
            assert made.status_code == 201, made.text
            await opened.advance(1)
            yield World(opened, side, made.json()["account_id"], their_clock)
    finally:
        await side.stop()


def D(text: str) -> Decimal:
    return Decimal(text)
