"""Paper accounts that mirror the real adapters, against their simulators on loopback."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from backend.testing import FrozenClock, Stack, stack
from tests.services.spoken import add_account, assert_whole, confirm, look, plan
from tests.simulators import bitstamp
from tests.simulators.binance import Simulator

pytestmark = pytest.mark.anyio
D = Decimal
BTC: dict[str, Any] = {"account_id": "paper:btc", "symbol": "BTC/USDT", "quantity": "0.1"}


@asynccontextmanager
async def mirroring(home: Path) -> AsyncIterator[tuple[Stack, Simulator]]:
    """Open the product with a paper account that mirrors the Binance simulator."""
    clock = FrozenClock()
    sim = Simulator(clock)
    await sim.start()
    sim.set_touch("BTCUSDT", "50000", "50000.01")
    addresses = f"binance={sim.rest_url} {sim.ws_api_url} {sim.stream_url}"
    try:
        async with stack(home, clock=clock, simulators=addresses) as opened:
            more = {"currency": "USDT", "settings": {"mirror": "binance:testnet"}}
            added = await add_account(opened, "btc", **more)
            assert added.http == 201, added
            yield opened, sim
    finally:
        await sim.stop()


async def test_binance_is_mirrored_from_its_rules_to_its_fees(tmp_path):
    async with mirroring(tmp_path / "home") as (opened, sim):
        off_step = await plan(opened, **{**BTC, "quantity": "0.0000001"})
        made = await plan(opened, **BTC)
        done = await confirm(opened, made)
        keys = [seen for seen in sim.requests if "signature" in seen.params]
        await assert_whole(opened)

    assert off_step.code == "step_size"
    assert (made["price"], made["quote"]["source"]) == (D("50000.01"), "binance")
    assert (made["fee"], made["fee_currency"]) == (D("0.0001"), "BTC")
    assert (done.status, done["executed_price"]) == ("executed", D("50000.01"))
    assert keys == []


async def test_a_resting_order_meets_the_simulated_book_and_a_band_is_around_its_price(tmp_path):
    async with mirroring(tmp_path / "home") as (opened, sim):
        limit = {"order_type": "limit", "limit_price": "49000"}
        resting = await plan(opened, **BTC, **limit)
        working = await confirm(opened, resting)
        sim.set_touch("BTCUSDT", "48000", "48500")
        await opened.advance(31)
        filled = await look(opened, resting)
        far = await plan(opened, **BTC, order_type="limit", limit_price="1000")

    assert (working.status, filled.status) == ("working", "executed")
    assert filled["executed_price"] == D(49000)
    assert far.code == "exchange_band"


async def test_while_the_exchange_is_away_there_is_no_plan_and_what_is_live_stays_live(tmp_path):
    async with mirroring(tmp_path / "home") as (opened, sim):
        resting = await plan(opened, **BTC, order_type="limit", limit_price="49000")
        await confirm(opened, resting)
        await sim.stop()
        await opened.advance(60)
        still = await look(opened, resting)
        shown = await opened.call("get_market", symbol="BTC/USDT", account_id="paper:btc")
        refused = await plan(opened, **BTC)

    assert still.status == "working"
    assert shown["price"] is None
    assert refused.code in ("stale_quote", "exchange_unavailable")


async def test_bitstamp_is_mirrored_from_its_order_types_to_its_entry_fees(tmp_path):
    clock = FrozenClock()
    sim = bitstamp.Simulator(clock)
    await sim.start()
    sim.set_touch("btcusd", D(49_990), D(50_000))
    addresses = f"bitstamp={sim.rest_url} {sim.ws_url}"
    try:
        async with stack(tmp_path / "home", clock=clock, simulators=addresses) as opened:
            await add_account(opened, "btc", settings={"mirror": "bitstamp:testnet"})
            order = {"account_id": "paper:btc", "symbol": "btcusd", "quantity": "0.01"}
            stop = await plan(opened, **order, order_type="stop", stop_price="51000")
            made = await plan(opened, **order)
            done = await confirm(opened, made)
            await assert_whole(opened)
    finally:
        await sim.stop()

    assert stop.code == "instrument_open"
    assert (made["symbol"], made["quote"]["source"]) == ("BTC/USD", "bitstamp")
    assert (done.status, done["fee"], done["fee_currency"]) == ("executed", D(2), "USD")
