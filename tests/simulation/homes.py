"""Homes: a template per exchange, made once per process and copied per seed; copies, and restores.

The template also has triggers that write down every edge that a trade or an order takes: they
see what is committed, whoever wrote it, and know nothing of the product's own rules.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlite_utils import Migrations

import backend.app
from backend.config import PREFIX, Config, read_config
from backend.database import Database, sqlite3
from backend.store.restored import mark_copy
from backend.testing.clock import START, FrozenClock
from backend.testing.stack import stack
from tests.matrix.sides import SIDES, ExchangeSide

PLAN_TTL_S = 10
_API = "/api/v1"
_LIMITS = {"price_band": "100000", "max_orders_per_minute": "1000"}
_PRICES = {"BTC/USD": ("49990", "50000"), "LTC/USD": ("49990", "50000")}
# Two fee schedules that round: coins as fees, and other rates for makers than for takers.
_SECOND = {"maker_fee_bps": "7", "taker_fee_bps": "13"}

_EDGES = """
CREATE TABLE sim_edges(kind TEXT, id TEXT, old TEXT, new TEXT);
CREATE TRIGGER sim_trade AFTER UPDATE OF status ON trades WHEN old.status <> new.status
BEGIN INSERT INTO sim_edges VALUES('trade', new.id, old.status, new.status); END;
CREATE TRIGGER sim_order AFTER UPDATE OF state ON orders WHEN old.state <> new.state
BEGIN INSERT INTO sim_edges VALUES('order', new.trade_id, old.state, new.state); END;
CREATE TRIGGER sim_trade_new AFTER INSERT ON trades
BEGIN INSERT INTO sim_edges VALUES('trade', new.id, '', new.status); END;
CREATE TRIGGER sim_order_new AFTER INSERT ON orders
BEGIN INSERT INTO sim_edges VALUES('order', new.trade_id, '', new.state); END;
"""
# A copied home is another place, and quarantines: each copy of a template is a home of its own.
_NO_PLACE = "DELETE FROM meta WHERE key = 'place';"


def configure(home: Path, addresses: str | None) -> Config:
    """Return the settings of a home; `addresses` of a simulator, as EXEC_MCP_SIMULATORS has it."""
    given = {
        f"{PREFIX}HOME": str(home),
        f"{PREFIX}PLAN_TTL_S": str(PLAN_TTL_S),
        f"{PREFIX}APPROVAL_TTL_S": "60",
        f"{PREFIX}RATE_LIMIT_PER_S": "100000",
    }
    if addresses is not None:
        given[f"{PREFIX}SIMULATORS"] = addresses
    return read_config(given)


def tokens_of(home: Path) -> dict[str, str]:
    """Return the clients' tokens by their names."""
    told: dict[str, str] = json.loads((home / "clients.json").read_text())
    return told


def make_template(folder: Path, exchange: str) -> Path:
    """Make a home with accounts and tokens, on an ordinary loop; done once per process."""
    home = folder / exchange
    if not home.exists():
        asyncio.run(_make(home, exchange))
        connection = sqlite3.connect(str(home / "exec-mcp.db"))
        connection.executescript(_EDGES + _NO_PLACE)
        connection.close()
    return home


async def _make(home: Path, exchange: str) -> None:
    clock = FrozenClock(START - timedelta(seconds=30))
    side: ExchangeSide | None = None
    if exchange != "paper":
        side = SIDES[exchange](clock)
        await side.start()
    try:
        more: dict[str, Any] = {"simulators": side.addresses} if side else {}
        async with stack(home, clock=clock, prices=_PRICES, **more) as opened:
            tokens = {n: (home / f"{n}.token").read_text().strip() for n in ("agent", "operator")}
            tokens["rival"] = await opened.token("rival", "read", "trade")
            await _add(opened, "paper", "second", settings=_SECOND, balance="90000")
            await _limit(opened, "paper:main")
            for account_id in ("paper:main", "paper:second"):
                await _hold_coins(opened, account_id)
            if side is not None:
                given = {"environment": "testnet", "currency": side.payment}
                given_key = {"credentials": side.credentials}
                await _add(opened, exchange, side.identifier, **given, **given_key)
        (home / "clients.json").write_text(json.dumps(tokens))
    finally:
        if side is not None:
            await side.stop()


async def _add(opened: Any, exchange: str, identifier: str, **more: Any) -> None:
    body = {"exchange": exchange, "identifier": identifier, "limits": _LIMITS, **more}
    made = await opened.operator.post(f"{_API}/accounts", json=body)
    assert made.status_code == 201, made.text


async def _limit(opened: Any, account_id: str) -> None:
    path = f"{_API}/accounts/{account_id}/limits"
    made = await opened.operator.post(path, json={"limits": _LIMITS})
    assert made.status_code == 200, made.text


async def _hold_coins(opened: Any, account_id: str) -> None:
    """Buy something, so that there is something to sell."""
    terms = {"account_id": account_id, "symbol": "BTC/USD", "side": "buy", "quantity": "0.1"}
    made = await opened.http.post(f"{_API}/trading/trades", json=terms)
    done = await opened.http.post(f"{_API}/trading/trades/{made.json()['trade_id']}/confirm")
    assert done.status_code == 200, done.text


def take(template: Path, home: Path) -> None:
    """Copy a template to where a seed lives."""
    shutil.copytree(template, home, symlinks=True)


async def back_up(source: Path, target: Path, clock: Callable[[], datetime]) -> None:
    """Copy a database that is in use, and mark the copy, as `exec-mcp backup` does."""
    database = Database(source, clock, Migrations("none"), vars(backend.app)["choose_durability"]())
    try:
        database.backup(target)
    finally:
        database.close()
    copied = Database(target, clock, Migrations("none"), vars(backend.app)["choose_durability"]())
    try:
        await copied.write(lambda tx: mark_copy(tx, "a copy"))
    finally:
        copied.close()


def restore(copy: Path, database: Path) -> None:
    """Put a copy in the place of the database, with nobody there."""
    for left in _beside(database):
        left.unlink(missing_ok=True)
    shutil.copyfile(copy, database)


def _beside(database: Path) -> Iterable[Path]:
    return [database.with_name(database.name + end) for end in ("", "-wal", "-shm", "-journal")]
