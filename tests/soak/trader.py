"""A process that trades at random on a home until it is killed. Started with HOME SEED JOURNAL."""

import asyncio
import random
import sys

import httpx

import backend.app
import backend.exchanges.paper as paper
from backend.config import read_config
from tests.processes.worker import TRADES, choose


async def trade(http: httpx.AsyncClient, chance: random.Random) -> None:
    order = {
        "symbol": chance.choice(("AAPL", "SPY", "BTC/USD")),
        "side": chance.choice(("buy", "buy", "sell")),
        "quantity": str(chance.randint(1, 3)),
    }
    if chance.random() < 0.3:
        order |= {"order_type": "limit", "limit_price": chance.choice(("100", "900"))}
    planned = await http.post(TRADES, json=order)
    if planned.status_code != 201:
        return
    path = f"{TRADES}/{planned.json()['trade_id']}"
    if chance.random() < 0.2:
        await http.delete(path)
        return
    await asyncio.gather(*(http.post(f"{path}/confirm") for _ in range(chance.randint(1, 3))))
    if chance.random() < 0.5:
        await http.delete(path.replace("/trades/", "/orders/"))


async def main(home: str, seed: int, journal: str) -> None:
    for module in (backend.app, paper):
        vars(module)["choose_durability"] = lambda: choose(journal)
    config = read_config({"EXEC_MCP_HOME": home, "EXEC_MCP_LOG_LEVEL": "ERROR"})
    chance = random.Random(seed)
    async with backend.app.open_backend(config) as opened:
        token = (config.home / "agent.token").read_text().strip()
        async with opened.http(token) as http:
            print("ready", flush=True)  # noqa: T201
            while True:
                await trade(http, chance)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
