"""The paper exchange: what it takes, fills and refuses."""

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest

from backend.database import sqlite3  # type: ignore[attr-defined, unused-ignore]
from backend.domain.errors import (
    ExchangeRejected,
    ExchangeUnavailable,
    NotFound,
    OutcomeUnknown,
    Refused,
)
from backend.domain.order import OrderState
from backend.exchanges import AccountKey, paper
from backend.exchanges.paper.settings import SETTINGS, read_settings
from tests.exchanges.scripted import START, D, Desk, totals

pytestmark = pytest.mark.anyio


async def outcome(exchange, order):
    """Return state, filled quantity and the fills' prices of a submit, or the refusal's code."""
    try:
        report = await exchange.submit(order)
    except ExchangeRejected as error:
        return error.exchange_code
    fills = " ".join(f"{f.quantity}@{f.price}{f.liquidity[0]}" for f in report.fills)
    return f"{report.state} {fills}".strip()


# bid 99.99, ask 100.00; liquidity 4 and slippage 50 bps where the table says so.
@pytest.mark.parametrize(
    ("changes", "settings", "expected"),
    [
        ({}, {}, "filled 10@100t"),
        ({"price": "101.50"}, {}, "filled 10@101.5t"),
        ({}, {"liquidity": "4"}, "filled 10@100t"),
        ({"limit_price": "99.50"}, {}, "open"),
        ({"limit_price": "100.50"}, {}, "filled 10@100t"),
        ({"limit_price": "100.50"}, {"slippage_bps": "30"}, "filled 10@100.3t"),
        ({"limit_price": "100.50"}, {"slippage_bps": "90"}, "filled 10@100.5t"),
        ({"limit_price": "100.50"}, {"liquidity": "4"}, "partially_filled 4@100t"),
        ({"limit_price": "100.50", "tif": "ioc"}, {"liquidity": "4"}, "cancelled 4@100t"),
        ({"limit_price": "99.50", "tif": "ioc"}, {}, "cancelled"),
        ({"limit_price": "100.50", "tif": "fok"}, {"liquidity": "4"}, "cancelled"),
        ({"limit_price": "100.50", "tif": "fok"}, {"liquidity": "10"}, "filled 10@100t"),
        ({"limit_price": "99.50", "tif": "fok"}, {}, "cancelled"),
        ({"side": "sell", "limit_price": "99.00"}, {}, "filled 10@99.99t"),
        ({"side": "sell", "limit_price": "99.90"}, {"slippage_bps": "90"}, "filled 10@99.9t"),
        ({"side": "sell", "limit_price": "100.01"}, {}, "open"),
        ({"order_type": "stop", "stop_price": "101", "worst_price": "102"}, {}, "open"),
        ({"order_type": "stop", "stop_price": "99", "worst_price": "102"}, {}, "filled 10@100t"),
        ({"order_type": "stop_limit", "stop_price": "99", "limit_price": "99.5"}, {}, "open"),
        ({"symbol": "NOPE"}, {}, "unknown_symbol"),
        ({"order_type": "limit"}, {}, "bad_order"),
        ({"limit_price": "99.505"}, {}, "tick_size"),
        ({"quantity": "10.5"}, {}, "step_size"),
        ({"quantity": "2000000"}, {}, "quantity_bounds"),
        ({"symbol": "BTC/USD", "quantity": "0.00001", "price": "100"}, {}, "min_notional"),
        ({"quantity": "1001"}, {}, "insufficient_funds"),
        ({"quantity": "1000"}, {}, "filled 1000@100t"),
        ({"quantity": "1000"}, {"taker_fee_bps": "1"}, "insufficient_funds"),
        ({"side": "sell", "quantity": "51"}, {}, "insufficient_funds"),
        ({"valid_until": START}, {}, "expired_request"),
        ({}, {"taker_fee_bps": "1", "fee_currency": "BNB"}, "no_fee_price"),
    ],
)
async def test_a_new_order_is_filled_rested_or_refused(tmp_path, changes, settings, expected):
    desk = Desk(tmp_path, **settings)
    exchange = await desk.open({"AAPL": D(50)})

    assert await outcome(exchange, desk.order(**changes)) == expected

    await exchange.close()


