"""The kit itself: time, faults, and the life of a server."""

import asyncio
import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from freezegun import freeze_time

from backend.config import SettingError
from backend.testing import (
    START,
    Answer,
    BlockingStack,
    FreezegunClock,
    FrozenClock,
    Stack,
    blocking_stack,
    stack,
)

pytestmark = pytest.mark.anyio

NOON = "2026-05-26T16:00:00Z"


# --- time ---


async def test_a_plan_expires(exec_mcp: Stack) -> None:
    trade = await exec_mcp.plan("AAPL", "buy", 10)
    await exec_mcp.advance(61)
    answer = await exec_mcp.confirm(trade)
    assert answer.status == "expired"


async def test_advance_does_the_background_work_unless_told_not_to(exec_mcp: Stack) -> None:
    first = await exec_mcp.plan("AAPL", "buy", 10)
    await exec_mcp.advance(61, tick=False)
    untouched = await events(exec_mcp)
    await exec_mcp.advance(0)
    swept = await events(exec_mcp)

    assert "trade.expired" not in untouched
    assert swept[0] == "trade.expired"
    assert (await exec_mcp.trade(first)).status == "expired"


async def events(exec_mcp: Stack) -> list[str]:
    """Return the names of the audit rows, newest first."""
    page = await exec_mcp.operator.get("/api/v1/audit/events")
    return [row["event"] for row in page.json()["events"]]


async def test_a_clock_that_steps_back_is_refused_and_a_plan_not_revived(exec_mcp: Stack) -> None:
    trade = await exec_mcp.plan("AAPL", "buy", 10)
    await exec_mcp.advance(61)
    exec_mcp.clock.advance(-30)

    again = await exec_mcp.plan("AAPL", "buy", 10)

    assert (await exec_mcp.confirm(trade)).status == "expired"
    assert again.code == "clock"


@pytest.mark.exec_mcp(clock=datetime(2026, 12, 1, 15, tzinfo=UTC))
async def test_the_clock_may_begin_at_another_moment(exec_mcp: Stack) -> None:
    plan = await exec_mcp.plan("AAPL", "buy", 10)

    assert plan["created_at"] == "2026-12-01T10:00:00-05:00"


def test_a_frozen_clock_moves_only_when_told_to() -> None:
    clock = FrozenClock()
    clock.advance(0.5)
    clock.advance(-1)

    assert clock() == clock() == START - timedelta(seconds=0.5)


# --- freezegun ---


