"""Run the simulator from a terminal: `python -m tests.simulators.bitstamp --port N`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from datetime import UTC, datetime
from decimal import Decimal

from tests.simulators.bitstamp.simulator import Simulator

FUNDS = {"usd": Decimal(1_000_000), "eur": Decimal(1_000_000), "btc": Decimal(100)}
TOUCHES = {
    "btcusd": ("77203", "77204"),
    "btceur": ("66100", "66102"),
    "ethusd": ("2467.90", "2468.04"),
}


def _now() -> datetime:
    return datetime.now(UTC)


async def _run(port: int, ws_port: int, seed: int) -> None:
    sim = Simulator(_now, seed)
    sim.add_account(FUNDS)
    await sim.start(port, ws_port)
    for symbol, (bid, ask) in TOUCHES.items():
        sim.set_touch(symbol, Decimal(bid), Decimal(ask))
    sys.stdout.write(sim.describe() + "\n")
    sys.stdout.flush()
    try:
        await asyncio.Event().wait()
    finally:
        await sim.stop()


def main() -> None:
    """Serve until Ctrl-C; the first line says where, and one account's credentials."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ws-port", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clock", choices=["system"], default="system")
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(options.port, options.ws_port, options.seed))


if __name__ == "__main__":
    main()
