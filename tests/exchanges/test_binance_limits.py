"""Rate limits, the exchange's clock, and the public side of an environment."""

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from backend.domain.errors import ExchangeUnavailable, OutcomeUnknown, RateLimited
from backend.exchanges import AccountKey, Context, binance
from backend.exchanges._budget import Budget
from backend.exchanges.binance.endpoints import (
    ACCOUNT,
    ENVIRONMENTS,
    OPEN_ORDERS,
    ORDER,
    PLACE,
    Addresses,
    addresses,
    shared_windows,
)
from backend.exchanges.binance.limits import LimitRow, Limits
from backend.exchanges.binance.market import BinanceMarket
from backend.exchanges.binance.rest import Rest
from backend.exchanges.binance.times import ServerClock, from_ms, to_ms
from backend.prices.binance import Hosts
from tests.exchanges.binance_bench import SYMBOL, account_key, desk_at, eventually
from tests.exchanges.scripted import START, D, FrozenClock, ScriptedPrices
from tests.simulators.http import HttpServer, Reply

pytestmark = pytest.mark.anyio

FAR = D(45_000)
LOOPBACK = ("http://127.0.0.1:1", "ws://127.0.0.1:2/ws-api/v3", "ws://127.0.0.1:3")


@pytest.fixture
async def desk(tmp_path):
    async with desk_at(tmp_path) as built:
        yield built


def counted(clock):
    shared = Budget(clock, shared_windows())
    return shared, Limits(clock, shared)


def test_look_ups_stop_at_half_of_the_weight_and_orders_go_on():
    _, limits = counted(FrozenClock())
    for _ in range(3000 // OPEN_ORDERS.weight):
        limits.take(OPEN_ORDERS)

    with pytest.raises(RateLimited):
        limits.take(OPEN_ORDERS)
    limits.take(PLACE)


def test_orders_stop_before_the_exchange_would_refuse_and_begin_with_the_next_window():
    clock = FrozenClock()
    _, limits = counted(clock)
    for _ in range(90):
        limits.take(PLACE)

    with pytest.raises(RateLimited):
        limits.take(PLACE)
    limits.take(ORDER)
    clock.advance(10)
    limits.take(PLACE)


def test_what_headers_and_answers_count_is_taken_over():
    clock = FrozenClock()
    shared, limits = counted(clock)
    limits.learn_headers({"x-mbx-used-weight-1m": "2990", "x-mbx-order-count-10s": "90"})

    with pytest.raises(RateLimited):
        limits.take(ACCOUNT)
    with pytest.raises(RateLimited):
        limits.take(PLACE)
    limits.learn_rows(
        [
            LimitRow("REQUEST_WEIGHT", "MINUTE", 1, 6000, 10),
            LimitRow("ORDERS", "SECOND", 10, 50, 44),
            LimitRow("A_LIMIT_OF_2027", "FORTNIGHT", 1, 1, 1),
        ]
    )
    limits.take(ACCOUNT)
    limits.take(PLACE)
    with pytest.raises(RateLimited):
        limits.take(PLACE)
    assert shared.used("weight") == 30


@pytest.mark.parametrize("text", ["", "soon", "-5", "²", "9" * 5000])
def test_a_count_that_is_not_one_is_passed_over(text):
    shared, limits = counted(FrozenClock())

    limits.learn_headers({"x-mbx-used-weight-1m": text})

    assert shared.used("weight") == 0


HUGE = 10**400


@pytest.mark.parametrize(
    "row",
    [
        LimitRow("REQUEST_WEIGHT", "MINUTE", HUGE, 6000, 10),
        LimitRow("REQUEST_WEIGHT", "MINUTE", 1, HUGE, 10),
        LimitRow("REQUEST_WEIGHT", "MINUTE", 1, 6000, HUGE),
        LimitRow("REQUEST_WEIGHT", "MINUTE", 1, -6000, 10),
        LimitRow("REQUEST_WEIGHT", "FORTNIGHT", 1, 6000, 10),
        LimitRow("REQUEST_WEIGHT", "MINUTE", 0, 6000, 10),
    ],
)
def test_a_limit_with_odd_numbers_is_passed_over(row):
    shared, limits = counted(FrozenClock())

    limits.learn_rows([row])
    limits.take(ACCOUNT)

    assert shared.used("weight") == ACCOUNT.weight


@asynccontextmanager
async def answering(bodies):
    """Serve one body by path."""

    async def answer(request):
        return Reply(200, bodies[request.path])

    server = HttpServer(answer)
    await server.start()
    try:
        yield server.url
    finally:
        await server.stop()


async def test_odd_limits_of_exchange_info_are_passed_over():
    clock = FrozenClock()
    rows = [
        {"rateLimitType": "ORDERS", "interval": "FORTNIGHT", "intervalNum": 1, "limit": 5},
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": HUGE, "limit": 5},
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": HUGE},
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "DAY", "intervalNum": HUGE, "limit": 5},
    ]
    info = json.dumps({"rateLimits": rows}).encode()
    async with answering({"/api/v3/exchangeInfo": info}) as url:
        hosts = Hosts(url, LOOPBACK[2])
        context = Context(Path(), clock, ScriptedPrices(clock))
        market = BinanceMarket("testnet", Addresses(hosts, LOOPBACK[1]), context)

        await market.fetch_metadata()

        assert market.order_limits == {}
        await market.close()


