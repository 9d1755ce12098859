"""The private stream: what it tells, once each, and what a reader must look up."""

import asyncio
from collections import Counter
from datetime import timedelta

import msgspec
import pytest

from backend.domain.errors import ExchangeUnavailable, OutcomeUnknown
from backend.domain.order import OrderState
from backend.exchanges import NoCatalogue
from backend.exchanges.binance.codes import Codes
from backend.exchanges.binance.stream import UserStream
from tests.exchanges.binance_bench import desk_at, eventually
from tests.exchanges.scripted import D, FrozenClock

pytestmark = pytest.mark.anyio

FAR = D(45_000)


@pytest.fixture
async def desk(tmp_path):
    async with desk_at(tmp_path) as built:
        yield built


async def begun(desk):
    """Return a stream that has said its first word."""
    stream = desk.exchange.events()
    assert (await anext(stream)).report is None
    return stream


async def news(stream):
    report = (await anext(stream)).report
    assert report is not None
    return report


def subscriptions(desk):
    return [s for s in desk.sim.requests if s.path == "userDataStream.subscribe.signature"]


async def test_f09_a_fill_is_told_with_its_price_fee_and_ids(desk):
    stream = await begun(desk)

    answered = await desk.exchange.submit(desk.order())
    placed, filled = await news(stream), await news(stream)

    assert (placed.state, placed.fills) == (OrderState.OPEN, ())
    assert (filled.state, filled.fills) == (OrderState.FILLED, answered.fills)
    assert filled.exchange_order_id == answered.exchange_order_id
    await stream.aclose()


async def test_r69_a_cancel_is_told_under_the_orders_name_whoever_asked(desk):
    stream = await begun(desk)
    await desk.exchange.submit(desk.order(limit_price=FAR))
    await news(stream)

    desk.sim.world.engine.cancel(desk.account, "BTCUSDT", None, "trd-1")
    cancelled = await news(stream)

    assert (cancelled.client_order_id, cancelled.state) == ("trd-1", OrderState.CANCELLED)
    await stream.aclose()


async def test_f10_r42_what_is_told_twice_is_passed_on_once(desk):
    stream = await begun(desk)
    desk.sim.script_stream("user", "duplicate", times=6)

    await desk.exchange.submit(desk.order())
    await desk.exchange.submit(desk.order("trd-2", limit_price=FAR))
    told = [await news(stream) for _ in range(3)]

    assert [(r.client_order_id, len(r.fills)) for r in told] == [
        ("trd-1", 0),
        ("trd-1", 1),
        ("trd-2", 0),
    ]
    await stream.aclose()


async def test_f41_what_a_person_does_is_told_under_its_own_name(desk):
    stream = await begun(desk)
    other = await desk.connect(desk.account)

    await other.submit(desk.order("web_1"))

    assert (await news(stream)).client_order_id == "web_1"
    await other.close()
    await stream.aclose()


async def test_r45_a_broken_connection_ends_the_stream_and_the_next_begins_with_a_look(desk):
    stream = await begun(desk)

    desk.sim.disconnect_api()
    with pytest.raises(ExchangeUnavailable):
        await anext(stream)

    again = await begun(desk)
    await again.aclose()


async def test_a_server_that_goes_away_is_replaced_without_a_gap(desk):
    stream = await begun(desk)
    waiting = asyncio.ensure_future(anext(stream))

    desk.sim.announce_shutdown()
    await eventually(lambda: len(subscriptions(desk)) == 2)
    await desk.exchange.submit(desk.order())
    told = [(await waiting).report, (await anext(stream)).report]

    assert [r.state for r in told] == [OrderState.OPEN, OrderState.FILLED]
    await stream.aclose()


