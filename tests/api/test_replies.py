"""Exact digits in and out, problems, statuses, the document, health and metrics."""

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route as StarletteRoute

from backend.api.app import PREFIX, Door, _endpoint
from backend.api.auth import RateLimiter
from backend.api.http import STATUS, Call, Route, on_exec_error, status_of
from backend.domain import errors
from backend.domain.errors import CODES, ExecError
from backend.testing import Answer, Stack
from tests.api.routes import A_PLAN, ROUTES, contents, name_of, planned, rows, second_account, send

PAGE = (Path(__file__).parents[2] / "kb" / "http.md").read_text(encoding="utf-8")
TRADES = f"{PREFIX}/trading/trades"
JSON = {"content-type": "application/json"}
D = Decimal

# What the caller may do next, as a number: one row per kind of error.
STATUSES = [
    (errors.Refused("x"), 400, "invalid_request"),
    (errors.Refused("x", "price_band"), 400, "price_band"),
    (errors.TradeNotPending("x"), 400, "trade_not_pending"),
    (errors.AwaitingApproval("x"), 400, "awaiting_approval"),
    (errors.Unauthorised("x"), 401, "unauthorised"),
    (errors.Forbidden("x"), 403, "forbidden"),
    (errors.NotFound("x"), 404, "not_found"),
    (errors.RateLimited("x"), 429, "rate_limited"),
    (errors.ExchangeRejected("x"), 422, "exchange_rejected"),
    (errors.ExchangeUnavailable("x"), 503, "exchange_unavailable"),
    (errors.OutcomeUnknown("x"), 202, "internal_error"),
    (errors.ExecError("x"), 500, "internal_error"),
]


# --- numbers ---


@pytest.mark.exec_mcp(prices={"TINY/USD": ("200000000", "200000000")})
@pytest.mark.parametrize("written", ["0.00000001", '"0.00000001"'])
async def test_a_hundred_millionth_comes_back_digit_by_digit(exec_mcp: Stack, written: str) -> None:
    body = f'{{"symbol":"TINY/USD","side":"buy","quantity":{written}}}'
    plan = await exec_mcp.http.post(TRADES, content=body, headers=JSON)
    done = await exec_mcp.http.post(f"{TRADES}/{plan.json()['trade_id']}/confirm")
    portfolio = await exec_mcp.http.get(f"{PREFIX}/portfolio")

    assert '"quantity":0.00000001,' in plan.text
    assert '"filled_quantity":0.00000001,' in done.text
    assert '"total":0.00000001,' in portfolio.text
    assert Answer.of_http(done)["new_position"]["quantity"] == D("0.00000001")


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("123456789012.123456789", "123456789012.123456789"),
        ('"123456789012.123456789"', "123456789012.123456789"),
        ("9007199254740993", "9007199254740993.00"),  # 2**53 + 1
        ("999999999999999999.999999999999999999", "999999999999999999.999999999999999999"),
        ("0.1", "0.10"),
        ("100000", "100000.00"),
    ],
)
async def test_a_balance_keeps_every_digit(exec_mcp: Stack, written: str, shown: str) -> None:
    body = f'{{"exchange":"paper","identifier":"x","balance":{written}}}'
    made = await exec_mcp.operator.post(f"{PREFIX}/accounts", content=body, headers=JSON)
    reply = await exec_mcp.http.get(f"{PREFIX}/portfolio", params={"account_id": "paper:x"})

    assert made.status_code == 201
    assert f'"balance":{shown},"buying_power":{shown},' in reply.text


async def test_a_large_cost_is_averaged_without_rounding_the_books(exec_mcp: Stack) -> None:
    body = {"exchange": "paper", "identifier": "rich", "balance": "9" * 18}
    await exec_mcp.operator.post(f"{PREFIX}/accounts", json=body)
    order: dict[str, Any] = {"symbol": "BTC/USD", "account_id": "paper:rich"}
    # A cost of 11 digits before the point and 18 after it.
    for side, quantity in [("buy", "9999.99999")] * 18 + [("sell", "7777.77777")]:
        trade_id = await planned(exec_mcp, side=side, quantity=quantity, **order)
        assert (await exec_mcp.confirm(trade_id)).status == "executed"

    books = await exec_mcp.operator.get(f"{PREFIX}/audit/invariants")
    assert books.json()["broken"] == []


