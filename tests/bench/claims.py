"""The claim ÷ a raw status-guarded update of the same durability."""

import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from backend.app import open_backend
from backend.config import read_config
from backend.database import choose_durability, sqlite3
from backend.domain.order import OrderType, Side
from backend.services import claim as claiming
from backend.services import planning
from backend.services.trading import PlanRequest, plan
from backend.store import accounts, tokens
from tests.bench.measure import Figure, Step, settings


async def figure(folder: Path) -> Figure:
    """Return the claim's figure: BEGIN IMMEDIATE to the return of COMMIT."""
    async with _claim(folder / "claim") as (before, ours):
        raw = _raw_update(folder / "raw.db")
        times = await _timed(before, ours, raw)
    return Figure("claim, BEGIN IMMEDIATE to COMMIT", *times, "ms", 2.0)


async def _timed(before: Step, ours: Step, raw: Step) -> tuple[float, float]:
    taken: tuple[list[float], list[float]] = ([], [])
    for turn in range(220):
        await before()
        for step, times in zip((ours, raw), taken, strict=True):
            start = time.perf_counter()
            await step()
            if turn >= 20:
                times.append((time.perf_counter() - start) * 1000)
    return statistics.median(taken[0]), statistics.median(taken[1])


@asynccontextmanager
async def _claim(home: Path) -> AsyncIterator[tuple[Step, Step]]:
    async with open_backend(read_config(settings(home)), background=False) as backend:
        desk = backend.desk
        caller, account = await desk.database.read(
            lambda tx: (tokens.of_principal(tx, "agent")[0], accounts.find(tx, "paper:main"))
        )
        assert account is not None
        exchange = await desk.exchange(account)
        waiting: list[str] = []
        known: list[Any] = []

        async def before() -> None:
            request = PlanRequest("AAPL", Side.BUY, Decimal(1), OrderType.MARKET)
            planned, _ = await plan(desk, caller, request)
            waiting.append(planned["trade_id"])
            known[:] = [
                await planning.gather(desk, account, "AAPL", Side.BUY),
                await exchange.now(),
            ]

        async def claim() -> None:
            trade_id = waiting.pop()
            await desk.database.write(lambda tx: claiming.claim(tx, desk, caller, trade_id, *known))

        yield before, claim


def _raw_update(path: Path) -> Step:
    durability = choose_durability()
    connection = sqlite3.connect(str(path), isolation_level=None)
    connection.execute(f"PRAGMA journal_mode={durability.journal_mode}")
    connection.execute(f"PRAGMA synchronous={durability.synchronous}")
    connection.execute("CREATE TABLE trades (id INTEGER PRIMARY KEY, status TEXT) STRICT")
    connection.executemany(
        "INSERT INTO trades VALUES (?, 'pending')", [(number,) for number in range(1000)]
    )
    numbers = iter(range(1000))

    async def raw() -> None:
        connection.execute("BEGIN IMMEDIATE")
        changed = connection.execute(
            "UPDATE trades SET status = 'executing' WHERE id = ? AND status = 'pending'",
            (next(numbers),),
        ).rowcount
        assert changed == 1
        connection.execute("COMMIT")

    return raw
