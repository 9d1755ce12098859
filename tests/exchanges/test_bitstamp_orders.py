"""Orders against the simulator: what is sent, and what each kind of answer means."""

import asyncio
import json
from contextlib import suppress
from datetime import timedelta

import pytest

from backend.domain.errors import (
    NO_ANSWER,
    ExchangeRejected,
    ExchangeUnavailable,
    OutcomeUnknown,
    RateLimited,
)
from backend.domain.order import OrderState
from backend.exchanges._budget import Purpose
from backend.exchanges.bitstamp import history, orders
from backend.exchanges.bitstamp.orders import Memory
from tests.exchanges.bitstamp_bench import Desk
from tests.exchanges.scripted import START, D, an_order
from tests.simulators.bitstamp import faults
from tests.simulators.bitstamp.faults import Fault
from tests.simulators.http import Reply

pytestmark = pytest.mark.anyio
SYMBOL = "BTC/USD"


@pytest.fixture
async def desk(tmp_path):
    async with Desk(tmp_path) as opened:
        yield opened


@pytest.fixture
async def exchange(desk):
    return await desk.connect()


def last(desk, path="/api/v2/buy/btcusd/"):
    return next(seen.params for seen in reversed(desk.sim.requests) if seen.path == path)


# --- what is sent ---


async def test_a_market_order_goes_as_limit_ioc_at_its_worst_price(desk, exchange):
    await exchange.submit(desk.order(worst_price="50050"))

    assert last(desk) == {
        "amount": "0.01",
        "price": "50050",
        "client_order_id": "trd-1",
        "ioc_order": "True",
    }


@pytest.mark.parametrize(
    ("time_in_force", "flag"),
    [
        ("gtc", {}),
        ("ioc", {"ioc_order": "True"}),
        ("fok", {"fok_order": "True"}),
        ("day", {"daily_order": "True"}),
    ],
)
async def test_a_limit_order_carries_the_flag_of_its_time_in_force(
    desk, exchange, time_in_force, flag
):
    order = desk.order(side="sell", limit_price="52000", tif=time_in_force)

    report = await exchange.submit(order)

    expected = {"amount": "0.01", "price": "52000", "client_order_id": "trd-1"} | flag
    assert last(desk, "/api/v2/sell/btcusd/") == expected
    assert (report.state, report.filled_quantity) == (OrderState.OPEN, 0)


@pytest.mark.parametrize("quantity", ["0.00000001", "1E-8", "2.0E-4"])
async def test_r60_a_quantity_goes_out_in_plain_digits(desk, exchange, quantity):
    with suppress(ExchangeRejected):  # The smallest is worth less than the minimum.
        await exchange.submit(desk.order(quantity=D(quantity), limit_price="50000"))

    assert last(desk)["amount"] == format(D(quantity), "f").rstrip("0")


async def test_an_order_is_signed_with_its_stored_time_not_with_the_present(desk, exchange):
    order = desk.order()
    desk.clock.advance(5)

    await exchange.submit(order)

    assert desk.sim.headers[-1]["x-auth-timestamp"] == "1779804000000"


async def test_f07_the_exchange_refuses_what_arrives_after_its_validity(desk, exchange):
    desk.sim.faults.next("submit", faults.late())
    with pytest.raises(OutcomeUnknown):
        await exchange.submit(desk.order())
    desk.clock.advance(151)

    await desk.sim.deliver_late()

    assert desk.sim.orders == []
    assert await exchange.find("trd-1", SYMBOL) is None


async def test_f07_an_order_that_is_late_and_in_time_is_found_afterwards(desk, exchange):
    desk.sim.faults.next("submit", faults.late())
    with pytest.raises(OutcomeUnknown):
        await exchange.submit(desk.order())
    before = await exchange.find("trd-1", SYMBOL)
    desk.clock.advance(149)

    await desk.sim.deliver_late()

    after = await exchange.find("trd-1", SYMBOL)
    assert before is None
    assert after is not None
    assert after.state is OrderState.FILLED


async def test_a_stop_order_is_not_sent(desk, exchange):
    with pytest.raises(ExchangeUnavailable):
        await exchange.submit(desk.order(stop_price="51000", order_type="stop"))

    assert desk.sent() == []


# --- what an answer to a submit means ---

