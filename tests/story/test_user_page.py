"""The user's page for `execute_trade`, sentence by sentence.

The clock stands at 10:14:41 in New York when a test begins.
"""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest

from backend.testing import Answer, Stack

pytestmark = pytest.mark.exec_mcp(opening="99840.12")

TRADES = "/api/v1/trading/trades"


async def events(exec_mcp: Stack, event: str) -> list[Any]:
    """Return the audit rows of one kind."""
    page = await exec_mcp.operator.get("/api/v1/audit/events", params={"limit": 500})
    return [row for row in page.json()["events"] if row["event"] == event]


# --- Returns ---


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_confirm_answers_the_pages_object_digit_by_digit(exec_mcp: Stack, mode: Any) -> None:
    plan = await exec_mcp.plan("AAPL", "buy", 10)
    await exec_mcp.advance(14)

    async with exec_mcp.mcp(mode) as client:
        arguments = {"trade_id": plan.trade_id, "action": "confirm"}
        answer = Answer.of_tool(await client.call_tool("execute_trade", arguments))

    assert plan["price"] == Decimal("215.40")
    assert answer.text.startswith(
        f'{{"trade_id":"{plan.trade_id}","status":"executed","symbol":"AAPL","side":"buy",'
        '"quantity":10,"executed_price":215.40,"total":2154.00,'
        '"executed_at":"2026-05-26T10:14:55-04:00","new_balance":97686.12,'
        '"new_position":{"symbol":"AAPL","quantity":10,"avg_price":215.40}'
    )


async def test_cancel_answers_the_pages_object_digit_by_digit(exec_mcp: Stack) -> None:
    plan = await exec_mcp.plan("AAPL", "buy", 10)
    await exec_mcp.advance(7)

    answer = await exec_mcp.cancel(plan)

    assert answer.text.startswith(
        f'{{"trade_id":"{plan.trade_id}","status":"cancelled",'
        '"cancelled_at":"2026-05-26T10:14:48-04:00","released_buying_power":2154.00'
    )


@pytest.mark.exec_mcp(clock=datetime(2026, 12, 1, 15, 0, 7, 999_999, tzinfo=UTC))
async def test_a_stamp_of_the_winter_has_the_winters_offset(exec_mcp: Stack) -> None:
    plan = await exec_mcp.plan("AAPL", "buy", 10)

    answer = await exec_mcp.confirm(plan)

    assert answer["executed_at"] == "2026-12-01T10:00:07-05:00"


# --- Validation ---


@pytest.mark.parametrize("word", ["confirm", "  CONFIRM ", "Confirm\n"])
async def test_action_is_lower_cased_and_stripped(exec_mcp: Stack, word: str) -> None:
    plan = await exec_mcp.plan("AAPL", "buy", 10)

    answer = await exec_mcp.call("execute_trade", trade_id=plan.trade_id, action=word)

    assert answer.status == "executed"


@pytest.mark.parametrize("word", ["modify", "", "confirmed"])
async def test_any_other_action_says_exactly_this_and_changes_nothing(
    exec_mcp: Stack, word: str
) -> None:
    plan = await exec_mcp.plan("AAPL", "buy", 10)

    answer = await exec_mcp.call("execute_trade", trade_id=plan.trade_id, action=word)

    assert answer.refused
    assert answer.text == "action must be 'confirm' or 'cancel'."
    assert (await exec_mcp.trade(plan)).status == "pending"


@pytest.mark.parametrize("action", ["confirm", "cancel"])
@pytest.mark.parametrize("trade_id", ["trd-abc123", "trd-aaaaaaaaaaaaaaaaaaaa"])
async def test_a_trade_id_that_is_none_is_not_found(
    exec_mcp: Stack, trade_id: str, action: str
) -> None:
    answer = await exec_mcp.call("execute_trade", trade_id=trade_id, action=action)

    assert answer.text == (
        '{"type":"about:blank","title":"Not Found","status":404,"code":"not_found",'
        '"detail":"no such thing, or not yours"}'
    )


