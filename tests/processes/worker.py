"""A process that uses a home as a library: commands in, one JSON line each, answers out.

Started with HOME and a journal mode, `WAL` or `DELETE`. It can be told where to die, by
SIGKILL: that is built here, around the product, not into it.
"""

import asyncio
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

import backend.app
import backend.exchanges.paper as paper
from backend.config import read_config
from backend.database import Durability, choose_durability
from backend.domain.order import Order, OrderReport
from backend.services.claim import Claimed

TRADES = "/api/v1/trading/trades"
OLD_SQLITE = (3, 40, 1)
STEPS = ("before the claim's commit", "after it", "after the submit", "after the settlement")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Mortal:
    """The product's database, in a process that dies at one step of a confirm."""

    def __init__(self, database: Any, step: str) -> None:
        self._database = database
        self._step = step
        self._claimed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    async def write(self, body: Callable[[Any], Any]) -> Any:
        def watched(transaction: Any) -> Any:
            made = body(transaction)
            if isinstance(made, Claimed) and self._step == STEPS[0]:
                die()
            return made

        result = await self._database.write(watched)
        if self._claimed and self._step == STEPS[3]:
            die()
        if isinstance(result, Claimed):
            self._claimed = True
            if self._step == STEPS[1]:
                die()
        return result


def choose(journal: str) -> Durability:
    return choose_durability(OLD_SQLITE) if journal == "DELETE" else choose_durability()


def answer(told: httpx.Response) -> list[Any]:
    body = told.json()
    status = body.get("current_status") if told.is_error else body["status"]
    return [told.status_code, status, body.get("code"), body["trade_id"]]


async def obey(desk: Any, http: httpx.AsyncClient, command: dict[str, Any]) -> Any:
    if command["do"] == "confirm":
        path = f"{TRADES}/{command['trade_id']}/confirm"
        replies = await asyncio.gather(*(http.post(path) for _ in range(command["times"])))
        return [answer(reply) for reply in replies]
    if command["do"] == "plan":
        body = {"symbol": "AAPL", "side": "buy", **command["terms"]}
        posts = [http.post(TRADES, json=body) for _ in range(command["times"])]
        return [
            (r.json().get("trade_id"), r.json().get("code")) for r in await asyncio.gather(*posts)
        ]
    if command["do"] == "die":
        kill_at(desk, command["step"])
        await prepare_to_die_at_the_exchange(desk, command["step"])
        return None
    assert command["do"] == "fill_the_disk"
    largest = largest_file(desk.config.home)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, hard))
    return largest


def largest_file(home: Path) -> int:
    return max(path.stat().st_size for path in home.iterdir())


def kill_at(desk: Any, step: str) -> None:
    desk.database = Mortal(desk.database, step)


async def prepare_to_die_at_the_exchange(desk: Any, step: str) -> None:
    if step != STEPS[2]:
        return
    from backend.store import accounts

    account = (await desk.database.read(accounts.all_accounts))[0]
    exchange = await desk.exchange(account)
    submit = exchange.submit

    async def submit_and_die(order: Order) -> OrderReport:
        await submit(order)
        die()
        raise AssertionError("dead")

    exchange.submit = submit_and_die


async def main(home: str, journal: str) -> None:
    for module in (backend.app, paper):
        vars(module)["choose_durability"] = lambda: choose(journal)
    config = read_config({"EXEC_MCP_HOME": home})
    async with backend.app.open_backend(config, background=False) as opened:
        token = (config.home / "agent.token").read_text().strip()
        async with opened.http(token) as http:
            say({"ready": opened.desk.database.durability.journal_mode})
            loop = asyncio.get_running_loop()
            while line := await loop.run_in_executor(None, sys.stdin.readline):
                say(await obey(opened.desk, http, json.loads(line)))


def say(what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