async def test_before_the_exchange_ends_a_connection_after_a_day_it_is_replaced(desk):
    stream = await begun(desk)
    desk.clock.advance(23 * 3600)

    await desk.exchange.submit(desk.order("trd-1", limit_price=FAR))
    first = await news(stream)
    waiting = asyncio.ensure_future(anext(stream))
    await eventually(lambda: len(subscriptions(desk)) == 2)
    await desk.exchange.submit(desk.order("trd-2", limit_price=FAR))

    assert first.client_order_id == "trd-1"
    assert (await waiting).report.client_order_id == "trd-2"
    await stream.aclose()


async def test_a_refused_key_ends_the_stream(desk):
    desk.sim.revoke(desk.account.key)
    stream = desk.exchange.events()

    with pytest.raises((OutcomeUnknown, ExchangeUnavailable)):
        await anext(stream)


async def test_closing_the_exchange_ends_its_streams(desk):
    stream = await begun(desk)
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)

    await desk.exchange.close()

    with pytest.raises(ExchangeUnavailable):
        await waiting


# --- what a connection may do, by hand ---


class Line:
    """A connection whose events a test sends."""

    def __init__(self, clock, take):
        self.opened_at = clock()
        self.connected = True
        self.take = take

    def tell(self, **event):
        self.take(msgspec.Raw(msgspec.json.encode(event)))

    async def close(self):
        self.connected = False
        self.take(None)


class Lines:
    """Every connection that a stream has opened."""

    def __init__(self):
        self.clock = FrozenClock()
        self.opened = []
        self.stream = UserStream(self._open, Codes(NoCatalogue(), "testnet"), self.clock)

    async def _open(self, take):
        self.opened.append(Line(self.clock, take))
        return self.opened[-1]


def executed(number, **changes):
    return {
        "e": "executionReport",
        "s": "BTCUSDT",
        "c": "trd-1",
        "S": "BUY",
        "q": "1",
        "x": "NEW",
        "X": "NEW",
        "i": 1,
        "z": "0",
        "l": "0",
        "L": "0",
        "T": 1767813269540,
        "I": number,
        **changes,
    }


async def started():
    lines = Lines()
    events = lines.stream.events()
    assert (await anext(events)).report is None
    return lines, events


async def test_a_subscription_that_was_ended_is_begun_again_with_a_look():
    lines, events = await started()

    lines.opened[0].tell(e="eventStreamTerminated", E=1)

    assert (await anext(events)).report is None
    assert len(lines.opened) == 2
    assert not lines.opened[0].connected
    await events.aclose()


async def test_what_two_connections_tell_is_passed_on_once_and_in_order():
    lines, events = await started()

    lines.opened[0].tell(e="serverShutdown", E=1)
    lines.opened[0].tell(**executed(1))
    waiting = asyncio.ensure_future(anext(events))
    first = (await waiting).report
    lines.opened[1].tell(**executed(1))
    lines.opened[1].tell(**executed(2, X="CANCELED", x="CANCELED"))
    second = (await anext(events)).report

    assert [first.state, second.state] == [OrderState.OPEN, OrderState.CANCELLED]
    await events.aclose()


async def test_a_connection_that_broke_before_its_replacement_was_up_means_a_look():
    lines, events = await started()

    lines.opened[0].tell(e="serverShutdown", E=1)
    lines.opened[0].connected = False

    assert (await anext(events)).report is None
    await events.aclose()


async def test_other_news_of_the_account_are_passed_over():
    lines, events = await started()

    for kind in ("outboundAccountPosition", "balanceUpdate", "listStatus", "a_word_of_2027"):
        lines.opened[0].tell(e=kind, E=1, B=[])
    lines.opened[0].tell(**executed(1))

    assert (await anext(events)).report.client_order_id == "trd-1"
    await events.aclose()


@pytest.mark.parametrize(
    "event",
    [
        b'["executionReport"]',
        b'{"e":7,"i":5}',
        b'{"e":null}',
        b'{"E":1}',
        b'{"e":"\xff"}',
        b"[" * 200_000 + b"]" * 200_000,
    ],
)
async def test_an_event_whose_kind_cannot_be_read_means_a_look(event):
    lines, events = await started()

    lines.opened[0].take(msgspec.Raw(event))
    lines.opened[0].tell(**executed(1))

    assert (await anext(events)).report is None
    assert (await anext(events)).report.client_order_id == "trd-1"
    await events.aclose()


