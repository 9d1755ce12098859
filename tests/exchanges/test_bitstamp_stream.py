"""The private stream against the simulator: what it tells, and what it does about gaps."""

import asyncio
import json
from contextlib import aclosing, suppress

import pytest
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from backend.domain.errors import ExchangeUnavailable
from backend.domain.order import OrderState
from backend.domain.secret import Secret
from backend.exchanges._budget import Purpose
from backend.exchanges.bitstamp.link import Link
from backend.exchanges.bitstamp.orders import Memory
from backend.exchanges.bitstamp.stream import Stream
from tests.exchanges.bitstamp_bench import Desk
from tests.exchanges.scripted import D, FrozenClock
from tests.simulators.bitstamp import faults

pytestmark = pytest.mark.anyio
SYMBOL = "BTC/USD"


@pytest.fixture
async def desk(tmp_path):
    async with Desk(tmp_path) as opened:
        yield opened


@pytest.fixture
async def exchange(desk):
    return await desk.connect()


@pytest.fixture
async def stream(exchange):
    """Listening to BTC/USD; what was missed up to here is said."""
    await exchange.find("trd-0", SYMBOL)
    async with aclosing(exchange.events()) as opened:
        assert (await anext(opened)).report is None
        yield opened


def calls(desk, path):
    return [seen for seen in desk.sim.requests if seen.path == f"/api/v2/{path}/"]


async def until(stream, state, client_order_id="trd-1"):
    """Return every report up to the first that shows this state of the order."""
    seen = []
    async for event in stream:
        seen.append(event.report)
        told = event.report
        if told and (told.client_order_id, told.state) == (client_order_id, state):
            return seen
    raise AssertionError("the stream ended")


async def test_f09_an_order_is_told_with_its_fills_as_they_come(desk, exchange, stream):
    await exchange.submit(desk.order())

    seen = await until(stream, OrderState.FILLED)

    assert seen[0].state is OrderState.OPEN
    assert {report.quantity for report in seen} == {D("0.01")}
    (fill,) = seen[-1].fills
    (found,) = (await exchange.find("trd-1", SYMBOL)).fills
    assert fill == found
    assert calls(desk, "account_order_data") == []


async def test_r49_an_end_that_comes_before_its_trade_tells_what_is_filled(desk, exchange, stream):
    desk.sim.faults.next("submit", faults.trades_last())
    await exchange.submit(desk.order())

    seen = await until(stream, OrderState.FILLED)
    after = (await anext(stream)).report

    assert (seen[-1].filled_quantity, seen[-1].fills) == (D("0.01"), ())
    assert (after.state, len(after.fills)) == (OrderState.FILLED, 1)


async def test_an_order_that_is_created_with_zeros_is_never_told_with_another_quantity(
    desk, exchange, stream
):
    desk.sim.faults.next("submit", faults.created_empty())
    await exchange.submit(desk.order())

    seen = await until(stream, OrderState.FILLED)

    assert {report.quantity for report in seen} == {D("0.01")}


async def test_f10_frames_that_come_twice_change_nothing(desk, exchange, stream):
    desk.sim.stream.double_next("private-my_", 10)
    await exchange.submit(desk.order())

    seen = await until(stream, OrderState.FILLED)

    assert len(seen[-1].fills) == 1
    assert calls(desk, "account_order_data") == []


async def test_r46_a_lost_order_frame_is_replayed_once_the_chain_shows_it(desk, exchange, stream):
    await exchange.submit(desk.order(limit_price="45000"))
    await until(stream, OrderState.OPEN)
    desk.sim.stream.drop_next("private-my_orders", 1)
    await exchange.submit(desk.order("trd-2", limit_price="45000"))

    await exchange.submit(desk.order("trd-3", limit_price="45000"))

    seen = await until(stream, OrderState.OPEN, "trd-3")
    assert [report.client_order_id for report in seen] == ["trd-2", "trd-3"]
    assert len(calls(desk, "account_order_data")) == 1


@pytest.mark.parametrize(
    "fault", [faults.html_502(False), faults.stale()], ids=["no answer", "behind the stream"]
)
async def test_a_gap_that_the_replay_cannot_close_is_told(desk, exchange, stream, fault):
    await exchange.submit(desk.order(limit_price="45000"))
    await until(stream, OrderState.OPEN)
    desk.sim.stream.drop_next("private-my_orders", 1)
    await exchange.submit(desk.order("trd-2", limit_price="45000"))
    desk.sim.faults.next("account_order_data", fault)

    await exchange.submit(desk.order("trd-3", limit_price="45000"))

    assert (await anext(stream)).report is None
    assert (await anext(stream)).report.client_order_id == "trd-3"


async def test_a_chain_over_everybodys_events_is_not_replayed_for_ever(tmp_path):
    async with Desk(tmp_path, own_chain=False) as desk:
        exchange = await desk.connect()
        await exchange.find("trd-0", SYMBOL)
        async with aclosing(exchange.events()) as stream:
            await anext(stream)
            for count in range(8):
                desk.sim.set_touch("btcusd", D(49_990), D(50_000))
                await exchange.submit(desk.order(f"trd-{count}", limit_price="45000"))
                seen = await until(stream, OrderState.OPEN, f"trd-{count}")
                assert None not in seen

        assert len(calls(desk, "account_order_data")) == 3


