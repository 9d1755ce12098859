"""Bitstamp's own payloads, recorded or published, are read as what they say."""

import json
from datetime import UTC, datetime
from decimal import Decimal as D
from pathlib import Path

import pytest

from backend.domain.exact_json import loads
from backend.domain.order import OrderState, Side
from backend.exchanges.bitstamp import metadata, orders
from backend.exchanges.bitstamp.orders import Memory
from backend.exchanges.bitstamp.tracking import Tracker
from tests.exchanges.scripted import START

DATA = Path(__file__).parents[3] / "shared" / "data" / "bitstamp"
pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason="the recorded payloads are kept beside the repository"
)
CURRENCIES = json.dumps(
    [
        {"name": "Bitcoin", "currency": "BTC", "type": "crypto", "decimals": 8},
        {
            "name": "US dollar",
            "currency": "USD",
            "type": "fiat",
            "decimals": 2,
            "deposit": "Enabled",
        },
    ]
).encode()


def lines(name: str):
    return [loads(line) for line in (DATA / name).read_text().splitlines()]


def rest(path: str):
    found = loads((DATA / "rest_gct_mock.json").read_text())
    return next(entry["response"] for entry in found if entry["path"] == path)


def test_markets_are_read_spot_only_with_the_rules_that_follow_from_their_decimals():
    whole = metadata.document(CURRENCIES, (DATA / "markets_sample.json").read_bytes())

    found = metadata.read(whole, START)

    assert sorted(found.instruments) == ["BTC/EUR", "BTC/USD", "ETH/USD", "LTC/USD"]
    bitcoin, ether = found.instruments["BTC/USD"], found.instruments["ETH/USD"]
    assert (bitcoin.tick_size, bitcoin.step_size) == (D(1), D("0.00000001"))
    assert (ether.tick_size, ether.step_size) == (D("0.01"), D("0.000001"))
    assert (bitcoin.code, bitcoin.status, bitcoin.min_notional) == ("btcusd", "trading", D(10))
    assert bitcoin.min_quantity == bitcoin.step_size
    assert bitcoin.max_quantity == metadata.NO_MAXIMUM
    assert found.currencies["USD"].deposits is True


def test_an_older_market_order_is_told_frame_by_frame_and_its_dust_is_not_filled():
    tracker = Tracker(Memory())
    reports = []
    for frame in lines("ws_private_my_orders_2023-09-04.jsonl"):
        report = tracker.take_event("BTC/USD", frame["event"], frame["data"]).report()
        reports.append(report and (report.client_order_id, report.state, report.filled_quantity))

    assert reports == [
        None,
        ("test_market_buy", OrderState.PARTIALLY_FILLED, D("0.00038666")),
        ("test_market_buy", OrderState.CANCELLED, D("0.00038666")),
        ("test_limit_sell", OrderState.OPEN, D(0)),
        ("test_limit_sell", OrderState.FILLED, D("0.00038692")),
    ]


def test_a_recorded_trade_becomes_a_fill_of_its_order():
    tracker = Tracker(Memory())
    created, trade = lines("ws_private_2026-09-15.jsonl")
    tracker.take_event("ETH/USDT", created["event"], created["data"])

    tracked = tracker.take_trade("ETH/USDT", trade["data"])
    assert tracked is not None
    report = tracked.report()
    assert report is not None

    (fill,) = report.fills
    assert (fill.exchange_fill_id, fill.quantity, fill.price) == (
        "635698396",
        D("0.005"),
        D("2468.04"),
    )
    assert (fill.fee, fill.fee_currency, fill.side) == (D("0.04936"), "USDT", Side.BUY)
    assert fill.executed_at == datetime(2026, 9, 15, 8, 8, 14, 223000, tzinfo=UTC)
    assert report.state is OrderState.PARTIALLY_FILLED


def test_a_row_of_open_orders_is_an_order_by_hand_or_ours():
    (row,) = rest("/api/v2/open_orders/btcusd/")

    report = orders.open_row(row)

    assert (report.symbol, report.side, report.quantity) == ("BTC/USD", Side.BUY, D("0.5"))
    assert report.client_order_id == "1234123412341234"
    assert orders.open_row({**row, "client_order_id": None}).client_order_id == ""


def test_a_row_of_user_transactions_is_read_by_its_keys_and_its_sign():
    row = loads(
        '{"usd":"-10555.01","btc_usd":11170.21,"order_id":857979733,'
        '"datetime":"2018-01-29 20:22:34","fee":"26.39","btc":"0.94492494","type":"2",'
        '"id":50197020,"eur":0.0,"gbp":"None"}'
    )

    fill = orders.trade_row(row, "BTC/USD", {"857979733": "trd-1"})

    assert fill is not None
    assert (fill.side, fill.quantity, fill.price) == (Side.BUY, D("0.94492494"), D("11170.21"))
    assert (fill.exchange_order_id, fill.client_order_id) == ("857979733", "trd-1")
    assert fill.executed_at == datetime(2018, 1, 29, 20, 22, 34, tzinfo=UTC)
    assert orders.trade_row({**row, "type": "0"}, "BTC/USD", {}) is None


@pytest.mark.parametrize(
    ("row", "path"),
    [("id", "/api/v2/buy/market/btcusd/"), ("token", "/api/v2/websockets_token/")],
)
def test_the_replies_have_the_keys_that_are_read(row, path):
    assert row in rest(path)
