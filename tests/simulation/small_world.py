"""The smallest whole world: both simulators and a server, each a process; one trade at each."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from backend.app import Backend, open_backend
from backend.config import read_config
from tests.matrix.sides import SIDES, ExchangeSide
from tests.simulation.process import Process
from tests.simulation.sim import Sim, simulate

_API = "/api/v1"


async def trade_at_both_exchanges(sim: Sim, home: Path) -> list[str]:
    """Plan and confirm once at each exchange; return how the trades stand."""
    exchanges = sim.process("exchanges", exposed=False)
    sides: list[ExchangeSide] = [SIDES[name](sim.clock) for name in ("binance", "bitstamp")]
    for side in sides:
        await exchanges.ask(side.start())
    server = sim.process("server.1", exposed=False)
    simulators = ",".join(side.addresses for side in sides)
    config = read_config({"EXEC_MCP_HOME": str(home), "EXEC_MCP_SIMULATORS": simulators})
    opening = open_backend(config, clock=sim.clock, elapsed_s=sim.loop.time)
    opened = await server.ask(opening.__aenter__())
    statuses = [await _trade(server, opened, home, side) for side in sides]
    server.kill()  # It is never closed.
    return statuses


async def _trade(server: Process, opened: Backend, home: Path, side: ExchangeSide) -> str:
    account = {
        "exchange": side.name,
        "identifier": side.identifier,
        "environment": "testnet",
        "currency": side.payment,
        "credentials": side.credentials,
        "limits": {"price_band": "100000"},
    }
    made = await _post(server, opened, home, "operator", "/accounts", account)
    terms = {"symbol": side.symbol, "side": "buy", "quantity": "0.01"}
    terms["account_id"] = made["account_id"]
    planned = await _post(server, opened, home, "agent", "/trading/trades", terms)
    path = f"/trading/trades/{planned['trade_id']}/confirm"
    done = await _post(server, opened, home, "agent", path)
    return str(done["status"])


async def _post(
    server: Process, opened: Backend, home: Path, who: str, path: str, body: Any = None
) -> dict[str, Any]:
    async def post() -> dict[str, Any]:
        token = (home / f"{who}.token").read_text(encoding="ascii").strip()
        async with opened.http(token) as client:
            answer = await client.post(_API + path, json=body)
        told: dict[str, Any] = answer.raise_for_status().json()
        return told

    return await server.ask(post())


def digest(seed: int, home: Path) -> str:
    """Return the digest of one seed of this world, with the harmless faults of its swarm."""

    async def main(sim: Sim) -> str:
        harmless = ("split", "late", "stall")
        sim.sites.rates = dict.fromkeys(harmless, 0.05)
        sim.sites.enabled = True
        statuses = await trade_at_both_exchanges(sim, home)
        sim.trace.add(" ".join(statuses))
        return sim.trace.digest()

    return simulate(seed, main)


if __name__ == "__main__":
    sys.stdout.write(digest(int(sys.argv[2]), Path(sys.argv[1])) + "\n")