async def test_no_number_of_any_reply_has_an_exponent(exec_mcp: Stack) -> None:
    trade_id = await planned(exec_mcp, symbol="BTC/USD", quantity="0.00002")
    await exec_mcp.confirm(trade_id)
    ids = {"trade_id": trade_id, "account_id": "paper:main"}
    for route in ROUTES:
        if route.method == "GET":
            text = (await send(exec_mcp.operator, route, ids)).text
            assert not re.search(r"[:\[,]-?[0-9.]+[eE]", text), name_of(route)


async def test_every_stamp_of_every_reply_is_eastern_time_with_its_offset(exec_mcp: Stack) -> None:
    trade_id = await planned(exec_mcp)
    await exec_mcp.confirm(trade_id)
    ids = {"trade_id": trade_id, "account_id": "paper:main"}
    for route in ROUTES:
        if route.method == "GET" and route.path != "/audit/export":
            data = (await send(exec_mcp.operator, route, ids)).json()
            for stamp in stamps(data):
                assert re.fullmatch(r"2026-\d\d-\d\dT\d\d:\d\d:\d\d-04:00", stamp), stamp


def stamps(value: Any, name: str = "") -> list[str]:
    """Return every time of a reply; the audit's own details are as they were written."""
    if isinstance(value, dict):
        return [s for k, v in value.items() if k != "detail" for s in stamps(v, k)]
    if isinstance(value, list):
        return [s for item in value for s in stamps(item, name)]
    is_time = isinstance(value, str) and re.match(r"20\d\d-\d\d-\d\d", value)
    return [value] if is_time and name != "day" else []


# --- problems and statuses ---


def test_the_table_has_every_kind_of_error() -> None:
    kinds = {type(error) for error, _, _ in STATUSES}
    assert kinds == {ExecError, *every_kind(ExecError)}
    assert {kind for kind, _ in STATUS} < kinds


def every_kind(kind: type[ExecError]) -> set[type[ExecError]]:
    return {*kind.__subclasses__(), *(s for k in kind.__subclasses__() for s in every_kind(k))}


@pytest.mark.parametrize(
    ("error", "status", "code"), STATUSES, ids=lambda v: v if isinstance(v, int | str) else None
)
async def test_each_kind_of_error_has_its_status_on_any_route(
    exec_mcp: Stack, error: ExecError, status: int, code: str
) -> None:
    async def handle(_: Call) -> Any:
        raise error

    backend = exec_mcp.backend
    door = Door(backend.desk, backend.key, "x", RateLimiter(1000))
    route = Route("GET", "/raise", ("read",), handle, "Raise it")
    app = Starlette(routes=[StarletteRoute("/raise", _endpoint(route))])
    app.state.door = door
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as http:
        reply = await http.get("/raise", headers=exec_mcp.http.headers)

    assert status_of(error) == status
    assert (reply.status_code, reply.json()["code"]) == (status, code)


@pytest.mark.anyio
async def test_a_problem_has_the_members_of_rfc_9457_then_the_facts() -> None:
    error = errors.TradeNotPending("Trade has expired", current_status="expired", trade_id="trd-x")
    reply = await on_exec_error(Request({"type": "http"}), error)

    assert reply.headers["content-type"] == "application/problem+json"
    assert bytes(reply.body).decode() == (
        '{"type":"about:blank","title":"Bad Request","status":400,"code":"trade_not_pending",'
        '"detail":"Trade has expired","current_status":"expired","trade_id":"trd-x"}'
    )


async def test_a_refusal_about_a_trade_says_which(exec_mcp: Stack) -> None:
    trade_id = await planned(exec_mcp)
    reader = exec_mcp.http_as(await exec_mcp.token("reader", "read"))

    reply = await reader.post(f"{TRADES}/{trade_id}/confirm")

    assert (reply.status_code, reply.json()["trade_id"]) == (403, trade_id)


