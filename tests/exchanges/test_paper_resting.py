"""Resting orders of the paper exchange: how they meet what the market did meanwhile."""

import asyncio
from datetime import timedelta

import pytest

from backend.database import Database, choose_durability
from backend.domain.errors import ExchangeRejected
from backend.domain.order import OrderState
from backend.exchanges import Context, paper
from backend.exchanges.paper import book
from backend.prices.simulated import SimulatedPrices
from tests.exchanges.scripted import START, D, Desk, totals

pytestmark = pytest.mark.anyio


async def told(exchange, name="trd-1"):
    """Return the order's state and its fills as text with seconds after START."""
    report = await exchange.find(name, "AAPL")
    fills = [
        f"{f.quantity}@{f.price}{f.liquidity[0]}+{(f.executed_at - START).seconds}"
        for f in report.fills
    ]
    return " ".join([str(report.state), *fills])


# The market: 99.99/100.00, then what the table says at 10 s, 20 s, 30 s; looked at 60 s.
DIP = [("98.99", "99.00"), ("99.99", "100.00"), ("98.98", "98.99")]
RISE = [("100.99", "101.00"), ("101.99", "102.00"), ("99.99", "100.00")]


@pytest.mark.parametrize(
    ("changes", "settings", "market", "expected"),
    [
        ({"limit_price": "99.50"}, {}, DIP, "filled 10@99.5m+10"),
        ({"limit_price": "99.00"}, {}, DIP, "filled 10@99m+10"),
        ({"limit_price": "98.99"}, {}, DIP, "filled 10@98.99m+30"),
        ({"limit_price": "98.00"}, {}, DIP, "open"),
        ({"limit_price": "99.50"}, {"liquidity": "4"}, DIP,
         "partially_filled 4@99.5m+10 4@99.5m+30"),
        ({"limit_price": "99.50"}, {"liquidity": "5"}, DIP, "filled 5@99.5m+10 5@99.5m+30"),
        ({"limit_price": "99.50"}, {"slippage_bps": "50"}, DIP, "filled 10@99.5m+10"),
        ({"side": "sell", "limit_price": "101.50"}, {}, RISE, "filled 10@101.5m+20"),
        ({"order_type": "stop", "stop_price": "101", "worst_price": "102"}, {}, RISE,
         "filled 10@101t+10"),
        ({"order_type": "stop", "stop_price": "101", "worst_price": "102"},
         {"slippage_bps": "50"}, RISE, "filled 10@101.51t+10"),
        ({"order_type": "stop_limit", "stop_price": "101", "limit_price": "100.50"}, {}, RISE,
         "filled 10@100.5m+30"),
        ({"order_type": "stop", "side": "sell", "stop_price": "99", "worst_price": "98"}, {}, DIP,
         "filled 10@98.99t+10"),
        ({"order_type": "stop_limit", "side": "sell", "stop_price": "99", "limit_price": "99.50"},
         {}, DIP, "filled 10@99.5m+20"),
        ({"order_type": "stop_limit", "stop_price": "101", "limit_price": "100.50", "tif": "ioc"},
         {}, RISE, "cancelled"),
        ({"order_type": "stop_limit", "stop_price": "101", "limit_price": "103", "tif": "fok"},
         {"liquidity": "9"}, RISE, "cancelled"),
        ({"limit_price": "99.50", "tif": "day", "expires_at": START + timedelta(seconds=10)}, {},
         DIP, "expired"),
        ({"limit_price": "99.50", "tif": "day", "expires_at": START + timedelta(seconds=11)}, {},
         DIP, "filled 10@99.5m+10"),
        ({"limit_price": "99.50", "tif": "day", "expires_at": START + timedelta(seconds=11)},
         {"liquidity": "4"}, DIP, "expired 4@99.5m+10"),
    ],
)  # fmt: skip
async def test_a_resting_order_meets_the_pause_in_the_order_of_time(
    tmp_path, changes, settings, market, expected
):
    desk = Desk(tmp_path, **settings)
    for i, (bid, ask) in enumerate(market, start=1):
        desk.prices.set("AAPL", bid, ask, after_s=10 * i)
    exchange = await desk.open({"AAPL": D(10)})
    await exchange.submit(desk.order(**changes))

    desk.clock.advance(60)

    assert await told(exchange) == expected
    assert await told(exchange) == expected  # Looking again changes nothing.
    await exchange.close()


@pytest.mark.parametrize("due_s", [20, 30], ids=["before", "at the same instant"])
async def test_due_expiries_come_before_later_prices_of_other_orders(tmp_path, due_s):
    desk = Desk(tmp_path)
    desk.prices.set("AAPL", "98.99", "99.00", after_s=30)
    exchange = await desk.open()
    await exchange.submit(desk.order("trd-1", limit_price="99.50"))
    await exchange.submit(
        desk.order("trd-2", limit_price="99.60", tif="day",
                   expires_at=START + timedelta(seconds=due_s))
    )  # fmt: skip
    desk.clock.advance(60)
    await exchange.open_orders()

    stream = exchange.told_since(2)
    events = [(await anext(stream)).report for _ in range(2)]

    assert [(e.client_order_id, e.state) for e in events] == [
        ("trd-2", OrderState.EXPIRED),
        ("trd-1", OrderState.FILLED),
    ]
    await exchange.close()


