"""Regressions R37-R47: a fill is booked twice, made up, or never."""

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest

from backend.domain.errors import OutcomeUnknown
from backend.exchanges.binance.answers import read
from backend.exchanges.binance.orders import FillRow
from backend.exchanges.bitstamp.orders import Memory, understood
from backend.exchanges.bitstamp.tracking import Tracker
from tests.exchanges.scripted import Desk, totals
from tests.matrix.acts import (
    DROP,
    all_is_told,
    booked,
    lose,
    our_fills,
    rest,
    simulator,
    state,
    tell_again,
    told_fills,
)
from tests.matrix.world import each_exchange, world

pytestmark = pytest.mark.anyio
D = Decimal


@each_exchange
async def test_r37_r38_an_end_told_before_its_fills_makes_none_up(tmp_path, exchange):
    """nautilus_trader PR#3493, #3770: a fill is inferred, then the real one is counted too."""
    async with world(tmp_path / "home", exchange) as w:
        await w.do(quantity="0.02")
        async with w.listening():
            w.side.fills_last()
            w.side.double_events(8)
            w.side.next_submit("lose_answer")
            made = await w.do()
            await w.comes_to(made, "executed", "filled")
            orders = asyncio.gather(w.do(quantity="0.03"), w.do("sell", "0.04"))
            await asyncio.gather(*(w.stack.backend.keeper.tick() for _ in range(3)))
            more = await orders
            await all_is_told(w)

        for one in (made, *more):
            assert our_fills(await booked(w, one)) == told_fills(w.side, one) != set()
        await w.advance(31, 1)
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
async def test_r37_a_fill_that_cannot_be_read_yet_is_waited_for(tmp_path, exchange):
    """nautilus_trader PR#3493: "filled" without its fills is filled up with invented ones."""
    async with world(tmp_path / "home", exchange) as w:
        made = await rest(w)
        w.side.touch(*DROP)
        if exchange == "binance":
            simulator(w.side).script("myTrades", "lose_request", times=2)
        else:
            w.side.look_ups("lost")
        await w.advance(31)
        assert (await w.look(made)).status == "working"
        assert await booked(w, made) == []

        w.side.look_ups(None)
        await w.advance(31, 31, 31)

        assert our_fills(await booked(w, made)) == told_fills(w.side, made) != set()
        await w.agrees()


@pytest.mark.parametrize("how", ["filled", "cancelled"])
async def test_r39_the_paper_exchange_fills_no_order_that_has_ended(tmp_path, how):
    """nautilus_trader#3317: the paper engine fills a closed order again, with a new trade id."""
    desk = Desk(tmp_path)
    for second in range(10, 200, 10):  # Now below the limit, now above.
        low = second % 20 == 10
        desk.prices.set("AAPL", "98.99" if low else "99.99", "99.00" if low else "100.00", second)
    exchange = await desk.open()
    await exchange.submit(desk.order(limit_price="99.50"))
    desk.clock.advance(5 if how == "cancelled" else 15)
    if how == "cancelled":
        await exchange.cancel("trd-1", "AAPL", None)
    ended = await exchange.find("trd-1", "AAPL")
    assert ended is not None
    money = await totals(exchange)

    for _ in range(3):
        desk.clock.advance(40)
        await exchange.close()
        exchange = await desk.connect()
        assert await exchange.find("trd-1", "AAPL") == ended
        assert len(await exchange.fills("AAPL", desk.clock.now.replace(hour=0))) == len(ended.fills)
        assert await totals(exchange) == money
    assert len(ended.fills) == (1 if how == "filled" else 0)
    await exchange.close()


@each_exchange
async def test_r40_two_orders_that_share_one_trade_id_are_both_booked(tmp_path, exchange):
    """nautilus_trader PR#3085, #3450, hummingbot#5633: one trade id of theirs, several fills."""
    async with world(tmp_path / "home", exchange) as w:
        if exchange == "binance":
            simulator(w.side).world.instruments[w.side.code].default_stp = "NONE"
        selling = await w.do("sell", "0.01", limit_price="49995")
        assert selling.status == "working"
        buying = await w.do("buy", "0.01", limit_price="49995")
        await w.advance(31, 1)

        sold, bought = await booked(w, selling), await booked(w, buying)
        assert [f.exchange_fill_id for f in sold] == [f.exchange_fill_id for f in bought] != []
        assert [await state(w, one) for one in (selling, buying)] == ["filled", "filled"]
        await w.agrees()
        assert await w.stopped() is None


BINANCE_FILL = (
    b'{"symbol":"BTCUSDT","id":7,"orderId":1,"price":"1","qty":"1","commission":"0",'
    b'"commissionAsset":"USDT","time":1,"isBuyer":true,"isMaker":false}'
)
BITSTAMP_FILL = {
    "id": D(7),
    "order_id": "1",
    "side": "buy",
    "amount": "1",
    "price": "1",
    "fee": "0",
    "microtimestamp": "1",
}


