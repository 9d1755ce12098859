"""Run the simulator from a terminal: python -m tests.simulators.binance --port 8800."""

import argparse
import asyncio
import contextlib
import json
import sys
from decimal import Decimal

from .simulator import Simulator

_TICKS_PER_PING = 20
_BALANCES = {"USDT": Decimal(100_000), "BTC": Decimal(2), "ETH": Decimal(20), "BNB": Decimal(10)}
_TOUCHES = {
    "BTCUSDT": ("64999.99", "65000.01"),
    "ETHUSDT": ("3199.99", "3200.01"),
    "BNBUSDT": ("599.99", "600.01"),
    "ETHBTC": ("0.04922", "0.04923"),
}


async def _play(port: int, environment: str, key_type: str) -> None:
    simulator = Simulator(environment=environment)
    account = simulator.add_account(_BALANCES, key_type)
    for symbol, (bid, ask) in _TOUCHES.items():
        simulator.set_touch(symbol, bid, ask)
    ports = (port, port + 1, port + 2) if port else (0, 0, 0)
    await simulator.start(*ports)
    about = {
        "rest_url": simulator.rest_url,
        "ws_api_url": simulator.ws_api_url,
        "stream_url": simulator.stream_url,
        "uid": account.uid,
        "key": account.key,
        "secret": account.secret,
        "private_key": account.private_key,
    }
    sys.stdout.write(json.dumps(about) + "\n")
    sys.stdout.flush()
    try:
        await _keep_time(simulator)
    finally:
        await simulator.stop()


async def _keep_time(simulator: Simulator) -> None:
    ticks = 0
    while True:
        await asyncio.sleep(1)
        ticks += 1
        await simulator.tick()
        if ticks % _TICKS_PER_PING == 0:
            await simulator.ping()


def main() -> None:
    """Print the URLs and one account's credentials as one line of JSON, then serve."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulators.binance")
    parser.add_argument("--port", type=int, default=0, help="REST; the next two are WebSockets")
    parser.add_argument("--environment", default="testnet", choices=["live", "testnet", "demo"])
    parser.add_argument("--key-type", default="hmac", choices=["hmac", "ed25519"])
    parser.add_argument("--clock", default="system", choices=["system"])
    chosen = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_play(chosen.port, chosen.environment, chosen.key_type))


if __name__ == "__main__":
    main()
