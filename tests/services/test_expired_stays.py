"""Once somebody was told that a plan has expired, no clock that steps back revives it."""

import shutil
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from backend.services.expiry import sweep
from backend.testing import Stack
from tests.services.spoken import TRADES, Reply, cancel, confirm, look, plan

pytestmark = pytest.mark.anyio
Telling = Callable[[Stack, Reply], Awaitable[Any]]
# Within what a clock may be behind: more than that refuses every confirm.
_BACK_S = -4


async def by_list(stack: Stack, made: Reply) -> None:
    page = (await stack.http.get(TRADES, params={"status": "expired"})).json()
    assert [trade["trade_id"] for trade in page["trades"]] == [made.trade_id]


async def by_sweep(stack: Stack, made: Reply) -> None:
    await stack.backend.desk.database.write(sweep)


async def by_portfolio(stack: Stack, made: Reply) -> None:
    told = (await stack.http.get("/api/v1/portfolio")).json()
    assert (told["pending_trades"], told["reserved"]) == ([], 0)


async def by_another_plan(stack: Stack, made: Reply) -> None:
    assert (await plan(stack, quantity=1)).http == 201


async def by_request_id(stack: Stack, made: Reply) -> None:
    again = await plan(stack, request_id="once")
    assert (again.trade_id, again.status) == (made.trade_id, "expired")


async def by_approval(stack: Stack, made: Reply) -> None:
    told = Reply(await stack.operator.post(f"{TRADES}/{made.trade_id}/approve"))
    assert told.status == "expired"


async def by_rejection(stack: Stack, made: Reply) -> None:
    told = Reply(await stack.operator.post(f"{TRADES}/{made.trade_id}/reject"))
    assert told.status == "expired"


TELLERS: dict[str, Telling] = {
    "confirm": confirm,
    "get_trade": look,
    "list_trades": by_list,
    "the sweep": by_sweep,
    "portfolio_status": by_portfolio,
    "another plan": by_another_plan,
    "the same request": by_request_id,
    "cancel": cancel,
    "approve": by_approval,
    "reject": by_rejection,
}


@pytest.mark.parametrize("told_by", TELLERS)
async def test_a_plan_that_was_told_to_be_expired_is_not_revived(exec_mcp, told_by):
    made = await plan(exec_mcp, request_id="once")
    exec_mcp.clock.advance(60)
    await TELLERS[told_by](exec_mcp, made)
    exec_mcp.clock.advance(_BACK_S)
    second = await exec_mcp.second_server()

    found = [await confirm(exec_mcp, made), await confirm(second, made), await look(second, made)]
    await exec_mcp.restart()
    found += [await confirm(exec_mcp, made), await look(exec_mcp, made)]

    assert [answer.status for answer in found] == ["expired"] * 5
    assert exec_mcp.faults.attempts == []


@pytest.mark.parametrize("over", [False, True], ids=["a new file", "over the old file"])
async def test_a_restored_copy_of_before_does_not_revive_it_either(exec_mcp, tmp_path, over):
    made = await plan(exec_mcp)
    exec_mcp.backend.desk.database.backup(tmp_path / "copy.db")
    exec_mcp.clock.advance(60)
    assert (await look(exec_mcp, made)).status == "expired"
    await exec_mcp.stop()
    path = exec_mcp.home / "exec-mcp.db"
    if over:
        path.write_bytes((tmp_path / "copy.db").read_bytes())
    else:
        path.unlink()
        shutil.copy(tmp_path / "copy.db", path)

    exec_mcp.clock.advance(-30)
    await exec_mcp.start()
    answer = await confirm(exec_mcp, made)

    assert (answer.code, answer.status) == ("trade_not_pending", "cancelled")
    assert exec_mcp.faults.attempts == []
