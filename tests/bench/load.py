"""Cycles per second over HTTP with 32 clients ÷ one-commit requests of a trivial route."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx

from tests.bench.measure import (
    Figure,
    exec_mcp,
    free_port,
    process,
    resident_mb,
    settings,
)

CLIENTS = 32
_SECONDS = 6.0
_PLAN = "/api/v1/trading/trades"


async def figures(folder: Path) -> tuple[Figure, Figure]:
    """Return the throughput figure, and the memory of the serving process after 1,000 cycles."""
    home, port, other = folder / "load", free_port(), free_port()
    env = settings(home)
    commits = (sys.executable, "-m", "tests.bench.load", str(folder / "one.db"), str(other))
    async with (
        process(
            exec_mcp(), "serve", "--port", str(port), port=port, probe="/health", env=env
        ) as us,
        process(*commits, port=other, probe="/", env=env),
    ):
        token = (home / "agent.token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        await _per_second(port, _cycle, headers, cycles=1000)
        memory = resident_mb(us.pid)
        rates: tuple[list[float], list[float]] = ([], [])
        for _ in range(3):
            rates[0].append(await _per_second(port, _cycle, headers))
            rates[1].append(await _per_second(other, _commit, {}))
    ours, trivial = sorted(rates[0])[1], sorted(rates[1])[1]
    return (
        Figure("cycles/s, 32 clients, ÷ one-commit requests/s", ours, trivial, "/s", 0.12, True),
        Figure("memory after 1,000 cycles ÷ the limit", memory, 150, "MB", 1.0),
    )


async def _cycle(http: httpx.AsyncClient) -> None:
    order = {"symbol": "AAPL", "side": "buy", "quantity": "1"}
    planned = (await http.post(_PLAN, json=order)).raise_for_status().json()
    (await http.post(f"{_PLAN}/{planned['trade_id']}/confirm")).raise_for_status()
    order["side"] = "sell"
    planned = (await http.post(_PLAN, json=order)).raise_for_status().json()
    (await http.post(f"{_PLAN}/{planned['trade_id']}/confirm")).raise_for_status()


async def _commit(http: httpx.AsyncClient) -> None:
    (await http.post("/")).raise_for_status()


async def _per_second(
    port: int,
    step: Callable[[httpx.AsyncClient], Awaitable[None]],
    headers: dict[str, str],
    cycles: int | None = None,
) -> float:
    per_step = 2 if step is _cycle else 1
    done = 0
    start = time.perf_counter()

    async def client() -> None:
        nonlocal done
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30
        ) as http:
            while done < cycles if cycles else time.perf_counter() - start < _SECONDS:
                await step(http)
                done += per_step

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return done / (time.perf_counter() - start)


def _trivial(path: str, port: int) -> None:
    import uvicorn
    from fastapi import FastAPI

    from backend.database import choose_durability, sqlite3

    durability = choose_durability()
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA journal_mode={durability.journal_mode}")
    connection.execute(f"PRAGMA synchronous={durability.synchronous}")
    connection.execute("CREATE TABLE t (n INTEGER) STRICT")
    app = FastAPI()

    @app.get("/")
    async def ready() -> dict[str, bool]:
        return {"ready": True}

    @app.post("/")
    async def commit() -> dict[str, bool]:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO t VALUES (1)")
        connection.execute("COMMIT")
        return {"done": True}

    uvicorn.run(app, port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    _trivial(sys.argv[1], int(sys.argv[2]))
