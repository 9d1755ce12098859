"""Four envelopes, one verdict: what is on the closed list was not placed, the rest is unknown."""

import json

import pytest

from backend.domain.errors import ExchangeRejected, OutcomeUnknown, RateLimited
from backend.exchanges.bitstamp import answers, rejections
from backend.exchanges.bitstamp.answers import Refusal
from backend.wire import Answer


def answer(body, status: int = 200) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, {}, content)


def order_error(code: str, text: str = "no") -> dict[str, object]:
    return {"status": "error", "reason": {"__all__": [text]}, "response_code": code}


@pytest.mark.parametrize(
    ("body", "status", "code", "said"),
    [
        ({"status": "error", "reason": "Invalid", "code": "API0005"}, 403, "API0005", "Invalid"),
        (order_error("400.009", "Too little"), 200, "400.009", "Too little"),
        ({"error": "Enter a number."}, 200, "", "Enter a number."),
        ({"error": {"amount": ["Enter a number."]}}, 400, "", "Enter a number."),
        ({"code": "API5506", "message": "No", "field": "m"}, 400, "API5506", "No"),
        ({"message": "Unauthorized"}, 401, "", "Unauthorized"),
        ({"something": "else"}, 404, "", ""),
        ([], 403, "", ""),
        ({"status": "error", "reason": None}, 200, "", ""),
        ({"response_code": "404.002", "reason": "Order not found"}, 404, "", ""),
        ({"code": "400.009"}, 403, "", ""),
    ],
)
def test_every_envelope_is_read_and_nothing_outside_of_one(body, status, code, said):
    assert answers.read(answer(body, status)) == Refusal(status, code, said)


@pytest.mark.parametrize("body", [[], {"status": "Canceled"}, {"status": "ok"}, {"code": 1}])
def test_what_is_no_error_is_content(body):
    assert answers.read(answer(body)) == body


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Bad Gateway</html>",
        b'{"id": 1',
        b"",
        b"\xff",
        b"[" * 100_000,
        b'{"id": 1e99999999999999999999}',
        b'{"error": ' + b"[" * 900 + b"]" * 900 + b"}",
    ],
)
def test_what_is_not_json_is_an_unknown_outcome(body):
    with pytest.raises(OutcomeUnknown):
        answers.read(answer(body))


@pytest.mark.parametrize("code", sorted(rejections.BY_CODE))
def test_a_code_of_the_closed_list_is_a_rejection_of_an_order(code):
    error = answers.not_placed(Refusal(200, code, "why"))

    assert isinstance(error, ExchangeRejected)
    assert error.exchange_code == code


@pytest.mark.parametrize(
    "code",
    [
        *("400.019", "API0004", "500.016", "500.017", "404.002", "API5506", "API0007", "400.099"),
        *("500.001", "500.002", "500.003", "500.007", "500.013", "500.019", "400", ""),
    ],
)
def test_f08_any_other_code_leaves_the_outcome_of_an_order_unknown(code):
    assert isinstance(answers.not_placed(Refusal(200, code, "x")), OutcomeUnknown)


@pytest.mark.parametrize("status", [301, 302, 307, 500, 502, 503, 520])
def test_no_code_proves_anything_under_a_redirect_or_a_server_error(status):
    assert isinstance(answers.not_placed(Refusal(status, "400.009", "")), OutcomeUnknown)
    assert not Refusal(status, "404.002", "", is_signed=True).proves("404.002")


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Minimum order size is 10.00 USD.", ExchangeRejected),
        ("Price is more than 20% above market price.", ExchangeRejected),
        ("You need 5 USD to open that order. You have only 1 USD.", ExchangeRejected),
        ("Check your account balance for details.", ExchangeRejected),
        ("Enter a number.", ExchangeRejected),
        ("Order could not be placed. Please retry.", OutcomeUnknown),
        ("Unauthorized", OutcomeUnknown),
        ("", OutcomeUnknown),
    ],
)
def test_a_text_without_a_code_is_taken_by_its_own_list_if_it_is_signed(said, kind):
    assert isinstance(answers.not_placed(Refusal(200, "", said, is_signed=True)), kind)
    assert isinstance(answers.not_placed(Refusal(403, "", said)), OutcomeUnknown)


def test_a_code_outweighs_a_text():
    error = answers.not_placed(Refusal(200, "500.016", "Minimum order size", "77", True))

    assert isinstance(error, OutcomeUnknown)
    assert error.facts == {"order_id": "77"}


@pytest.mark.parametrize("code", ["400.002", "400.067", "400.068"])
def test_too_many_requests_is_rate_limited_for_a_look_up_and_a_rejection_of_an_order(code):
    refusal = Refusal(200, code, "")

    assert isinstance(answers.no_answer(refusal), RateLimited)
    assert isinstance(answers.not_placed(refusal), ExchangeRejected)


@pytest.mark.parametrize("page", [b"<html>slow</html>", b"{}", b""])
def test_http_429_is_a_rate_limit_whatever_its_page_says_and_proves_nothing_of_an_order(page):
    refusal = answers.read(answer(page, 429))

    assert isinstance(answers.no_answer(refusal), RateLimited)
    assert isinstance(answers.not_placed(refusal), OutcomeUnknown)


@pytest.mark.parametrize("name", ["order_id", "id"])
@pytest.mark.parametrize("order_id", ["77", 77])
def test_an_error_that_names_an_order_hands_its_id_on(name, order_id):
    refusal = answers.read(answer({"status": "error", "code": "500.001", name: order_id}, 500))

    assert answers.not_placed(refusal).facts == {"order_id": "77"}


@pytest.mark.parametrize("order_id", [{}, [], 7.5, True, "a\n", "x" * 500, 0e9999999])
def test_what_is_no_id_is_not_handed_on(order_id):
    refusal = answers.read(answer({"status": "error", "code": "500.001", "id": order_id}))

    assert answers.not_placed(refusal).facts == {}


@pytest.mark.parametrize("status", [401, 403, 404, 503])
def test_r18_a_refused_look_up_is_never_not_found(status):
    refusal = answers.read(answer({"message": "Forbidden"}, status))

    assert not refusal.proves("404.002")
    assert isinstance(answers.no_answer(refusal), OutcomeUnknown)


def test_not_found_is_a_code_that_the_exchange_signed_and_never_a_text():
    assert Refusal(200, "404.002", "", is_signed=True).proves("404.002")
    assert not Refusal(404, "404.002", "Order not found").proves("404.002")
    assert not Refusal(200, "", "Order not found", is_signed=True).proves("404.002")


def test_what_the_exchange_says_is_cut_and_made_printable():
    said = answers.read(answer({"error": "a\x1b[31m\nb\u202e" + "x" * 500})).said

    assert said.startswith("a[31mb")
    assert len(said) == 120


def test_the_ranges_of_the_closed_list_are_its_codes():
    assert rejections.expanded("400.001, 400.004-400.006, API0011-API0012, HTTP 429") == [
        *("400.001", "400.004", "400.005", "400.006", "API0011", "API0012", "HTTP 429")
    ]
    assert len(rejections.BY_CODE) == sum(
        len(rejections.expanded(kind.codes)) for kind in rejections.KINDS
    )
