"""A paper account that mirrors an exchange is judged, priced and charged as there."""

from decimal import Decimal

import pytest

from backend.domain.errors import ExchangeRejected, ExchangeUnavailable, OutcomeUnknown
from backend.domain.ledger import FeeSchedule
from backend.domain.order import OrderState
from backend.exchanges import AccountKey, paper
from backend.exchanges.paper.settings import read_settings
from tests.exchanges.mirrored_bench import SYMBOL, MirroredDesk
from tests.exchanges.scripted import START, D, totals

pytestmark = pytest.mark.anyio


@pytest.fixture
def desk(tmp_path):
    return MirroredDesk(tmp_path)


async def outcome(exchange, order):
    """Return the state of a submit, or the refusal's code."""
    try:
        return str((await exchange.submit(order)).state)
    except ExchangeRejected as error:
        return error.exchange_code


@pytest.mark.parametrize(
    ("rules", "changes", "expected"),
    [
        ({}, {}, "filled"),
        ({}, {"symbol": "AAPL"}, "unknown_symbol"),
        ({}, {"symbol": "ETH/USDT"}, "unknown_symbol"),
        ({"status": "break"}, {}, "not_trading"),
        ({"order_types": ["limit"]}, {}, "filled"),
        ({"order_types": ["stop_limit"]}, {}, "unsupported_order"),
        (
            {"order_types": ["limit"]},
            {"stop_price": "120", "order_type": "stop"},
            "unsupported_order",
        ),
        ({"tick_size": "0.5"}, {"limit_price": "99.75"}, "tick_size"),
        ({"tick_size": "0.5"}, {"limit_price": "99.5"}, "open"),
        ({"min_price": "50"}, {"limit_price": "49.99"}, "tick_size"),
        ({"max_price": "101"}, {"limit_price": "101.01"}, "tick_size"),
        ({"step_size": "0.5"}, {"quantity": "1.25"}, "step_size"),
        ({"min_quantity": "2"}, {"quantity": "1.999"}, "quantity_bounds"),
        ({"max_quantity": "9"}, {}, "quantity_bounds"),
        ({"min_notional": "1000.01"}, {}, "min_notional"),
        ({"min_notional": "1000"}, {}, "filled"),
        ({"max_notional": "999.99"}, {}, "min_notional"),
        ({"price_band": ["0.9", "1.1"]}, {"limit_price": "90"}, "open"),
        ({"price_band": ["0.9", "1.1"]}, {"limit_price": "89.99"}, "exchange_band"),
        ({"price_band": ["0.9", "1.1"]}, {"price": "110.01"}, "exchange_band"),
        ({"max_open_orders": 0}, {"limit_price": "90"}, "max_open_orders"),
        ({"max_stop_orders": 0}, {"limit_price": "90"}, "open"),
        ({"max_stop_orders": 0}, {"limit_price": "130", "stop_price": "120"}, "max_open_orders"),
        ({"max_position": "10"}, {}, "filled"),
        ({"max_position": "9.999"}, {}, "max_position"),
        ({"max_position": "9.999"}, {"side": "sell"}, "filled"),
    ],
)
async def test_an_order_is_judged_by_the_other_exchanges_rules(desk, rules, changes, expected):
    desk.market.change(**rules)
    holdings = {"BTC": D(20)} if changes.get("side") == "sell" else None
    exchange = await desk.open(holdings)
    if "stop_price" in changes:
        kind = "stop_limit" if "limit_price" in changes else "stop"
        changes = {"order_type": kind, "worst_price": "130", **changes}

    assert await outcome(exchange, desk.order(**changes)) == expected

    await exchange.close()


async def test_live_orders_count_towards_the_most_that_may_be_open_or_held(desk):
    desk.market.change(max_open_orders=2, max_position="25")
    exchange = await desk.open()
    first = await outcome(exchange, desk.order("trd-1", limit_price="90"))
    beyond = await outcome(exchange, desk.order("trd-2", limit_price="90", quantity="15.001"))
    second = await outcome(exchange, desk.order("trd-3", limit_price="90", quantity="15"))
    third = await outcome(exchange, desk.order("trd-4", side="sell", limit_price="110"))

    assert (first, beyond, second, third) == ("open", "max_position", "open", "max_open_orders")
    await exchange.close()