async def test_without_a_path_matching_goes_on_from_the_present_quote(tmp_path):
    desk = Desk(tmp_path, replayable=False, liquidity="4")
    desk.prices.set("AAPL", "98.99", "99.00", after_s=10)
    desk.prices.set("AAPL", "99.99", "100.00", after_s=20)
    desk.prices.set("AAPL", "98.98", "98.99", after_s=70)
    exchange = await desk.open()
    await exchange.submit(desk.order(limit_price="99.50"))

    desk.clock.advance(60)
    missed = await told(exchange)
    desk.clock.advance(60)
    met = await told(exchange)
    desk.clock.advance(60)
    same_quote = await told(exchange)

    assert missed == "open"
    assert met == same_quote == "partially_filled 4@99.5m+120"
    stream = exchange.told_since(1)
    assert (await anext(stream)).report.reason == "present_quote"
    await exchange.close()


async def test_without_a_path_a_due_day_order_expires_whatever_the_quote_is_now(tmp_path):
    desk = Desk(tmp_path, replayable=False)
    desk.prices.set("AAPL", "98.99", "99.00", after_s=30)
    exchange = await desk.open()
    end = START + timedelta(seconds=20)
    await exchange.submit(desk.order(limit_price="99.50", tif="day", expires_at=end))

    desk.clock.advance(60)

    assert await told(exchange) == "expired"
    await exchange.close()


async def test_funds_of_open_orders_are_counted_and_come_back(tmp_path):
    desk = Desk(tmp_path, maker_fee_bps="10", taker_fee_bps="10")
    exchange = await desk.open()
    await exchange.submit(desk.order("trd-1", quantity="100", limit_price="90"))

    usd = next(b for b in await exchange.balances() if b.currency == "USD")
    await exchange.cancel("trd-1", "AAPL")
    after = next(b for b in await exchange.balances() if b.currency == "USD")

    assert (usd.total, usd.free) == (D(100_000), D(90_991))
    assert (after.total, after.free) == (D(100_000), D(100_000))
    await exchange.close()


async def test_a_rejected_order_does_not_undo_what_the_market_did(tmp_path):
    desk = Desk(tmp_path)
    desk.prices.set("AAPL", "98.99", "99.00", after_s=10)
    exchange = await desk.open()
    await exchange.submit(desk.order("trd-1", limit_price="99.50"))
    desk.clock.advance(60)

    with pytest.raises(ExchangeRejected, match="needs"):
        await exchange.submit(desk.order("trd-2", quantity="99999"))

    assert await told(exchange) == "filled 10@99.5m+10"
    await exchange.close()


async def test_a_stream_wakes_by_this_connections_own_change(tmp_path):
    desk = Desk(tmp_path)
    exchange = await desk.open()
    stream = exchange.told_since(0)
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)

    await exchange.submit(desk.order())

    assert (await waiting).sequence == 1
    await exchange.close()


async def test_a_stream_resumes_after_a_sequence_and_ends_when_closed(tmp_path):
    desk = Desk(tmp_path)
    exchange = await desk.open()
    for i in range(3):
        await exchange.submit(desk.order(f"trd-{i}"))
    seen = []

    async for event in exchange.told_since(1):
        seen.append(event.sequence)
        if event.sequence == 3:
            await exchange.close()

    assert seen == [2, 3]


async def _played(home):
    desk = Desk(home, liquidity="3", taker_fee_bps="2")
    prices = SimulatedPrices(desk.clock, seed=7)
    context = Context(home, desk.clock, prices)
    await paper.open_account(desk.account, context, D(100_000))
    exchange = await paper.connect(desk.account, context)
    for i in range(12):
        quote = await exchange.quote("AAPL")
        assert quote is not None
        limit = quote.bid - D("0.02") * (i % 4)
        await exchange.submit(desk.order(f"trd-{i}", limit_price=limit, worst_price=limit))
        desk.clock.advance(97 * (i + 1))
    orders = await exchange.orders("AAPL", START)
    result = orders, await totals(exchange)
    await exchange.close()
    return result


async def test_the_same_seed_and_moves_of_the_clock_make_the_same_book(tmp_path):
    books = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        books.append(await _played(tmp_path / name))

    assert books[0] == books[1]
    assert any(report.fills for report in books[0][0])


async def test_a_quiet_look_writes_only_once_a_minute(tmp_path):
    desk = Desk(tmp_path)
    exchange = await desk.open()
    await exchange.submit(desk.order(limit_price="90"))
    database = Database(tmp_path / "paper.db", desk.clock, book.MIGRATIONS, choose_durability())
    marks = []
    for _ in range(4):
        desk.clock.advance(25)
        await exchange.find("trd-1", "AAPL")
        marks.append(await database.read(lambda t: book.live(t, "main")[0].working.matched_until))

    assert [(mark - START).seconds for mark in marks] == [0, 0, 75, 75]
    database.close()
    await exchange.close()