@pytest.mark.parametrize(
    "body",
    [
        b'{"serverTime":1000000000000000000}',
        b'{"serverTime":-1000000000000000000}',
        b'{"serverTime":1e99999999999999999999}',
        b'{"serverTime":%s}' % (b"[" * 200_000 + b"]" * 200_000),
        b'{"serverTime":32503680000000}',
    ],
)
async def test_a_time_that_is_none_is_not_understood(body):
    clock = FrozenClock()
    async with answering({"/api/v3/time": body}) as url:
        rest = Rest(url, clock, counted(clock)[1])

        with pytest.raises(OutcomeUnknown):
            await ServerClock(clock).ready(rest.time)

        await rest.close()


async def test_what_a_simulated_exchange_counts_is_what_we_count(desk):
    await desk.exchange.submit(desk.order())
    await desk.exchange.find("trd-1", SYMBOL)
    await desk.exchange.balances()

    market = desk.catalogue.market("binance", "testnet")
    assert market.budget.used("weight") == desk.sim.world.limits.weight.used


async def test_an_order_and_a_cancel_cost_nothing_when_they_succeed(desk):
    market = desk.catalogue.market("binance", "testnet")
    await desk.exchange.prepare()
    before = market.budget.used("weight")

    await desk.exchange.submit(desk.order(limit_price=FAR))
    await desk.exchange.cancel("trd-1", SYMBOL)

    assert market.budget.used("weight") == before


async def test_prepare_says_when_there_is_no_room_for_an_order(desk):
    for _ in range(90):
        await desk.exchange.prepare()

    with pytest.raises(RateLimited) as caught:
        await desk.exchange.prepare()

    assert caught.value.facts["retry_at"]
    assert desk.sent() == []


@pytest.mark.parametrize("road", ["websocket", "rest"])
async def test_orders_of_other_programs_are_counted_by_the_next_answer(tmp_path, road):
    async with desk_at(tmp_path, orders_over=road) as desk:
        other = await desk.connect(desk.account)
        for number in range(60):
            order = desk.order(f"web_{number}", limit_price=FAR, quantity=D("0.001"))
            await other.submit(order)
        await desk.exchange.prepare()

        await desk.exchange.submit(desk.order("trd-1", limit_price=FAR))

        for _ in range(90 - 61):
            await desk.exchange.prepare()
        with pytest.raises(RateLimited):
            await desk.exchange.prepare()
        await other.close()


async def test_the_limits_that_exchange_info_tells_are_taken_over(desk):
    desk.sim.set_limit("ORDERS", 20, "SECOND")
    desk.sim.set_limit("REQUEST_WEIGHT", 1000)
    await desk.catalogue.load("binance", "testnet")
    exchange = await desk.connect(desk.account)

    for _ in range(18):
        await exchange.prepare()
    with pytest.raises(RateLimited):
        await exchange.prepare()
    budget = desk.catalogue.market("binance", "testnet").budget
    while budget.used("weight") + 20 <= 500:
        await exchange.balances()
    with pytest.raises(RateLimited):
        await exchange.balances()
    await exchange.close()


async def test_two_accounts_share_the_weight_and_not_the_orders(desk):
    other = await desk.connect(desk.sim.add_account({"USDT": D(50_000)}))
    for _ in range(90):
        await desk.exchange.prepare()
    market = desk.catalogue.market("binance", "testnet")
    before = market.budget.used("weight")

    await other.prepare()
    await other.balances()

    assert market.budget.used("weight") == before + 20 + 2
    await other.close()