async def test_an_already_confirmed_trade_surfaces_with_its_actual_status(
    exec_mcp: Stack,
) -> None:
    plan = await exec_mcp.plan("AAPL", "buy", 10)
    first = await exec_mcp.confirm(plan)

    again = await exec_mcp.confirm(plan)

    assert again.refused
    assert (again["status"], again.status) == (400, "executed")
    assert again["trade"]["executed_price"] == first["executed_price"]
    assert again["trade"]["trade_id"] == again.trade_id == plan.trade_id


async def test_confirm_and_cancel_are_the_two_routes_of_the_page(exec_mcp: Stack) -> None:
    first = await exec_mcp.plan("AAPL", "buy", 10)
    second = await exec_mcp.plan("SPY", "buy", 10)

    confirmed = await exec_mcp.http.post(f"{TRADES}/{first.trade_id}/confirm")
    cancelled = await exec_mcp.http.delete(f"{TRADES}/{second.trade_id}")

    assert (confirmed.status_code, Answer.of_http(confirmed).status) == (200, "executed")
    assert cancelled.status_code == 200
    assert '"released_buying_power":5382.00' in cancelled.text


# --- Behaviour ---


async def test_of_concurrent_confirms_one_executes_and_the_others_read_the_actual_status(
    exec_mcp: Stack,
) -> None:
    other = await exec_mcp.second_server()
    plan = await exec_mcp.plan("AAPL", "buy", 10)
    path = f"{TRADES}/{plan.trade_id}/confirm"

    replies = await asyncio.gather(
        *(server.http.post(path) for server in (exec_mcp, other) for _ in range(10))
    )

    lost = [reply for reply in replies if reply.status_code != 200]
    assert len(lost) == 19
    for reply in lost:
        assert reply.status_code == 400
        assert reply.json()["code"] == "trade_not_pending"
        assert reply.json()["current_status"] in ("executing", "executed")
        assert reply.json()["trade"]["status"] == reply.json()["current_status"]
    assert len(exec_mcp.faults.sent) == 1
    assert len(await events(exec_mcp, "trade.claimed")) == 1
    assert (await exec_mcp.portfolio())["balance"] == Decimal("97686.12")


async def test_the_next_portfolio_shows_the_state_after_the_trade_at_once(
    exec_mcp: Stack,
) -> None:
    other = await exec_mcp.second_server()
    plan = await exec_mcp.plan("AAPL", "buy", 10)
    before = [await exec_mcp.portfolio(), await other.portfolio()]

    await exec_mcp.confirm(plan)
    after = [await exec_mcp.portfolio(), await other.portfolio()]

    for shown in before:
        assert (shown["positions"], len(shown["pending_trades"])) == ([], 1)
    for shown in after:
        assert shown["as_of"] == before[0]["as_of"], "not a moment passed"
        assert shown["pending_trades"] == []
        assert shown["positions"][0]["quantity"] == 10
        assert shown["balance"] == Decimal("97686.12")


@pytest.mark.parametrize("token", [None, "xmcp_wrong", ""])
async def test_both_need_the_bearer_token(exec_mcp: Stack, token: str | None) -> None:
    plan = await exec_mcp.plan("AAPL", "buy", 10)

    async with exec_mcp.http_as(token) as stranger:
        confirmed = await stranger.post(f"{TRADES}/{plan.trade_id}/confirm")
        cancelled = await stranger.delete(f"{TRADES}/{plan.trade_id}")

    assert (confirmed.status_code, cancelled.status_code) == (401, 401)
    assert (await exec_mcp.trade(plan)).status == "pending"


