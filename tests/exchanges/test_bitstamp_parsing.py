"""Ids as numbers or text, times in two precisions, words nobody knows: nothing crashes."""

import json
from datetime import UTC, datetime
from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.domain.errors import OutcomeUnknown
from backend.domain.order import OrderState
from backend.exchanges.bitstamp import fields, metadata, orders
from backend.exchanges.bitstamp.orders import Memory
from backend.exchanges.bitstamp.tracking import Tracker
from tests.exchanges.scripted import START

ROW: dict[str, Any] = {
    "name": "BTC/USD",
    "market_symbol": "btcusd",
    "base_currency": "BTC",
    "base_decimals": 8,
    "counter_currency": "USD",
    "counter_decimals": 0,
    "minimum_order_value": "10",
    "trading": "Enabled",
    "market_type": "SPOT",
}
COIN = {"name": "Bitcoin", "currency": "BTC", "type": "crypto", "decimals": 8}
STATUS: dict[str, Any] = {
    "id": D(1429545880227846),
    "datetime": "2021-11-25 12:59:59",
    "type": "0",
    "status": "Finished",
    "market": "ETH/USDT",
    "amount_remaining": "0.00000000",
    "client_order_id": "trd-1",
    "transactions": [
        {
            "tid": D(209895701),
            "price": "4451.25000000",
            "eth": "0.00500000",
            "usdt": "22.25625000",
            "fee": "0.11128",
            "datetime": "2021-11-25 12:59:59.322000",
            "type": D(2),
        }
    ],
}


def read(*rows: dict[str, Any], currencies: Any = (COIN,)):
    whole = metadata.document(json.dumps(list(currencies)).encode(), json.dumps(rows).encode())
    return metadata.read(whole, START)


def only(**changes: Any):
    (instrument,) = read(ROW | changes).instruments.values()
    return instrument


# --- values ---


@pytest.mark.parametrize("value", ["1e5", "NaN", "", " 1", "١", "None", D("NaN"), D("1e50"), 1.5])
def test_what_is_not_a_plain_number_is_refused(value):
    with pytest.raises(ValueError, match="not a number"):
        fields.number(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(D(1429545880227846), "1429545880227846"), ("2050558851342339", "2050558851342339")],
)
def test_an_id_is_text_however_it_is_sent(value, expected):
    assert fields.text(value) == expected


@pytest.mark.parametrize(
    ("value", "micros"),
    [("2022-01-31 14:43:15", 0), ("2022-01-31 14:43:15.796000", 796000)],
)
def test_a_time_without_a_zone_is_utc_in_either_precision(value, micros):
    assert fields.moment(value) == datetime(2022, 1, 31, 14, 43, 15, micros, tzinfo=UTC)


@pytest.mark.parametrize("value", ["1" * 20, "x", "-1", None])
def test_a_time_that_is_none_is_refused(value):
    with pytest.raises(ValueError, match="not a"):
        fields.micro_moment(value)


# --- orders ---


def test_what_is_filled_and_left_is_what_was_ordered():
    report = orders.looked_up(STATUS | {"amount_remaining": "0.001"}, "trd-1")

    assert (report.quantity, report.filled_quantity) == (D("0.006"), D("0.005"))
    assert report.exchange_order_id == "1429545880227846"
    assert report.fills[0].exchange_fill_id == "209895701"


@pytest.mark.parametrize(
    ("status", "left", "transactions", "state"),
    [
        ("Open", "0.006", False, OrderState.OPEN),
        ("Open", "0.001", True, OrderState.PARTIALLY_FILLED),
        ("Finished", "0", True, OrderState.FILLED),
        ("Finished", "0.00000001", True, OrderState.CANCELLED),
        ("Canceled", "0", True, OrderState.FILLED),
        ("Canceled", "0.001", True, OrderState.CANCELLED),
        ("Expired", "0.006", False, OrderState.EXPIRED),
        ("In Queue", "0.006", False, OrderState.OPEN),
        ("Cancel pending", "0.001", True, OrderState.PARTIALLY_FILLED),
        ("Suspended by aliens", "0.006", False, OrderState.OPEN),
    ],
)
def test_r50_the_outcome_is_in_the_quantity_and_no_unknown_word_is_an_end(
    status, left, transactions, state
):
    told = STATUS["transactions"] if transactions else []

    report = orders.looked_up(
        STATUS | {"status": status, "amount_remaining": left, "transactions": told}, "trd-1"
    )

    assert report.state is state


