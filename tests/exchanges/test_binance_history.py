"""Look-ups: evidence only from a good answer; windows, pages, names."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from backend.domain.errors import ExchangeRejected, ExchangeUnavailable, OutcomeUnknown, RateLimited
from backend.domain.order import OrderState
from backend.exchanges import NoCatalogue
from backend.exchanges.binance import endpoints
from backend.exchanges.binance.account import AccountReader
from backend.exchanges.binance.answers import Answer
from backend.exchanges.binance.codes import Codes
from backend.exchanges.binance.exchange import BinanceExchange
from backend.exchanges.binance.history import History
from backend.exchanges.binance.market import BinanceMarket
from backend.exchanges.binance.signing import read_signer
from backend.exchanges.binance.times import to_ms
from tests.exchanges.binance_bench import SYMBOL, account_key, desk_at
from tests.exchanges.scripted import START, D, FrozenClock

pytestmark = pytest.mark.anyio

FAR = D(45_000)
SINCE = START - timedelta(seconds=5)

LOOK_UPS = {
    "find": ("order.status", lambda e: e.find("trd-1", SYMBOL)),
    "find by number": ("order.status", lambda e: e.find("trd-1", SYMBOL, "1")),
    "find's fills": ("myTrades", lambda e: e.find("trd-1", SYMBOL)),
    "open orders": ("openOrders.status", lambda e: e.open_orders()),
    "orders": ("allOrders", lambda e: e.orders(SYMBOL, SINCE)),
    "fills": ("myTrades", lambda e: e.fills(SYMBOL, SINCE)),
    "balances": ("account.status", lambda e: e.balances()),
    "fees": ("account.commission", lambda e: e.fees(SYMBOL)),
    "identity": ("account.status", lambda e: e.identity()),
}
TROUBLE: dict[str, Any] = {
    "html_502": OutcomeUnknown,
    "html_403": (OutcomeUnknown, RateLimited),
    "truncated": OutcomeUnknown,
    "lose_answer": OutcomeUnknown,
    "error": OutcomeUnknown,
    "denied": (OutcomeUnknown, ExchangeRejected),
    "limited": RateLimited,
    "banned": RateLimited,
}


@pytest.fixture
async def desk(tmp_path):
    async with desk_at(tmp_path) as built:
        yield built


@pytest.mark.parametrize("word", TROUBLE)
@pytest.mark.parametrize("what", LOOK_UPS)
async def test_f31_r02_r18_a_look_up_without_a_good_answer_tells_nothing(desk, what, word):
    await desk.exchange.submit(desk.order())
    method, ask = LOOK_UPS[what]
    desk.sim.script(method, word)

    with pytest.raises(TROUBLE[word]):
        await ask(desk.exchange)


async def test_r23_a_look_up_that_lags_says_not_found_and_later_finds(desk):
    desk.sim.lag("order", True)
    await desk.exchange.submit(desk.order())

    before = await desk.exchange.find("trd-1", SYMBOL)
    desk.sim.lag("order", False)
    after = await desk.exchange.find("trd-1", SYMBOL)

    assert before is None
    assert after.state is OrderState.FILLED


async def test_fills_that_lag_behind_their_order_come_later(desk):
    desk.sim.lag("myTrades", True)
    await desk.exchange.submit(desk.order())

    before = await desk.exchange.find("trd-1", SYMBOL)
    desk.sim.lag("myTrades", False)
    after = await desk.exchange.find("trd-1", SYMBOL)

    assert (before.filled_quantity, before.fills) == (D("0.1"), ())
    assert sum(f.quantity for f in after.fills) == after.filled_quantity


async def test_an_archived_order_is_not_a_missing_one(desk):
    desk.sim.script("order.status", "reject", code=-2026, msg="Order was archived")

    with pytest.raises(OutcomeUnknown):
        await desk.exchange.find("trd-1", SYMBOL)


async def test_an_order_that_others_cancelled_is_found_by_number_under_our_name(desk):
    desk.sim.cancel_renames(True)
    report = await desk.exchange.submit(desk.order(limit_price=FAR))
    desk.sim.world.engine.cancel(desk.account, "BTCUSDT", None, "trd-1")

    found = await desk.exchange.find("trd-1", SYMBOL, report.exchange_order_id)

    assert (found.client_order_id, found.state) == ("trd-1", OrderState.CANCELLED)


async def test_an_instrument_that_left_the_rules_keeps_its_name_everywhere(desk):
    stream = desk.exchange.events()
    await anext(stream)
    report = await desk.exchange.submit(desk.order(limit_price=FAR))
    rules = desk.catalogue.metadata("binance", "testnet")
    left = {name: one for name, one in rules.instruments.items() if name != SYMBOL}
    key = ("binance", "testnet")
    desk.catalogue._metadata[key] = replace(rules, version="next", instruments=left)
    later = await desk.connect(desk.account)

    for exchange in (desk.exchange, later):
        assert [r.symbol for r in await exchange.open_orders()] == [SYMBOL]
        assert [r.symbol for r in await exchange.orders(SYMBOL, SINCE)] == [SYMBOL]
        found = await exchange.find("trd-1", SYMBOL, report.exchange_order_id)
        assert found.symbol == SYMBOL
    assert (await anext(stream)).report.symbol == SYMBOL
    await stream.aclose()
    await later.close()


async def test_an_instrument_that_was_never_met_is_named_alike_once_it_is_found(desk):
    await desk.exchange.submit(desk.order(limit_price=FAR))
    codes = Codes(NoCatalogue(), "testnet")
    history = History(desk.exchange._look_up, codes, desk.clock)

    before = [r.symbol for r in await history.open_orders()]
    await history.find("trd-1", SYMBOL, None)
    after = [r.symbol for r in await history.open_orders()]

    assert (before, after) == (["BTCUSDT"], [SYMBOL])


async def test_own_filters_that_were_not_understood_are_asked_for_again(desk):
    bodies = [b'{"exchangeFilters":1}', b'{"exchangeFilters":[],"assetFilters":[]}']

    async def look_up(endpoint, query):
        return Answer(200, bodies.pop(0))

    reader = AccountReader(look_up, Codes(NoCatalogue(), "live"), FrozenClock(), True)
    rule = desk.catalogue.metadata("binance", "testnet").instruments[SYMBOL]
    with pytest.raises(OutcomeUnknown):
        await reader.own_rules(rule)

    assert await reader.own_rules(rule) == await reader.own_rules(rule)
    assert bodies == []


async def test_an_order_of_another_instrument_is_not_found(desk):
    report = await desk.exchange.submit(desk.order(limit_price=FAR))

    assert await desk.exchange.find("trd-1", "ETH/USDT") is None
    assert await desk.exchange.find("trd-1", "ETH/USDT", report.exchange_order_id) is None


async def test_history_goes_back_over_several_days(desk):
    for day in range(3):
        await desk.exchange.submit(desk.order(f"trd-{day}", quantity=D("0.01")))
        desk.clock.advance(86_400)

    orders = await desk.exchange.orders(SYMBOL, SINCE)
    fills = await desk.exchange.fills(SYMBOL, SINCE)

    assert [r.client_order_id for r in orders] == ["trd-0", "trd-1", "trd-2"]
    assert [f.client_order_id for f in fills] == ["trd-0", "trd-1", "trd-2"]


async def test_a_fill_is_named_after_a_restart_too(desk):
    await desk.exchange.submit(desk.order())
    restarted = await desk.connect(desk.account)

    fills = await restarted.fills(SYMBOL, SINCE)

    assert [f.client_order_id for f in fills] == ["trd-1"]
    await restarted.close()


async def test_balances_add_up_and_leave_out_what_is_not_held(desk):
    await desk.exchange.submit(desk.order(limit_price=FAR))

    held = {b.currency: (b.total, b.free) for b in await desk.exchange.balances()}

    assert held == {"USDT": (D(100_000), D(95_500)), "BTC": (D(1), D(1))}


async def test_what_the_account_pays_is_read_per_instrument_and_kept_for_ten_minutes(desk):
    desk.account.maker, desk.account.taker = D("0.0008"), D("0.0012")

    fees = await desk.exchange.fees(SYMBOL)
    everywhere = await desk.exchange.fees()
    desk.account.taker = D("0.002")
    kept = await desk.exchange.fees(SYMBOL)
    desk.clock.advance(600)
    later = await desk.exchange.fees(SYMBOL)

    assert (fees.maker, fees.taker, fees.currency) == (D("0.0008"), D("0.0012"), "received")
    assert (everywhere.maker, everywhere.taker) == (fees.maker, fees.taker)
    assert (kept.taker, later.taker) == (D("0.0012"), D("0.002"))


async def test_fees_are_all_parts_together_at_the_dearer_side():
    rates = {"maker": "0.001", "taker": "0.002", "buyer": "0.0001", "seller": "0.0003"}
    special = {"maker": "0.01", "taker": "0.02", "buyer": "0", "seller": "0"}
    tax = {"maker": "0.1", "taker": "0.2", "buyer": "0.05", "seller": "0"}
    told = {"standardCommission": rates, "specialCommission": special, "taxCommission": tax}

    async def look_up(endpoint, query):
        return Answer(200, msgspec.json.encode(told))

    reader = AccountReader(look_up, Codes(NoCatalogue(), "live"), FrozenClock(), True)

    fees = await reader.fees(SYMBOL)

    assert (fees.maker, fees.taker) == (D("0.1613"), D("0.2723"))


async def test_a_refused_key_is_said_to_the_one_who_adds_it(desk):
    desk.sim.revoke(desk.account.key)

    with pytest.raises(ExchangeRejected, match="permissions"):
        await desk.exchange.identity()


async def test_the_testnet_does_not_tell_whether_a_key_may_withdraw(desk):
    desk.account.can_trade = False

    identity = await desk.exchange.identity()

    assert (identity.may_trade, identity.may_withdraw) == (False, None)
    assert identity.permissions == ("SPOT",)


@pytest.mark.parametrize("may_withdraw", [True, False])
async def test_s22_live_tells_whether_a_key_may_withdraw(desk, may_withdraw):
    desk.sim.world.environment = "live"
    desk.account.first_key.can_withdraw = may_withdraw
    where = endpoints.addresses("testnet", desk.catalogue.context.simulators["binance"])
    live = endpoints.Addresses(where.public, where.socket, withdrawals=True)
    market = BinanceMarket("live", live, desk.catalogue.context)
    signer = read_signer(account_key(desk.account).credentials)
    exchange = BinanceExchange(market, signer, desk.catalogue.context, over_socket=True)

    identity = await exchange.identity()

    assert identity.may_withdraw is may_withdraw
    await exchange.close()
    await market.close()


async def test_two_accounts_see_each_only_its_own(desk):
    other = await desk.connect(desk.sim.add_account({"USDT": D(50_000)}))
    await desk.exchange.submit(desk.order(limit_price=FAR))

    assert await other.find("trd-1", SYMBOL) is None
    assert await other.open_orders() == []
    assert (await other.identity()).identifier != (await desk.exchange.identity()).identifier
    await other.close()


# --- pages, against records that are too many for one ---


class Records:
    """Answers history questions from rows, as the exchange pages them."""

    def __init__(self, rows, id_name, from_name):
        self.rows = rows
        self.id_name, self.from_name = id_name, from_name
        self.asked = []

    async def look_up(self, endpoint, query):
        self.asked.append(dict(query))
        first, start = query.get(self.from_name), query.get("startTime")
        assert first is None or start is None
        if start is not None:
            assert query["endTime"] - start < 86_400_000
        found = [
            row
            for row in self.rows
            if (first is None or row[self.id_name] >= first)
            and (start is None or start <= row["time"] <= query["endTime"])
        ]
        return Answer(200, msgspec.json.encode(found[: query["limit"]]))


def an_order_row(number, at):
    return {
        "symbol": "BTCUSDT",
        "orderId": number,
        "clientOrderId": f"trd-{number}",
        "side": "BUY",
        "price": "1",
        "origQty": "1",
        "executedQty": "1",
        "status": "FILLED",
        "time": at,
    }


def a_fill_row(number, at):
    return {
        "symbol": "BTCUSDT",
        "id": number,
        "orderId": 1,
        "price": "1",
        "qty": "1",
        "commission": "0",
        "commissionAsset": "BTC",
        "time": at,
        "isBuyer": True,
        "isMaker": False,
    }


@pytest.mark.parametrize("count", [999, 1000, 1001, 2000, 2500])
async def test_every_page_of_a_busy_day_is_read_once(count):
    at = to_ms(START)
    records = Records([an_order_row(i, at + i) for i in range(1, count + 1)], "orderId", "orderId")
    history = History(records.look_up, Codes(NoCatalogue(), "testnet"), lambda: START)

    orders = await history.orders(SYMBOL, START)

    assert [int(r.exchange_order_id) for r in orders] == list(range(1, count + 1))
    assert len(records.asked) == count // 1000 + 1


@pytest.mark.parametrize("count", [1000, 1500])
async def test_every_fill_of_an_order_of_many_is_read(count):
    at = to_ms(START)
    rows = Records([a_fill_row(i, at) for i in range(1, count + 1)], "id", "fromId")
    order = {**an_order_row(1, at), "origQty": str(count), "executedQty": str(count)}

    async def look_up(endpoint, query):
        if endpoint is endpoints.ORDER:
            return Answer(200, msgspec.json.encode(order))
        return await rows.look_up(endpoint, query)

    history = History(look_up, Codes(NoCatalogue(), "testnet"), lambda: START)

    found = await history.find("trd-1", SYMBOL, None)

    assert found is not None
    assert len({f.exchange_fill_id for f in found.fills}) == count


@pytest.mark.parametrize(
    "changes", [{"symbol": "ETHUSDT"}, {"clientOrderId": "web_1"}, {"origQty": None}]
)
async def test_an_answer_about_another_order_is_no_evidence(changes):
    row = {**an_order_row(1, to_ms(START)), "executedQty": "0", **changes}

    async def look_up(endpoint, query):
        return Answer(200, msgspec.json.encode(row))

    history = History(look_up, Codes(NoCatalogue(), "testnet"), lambda: START)

    with pytest.raises(OutcomeUnknown):
        await history.find("trd-1", SYMBOL, None)


OURS, OTHERS = "trd-aaaaaaaaaaaaaaaaaaaa", "trd-bbbbbbbbbbbbbbbbbbbb"


@pytest.mark.parametrize(
    ("changes", "is_it"),
    [
        ({"clientOrderId": OURS}, True),
        ({"clientOrderId": "web_cancel"}, True),
        ({"clientOrderId": "web_cancel", "origClientOrderId": OURS}, True),
        ({"clientOrderId": OTHERS}, False),
        ({"clientOrderId": "web_cancel", "origClientOrderId": OTHERS}, False),
        ({"clientOrderId": OURS, "orderId": 2}, False),
        ({"clientOrderId": "web_cancel", "symbol": "ETHUSDT"}, False),
    ],
)
async def test_a_number_that_begins_again_is_not_taken_for_the_order_it_was(changes, is_it):
    row = {**an_order_row(1, to_ms(START)), "executedQty": "0", **changes}

    async def look_up(endpoint, query):
        return Answer(200, msgspec.json.encode(row))

    history = History(look_up, Codes(NoCatalogue(), "testnet"), lambda: START)

    if is_it:
        found = await history.find(OURS, SYMBOL, "1")
        assert found is not None
        assert (found.client_order_id, found.exchange_order_id) == (OURS, "1")
    else:
        with pytest.raises(OutcomeUnknown, match="another order"):
            await history.find(OURS, SYMBOL, "1")


async def test_the_same_number_of_two_instruments_has_two_names():
    at = to_ms(START)

    async def look_up(endpoint, query):
        if endpoint is endpoints.ALL_ORDERS:
            row = {**an_order_row(1, at), "symbol": query["symbol"]}
            return Answer(200, msgspec.json.encode([{**row, "clientOrderId": query["symbol"]}]))
        row = {**a_fill_row(5, at), "symbol": query["symbol"]}
        return Answer(200, msgspec.json.encode([row]))

    history = History(look_up, Codes(NoCatalogue(), "testnet"), lambda: START)

    named = [(await history.fills(one, START))[0] for one in (SYMBOL, "ETH/USDT")]

    assert [fill.client_order_id for fill in named] == ["BTCUSDT", "ETHUSDT"]


@pytest.mark.parametrize("what", ["orders", "fills", "find"])
async def test_records_without_an_end_are_no_answer(what):
    at = to_ms(START)
    make = an_order_row if what == "orders" else a_fill_row
    asked_at_most = iter(range(200))

    async def look_up(endpoint, query):
        next(asked_at_most)
        if endpoint is endpoints.ORDER:
            return Answer(200, msgspec.json.encode(an_order_row(1, at)))
        first = query.get("fromId", query.get("orderId", 1))
        page = [make(first + i, at) for i in range(query["limit"])]
        return Answer(200, msgspec.json.encode(page))

    history = History(look_up, Codes(NoCatalogue(), "testnet"), lambda: START)
    asked = {
        "orders": lambda: history.orders(SYMBOL, START),
        "fills": lambda: history.fills(SYMBOL, START),
        "find": lambda: history.find("trd-1", SYMBOL, None),
    }

    with pytest.raises(OutcomeUnknown, match="more than can be read"):
        await asked[what]()


async def test_a_look_up_that_never_left_says_so(tmp_path):
    async with desk_at(tmp_path) as desk:
        await desk.exchange.now()
        await desk.sim.stop()

        with pytest.raises((ExchangeUnavailable, OutcomeUnknown)):
            await desk.exchange.find("trd-1", SYMBOL)