async def test_r45_a_reconnect_that_is_asked_for_loses_nothing(desk, exchange, stream):
    await exchange.submit(desk.order(limit_price="45000"))
    await until(stream, OrderState.OPEN)
    tokens = len(calls(desk, "websockets_token"))

    desk.sim.stream.request_reconnect()
    desk.sim.stream.is_silent = True  # The old socket tells nothing any more.
    await exchange.submit(desk.order("trd-2"))
    seen = await until(stream, OrderState.FILLED, "trd-2")
    desk.sim.stream.is_silent = False
    await exchange.submit(desk.order("trd-3", limit_price="45000"))
    seen += await until(stream, OrderState.OPEN, "trd-3")

    assert None not in seen
    assert len(calls(desk, "websockets_token")) == tokens + 1
    assert len(desk.sim.stream.connections) == 1


@pytest.mark.parametrize("end", ["disconnect", "abort"])
async def test_a_stream_that_breaks_ends_and_the_next_one_begins_with_a_look(
    desk, exchange, stream, end
):
    if end == "disconnect":
        await desk.sim.stream.disconnect()
    else:
        desk.sim.stream.abort()

    with pytest.raises(ExchangeUnavailable):
        await anext(stream)
    async with aclosing(exchange.events()) as again:
        assert (await anext(again)).report is None


async def test_a_market_that_is_needed_later_is_listened_to_from_its_first_order(desk, exchange):
    async with aclosing(exchange.events()) as stream:
        assert (await anext(stream)).report is None
        await exchange.submit(desk.order())
        first = await until(stream, OrderState.FILLED)
        await exchange.submit(desk.order("trd-2"))
        second = await until(stream, OrderState.FILLED, "trd-2")

    assert None not in first + second
    assert len(calls(desk, "account_order_data")) == 1


async def test_two_markets_are_told_on_one_connection_with_one_token(desk, exchange, stream):
    desk.sim.set_touch("ethusd", D("2999.99"), D("3000.00"))
    await exchange.submit(
        desk.order(symbol="ETH/USD", quantity="0.1", price="3000", worst_price="3000")
    )

    seen = await until(stream, OrderState.FILLED)

    assert {report.symbol for report in seen} == {"ETH/USD"}
    assert len(calls(desk, "websockets_token")) == 1
    assert len(desk.sim.stream.connections) == 1


async def test_a_trade_of_an_order_that_was_placed_before_is_looked_up(desk, exchange):
    await exchange.submit(desk.order(limit_price="49995"))
    other = await desk.connect()
    await other.find("trd-1", SYMBOL)
    async with aclosing(other.events()) as stream:
        await anext(stream)
        desk.sim.stream.drop_next("private-my_orders", 1)

        desk.sim.set_touch("btcusd", D(49_980), D(49_990))

        (report,) = await until(stream, OrderState.FILLED)
    assert len(report.fills) == 1


async def test_a_token_that_is_refused_is_replaced_once(desk, exchange, stream):
    desk.sim.tokens.clear()
    await exchange.submit(
        desk.order(symbol="ETH/USD", quantity="0.1", limit_price="2500"),
    )

    assert (await until(stream, OrderState.OPEN))[-1].symbol == "ETH/USD"
    assert len(calls(desk, "websockets_token")) == 2


async def test_without_room_for_a_token_there_is_no_stream(desk, exchange):
    await exchange.find("trd-0", SYMBOL)
    for _ in range(200):
        desk.market.budget.take(Purpose.CANCEL, requests=1)

    with pytest.raises(ExchangeUnavailable):
        await anext(exchange.events())


async def test_a_token_that_is_refused_again_ends_the_stream(desk, exchange):
    await exchange.find("trd-0", SYMBOL)
    desk.sim.stream._tokens = {}  # It knows none of the tokens that are handed out.

    with pytest.raises(ExchangeUnavailable):
        await anext(exchange.events())


async def test_many_who_need_a_token_ask_for_it_once(desk, exchange):
    tokens = exchange._stream.tokens

    found = await asyncio.gather(*(tokens.fresh() for _ in range(10)))

    assert len({token.text.reveal() for token in found}) == 1
    assert len(calls(desk, "websockets_token")) == 1
    desk.clock.advance(50)
    assert (await tokens.fresh()) is not found[0]


async def test_a_silent_stream_is_asked_for_a_sign_of_life(desk, exchange):
    async def nobody(order_id):
        return None

    stream = Stream(exchange._door, Memory(), nobody, silence_s=0.01)
    with suppress(TimeoutError):
        async with asyncio.timeout(0.2), aclosing(stream.events()) as events:
            async for event in events:
                assert event.report is None

    assert any(seen.path == "bts:heartbeat" for seen in desk.sim.requests)


async def test_closing_the_exchange_ends_its_stream(desk, exchange, stream):
    await exchange.close()

    with pytest.raises(ExchangeUnavailable):
        await anext(stream)