def test_an_answer_about_another_client_id_is_no_evidence():
    with pytest.raises(OutcomeUnknown):
        orders.looked_up(STATUS, "trd-2")


@pytest.mark.parametrize("told", [{}, None, "", [1], {"tid": D(1)}])
def test_transactions_that_are_no_list_are_not_an_empty_one(told):
    with pytest.raises(OutcomeUnknown), orders.understood():
        orders.looked_up(STATUS | {"transactions": told}, "trd-1")


@pytest.mark.parametrize(
    "content",
    ["[1e99999999999999999999]", "[" * 100_000, b"\xff", "{", "", '{"a":1e9999999999999999999}'],
)
def test_what_no_number_can_hold_is_not_json_here(content):
    with pytest.raises(ValueError, match=r"."):
        fields.read_json(content)


@pytest.mark.parametrize("value", ["1e300", "0e99999999", "1e-3", "0e-99999999", "NaN", "Infinity"])
def test_a_number_that_nobody_counts_to_is_no_id(value):
    with pytest.raises(ValueError, match="not a text"):
        fields.text(D(value))


@pytest.mark.parametrize("gone", ["id", "type", "status", "market", "transactions"])
def test_a_reply_that_lacks_something_is_an_unknown_outcome(gone):
    reply = {key: value for key, value in STATUS.items() if key != gone}

    with pytest.raises(OutcomeUnknown), orders.understood():
        orders.looked_up(reply, "trd-1")


JSON = st.recursive(
    st.none() | st.booleans() | st.text(max_size=5) | st.decimals(allow_nan=True),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(STATUS)), JSON)
def test_whatever_stands_in_a_reply_it_is_read_or_an_unknown_outcome(key, value):
    try:
        with orders.understood():
            orders.looked_up(STATUS | {key: value}, "trd-1")
    except OutcomeUnknown:
        pass  # That it could not be read is an answer too; any other error fails the test.


# --- events ---


def event(left: str, at_create: str = "0.006", **more: Any) -> dict[str, Any]:
    return {
        "id": D(7),
        "order_type": D(0),
        "microtimestamp": "1789459694223000",
        "amount_str": left,
        "amount_at_create": at_create,
        "client_order_id": "trd-1",
    } | more


def test_r51_what_is_filled_is_what_is_missing_not_what_the_last_event_traded():
    tracker = Tracker(Memory())
    tracker.take_event("ETH/USD", "order_changed", event("0.004", amount_traded="0.002"))

    report = tracker.take_event(
        "ETH/USD", "order_changed", event("0.001", amount_traded="0.003")
    ).report()

    assert report is not None
    assert report.filled_quantity == D("0.005")


def test_an_event_that_comes_again_or_late_never_takes_back_a_fill():
    tracker = Tracker(Memory())
    tracker.take_event("ETH/USD", "order_changed", event("0.001"))

    report = tracker.take_event("ETH/USD", "order_created", event("0.006")).report()

    assert report is not None
    assert report.filled_quantity == D("0.005")


def test_an_order_that_is_created_with_zeros_is_told_once_its_quantity_is():
    tracker = Tracker(Memory())

    assert tracker.take_event("ETH/USD", "order_created", event("0", "0")).report() is None


