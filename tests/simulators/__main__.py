"""Both exchanges on this machine: `python -m tests.simulators`, or `make simulators`.

It prints what an `exec-mcp` needs to trade on them without a key of anybody's, then moves
their markets once per second until it is stopped. The keys are the same for the same seed.
"""

import argparse
import asyncio
import contextlib
import json
import shlex
import sys
from decimal import Decimal
from random import Random

from backend.domain.clock import system_clock
from tests.simulators import binance, bitstamp
from tests.simulators.drift import Drift

D = Decimal
_EVERY_S = 1
_PING_EVERY = 20
_BINANCE_FUNDS = {"USDT": D(100_000), "BTC": D(2), "ETH": D(20), "BNB": D(10)}
_BITSTAMP_FUNDS = {"usd": D(100_000), "btc": D(2), "eth": D(20)}


class Exchanges:
    """Two simulators, an account on each, and their markets."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self.binance = binance.Simulator(system_clock, seed)
        self.bitstamp = bitstamp.Simulator(system_clock, seed)
        self._binance_account = self.binance.add_account(_BINANCE_FUNDS)
        self._bitstamp_account = self.bitstamp.add_account(_BITSTAMP_FUNDS)
        self._on_binance = [
            Drift("BTCUSDT", D("0.01"), D("77203.99"), D("77204.01")),
            Drift("ETHUSDT", D("0.01"), D("2467.99"), D("2468.01")),
            Drift("BNBUSDT", D("0.01"), D("599.99"), D("600.01")),
        ]
        self._on_bitstamp = [
            Drift("btcusd", D(1), D(77_203), D(77_204)),
            Drift("ethusd", D("0.01"), D("2467.90"), D("2468.04")),
        ]

    async def start(self, port: int) -> None:
        """Listen on `port` and the four after it; 0: on free ones."""
        ports = [port + number if port else 0 for number in range(5)]
        self._quote()
        await self.binance.start(*ports[:3])
        await self.bitstamp.start(*ports[3:])

    async def stop(self) -> None:
        """Close everything."""
        await self.bitstamp.stop()
        await self.binance.stop()

    async def run(self) -> None:
        """Move the markets once per second, for ever."""
        for number in range(1, sys.maxsize):
            await asyncio.sleep(_EVERY_S)
            self.step()
            await self.binance.tick()
            self.bitstamp.tick()
            if number % _PING_EVERY == 0:
                await self.binance.ping()

    def step(self) -> None:
        """Move every touch once; resting orders that it meets are filled."""
        for drift in (*self._on_binance, *self._on_bitstamp):
            drift.step(self._random)
        self._quote()

    def told(self) -> str:
        """Return the lines that a shell needs: the addresses, and an account on each."""
        there, here = self.binance, self.bitstamp
        addresses = (
            f"binance={there.rest_url} {there.ws_api_url} {there.stream_url}, "
            f"bitstamp={here.rest_url} {here.ws_url}"
        )
        one, two = self._binance_account, self._bitstamp_account
        lines = (
            f"export EXEC_MCP_SIMULATORS={shlex.quote(addresses)}",
            _add("binance", "USDT", one.key, one.secret),
            _add("bitstamp", "USD", two.key, two.secret),
        )
        return "\n".join(lines)

    def _quote(self) -> None:
        for drift in self._on_binance:
            self.binance.set_touch(drift.symbol, drift.bid, drift.ask)
            self.binance.print_trade(drift.symbol, drift.bid, "0.001", "sell")
        for drift in self._on_bitstamp:
            self.bitstamp.set_touch(drift.symbol, drift.bid, drift.ask)


def _add(exchange: str, currency: str, key: str, secret: str) -> str:
    parts = shlex.quote(json.dumps({"api_key": key, "api_secret": secret}))
    return (
        f"printf '%s' {parts} | "
        f"exec-mcp account add {exchange} --environment testnet --currency {currency}"
    )


async def _play(port: int, seed: int) -> None:
    exchanges = Exchanges(seed)
    try:
        await exchanges.start(port)
    except OSError as error:
        sys.exit(f"they cannot listen there: {error}")
    sys.stdout.write(exchanges.told() + "\n")
    sys.stdout.flush()
    try:
        await exchanges.run()
    finally:
        await exchanges.stop()


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulators", description=__doc__)
    parser.add_argument("--port", type=int, default=8800, help="the first of five; 0: free ones")
    parser.add_argument("--seed", type=int, default=0, help="of the keys and of the markets")
    chosen = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_play(chosen.port, chosen.seed))


if __name__ == "__main__":
    main()
