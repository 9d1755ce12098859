"""A process that uses a home as a library and rushes, with others, at the same trades.

| command | what is done                                                                   |
|---------|--------------------------------------------------------------------------------|
| `plan`  | so many plans; answers their ids and when the first of them expires             |
| `rush`  | a claim or a cancel of each trade, sweeps and reconciles among them; answers all |
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any

import backend.app
from backend.config import read_config
from backend.domain.clock import to_row
from backend.services.expiry import sweep
from backend.services.reconcile import reconcile_all
from backend.store import trades
from tests.processes.doors import Door, Http, Told
from tests.processes.shared_clock import SharedClock
from tests.processes.zygote import Line

# [trade id, "claim" or "cancel", won, the status told, the code, seconds, times busy]
Attempt = list[Any]
_AT_ONCE = 2
_CHORES_EVERY = 10


async def obey(line: Line, clock: SharedClock, settings: Mapping[str, str]) -> None:
    """Open the home, and do as told until the driver goes."""
    config = read_config(settings)
    async with backend.app.open_backend(config, background=False) as opened:
        token = (config.home / "agent.token").read_text().strip()
        async with opened.http() as http:
            door = Http(http, "", token)
            line.say("ready")
            heard = await line.heard()
            while told := await heard.readline():
                command = json.loads(told)
                if "plan" in command:
                    line.say(await _plan(opened.desk, door, command["plan"], command["terms"]))
                else:
                    line.say(await _rush(opened, door, command["rush"], command["seed"]))


async def _plan(desk: Any, door: Door, count: int, terms: Mapping[str, str]) -> Any:
    ids = []
    for _ in range(count):
        planned = await door.plan(**terms)
        assert not planned.refused, planned
        ids.append(planned.body["trade_id"])
    first = await desk.database.read(lambda tx: trades.get(tx, ids[0]).expires_at)
    return {"ids": ids, "expires_at": to_row(first)}


async def _rush(opened: Any, door: Door, ids: Sequence[str], seed: str) -> list[Attempt]:
    chance = Random(seed)
    chores = (opened.keeper.tick, lambda: reconcile_all(opened.desk), _sweeper(opened.desk))

    async def chore() -> None:
        await chance.choice(chores)()

    return await attempts(door, ids, chance, chore)


def _sweeper(desk: Any) -> Callable[[], Awaitable[int]]:
    return lambda: desk.database.write(sweep)


async def attempts(
    door: Door,
    ids: Sequence[str],
    chance: Random,
    chore: Callable[[], Awaitable[None]] | None = None,
) -> list[Attempt]:
    """Claim or cancel each trade, a few at once, in about this order."""
    made: list[Attempt] = []
    waiting = iter(ids)

    async def run(mine: Iterator[str]) -> None:
        for trade_id in mine:
            made.append(await _attempt(door, trade_id, chance))
            if chore is not None and len(made) % _CHORES_EVERY == 0:
                await chore()

    await asyncio.gather(*(run(waiting) for _ in range(_AT_ONCE)))
    return made


async def _attempt(door: Door, trade_id: str, chance: Random) -> Attempt:
    word = "claim" if chance.random() < 0.7 else "cancel"
    call = door.confirm if word == "claim" else door.cancel
    busy, started = -1, time.perf_counter()
    told: Told | None = None
    while told is None or told.code == "storage":  # Busy: nothing happened, so again.
        told = await call(trade_id)
        busy += 1
    took = time.perf_counter() - started
    won = told.won if word == "claim" else bool(told.body.get("released_buying_power"))
    return [trade_id, word, won, told.status, told.code, took, busy]