async def test_under_freezegun_the_product_lives_on_the_systems_clock(tmp_path: Path) -> None:
    with freeze_time(NOON, real_asyncio=True):
        async with stack(tmp_path / "home") as exec_mcp:
            trade = await exec_mcp.plan("AAPL", "buy", 10)
            await exec_mcp.advance(61)
            answer = await exec_mcp.confirm(trade)
            now = datetime.now(UTC)

    assert trade["created_at"] == "2026-05-26T12:00:00-04:00"
    assert answer.status == "expired"
    assert now == datetime(2026, 5, 26, 16, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_freezer_may_be_ticked_from_outside(tmp_path: Path, mode: Any) -> None:
    with freeze_time(NOON, real_asyncio=True) as freezer:
        async with stack(tmp_path / "home", mode=mode) as exec_mcp:
            trade = await exec_mcp.plan("AAPL", "buy", 10)
            freezer.tick(14)
            answer = await exec_mcp.confirm(trade)

    assert isinstance(exec_mcp.clock, FreezegunClock)
    assert answer["executed_at"] == "2026-05-26T12:00:14-04:00"


async def test_a_clock_of_its_own_stays_its_own_under_freezegun(tmp_path: Path) -> None:
    with freeze_time(NOON, real_asyncio=True):
        async with stack(tmp_path / "home", clock=START) as exec_mcp:
            plan = await exec_mcp.plan("AAPL", "buy", 10)

    assert plan["created_at"] == "2026-05-26T10:14:41-04:00"


async def test_freezing_asyncio_as_well_is_refused_instead_of_hanging(tmp_path: Path) -> None:
    with freeze_time(NOON), pytest.raises(RuntimeError, match="real_asyncio=True"):
        async with stack(tmp_path / "home"):
            pass


# --- faults ---


async def test_a_fault_hits_the_next_order_only(exec_mcp: Stack) -> None:
    exec_mcp.faults.reject()
    refused = await exec_mcp.confirm(await exec_mcp.plan("AAPL", "buy", 10))
    filled = await exec_mcp.confirm(await exec_mcp.plan("AAPL", "buy", 10))

    assert (refused.code, refused.status, refused["reason"]) == (
        "exchange_rejected",
        "failed",
        "rejected",
    )
    assert filled.status == "executed"
    assert len(exec_mcp.faults.sent) == 2


async def test_an_order_that_never_left_is_told_as_such(exec_mcp: Stack) -> None:
    exec_mcp.faults.unavailable()

    answer = await exec_mcp.confirm(await exec_mcp.plan("AAPL", "buy", 10))

    assert (answer.code, answer["reason"]) == ("exchange_unavailable", "not_sent")
    assert (await exec_mcp.portfolio())["buying_power"] == 100_000


async def test_a_delayed_order_is_found_when_it_has_arrived(exec_mcp: Stack) -> None:
    exec_mcp.faults.delay(1)
    trade = await exec_mcp.plan("AAPL", "buy", 10)

    answer = await exec_mcp.confirm(trade)
    await exec_mcp.advance(1)

    assert answer.status == "executing"
    assert (await exec_mcp.trade(trade)).status == "executed"


async def test_what_is_partly_filled_counts(exec_mcp: Stack) -> None:
    exec_mcp.faults.partial(Decimal(4))

    answer = await exec_mcp.confirm(await exec_mcp.plan("AAPL", "buy", 10))

    assert (answer.status, answer["filled_quantity"]) == ("executed", 4)
    assert (await exec_mcp.portfolio())["balance"] == Decimal("99138.40")


# --- the life of a server ---


async def test_everything_is_there_after_a_restart(exec_mcp: Stack) -> None:
    await exec_mcp.confirm(await exec_mcp.plan("AAPL", "buy", 10))
    before = await exec_mcp.portfolio()
    trade = await exec_mcp.plan("SPY", "buy", 1)

    await exec_mcp.restart()

    assert (await exec_mcp.portfolio())["positions"] == before["positions"]
    assert (await exec_mcp.confirm(trade)).status == "executed"


async def test_a_restart_gives_the_lease_back_and_a_crash_does_not(exec_mcp: Stack) -> None:
    keeps = [await exec_mcp.backend.keeper.tick()]
    await exec_mcp.restart()
    keeps.append(await exec_mcp.backend.keeper.tick())
    await exec_mcp.crash()
    keeps.append(await exec_mcp.backend.keeper.tick())
    exec_mcp.clock.advance(6)
    keeps.append(await exec_mcp.backend.keeper.tick())

    assert keeps == [True, True, False, True]


async def test_without_a_server_clients_are_told_that_nothing_happened(exec_mcp: Stack) -> None:
    trade = await exec_mcp.plan("AAPL", "buy", 10)
    await exec_mcp.stop()
    refused = await exec_mcp.confirm(trade)
    with pytest.raises(RuntimeError, match="start"):
        _ = exec_mcp.backend
    await exec_mcp.start()

    assert refused.code == "backend_unreachable"
    assert (await exec_mcp.confirm(trade)).status == "executed"


async def test_a_crash_between_claim_and_answer_leaves_the_truth_to_be_looked_up(
    exec_mcp: Stack,
) -> None:
    slow = {"exchange": "paper", "identifier": "slow", "name": "slow"}
    slow_settings = {"settings": {"latency_ms": "10000"}}
    await exec_mcp.operator.post("/api/v1/accounts", json=slow | slow_settings)
    trade = await exec_mcp.plan("AAPL", "buy", 10, account_id="paper:slow")
    confirming = asyncio.ensure_future(exec_mcp.confirm(trade))
    for _ in range(1000):
        await asyncio.sleep(0)
        if exec_mcp.faults.sent:
            break

    await exec_mcp.crash()

    answer = await confirming
    assert (answer.status, answer.refused) == ("unknown", False)
    assert (await exec_mcp.trade(trade)).status == "executing"
    await exec_mcp.advance(6)
    assert (await exec_mcp.trade(trade))["reason"] == "absent"
    assert len(exec_mcp.faults.sent) == 1


async def test_two_servers_of_one_home_share_money_time_and_prices(exec_mcp: Stack) -> None:
    other = await exec_mcp.second_server()
    await exec_mcp.plan("AAPL", "buy", 100)
    other.prices.set("AAPL", bid="215.99", ask="216.00")

    plan = await other.plan("AAPL", "buy", 100)
    await other.advance(61)

    assert plan["buying_power"] == Decimal("56860.00")
    assert plan["price"] == Decimal("216.00")
    for server in (exec_mcp, other):
        assert (await server.portfolio())["buying_power"] == 100_000


async def test_one_of_two_servers_may_crash(exec_mcp: Stack) -> None:
    other = await exec_mcp.second_server()
    trade = await other.plan("AAPL", "buy", 10)

    await other.crash()

    assert (await other.confirm(trade)).status == "executed"
    assert (await exec_mcp.trade(trade)).status == "executed"


# --- options ---


@pytest.mark.exec_mcp(opening="99840.12")
@pytest.mark.exec_mcp(plan_ttl_s=5, approval_ttl_s=60)
async def test_options_add_up_and_hold_after_a_restart(exec_mcp: Stack) -> None:
    await exec_mcp.restart()

    plan = await exec_mcp.plan("AAPL", "buy", Decimal("10"))

    assert (plan["expires_in_s"], plan["buying_power"]) == (5, Decimal("97686.12"))


async def test_an_unknown_setting_refuses_to_start(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="EXEC_MCP_PLAN_TTL is not a setting"):
        async with stack(tmp_path / "home", plan_ttl=5):
            pass


@pytest.mark.exec_mcp(background=True)
async def test_the_background_work_may_run_by_itself(exec_mcp: Stack) -> None:
    tasks = {task.get_name() for task in asyncio.all_tasks()}

    assert "keeper" in tasks


async def test_a_home_may_be_opened_again_and_the_umask_stays_the_tests_own(
    tmp_path: Path,
) -> None:
    before = os.umask(0o022)
    async with stack(tmp_path / "home", opening=500) as first:
        balances = [(await first.portfolio())["balance"]]
    async with stack(tmp_path / "home") as second:
        balances.append((await second.portfolio())["balance"])

    assert balances == [500, 500], "the opening is the first start's"
    assert os.umask(before) == 0o022


async def test_a_stack_that_cannot_start_leaves_nothing_open(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "vault.key").touch(0o600)
    (tmp_path / "home" / "vault.key").write_bytes(b"AAAA")

    with pytest.raises(ValueError, match="damaged"):
        async with stack(tmp_path / "home"):
            pass


# --- answers ---


async def test_an_answer_has_every_digit_and_its_text(exec_mcp: Stack) -> None:
    plan = await exec_mcp.plan("AAPL", "buy", 10)

    assert str(plan["total"]) == "2154.00"
    assert '"total":2154.00' in plan.text
    assert (plan.refused, plan.code, plan.status) == (False, None, "pending")


async def test_a_refused_plan_cannot_be_confirmed_by_mistake(exec_mcp: Stack) -> None:
    refused = await exec_mcp.plan("AAPL", "buy", "0.5")

    with pytest.raises(ValueError, match="step_size"):
        await exec_mcp.confirm(refused)


def test_an_error_in_words_is_an_answer_too() -> None:
    answer = Answer("action must be …", refused=True)

    assert (answer["detail"], answer.status, answer.code) == ("action must be …", None, None)


# --- without async ---


def test_the_blocking_stack_waits_for_each_call(exec_mcp_sync: BlockingStack) -> None:
    trade = exec_mcp_sync.plan("AAPL", "buy", 10)
    exec_mcp_sync.advance(61)

    reply = exec_mcp_sync.run(exec_mcp_sync.http.get, "/api/v1/portfolio")

    assert exec_mcp_sync.confirm(trade).status == "expired"
    assert reply.json()["balance"] == 100_000
    assert exec_mcp_sync.clock() == START + timedelta(seconds=61)


@pytest.mark.exec_mcp(opening=500)
def test_the_marker_holds_for_the_blocking_fixture(exec_mcp_sync: BlockingStack) -> None:
    assert exec_mcp_sync.portfolio()["balance"] == 500


def test_a_failure_inside_a_blocking_stack_comes_out(tmp_path: Path) -> None:
    with suppress(KeyError), blocking_stack(tmp_path / "home") as opened:
        raise KeyError(opened.plan("AAPL", "buy", 1).trade_id)