LIVE = {
    "f05_lost_answer": faults.lose_answer(),
    "truncated": faults.truncated(),
    "unsigned": faults.unsigned(),
    "wrongly_signed": faults.missigned(),
    "proxy_page": faults.html_502(True),
    "internal_error": faults.server_error("500.001", True),
    "internal_error_as_500": faults.server_error("400.009", True, 500),
    "timed_out_and_named": faults.timed_out(),
    "could_not_be_placed": faults.could_not_be_placed(True),
    "recorded_twice": faults.doubled(),
    "redirect": Fault(page=Reply(302, b"", {"Location": "https:login"})),
    "unsigned_text": Fault(page=Reply(403, b'{"error":"Enter a number"}')),
    "unheard_of_number": Fault(page=Reply(200, b'{"id":1e99999999999999999999}')),
    "clock_of_9999": Fault(page=Reply(502, b"", {"Date": "Fri, 31 Dec 9999 23:59:59 GMT"})),
}
GONE = {
    "f06_lost_request": faults.lose_request(),
    "proxy_page": faults.html_502(False),
    "internal_error": faults.server_error("500.013", False),
    "could_not_be_placed": faults.could_not_be_placed(False),
    "unknown_code": faults.reject("400.999", "A new rule."),
    "duplicate": faults.reject("400.019", "Provided client_order_id already exists."),
    "engine": faults.reject("500.017", "Rejected by the matching engine."),
    "repeated_nonce": faults.reject("API0004", "Invalid nonce", "auth", 403),
    "unauthorised": faults.reject("", "Unauthorized", "message", 401),
    "unsigned_text": faults.reject("", "Enter a number.", "plain", 403),
    "code_without_an_envelope": Fault(False, page=Reply(403, b'{"response_code":"400.009"}')),
    "redirect": Fault(False, page=Reply(301, b'{"status":"error","code":"400.009"}')),
    "front_door_429": Fault(False, page=Reply(429, b"{}", {"Retry-After": "0"})),
}
UNPLACED = {
    "rule": (faults.reject("400.001", "Enter a number."), "400.001"),
    "rule_as_400": (faults.reject("400.001", "Enter a number.", status=400), "400.001"),
    "funds": (faults.reject("400.009", "You have only 1 USD."), "400.009"),
    "key": (faults.reject("API0003", "No permission", "auth", 403), "API0003"),
    "closed": (faults.reject("500.004", "Market is closed."), "500.004"),
    "text_only": (
        faults.reject("", "Minimum order size is 10", "plain"),
        "Minimum order size is 10",
    ),
    "rate": (faults.rate_limited(200), "400.002"),
    "rate_as_429": (faults.rate_limited(429), "400.002"),
}


@pytest.mark.parametrize("name", LIVE)
async def test_f05_an_order_whose_answer_says_nothing_is_unknown_and_found(desk, exchange, name):
    desk.sim.faults.next("submit", LIVE[name])

    if name == "recorded_twice":
        await exchange.submit(desk.order(limit_price="45000"))
    else:
        with pytest.raises(OutcomeUnknown):
            await exchange.submit(desk.order(limit_price="45000"))

    found = await exchange.find("trd-1", SYMBOL)
    assert found is not None
    assert (found.client_order_id, found.state) == ("trd-1", OrderState.OPEN)
    assert desk.sent() == ["trd-1"]


@pytest.mark.parametrize("name", GONE)
async def test_r03_what_proves_nothing_is_unknown_and_never_sent_again(desk, exchange, name):
    desk.sim.faults.next("submit", GONE[name])

    with pytest.raises(OutcomeUnknown):
        await exchange.submit(desk.order())

    desk.clock.advance(1)  # The pause that some of them ask for.
    assert await exchange.find("trd-1", SYMBOL) is None
    assert desk.sent() == ["trd-1"]


async def test_a_placed_order_whose_answer_asks_for_an_endless_pause_was_sent(desk, exchange):
    page = Reply(429, b"{}", {"Retry-After": "9" * 5000})
    desk.sim.faults.next("submit", Fault(page=page))

    with pytest.raises(OutcomeUnknown):
        await exchange.submit(desk.order())

    assert len(desk.sim.orders) == 1


@pytest.mark.parametrize("name", UNPLACED)
async def test_what_the_closed_list_names_is_a_rejection(desk, exchange, name):
    fault, code = UNPLACED[name]
    desk.sim.faults.next("submit", fault)

    with pytest.raises(ExchangeRejected) as caught:
        await exchange.submit(desk.order())

    assert caught.value.exchange_code == code
    assert desk.sent() == ["trd-1"]


