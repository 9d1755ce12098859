"""What is malformed is refused in the right words, changes no row and gives no secret back."""

import json
from typing import Any

import pytest

from backend.api.app import PREFIX
from backend.testing import BlockingStack
from tests.api.routes import A_PLAN, MISSING_TRADE, contents

TRADES = f"{PREFIX}/trading/trades"
STOP = {"order_type": "stop", "stop_price": "215"}
NEW = {"exchange": "paper", "identifier": "a"}
LIMITS = "/accounts/paper:main/limits"
SWITCH = "/risk/kill-switch"
JSON = {"content-type": "application/json"}
MEMBERS = ["type", "title", "status", "code", "detail"]

# As JSON text: number or string.
NOT_NUMBERS = [
    "0", "0.0", "-0", "-1", "-0.5", "1e3", "1E-8", "1e2000000", "-1e2000000", "9" * 400, "1" * 19,
    "0." + "0" * 18 + "1", "1.0000000000000000001", "true", "false", "[]", "[1]", "{}", '{"a":1}',
    '""', '" "', '" 7 "', '"7 "', '"1_000"', '"1,000"', '"+1"', '"-1"', '"NaN"', '"Infinity"',
    '"1e3"', '"0x10"', '"１２"', '"٣"', '"seven"', '"1\\u0000"', '"7\\n"', '".5"', '"5."',
]  # fmt: skip


def refused(server: BlockingStack, method: str, path: str, **more: Any) -> dict[str, Any]:
    """Make a request that must change nothing, and return its problem object."""
    http = more.pop("http", server.http)
    before = contents(server.home)
    reply = server.run(http.request, method, path, **more)

    assert contents(server.home) == before
    assert 400 <= reply.status_code < 500, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = reply.json()
    assert list(found)[:5] == MEMBERS
    assert found["status"] == reply.status_code
    assert http.headers["authorization"].split("_")[-1] not in reply.text
    return found


def plan(server: BlockingStack, body: str | bytes, **headers: str) -> dict[str, Any]:
    return refused(server, "POST", TRADES, content=body, headers={**JSON, **headers})


def with_member(name: str, text: str, **more: Any) -> str:
    """Return the body of a plan in which one member is this JSON text."""
    rest = json.dumps({k: v for k, v in {**A_PLAN, **more}.items() if k != name})
    return f'{rest[:-1]},"{name}":{text}}}'


@pytest.mark.parametrize("text", NOT_NUMBERS, ids=lambda text: ascii(text[:16]))
@pytest.mark.parametrize("name", ["quantity", "limit_price"])
def test_what_is_no_plain_number_above_zero_is_an_invalid_number(
    server: BlockingStack, name: str, text: str
) -> None:
    found = plan(server, with_member(name, text, order_type="limit"))

    assert (found["code"], found["parameter"]) == ("invalid_number", name)
    assert found["detail"].startswith(f"{name} must be a number greater than 0")


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "01", "+1", ".5", "1.", "0x1"])
def test_what_json_has_no_word_for_is_not_json(server: BlockingStack, text: str) -> None:
    assert plan(server, with_member("quantity", text))["code"] == "invalid_request"


