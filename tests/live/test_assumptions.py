"""The assumptions of `kb/exchanges/<name>.md`, on the exchange's own test environment."""

import asyncio
import json
import os
import stat
import uuid
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from backend.domain.clock import system_clock
from backend.domain.errors import ExchangeRejected
from backend.domain.instrument import Instrument
from backend.domain.money import round_down, round_up
from backend.domain.order import FINAL, Order, OrderTerms, OrderType, Side, TimeInForce
from backend.domain.secret import Secret
from backend.exchanges import AccountKey, Context, Exchange, binance, bitstamp
from backend.prices import open_prices
from tests.exchanges.catalogue import TinyCatalogue

pytestmark = pytest.mark.anyio

MODULES = {"binance": binance, "bitstamp": bitstamp}
FILE = os.environ.get("EXEC_LIVE_KEYS")


def _keys() -> dict[str, Any]:
    if FILE is None:
        return {}
    path = Path(FILE)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise RuntimeError(f"{path} may be read by others: chmod 600 it")
    keys: dict[str, Any] = json.loads(path.read_text())
    if any(entry["environment"] == "live" for entry in keys.values()):
        raise RuntimeError("these checks place orders: never with a live key")
    return keys


KEYS = _keys()


class Live:
    """One account at one exchange's test environment."""

    def __init__(self, exchange: Exchange, rules: Instrument, quantity: Decimal) -> None:
        self.exchange = exchange
        self.rules = rules
        self.quantity = quantity

    async def order(
        self, share: str, force: TimeInForce = TimeInForce.GTC, age_s: float = 0
    ) -> Order:
        """Return a limit buy at `share` of the ask: 0.8 rests, 1.01 fills."""
        quote = await self.exchange.quote(self.rules.symbol)
        assert quote is not None
        turn = round_up if Decimal(share) > 1 else round_down
        price = turn(quote.ask * Decimal(share), self.rules.tick_size)
        terms = OrderTerms(
            self.rules.symbol, Side.BUY, self.quantity, OrderType.LIMIT, price, None, force
        )
        signed = await self.exchange.prepare() - timedelta(seconds=age_s)
        until = signed + self.exchange.capabilities.validity
        return Order(f"trd-{uuid.uuid4().hex[:20]}", terms, price, price, signed, until, None)


@pytest.fixture(params=sorted(KEYS) or ["none"])
async def live(request, tmp_path):
    if request.param not in KEYS:
        pytest.skip("EXEC_LIVE_KEYS names no file of test keys")
    given = KEYS[request.param]
    environment = given["environment"]
    catalogue = TinyCatalogue(
        Context(tmp_path, system_clock, open_prices("simulated", system_clock))
    )
    await catalogue.load(request.param, environment)
    secrets = {name: Secret(text) for name, text in given["credentials"].items()}
    key = AccountKey(
        request.param, given["identifier"], environment, "USD", given.get("settings", {}), secrets
    )
    exchange = await MODULES[request.param].connect(key, catalogue.context)
    rules = (await exchange.metadata()).instruments[given["symbol"]]
    yield Live(exchange, rules, Decimal(given["quantity"]))
    for report in await exchange.open_orders():
        if report.client_order_id.startswith("trd-"):
            await exchange.cancel(report.client_order_id, report.symbol, report.exchange_order_id)
    await exchange.close()
    await catalogue.close()


async def test_the_key_belongs_to_the_account(live):
    identity = await live.exchange.identity()

    assert identity.may_trade
    assert identity.identifier


async def test_a_late_request_is_refused_before_it_is_matched(live):
    """Binance 1, Bitstamp 3."""
    validity = live.exchange.capabilities.validity.total_seconds()
    order = await live.order("0.8", age_s=validity + 1)

    with pytest.raises(ExchangeRejected) as refusal:
        await live.exchange.submit(order)

    assert refusal.value.exchange_code in ("-1021", "API0017")
    assert await live.exchange.find(order.client_order_id, live.rules.symbol) is None


async def test_what_was_taken_is_found_at_once_by_our_id(live):
    """Binance 2, Bitstamp 4 and 6: the longest delay must stay far below the margin."""
    longest = 0.0
    loop = asyncio.get_running_loop()
    for _ in range(20):
        order = await live.order("0.8", TimeInForce.IOC)
        await live.exchange.submit(order)
        start = loop.time()
        while await live.exchange.find(order.client_order_id, live.rules.symbol) is None:
            assert loop.time() - start < 30
        longest = max(longest, loop.time() - start)

    assert longest < live.exchange.capabilities.absence_margin.total_seconds() / 3


async def test_a_cancelled_order_keeps_its_id_and_its_quantities(live):
    """Binance 3, Bitstamp 7."""
    order = await live.order("0.8")
    report = await live.exchange.submit(order)
    await live.exchange.cancel(order.client_order_id, live.rules.symbol, report.exchange_order_id)

    ours = await live.exchange.find(order.client_order_id, live.rules.symbol)
    theirs = await live.exchange.find(
        order.client_order_id, live.rules.symbol, report.exchange_order_id
    )

    assert ours is not None
    assert theirs is not None
    assert ours.state in FINAL
    assert (ours.quantity, ours.filled_quantity) == (order.terms.quantity, 0)
    assert (theirs.exchange_order_id, theirs.state) == (ours.exchange_order_id, ours.state)


async def test_an_unseen_id_is_not_found_and_the_answer_is_authentic(live):
    """Bitstamp 5: an unsigned answer would raise instead."""
    unseen = f"trd-{uuid.uuid4().hex[:20]}"

    assert await live.exchange.find(unseen, live.rules.symbol) is None


async def test_fills_are_told_alike_by_every_road(live):
    """Binance 6 and 7, Bitstamp 8, 11 and 15."""
    since = await live.exchange.now() - timedelta(seconds=5)
    order = await live.order("1.01", TimeInForce.IOC)
    await live.exchange.submit(order)

    found = await live.exchange.find(order.client_order_id, live.rules.symbol)
    listed = [
        fill
        for fill in await live.exchange.fills(live.rules.symbol, since)
        if found is not None and fill.exchange_order_id == found.exchange_order_id
    ]

    assert found is not None
    assert found.filled_quantity == sum(fill.quantity for fill in found.fills)
    assert {(f.exchange_fill_id, f.quantity, f.price, f.fee) for f in found.fills} == {
        (f.exchange_fill_id, f.quantity, f.price, f.fee) for f in listed
    }


async def test_the_history_names_orders_as_we_do(live):
    """Binance 10, Bitstamp 10."""
    since = await live.exchange.now() - timedelta(seconds=5)
    order = await live.order("0.8", TimeInForce.IOC)
    await live.exchange.submit(order)

    history = await live.exchange.orders(live.rules.symbol, since)

    assert order.client_order_id in {report.client_order_id for report in history}


async def test_the_private_stream_tells_an_orders_life(live):
    """Binance 8, Bitstamp 9: within 30 s."""
    events = live.exchange.events()
    assert (await anext(events)).report is None
    order = await live.order("0.8")
    await live.exchange.submit(order)
    await live.exchange.cancel(order.client_order_id, live.rules.symbol)

    async with asyncio.timeout(30):
        async for event in events:
            mine = (
                event.report is not None and event.report.client_order_id == order.client_order_id
            )
            if mine and event.report.state in FINAL:
                break
    await events.aclose()