async def test_a_timed_out_order_is_found_by_the_id_that_came_with_the_error(desk, exchange):
    desk.sim.faults.next("submit", faults.timed_out())
    with pytest.raises(OutcomeUnknown) as caught:
        await exchange.submit(desk.order())
    (placed,) = desk.sim.orders
    placed.client_order_id = None  # Its name is gone: its number alone finds it.

    found = await exchange.find("trd-1", SYMBOL)
    other = await (await desk.connect()).find("trd-1", SYMBOL, str(placed.order_id))

    assert caught.value.facts == {"order_id": str(placed.order_id)}
    assert found == other
    assert found.exchange_order_id == last(desk, "/api/v2/order_status/")["id"]


async def test_an_order_that_is_placed_without_our_id_is_named_and_found(desk, exchange):
    desk.sim.forgets_names = True
    with pytest.raises(OutcomeUnknown) as caught:
        await exchange.submit(desk.order(limit_price="45000"))

    found = await exchange.find("trd-1", SYMBOL)
    assert found.exchange_order_id == caught.value.facts["order_id"]
    assert (found.client_order_id, found.state) == ("trd-1", OrderState.OPEN)


async def test_an_id_that_nobody_knows_does_not_hide_what_the_client_id_finds(desk, exchange):
    await exchange.submit(desk.order(limit_price="45000"))

    found = await (await desk.connect()).find("trd-1", SYMBOL, "123")

    assert found.state is OrderState.OPEN


async def test_r69_an_order_recorded_under_another_client_id_is_never_not_found(desk, exchange):
    desk.sim.faults.next("submit", faults.recorded_as("web-7"))
    await exchange.submit(desk.order())

    with pytest.raises(OutcomeUnknown):
        await exchange.find("trd-1", SYMBOL)
    (found,) = await exchange.orders(SYMBOL, START)
    (fill,) = await exchange.fills(SYMBOL, START)
    assert found.client_order_id == "web-7"
    assert fill.exchange_order_id == found.exchange_order_id


@pytest.mark.parametrize(
    "changed",
    [
        {"market": "ETH/USD"},
        {"type": "1"},
        {"price": "50001"},
        {"amount": "0.02"},
        {"client_order_id": "web-7"},
        {"client_order_id": None},
        {"price": "much"},
        {"type": None},
    ],
)
def test_an_accepted_order_that_is_not_the_one_sent_is_unknown_and_named(changed):
    order = an_order(START, symbol=SYMBOL, quantity="0.01", limit_price="50000")
    reply = {
        "id": D(77),
        "market": SYMBOL,
        "type": "0",
        "price": "50000.00",
        "amount": "0.01000000",
        "client_order_id": "trd-1",
    }
    sent = orders.terms_of(order)

    assert orders.accepted(reply, order, sent).exchange_order_id == "77"
    with pytest.raises(OutcomeUnknown) as caught:
        orders.accepted(reply | changed, order, sent)
    assert caught.value.facts == {"order_id": "77"}


@pytest.mark.parametrize(
    ("reply", "facts"),
    [({"id": D(77)}, {"order_id": "77"}), ({"id": {}}, {}), ({}, {}), ([], {}), (None, {})],
)
def test_a_reply_that_is_cut_short_is_unknown_and_named_where_it_can_be(reply, facts):
    order = an_order(START, symbol=SYMBOL, quantity="0.01", limit_price="50000")

    with pytest.raises(OutcomeUnknown) as caught:
        orders.accepted(reply, order, orders.terms_of(order))
    assert caught.value.facts == facts


async def test_without_room_in_the_limits_an_order_is_not_sent(desk, exchange):
    for _ in range(360):
        desk.market.budget.take(Purpose.CANCEL, requests=1)

    with pytest.raises(RateLimited):
        await exchange.prepare()
    with pytest.raises(ExchangeUnavailable):
        await exchange.submit(desk.order())
    with pytest.raises(ExchangeRejected):
        await exchange.cancel("trd-1", SYMBOL)

    assert desk.sent() == []


