"""From the confirm's HTTP request to the order at the exchange: our time on the way."""

import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.bench.measure import Figure
from tests.matrix.sides import BinanceSide, BitstampSide
from tests.matrix.world import World, world

_CONFIRMS = 300


class Arrivals(list[Any]):
    """What a simulator writes down, with the moment of each line."""

    def __init__(self) -> None:
        super().__init__()
        self.at: list[float] = []

    def append(self, seen: Any) -> None:
        self.at.append(time.perf_counter())
        super().append(seen)


async def figures(folder: Path) -> AsyncIterator[Figure]:
    """Yield p50 beside p99, in milliseconds, per exchange; the simulator reads in the same loop."""
    for exchange in ("binance", "bitstamp"):
        async with world(folder / f"reach-{exchange}", exchange) as w:
            taken = await _taken(w)
        cuts = statistics.quantiles(taken, n=100)
        name = f"confirm (HTTP) -> bytes at {exchange.capitalize()}: p99 beside p50"
        yield Figure(name, cuts[98], cuts[49], "ms", None)


async def _taken(w: World) -> list[float]:
    arrivals = Arrivals()
    if isinstance(w.side, BinanceSide):
        w.side.sim.world.requests = arrivals
        w.side.sim.set_limit("ORDERS", 10**9)
    elif isinstance(w.side, BitstampSide):
        w.side.sim.requests = arrivals
    taken = []
    for _ in range(_CONFIRMS):
        planned = await w.plan(limit_price="40000", time_in_force="ioc")
        before = len(w.side.orders_received())
        start = time.perf_counter()
        await w.stack.http.post(f"/api/v1/trading/trades/{planned.trade_id}/confirm")
        assert len(w.side.orders_received()) == before + 1
        taken.append((_order_at(w, arrivals) - start) * 1000)
        await w.stack.advance(0.2, tick=False)  # The frozen clock counts our own rate limits.
    return taken[20:]


def _order_at(w: World, arrivals: Arrivals) -> float:
    """Return when the newest order arrived."""
    ends = ("order.place", "/api/v3/order", "/buy/", "/sell/")
    newest = max(
        index
        for index, seen in enumerate(arrivals)
        if seen.path.endswith(ends[:2]) or any(part in seen.path for part in ends[2:])
    )
    return arrivals.at[newest]