async def test_a_bug_answers_500_without_a_word_of_it(exec_mcp: Stack) -> None:
    desk = exec_mcp.backend.desk
    desk.checks = {"broken": None}  # type: ignore[dict-item]

    reply = await exec_mcp.http.post(TRADES, json=A_PLAN)

    assert (reply.status_code, reply.json()["code"]) == (500, "internal_error")
    assert "KeyError" not in reply.text
    assert "broken" not in reply.text


# --- the page and the document ---


def test_the_page_has_every_route_with_its_scopes() -> None:
    told = re.findall(r"^\| `([A-Z]+ /[^`]*)` \| ([a-z ]+) \| (.+) \|$", PAGE, re.MULTILINE)
    assert told == [(name_of(r), " ".join(r.scopes), r.summary) for r in ROUTES]


def test_the_page_has_every_code_with_its_status() -> None:
    told = re.findall(r"^\| `([a-z_]+)` \| (\d+) \| (.+) \|$", PAGE, re.MULTILINE)
    status = {code: number for _, number, code in STATUSES if code != "internal_error"}

    assert [(code, words) for code, _, words in told] == list(CODES.items())
    assert all(int(number) == status.get(code, int(number)) for code, number, _ in told)


async def test_the_document_is_sound_and_has_every_route_and_code(exec_mcp: Stack) -> None:
    document = (await exec_mcp.http_as(None).get(f"{PREFIX}/openapi.json")).json()
    operations = [
        (method.upper(), path.removeprefix(PREFIX), operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    names = [f"{method} {path}" for method, path, _ in operations]
    problem = document["components"]["schemas"]["Problem"]

    assert document["openapi"].startswith("3.1")
    assert sorted(names) == sorted(map(name_of, ROUTES))
    assert problem["properties"]["code"]["enum"] == sorted({*CODES, *exec_mcp.backend.desk.checks})
    assert len({operation["operationId"] for _, _, operation in operations}) == len(operations)
    for _, path, operation in operations:
        check_operation(document, path, operation)


def check_operation(document: dict[str, Any], path: str, operation: dict[str, Any]) -> None:
    """Check what the specification asks of an operation, references included."""
    parameters = operation.get("parameters", [])
    in_path = [p["name"] for p in parameters if p["in"] == "path"]
    assert in_path == re.findall(r"{(\w+)}", path)
    assert all(p["required"] for p in parameters if p["in"] == "path")
    assert operation["security"] == [
        {name: []} for name in document["components"]["securitySchemes"]
    ]
    schemas = [p["schema"] for p in parameters]
    schemas += [c["schema"] for c in operation.get("requestBody", {}).get("content", {}).values()]
    for status, response in operation["responses"].items():
        assert re.fullmatch(r"[1-5]\d\d", status)
        assert response["description"]
        (media,) = response["content"]
        assert (media == "application/problem+json") == (int(status) >= 400)
        schemas.append(response["content"][media]["schema"])
    for schema in schemas:
        if "$ref" in schema:
            assert schema["$ref"] == "#/components/schemas/Problem"
        Draft202012Validator.check_schema(schema)


async def test_what_the_document_says_of_a_plan_is_what_is_taken(exec_mcp: Stack) -> None:
    document = (await exec_mcp.http_as(None).get(f"{PREFIX}/openapi.json")).json()
    post = document["paths"][TRADES]["post"]
    schema = post["requestBody"]["content"]["application/json"]["schema"]
    validator = Draft202012Validator(schema)

    for body in (A_PLAN, {**A_PLAN, "quantity": "1"}, {**A_PLAN, "qty": 1}, {**A_PLAN, "side": 1}):
        reply = await exec_mcp.http.post(TRADES, json=body)
        assert validator.is_valid(body) == (reply.status_code == 201), body
    assert "201" in post["responses"]


# --- how often ---


@pytest.mark.exec_mcp(rate_limit_per_s=1)
async def test_a_flood_of_plans_leaves_room_for_cancels_and_the_kill_switch(
    exec_mcp: Stack,
) -> None:
    trade_id = await planned(exec_mcp)
    replies = [await exec_mcp.http.post(TRADES, json=A_PLAN) for _ in range(5)]

    assert [r.status_code for r in replies[1:]] == [429] * 4
    assert replies[-1].json()["code"] == "rate_limited"
    assert (await exec_mcp.http.delete(f"{TRADES}/{trade_id}")).json()["status"] == "cancelled"
    stop = await exec_mcp.http.post(f"{PREFIX}/risk/kill-switch", json={"reason": "enough"})
    assert stop.status_code == 200
    # Nobody else is held up.
    assert (await exec_mcp.operator.get(f"{PREFIX}/portfolio")).status_code == 200


@pytest.mark.exec_mcp(rate_limit_per_s=1)
async def test_what_is_too_much_changes_nothing(exec_mcp: Stack) -> None:
    await exec_mcp.http.get(f"{PREFIX}/portfolio")
    await exec_mcp.http.get(f"{PREFIX}/portfolio")
    before = contents(exec_mcp.home)

    assert (await exec_mcp.http.post(TRADES, json=A_PLAN)).status_code == 429
    assert contents(exec_mcp.home) == before


def test_urgent_are_the_routes_that_stop_something() -> None:
    assert [name_of(route) for route in ROUTES if route.urgent] == [
        "DELETE /trading/trades/{trade_id}",
        "POST /trading/trades/{trade_id}/reject",
        "DELETE /trading/orders/{trade_id}",
        "POST /risk/kill-switch",
    ]


# --- health and metrics ---


async def test_health_is_open_and_says_no_more_than_it_must(exec_mcp: Stack) -> None:
    for path in ("/health", f"{PREFIX}/health"):
        reply = await exec_mcp.http_as(None).get(path)
        assert reply.json() == {
            "status": "ok",
            "version": "0.1.0",
            "instance": exec_mcp.backend.instance,
        }


async def test_health_fails_with_the_database(exec_mcp: Stack) -> None:
    exec_mcp.backend.desk.database.failure = "disk I/O error"
    reply = await exec_mcp.http_as(None).get("/health")
    exec_mcp.backend.desk.database.failure = None

    assert (reply.status_code, reply.json()["status"]) == (503, "failed")


async def test_metrics_need_a_token_and_are_prometheus_text(exec_mcp: Stack) -> None:
    await planned(exec_mcp)
    await exec_mcp.http.get(f"{TRADES}/trd-x")

    assert (await exec_mcp.http_as(None).get("/metrics")).status_code == 401
    reply = await exec_mcp.http.get("/metrics")
    samples = [
        sample
        for family in text_string_to_metric_families(reply.text)
        for sample in family.samples
        if sample.name == "exec_mcp_requests_total" and sample.value
    ]

    assert reply.headers["content-type"].startswith("text/plain; version=")
    assert {(s.labels["route"], s.labels["status"]): s.value for s in samples} == {
        ("/trading/trades", "201"): 1,
        ("/trading/trades/{trade_id}", "404"): 1,
    }


# --- the audit over HTTP ---


async def test_the_audit_can_be_read_after_an_account_was_deleted(exec_mcp: Stack) -> None:
    await second_account(exec_mcp)
    await exec_mcp.operator.delete(f"{PREFIX}/accounts/paper:other")
    await second_account(exec_mcp, "another")

    reply = await exec_mcp.operator.get(f"{PREFIX}/audit/events")

    told = [(e["event"], e["account_id"]) for e in reply.json()["events"]][:3]
    assert told == [
        ("account.added", "paper:another"),
        ("account.deleted", None),
        ("account.added", None),
    ]


async def test_the_exported_audit_is_the_chain_as_stored(exec_mcp: Stack) -> None:
    await planned(exec_mcp)
    reply = await exec_mcp.operator.get(f"{PREFIX}/audit/export")

    lines = [json.loads(line) for line in reply.json()["lines"].splitlines()]
    stored = [row[1:] for row in rows(exec_mcp.home, "audit")]
    assert [tuple(line.values()) for line in lines] == stored
