"""Orders and cancels against the simulator, on both roads: one request, and what it proves."""

import asyncio
from datetime import timedelta

import pytest

from backend.domain.errors import (
    ExchangeRejected,
    ExchangeUnavailable,
    OutcomeUnknown,
    RateLimited,
)
from backend.domain.order import OrderState
from backend.exchanges.binance.rejections import REFUSED, REJECTIONS
from tests.exchanges.binance_bench import NO_FUNDS, SYMBOL, desk_at, eventually, is_order
from tests.exchanges.scripted import D

pytestmark = pytest.mark.anyio

FAR = D(45_000)
REJECTED, UNKNOWN = ExchangeRejected, OutcomeUnknown

# word, its details, what submit ends in, whether the order is there afterwards
OUTCOMES = [
    ("reject", {"msg": NO_FUNDS}, REJECTED, False),
    ("reject", {"code": -1013, "msg": "Filter failure: PRICE_FILTER"}, REJECTED, False),
    ("reject", {"code": -1021, "msg": "Timestamp for this request is outside"}, REJECTED, False),
    ("reject", {"msg": "Duplicate order sent."}, UNKNOWN, False),
    ("reject", {"msg": "Something new."}, UNKNOWN, False),
    ("reject", {"code": -4242, "msg": "Something new."}, UNKNOWN, False),
    ("denied", {}, REJECTED, False),
    ("limited", {}, REJECTED, False),
    ("banned", {}, REJECTED, False),
    ("lose_answer", {}, UNKNOWN, True),
    ("lose_request", {}, UNKNOWN, False),
    ("truncated", {}, UNKNOWN, True),
    ("html_502", {}, UNKNOWN, False),
    ("html_502", {"committed": True}, UNKNOWN, True),
    ("html_403", {}, UNKNOWN, False),
    ("late", {}, UNKNOWN, False),
    *(
        ("error", {"code": code, "status": status, "committed": there}, UNKNOWN, there)
        for code, status, there in (
            (-1000, 500, False),
            (-1001, 500, True),
            (-1006, 400, True),
            (-1007, 504, True),
            (-1007, 504, False),
            (-1008, 503, False),
        )
    ),
]


@pytest.fixture(params=["websocket", "rest"])
async def desk(request, tmp_path):
    async with desk_at(tmp_path, orders_over=request.param) as built:
        await built.exchange.prepare()
        built.road = "WS" if request.param == "websocket" else "POST"
        yield built


def by_us(desk, client_order_id="trd-1"):
    return [order for order in desk.sim.orders if order.client_id == client_order_id]


async def test_an_order_goes_over_the_road_that_is_set(desk):
    report = await desk.exchange.submit(desk.order())

    assert report.state is OrderState.FILLED
    assert [seen.method for seen in desk.sim.requests if is_order(seen)] == [desk.road]


@pytest.mark.parametrize(("word", "details", "ends_in", "is_there"), OUTCOMES)
async def test_r01_r03_r04_f05_one_request_ends_in_what_its_answer_proves(
    desk, word, details, ends_in, is_there
):
    desk.sim.script("order", word, **details)

    with pytest.raises(ends_in) as caught:
        await desk.exchange.submit(desk.order())

    assert desk.sent() == ["trd-1"]
    assert bool(by_us(desk)) == is_there
    told = f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__dict__!r}"
    assert desk.account.key not in told
    assert desk.account.secret not in told
    if ends_in is REJECTED:
        code = int(caught.value.exchange_code)
        assert code in REJECTIONS or code in REFUSED


async def test_f06_f07_what_arrives_late_is_taken_only_inside_its_validity(desk):
    desk.sim.script("order", "late")
    with pytest.raises(OutcomeUnknown):
        await desk.exchange.submit(desk.order())
    assert await desk.exchange.find("trd-1", SYMBOL) is None

    desk.clock.advance(1)
    await desk.sim.deliver_late()

    found = await desk.exchange.find("trd-1", SYMBOL)
    assert found is not None
    assert found.state is OrderState.FILLED


async def test_f07_what_arrives_after_its_validity_never_enters(desk):
    desk.sim.script("order", "late")
    # A test's order is valid for two seconds.
    with pytest.raises(OutcomeUnknown):
        await desk.exchange.submit(desk.order())

    desk.clock.advance(2.1)
    await desk.sim.deliver_late()

    assert by_us(desk) == []