@pytest.mark.parametrize("status", [429, 200])
async def test_a_pause_that_the_exchange_asks_for_is_kept(desk, exchange, status):
    desk.sim.faults.next("order_status", faults.rate_limited(status))
    with pytest.raises(RateLimited):
        await exchange.find("trd-1", SYMBOL)
    before = len(desk.sim.requests)

    with pytest.raises(RateLimited):
        await exchange.find("trd-1", SYMBOL)

    assert len(desk.sim.requests) == before
    desk.clock.advance(1)
    assert await exchange.find("trd-1", SYMBOL) is None


# --- looking up ---


@pytest.mark.parametrize(
    "fault",
    [
        faults.html_502(False),
        faults.reject("API0001", "API key not found", "auth", 403),
        faults.reject("", "Unauthorized", "message", 401),
        faults.server_error("500.001", False),
        faults.server_error("404.002", False, 500),
        faults.unsigned(),
        faults.missigned(),
        faults.truncated(),
        faults.lose_request(),
        Fault(page=Reply(404, b'{"error":"Order not found"}')),
        Fault(page=Reply(404, b'{"status":"error","reason":"x","response_code":"404.002"}')),
        Fault(page=Reply(301, b'{"error":"Order not found"}')),
        Fault(page=Reply(200, b'{"status":"error","response_code":"404.002"}')),
        faults.reject("", "Order not found", "plain"),
        faults.reject("", "Order not found", "message", 404),
    ],
)
async def test_r18_a_look_up_that_gets_no_answer_is_never_not_found(desk, exchange, fault):
    await exchange.submit(desk.order(limit_price="45000"))
    desk.sim.faults.next("order_status", fault)

    with pytest.raises(NO_ANSWER):
        await exchange.find("trd-1", SYMBOL)


@pytest.mark.parametrize("status", [200, 400, 404])
async def test_only_the_documented_not_found_that_is_signed_is_none(desk, exchange, status):
    desk.sim.order_error_status, desk.sim.signs_errors = status, True

    assert await exchange.find("trd-1", SYMBOL) is None


@pytest.mark.parametrize("status", [400, 404])
async def test_without_a_signature_neither_an_order_nor_its_history_is_absent(
    desk, exchange, status
):
    desk.sim.order_error_status = status

    with pytest.raises(OutcomeUnknown):
        await exchange.find("trd-1", SYMBOL)
    with pytest.raises(OutcomeUnknown):
        await exchange.orders(SYMBOL, START)


async def test_r23_an_order_may_be_hidden_at_first_and_is_found_later(desk, exchange):
    desk.sim.faults.next("submit", faults.hidden())
    await exchange.submit(desk.order())

    before = await exchange.find("trd-1", SYMBOL)
    desk.sim.unhide()
    after = await exchange.find("trd-1", SYMBOL)

    assert before is None
    assert after is not None


async def test_a_look_up_that_does_not_add_up_is_no_evidence(desk, exchange):
    await exchange.submit(desk.order())
    desk.sim.orders[0].fills.clear()

    with pytest.raises(OutcomeUnknown):
        await exchange.find("trd-1", SYMBOL)


def without_transactions(body):
    return json.dumps(json.loads(body) | {"transactions": []}).encode()


@pytest.mark.parametrize("depth", ["0.004", "10"])
async def test_an_end_whose_fills_are_behind_is_no_evidence_for_another_process(
    desk, exchange, depth
):
    desk.sim.set_touch("btcusd", D(49_990), D(50_000), depth=D(depth), levels=1)
    await exchange.submit(desk.order())
    other = await desk.connect()

    desk.sim.instead["order_status"] = without_transactions
    with pytest.raises(OutcomeUnknown):
        await other.find("trd-1", SYMBOL)
    desk.sim.instead.clear()

    found = await other.find("trd-1", SYMBOL)
    assert found.quantity == D("0.01")


async def test_an_end_without_any_quantity_is_no_evidence_even_if_no_trades_are_told(
    desk, exchange
):
    await exchange.submit(desk.order())
    desk.sim.instead["order_status"] = without_transactions
    desk.sim.instead["user_transactions"] = lambda body: b"[]"
    other = await desk.connect()

    with pytest.raises(OutcomeUnknown):
        await other.find("trd-1", SYMBOL)


async def test_an_ended_order_is_checked_against_the_trades_once(desk, exchange):
    await exchange.submit(desk.order())
    other = await desk.connect()

    first = await other.find("trd-1", SYMBOL)
    again = await other.find("trd-1", SYMBOL)

    asked = [s for s in desk.sim.requests if s.path == "/api/v2/user_transactions/btcusd/"]
    assert (first, len(asked)) == (again, 1)


