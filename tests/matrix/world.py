"""A whole server with an account at one simulated exchange, on one clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from backend.services import audit
from backend.store import accounts, ledger, orders
from backend.store.accounts import Account
from backend.testing import Stack
from backend.testing.answers import Answer
from backend.testing.clock import FrozenClock
from backend.testing.stack import stack
from tests.exchanges.scripted import START
from tests.matrix.sides import SIDES, ExchangeSide

# Approvals, bands and daily limits are not what is tried here.
LIMITS = {"price_band": "100000"}


@dataclass
class World:
    """One server, one exchange, one account.

    Attributes:
        account_id: `exchange:identifier`; the environment is testnet.
    """

    stack: Stack
    side: ExchangeSide
    account_id: str

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

    async def account(self) -> Account:
        """Return our account's row as it is now."""
        found = await self.desk.database.read(lambda tx: accounts.find(tx, self.account_id))
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
        keeper = self.stack.backend.keeper
        task = asyncio.create_task(keeper.listen(account.number))
        try:
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
async def world(home: Path, exchange: str, **settings: Any) -> AsyncIterator[World]:
    """Start a simulator and a server with an account there, and stop both at the end."""
    clock = FrozenClock(START)
    side = SIDES[exchange](clock)
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
            }
            made = await opened.operator.post("/api/v1/accounts", json=body)
            assert made.status_code == 201, made.text
            await opened.advance(1)
            yield World(opened, side, made.json()["account_id"])
    finally:
        await side.stop()


def D(text: str) -> Decimal:  # noqa: N802
    return Decimal(text)