@pytest.mark.parametrize("check", [1, 2, 3])
async def test_f39_each_window_check_of_the_exchange_refuses_what_is_late(desk, check):
    desk.sim.delay(check, 2_001)

    with pytest.raises(ExchangeRejected) as caught:
        await desk.exchange.submit(desk.order())

    assert caught.value.exchange_code == "-1021"
    assert by_us(desk) == []


async def test_r08_f08_a_repeated_id_is_unknown_and_the_first_order_is_found(desk):
    await desk.exchange.submit(desk.order(limit_price=FAR))

    with pytest.raises(OutcomeUnknown):
        await desk.exchange.submit(desk.order(limit_price=FAR))

    assert len(by_us(desk)) == 1
    found = await desk.exchange.find("trd-1", SYMBOL)
    assert found is not None
    assert found.state is OrderState.OPEN


async def test_after_a_refused_timestamp_the_clock_is_measured_again(desk):
    await desk.exchange.now()
    asked = [seen for seen in desk.sim.requests if seen.path == "/api/v3/time"]
    desk.sim.script("order", "reject", code=-1021, msg="outside of the recvWindow")
    with pytest.raises(ExchangeRejected):
        await desk.exchange.submit(desk.order())

    await desk.exchange.now()

    again = [seen for seen in desk.sim.requests if seen.path == "/api/v3/time"]
    assert len(again) == len(asked) + 1


@pytest.mark.parametrize(
    "other",
    [
        {"origQty": "0.20000000"},
        {"clientOrderId": "trd-2"},
        {"side": "SELL"},
        {"price": "50000.00000000"},
    ],
)
async def test_an_answer_that_tells_of_another_order_is_unknown(desk, other):
    views = desk.sim.world.engine.views
    told = views.placed
    views.placed = lambda order, respond: told(order, respond) | other

    with pytest.raises(OutcomeUnknown, match="another order") as caught:
        await desk.exchange.submit(desk.order())

    (ours,) = by_us(desk)
    assert caught.value.facts == {"order_id": str(ours.order_id)}


@pytest.mark.parametrize(
    "odd", [{"executedQty": "1e99999999999999999999"}, {"transactTime": 10**18}, {"fills": 5}]
)
async def test_an_accepted_order_with_odd_numbers_is_unknown_and_named(desk, odd):
    views = desk.sim.world.engine.views
    told = views.placed
    views.placed = lambda order, respond: told(order, respond) | odd

    with pytest.raises(OutcomeUnknown) as caught:
        await desk.exchange.submit(desk.order())

    (ours,) = by_us(desk)
    assert caught.value.facts == {"order_id": str(ours.order_id)}


async def test_what_fills_in_part_and_expires_says_so_with_its_fills(desk):
    desk.sim.set_touch("BTCUSDT", "50000", "50000.01", D("0.04"))

    report = await desk.exchange.submit(desk.order())

    assert report.state is OrderState.EXPIRED
    assert report.filled_quantity == sum(f.quantity for f in report.fills) == D("0.04")
    assert report.reason == "UNFILLED_IOC_QUANTITY_EXPIRED"


async def test_several_fills_come_each_with_its_price_and_fee(desk):
    desk.sim.clear_quotes("BTCUSDT")
    desk.sim.add_quote("BTCUSDT", "sell", "50000", "0.06")
    desk.sim.add_quote("BTCUSDT", "sell", "50000.01", "0.06")

    report = await desk.exchange.submit(desk.order())

    shown = [(f.price, f.quantity, f.fee, f.fee_currency) for f in report.fills]
    assert shown == [
        (D(50000), D("0.06"), D("0.00006"), "BTC"),
        (D("50000.01"), D("0.04"), D("0.00004"), "BTC"),
    ]


async def test_a_fee_paid_in_a_third_asset_is_told_as_it_was_charged(desk):
    desk.sim.set_touch("BNBUSDT", "500", "500.01")
    desk.account.pays_bnb = True
    desk.sim.deposit(desk.account, "BNB", D("0.001"))

    report = await desk.exchange.submit(desk.order())

    found = await desk.exchange.find("trd-1", SYMBOL)
    assert {f.fee_currency for f in report.fills} == {f.fee_currency for f in found.fills}
    assert report.fills == found.fills


@pytest.mark.parametrize(
    "changes",
    [
        {"stop_price": D(51_000), "worst_price": D(51_500), "order_type": "stop"},
        {"stop_price": D(51_000), "limit_price": D(51_500), "order_type": "stop_limit"},
        {"limit_price": FAR},
    ],
    ids=["stop", "stop_limit", "limit"],
)
async def test_what_does_not_fill_at_once_rests(desk, changes):
    report = await desk.exchange.submit(desk.order(**changes))

    assert report.state is OrderState.OPEN
    assert [r.client_order_id for r in await desk.exchange.open_orders()] == ["trd-1"]