async def test_changed_rules_count_at_once_and_a_delisted_order_goes_on(desk):
    exchange = await desk.open()
    await exchange.submit(desk.order("trd-1", limit_price="90"))

    desk.market.change(step_size="4")
    refused = await outcome(exchange, desk.order("trd-2"))
    desk.market.rows = [{**desk.market.rows[0], "symbol": "ETH/USDT"}]
    unknown = await outcome(exchange, desk.order("trd-3"))
    desk.clock.advance(1)
    desk.market.prices.touches[SYMBOL] = ("89", "89.50")
    found = await exchange.find("trd-1", SYMBOL)

    assert (refused, unknown) == ("step_size", "unknown_symbol")
    assert set((await exchange.metadata()).instruments) == {"ETH/USDT"}
    assert await exchange.quote(SYMBOL) is None
    assert found.state is OrderState.FILLED
    assert await totals(exchange) == {"BTC": "9.99", "USDT": "99100"}
    await exchange.close()


async def test_matching_goes_on_from_the_present_live_quote(desk):
    exchange = await desk.open()
    await exchange.submit(desk.order("trd-1", limit_price="90"))
    stream = exchange.events()
    await anext(stream)

    desk.clock.advance(60)
    desk.market.prices.touches[SYMBOL] = ("89", "89.50")
    (fill,) = await exchange.fills(SYMBOL, START)
    told = await anext(stream)

    assert (fill.price, fill.liquidity, fill.executed_at) == (D(90), "maker", desk.clock())
    assert told.report.reason == "present_quote"
    await stream.aclose()
    await exchange.close()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, FeeSchedule(D("0.001"), D("0.002"), "received")),
        ({"taker_fee_bps": "0"}, FeeSchedule(D("0.001"), D(0), "received")),
        (
            {"maker_fee_bps": "5", "fee_currency": "BNB"},
            FeeSchedule(D("0.0005"), D("0.002"), "BNB"),
        ),
    ],
)
async def test_fees_left_out_are_those_of_the_mirrored_exchange(tmp_path, settings, expected):
    desk = MirroredDesk(tmp_path, **settings)
    exchange = await desk.open()

    assert await exchange.fees() == expected

    await exchange.close()


async def test_a_fee_is_taken_from_what_an_order_brings_in(desk):
    exchange = await desk.open()

    await exchange.submit(desk.order("trd-1"))
    await exchange.submit(desk.order("trd-2", side="sell", quantity="5", price="99.99"))

    assert await totals(exchange) == {"BTC": "4.98", "USDT": "99498.9501"}
    await exchange.close()


@pytest.mark.parametrize("trouble", [OutcomeUnknown("?"), ExchangeUnavailable("?"), None])
async def test_without_the_reference_price_of_a_band_nothing_is_taken(desk, trouble):
    desk.market.change(price_band=["0.9", "1.1"])
    exchange = await desk.open()
    desk.market.trouble, desk.market.reference = trouble, None

    with pytest.raises(ExchangeUnavailable):
        await exchange.submit(desk.order("trd-1"))

    desk.market.trouble = None
    assert await exchange.find("trd-1", SYMBOL) is None
    await exchange.close()


@pytest.mark.parametrize(
    ("mirror", "word"),
    [
        ("Tiny", "exchange:environment"),
        (" tiny", "exchange:environment"),
        ("tiny:", "exchange:environment"),
        ("tiny:live:x", "exchange:environment"),
        ("paper", "there is no exchange paper"),
        ("other", "there is no exchange other"),
        ("tiny:testnet", "mirror tiny:testnet"),
    ],
)
async def test_a_mirror_that_is_not_there_is_refused_before_anything_is_opened(desk, mirror, word):
    account = AccountKey("paper", "other", "paper", "USDT", {"mirror": mirror})

    with pytest.raises(ValueError, match=word):
        await paper.open_account(account, desk.context)
    with pytest.raises(ValueError, match=word):
        await paper.connect(account, desk.context)

    assert not (desk.context.home / "paper.db").exists()


async def test_a_currency_that_the_exchange_lacks_is_refused_until_the_account_has_traded(desk):
    in_usd = AccountKey("paper", "usd", "paper", "USD", {"mirror": "tiny"})
    await paper.open_account(in_usd, desk.context)
    with pytest.raises(ValueError, match="tiny deals in no USD: choose .* such as USDT"):
        await paper.connect(in_usd, desk.context)
    exchange = await desk.open()
    await exchange.submit(desk.order("trd-1"))
    await exchange.close()

    desk.market.rows = [{**desk.market.rows[0], "symbol": "ETH/EUR"}]
    again = await desk.connect()

    assert await totals(again) == {"BTC": "9.98", "USDT": "99000"}
    await again.close()


def test_live_is_the_environment_that_is_meant():
    assert read_settings({"mirror": "tiny"}).mirror == ("tiny", "live")
    assert read_settings({"mirror": "tiny:testnet"}).mirror == ("tiny", "testnet")
    assert read_settings({"mirror": ""}).mirror is None
    assert read_settings({}).fees == FeeSchedule(Decimal(0), Decimal(0))