@pytest.mark.parametrize(
    ("subtype", "micros", "state"),
    [
        (3, "1789430400000000", OrderState.EXPIRED),
        (3, "1789459694223000", OrderState.CANCELLED),
        (0, "1789430400000000", OrderState.CANCELLED),
    ],
)
def test_a_daily_order_that_ends_at_midnight_has_expired(subtype, micros, state):
    tracker = Tracker(Memory())
    data = event("0.006", order_subtype=D(subtype), microtimestamp=micros)

    report = tracker.take_event("ETH/USD", "order_deleted", data).report()

    assert report is not None
    assert report.state is state


@pytest.mark.parametrize("fee", ["0.01", "-0.01"])
def test_r39_one_trade_told_twice_is_one_fill_whose_fee_has_no_sign(fee):
    tracker = Tracker(Memory())
    tracker.take_event("ETH/USD", "order_created", event("0.006"))
    trade = {
        "id": D(9),
        "order_id": "7",
        "side": "buy",
        "amount": "0.002",
        "price": "2468.04",
        "fee": fee,
        "microtimestamp": "1789459694223000",
    }

    for _ in range(2):
        tracker.take_trade("ETH/USD", trade)

    report = tracker.orders["7"].report()
    assert report is not None
    assert [f.fee for f in report.fills] == [D("0.01")]
    assert report.filled_quantity == D("0.002")


# --- rules ---


def test_a_tick_size_outweighs_the_decimals_and_maxima_are_kept_where_there_are_any():
    made = only(
        tick_size="0.5",
        maximum_order_amount="10.000000005",
        minimum_order_amount="0.000010001",
        maximum_order_value="500000.00",
    )

    assert made.tick_size == D("0.5")
    assert made.max_quantity == D(10)
    assert made.min_quantity == D("0.00001001")
    assert made.max_notional == D(500000)


def test_a_market_that_is_not_enabled_says_so():
    assert only(trading="Disabled").status == "trading is disabled"
    assert only(trading="Halted by moon").status == "trading is halted by moon"


def test_a_version_changes_with_its_own_row_and_the_sets_with_anything():
    first, again = read(ROW), read(dict(reversed(list(ROW.items()))))
    other = read(ROW, currencies=[COIN | {"decimals": 9}])

    assert first.version == again.version
    assert first.version != other.version
    assert first.instruments["BTC/USD"].version == other.instruments["BTC/USD"].version
    assert only(counter_decimals=1).version != first.instruments["BTC/USD"].version


@pytest.mark.parametrize(
    "changes",
    [
        {"market_type": "PERPETUAL", "market_symbol": "btcusd-perp", "name": "BTC/USD-PERP"},
        {"name": "BTC-USD"},
        {"market_symbol": "xbtusd"},
        {"base_currency": "B C"},
    ],
)
def test_what_is_not_plain_spot_under_its_own_name_is_left_out(changes):
    other = ROW | {
        "name": "ETH/USD",
        "market_symbol": "ethusd",
        "base_currency": "ETH",
    }

    assert list(read(other, ROW | changes).instruments) == ["ETH/USD"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b'{"currencies":[],"markets":[]}',
        b'{"currencies":[1],"markets":[1]}',
        json.dumps({"currencies": [COIN], "markets": [ROW | {"base_decimals": 99}]}).encode(),
        json.dumps({"currencies": [COIN], "markets": [ROW | {"base_decimals": "x"}]}).encode(),
        json.dumps({"currencies": [COIN], "markets": [{"market_type": "SPOT"}]}).encode(),
        b'{"currencies":[],"markets":[{"tick_size":1e99999999999999999999}]}',
        json.dumps({"currencies": [COIN], "markets": [ROW | {"x": float("nan")}]}).encode(),
    ],
)
def test_documents_that_are_empty_or_malformed_are_refused(content):
    with pytest.raises(ValueError, match=r"."):
        metadata.read(content, START)


@pytest.mark.parametrize(
    "parts", [(b"{}", b"[]"), (b"[]", b"<html>"), (b"[]", b""), (b"[]", b"[" * 9999)]
)
def test_what_is_not_two_lists_is_no_document(parts):
    with pytest.raises(ValueError, match=r"."):
        metadata.document(*parts)