async def test_the_same_numbers_of_two_instruments_are_two_executions():
    lines, events = await started()

    for code in ("BTCUSDT", "ETHUSDT", "BTCUSDT"):
        lines.opened[0].tell(**executed(1, s=code))
    lines.opened[0].tell(**executed(2))
    lines.opened[0].tell(**executed(3))
    told = [(await anext(events)).report.symbol for _ in range(3)]

    assert told == ["BTCUSDT", "ETHUSDT", "BTCUSDT"]
    await events.aclose()


@pytest.mark.parametrize("field", ["T", "z", "L"])
async def test_an_event_with_an_odd_number_ends_the_stream(field):
    lines, events = await started()
    filled = executed(1, x="TRADE", X="FILLED", z="1", l="1", L="9", t=5)

    lines.opened[0].tell(**filled | {field: 10**18 if field == "T" else "1e999"})

    with pytest.raises(OutcomeUnknown):
        await anext(events)


@pytest.mark.parametrize(
    ("changes", "state", "fills"),
    [
        ({"x": "TRADE", "X": "FILLED", "z": "1", "l": "1", "L": "9", "t": 5}, "filled", ["5"]),
        ({"x": "TRADE", "X": "PARTIALLY_FILLED", "z": "0.5", "l": "0"}, "partially_filled", []),
        ({"x": "TRADE", "X": "FILLED", "z": "1", "l": "1", "L": "9"}, "filled", []),
        ({"x": "TRADE", "X": "FILLED", "z": "1", "l": "1", "L": "9", "t": -1}, "filled", []),
        ({"x": "TRADE_PREVENTION", "X": "EXPIRED_IN_MATCH"}, "expired", []),
        ({"x": "REPLACED", "c": "new", "C": "trd-1"}, "open", []),
        ({"x": "REJECTED", "X": "REJECTED", "r": "INSUFFICIENT_BALANCES"}, "rejected", []),
        ({"x": "A_WORD_OF_2027", "X": "ANOTHER", "z": "0.5"}, "partially_filled", []),
    ],
)
async def test_each_kind_of_execution_says_what_it_proves(changes, state, fills):
    lines, events = await started()

    lines.opened[0].tell(**executed(1, **changes))
    report = (await anext(events)).report

    assert (report.client_order_id, report.state.value) == ("trd-1", state)
    assert [f.exchange_fill_id for f in report.fills] == fills
    await events.aclose()


async def test_an_event_that_is_not_understood_ends_the_stream():
    lines, events = await started()

    lines.opened[0].tell(e="executionReport", s="BTCUSDT")

    with pytest.raises(OutcomeUnknown):
        await anext(events)


async def test_a_reader_that_falls_behind_must_begin_again():
    lines, events = await started()

    for number in range(10_001):
        lines.opened[0].tell(**executed(number))

    with pytest.raises(ExchangeUnavailable, match="more than could be read"):
        await anext(events)


async def test_many_executions_are_told_once_each():
    lines, events = await started()

    seen = Counter[str]()
    for number in range(500):
        for _ in range(2):
            lines.opened[0].tell(**executed(number, c=f"trd-{number}"))
        seen[(await anext(events)).report.client_order_id] += 1

    assert set(seen.values()) == {1}
    assert len(seen) == 500
    await events.aclose()


async def test_a_connection_of_23_hours_is_replaced_at_the_next_word():
    lines, events = await started()
    lines.clock.advance(timedelta(hours=23).total_seconds())

    lines.opened[0].tell(**executed(1))
    await anext(events)
    waiting = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    lines.opened[1].tell(**executed(2))

    assert (await waiting).report is not None
    assert [line.connected for line in lines.opened] == [False, True]
    await events.aclose()