async def test_a_stop_that_would_trigger_at_once_is_refused(desk):
    desk.sim.print_trade("BTCUSDT", "50000")
    order = desk.order(stop_price=D(49_000), worst_price=D(49_500), order_type="stop")

    with pytest.raises(ExchangeRejected) as caught:
        await desk.exchange.submit(order)

    assert "stop price" in caught.value.detail


async def test_a_fok_that_cannot_fill_whole_expires_empty(desk):
    desk.sim.set_touch("BTCUSDT", "50000", "50000.01", D("0.04"))

    report = await desk.exchange.submit(desk.order(limit_price=D("50000.01"), tif="fok"))

    assert (report.state, report.filled_quantity) == (OrderState.EXPIRED, D(0))


async def test_a_status_nobody_knows_is_not_final(desk):
    desk.sim.rename_status("FILLED", "SOMETHING_NEW")

    report = await desk.exchange.submit(desk.order())

    assert report.state is OrderState.PARTIALLY_FILLED


async def test_an_instrument_in_another_script_trades(desk):
    desk.sim.set_touch("币安人生USDT", "0.1", "0.1001", D(10_000))

    report = await desk.exchange.submit(
        desk.order(symbol="币安人生/USDT", quantity=D(100), price=D("0.1001"))
    )

    assert report.state is OrderState.FILLED
    assert report.fills[0].symbol == "币安人生/USDT"
    assert (await desk.exchange.find("trd-1", "币安人生/USDT")).fills == report.fills


async def test_an_instrument_that_is_closed_refuses(desk):
    desk.sim.set_status("BTCUSDT", "HALT")

    with pytest.raises(ExchangeRejected):
        await desk.exchange.submit(desk.order())


async def test_many_orders_in_flight_get_each_its_own_answer(desk):
    orders = [desk.order(f"trd-{i}", limit_price=FAR, quantity=D("0.01")) for i in range(40)]

    reports = await asyncio.gather(*(desk.exchange.submit(order) for order in orders))

    assert [report.client_order_id for report in reports] == [f"trd-{i}" for i in range(40)]
    assert len({report.exchange_order_id for report in reports}) == 40


async def test_a_caller_that_goes_away_is_not_answered(desk):
    task = asyncio.ensure_future(desk.exchange.submit(desk.order()))
    await asyncio.sleep(0)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_while_we_are_told_to_wait_no_order_leaves(desk):
    desk.sim.script("order", "limited")
    with pytest.raises(ExchangeRejected):
        await desk.exchange.submit(desk.order("trd-1"))

    with pytest.raises(RateLimited):
        await desk.exchange.prepare()
    with pytest.raises(ExchangeUnavailable):
        await desk.exchange.submit(desk.order("trd-2"))
    desk.clock.advance(11)
    await desk.exchange.prepare()
    await desk.exchange.submit(desk.order("trd-3"))

    assert desk.sent() == ["trd-1", "trd-3"]


# --- cancels ---


async def test_r69_a_cancelled_order_keeps_its_name_whatever_the_exchange_shows(desk):
    desk.sim.cancel_renames(True)
    report = await desk.exchange.submit(desk.order(limit_price=FAR))

    await desk.exchange.cancel("trd-1", SYMBOL, report.exchange_order_id)

    found = await desk.exchange.find("trd-1", SYMBOL)
    assert (found.client_order_id, found.state) == ("trd-1", OrderState.CANCELLED)
    history = await desk.exchange.orders(SYMBOL, desk.clock() - timedelta(seconds=5))
    assert [r.client_order_id for r in history] == ["trd-1"]


async def test_a_cancel_by_a_number_that_is_another_orders_by_now_cancels_nothing(desk):
    others = await desk.exchange.submit(desk.order("trd-2", limit_price=FAR))

    with pytest.raises(ExchangeRejected) as caught:
        await desk.exchange.cancel("trd-1", SYMBOL, others.exchange_order_id)

    found = await desk.exchange.find("trd-2", SYMBOL)
    assert (caught.value.exchange_code, found.state) == ("-2011", OrderState.OPEN)


async def test_a_cancel_goes_while_the_clock_is_doubted_and_not_told(desk):
    await desk.exchange.submit(desk.order(limit_price=FAR))
    desk.catalogue.market("binance", "testnet").server_clock.doubt()
    desk.sim.script("time", "error", times=None)
    with pytest.raises(OutcomeUnknown):
        await desk.exchange.now()

    await desk.exchange.cancel("trd-1", SYMBOL)

    assert [order.status for order in by_us(desk)] == ["CANCELED"]


