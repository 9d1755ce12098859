"""Every route with a request that fits it, and what the databases hold meanwhile."""

import hashlib
from pathlib import Path
from typing import Any

import httpx

from backend.api.app import PREFIX, all_routes
from backend.api.http import Route
from backend.database import sqlite3
from backend.testing import Stack

ROUTES = all_routes()
MISSING_TRADE = "trd-aaaaaaaaaaaaaaaaaaaa"
MISSING = {
    "trade_id": MISSING_TRADE,
    "account_id": "paper:nobody",
    "name": "nobody",
    "symbol": "AAPL",
}
A_PLAN = {"symbol": "AAPL", "side": "buy", "quantity": 1}
_REASON = {"reason": "a test"}
# What each route wants in its body; those that are not here want nothing.
BODIES: dict[str, dict[str, Any]] = {
    "POST /trading/trades": A_PLAN,
    "POST /trading/trades/{trade_id}/settle": {"outcome": "absent", **_REASON},
    "POST /accounts": {"exchange": "paper", "identifier": "new"},
    "POST /accounts/{account_id}/name": {"name": "another"},
    "POST /accounts/{account_id}/limits": {"limits": {"max_order_notional": "1000"}},
    "POST /accounts/{account_id}/resume": _REASON,
    "POST /tokens": {"name": "bot", "scopes": ["read"]},
    "POST /risk/kill-switch": _REASON,
    "POST /risk/kill-switch/release": _REASON,
}


def name_of(route: Route) -> str:
    """Return `METHOD /path`, as `kb/http.md` names it."""
    return f"{route.method} {route.path.replace(':path', '')}"


def with_ids(routes: list[Route] | None = None) -> list[Route]:
    """Return the routes whose path has an id that may be somebody else's."""
    return [r for r in routes or ROUTES if "{trade_id}" in r.path or "{account_id}" in r.path]


async def send(
    http: httpx.AsyncClient, route: Route, ids: dict[str, str] | None = None, **more: Any
) -> httpx.Response:
    """Make the request that fits `route`, with these ids in its path."""
    path = route.path.replace(":path", "").format(**{**MISSING, **(ids or {})})
    body = BODIES.get(name_of(route))
    if body is not None:
        more.setdefault("json", body)
    return await http.request(route.method, PREFIX + path, **more)


def rows(home: Path, table: str | None = None) -> list[tuple[Any, ...]]:
    """Return every row of both databases, or of one table."""
    found: list[tuple[Any, ...]] = []
    for name in ("exec-mcp.db", "paper.db"):
        connection = sqlite3.connect(f"file:{home / name}?mode=ro", uri=True)
        try:
            for (each,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'"):
                if table in (None, each):
                    found += [(each, *row) for row in connection.execute(f"SELECT * FROM {each}")]
        finally:
            connection.close()
    return found


def contents(home: Path) -> str:
    """Return a digest of every row of both databases."""
    return hashlib.sha256(repr(rows(home)).encode()).hexdigest()


async def planned(stack: Stack, http: httpx.AsyncClient | None = None, **more: Any) -> str:
    """Plan a trade and return its id."""
    reply = await (http or stack.http).post(f"{PREFIX}/trading/trades", json={**A_PLAN, **more})
    return str(reply.raise_for_status().json()["trade_id"])


async def second_account(stack: Stack, identifier: str = "other") -> str:
    """Add a paper account and return its id."""
    body = {"exchange": "paper", "identifier": identifier}
    reply = await stack.operator.post(f"{PREFIX}/accounts", json=body)
    return str(reply.raise_for_status().json()["account_id"])
