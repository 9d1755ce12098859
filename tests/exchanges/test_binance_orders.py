"""Orders on the wire: what goes out, what comes back, recorded answers and events."""

from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.domain.errors import OutcomeUnknown
from backend.domain.money import stored
from backend.domain.order import Order, OrderState
from backend.exchanges import NoCatalogue
from backend.exchanges.binance.answers import read
from backend.exchanges.binance.codes import Codes
from backend.exchanges.binance.orders import (
    OrderRow,
    check_echo,
    number,
    order_params,
    placed,
    placed_report,
    report_of,
)
from backend.exchanges.binance.stream import ExecutionReport
from backend.exchanges.binance.stream import report_of as told_of
from tests.exchanges.recorded import recorded_json
from tests.exchanges.scripted import START, D, an_order

CODES = Codes(NoCatalogue(), "testnet")
RESPONSES = "binance/rest/lean_spot_order_responses_ACHUSDT_2026-01.json"
EVENTS = "binance/user_data/lean_WebSocketGlobalSpot{}.json"


def btc(**changes) -> Order:
    return an_order(START, "trd-1", symbol="BTC/USDT", **{"quantity": D("0.1"), **changes})


def params_of(**changes):
    return order_params(btc(**changes), "BTCUSDT")


def a_row(**changes):
    fields = {
        "symbol": "BTCUSDT",
        "orderId": 7,
        "clientOrderId": "trd-1",
        "transactTime": 1767813269540,
        "price": "100.00000000",
        "origQty": "0.10000000",
        "executedQty": "0.00000000",
        "status": "NEW",
        "side": "BUY",
        **changes,
    }
    return read(msgspec.json.encode(fields), OrderRow)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"worst_price": D("100.1")}, ("LIMIT", "IOC", "100.1", None)),
        ({"limit_price": D(90)}, ("LIMIT", "GTC", "90", None)),
        ({"limit_price": D(90), "tif": "fok"}, ("LIMIT", "FOK", "90", None)),
        (
            {"stop_price": D(110), "worst_price": D("111.1"), "order_type": "stop"},
            ("STOP_LOSS_LIMIT", "GTC", "111.1", "110"),
        ),
        (
            {"stop_price": D(110), "limit_price": D(112), "order_type": "stop_limit"},
            ("STOP_LOSS_LIMIT", "GTC", "112", "110"),
        ),
    ],
    ids=["market", "limit", "fok", "stop", "stop_limit"],
)
def test_each_order_type_goes_out_as_a_limit(changes, expected):
    params = params_of(**changes)

    names = ("type", "timeInForce", "price", "stopPrice")
    assert tuple(params.get(name) for name in names) == expected
    assert (params["symbol"], params["side"], params["quantity"]) == ("BTCUSDT", "BUY", "0.1")
    assert (params["newClientOrderId"], params["newOrderRespType"]) == ("trd-1", "FULL")


def test_what_was_stored_is_what_is_signed():
    order = replace(
        btc(),
        sign_time=START + timedelta(microseconds=1999),
        valid_until=START + timedelta(seconds=3, microseconds=1999),
    )

    params = order_params(order, "BTCUSDT")

    assert params["timestamp"] == int(START.timestamp()) * 1000 + 1
    assert params["recvWindow"] == 3000


@given(st.integers(1, 10**18), st.integers(0, 18))
def test_r60_numbers_go_out_exactly_without_an_exponent(digits, places):
    quantity = D(digits).scaleb(-places)

    text = str(params_of(quantity=quantity)["quantity"])

    assert D(text) == quantity
    assert "E" not in text.upper()
    assert text == text.lstrip("-+")


@pytest.mark.parametrize(
    "changes",
    [
        {"symbol": "ETHUSDT"},
        {"clientOrderId": "web_1"},
        {"side": "SELL"},
        {"origQty": "0.10000001"},
        {"price": "100.01000000"},
    ],
)
def test_an_accepted_answer_about_another_order_is_unknown(changes):
    with pytest.raises(OutcomeUnknown, match="another order"):
        check_echo(a_row(**changes), params_of())


GOOD = {"symbol": "BTCUSDT", "orderId": 7, "clientOrderId": "trd-1", "transactTime": 1}
A_FILL = {"price": "1", "qty": "1", "commission": "0", "commissionAsset": None, "tradeId": 1}


@pytest.mark.parametrize(
    "changes",
    [
        {"clientOrderId": "web_1"},
        {"side": "SELL"},
        {"origQty": "0.2"},
        {"price": "1"},
        {"origQty": "1e99999999999999999999"},
        {"executedQty": "NaN"},
        {"transactTime": 10**18},
        {"transactTime": "soon"},
        {"clientOrderId": None},
        {"fills": [{**A_FILL, "price": "1e9"}]},
        {"fills": 5},
    ],
)
def test_an_answer_that_is_not_about_what_was_sent_is_unknown_and_names_its_order(changes):
    with pytest.raises(OutcomeUnknown) as caught:
        placed(msgspec.json.encode(GOOD | changes), btc(), params_of(), "USDT")

    assert caught.value.facts == {"order_id": "7"}
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


DEEP = b"[" * 200_000 + b"]" * 200_000


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"symbol":"BTCUSDT","orderId":1e99999999999999999999}',
        b'{"symbol":"BTCUSDT","orderId":%s}' % (b"9" * 5000),
        b'{"symbol":"BTCUSDT","orderId":7,"more":%s}' % DEEP,
        b'{"symbol":"ETHUSDT","orderId":7,"clientOrderId":"trd-1"}',
    ],
)
def test_an_answer_that_names_no_order_of_the_instrument_is_unknown(body):
    with pytest.raises(OutcomeUnknown) as caught:
        placed(body, btc(), params_of(), "USDT")

    assert caught.value.facts == {}