async def test_a_partly_filled_order_that_is_cancelled_keeps_its_fills(desk, exchange):
    desk.sim.set_touch("btcusd", D(49_990), D(50_000), depth=D("0.004"), levels=1)
    await exchange.submit(desk.order(limit_price="50000"))
    half = await exchange.find("trd-1", SYMBOL)

    await exchange.cancel("trd-1", SYMBOL)

    whole = await exchange.find("trd-1", SYMBOL)
    assert (half.state, half.filled_quantity) == (OrderState.PARTIALLY_FILLED, D("0.004"))
    assert (whole.state, whole.filled_quantity) == (OrderState.CANCELLED, D("0.004"))
    assert [f.quantity for f in whole.fills] == [D("0.004")]
    assert (whole.quantity, whole.reason) == (D("0.01"), "canceled")


async def test_an_ioc_order_that_meets_nobody_ends_with_nothing_filled(desk, exchange):
    await exchange.submit(desk.order(limit_price="45000", tif="ioc"))

    found = await exchange.find("trd-1", SYMBOL)

    assert (found.state, found.filled_quantity) == (OrderState.CANCELLED, 0)


async def test_a_day_order_expires_at_midnight_utc(desk, exchange):
    await exchange.submit(desk.order(limit_price="45000", tif="day"))
    desk.clock.advance(10 * 3600)

    found = await exchange.find("trd-1", SYMBOL)

    assert found.state is OrderState.EXPIRED


async def test_r51_dust_that_an_order_leaves_is_not_counted_as_filled(desk, exchange):
    desk.sim.faults.next("submit", faults.dust())
    await exchange.submit(desk.order())

    found = await exchange.find("trd-1", SYMBOL)

    assert found.state is OrderState.CANCELLED
    assert found.filled_quantity == D("0.00999999") == sum(f.quantity for f in found.fills)


async def test_a_closed_order_is_forgotten_after_thirty_days(desk, exchange):
    await exchange.submit(desk.order())
    desk.clock.advance(timedelta(days=31).total_seconds())

    assert await exchange.find("trd-1", SYMBOL) is None


# --- cancelling ---


async def test_f14_a_cancel_that_is_pending_is_not_the_end(desk, exchange):
    await exchange.submit(desk.order(limit_price="45000"))
    desk.sim.faults.next("cancel", faults.cancel_pending())

    await exchange.cancel("trd-1", SYMBOL)

    assert (await exchange.find("trd-1", SYMBOL)).state is OrderState.OPEN
    assert [r.client_order_id for r in await exchange.open_orders()] == ["trd-1"]
    desk.sim.finish_cancels()
    assert (await exchange.find("trd-1", SYMBOL)).state is OrderState.CANCELLED


async def test_f13_a_cancel_that_comes_after_the_fill_is_refused_and_proves_nothing(desk, exchange):
    await exchange.submit(desk.order())

    with pytest.raises(ExchangeRejected) as caught:
        await exchange.cancel("trd-1", SYMBOL)

    assert caught.value.exchange_code == "404.002"
    assert (await exchange.find("trd-1", SYMBOL)).state is OrderState.FILLED


async def test_a_cancel_goes_by_the_exchanges_id_where_it_is_known(desk, exchange):
    report = await exchange.submit(desk.order(limit_price="45000"))

    await exchange.cancel("trd-1", SYMBOL, report.exchange_order_id)

    assert last(desk, "/api/v2/cancel_order/") == {"id": report.exchange_order_id}


# --- lists ---


async def test_r25_the_stale_list_leaves_out_what_was_cancelled_through_us(desk, exchange):
    await exchange.submit(desk.order(limit_price="45000"))
    await exchange.submit(desk.order("trd-2", limit_price="45000"))
    await exchange.open_orders()

    await exchange.cancel("trd-1", SYMBOL)

    assert [r.client_order_id for r in await exchange.open_orders()] == ["trd-2"]


async def test_every_fill_is_told_once_over_as_many_pages_as_it_takes(desk, exchange):
    desk.sim.set_touch("btcusd", D(49_990), D(50_000), depth=D(1000))
    for _ in range(1001):
        desk.by_hand(quantity=D("0.0002"))

    fills = await exchange.fills(SYMBOL, START)

    pages = [s for s in desk.sim.requests if s.path == "/api/v2/user_transactions/btcusd/"]
    assert len({f.exchange_fill_id for f in fills}) == len(fills) == 1001
    assert [page.params["offset"] for page in pages] == ["0", "1000"]


