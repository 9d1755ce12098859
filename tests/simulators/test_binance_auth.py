"""The Binance simulator's door: vectors, signatures, keys, time windows, dead routes."""

import json
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from .binance.signing import Key, rest_payload, ws_payload
from .binance_client import Rest, refusal, sign, socket, trader

pytestmark = pytest.mark.anyio

HMAC = Key(
    "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A",
    1,
    secret="NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j",
)
ED_NAME = "4yNzx3yWC5bS6YTwEkSRaC0nRmSQIIStAUOh1b6kqaBrTLIhjCpI5lJH8q8R8WNO"
_SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
ED = Key(ED_NAME, 1, public=Ed25519PrivateKey.from_private_bytes(_SEED).public_key())
WIDE = "%EF%BC%91%EF%BC%92%EF%BC%93%EF%BC%94%EF%BC%95%EF%BC%96"
TAIL = "side=BUY&type=LIMIT&timeInForce=GTC"
REST_BODY = "quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559"
ED_TAIL = (
    "side=SELL&type=LIMIT&timeInForce=GTC&quantity=1&price=0.2"
    "&timestamp=1668481559918&recvWindow=5000"
)
WS_1 = {
    "symbol": "BTCUSDT",
    "side": "SELL",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "0.01000000",
    "price": "52000.00",
    "recvWindow": 100,
    "timestamp": 1645423376532,
    "apiKey": HMAC.name,
}
WS_2 = {
    **WS_1,
    "symbol": "１２３４５６",
    "side": "BUY",
    "quantity": "1.00000000",
    "price": "0.10000000",
    "recvWindow": 5000,
}
LOGON = {"apiKey": ED_NAME, "timestamp": 1649729878532}


@pytest.mark.parametrize(
    ("key", "query", "body", "signature"),
    [
        (
            HMAC,
            f"symbol=LTCBTC&{TAIL}&{REST_BODY}",
            "",
            "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71",
        ),
        (
            HMAC,
            f"symbol={WIDE}&{TAIL}&{REST_BODY}",
            "",
            "e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3",
        ),
        (
            HMAC,
            f"symbol=LTCBTC&{TAIL}",
            REST_BODY,
            "0fd168b8ddb4876a0358a8d14d0c9f3da0e9b20c5d52b2a00fcf7d1c602f9a77",
        ),
        (
            ED,
            f"symbol=BTCUSDT&{ED_TAIL}",
            "",
            "XtZirsmmi0noRzUfkqktvkVfxpkq/WtbLg2UOL3QGYdUBZVlqOBEMuEVw8zioY93N54NcKj9UuAXQEa9zgTDBg==",
        ),
        (
            ED,
            f"symbol={WIDE}&{ED_TAIL}",
            "",
            "FWYdifsZ1T+XvAR4JXeCD399kQM9CBUnEKjWb0+jS1X00g+LgvtR8uBv2T7dn1gFf9GPIhHnYlM+6vBsJOnMDA==",
        ),
    ],
)
@pytest.mark.parametrize("in_body", [False, True])
def test_rest_vector_when_read_as_sent_then_it_verifies(key, query, body, signature, in_body):
    ending = f"&signature={quote(signature, safe='')}"
    if in_body and body:
        body += ending
    else:
        query += ending
    payload, found = rest_payload(query, body.encode())
    assert found == signature
    assert key.verifies(payload, found)
    assert not key.verifies(payload + b"0", found)


@pytest.mark.parametrize(
    ("key", "params", "signature"),
    [
        (HMAC, WS_1, "aa1b5712c094bc4e57c05a1a5c1fd8d88dcd628338ea863fec7b88e59fe2db24"),
        (HMAC, WS_2, "b33892ae8e687c939f4468c6268ddd4c40ac1af18ad19a064864c47bae0752cd"),
        (
            ED,
            LOGON,
            "NBJq5sX1RkU7ta3XDctruMgnrhyBcouMvvPIxxQSCUbVWxhp3ai6W7a0Iip/3nOwmJxkVIv6n20cekYCOa5qAg==",
        ),
        (
            ED,
            {**WS_2, "apiKey": ED_NAME},
            "D9qsPwF4+5CtkHZSVBhuAMVox387CQQsJXplSDXUw3C2vnuMJnxjuengedC0IGpvJFxazfP45NwzN0eAQ8gaBg==",
        ),
    ],
)
def test_websocket_vector_when_sorted_and_raw_then_it_verifies(key, params, signature):
    payload = ws_payload({**params, "signature": signature})
    assert key.verifies(payload, signature)
    assert not key.verifies(payload, signature[:-4] + "AA==")


