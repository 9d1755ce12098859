"""Random lives of an account: whatever happens, in any order, the books stay whole."""

import asyncio
import os
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.services import reconcile
from backend.store import accounts
from backend.testing import Stack, stack
from tests.services.spoken import (
    Reply,
    add_account,
    assert_whole,
    cancel,
    cancel_order,
    change,
    confirm,
    plan,
    row,
)

D = Decimal
FAULTS = ("accept", "lose_request", "lose_answer", "reject", "unavailable", "delay", "partial")
ACCOUNT = "paper:life"

side = st.sampled_from(["buy", "sell"])
which = st.integers(0, 30)
terms = st.one_of(
    st.fixed_dictionaries({"order_type": st.just("market")}),
    st.fixed_dictionaries(
        {
            "order_type": st.just("limit"),
            "limit_price": st.integers(95, 105),
            "time_in_force": st.sampled_from(["gtc", "ioc", "fok", "day"]),
        }
    ),
    st.fixed_dictionaries({"order_type": st.just("stop"), "stop_price": st.integers(95, 105)}),
)
steps = st.one_of(
    st.tuples(st.just("plan"), side, st.integers(1, 400), terms),
    st.tuples(st.just("confirm"), which, st.sampled_from(FAULTS)),
    st.tuples(st.just("confirm"), which, st.just("accept")),
    st.tuples(st.just("cancel"), which),
    st.tuples(st.just("cancel order"), which),
    st.tuples(st.just("price"), st.integers(95, 105)),
    st.tuples(st.just("advance"), st.sampled_from([0, 1, 3, 61]), st.booleans()),
    st.tuples(st.just("crash")),
    st.tuples(st.just("no answers"), st.integers(1, 3)),
)
fees = st.sampled_from(
    [
        {},
        {"maker_fee_bps": "7", "taker_fee_bps": "13"},
        {"maker_fee_bps": "13", "taker_fee_bps": "7", "fee_currency": "base"},
        {"taker_fee_bps": "10", "liquidity": "50"},
    ]
)


class Life:
    """One account and the trades that it made, with what must hold after each step."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.made: list[Reply] = []
        self.final: dict[str, str] = {}

    async def step(self, what: str, *given: Any) -> None:
        await getattr(self, what.replace(" ", "_"))(*given)
        await assert_whole(self.stack)
        await self.assert_never_back()

    async def plan(self, side: str, quantity: int, more: dict[str, Any]) -> None:
        # One and a half of everything: coins, so that a base fee has room for decimals.
        terms = {"symbol": "LTC/USD", "side": side, "quantity": quantity, **more}
        made = await plan(self.stack, account_id=ACCOUNT, **terms)
        if not made.refused:
            self.made.append(made)

    def _chosen(self, index: int) -> Reply | None:
        return self.made[-1 - index % len(self.made)] if self.made else None

    async def confirm(self, index: int, fault: str) -> None:
        if (made := self._chosen(index)) is None:
            return
        pending = (await self._status(made)) == "pending"
        if pending:
            arguments = {"delay": (2,), "partial": (D("0.5"),)}.get(fault, ())
            getattr(self.stack.faults, fault)(*arguments)
        told = await confirm(self.stack, made)
        assert told.http in (200, 202, 400, 422, 503)
        self.stack.faults._submits.clear()

    async def cancel(self, index: int) -> None:
        if made := self._chosen(index):
            await cancel(self.stack, made)

    async def cancel_order(self, index: int) -> None:
        if made := self._chosen(index):
            await cancel_order(self.stack, made)

    async def price(self, price: int) -> None:
        self.stack.prices.set("LTC/USD", price, price + 1)

    async def advance(self, seconds: int, tick: bool) -> None:
        await self.stack.advance(seconds, tick=tick)

    async def crash(self) -> None:
        await self.stack.crash()

    async def no_answers(self, times: int) -> None:
        self.stack.faults.fail_lookups(times)

    async def _status(self, made: Reply) -> str:
        found = await row(self.stack, "SELECT status FROM trades WHERE id = ?", made.trade_id)
        return str(found["status"])

    async def assert_never_back(self) -> None:
        for made in self.made:
            status = await self._status(made)
            if made.trade_id in self.final:
                assert status == self.final[made.trade_id]
            if status in ("executed", "failed", "cancelled", "expired"):
                self.final[made.trade_id] = status

    async def rest(self) -> None:
        """Let everything come to its end, and compare with the exchange."""
        self.stack.faults._lookups.clear()
        for _ in range(3):
            await self.stack.advance(61)
        for made in self.made:
            if await self._status(made) == "working":
                await cancel_order(self.stack, made)
        for _ in range(3):
            await self.stack.advance(61)
        assert {await self._status(made) for made in self.made} <= {
            "executed",
            "failed",
            "cancelled",
            "expired",
        }
        await self.assert_agrees_with_the_exchange()
        await assert_whole(self.stack)

    async def assert_agrees_with_the_exchange(self) -> None:
        desk = self.stack.backend.desk
        account = await desk.database.read(lambda tx: accounts.find(tx, ACCOUNT))
        assert account is not None
        assert account.break_reason is None
        exchange = await desk.exchange(account)
        told = {b.currency: b.total for b in await exchange.balances()}
        rows = await desk.database.read(
            lambda tx: tx.rows("SELECT * FROM balances WHERE account = ?", (account.number,))
        )
        ours = {r["currency"]: D(r["total"]) for r in rows if r["total"] != "0"}
        assert ours == told
        assert {r["held"] for r in rows} == {"0"}
        sent = [order.client_order_id for order in self.stack.faults.attempts]
        assert len(sent) == len(set(sent))
        await reconcile.compare_balances(desk, account, exchange)


@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(life=st.lists(steps, min_size=5, max_size=25), charged=fees)
def test_whatever_happens_the_books_stay_whole_and_agree_with_the_exchange(life, charged):
    asyncio.run(live(life, charged))


@pytest.mark.soak
@settings(
    max_examples=int(os.environ.get("EXEC_SOAK_LIVES", "3000")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(life=st.lists(steps, min_size=5, max_size=60), charged=fees)
def test_a_long_campaign_of_lives_keeps_the_books_whole(life, charged):
    asyncio.run(live(life, charged))


async def live(life: list[tuple[Any, ...]], charged: dict[str, str]) -> None:
    """Live one life on a fresh home."""
    with tempfile.TemporaryDirectory() as folder:
        prices = {"LTC/USD": ("100", "101")}
        async with stack(Path(folder) / "home", prices=prices) as opened:
            await add_account(opened, "life", balance="20000", settings=charged)
            await change(opened, "PRAGMA foreign_keys")  # A write: the mark stands.
            one = Life(opened)
            for what, *given in life:
                await one.step(what, *given)
            await one.rest()
