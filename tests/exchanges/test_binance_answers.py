"""What an answer proves: the closed list, and everything that is not on it."""

from datetime import timedelta

import pytest

from backend.domain.errors import ExchangeRejected, OutcomeUnknown, RateLimited
from backend.exchanges.binance.answers import (
    Answer,
    ErrorBody,
    from_rest,
    from_socket,
    not_told,
    read,
    refusal,
)
from backend.exchanges.binance.api_socket import Frame
from backend.exchanges.binance.orders import OrderRow
from backend.exchanges.binance.rejections import (
    FILTERS,
    NOT_CANCELLED,
    REFUSALS,
    REFUSED,
    REJECTIONS,
)
from backend.exchanges.binance.times import to_ms
from backend.wire import Answer as Wired
from tests.exchanges.scripted import START

HTML = b"<html><head><title>502 Bad Gateway</title></head></html>"
LONG = "x" * 5000


def told(status, code, message=""):
    return Answer(status, b"", code, message)


@pytest.mark.parametrize("code", sorted(REJECTIONS))
def test_a_code_of_the_closed_list_is_a_rejection_with_our_sentence(code):
    error = refusal(told(400, code, LONG))

    assert isinstance(error, ExchangeRejected)
    assert error.exchange_code == str(code)
    assert REJECTIONS[code] in error.detail
    assert LONG not in error.detail


@pytest.mark.parametrize("code", REFUSED)
@pytest.mark.parametrize("text", sorted(REFUSALS))
def test_a_known_text_of_the_matching_engine_is_a_rejection(text, code):
    error = refusal(told(400, code, text))

    assert isinstance(error, ExchangeRejected)
    assert error.exchange_code == str(code)


@pytest.mark.parametrize("name", sorted(FILTERS))
def test_a_filter_failure_says_which_rule(name):
    error = refusal(told(400, -1013, f"Filter failure: {name}"))

    assert isinstance(error, ExchangeRejected)
    assert FILTERS[name] in error.detail


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (400, -2010, "Duplicate order sent."),
        (400, -2010, "Duplicate order sent"),
        (400, -1010, "Duplicate order sent."),
        (400, -1010, "Unknown order sent."),
        (400, -1010, ""),
        (400, -2010, "A text nobody knows."),
        (400, -2010, "account has insufficient balance for requested action."),
        (504, -1007, "Timeout waiting for response from backend server."),
        (400, -1000, "An unknown error occurred while processing the request."),
        (400, -1001, "Internal error"),
        (400, -1006, "Execution status unknown."),
        (400, -1008, "Server is currently overloaded"),
        (400, -1016, "This service is no longer available."),
        (400, -2011, "Unknown order sent."),
        (400, -2013, "Order does not exist."),
        (400, -9999, "A code nobody knows."),
        (500, -1013, "Filter failure: LOT_SIZE"),
        (503, -2010, "Account has insufficient balance for requested action."),
        (200, -1013, "Filter failure: LOT_SIZE"),
        (403, 0, ""),
        (451, 0, "Service unavailable from a restricted location"),
        (404, 0, ""),
        (301, 0, ""),
    ],
)
def test_r01_r02_everything_else_leaves_an_order_unknown(status, code, message):
    error = refusal(told(status, code, message))

    assert isinstance(error, OutcomeUnknown)
    assert len(error.detail) < 200


def test_an_order_to_cancel_that_is_not_open_is_refused_only_for_a_cancel():
    assert isinstance(refusal(told(400, -2011), NOT_CANCELLED), ExchangeRejected)
    assert isinstance(refusal(told(502, -2011), NOT_CANCELLED), OutcomeUnknown)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 451, 500, 502])
def test_f31_a_look_up_without_a_good_answer_is_no_evidence(status):
    assert isinstance(not_told(told(status, -2015)), OutcomeUnknown)


@pytest.mark.parametrize(("status", "code"), [(429, -1003), (418, -1003), (429, -1015), (429, 0)])
def test_too_many_look_ups_say_when_to_come_back(status, code):
    body = b'{"code":%d,"msg":"Too many requests"}' % code if code else HTML
    answer = from_rest(Wired(status, {"retry-after": "7"}, body), START)

    assert answer.retry_at == START + timedelta(seconds=7)
    assert isinstance(not_told(answer), RateLimited)


@pytest.mark.parametrize("header", ["", "soon", "-1", "²", "9" * 12])
def test_an_unreadable_retry_after_means_a_minute(header):
    answer = from_rest(Wired(429, {"retry-after": header}, HTML), START)

    assert answer.retry_at == START + timedelta(seconds=60)


def test_too_many_requests_always_mean_a_pause():
    over = from_socket(429, ErrorBody(-1003, "", {"retryAfter": to_ms(START) - 40_000}), START)
    now = from_rest(Wired(429, {"retry-after": "0"}, HTML), START)
    silent = from_rest(Wired(429, {}, HTML), START)

    assert over.retry_at == now.retry_at == START + timedelta(seconds=1)
    assert silent.retry_at == START + timedelta(seconds=60)


@pytest.mark.parametrize(
    "body",
    [
        b'{"code":' + b"9" * 300 + b"}",
        b'{"code":-1,"data":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b'{"code":-1,"data":1e99999999999999999999}',
        b'{"code":-1,"msg":"\xff"}',
    ],
)
def test_an_error_that_is_not_understood_is_only_its_status(body):
    answer = from_rest(Wired(400, {}, body), START)

    assert (answer.status, answer.code) == (400, 0)
    assert isinstance(refusal(answer), OutcomeUnknown)


def test_a_ban_is_not_believed_beyond_its_longest():
    answer = from_rest(Wired(418, {"retry-after": "99999999"}, HTML), START)

    assert answer.retry_at == START + timedelta(days=4)


def test_a_page_of_the_firewall_means_silence():
    assert from_rest(Wired(403, {}, HTML), START).retry_at == START + timedelta(seconds=60)


@pytest.mark.parametrize("data", ["null", "{}", "[1]", '{"retryAfter":"x"}', '{"retryAfter":1e99}'])
def test_an_unreadable_moment_over_the_socket_means_a_minute(data):
    frame = read(
        f'{{"id":1,"status":429,"error":{{"code":-1003,"msg":"x","data":{data}}}}}'.encode(), Frame
    )

    answer = from_socket(frame.status, frame.error, START)

    assert answer.retry_at == START + timedelta(seconds=60)


def test_a_moment_over_the_socket_is_taken_from_the_answer():
    until = int(START.timestamp() * 1000) + 5_000
    body = b'{"id":1,"status":418,"error":{"code":-1003,"data":{"retryAfter":%d}}}' % until

    frame = read(body, Frame)

    assert from_socket(frame.status, frame.error, START).retry_at == START + timedelta(seconds=5)


@pytest.mark.parametrize(
    "body",
    [b"", HTML, b"{}", b"[]", b'{"orderId":1', b'{"orderId":"x"}', b"[" * 100_000, b"\xff\xfe"],
)
def test_an_answer_that_is_not_understood_is_unknown(body):
    with pytest.raises(OutcomeUnknown, match="not understood"):
        read(body, OrderRow)