async def test_cancelling_someone_elses_trade_is_not_a_thing(exec_mcp: Stack) -> None:
    account = {"exchange": "paper", "identifier": "theirs", "name": "theirs"}
    made = await exec_mcp.operator.post("/api/v1/accounts", json=account)
    token = await exec_mcp.token("them", "read", "trade", accounts=["paper:theirs"])
    plan = await exec_mcp.plan("AAPL", "buy", 10)
    foreign, missing = plan.trade_id, "trd-aaaaaaaaaaaaaaaaaaaa"

    async with exec_mcp.http_as(token) as them, exec_mcp.mcp(token=token) as client:
        for trade_id in (foreign, missing):
            for action in ("confirm", "cancel"):
                arguments = {"trade_id": trade_id, "action": action}
                found = await client.call_tool("execute_trade", arguments, raise_on_error=False)
                assert Answer.of_tool(found).code == "not_found"
        answers = [
            [await them.delete(f"{TRADES}/{each}"), await them.post(f"{TRADES}/{each}/confirm")]
            for each in (foreign, missing)
        ]

    assert made.status_code == 201
    assert [bytes_of(a) for a in answers[0]] == [bytes_of(a) for a in answers[1]]
    assert (await exec_mcp.trade(plan)).status == "pending"


def bytes_of(reply: httpx.Response) -> tuple[int, bytes]:
    return reply.status_code, reply.content


async def test_confirm_after_the_window_is_an_error_and_holds_nothing_back(
    exec_mcp: Stack,
) -> None:
    plan = await exec_mcp.plan("AAPL", "buy", 10)
    await exec_mcp.advance(60, tick=False)

    answer = await exec_mcp.confirm(plan)

    assert (answer["status"], answer.code, answer.status) == (400, "trade_not_pending", "expired")
    assert answer["detail"].startswith("Trade has expired")
    assert exec_mcp.faults.attempts == []
    assert (await exec_mcp.portfolio())["buying_power"] == Decimal("99840.12")


async def test_the_last_instant_of_the_window_still_confirms(exec_mcp: Stack) -> None:
    plan = await exec_mcp.plan("AAPL", "buy", 10)
    await exec_mcp.advance(59.999999)

    assert (await exec_mcp.confirm(plan)).status == "executed"


@pytest.mark.parametrize("swept", [True, False])
async def test_cancel_after_the_window_is_benign(exec_mcp: Stack, swept: bool) -> None:
    plan = await exec_mcp.plan("AAPL", "buy", 10)
    await exec_mcp.advance(61, tick=swept)

    answer = await exec_mcp.cancel(plan)

    assert not answer.refused
    assert (answer.status, answer["released_buying_power"]) == ("expired", 0)
    assert "cancelled_at" not in answer


# --- Examples ---


async def test_the_operator_changes_their_mind(exec_mcp: Stack) -> None:
    plan = await exec_mcp.plan("SPY", "buy", 10)

    answer = await exec_mcp.cancel(plan)

    assert str(plan["price"]) == "538.20"
    assert str(answer["released_buying_power"]) == "5382.00"
    assert (await exec_mcp.portfolio())["buying_power"] == Decimal("99840.12")


async def test_an_expired_quote_is_planned_again_at_the_current_price(exec_mcp: Stack) -> None:
    stale = await exec_mcp.plan("AAPL", "buy", 10)
    await exec_mcp.advance(61)
    exec_mcp.prices.set("AAPL", bid="216.00", ask="216.02")

    refused = await exec_mcp.confirm(stale)
    fresh = await exec_mcp.plan("AAPL", "buy", 10)

    assert refused["detail"].startswith("Trade has expired")
    assert fresh["price"] == Decimal("216.02")
    assert (await exec_mcp.confirm(fresh))["executed_price"] == Decimal("216.02")


async def test_confirm_fills_at_the_locked_price_wherever_the_market_went(
    exec_mcp: Stack,
) -> None:
    plan = await exec_mcp.plan("AAPL", "buy", 10)
    exec_mcp.prices.set("AAPL", bid="216.00", ask="216.02")

    assert (await exec_mcp.confirm(plan))["executed_price"] == Decimal("215.40")
