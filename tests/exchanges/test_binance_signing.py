"""Signing, by the exchange's own vectors and by RFC 8032's first key."""

import pytest

from backend.domain.secret import Secret
from backend.exchanges.binance.signing import (
    read_signer,
    rest_query,
    signed_params,
    signed_query,
    socket_payload,
)

KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
ED_KEY = "4yNzx3yWC5bS6YTwEkSRaC0nRmSQIIStAUOh1b6kqaBrTLIhjCpI5lJH8q8R8WNO"
PEM = (
    "-----BEGIN PRIVATE KEY-----\n"
    "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
    "-----END PRIVATE KEY-----\n"
)
WIDE = "１２３４５６"
LIMIT = {"side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "0.1"}
TIMES = {"recvWindow": 5000, "timestamp": 1499827319559}
ED_LIMIT = {"side": "SELL", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "0.2"}
ED_TIMES = {"timestamp": 1668481559918, "recvWindow": 5000}
WS_1: dict[str, str | int] = {
    "symbol": "BTCUSDT",
    "side": "SELL",
    "type": "LIMIT",
    "timeInForce": "GTC",
    "quantity": "0.01000000",
    "price": "52000.00",
    "recvWindow": 100,
    "timestamp": 1645423376532,
}
WS_2 = WS_1 | {
    "symbol": WIDE,
    "side": "BUY",
    "quantity": "1.00000000",
    "price": "0.10000000",
    "recvWindow": 5000,
}


def hmac_signer():
    return read_signer({"api_key": Secret(KEY), "api_secret": Secret(SECRET)})


def ed25519_signer():
    return read_signer({"api_key": Secret(ED_KEY), "private_key": Secret(PEM)})


@pytest.mark.parametrize(
    ("params", "signature"),
    [
        (
            {"symbol": "LTCBTC", **LIMIT, **TIMES},
            "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71",
        ),
        (
            {"symbol": WIDE, **LIMIT, **TIMES},
            "e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3",
        ),
    ],
    ids=["ascii", "percent-encoded first"],
)
def test_a_rest_request_is_signed_as_the_exchange_signs_it(params, signature):
    assert signed_query(hmac_signer(), params).endswith(f"&signature={signature}")


def test_query_and_body_are_signed_as_one_text():
    query = rest_query({"symbol": "LTCBTC", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"})
    body = rest_query({"quantity": "1", "price": "0.1", **TIMES})

    signature = hmac_signer().sign((query + body).encode())

    assert signature == "0fd168b8ddb4876a0358a8d14d0c9f3da0e9b20c5d52b2a00fcf7d1c602f9a77"


@pytest.mark.parametrize(
    ("params", "signature"),
    [
        (WS_1, "aa1b5712c094bc4e57c05a1a5c1fd8d88dcd628338ea863fec7b88e59fe2db24"),
        (WS_2, "b33892ae8e687c939f4468c6268ddd4c40ac1af18ad19a064864c47bae0752cd"),
    ],
    ids=["ascii", "raw utf-8"],
)
def test_a_socket_request_is_signed_sorted_and_unencoded(params, signature):
    signed = signed_params(hmac_signer(), params)

    assert signed["signature"] == signature
    assert signed["apiKey"] == KEY


@pytest.mark.parametrize(
    ("params", "signature"),
    [
        (
            {"symbol": "BTCUSDT", **ED_LIMIT, **ED_TIMES},
            "XtZirsmmi0noRzUfkqktvkVfxpkq%2FWtbLg2UOL3QGYdUBZVlqOBEMuEVw8zioY93N54NcKj9UuAXQEa9z"
            "gTDBg%3D%3D",
        ),
        (
            {"symbol": WIDE, **ED_LIMIT, **ED_TIMES},
            "FWYdifsZ1T%2BXvAR4JXeCD399kQM9CBUnEKjWb0%2BjS1X00g%2BLgvtR8uBv2T7dn1gFf9GPIhHnYlM%2"
            "B6vBsJOnMDA%3D%3D",
        ),
    ],
    ids=["ascii", "percent-encoded first"],
)
def test_an_ed25519_signature_is_percent_encoded_base64_over_rest(params, signature):
    assert signed_query(ed25519_signer(), params).endswith(f"&signature={signature}")


def test_an_ed25519_logon_and_order_are_signed_over_the_socket():
    logon = signed_params(ed25519_signer(), {"timestamp": 1649729878532})
    order = signed_params(ed25519_signer(), WS_2)

    assert logon["signature"] == (
        "NBJq5sX1RkU7ta3XDctruMgnrhyBcouMvvPIxxQSCUbVWxhp3ai6W7a0Iip/3nOwmJxkVIv6n20cekYCOa5qAg=="
    )
    assert order["signature"] == (
        "D9qsPwF4+5CtkHZSVBhuAMVox387CQQsJXplSDXUw3C2vnuMJnxjuengedC0IGpvJFxazfP45NwzN0eAQ8gaBg=="
    )


def test_what_a_socket_request_signs_is_sorted_by_name():
    assert socket_payload([("b", 2), ("apiKey", "k"), ("a", "x y")]) == b"a=x y&apiKey=k&b=2"


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({}, "api_key"),
        ({"api_secret": SECRET}, "api_key"),
        ({"api_key": KEY}, "exactly one"),
        ({"api_key": KEY, "api_secret": "  "}, "exactly one"),
        ({"api_key": KEY, "api_secret": SECRET, "private_key": PEM}, "exactly one"),
        ({"api_key": KEY, "private_key": "not a PEM " + SECRET}, "PKCS#8"),
        ({"api_key": "schlüssel", "api_secret": SECRET}, "malformed"),
        ({"api_key": f"{KEY}\r\nX: y", "api_secret": SECRET}, "api_key is missing or malformed"),
        ({"api_key": KEY, "api_secret": f"{SECRET}\udcff"}, "api_secret is malformed"),
        ({"api_key": KEY, "api_secret": f"{SECRET}ü"}, "api_secret is malformed"),
        ({"api_key": KEY, "api_secret": f"{SECRET}\x00"}, "api_secret is malformed"),
        ({"api_key": KEY, "private_key": f"{SECRET}\udcff"}, "PKCS#8"),
        ({"api_key": KEY, "api_secret": SECRET, "passphrase": SECRET}, "passphrase"),
    ],
)
def test_malformed_credentials_are_refused_and_not_shown(parts, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        read_signer({name: Secret(text) for name, text in parts.items()})

    told = f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
    assert SECRET not in told
    assert KEY not in told


def test_a_signer_shows_nothing_of_its_key():
    shown = " ".join(repr(vars(signer)) + repr(signer) for signer in (hmac_signer(),))
    shown += repr(ed25519_signer())

    assert not [part for part in (KEY, SECRET, ED_KEY, "MC4CAQAw") if part in shown]
