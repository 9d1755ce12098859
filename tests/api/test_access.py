"""Every route, and every kind of caller."""

from typing import Any

import httpx
import pytest

from backend.api.app import PREFIX
from backend.services.tokens import SCOPES
from backend.store import tokens
from backend.testing import Stack
from tests.api.routes import (
    BODIES,
    MISSING_TRADE,
    ROUTES,
    contents,
    name_of,
    planned,
    second_account,
    send,
    with_ids,
)

_DAY_S = 86_400


async def bearer(stack: Stack, header: str | None) -> httpx.AsyncClient:
    """Return a client that sends this Authorization header."""
    http = stack.http_as(None)
    if header is not None:
        http.headers["authorization"] = header
    return http


async def bad_headers(stack: Stack) -> dict[str, str | None]:
    """Return every way not to be let in, by name."""
    good = await stack.token("good", "read", "trade")
    other = await stack.token("other", "read")
    revoked = await stack.token("revoked", "read", "trade")
    body = {"name": "short", "scopes": ["read", "trade"], "days": 1}
    expired = (await stack.operator.post(f"{PREFIX}/tokens", json=body)).json()["token"]
    await stack.operator.delete(f"{PREFIX}/tokens/revoked")
    await stack.advance(_DAY_S, tick=False)
    mark, kid, secret, checksum = good.split("_")
    swapped = secret[1:] + ("a" if secret[0] != "a" else "b")
    return {
        "none": None,
        "empty": "",
        "word only": "Bearer",
        "nothing after it": "Bearer ",
        "another scheme": f"Basic {good}",
        "no scheme": good,
        "not ours": "Bearer hunter2",
        "cut short": f"Bearer {good[:-1]}",
        "too long": f"Bearer {good}0",
        "two of them": f"Bearer {good} {good}",
        "another secret": f"Bearer {mark}_{kid}_{swapped}_{checksum}",
        "another checksum": f"Bearer {mark}_{kid}_{secret}_00000000",
        "secret of another": "_".join((f"Bearer {mark}", kid, *other.split("_")[2:])),
        "unknown": f"Bearer xmcp_{'a' * 10}_{'A' * 43}_00000000",
        "expired": f"Bearer {expired}",
        "revoked": f"Bearer {revoked}",
        "a trick": f"Bearer {good}\x00",
        "100 kB": "Bearer " + "x" * 100_000,
    }


async def test_nobody_is_let_in_without_a_good_token_and_all_are_told_alike(
    exec_mcp: Stack,
) -> None:
    trade_id = await planned(exec_mcp)
    headers = await bad_headers(exec_mcp)
    before = contents(exec_mcp.home)
    answers = set()
    for header in headers.values():
        http = await bearer(exec_mcp, header)
        for route in ROUTES:
            reply = await send(http, route, {"trade_id": trade_id, "account_id": "paper:main"})
            named = {**reply.json(), "trade_id": None}
            answers.add((reply.status_code, reply.headers["www-authenticate"], str(named)))

    assert contents(exec_mcp.home) == before
    ((status, challenge, body),) = answers
    assert (status, challenge) == (401, "Bearer")
    assert "'code': 'unauthorised'" in body


async def test_the_scheme_of_a_token_is_read_in_any_case(exec_mcp: Stack) -> None:
    token = await exec_mcp.token("good", "read")
    for scheme in ("Bearer", "bearer", "BEARER"):
        http = await bearer(exec_mcp, f"{scheme} {token}")
        assert (await http.get(f"{PREFIX}/tokens/self")).status_code == 200


@pytest.mark.parametrize("scope", SCOPES)
async def test_a_scope_opens_its_routes_and_no_other(exec_mcp: Stack, scope: str) -> None:
    trade_id = await planned(exec_mcp)
    http = exec_mcp.http_as(await exec_mcp.token("one", scope))
    ids = {"trade_id": trade_id, "account_id": "paper:main"}
    closed = [route for route in ROUTES if scope not in route.scopes]
    before = contents(exec_mcp.home)

    for route in closed:
        reply = await send(http, route, ids)
        assert (reply.status_code, reply.json()["code"]) == (403, "forbidden"), name_of(route)
        assert reply.json()["detail"] == (
            f"this needs the scope {' or '.join(route.scopes)}; the token has {scope}"
        )
    assert contents(exec_mcp.home) == before
    for route in ROUTES:
        if route not in closed:
            reply = await send(http, route, ids)
            assert reply.status_code < 500, name_of(route)
            assert reply.status_code != 401, name_of(route)
            assert reply.status_code != 403 or reply.json()["code"] == "not_the_planner"


