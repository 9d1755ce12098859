"""What can be traded, in which currencies, and at what price."""

from typing import Annotated

from fastmcp.tools import ToolResult, tool
from pydantic import Field

from mcp_server.backend_client import segment
from mcp_server.tools import READ, READ_MARKET, TRADING, ask, output


@tool(
    title="List markets",
    description=(
        "Find instruments by name or symbol. Use it when the symbol to trade is not certain. Pass "
        "next_cursor as cursor for the next page; get_market has one instrument's rules."
    ),
    annotations=READ,
    tags=TRADING,
    output_schema=output("markets", markets="array", next_cursor="string?"),
)
async def list_markets(
    exchange: str | None = None,
    query: Annotated[str | None, Field(description="Part of a symbol or name.")] = None,
    limit: int = 50,
    cursor: str | None = None,
) -> ToolResult:
    """Return a page of instruments."""
    params = {"exchange": exchange, "query": query, "limit": limit, "cursor": cursor}
    return await ask("GET", "/markets", params=params)


@tool(
    title="Market rules",
    description=(
        "Read one instrument's rules: tick, step, sizes, minimum notional, order types and times "
        "in force. Call it when plan_trade refuses a number or a type, or to choose valid ones."
    ),
    annotations=READ,
    tags=TRADING,
    output_schema=output(
        "symbol",
        exchange="string",
        account_id="string",
        environment="string",
        symbol="string",
        name="string",
        base="string",
        quote="string",
        price_decimals="integer",
        quantity_decimals="integer",
        tick_size="number",
        step_size="number",
        min_quantity="number",
        max_quantity="number?",
        min_notional="number?",
        max_notional="number?",
        session="string?",
        status="string",
        code="string?",
        min_price="number?",
        max_price="number?",
        max_open_orders="integer?",
        max_position="number?",
        price_band="object?",
        rules_version="string?",
        order_types="array",
        times_in_force="array",
        price="object?",
    ),
)
async def get_market(symbol: str, account_id: str | None = None) -> ToolResult:
    """Return the rules of one instrument."""
    return await ask("GET", f"/markets/{segment(symbol)}", params={"account_id": account_id})


@tool(
    title="List currencies",
    description=(
        "List the currencies and assets an exchange deals in, with their decimals. Use it to read "
        "a balance or fee in a currency you do not know."
    ),
    annotations=READ,
    tags=TRADING,
    output_schema=output("currencies", currencies="array"),
)
async def list_currencies(exchange: str | None = None) -> ToolResult:
    """Return the currencies of an exchange."""
    return await ask("GET", "/currencies", params={"exchange": exchange})


@tool(
    title="Price",
    description=(
        "Read the present bid and ask of an instrument, with their time and source. Look before "
        "you plan; it reserves nothing and locks nothing: only plan_trade does."
    ),
    annotations=READ_MARKET,
    tags=TRADING,
    output_schema=output(
        "symbol",
        symbol="string",
        account_id="string",
        environment="string",
        exchange="string",
        bid="number",
        ask="number",
        last="number?",
        as_of="string",
        source="string",
        currency="string",
    ),
)
async def get_price(symbol: str, account_id: str | None = None) -> ToolResult:
    """Return the present quote of an instrument."""
    return await ask("GET", f"/prices/{segment(symbol)}", params={"account_id": account_id})
