"""Thousands of open and unknown orders after a restart: settled within the rate limits.

`python -m tests.bench.recover` tells it as figures of the long campaigns.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from backend.domain.order import UNSETTLED, OrderType, Side
from backend.services import execution, trading
from backend.services.trading import PlanRequest
from backend.store import orders, tokens
from tests.bench.measure import Figure
from tests.matrix.sides import BinanceSide
from tests.matrix.world import World, world
from tests.soak import figures as soak

ORDERS = int(os.environ.get("EXEC_BENCH_ORDERS", "10000"))
_LIMIT = 6000
_WORK_S = 5.0


async def figures(folder: Path) -> AsyncIterator[Figure]:
    """Yield the busiest minute's weight, and the seconds of work, simulator included."""
    settings: dict[str, Any] = {"risk_max_pending_trades": 100_000}
    async with world(folder / "recover", "binance", **settings) as w:
        await _trade(w)
        await w.stack.crash()
        start, busiest = time.process_time(), 0
        for _ in range(3600):
            await w.advance(1)
            busiest = max(busiest, _weight(w))
            if not await _unsettled(w):
                break
        worked = time.process_time() - start
        yield Figure(f"{ORDERS:,} orders: busiest minute ÷ the limit", busiest, _LIMIT, "", 1.0)
        yield Figure(f"{ORDERS:,} orders: work, simulator included", worked, 60, "s", 1.0)


async def _trade(w: World) -> None:
    """Rest half of the orders, and lose the answers of the other half."""
    assert isinstance(w.side, BinanceSide)
    sim = w.side.sim
    sim.change_filters("BTCUSDT", MAX_NUM_ORDERS=None, MAX_NUM_ALGO_ORDERS=None)
    # Without a snapshot only our books bound what may be spent: what is timed comes after.
    await w.desk.database.write(lambda tx: tx.execute("DELETE FROM exchange_balances"))
    sim.set_limit("ORDERS", 10**9)
    await w.desk.markets.refresh("binance", "testnet")
    caller = await w.desk.database.read(lambda tx: tokens.all_tokens(tx)[0])
    request = PlanRequest(
        w.side.symbol,
        Side.BUY,
        Decimal("0.001"),
        OrderType.LIMIT,
        Decimal(40_000),
        account_id=w.account_id,
    )
    for number in range(ORDERS):
        if number % 2:
            sim.script("order", "lose_answer")
        planned, _ = await trading.plan(w.desk, caller, request)
        await execution.confirm(w.desk, caller, planned["trade_id"])


def _weight(w: World) -> int:
    assert isinstance(w.side, BinanceSide)
    return w.side.sim.world.limits.weight.used


async def _unsettled(w: World) -> bool:
    account = await w.account()
    live = await w.desk.database.read(lambda tx: orders.live(tx, account.number))
    return any(order.state in UNSETTLED for order in live)


async def _soak() -> bool:
    """Tell the seconds of work, which the issue bounds. Returns whether they are kept."""
    with tempfile.TemporaryDirectory() as folder:
        _, work = [figure async for figure in figures(Path(folder))]
    kept = work.ours < _WORK_S
    what = f"{ORDERS:,} open and unknown orders: work, simulator included"
    soak.tell(soak.Figure("recovery", what, f"{work.ours:.1f} s", f"< {_WORK_S:g} s", kept))
    return kept


if __name__ == "__main__":
    sys.exit(not asyncio.run(_soak()))