@pytest.mark.parametrize(
    ("changes", "code", "nearest"),
    [
        ({"quantity": "1.5"}, "step_size", [1, 2]),
        ({"quantity": "0.5"}, "step_size", [1]),
        ({"quantity": "1000001"}, "quantity_bounds", [1000000]),
        ({"quantity": "999999999999999999"}, "quantity_bounds", [1000000]),
        ({"order_type": "limit", "limit_price": "215.405"}, "tick_size", [215.40, 215.41]),
        ({"order_type": "limit", "limit_price": "0.001"}, "tick_size", [0.01]),
        ({"symbol": "BTC/USD", "quantity": "0.00001"}, "min_notional", [0.00002]),
        ({"symbol": "BTC/USD", "quantity": "0.000005"}, "step_size", [0.00001]),
        ({"quantity": "1000"}, "buying_power", None),
        ({"side": "sell"}, "buying_power", None),
        ({"order_type": "limit", "limit_price": "99999.00"}, "price_band", None),
        ({"symbol": "NOPE"}, "unknown_symbol", None),
        ({"symbol": "AAPLL"}, "unknown_symbol", None),
        ({"symbol": "ＡＡＰＬ"}, "unknown_symbol", None),
        ({"symbol": "AAPL;--"}, "unknown_symbol", None),
        ({"symbol": "../AAPL"}, "unknown_symbol", None),
        ({"order_type": "limit"}, "invalid_request", None),
        ({"limit_price": "215.40"}, "invalid_request", None),
        ({"stop_price": "215.40"}, "invalid_request", None),
        ({"order_type": "stop", "limit_price": "215"}, "invalid_request", None),
        ({"time_in_force": "gtc"}, "unsupported_order", None),
        ({**STOP, "time_in_force": "fok"}, "unsupported_order", None),
    ],
)  # fmt: skip
def test_an_order_that_breaks_a_rule_is_refused_by_its_name(
    server: BlockingStack, changes: dict[str, Any], code: str, nearest: list[Any] | None
) -> None:
    found = refused(server, "POST", TRADES, json={**A_PLAN, **changes})

    assert (found["code"], found.get("nearest")) == (code, nearest)


WRONG: dict[str, list[Any]] = {
    "symbol": ["", " ", 5, True, [], {}, None, "A\x00", "x" * 201],
    "side": ["", "hold", "b", "buysell", 1, None, ["buy"], "ｂuy", "bu\u0443"],
    "order_type": ["mkt", "limits", 0, False, "mar\u212aet"],
    "time_in_force": ["good", 0, {}, "ıoc"],
    "account_id": ["", 7, [], "a\nb", "x" * 201],
    "request_id": ["", 7, {}, "x" * 201, "a\u2028b", "a\x7f"],
    "qty": [1],
    "Quantity": [1],
    "": [1],
    "__class__": ["x"],
}


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, all_of in WRONG.items() for value in all_of],
    ids=ascii,
)
def test_a_member_of_the_wrong_kind_or_of_no_kind_is_an_invalid_request(
    server: BlockingStack, name: str, value: Any
) -> None:
    found = refused(server, "POST", TRADES, json={**A_PLAN, name: value})

    assert found["code"] == "invalid_request"
    assert found.get("parameter", name) == name


@pytest.mark.parametrize("name", ["symbol", "side", "quantity"])
def test_what_is_left_out_is_named(server: BlockingStack, name: str) -> None:
    body = {k: v for k, v in A_PLAN.items() if k != name}
    assert refused(server, "POST", TRADES, json=body)["detail"].startswith(f"{name} is missing")


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"[]", b"null", b"true", b"7", b'"AAPL"', b"{'a':1}", b"symbol=AAPL", b"\x00",
        b"\xff\xfe", b'{"symbol":"\xff"}', b'{"symbol":"\\ud800"}', b'{"\\ud800":1}',
        b'{"symbol":"AAPL","symbol":"AAPL","side":"buy","quantity":1}',
        b'{"symbol":"AAPL","side":"buy","quantity":1,"quantity":1}',
        b'{"symbol":"AAPL","side":"buy","quantity":1}{}', b"[" * 40_000, b'{"a":' * 9_000,
    ],
    ids=lambda body: ascii(body[:30]),
)  # fmt: skip
def test_a_body_that_is_not_one_strict_json_object_is_refused(
    server: BlockingStack, body: bytes
) -> None:
    assert plan(server, body)["code"] == "invalid_request"


@pytest.mark.parametrize("spelling", ["AAPL", "aapl", " AAPL ", "Aapl"])
def test_a_symbol_is_taken_in_any_case_and_with_spaces_around(
    server: BlockingStack, spelling: str
) -> None:
    reply = server.run(server.http.post, TRADES, json={**A_PLAN, "symbol": spelling})
    assert (reply.status_code, reply.json()["symbol"]) == (201, "AAPL")