@pytest.mark.parametrize("word", ["lose_answer", "lose_request", "truncated", "html_502", "error"])
async def test_r15_a_cancel_without_an_answer_is_unknown(desk, word):
    await desk.exchange.submit(desk.order(limit_price=FAR))
    desk.sim.script("cancel", word)

    with pytest.raises(OutcomeUnknown):
        await desk.exchange.cancel("trd-1", SYMBOL)


async def test_f13_r48_a_cancel_of_what_just_filled_is_refused_and_the_fill_is_found(desk):
    await desk.exchange.submit(desk.order(limit_price=FAR))
    desk.sim.set_touch("BTCUSDT", "44000", "44000.01")

    with pytest.raises(ExchangeRejected) as caught:
        await desk.exchange.cancel("trd-1", SYMBOL)

    assert caught.value.exchange_code == "-2011"
    found = await desk.exchange.find("trd-1", SYMBOL)
    assert (found.state, sum(f.quantity for f in found.fills)) == (OrderState.FILLED, D("0.1"))
    assert {f.liquidity for f in found.fills} == {"maker"}


# --- the roads themselves ---


async def test_what_was_in_flight_when_the_socket_broke_is_unknown_each(tmp_path):
    async with desk_at(tmp_path) as desk:
        await desk.exchange.prepare()
        desk.sim.script("order", "lose_answer")
        orders = [desk.order(f"trd-{i}", limit_price=FAR, quantity=D("0.01")) for i in range(5)]

        ended = await asyncio.gather(
            *(desk.exchange.submit(order) for order in orders), return_exceptions=True
        )

        assert {type(one) for one in ended} == {OutcomeUnknown}
        assert len(desk.sent()) <= 5


async def test_a_broken_socket_is_opened_again_by_prepare(tmp_path):
    async with desk_at(tmp_path) as desk:
        await desk.exchange.prepare()
        desk.sim.script("order", "lose_answer")
        with pytest.raises(OutcomeUnknown):
            await desk.exchange.submit(desk.order("trd-1"))

        await desk.exchange.prepare()
        await desk.exchange.submit(desk.order("trd-2"))

        roads = [seen.method for seen in desk.sim.requests if is_order(seen)]
        assert roads == ["WS", "WS"]


async def test_without_the_socket_an_order_takes_the_second_road(tmp_path):
    async with desk_at(tmp_path, ws_api_url="ws://127.0.0.1:9/ws-api/v3") as desk:
        await desk.exchange.prepare()

        await desk.exchange.submit(desk.order())

        assert [seen.method for seen in desk.sim.requests if is_order(seen)] == ["POST"]


async def test_a_server_that_goes_away_gets_no_new_order_on_that_socket(tmp_path):
    async with desk_at(tmp_path) as desk:
        await desk.exchange.prepare()
        socket = desk.exchange._sender._socket
        assert socket is not None
        desk.sim.announce_shutdown()
        await eventually(lambda: not (socket and socket.is_open))

        await desk.exchange.prepare()
        await desk.exchange.submit(desk.order())

        assert desk.sent() == ["trd-1"]
        assert desk.exchange._sender._socket is not socket


async def test_a_socket_that_does_not_answer_in_time_is_not_used_again(tmp_path):
    async with desk_at(tmp_path) as desk:
        desk.exchange._sender.answer_s = 0.01
        await desk.exchange.prepare()
        socket = desk.exchange._sender._socket
        assert socket is not None
        socket._socket.transport.pause_reading()

        with pytest.raises(OutcomeUnknown, match="in time"):
            await desk.exchange.submit(desk.order())

        assert not socket.is_open
        assert desk.sent() == ["trd-1"]


async def test_a_socket_that_did_not_answer_is_closed_when_nothing_waits_for_it(tmp_path):
    async with desk_at(tmp_path) as desk:
        desk.exchange._sender.answer_s = 0.01
        for number in range(3):
            await desk.exchange.prepare()
            silent = desk.exchange._sender._socket
            assert silent is not None
            silent._socket.transport.pause_reading()
            with pytest.raises(OutcomeUnknown, match="in time"):
                await desk.exchange.submit(desk.order(f"trd-{number}", limit_price=FAR))

        last = silent
        assert last is not None
        await eventually(lambda: last.ended and not desk.sim._api.open_sockets())