def test_r41_a_fill_without_an_id_is_given_none_by_us():
    """nautilus_trader (OKX): an empty trade id becomes a random one, another at each delivery."""
    assert read(BINANCE_FILL, FillRow).fill_id == 7
    for broken in (b'"id":"",', b'"id":null,', b""):
        with pytest.raises(OutcomeUnknown):
            read(BINANCE_FILL.replace(b'"id":7,', broken), FillRow)

    tracker = Tracker(Memory())
    created = {
        "id": D(1),
        "microtimestamp": "1",
        "order_type": "0",
        "amount_at_create": "1",
        "amount_str": "1",
        "client_order_id": "trd-1",
    }
    tracker.take_event("BTC/USD", "order_created", created)
    for broken_id in ("", None):
        with pytest.raises(OutcomeUnknown), understood():
            tracker.take_trade("BTC/USD", BITSTAMP_FILL | {"id": broken_id})
    taken = tracker.take_trade("BTC/USD", BITSTAMP_FILL)
    assert taken is not None
    assert list(taken.fills) == ["7"]


@each_exchange
async def test_r41_a_fill_has_the_same_id_whoever_tells_of_it(tmp_path, exchange):
    """nautilus_trader (OKX): ids of our own making differ between reply, stream and look-up."""
    async with world(tmp_path / "home", exchange) as w:
        made = await w.do()
        exchange_of = await w.desk.exchange(await w.account())
        ours = await booked(w, made)
        found = await exchange_of.find(made.trade_id, w.side.symbol)
        listed = await exchange_of.fills(w.side.symbol, ours[0].executed_at.replace(hour=0))

        assert found is not None
        assert {f.exchange_fill_id for f in ours} == {f.exchange_fill_id for f in found.fills}
        assert {f.exchange_fill_id for f in ours} == {f.exchange_fill_id for f in listed}
        assert ours[0].exchange_fill_id != ""
        assert replace(ours[0], liquidity="") == replace(found.fills[0], liquidity="")


@each_exchange
async def test_r42_r43_a_fill_that_is_told_again_much_later_is_booked_once(tmp_path, exchange):
    """ccxt#18854, #18028, hummingbot#1663: the socket tells a fill twice, then the poll."""
    async with world(tmp_path / "home", exchange) as w:
        made = [await w.do(), await w.do("sell", "0.02"), await lose(w, quantity="0.03")]
        await w.advance(31)
        money = w.side.balances()
        async with w.listening():
            tell_again(w.side)
            await w.advance(2400)
            tell_again(w.side)
            await w.advance(31)
        async with w.listening():
            tell_again(w.side)
            tell_again(w.side)
            ours = [our_fills(await booked(w, one)) for one in made]
            assert ours == [told_fills(w.side, one) for one in made]
            assert w.side.balances() == money
            await all_is_told(w)

        assert [our_fills(await booked(w, one)) for one in made] == ours
        await w.advance(31, 1)
        await w.agrees()
        assert await w.stopped() is None


@each_exchange
async def test_r44_a_fill_that_the_exchange_takes_back_stays_and_stops_the_account(
    tmp_path, exchange
):
    """nautilus_trader PR#4692: a fill fails in settlement after it was booked."""
    async with world(tmp_path / "home", exchange) as w:
        made = await w.do()
        await w.advance(31, 1)
        before = await booked(w, made)
        w.side.roll_back(1)

        await w.advance(3601, 1, 1)

        assert "differ" in (await w.stopped() or "")
        assert await booked(w, made) == before != []
        assert (await w.look(made)).status == "executed"
        assert (await w.plan()).refused


@each_exchange
async def test_r45_what_happened_while_the_stream_was_down_is_looked_up(tmp_path, exchange):
    """nautilus_trader PR#4991: a new subscription brings no snapshot, the gap is lost."""
    async with world(tmp_path / "home", exchange) as w:
        filled, gone = await rest(w), await rest(w, limit_price="40000")
        async with w.listening():
            await w.side.break_stream()
        w.side.touch(*DROP)
        w.side.cancel_by_hand(gone.trade_id)

        async with w.listening():  # No time passes: nothing is polled.
            await w.comes_to(filled, "executed", "filled")
            await w.comes_to(gone, "failed", "cancelled")

        await w.advance(31, 1)
        await w.agrees()


@each_exchange
@pytest.mark.parametrize("how", ["silent", "dropped"])
async def test_r46_r47_a_fill_that_the_stream_never_tells_is_polled(tmp_path, exchange, how):
    """Lean TradeStation PR#95, nautilus_trader#3869: frames are lost while heartbeats go on."""
    async with world(tmp_path / "home", exchange) as w:
        filled, gone = await rest(w), await rest(w, limit_price="40000")
        async with w.listening():
            if how == "silent":
                w.side.silence(True)
            else:
                w.side.drop_events(100)
            w.side.touch(*DROP)
            w.side.cancel_by_hand(gone.trade_id)
            await w.advance(1)
            assert (await w.look(filled)).status == "working"

            await w.advance(30)

            assert (await w.look(filled)).status == "executed"
            assert (await w.look(gone))["reason"] == "order_cancelled"
        await w.advance(31, 1)
        await w.agrees()
        assert await w.stopped() is None