@pytest.mark.parametrize("word", [" BUY ", "Buy", "buy\n"])
def test_a_word_is_lower_cased_and_stripped(server: BlockingStack, word: str) -> None:
    reply = server.run(server.http.post, TRADES, json={**A_PLAN, "side": word})
    assert (reply.status_code, reply.json()["side"]) == (201, "buy")


def test_a_body_of_64_kib_is_read_and_one_byte_more_is_not(server: BlockingStack) -> None:
    body = json.dumps(A_PLAN).encode()
    largest = body + b" " * (65_536 - len(body))

    reply = server.run(server.http.post, TRADES, content=largest, headers=JSON)
    assert reply.status_code == 201

    found = plan(server, largest + b" ")
    assert (found["status"], found["code"]) == (413, "too_large")


def test_a_body_that_comes_in_pieces_is_counted_as_a_whole(server: BlockingStack) -> None:
    async def pieces() -> Any:
        for _ in range(70):
            yield b" " * 1000

    found = refused(server, "POST", TRADES, content=pieces(), headers=JSON)
    assert (found["status"], found["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    "media", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx", "json"]
)
def test_a_body_of_another_media_type_is_refused(server: BlockingStack, media: str) -> None:
    headers = {"content-type": media}
    found = refused(server, "POST", TRADES, content=json.dumps(A_PLAN), headers=headers)
    assert (found["status"], found["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("media", ["application/json; charset=utf-8", "Application/JSON"])
def test_a_media_type_is_read_without_its_parameters(server: BlockingStack, media: str) -> None:
    headers = {"content-type": media}
    reply = server.run(server.http.post, TRADES, content=json.dumps(A_PLAN), headers=headers)
    assert reply.status_code == 201


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/trading/trades", {"GET", "POST"}),
        ("PATCH", f"/trading/trades/{MISSING_TRADE}", {"GET", "DELETE"}),
        ("GET", f"/trading/trades/{MISSING_TRADE}/confirm", {"POST"}),
        ("POST", "/portfolio", {"GET"}),
        ("OPTIONS", "/accounts", {"GET", "POST"}),
        ("HEAD", "/accounts", {"GET", "POST"}),
        ("DELETE", "/risk/kill-switch", {"POST"}),
    ],
)
def test_a_wrong_method_is_told_the_right_one(
    server: BlockingStack, method: str, path: str, allowed: set[str]
) -> None:
    reply = server.run(server.http.request, method, PREFIX + path)

    assert reply.status_code == 405
    assert set(reply.headers["allow"].split(", ")) <= allowed
    assert reply.headers["content-type"] == "application/problem+json"
    assert method == "HEAD" or reply.json()["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    "path", ["/", "/api", "/api/v1", "/api/v2/accounts", f"{PREFIX}/nope", f"{PREFIX}/accounts/"]
)
def test_a_path_that_is_none_is_a_problem_too(server: BlockingStack, path: str) -> None:
    assert refused(server, "GET", path)["code"] == "not_found"


@pytest.mark.parametrize(
    "trade_id",
    ["x", "trd-abc123", "TRD-" + "A" * 20, MISSING_TRADE, MISSING_TRADE + "a", "%00", "%ff",
     "trd-aaaaaaaaaaaaaaaaaaa%D0%B0", "a" * 5000, "' OR 1=1 --"],
    ids=lambda text: ascii(text[:20]),
)  # fmt: skip
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/trading/trades/{}"),
        ("DELETE", "/trading/trades/{}"),
        ("POST", "/trading/trades/{}/confirm"),
        ("GET", "/trading/orders/{}"),
        ("DELETE", "/trading/orders/{}"),
    ],
)
def test_a_malformed_id_is_not_there_like_a_missing_one(
    server: BlockingStack, method: str, path: str, trade_id: str
) -> None:
    found = refused(server, method, PREFIX + path.format(trade_id))
    assert found == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "code": "not_found",
        "detail": "no such thing, or not yours",
    }