async def test_a_socket_whose_last_answer_came_after_its_end_was_told_is_closed(tmp_path):
    async with desk_at(tmp_path) as desk:
        await desk.exchange.prepare()
        socket = desk.exchange._sender._socket
        assert socket is not None
        orders = [desk.order(f"trd-{i}", limit_price=FAR, quantity=D("0.01")) for i in range(3)]
        answers = [asyncio.ensure_future(desk.exchange.submit(order)) for order in orders]
        await eventually(lambda: len(socket._waiting) == 3)

        socket.retire()

        assert len(await asyncio.gather(*answers)) == 3
        await eventually(lambda: socket.ended and not desk.sim._api.open_sockets())


async def test_a_socket_that_does_not_open_is_tried_again_after_a_minute(tmp_path):
    async with desk_at(tmp_path) as desk:
        await desk.sim._api.stop()
        await desk.exchange.prepare()
        port = int(desk.sim.ws_api_url.rpartition(":")[2].partition("/")[0])
        await desk.sim._api.start(port)

        await desk.exchange.prepare()
        before = len(desk.sim._api.open_sockets())
        desk.clock.advance(60)
        await desk.exchange.prepare()

        assert (before, len(desk.sim._api.open_sockets())) == (0, 1)


async def test_closing_while_a_socket_opens_leaves_none_behind(tmp_path):
    async with desk_at(tmp_path) as desk:
        await desk.exchange.now()
        preparing = asyncio.ensure_future(desk.exchange.prepare())
        await asyncio.sleep(0)

        await desk.exchange.close()

        await asyncio.gather(preparing, return_exceptions=True)
        await eventually(lambda: not desk.sim._api.open_sockets())


async def test_many_that_prepare_at_once_open_one_socket(tmp_path):
    async with desk_at(tmp_path) as desk:
        await asyncio.gather(*(desk.exchange.prepare() for _ in range(5)))

        assert len(desk.sim._api.open_sockets()) == 1


async def test_the_second_road_is_kept_warm_and_not_asked_each_time(tmp_path):
    async with desk_at(tmp_path, orders_over="rest") as desk:
        for seconds in (0, 0, 19, 1):
            desk.clock.advance(seconds)
            await desk.exchange.prepare()

        asked = [seen for seen in desk.sim.requests if seen.path == "/api/v3/time"]
        assert len(asked) == 3  # The clock once, and the order's own road at 0 and at 20 s.


@pytest.mark.parametrize("word", ["html_502", "lose_answer", "truncated", "error", "limited"])
async def test_a_prepare_that_fails_says_that_nothing_was_sent(tmp_path, word):
    async with desk_at(tmp_path) as desk:
        desk.sim.script("time", word)

        with pytest.raises((ExchangeUnavailable, RateLimited)):
            await desk.exchange.prepare()


@pytest.mark.parametrize("road", ["websocket", "rest"])
async def test_an_ed25519_key_signs_on_both_roads(tmp_path, road):
    async with desk_at(tmp_path, "ed25519", orders_over=road) as desk:
        await desk.exchange.prepare()

        report = await desk.exchange.submit(desk.order())

        assert report.state is OrderState.FILLED
        assert await desk.exchange.find("trd-1", SYMBOL) == report


async def test_nothing_shows_a_credential(tmp_path):
    async with desk_at(tmp_path) as desk:
        await desk.exchange.prepare()
        shown = repr(desk.exchange) + repr(vars(desk.exchange))
        shown += repr(
            [vars(part) for part in vars(desk.exchange).values() if hasattr(part, "__dict__")]
        )

        assert desk.account.secret not in shown
        assert desk.account.key not in shown


@pytest.mark.parametrize("word", ["lose_answer", "truncated"])
async def test_s10_no_error_carries_the_request_that_it_is_about(desk, word):
    desk.sim.script("order", word)

    with pytest.raises(OutcomeUnknown) as caught:
        await desk.exchange.submit(desk.order())

    assert hanging_on(caught.value) <= {"OutcomeUnknown"}


async def test_s10_an_error_of_a_request_that_never_left_carries_nothing(tmp_path):
    async with desk_at(tmp_path) as desk:
        await desk.sim.stop()

        with pytest.raises(ExchangeUnavailable) as caught:
            await desk.exchange.submit(desk.order())

        assert hanging_on(caught.value) <= {"ExchangeUnavailable"}


def hanging_on(error: BaseException | None) -> set[str]:
    """Return the kinds of every error that can be reached from one."""
    if error is None:
        return set()
    return {type(error).__name__} | hanging_on(error.__cause__) | hanging_on(error.__context__)
