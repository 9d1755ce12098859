"""What an account holds and what it is worth."""

from fastmcp.tools import ToolResult, tool

from mcp_server.tools import READ, TRADING, ask, output


@tool(
    title="Portfolio status",
    description=(
        "Read balances, positions, buying power, profit and loss, pending trades and open orders "
        "of an account. Call it before planning, to know what can be spent or sold, and after a "
        "trade to see the new state."
    ),
    annotations=READ,
    tags=TRADING,
    output_schema=output(
        "account_id",
        account_id="string",
        environment="string",
        currency="string",
        balance="number?",
        buying_power="number?",
        reserved="number?",
        equity="number?",
        realized_pnl="number?",
        unrealized_pnl="number?",
        balances="array",
        positions="array",
        pending_trades="array",
        open_orders="array",
        unvalued="array",
        as_of="string",
    ),
)
async def portfolio_status(account_id: str | None = None) -> ToolResult:
    """Return an account's balances, positions and what is in flight."""
    return await ask("GET", "/portfolio", params={"account_id": account_id})
