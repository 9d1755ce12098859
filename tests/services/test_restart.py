"""Restart and crash, in process: what was committed is found again and ends right."""

import asyncio
from decimal import Decimal

import pytest

from backend.testing import stack
from tests.services.spoken import (
    add_account,
    assert_whole,
    cancel_order,
    change,
    confirm,
    funds,
    look,
    plan,
    row,
    until,
)

pytestmark = pytest.mark.anyio
D = Decimal


async def one_of_each(stack):
    """Return a trade in every state, by name."""
    made = {}

    async def make(name, script=None, **terms):
        made[name] = await plan(stack, quantity=1, **terms)
        if script is not None:
            script(stack.faults)
            await confirm(stack, made[name])

    rest = {"order_type": "limit", "limit_price": "200.00"}
    await make("expired")
    await make("cancelled")
    await stack.http.delete(f"/api/v1/trading/trades/{made['cancelled'].trade_id}")
    stack.clock.advance(60)
    await look(stack, made["expired"])
    await make("executed", lambda f: f.accept())
    await make("failed", lambda f: f.reject())
    await make("partly executed", lambda f: f.partial(D("0.5")))
    await make("working", lambda f: f.accept(), **rest)
    await make("flagged", lambda f: f.accept(), **{**rest, "limit_price": "201.00"})
    await make("lost answer", lambda f: f.lose_answer())
    await make("lost request", lambda f: f.lose_request())
    await make("pending")
    return made


AFTER = {
    "expired": "expired",
    "cancelled": "cancelled",
    "executed": "executed",
    "failed": "failed",
    "partly executed": "executed",
    "working": "working",
    "flagged": "failed",
    "lost answer": "executed",
    "lost request": "failed",
    "pending": "pending",
}


@pytest.mark.parametrize("how", ["restart", "crash"])
async def test_a_restart_with_trades_in_every_state_ends_each_right(exec_mcp, how):
    made = await one_of_each(exec_mcp)
    exec_mcp.faults.fail_lookups(1)
    await cancel_order(exec_mcp, made["flagged"])
    sent = len(exec_mcp.faults.attempts)

    await getattr(exec_mcp, how)()
    for _ in range(4):
        await exec_mcp.advance(6)

    assert {name: (await look(exec_mcp, one)).status for name, one in made.items()} == AFTER
    assert len(exec_mcp.faults.attempts) == sent
    assert (await funds(exec_mcp))["USD"][1] == "415.4"  # The resting order and the plan.
    await assert_whole(exec_mcp)


async def test_a_plan_survives_a_restart_and_is_confirmed_once(exec_mcp):
    made = await plan(exec_mcp)

    await exec_mcp.crash()
    first = await confirm(exec_mcp, made)
    await exec_mcp.crash()
    second = await confirm(exec_mcp, made)

    assert (first.http, second.http) == (200, 400)
    assert second["trade"]["executed_price"] == D("215.40")
    assert len(exec_mcp.faults.sent) == 1


async def test_a_crash_while_the_exchange_thinks_is_looked_up(tmp_path):
    async with stack(tmp_path / "home") as opened:
        await add_account(opened, "slow", settings={"latency_ms": "10000"})
        made = await plan(opened, account_id="paper:slow")
        request = asyncio.create_task(confirm(opened, made))
        await until(lambda: opened.faults.sent)

        await opened.crash()
        await asyncio.gather(request, return_exceptions=True)
        state = (await look(opened, made))["order"]["state"]
        for _ in range(3):
            await opened.advance(3)

        assert state == "sending"
        trade = await look(opened, made)
        assert (trade.status, trade["reason"]) == ("failed", "absent")
        assert (await funds(opened, "paper:slow"))["USD"] == ("100000", "0")
        await assert_whole(opened)


async def test_the_lease_moves_when_its_holder_dies_and_not_before(exec_mcp):
    second = await exec_mcp.second_server()
    first_tick = await exec_mcp.backend.keeper.tick()
    second_tick = await second.backend.keeper.tick()
    exec_mcp.backend.desk.database.failure = "the process died"

    exec_mcp.clock.advance(4.9)
    early = await second.backend.keeper.tick()
    exec_mcp.clock.advance(0.1)
    late = await second.backend.keeper.tick()

    assert (first_tick, second_tick, early, late) == (True, False, False, True)


async def test_a_server_that_stops_in_order_gives_its_lease_back(exec_mcp):
    second = await exec_mcp.second_server()
    await exec_mcp.backend.keeper.tick()

    await exec_mcp.stop()

    assert await second.backend.keeper.tick() is True
    await exec_mcp.start()


async def test_both_servers_claim_and_one_wins(exec_mcp):
    second = await exec_mcp.second_server()
    plans = [await plan(exec_mcp, quantity=1) for _ in range(10)]

    replies = await asyncio.gather(
        *(confirm(server, made) for made in plans for server in (exec_mcp, second))
    )

    assert sum(r.http == 200 for r in replies) == 10
    assert len(exec_mcp.faults.attempts) == 10
    assert (await row(exec_mcp, "SELECT COUNT(*) AS n FROM fills"))["n"] == 10
    await assert_whole(exec_mcp)


async def test_a_home_with_accounts_at_an_exchange_that_is_gone_does_not_start(tmp_path):
    async with stack(tmp_path / "home") as one:
        await change(one, "UPDATE accounts SET exchange = 'gone'")

    with pytest.raises(RuntimeError, match="accounts at gone, and no such exchange"):
        async with stack(tmp_path / "home"):
            pass