@pytest.mark.parametrize("key_type", ["hmac", "ed25519"])
async def test_signed_call_when_the_key_is_of_either_kind_then_the_account_answers(key_type):
    async with trader(key_type=key_type) as (_, _, account, rest):
        reply = await rest.signed("GET", "/api/v3/account", omitZeroBalances="true")
        assert reply.status_code == 200
        assert reply.json()["uid"] == account.uid


async def test_hmac_signature_when_in_capitals_then_it_counts():
    async with trader() as (_, clock, account, rest):
        query = f"timestamp={clock.ms()}"
        capitals = sign(account, query).upper()
        target = f"/api/v3/account?{query}&signature={capitals}"
        assert (await rest.raw("GET", target, x_mbx_apikey=account.key)).status_code == 200


async def test_body_and_query_when_both_signed_then_query_wins_and_no_separator_stands_between():
    async with trader() as (sim, clock, account, rest):
        query = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&price=90.00"
        body = f"quantity=1&price=95.00&timestamp={clock.ms()}"
        body += f"&signature={sign(account, query + body)}"
        form = {"content_type": "application/x-www-form-urlencoded", "x_mbx_apikey": account.key}
        reply = await rest.raw("POST", f"/api/v3/order?{query}", body, **form)
        assert reply.json()["price"] == "90.00000000"
        assert len(sim.orders) == 1


async def test_signature_when_wrong_or_of_other_bytes_then_1022():
    async with trader() as (_, clock, account, rest):
        query = f"timestamp={clock.ms()}"
        target = f"/api/v3/account?{query}&signature={sign(account, query + '0')}"
        reply = await rest.raw("GET", target, x_mbx_apikey=account.key)
        assert refusal(reply) == (400, -1022, "Signature for this request is not valid.")


async def test_utf8_symbol_when_signed_before_encoding_then_1022_and_after_encoding_accepted():
    async with trader() as (_, clock, account, rest):
        raw = f"symbol=币安人生USDT&timestamp={clock.ms()}"
        encoded = f"symbol={quote('币安人生USDT')}&timestamp={clock.ms()}"
        for signed, status in ((raw, 400), (encoded, 200)):
            target = f"/api/v3/openOrders?{encoded}&signature={sign(account, signed)}"
            reply = await rest.raw("GET", target, x_mbx_apikey=account.key)
            assert reply.status_code == status


@pytest.mark.parametrize(
    ("key", "code", "text"),
    [
        ("", -2014, "API-key format invalid."),
        ("short", -2014, "API-key format invalid."),
        ("x" * 64, -2015, "Invalid API-key, IP, or permissions for action."),
    ],
)
async def test_key_when_malformed_or_unknown_then_401_with_its_code(key, code, text):
    async with trader() as (_, clock, _, rest):
        target = f"/api/v3/account?timestamp={clock.ms()}&signature=00"
        reply = await rest.raw("GET", target, **({"x_mbx_apikey": key} if key else {}))
        assert refusal(reply) == (401, code, text)


async def test_key_when_revoked_barred_by_ip_or_read_only_then_2015():
    async with trader() as (sim, clock, account, rest):
        barred = sim.add_key(account, ip_restricted=True, ip_allowed=False)
        reader = sim.add_key(account, can_trade=False)
        async with Rest(sim, clock, barred) as other:
            assert refusal(await other.signed("GET", "/api/v3/account"))[:2] == (401, -2015)
        async with Rest(sim, clock, reader) as other:
            assert (await other.signed("GET", "/api/v3/account")).status_code == 200
            assert refusal(await other.limit("BUY", "1", "90.00"))[:2] == (401, -2015)
        sim.revoke(account.key)
        assert refusal(await rest.signed("GET", "/api/v3/account"))[:2] == (401, -2015)
        assert sim.orders == []