@pytest.mark.parametrize(
    "account_id",
    [
        "paper",
        "paper:",
        ":main",
        "paper:main:x",
        "PAPER:main",
        " paper:main",
        "paper:%00",
        "1",
        "%ff",
    ],
)
def test_an_account_id_that_is_none_is_not_there(server: BlockingStack, account_id: str) -> None:
    assert refused(server, "GET", f"{PREFIX}/accounts/{account_id}")["code"] == "not_found"


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("/trading/trades", "limit=0", "invalid_number"),
        ("/trading/trades", "limit=101", "invalid_number"),
        ("/trading/trades", "limit=-1", "invalid_number"),
        ("/trading/trades", "limit=1.5", "invalid_number"),
        ("/trading/trades", "limit=1e2", "invalid_number"),
        ("/trading/trades", "limit=%EF%BC%91", "invalid_number"),
        ("/trading/trades", "limit=" + "9" * 5000, "invalid_number"),
        ("/trading/trades", "limit=", "invalid_number"),
        ("/trading/trades", "limit=1&limit=2", "invalid_request"),
        ("/trading/trades", "account_id=paper:main&account_id=paper:x", "invalid_request"),
        ("/trading/trades", "cursor=next", "invalid_number"),
        ("/trading/trades", "cursor=999999999999999999999", "invalid_number"),
        ("/trading/trades", "status=done", "invalid_request"),
        ("/trading/trades", "symbol=", "invalid_request"),
        ("/trading/trades", "symbol=A%00", "invalid_request"),
        ("/trading/trades", "symbol=%F0%9F%92%B0", "unknown_symbol"),
        ("/trading/trades", "qty=1", "invalid_request"),
        ("/trading/orders", "status=pending", "invalid_request"),
        ("/portfolio", "account=paper:main", "invalid_request"),
        ("/accounts", "exchange=" + "x" * 201, "invalid_request"),
        ("/prices/AAPL", "at=now", "invalid_request"),
        ("/prices/NOPE", "", "unknown_symbol"),
        ("/prices/ETH/USD", "", "stale_quote"),
        ("/markets/AAPL/USD/X", "", "unknown_symbol"),
        ("/audit/events", "limit=501", "invalid_number"),
    ],
    ids=lambda text: text[:40],
)
def test_a_query_is_read_as_strictly(
    server: BlockingStack, path: str, query: str, code: str
) -> None:
    assert refused(server, "GET", f"{PREFIX}{path}?{query}")["code"] == code


