"""Every tool called in many states of the product, and what it answered."""

from typing import Any

from fastmcp.client.client import CallToolResult

from backend.testing import Answer, Stack
from tests.mcp_server.fake_backend import AnyClient

LIMIT = {"order_type": "limit", "limit_price": "200.00"}

Told = dict[str, list[CallToolResult]]


class Teller:
    """Calls tools through one client and keeps every successful result."""

    def __init__(self, client: AnyClient) -> None:
        self.told: Told = {}
        self._client = client

    async def call(self, tool: str, **arguments: Any) -> Answer:
        result = await self._client.call_tool(tool, arguments, raise_on_error=False)
        if not result.is_error:
            self.told.setdefault(tool, []).append(result)
        return Answer.of_tool(result)

    async def plan(self, symbol: str, side: str, quantity: Any, **more: Any) -> str:
        arguments = {"symbol": symbol, "side": side, "quantity": quantity, **more}
        return (await self.call("plan_trade", **arguments)).trade_id

    async def execute(self, trade_id: str, action: str = "confirm") -> Answer:
        return await self.call("execute_trade", trade_id=trade_id, action=action)

    async def look(self, trade_id: str | None = None) -> None:
        """Call every tool that only looks."""
        for tool in ("portfolio_status", "list_accounts", "list_trades", "risk_status"):
            await self.call(tool)
        await self.call("list_orders", status="all")
        await self.call("get_account_info", account_id="paper:main")
        if trade_id is not None:
            await self.call("get_trade", trade_id=trade_id)
            await self.call("get_order", trade_id=trade_id)


async def on_an_empty_account(teller: Teller, exec_mcp: Stack) -> None:
    await teller.look()
    for tool in ("list_markets", "list_currencies"):
        await teller.call(tool)
    await teller.call("list_markets", limit=2)
    for symbol in ("AAPL", "BTC/USD"):
        await teller.call("get_market", symbol=symbol)
        await teller.call("get_price", symbol=symbol)
        await teller.call("get_account_info", account_id="paper:main", symbol=symbol)
    exec_mcp.prices.remove("AAPL")
    await teller.call("get_market", symbol="AAPL")


async def with_plans(teller: Teller, exec_mcp: Stack) -> None:
    trade_id = await teller.plan("AAPL", "buy", 10, request_id="r-1")
    await teller.plan("AAPL", "buy", "3", time_in_force="day", **LIMIT)
    await teller.plan("BTC/USD", "buy", "0.001", order_type="stop", stop_price="70000")
    await teller.look(trade_id)
    await teller.execute(trade_id, "cancel")
    await teller.execute(trade_id, "cancel")
    await exec_mcp.advance(61)
    await teller.look(trade_id)


async def with_positions(teller: Teller, exec_mcp: Stack) -> None:
    bought = await teller.plan("AAPL", "buy", 10)
    await teller.execute(bought)
    sold = await teller.plan("AAPL", "sell", 4)
    await teller.look(sold)
    await teller.execute(sold)
    kept = await teller.plan("AAPL", "sell", 1)
    await teller.execute(kept, "cancel")
    exec_mcp.prices.remove("AAPL")
    await exec_mcp.advance(4)
    await teller.look(bought)


async def with_a_resting_order(teller: Teller, exec_mcp: Stack) -> None:
    resting = await teller.plan("AAPL", "buy", 10, **LIMIT)
    await teller.execute(resting)
    await teller.look(resting)
    await teller.call("cancel_order", trade_id=resting)
    await teller.look(resting)


async def with_an_unknown_outcome(teller: Teller, exec_mcp: Stack) -> None:
    exec_mcp.faults.lose_request()
    lost = await teller.plan("AAPL", "buy", 10)
    await teller.execute(lost)
    await teller.look(lost)
    await teller.call("cancel_order", trade_id=lost)
    await exec_mcp.advance(3)
    await teller.look(lost)


async def with_failures_and_parts(teller: Teller, exec_mcp: Stack) -> None:
    exec_mcp.faults.reject().unavailable()
    for _ in range(2):
        failed = await teller.plan("AAPL", "buy", 10)
        await teller.execute(failed)
        await teller.look(failed)


async def with_an_approval(teller: Teller, exec_mcp: Stack) -> None:
    limits = {"limits": {"approval_threshold": "0"}}
    await exec_mcp.operator.post("/api/v1/accounts/paper:main/limits", json=limits)
    trade_id = await teller.plan("AAPL", "buy", 10)
    await teller.look(trade_id)
    await exec_mcp.approve(trade_id)
    await teller.look(trade_id)
    await teller.execute(trade_id)


async def with_the_kill_switch(teller: Teller, exec_mcp: Stack) -> None:
    await teller.plan("AAPL", "buy", 10)
    resting = await teller.plan("AAPL", "buy", 10, **LIMIT)
    await teller.execute(resting)
    await teller.call("engage_kill_switch", reason="stop")
    await teller.call("engage_kill_switch", reason="again", scope="symbol", symbol="AAPL")
    await teller.look(resting)


STATES = [
    on_an_empty_account,
    with_plans,
    with_positions,
    with_a_resting_order,
    with_an_unknown_outcome,
    with_failures_and_parts,
    with_an_approval,
    with_the_kill_switch,
]