@pytest.mark.parametrize(
    ("fee_currency", "side", "expected"),
    [
        ("quote", "buy", {"USDT": "4995", "BTC": "1.1", "BNB": "1"}),
        ("quote", "sell", {"USDT": "14995", "BTC": "0.9", "BNB": "1"}),
        ("base", "buy", {"USDT": "5000", "BTC": "1.0999", "BNB": "1"}),
        ("base", "sell", {"USDT": "15000", "BTC": "0.8999", "BNB": "1"}),
        ("BNB", "buy", {"USDT": "5000", "BTC": "1.1", "BNB": "0.99"}),
        ("BNB", "sell", {"USDT": "15000", "BTC": "0.9", "BNB": "0.99"}),
    ],
)
async def test_fees_are_taken_in_quote_base_or_a_third_asset(
    tmp_path, fee_currency, side, expected
):
    desk = Desk(tmp_path, taker_fee_bps="10", fee_currency=fee_currency)
    desk.account = AccountKey("paper", "main", "paper", "USDT", desk.account.settings)
    await paper.open_account(desk.account, desk.context, D(10_000), {"BTC": D(1), "BNB": D(1)})
    exchange = await desk.connect()

    await exchange.submit(desk.order(symbol="BTC/USDT", side=side, quantity="0.1", price="50000"))

    assert await totals(exchange) == expected
    await exchange.close()


async def test_maker_and_taker_fees_differ(tmp_path):
    desk = Desk(tmp_path, maker_fee_bps="5", taker_fee_bps="10")
    desk.prices.set("AAPL", "98.99", "99.00", after_s=10)
    exchange = await desk.open()
    await exchange.submit(desk.order("trd-1"))
    await exchange.submit(desk.order("trd-2", limit_price="99.00"))
    desk.clock.advance(10)

    fills = await exchange.fills("AAPL", START)

    assert [(f.liquidity, f.fee) for f in fills] == [("taker", D(1)), ("maker", D("0.495"))]
    await exchange.close()


async def test_a_used_client_order_id_answers_unknown_and_books_nothing(tmp_path):
    desk = Desk(tmp_path)
    exchange = await desk.open()
    await exchange.submit(desk.order("trd-1"))
    desk.clock.advance(5)  # Even past its validity: a repeat is never called rejected.

    with pytest.raises(OutcomeUnknown, match="duplicate"):
        await exchange.submit(desk.order("trd-1", valid_until=START))

    assert len(await exchange.fills("AAPL", START)) == 1
    await exchange.close()


async def test_the_account_survives_a_restart_in_the_middle(tmp_path):
    desk = Desk(tmp_path)
    desk.prices.set("AAPL", "98.99", "99.00", after_s=60)
    first = await desk.open()
    await first.submit(desk.order("trd-1"))
    await first.submit(desk.order("trd-2", limit_price="99.50"))
    await first.close()
    desk.clock.advance(120)

    second = await desk.connect()
    report = await second.find("trd-2", "AAPL")

    assert report is not None
    assert report.state is OrderState.FILLED
    assert report.fills[0].executed_at == START + timedelta(seconds=60)
    assert await totals(second) == {"AAPL": "20", "USD": "98005"}
    await second.close()


async def test_two_connections_on_one_file_share_one_account(tmp_path):
    desk = Desk(tmp_path)
    one, two = await desk.open(), await desk.connect()

    reports = await asyncio.gather(
        *((one, two)[i % 2].submit(desk.order(f"trd-{i}")) for i in range(20))
    )

    assert sorted(int(r.exchange_order_id[6:]) for r in reports) == list(range(1, 21))
    assert await totals(one) == await totals(two) == {"AAPL": "200", "USD": "80000"}
    await one.close()
    await two.close()


async def test_one_id_sent_over_two_connections_is_booked_once(tmp_path):
    desk = Desk(tmp_path)
    one, two = await desk.open(), await desk.connect()

    answers = await asyncio.gather(
        *(x.submit(desk.order("trd-1")) for x in (one, two)), return_exceptions=True
    )

    assert sorted(type(a).__name__ for a in answers) == ["OrderReport", "OutcomeUnknown"]
    assert len(await one.fills("AAPL", START)) == 1
    await one.close()
    await two.close()