# --- the clock ---


class Asked:
    """A server that is some seconds away, and off by some."""

    def __init__(self, clock, off_s=0.0, there_s=0.0, back_s=0.0):
        self.clock, self.off_s, self.there_s, self.back_s = clock, off_s, there_s, back_s
        self.count = 0
        self.fails = False

    async def __call__(self):
        self.count += 1
        if self.fails:
            raise ExchangeUnavailable("away")
        self.clock.advance(self.there_s)
        told = self.clock() + timedelta(seconds=self.off_s)
        self.clock.advance(self.back_s)
        return told


@pytest.mark.parametrize("off_s", [-3600.0, -1.5, 0.0, 7.25])
async def test_the_exchanges_clock_is_ours_moved_by_what_was_measured(off_s):
    clock = FrozenClock()
    server = ServerClock(clock)

    await server.ready(Asked(clock, off_s, 0.1, 0.1))

    behind = clock() + timedelta(seconds=off_s) - server.now()
    assert timedelta() < behind < timedelta(milliseconds=20)


@pytest.mark.parametrize(("there_s", "back_s"), [(0.0, 3.0), (3.0, 0.0), (1.5, 1.5), (0.0, 12.0)])
async def test_a_slow_answer_never_makes_us_half_a_second_early(there_s, back_s):
    clock = FrozenClock()
    server = ServerClock(clock)

    await server.ready(Asked(clock, 0.0, there_s, back_s))

    assert server.now() - clock() < timedelta(milliseconds=500)


async def test_the_clock_is_measured_hourly_and_when_it_was_put_back():
    clock = FrozenClock()
    server, asked = ServerClock(clock), Asked(clock)
    for seconds in (0, 1800, 1799, 1, -10):
        clock.advance(seconds)
        await server.ready(asked)

    assert asked.count == 3


async def test_a_failed_measurement_keeps_the_last_one_for_a_while_but_not_a_doubted_one():
    clock = FrozenClock()
    server, asked = ServerClock(clock), Asked(clock, off_s=2.0)
    await server.ready(asked)
    clock.advance(3600)
    asked.fails = True

    await server.ready(asked)
    await server.ready(asked)
    kept = server.now() - clock()
    server.doubt()
    with pytest.raises(ExchangeUnavailable):
        await server.ready(asked)

    assert kept > timedelta(seconds=1.9)
    assert asked.count == 3


async def test_a_clock_that_was_never_measured_is_not_made_up():
    clock = FrozenClock()
    asked = Asked(clock)
    asked.fails = True

    with pytest.raises(ExchangeUnavailable):
        await ServerClock(clock).ready(asked)


class Hanging:
    """A server whose answer comes when the test says so."""

    def __init__(self, clock, server):
        self.clock, self.server = clock, server
        self.count = 0
        self.answered = asyncio.Event()
        self.fails = True

    async def __call__(self):
        self.count += 1
        await self.answered.wait()
        if self.fails:
            raise OutcomeUnknown("no answer")
        return self.clock()