def test_a_fill_without_a_number_is_left_to_the_look_up():
    row = a_row(executedQty="0.1", status="FILLED", fills=[{**A_FILL, "tradeId": -1}])

    report = placed_report(row, btc(), "USDT")

    assert (report.filled_quantity, report.fills) == (D("0.1"), ())


def test_an_echo_with_other_zeros_is_the_same_order():
    check_echo(a_row(), params_of())


@pytest.mark.parametrize(
    ("status", "filled", "state"),
    [
        ("NEW", "0", OrderState.OPEN),
        ("PENDING_NEW", "0", OrderState.OPEN),
        ("NEW", "0.05", OrderState.PARTIALLY_FILLED),
        ("PARTIALLY_FILLED", "0.05", OrderState.PARTIALLY_FILLED),
        ("FILLED", "0.1", OrderState.FILLED),
        ("CANCELED", "0.05", OrderState.CANCELLED),
        ("PENDING_CANCEL", "0", OrderState.OPEN),
        ("REJECTED", "0", OrderState.REJECTED),
        ("EXPIRED", "0.05", OrderState.EXPIRED),
        ("EXPIRED_IN_MATCH", "0", OrderState.EXPIRED),
        ("A_WORD_OF_2027", "0", OrderState.OPEN),
        ("A_WORD_OF_2027", "0.05", OrderState.PARTIALLY_FILLED),
        ("", "0", OrderState.OPEN),
    ],
)
def test_a_status_word_becomes_a_state_and_an_unknown_one_is_not_final(status, filled, state):
    report = report_of(a_row(status=status, executedQty=filled), "BTC/USDT")

    assert report.state is state
    assert report.filled_quantity == D(filled)


def test_why_an_order_ended_is_kept_short_and_printable():
    why = "UNFILLED_IOC_QUANTITY_EXPIRED"
    odd = "\x1b[31m" + "x" * 500

    assert report_of(a_row(status="EXPIRED", expiryReason=why), "BTC/USDT").reason == why
    assert report_of(a_row(status="EXPIRED_IN_MATCH"), "BTC/USDT").reason == "EXPIRED_IN_MATCH"
    assert report_of(a_row(expiryReason="NONE"), "BTC/USDT").reason == ""
    assert len(report_of(a_row(expiryReason=odd), "BTC/USDT").reason) < 121
    assert report_of(a_row(expiryReason=odd), "BTC/USDT").reason.isprintable()


def test_fills_of_nothing_are_left_out_and_a_fee_of_nobody_is_in_quote():
    fill = {"price": "100", "qty": "0.1", "commission": "0", "commissionAsset": None, "tradeId": 5}
    row = a_row(
        executedQty="0.1", status="FILLED", fills=[fill, {**fill, "qty": "0", "tradeId": 6}]
    )

    fills = placed_report(row, btc(), "USDT").fills

    assert [(f.exchange_fill_id, f.fee, f.fee_currency) for f in fills] == [("5", D(0), "USDT")]


def test_a_recorded_market_order_is_read_with_its_fee_in_base():
    told = recorded_json(RESPONSES)[1]["response"]
    row = read(msgspec.json.encode(told), OrderRow)
    order = an_order(START, row.client_order_id, symbol="ACH/USDT", quantity=D(600))

    report = placed_report(row, order, "USDT")

    assert (report.state, report.filled_quantity) == (OrderState.FILLED, D(600))
    assert [(f.quantity, f.price, f.fee, f.fee_currency) for f in report.fills] == [
        (D(600), D("0.00962"), D("0.6"), "ACH")
    ]


def test_a_recorded_bare_acknowledgement_is_an_open_order():
    told = recorded_json(RESPONSES)[0]["response"]
    row = read(msgspec.json.encode(told), OrderRow)
    order = an_order(START, row.client_order_id, symbol="ACH/USDT", quantity=D(600))

    report = placed_report(row, order, "USDT")

    assert (report.state, report.exchange_order_id) == (OrderState.OPEN, "1258090419")


def test_a_recorded_open_stop_order_is_read():
    row = read(msgspec.json.encode(recorded_json(RESPONSES)[2]["response"]), OrderRow)

    report = report_of(row, "ACH/USDT")

    assert (report.state, report.quantity, report.fills) == (OrderState.OPEN, D(600), ())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("LimitSubmittedFilled", [("open", ()), ("filled", ("800", "0.00000632"))]),
        (
            "MarketSubmitPartiallyFilledFilled",
            [
                ("open", ()),
                ("partially_filled", ("765", "0.00000603")),
                ("filled", ("35", "0.00000027")),
            ],
        ),
    ],
)
def test_recorded_events_are_read_with_their_fees_in_bnb(name, expected):
    events = [one["event"] for one in recorded_json(EVENTS.format(name))]
    reports = [told_of(read(msgspec.json.encode(e), ExecutionReport), CODES) for e in events]

    assert [report.state.value for report in reports] == [state for state, _ in expected]
    for report, (_, filled) in zip(reports, expected, strict=True):
        shown = [(f.quantity, f.fee) for f in report.fills]
        assert shown == ([(D(filled[0]), D(filled[1]))] if filled else [])
        assert {f.fee_currency for f in report.fills} <= {"BNB"}
    ids = [f.exchange_fill_id for report in reports for f in report.fills]
    assert len(ids) == len(set(ids)) == len(expected) - 1


@pytest.mark.parametrize("text", ["-1", "NaN", "Infinity", "1e5", "1_000", "１", "", " 1"])
def test_a_number_that_is_not_plain_digits_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        number(text)


def test_a_number_keeps_every_digit():
    assert number("0.000000000000000001") == stored("0.000000000000000001")