async def test_not_found_is_only_said_while_no_submit_is_on_its_way_to_the_disk(tmp_path):
    desk = Desk(tmp_path)
    exchange = await desk.open()
    other = sqlite3.connect(str(tmp_path / "paper.db"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    looking = asyncio.ensure_future(exchange.find("trd-1", "AAPL"))
    done, _ = await asyncio.wait([looking], timeout=0.05)
    other.execute("ROLLBACK")

    assert not done
    assert await looking is None
    other.close()
    await exchange.close()


async def test_after_a_not_found_past_validity_no_clock_can_let_the_order_in(tmp_path):
    desk = Desk(tmp_path)
    exchange = await desk.open()
    late = desk.order("trd-1")
    desk.clock.advance(2)

    found = await exchange.find("trd-1", "AAPL")
    desk.clock.advance(-2)  # Another process, whose clock is behind, still has the request.

    assert found is None
    assert await outcome(exchange, late) == "expired_request"
    await exchange.close()


async def test_after_a_time_was_told_no_clock_can_let_in_what_had_ended_by_then(tmp_path):
    desk = Desk(tmp_path)
    exchange = await desk.open()
    late = desk.order("trd-1")
    desk.clock.advance(60)

    told = await exchange.now()
    desk.clock.advance(-60)  # Put back between the look at the clock and the question.

    assert told > late.valid_until
    assert await exchange.find("trd-1", "AAPL") is None
    assert await outcome(exchange, late) == "expired_request"
    await exchange.close()


async def test_opening_twice_does_nothing_and_differently_is_refused(tmp_path):
    desk = Desk(tmp_path)
    exchange = await desk.open()
    await exchange.submit(desk.order())

    await paper.open_account(desk.account, desk.context, D("100000.00"))
    with pytest.raises(Refused, match="another opening"):
        await paper.open_account(desk.account, desk.context, D(5))

    assert await totals(exchange) == {"AAPL": "10", "USD": "99000"}
    await exchange.close()


async def test_a_reset_cancels_orders_and_restores_the_opening(tmp_path):
    desk = Desk(tmp_path)
    exchange = await desk.open()
    await exchange.submit(desk.order("trd-1"))
    await exchange.submit(desk.order("trd-2", limit_price="90"))

    await paper.reset_account(desk.account, desk.context)

    assert await totals(exchange) == {"USD": "100000"}
    assert await exchange.open_orders() == []
    report = await exchange.find("trd-2", "AAPL")
    assert report is not None
    assert (report.state, report.reason) == (OrderState.CANCELLED, "reset")
    await exchange.close()


async def test_an_unknown_account_cannot_be_connected_or_reset(tmp_path):
    desk = Desk(tmp_path)

    with pytest.raises(NotFound, match="main"):
        await desk.connect()
    with pytest.raises(NotFound, match="main"):
        await paper.reset_account(desk.account, desk.context)


async def test_accounts_do_not_see_each_other(tmp_path):
    desk = Desk(tmp_path)
    mine = await desk.open()
    other_key = AccountKey("paper", "other", "paper", "USD")
    await paper.open_account(other_key, desk.context, D(1))
    other = await paper.connect(other_key, desk.context)
    await mine.submit(desk.order("trd-1"))

    assert await other.find("trd-1", "AAPL") is None
    assert await other.fills("AAPL", START) == []
    assert await totals(other) == {"USD": "1"}
    await mine.close()
    await other.close()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"maker_fee": "1"}, "unknown paper setting 'maker_fee'"),
        ({"maker_fee_bps": "-1"}, "maker_fee_bps must be a number from 0 to 1000"),
        ({"taker_fee_bps": "1001"}, "taker_fee_bps must be"),
        ({"slippage_bps": "1e2"}, "slippage_bps must be"),
        ({"fee_currency": "bnb!"}, "fee_currency must be"),
        ({"liquidity": "0"}, "liquidity must be empty or a number above 0"),
        ({"latency_ms": "1.5"}, "latency_ms must be a whole number"),
        ({"latency_ms": "20000"}, "latency_ms must be a whole number"),
    ],
)
def test_a_bad_setting_is_refused_in_words(given, message):
    with pytest.raises(ValueError, match=message):
        read_settings(given)


def test_the_default_settings_are_free_and_unlimited():
    read = read_settings({})

    assert read == read_settings({name: default for name, (default, _) in SETTINGS.items()})
    assert (read.fees.worst, read.liquidity, read.latency_ms) == (Decimal(0), None, 0)


async def test_latency_delays_the_order_and_the_exchange_looks_at_its_clock_then(tmp_path):
    desk = Desk(tmp_path, latency_ms="1")
    exchange = await desk.open()
    sending = asyncio.ensure_future(exchange.submit(desk.order()))
    await asyncio.sleep(0)
    desk.clock.advance(2)

    with pytest.raises(ExchangeRejected, match="valid until"):
        await sending

    await exchange.close()


async def test_a_market_order_needs_no_quote(tmp_path):
    desk = Desk(tmp_path)
    exchange = await desk.open()

    report = await exchange.submit(desk.order(symbol="MSFT"))

    assert report.state is OrderState.FILLED
    await exchange.close()


async def test_a_closed_book_answers_like_an_exchange(tmp_path):
    desk = Desk(tmp_path)
    exchange = await desk.open()
    await exchange.close()

    with pytest.raises((OutcomeUnknown, ExchangeUnavailable)):
        await exchange.submit(desk.order())
    with pytest.raises((OutcomeUnknown, ExchangeUnavailable)):
        await exchange.find("trd-1", "AAPL")


async def test_a_stranger_symbol_is_listed_when_the_price_source_has_it(tmp_path):
    desk = Desk(tmp_path)
    desk.prices.symbols = ("XYZ",)
    exchange = await desk.open()

    listed = (await exchange.metadata()).instruments

    assert listed["XYZ"].tick_size == D("0.01")
    assert listed["BTC/USDT"].session == "continuous"
    await exchange.close()
