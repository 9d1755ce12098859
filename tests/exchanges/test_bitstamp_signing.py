"""Requests are signed as Bitstamp documents it, and only its own answers are believed."""

import json
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from backend.domain.secret import Secret
from backend.exchanges.bitstamp.signing import FORM, Key
from backend.wire import Answer
from tests.exchanges.bitstamp_bench import Desk

HOST, NONCE, STAMP = "www.bitstamp.net", "01234567-89ab-4cde-8f01-23456789abcd", 1700000000000
KEY = Key(Secret("abcDEF0123456789abcDEF0123456789"), Secret("s3cr3tS3cr3tS3cr3tS3cr3tS3cr3t00"))

# Confirmed against another client's signer, or computed from the documented rule.
VECTORS = {
    "a_order": (
        "POST",
        "/api/v2/buy/btcusd/",
        b"amount=0.00100000&price=50000&client_order_id=t27-0001",
        "72de20a7a02510678f0e4182e837e2cedadd5ade25518a344d1374ec8d50eb33",
    ),
    "b_form": (
        "POST",
        "/api/v2/user_transactions/",
        b"offset=1",
        "a0d0d6e5cefaf4ebfc8c78b33b03ba1a40f47035b107045e65389d8e91c68d7d",
    ),
    "c_another_form": (
        "POST",
        "/api/v2/account_balances/",
        b"foo=bar",
        "f62a0ea8fd7986c3efab102a07aa0ebc133c7a2971aef8f74ed5378723ab5996",
    ),
    "d_no_body": (
        "POST",
        "/api/v2/account_balances/",
        b"",
        "6b65dcb14bded48442f903c319a5c228c68558f2a652cb2c92af4ac4ac9ee8f6",
    ),
    "e_get": (
        "GET",
        "/api/v2/my_markets/",
        b"",
        "b993e08751a31be732b73e3c74062bc74c317694f98ddd8bb8c0f5de789df278",
    ),
    "f_query": (
        "GET",
        "/api/v2/trade_history/btcusd-perp/?limit=10&sort=desc",
        b"",
        "9fa39e28c8722ec1f509eaea79671d3f64e7880204cb20b329f304bc118d282d",
    ),
}
REPLY = Answer(
    200,
    {
        "content-type": "application/json",
        "x-server-auth-signature": (
            "8db9fe7384c58d2c31cd3442835d6054eb7df856cf81d483f30fa6041e343a29"
        ),
    },
    b'[{"currency":"usd","total":"100.00","available":"90.00","reserved":"10.00"}]',
)


@pytest.mark.parametrize("name", VECTORS)
def test_a_request_is_signed_as_documented(name):
    method, target, body, expected = VECTORS[name]

    headers = KEY.sign(method, HOST, target, body, NONCE, STAMP)

    assert headers["X-Auth-Signature"] == expected
    assert headers.get("Content-Type") == (FORM if body else None)
    assert headers["X-Auth"] == "BITSTAMP abcDEF0123456789abcDEF0123456789"


def test_a_sub_account_is_named_and_not_signed():
    whole = KEY.sign("POST", HOST, "/api/v2/account_balances/", b"", NONCE, STAMP)
    part = replace(KEY, subaccount_id="77").sign(
        "POST", HOST, "/api/v2/account_balances/", b"", NONCE, STAMP
    )

    assert part == whole | {"X-Auth-Subaccount-Id": "77"}


def test_the_exchanges_own_signature_is_recognised():
    assert KEY.vouches_for(KEY.sign("POST", HOST, "/", b"", NONCE, STAMP), REPLY)


@pytest.mark.parametrize(
    "answer",
    [
        replace(REPLY, body=REPLY.body.replace(b"100.00", b"900.00")),
        replace(REPLY, headers={**REPLY.headers, "content-type": "text/html"}),
        replace(REPLY, headers={"content-type": "application/json"}),
        replace(REPLY, status=400, headers={"x-server-auth-signature": "00"}),
    ],
    ids=["other body", "other type", "none", "wrong under an error"],
)
def test_an_answer_that_the_exchange_did_not_sign_is_not_believed(answer):
    assert not KEY.vouches_for(KEY.sign("POST", HOST, "/", b"", NONCE, STAMP), answer)


def test_an_answer_to_another_request_is_not_believed():
    other = KEY.sign("POST", HOST, "/", b"", NONCE, STAMP + 1)

    assert not KEY.vouches_for(other, REPLY)


@pytest.mark.parametrize(
    ("status", "headers", "must_be"),
    [
        (403, {}, False),
        (301, {}, False),
        (200, {}, True),
        (403, {"x-server-auth-signature": "00"}, True),
    ],
)
def test_an_error_without_a_signature_is_read_and_vouched_for_by_nobody(status, headers, must_be):
    sent, answer = KEY.sign("POST", HOST, "/", b"", NONCE, STAMP), Answer(status, headers, b"{}")

    assert not KEY.vouches_for(sent, answer)
    assert KEY.must_be_signed(answer) is must_be


def test_neither_key_nor_secret_shows_in_a_repr():
    assert "abcDEF" not in repr(KEY)
    assert "s3cr3t" not in repr(KEY)


@pytest.mark.anyio
async def test_what_goes_out_is_what_was_signed_with_a_nonce_of_its_own(tmp_path: Path):
    async with Desk(tmp_path) as desk:
        exchange = await desk.connect()
        for _ in range(3):
            await exchange.balances()

        seen = desk.sim.headers
        nonces = [headers["x-auth-nonce"] for headers in seen]
        assert len(set(nonces)) == 3
        assert {UUID(nonce).version for nonce in nonces} == {4}
        assert all("content-type" not in headers for headers in seen)
        assert {headers["x-auth-timestamp"] for headers in seen} == {"1779804000000"}
        assert json.dumps(nonces).islower()