async def waiting(hanging, count):
    """Return callers that all wait for one answer, the later ones while it is out."""
    server = hanging.server
    callers = [asyncio.ensure_future(server.ready(hanging)) for _ in range(count // 2)]
    await eventually(lambda: hanging.count)
    callers += [asyncio.ensure_future(server.ready(hanging)) for _ in range(count - count // 2)]
    await asyncio.sleep(0)
    return callers


@pytest.mark.parametrize("fails", [True, False])
async def test_all_who_wait_for_a_doubted_clock_share_one_question_and_its_failure(fails):
    clock = FrozenClock()
    server = ServerClock(clock)
    await server.ready(Asked(clock))
    server.doubt()
    hanging = Hanging(clock, server)
    hanging.fails = fails
    callers = await waiting(hanging, 6)

    hanging.answered.set()
    ended = await asyncio.gather(*callers, return_exceptions=True)

    assert hanging.count == 1
    assert {type(one) for one in ended} == {OutcomeUnknown if fails else type(None)}


async def test_after_a_shared_failure_the_next_one_asks_again():
    clock = FrozenClock()
    hanging = Hanging(clock, ServerClock(clock))
    callers = await waiting(hanging, 4)
    hanging.answered.set()
    await asyncio.gather(*callers, return_exceptions=True)

    hanging.fails = False
    await hanging.server.ready(hanging)

    assert (hanging.count, hanging.server.is_known) == (2, True)


async def test_when_the_one_who_asks_goes_away_another_one_asks():
    clock = FrozenClock()
    hanging = Hanging(clock, ServerClock(clock))
    hanging.fails = False
    first, *others = await waiting(hanging, 4)

    first.cancel()
    hanging.answered.set()
    await asyncio.gather(*others)

    assert (hanging.count, hanging.server.is_known) == (2, True)
    assert first.cancelled()


def test_milliseconds_are_rounded_down():
    assert to_ms(START + timedelta(microseconds=1999)) == to_ms(START) + 1
    assert from_ms(to_ms(START)) == START


# --- the public side ---


async def test_the_reference_price_is_the_exchanges_own_then_the_average_then_the_last(desk):
    desk.sim.print_trade("BTCUSDT", "50000")
    average = await desk.exchange.reference_price(SYMBOL)
    desk.clock.advance(2)
    desk.sim.set_reference_price("BTCUSDT", "49000")
    own = await desk.exchange.reference_price(SYMBOL)
    desk.sim.set_reference_price("BTCUSDT", None)
    kept = await desk.exchange.reference_price(SYMBOL)
    desk.clock.advance(2)
    null = await desk.exchange.reference_price(SYMBOL)

    assert (average, own, kept, null) == (D(50_000), D(49_000), D(49_000), D(50_000))


async def test_a_band_without_minutes_is_around_the_last_price(desk):
    desk.sim.change_filters("BTCUSDT", PERCENT_PRICE_BY_SIDE={"avgPriceMins": 0})
    await desk.catalogue.load("binance", "testnet")
    desk.sim.print_trade("BTCUSDT", "40000")
    desk.clock.advance(1)
    desk.sim.print_trade("BTCUSDT", "50000")

    assert await desk.exchange.reference_price(SYMBOL) == D(50_000)
    assert "/api/v3/avgPrice" not in [seen.path for seen in desk.sim.requests]


async def test_a_regular_user_pays_what_the_public_side_says(desk):
    assert await desk.exchange.fees(SYMBOL) == desk.catalogue.market("binance", "testnet").fees


@pytest.mark.parametrize("word", ["html_502", "truncated", "limited", "banned", "lose_answer"])
async def test_rules_that_are_not_told_are_not_made_up(desk, word):
    desk.sim.script("exchangeInfo", word)

    with pytest.raises((OutcomeUnknown, ExchangeUnavailable)):
        await desk.catalogue.market("binance", "testnet").fetch_metadata()


# --- addresses and settings ---


def test_a_simulator_stands_for_the_testnet_and_never_for_live():
    assert addresses("testnet", LOOPBACK).socket == LOOPBACK[1]
    assert addresses("live", LOOPBACK) == ENVIRONMENTS["live"]
    assert addresses("demo", LOOPBACK) == ENVIRONMENTS["demo"]
    assert [name for name, one in ENVIRONMENTS.items() if one.withdrawals] == ["live"]


@pytest.mark.parametrize(
    "simulator",
    [
        LOOPBACK[:2],
        ("http://example.com:80", *LOOPBACK[1:]),
        (LOOPBACK[0], "wss://ws-api.binance.com:443/ws-api/v3", LOOPBACK[2]),
        (LOOPBACK[0], LOOPBACK[1], "ws://localhost:1"),
    ],
)
def test_s09_a_simulator_that_is_not_on_loopback_is_refused(simulator):
    with pytest.raises(ValueError, match="simulator"):
        addresses("testnet", simulator)


def test_every_compiled_in_address_is_encrypted():
    for where in ENVIRONMENTS.values():
        assert where.public.rest.startswith("https://")
        assert where.public.streams.startswith("wss://")
        assert where.socket.startswith("wss://")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"settings": {"orders_ovr": "rest"}}, "orders_over"),
        ({"settings": {"orders_over": "fix"}}, "websocket, rest"),
        ({"environment": "paper"}, "live, testnet, demo"),
        ({"credentials": {}}, "api_key"),
    ],
)
async def test_a_malformed_account_is_refused_with_what_is_valid(desk, changes, sentence):
    good = account_key(desk.account)
    fields = {name: getattr(good, name) for name in AccountKey.__slots__} | changes

    with pytest.raises(ValueError, match=sentence):
        await binance.connect(AccountKey(**fields), desk.catalogue.context)