async def test_r53_a_sub_accounts_stream_tells_its_own_orders_and_the_main_ones_do_not(desk):
    part = desk.sim.add_account({"usd": D(100_000)}, parent=desk.account)
    main = await desk.connect()
    sub = await desk.connect(subaccount_id=str(part.trade_account_id))
    for one in (main, sub):
        await one.find("trd-0", SYMBOL)
    async with aclosing(main.events()) as of_main, aclosing(sub.events()) as of_sub:
        await anext(of_main)
        await anext(of_sub)

        await sub.submit(desk.order("trd-sub", limit_price="45000"))
        await main.submit(desk.order("trd-main", limit_price="45000"))

        assert (await anext(of_main)).report.client_order_id == "trd-main"
        assert (await anext(of_sub)).report.client_order_id == "trd-sub"


async def test_a_sub_account_is_identified_by_both_numbers_and_trades_its_own_money(desk):
    part = desk.sim.add_account({"usd": D(500)}, parent=desk.account)
    sub = await desk.connect(subaccount_id=str(part.trade_account_id))

    identity = await sub.identity()

    assert identity.identifier == f"{desk.account.user_id}-{part.trade_account_id}"
    assert [(b.currency, b.total) for b in await sub.balances()] == [("USD", D(500))]


async def test_a_connection_is_replaced_before_the_exchange_would_end_it(desk, exchange, stream):
    desk.clock.advance(81 * 86_400)
    for name in ("trd-1", "trd-2"):
        await exchange.submit(desk.order(name, limit_price="45000"))

    seen = await until(stream, OrderState.OPEN, "trd-2")

    assert [report.client_order_id for report in seen] == ["trd-1", "trd-2"]
    assert len(calls(desk, "websockets_token")) == 2
    assert len(desk.sim.stream.connections) == 1


async def test_a_market_without_a_channel_is_left_to_look_ups(desk, exchange, stream):
    await exchange.find("trd-0", "A.B/USD")
    await exchange.submit(desk.order(limit_price="45000"))

    seen = await until(stream, OrderState.OPEN)

    assert seen[-1].symbol == SYMBOL


async def test_a_market_that_was_refused_once_is_listened_to_later(desk, exchange):
    desk.sim.set_touch("ethusd", D("2999.99"), D("3000.00"))
    desk.sim.stream.refusals = 1
    for symbol in (SYMBOL, "ETH/USD"):
        await exchange.find("trd-0", symbol)
    async with asyncio.timeout(10), aclosing(exchange.events()) as stream:
        assert (await anext(stream)).report is None
        await exchange.submit(desk.order(limit_price="45000"))

        desk.clock.advance(301)
        await exchange.submit(
            desk.order("trd-2", symbol="ETH/USD", quantity="0.1", limit_price="2500")
        )

        seen = await until(stream, OrderState.OPEN)
        await exchange.submit(desk.order("trd-3", limit_price="45000"))
        seen += await until(stream, OrderState.OPEN, "trd-3")
    assert [report.client_order_id for report in seen] == ["trd-2", "trd-1", "trd-3"]


# --- one connection ---


async def test_a_subscription_ends_in_time_whatever_else_is_told_meanwhile():
    async def chatty(socket):
        with suppress(ConnectionClosed):
            while True:
                await socket.send('{"event": "order_changed"}')
                await asyncio.sleep(0)

    async with serve(chatty, "127.0.0.1", 0) as server:
        link = await Link.open(url_of(server), FrozenClock(), ack_s=0.1)
        async with asyncio.timeout(5):
            with pytest.raises(ExchangeUnavailable, match="subscription"):
                await link.subscribe("private-my_orders_btcusd-1", Secret("t"))
        await link.close()


@pytest.mark.parametrize(
    "message",
    [
        '{"event":"x","data":{"amount":1e99999999999999999999}}',
        '{"event":"x","data":' + "[" * 100_000 + "]" * 100_000 + "}",
        b'{"event":"\xff"}',
        "[]",
        '{"event":1}',
        "",
    ],
)
async def test_a_frame_that_cannot_be_read_breaks_the_connection(message):
    async def garble(socket):
        await socket.send(message)
        await socket.wait_closed()

    async with serve(garble, "127.0.0.1", 0) as server:
        link = await Link.open(url_of(server), FrozenClock())
        with pytest.raises(ExchangeUnavailable):
            await link.next(5)
        await link.close()


@pytest.mark.parametrize(
    "data", [None, [], {"id": []}, {"microtimestamp": "9" * 20}, {"amount_str": {}}]
)
async def test_an_event_that_cannot_be_read_is_a_gap(desk, exchange, stream, data):
    channel = f"private-my_orders_btcusd-{desk.account.user_id}"
    desk.sim.stream.send(channel, {"event": "order_changed", "channel": channel, "data": data})

    assert (await anext(stream)).report is None


def url_of(server):
    return f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


def test_the_longest_subscription_fits_the_exchanges_frame_limit():
    channel = "private-my_orders_abcdefghijklmno123456789012345-99999999999"
    data = {"channel": channel, "auth": "x" * 64}

    assert len(json.dumps({"event": "bts:subscribe", "data": data})) < 512
