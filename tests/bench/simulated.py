"""Both simulated exchanges in a process of their own, with their rate limits out of the way.

    python -m tests.bench.simulated

Prints one line of JSON, and serves until its standard input ends.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tests.simulators import binance, bitstamp

PLENTY = 10**9
D = Decimal


def now() -> datetime:
    """Return the system's time: what is measured is not frozen."""
    return datetime.now(UTC)


async def _serve() -> None:
    async with binance.Simulator(now) as first, bitstamp.Simulator(now) as second:
        for kind in ("REQUEST_WEIGHT", "RAW_REQUESTS", "ORDERS"):
            first.set_limit(kind, PLENTY)
        second.limits.per_second = second.limits.per_ten_minutes = PLENTY
        first.set_touch("BTCUSDT", "49990", "50000", D(1000))
        second.set_touch("btcusd", D(49_990), D(50_000), depth=D(1000))
        ours = first.add_account({"USDT": D(100_000_000), "BTC": D(1000)})
        theirs = second.add_account({"usd": D(100_000_000), "btc": D(1000)})
        told = {
            "binance": {
                "addresses": [first.rest_url, first.ws_api_url, first.stream_url],
                "identifier": str(ours.uid),
                "key": ours.key,
                "secret": ours.secret,
            },
            "bitstamp": {
                "addresses": [second.rest_url, second.ws_url],
                "identifier": str(theirs.user_id),
                "key": theirs.key,
                "secret": theirs.secret,
            },
        }
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


@contextlib.asynccontextmanager
async def simulators() -> AsyncIterator[dict[str, Any]]:
    """Run both in another process and give what it printed."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bench.simulated",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        yield json.loads(await child.stdout.readline())
    finally:
        child.stdin.close()
        await child.wait()


if __name__ == "__main__":
    asyncio.run(_serve())