async def test_missing_timestamp_or_signature_then_1102():
    async with trader() as (_, clock, account, rest):
        for target, name in (
            (f"timestamp={clock.ms()}", "signature"),
            ("signature=00", "timestamp"),
        ):
            reply = await rest.raw("GET", f"/api/v3/account?{target}", x_mbx_apikey=account.key)
            text = f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
            assert refusal(reply) == (400, -1102, text)


@pytest.mark.parametrize(
    ("offset_ms", "text"),
    [
        (1000, "Timestamp for this request was 1000ms ahead of the server's time."),
        (999, None),
        (-5000, None),
        (-5001, "Timestamp for this request is outside of the recvWindow."),
    ],
)
async def test_timestamp_when_off_by_then_window_check_one_decides(offset_ms, text):
    async with trader() as (_, clock, _, rest):
        reply = await rest.signed("GET", "/api/v3/account", timestamp=clock.ms() + offset_ms)
        if text is None:
            assert reply.status_code == 200
        else:
            assert refusal(reply) == (400, -1021, text)


async def test_recv_window_when_fractional_too_big_or_in_microseconds_then_read_exactly():
    async with trader() as (_, clock, _, rest):
        late = clock.ms() - 10
        good = await rest.signed("GET", "/api/v3/account", timestamp=late, recvWindow="10.000")
        bad = await rest.signed("GET", "/api/v3/account", timestamp=late, recvWindow="9.999")
        micro = await rest.signed(
            "GET", "/api/v3/account", timestamp=late * 1000 - 1, recvWindow="10"
        )
        huge = await rest.signed("GET", "/api/v3/account", recvWindow="60001")
        assert good.status_code == 200
        assert [refusal(reply)[1] for reply in (bad, micro, huge)] == [-1021, -1021, -1131]


@pytest.mark.parametrize(("check", "counted"), [(1, 0), (2, 1), (3, 1)])
async def test_order_when_delayed_before_each_check_then_1021_and_counted_from_check_two(
    check, counted
):
    async with trader() as (sim, _, account, rest):
        sim.delay(check, 5001)
        assert refusal(await rest.limit("BUY", "1", "90.00"))[:2] == (400, -1021)
        assert sim.orders == []
        assert account.count.windows[0].used == counted
        sim.delay(check, 5000)
        assert (await rest.limit("BUY", "1", "90.00")).status_code == 200


async def test_websocket_order_when_signed_over_sorted_raw_utf8_then_accepted():
    async with trader(key_type="ed25519") as (sim, clock, account, _):
        async with socket(sim.ws_api_url, clock, account) as ws:
            answer = await ws.signed(
                "order.place",
                symbol="币安人生USDT",
                side="BUY",
                type="LIMIT",
                timeInForce="GTC",
                quantity="100.0",
                price="0.1000",
                recvWindow=4000,
            )
        assert answer["status"] == 200
        assert answer["result"]["symbol"] == "币安人生USDT"


async def test_dead_routes_when_called_then_410_html_and_404():
    async with trader() as (_, _, _, rest):
        gone = await rest.raw("POST", "/api/v3/userDataStream")
        assert (gone.status_code, gone.headers["content-type"]) == (410, "text/html")
        assert "<html>" in gone.text
        assert (await rest.get("/api/v1/ping")).status_code == 404


@pytest.mark.parametrize("environment", ["testnet", "demo", "live"])
async def test_sapi_when_asked_then_only_live_has_it(environment):
    async with trader(environment=environment, can_withdraw=True) as (_, _, _, rest):
        rights = await rest.signed("GET", "/sapi/v1/account/apiRestrictions")
        coins = await rest.signed("GET", "/sapi/v1/capital/config/getall")
        if environment != "live":
            assert (rights.status_code, coins.status_code) == (404, 404)
            return
        assert rights.json()["enableWithdrawals"] is True
        assert rights.json()["enableSpotAndMarginTrading"] is True
        assert rights.json()["ipRestrict"] is False
        assert {"coin", "free", "networkList"} <= set(coins.json()[0])


async def test_requests_when_logged_then_no_secret_stands_in_them():
    async with trader() as (sim, _, account, rest):
        await rest.signed("GET", "/api/v3/account")
        (seen,) = sim.requests
        assert (seen.method, seen.path) == ("GET", "/api/v3/account")
        assert "signature" not in seen.params
        assert account.key not in json.dumps(seen.params)