def test_a_query_where_none_is_read_is_refused(server: BlockingStack) -> None:
    found = refused(server, "POST", f"{TRADES}?quantity=7", json=A_PLAN)
    assert found["detail"] == "unknown member in the query; known: none"


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/tokens", {"name": "A", "scopes": ["read"]}, "name must match"),
        ("/tokens", {"name": "a" * 33, "scopes": ["read"]}, "name must match"),
        ("/tokens", {"name": "a/b", "scopes": ["read"]}, "name must match"),
        ("/tokens", {"name": "a", "scopes": []}, "scopes must be among"),
        ("/tokens", {"name": "a", "scopes": ["root"]}, "scopes must be among"),
        ("/tokens", {"name": "a", "scopes": "read"}, "scopes must be a list"),
        ("/tokens", {"name": "a", "scopes": [1]}, "scopes must be text"),
        ("/tokens", {"name": "a", "scopes": ["read"], "days": 0}, "days must be a whole"),
        ("/tokens", {"name": "a", "scopes": ["read"], "days": 3651}, "days must be a whole"),
        ("/tokens", {"name": "a", "scopes": ["read"], "days": True}, "days must be a whole"),
        ("/tokens", {"name": "a", "scopes": ["read"], "accounts": ["paper:x"]}, "no account"),
        ("/tokens", {"name": "a", "scopes": ["read"], "limits": {"x": "1"}}, "no limit called"),
        ("/accounts", {"exchange": "nope", "identifier": "a"}, "exchange must be one of"),
        ("/accounts", {"exchange": "paper", "identifier": "a b"}, "identifier must match"),
        ("/accounts", {"exchange": "paper", "identifier": "a:b"}, "identifier must match"),
        ("/accounts", {"exchange": "paper", "identifier": "é"}, "identifier must match"),
        ("/accounts", {**NEW, "balance": -1}, "balance must be"),
        ("/accounts", {**NEW, "currency": "usd"}, "currency must"),
        ("/accounts", {**NEW, "settings": {"x": "1"}}, "unknown paper"),
        ("/accounts", {**NEW, "settings": []}, "settings must be"),
        ("/accounts", {**NEW, "settings": {"latency_ms": "1" * 201}}, "1 to 200"),
        ("/accounts", {**NEW, "settings": {"latency_ms": None}}, "must be texts"),
        ("/accounts", {**NEW, "limits": {"stale_quote": "0"}}, "must be a number"),
        ("/accounts", {"exchange": "paper", "identifier": "main"}, "already configured"),
        ("/accounts", {**NEW, "identifier": "main", "balance": 5}, "already configured"),
        (LIMITS, {"limits": {"stale_quote": [1]}}, "limits must be text"),
        (LIMITS, {"limits": {"stale_quote": "5", " stale_quote": "6"}}, "doubled"),
        (LIMITS, {"limits": {"kill_switch": "off"}}, "must be on"),
        (LIMITS, {}, "limits is missing"),
        ("/accounts/paper:main/resume", {"reason": " "}, "reason must be"),
        ("/accounts/paper:main/enable", {"why": "x"}, "unknown member"),
        (SWITCH, {"scope": "global"}, "reason is missing"),
        (SWITCH, {"reason": "x", "scope": "all"}, "scope must be one of"),
        (SWITCH, {"reason": "x", "scope": "symbol"}, "symbol goes with"),
        (SWITCH, {"reason": "x", "symbol": "AAPL"}, "symbol goes with"),
        (SWITCH, {"reason": "x", "scope": "global", "account_id": "paper:main"}, "no account_id"),
        (SWITCH, {"reason": "x", "cancel_orders": "yes"}, "true or false"),
        (SWITCH, {"reason": "x", "cancel_orders": 1}, "true or false"),
    ],
)  # fmt: skip
def test_the_operators_requests_are_read_as_strictly(
    server: BlockingStack, path: str, body: dict[str, Any], words: str
) -> None:
    found = refused(server, "POST", PREFIX + path, json=body, http=server.operator)

    assert words in found["detail"]
    assert found["status"] == 400


def test_a_secret_that_is_sent_in_the_wrong_place_is_not_echoed(server: BlockingStack) -> None:
    secret = server.operator.headers["authorization"].removeprefix("Bearer ")
    operators = [
        ("/tokens", {"name": "a", "scopes": ["read"], "accounts": [secret]}),
        ("/tokens", {"name": "a", "scopes": ["read"], "limits": {secret: "1"}}),
        ("/accounts", {"exchange": secret, "identifier": "a"}),
        ("/accounts", {**NEW, "settings": {secret: "1"}}),
        ("/accounts", {**NEW, "limits": {"price_band": secret}}),
    ]
    said = [str(refused(server, "POST", TRADES, json={**A_PLAN, n: secret})) for n in A_PLAN]
    said += [
        str(refused(server, "POST", PREFIX + path, json=body, http=server.operator))
        for path, body in operators
    ]
    said.append(str(refused(server, "GET", f"{PREFIX}/prices/{secret}")))
    said.append(str(refused(server, "GET", f"{TRADES}?limit={secret}")))

    assert secret.split("_")[2][:12] not in " ".join(said)
