"""How these tests speak to the product over HTTP, and what they look at afterwards."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx

from backend.services import audit
from backend.services.invariants import check
from backend.testing import Answer, Stack

TRADES = "/api/v1/trading/trades"
ORDERS = "/api/v1/trading/orders"
D = Decimal


class Reply(Answer):
    """An answer with its HTTP status."""

    http: int

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(response.text, response.is_error)
        self.http = response.status_code


async def plan(stack: Stack, http: Any = None, **terms: Any) -> Reply:
    """Plan a market buy of 10 AAPL, changed as told."""
    body = {"symbol": "AAPL", "side": "buy", "quantity": 10, **terms}
    return Reply(await (http or stack.http).post(TRADES, json=body))


async def confirm(
    stack: Stack, trade: Answer | str, http: httpx.AsyncClient | None = None
) -> Reply:
    trade_id = trade if isinstance(trade, str) else trade.trade_id
    return Reply(await (http or stack.http).post(f"{TRADES}/{trade_id}/confirm"))


async def look(stack: Stack, trade: Answer) -> Reply:
    return Reply(await stack.http.get(f"{TRADES}/{trade.trade_id}"))


async def cancel(stack: Stack, trade: Answer) -> Reply:
    return Reply(await stack.http.delete(f"{TRADES}/{trade.trade_id}"))


async def cancel_order(stack: Stack, trade: Answer) -> Reply:
    return Reply(await stack.http.delete(f"{ORDERS}/{trade.trade_id}"))


async def approve(stack: Stack, trade: Answer) -> Reply:
    return Reply(await stack.operator.post(f"{TRADES}/{trade.trade_id}/approve"))


async def add_account(stack: Stack, identifier: str, **more: Any) -> Reply:
    """Add a paper account with 100,000 USD, changed as told."""
    body = {"exchange": "paper", "identifier": identifier, "name": identifier, **more}
    return Reply(await stack.operator.post("/api/v1/accounts", json=body))


async def funds(stack: Stack, account_id: str = "paper:main") -> dict[str, tuple[str, str]]:
    """Return (total, held) by currency, as stored."""
    rows = await stack.backend.desk.database.read(
        lambda tx: tx.rows(
            "SELECT b.currency, total, held FROM balances b JOIN accounts a ON a.id = b.account"
            " WHERE a.exchange || ':' || a.identifier = ?",
            (account_id,),
        )
    )
    return {row["currency"]: (row["total"], row["held"]) for row in rows}


async def row(stack: Stack, sql: str, *values: Any) -> dict[str, Any]:
    """Return one row of the product's database."""
    found = await stack.backend.desk.database.read(lambda tx: tx.row(sql, values))
    assert found is not None
    return {name: found[name] for name in found.keys()}  # noqa: SIM118


async def change(stack: Stack, sql: str, *values: Any) -> None:
    """Change the product's database behind its back."""
    await stack.backend.desk.database.write(lambda tx: tx.execute(sql, values))


async def until(condition: Callable[[], object], pause_s: float = 0) -> None:
    """Let others work until it is so."""
    for _ in range(100_000 if not pause_s else 400):
        if condition():
            return
        await asyncio.sleep(pause_s)
    raise AssertionError("it never was so")


async def assert_whole(stack: Stack, but: str = "") -> None:
    """Every invariant of the books holds; or all but one that the test itself broke."""
    desk = stack.backend.desk
    broken = await desk.database.read(lambda tx: check(tx, desk.journal.all()))
    broken = [one for one in broken if one.invariant != but]
    whole = await audit.verify(desk)
    assert not broken, broken
    assert whole["whole"], whole