async def test_what_is_not_yours_answers_byte_for_byte_as_what_is_not_there(
    exec_mcp: Stack,
) -> None:
    await second_account(exec_mcp)
    trade_id = await planned(exec_mcp)
    done = await planned(exec_mcp)
    await exec_mcp.confirm(done)
    bound = [("read", "trade"), ("read", "approve", "admin")]
    clients = [
        exec_mcp.http_as(await exec_mcp.token(f"b{i}", *scopes, accounts=["paper:other"]))
        for i, scopes in enumerate(bound)
    ]
    before = contents(exec_mcp.home)

    for route in with_ids():
        for http in clients:
            missing = await send(http, route)
            for foreign in (trade_id, done):
                ids = {"trade_id": foreign, "account_id": "paper:main"}
                assert told(await send(http, route, ids), foreign) == told(missing), name_of(route)
            assert missing.status_code in (403, 404), name_of(route)
    assert contents(exec_mcp.home) == before


async def test_an_id_in_a_query_or_a_body_is_told_of_as_little(exec_mcp: Stack) -> None:
    await second_account(exec_mcp)
    await planned(exec_mcp)
    agent = exec_mcp.http_as(await exec_mcp.token("b", "read", "trade", accounts=["paper:other"]))
    admin = exec_mcp.http_as(await exec_mcp.token("c", "admin", accounts=["paper:other"]))
    before = contents(exec_mcp.home)

    for route in ROUTES:
        http = agent if "trade" in route.scopes else admin
        if any(f.name == "account_id" for f in route.query):
            for account_id in ("paper:main", "paper:nobody", "nobody", "🚪"):
                reply = await send(http, route, params={"account_id": account_id})
                assert told(reply) == told(
                    await send(http, route, {"trade_id": "x"}, params={"account_id": "paper:none"})
                )
                assert reply.status_code == 404, name_of(route)
        if any(f.name == "account_id" for f in route.body):
            usual = BODIES[name_of(route)]
            foreign = await send(http, route, json={**usual, "account_id": "paper:main"})
            missing = await send(http, route, json={**usual, "account_id": "paper:nobody"})
            assert told(foreign) == told(missing)
            assert foreign.status_code == 404, name_of(route)
    assert contents(exec_mcp.home) == before


def told(reply: httpx.Response, trade_id: str = MISSING_TRADE) -> tuple[Any, ...]:
    """Return all that a caller can see, with the id that it sent itself taken out."""
    headers = {k: v for k, v in reply.headers.items() if k != "date"}
    return reply.status_code, headers, reply.content.replace(trade_id.encode(), b"")


async def test_a_bound_token_sees_nothing_of_another_account_on_any_route(
    exec_mcp: Stack,
) -> None:
    await second_account(exec_mcp)
    trade_id = await planned(exec_mcp)
    await exec_mcp.confirm(trade_id)
    waiting = await planned(exec_mcp, symbol="SPY")
    await exec_mcp.operator.post(f"{PREFIX}/risk/kill-switch", json={"reason": "sesame"})

    for scopes in (("read", "trade"), ("read", "approve", "admin")):
        token = await exec_mcp.token(f"b{len(scopes)}", *scopes, accounts=["paper:other"])
        http = exec_mcp.http_as(token)
        for route in ROUTES:
            if route.method == "GET":
                text = (await send(http, route)).text
                assert not [w for w in (trade_id, waiting, "paper:main", "sesame") if w in text], (
                    name_of(route)
                )


async def test_a_bound_token_cannot_do_what_is_about_all_accounts(exec_mcp: Stack) -> None:
    await second_account(exec_mcp)
    token = await exec_mcp.token("b", "read", "approve", "admin", accounts=["paper:other"])
    http = exec_mcp.http_as(token)
    everything = {"reason": "x", "scope": "global"}
    before = contents(exec_mcp.home)
    replies = [
        await http.post(f"{PREFIX}/accounts", json={"exchange": "paper", "identifier": "main"}),
        await http.post(f"{PREFIX}/accounts", json={"exchange": "paper", "identifier": "fresh"}),
        await http.post(f"{PREFIX}/tokens", json={"name": "x", "scopes": ["read"]}),
        await http.get(f"{PREFIX}/tokens"),
        await http.delete(f"{PREFIX}/tokens/agent"),
        await http.delete(f"{PREFIX}/tokens/nobody"),
        await http.get(f"{PREFIX}/audit/export"),
        await http.get(f"{PREFIX}/audit/invariants"),
        await http.post(f"{PREFIX}/risk/kill-switch", json=everything),
        await http.post(f"{PREFIX}/risk/kill-switch/release", json=everything),
    ]

    assert {(r.status_code, r.json()["code"]) for r in replies} == {(403, "forbidden")}
    assert contents(exec_mcp.home) == before


