"""Bitstamp's authentication v2: the reference vectors, and every check of a signed request."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tests.simulators.bitstamp.auth import (
    FORM_TYPE,
    Gatekeeper,
    Key,
    reply_signature,
    signature,
    string_to_sign,
)
from tests.simulators.bitstamp.wire import Refusal
from tests.simulators.bitstamp_client import Client, code_of, nonce, trading
from tests.simulators.http import Reply, Request

pytestmark = pytest.mark.anyio

KEY = "abcDEF0123456789abcDEF0123456789"
SECRET = "s3cr3tS3cr3tS3cr3tS3cr3tS3cr3t00"
NONCE = "01234567-89ab-4cde-8f01-23456789abcd"
STAMP = "1700000000000"
HOST = "www.bitstamp.net"
ORDER = "amount=0.00100000&price=50000&client_order_id=t27-0001"
VECTORS = [
    (
        ("POST", "/api/v2/buy/btcusd/", "", ORDER),
        "72de20a7a02510678f0e4182e837e2cedadd5ade25518a344d1374ec8d50eb33",
    ),
    (
        ("POST", "/api/v2/user_transactions/", "", "offset=1"),
        "a0d0d6e5cefaf4ebfc8c78b33b03ba1a40f47035b107045e65389d8e91c68d7d",
    ),
    (
        ("POST", "/api/v2/account_balances/", "", "foo=bar"),
        "f62a0ea8fd7986c3efab102a07aa0ebc133c7a2971aef8f74ed5378723ab5996",
    ),
    (
        ("POST", "/api/v2/account_balances/", "", ""),
        "6b65dcb14bded48442f903c319a5c228c68558f2a652cb2c92af4ac4ac9ee8f6",
    ),
    (
        ("GET", "/api/v2/my_markets/", "", ""),
        "b993e08751a31be732b73e3c74062bc74c317694f98ddd8bb8c0f5de789df278",
    ),
    (
        ("GET", "/api/v2/trade_history/btcusd-perp/", "limit=10&sort=desc", ""),
        "9fa39e28c8722ec1f509eaea79671d3f64e7880204cb20b329f304bc118d282d",
    ),
]
BALANCE = b'[{"currency":"usd","total":"100.00","available":"90.00","reserved":"10.00"}]'
REPLY_SIGNATURE = "8db9fe7384c58d2c31cd3442835d6054eb7df856cf81d483f30fa6041e343a29"


def signed_request(method: str, path: str, query: str, body: str, given: str) -> Request:
    headers = {
        "x-auth": f"BITSTAMP {KEY}",
        "x-auth-nonce": NONCE,
        "x-auth-timestamp": STAMP,
        "x-auth-version": "v2",
        "x-auth-signature": given,
    }
    if body:
        headers["content-type"] = FORM_TYPE
    return Request(method, path, query, headers, body.encode())


def gatekeeper() -> Gatekeeper:
    keeper = Gatekeeper(lambda: datetime.fromtimestamp(1_700_000_000, UTC))
    keeper.keys[KEY] = Key(KEY, SECRET, frozenset({"read"}))
    return keeper


@pytest.mark.parametrize(("parts", "expected"), VECTORS, ids="ABCDEF")
def test_a_reference_vector_verifies_when_in_either_case(
    parts: tuple[str, str, str, str], expected: str
):
    request = signed_request(*parts, expected)
    assert signature(SECRET, string_to_sign(request, HOST)) == expected
    assert gatekeeper().check(request, [HOST]).key == KEY
    upper = signed_request(*parts, expected.upper())
    assert gatekeeper().check(upper, ["another", HOST]).key == KEY


@pytest.mark.parametrize(("parts", "expected"), VECTORS, ids="ABCDEF")
def test_a_reference_vector_is_refused_when_one_digit_or_the_host_differs(
    parts: tuple[str, str, str, str], expected: str
):
    other = ("0" if expected[0] != "0" else "1") + expected[1:]
    for given, host in ((other, HOST), (expected, "sandbox.bitstamp.net")):
        with pytest.raises(Refusal) as refused:
            gatekeeper().check(signed_request(*parts, given), [host])
        assert code_of(refused.value.body) == "API0005"


def test_the_reply_vector_verifies_when_signed_with_content_type_and_body():
    reply = Reply(200, BALANCE, {"content-type": "application/json"})
    assert reply_signature(SECRET, NONCE, STAMP, reply) == REPLY_SIGNATURE


async def test_a_signed_call_is_answered_and_signed_back_when_all_is_right():
    async with trading() as (_, client, _):
        headers = client.headers("POST", "/api/v2/account_balances/", "", "")
        rows = await client.send("POST", "account_balances/", "", "", headers)
        assert {row["currency"] for row in rows} == {"btc", "usd"}
        assert client.verifies(headers)
        headers["X-Auth-Nonce"] = nonce()
        assert not client.verifies(headers)


async def test_both_spellings_of_the_host_are_accepted_when_clients_sign_them():
    async with trading(hosts=["www.bitstamp.net"]) as (sim, client, _):
        for host in (client.host, sim.rest_url, "www.bitstamp.net"):
            client.host = host
            assert isinstance(await client.post("account_balances/"), list)
        client.host = "localhost"
        assert code_of(await client.post("account_balances/")) == "API0005"


async def refusal_with(changes: dict[str, str | None], body: str = "offset=1") -> tuple[int, str]:
    """The status and code of a user_transactions call with these headers changed."""
    async with trading() as (_, client, _):
        headers = client.headers("POST", "/api/v2/user_transactions/", "", body)
        for name, value in changes.items():
            if value is None:
                headers.pop(name, None)
            else:
                headers[name] = value
        answer = await client.send("POST", "user_transactions/", "", body, headers)
        assert answer["status"] == "error"
        assert isinstance(answer["reason"], str)
        assert "x-server-auth-signature" not in client.last.headers
        return client.last.status_code, code_of(answer)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"X-Auth": None}, "API0012"),
        ({"X-Auth-Signature": None}, "API0013"),
        ({"X-Auth-Nonce": None}, "API0014"),
        ({"X-Auth-Timestamp": None}, "API0015"),
        ({"X-Auth-Version": None}, "API0016"),
        ({"X-Auth-Version": "v1"}, "API0010"),
        ({"X-Auth": "BITSTAMP"}, "API0011"),
        ({"X-Auth": "BITSTAMP nobody"}, "API0001"),
        ({"X-Auth-Nonce": "1"}, "API0004"),
        ({"X-Auth-Nonce": "01234567-89AB-4CDE-8F01-23456789ABCD"}, "API0004"),
        ({"X-Auth-Timestamp": "soon"}, "API0018"),
        ({"X-Auth-Signature": "00"}, "API0005"),
        ({"Content-Type": FORM_TYPE + "; charset=utf-8"}, "API0019"),
        ({"Content-Type": None}, "API0019"),
    ],
)
async def test_a_signed_call_is_refused_when_a_header_is_wrong(
    changes: dict[str, str | None], code: str
):
    assert await refusal_with(changes) == (403, code)


async def test_a_content_type_is_refused_when_the_body_is_empty():
    assert await refusal_with({"Content-Type": FORM_TYPE}, body="") == (403, "API0020")


async def test_a_url_is_refused_when_it_is_too_long():
    async with trading() as (_, client, _):
        assert code_of(await client.get("my_markets/", "?a=" + "x" * 2000)) == "API0021"


async def test_a_nonce_is_refused_when_it_is_used_again():
    async with trading() as (_, client, clock):
        headers = client.headers("POST", "/api/v2/account_balances/", "", "")
        for second in (0, 140):
            clock.advance(second)
            answer = await client.send("POST", "account_balances/", "", "", headers)
            assert isinstance(answer, list) == (second == 0)
        assert code_of(answer) == "API0004"


@pytest.mark.parametrize("seconds", [150.0, -150.0])
async def test_a_timestamp_is_accepted_when_150_s_off_and_refused_when_more(seconds: float):
    async with trading() as (_, client, clock):
        headers = client.headers("POST", "/api/v2/account_balances/", "", "")
        clock.advance(seconds)
        assert isinstance(await client.send("POST", "account_balances/", "", "", headers), list)
        clock.advance(0.001 if seconds > 0 else -0.001)
        answer = await client.send("POST", "account_balances/", "", "", headers)
        assert code_of(answer) == "API0017"


async def test_a_call_is_refused_when_the_key_lacks_the_right():
    async with trading() as (sim, client, _):
        client.account = sim.add_account({"usd": Decimal(100)}, rights=["read"])
        assert isinstance(await client.post("account_balances/"), list)
        answer = await client.post("buy/btcusd/", amount="0.001", price="50000")
        assert code_of(answer) == "API0003"
        assert code_of(await client.post("btc_withdrawal/")) == "API0003"
        client.account = sim.add_account({}, can_withdraw=True)
        assert code_of(await client.post("btc_withdrawal/")) == "400.001"


async def test_every_call_is_refused_when_the_key_was_revoked():
    async with trading() as (sim, client, _):
        sim.revoke(client.account.key)
        assert code_of(await client.post("account_balances/")) == "API0001"
        sim.revoke(client.account.key, "API0006")
        assert code_of(await client.post("account_balances/")) == "API0006"


async def test_a_sub_account_is_reached_when_by_its_own_key_or_by_header():
    async with trading() as (sim, client, _):
        sub = sim.add_account({"usd": Decimal(7)}, parent=client.account)
        async with Client(sim, sub) as own:
            assert (await own.balances())["usd"][0] == 7
            assert (await own.post("websockets_token/"))["user_id"] == sub.user_id
            own.extra = {"X-Auth-Subaccount-Id": str(sub.trade_account_id)}
            assert (await own.balances())["usd"][0] == 7
        client.extra = {"X-Auth-Subaccount-Id": str(sub.trade_account_id)}
        assert (await client.balances())["usd"][0] == 7
        answer = await client.post("buy/btcusd/", amount="0.001", price="50000")
        assert code_of(answer) == "400.009"
        client.extra = {}
        assert (await client.balances())["usd"][0] == 100_000
        assert sub.user_id != client.account.user_id


async def test_a_sub_account_is_refused_when_it_is_somebody_elses():
    async with trading() as (sim, client, _):
        other = sim.add_account({"usd": Decimal(7)})
        sub = sim.add_account({"usd": Decimal(7)}, parent=other)
        client.extra = {"X-Auth-Subaccount-Id": str(sub.trade_account_id)}
        assert code_of(await client.post("account_balances/")) == "API0003"


async def test_no_secret_is_noted_when_requests_are_read_back():
    async with trading() as (sim, client, _):
        await client.post("order_status/", id="5")
        seen = sim.requests[-1]
        assert (seen.method, seen.path, seen.params) == (
            "POST",
            "/api/v2/order_status/",
            {"id": "5"},
        )
        assert seen.key == client.account.key
        assert client.account.secret not in repr(sim.requests) + repr(sim.accounts)
