"""plan + confirm with 1,000,000 finished trades and 3,000,000 audit rows ÷ with none."""

import statistics
import time
from pathlib import Path

import httpx

from backend.app import Backend, open_backend
from backend.config import read_config
from backend.database import sqlite3
from backend.domain.trade import new_trade_id
from backend.store import audit
from tests.bench.measure import Figure, settings

TRADES = 1_000_000
AUDIT_PER_TRADE = 3
_API = "/api/v1/trading/trades"


async def figure(folder: Path, trades: int = TRADES) -> Figure:
    """Fill one home, and take cycles on it and on an empty one in turns."""
    full, empty = folder / "full", folder / "empty"
    for home in (full, empty):
        async with open_backend(read_config(settings(home)), background=False) as backend:
            await _cycle(_client(backend, home), "buy")
            await _cycle(_client(backend, home), "sell")
    fill(full / "exec-mcp.db", trades)
    async with (
        open_backend(read_config(settings(full)), background=False) as large,
        open_backend(read_config(settings(empty)), background=False) as small,
    ):
        clients = (_client(large, full), _client(small, empty))
        taken: tuple[list[float], list[float]] = ([], [])
        for turn in range(260):
            for http, times in zip(clients, taken, strict=True):
                start = time.perf_counter()
                await _cycle(http, "buy" if turn % 2 == 0 else "sell")
                if turn >= 60:
                    times.append((time.perf_counter() - start) * 1000)
    title = f"plan + confirm, {trades:,} trades and {trades * AUDIT_PER_TRADE:,} audit rows"
    return Figure(title, statistics.median(taken[0]), statistics.median(taken[1]), "ms", 1.1)


def _client(backend: Backend, home: Path) -> httpx.AsyncClient:
    return backend.http((home / "agent.token").read_text().strip())


async def _cycle(http: httpx.AsyncClient, side: str) -> None:
    order = {"symbol": "AAPL", "side": side, "quantity": "1"}
    planned = (await http.post(_API, json=order)).raise_for_status().json()
    (await http.post(f"{_API}/{planned['trade_id']}/confirm")).raise_for_status()


def fill(path: Path, trades: int) -> None:
    """Copy the first finished trade, with its order, hold, fill and audit rows, many times."""
    connection = sqlite3.connect(str(path), isolation_level=None)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA foreign_keys=OFF")
    model = {
        table: dict(connection.execute(f"SELECT * FROM {table} LIMIT 1").fetchone())
        for table in ("trades", "orders", "holds", "fills")
    }
    last = dict(connection.execute("SELECT * FROM audit ORDER BY seq DESC LIMIT 1").fetchone())
    old = {"claimed_at": "2020-01-01T00:00:00.000000+00:00"}
    connection.execute("BEGIN IMMEDIATE")
    for number in range(trades):
        trade_id = new_trade_id()
        rows = {
            "trades": {**model["trades"], **old, "id": trade_id, "number": None},
            "orders": {**model["orders"], "trade_id": trade_id},
            "holds": {**model["holds"], "trade_id": trade_id},
            "fills": {
                **model["fills"],
                "trade_id": trade_id,
                "exchange_order_id": f"old-{number}",
                "exchange_fill_id": f"old-{number}",
            },
        }
        for table, row in rows.items():
            _insert(connection, table, row)
        for _ in range(AUDIT_PER_TRADE):
            last = {**last, "seq": last["seq"] + 1, "trade_id": trade_id, "previous": last["hash"]}
            last["hash"] = audit.row_hash(last)
            _insert(connection, "audit", last)
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _insert(connection: sqlite3.Connection, table: str, row: dict[str, object]) -> None:
    names = ",".join(row)
    marks = ",".join(f":{name}" for name in row)
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", row)