async def test_a_bound_operator_stops_a_symbol_on_its_own_account_only(exec_mcp: Stack) -> None:
    await second_account(exec_mcp)
    token = await exec_mcp.token("b", "read", "approve", accounts=["paper:other"])
    waiting = await planned(exec_mcp)

    body = {"reason": "x", "scope": "symbol", "symbol": "AAPL"}
    reply = await exec_mcp.http_as(token).post(f"{PREFIX}/risk/kill-switch", json=body)

    assert reply.json()["account_id"] == "paper:other"
    assert (await exec_mcp.trade(waiting)).status == "pending"


async def test_a_token_is_refused_from_the_instant_it_expires(exec_mcp: Stack) -> None:
    body = {"name": "short", "scopes": ["read"], "days": 1}
    made = (await exec_mcp.operator.post(f"{PREFIX}/tokens", json=body)).json()
    http = exec_mcp.http_as(made["token"])
    await exec_mcp.advance(_DAY_S - 1, tick=False)
    assert (await http.get(f"{PREFIX}/tokens/self")).status_code == 200

    await exec_mcp.advance(1, tick=False)

    assert (await http.get(f"{PREFIX}/tokens/self")).status_code == 401


async def test_trade_and_approve_never_stand_on_one_token(exec_mcp: Stack) -> None:
    body = {"name": "both", "scopes": ["trade", "approve"]}
    reply = await exec_mcp.operator.post(f"{PREFIX}/tokens", json=body)

    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_request")
    assert "an agent cannot approve itself" in reply.json()["detail"]


async def test_the_plan_of_another_principal_is_seen_and_cancelled_but_not_confirmed(
    exec_mcp: Stack,
) -> None:
    trade_id = await planned(exec_mcp)
    path = f"{PREFIX}/trading/trades/{trade_id}"
    http = exec_mcp.http_as(await exec_mcp.token("colleague", "read", "trade"))

    seen = await http.get(path)
    confirmed = await http.post(f"{path}/confirm")
    cancelled = await http.delete(path)

    assert seen.json()["status"] == "pending"
    assert (confirmed.status_code, confirmed.json()["code"]) == (403, "not_the_planner")
    assert cancelled.json()["status"] == "cancelled"


async def test_a_rotated_token_confirms_what_its_principal_planned(exec_mcp: Stack) -> None:
    first = exec_mcp.http_as(await exec_mcp.token("rotating", "read", "trade"))
    trade_id = await planned(exec_mcp, first)
    second = exec_mcp.http_as(await exec_mcp.token("rotating", "read", "trade"))

    reply = await second.post(f"{PREFIX}/trading/trades/{trade_id}/confirm")

    assert reply.json()["status"] == "executed"


def test_every_request_of_these_tests_belongs_to_a_route() -> None:
    assert set(BODIES) <= {name_of(route) for route in ROUTES}


async def test_nothing_but_a_confirm_reaches_the_exchange(exec_mcp: Stack) -> None:
    trade_id = await planned(exec_mcp)
    agent = exec_mcp.http
    for route in ROUTES:
        gone = (route.method, route.path) == ("DELETE", "/accounts/{account_id}")
        if not route.path.endswith("/confirm") and not gone:
            for http in (agent, exec_mcp.operator):
                await send(http, route, {"trade_id": trade_id, "account_id": "paper:main"})
    assert exec_mcp.faults.attempts == []

    await exec_mcp.operator.post(f"{PREFIX}/accounts/paper:main/enable")
    release = {"reason": "a test"}
    await exec_mcp.operator.post(f"{PREFIX}/risk/kill-switch/release", json=release)
    fresh = await planned(exec_mcp)
    await agent.post(f"{PREFIX}/trading/trades/{fresh}/confirm")
    assert [order.client_order_id for order in exec_mcp.faults.attempts] == [fresh]


async def test_no_repr_tells_a_secret(exec_mcp: Stack) -> None:
    backend = exec_mcp.backend
    held = await backend.desk.database.read(tokens.all_tokens)
    told = f"{backend!r} {backend.desk!r} {held!r} {exec_mcp.http.headers!r}"
    secrets = [token.hash for token in held]
    secrets += [exec_mcp.http.headers["authorization"], repr(backend.key)]

    assert [secret for secret in secrets if secret in told] == []