async def test_more_trades_than_can_be_paged_through_are_no_history(desk, exchange):
    desk.sim.set_touch("btcusd", D(49_990), D(50_000), depth=D(1000))
    for _ in range(1001):
        desk.by_hand(quantity=D("0.0002"))

    with pytest.raises(OutcomeUnknown):
        await history.trades_since(exchange._door, SYMBOL, START, Memory(), most_pages=1)


async def test_a_trade_between_two_orders_of_ours_is_two_fills(desk, exchange):
    await exchange.submit(desk.order(limit_price="49995"))
    await exchange.submit(desk.order("trd-2", side="sell", limit_price="49995", tif="ioc"))

    told = await exchange.fills(SYMBOL, START)

    assert len({f.exchange_fill_id for f in told}) == 1
    assert {f.client_order_id: f.side for f in told} == {"trd-1": "buy", "trd-2": "sell"}


@pytest.mark.parametrize("content", ["{}", "null", '"x"', "[1]", "7"])
async def test_what_is_no_list_is_never_an_empty_one(desk, exchange, content):
    lists = {
        "open_orders": exchange.open_orders(),
        "account_balances": exchange.balances(),
        "user_transactions": exchange.fills(SYMBOL, START),
        "account_order_data": exchange.orders(SYMBOL, START),
        "fees": exchange.fees(),
    }
    for operation, asked in lists.items():
        desk.sim.instead[operation] = lambda body: content.encode()
        with pytest.raises(OutcomeUnknown):
            await asked


async def test_fills_of_long_ago_are_told_without_a_start_that_would_be_refused(desk, exchange):
    desk.by_hand()
    desk.clock.advance(60)
    desk.by_hand()
    desk.clock.advance(timedelta(days=40).total_seconds())

    fills = await exchange.fills(SYMBOL, START + timedelta(seconds=30))

    assert len(fills) == 1
    assert fills[0].client_order_id is None


async def test_fills_before_the_start_are_left_out(desk, exchange):
    desk.by_hand()
    desk.clock.advance(60)
    desk.by_hand()

    assert len(await exchange.fills(SYMBOL, START + timedelta(seconds=30))) == 1


async def test_the_history_reaches_back_over_days(desk, exchange):
    for day in range(3):
        await exchange.submit(desk.order(f"trd-{day}", limit_price="45000"))
        await exchange.cancel(f"trd-{day}", SYMBOL)
        desk.clock.advance(20 * 3600)

    history = await exchange.orders(SYMBOL, START)

    assert [r.client_order_id for r in history] == ["trd-0", "trd-1", "trd-2"]


async def test_the_history_knows_an_order_of_which_only_trades_or_the_open_list_tell(
    desk, exchange
):
    await exchange.submit(desk.order())
    await exchange.submit(desk.order("trd-2", limit_price="45000"))
    desk.sim.engine.log.events.clear()

    history = await (await desk.connect()).orders(SYMBOL, START)

    assert [(r.client_order_id, r.state) for r in history] == [
        ("trd-1", OrderState.FILLED),
        ("trd-2", OrderState.OPEN),
    ]


async def test_f15_a_history_without_an_answer_is_no_evidence(desk, exchange):
    for operation in ("account_order_data", "open_orders", "user_transactions"):
        desk.sim.faults.next(operation, faults.html_502(False))
        with pytest.raises(NO_ANSWER):
            await exchange.orders(SYMBOL, START)


# --- other people's orders under our ids, and a caller that goes away ---


async def test_another_order_under_our_id_is_told_as_it_is(desk, exchange):
    desk.by_hand(client_order_id="trd-1", quantity=D("0.5"), side="sell")
    desk.sim.faults.next("submit", faults.lose_request())
    with pytest.raises(OutcomeUnknown):
        await exchange.submit(desk.order())

    found = await exchange.find("trd-1", SYMBOL)

    assert (found.side, found.quantity) == ("sell", D("0.5"))


async def test_r31_a_caller_that_goes_away_is_not_told_anything_else(desk, exchange):
    sending = asyncio.ensure_future(exchange.submit(desk.order()))
    await asyncio.sleep(0)
    sending.cancel()

    with pytest.raises(asyncio.CancelledError):
        await sending
