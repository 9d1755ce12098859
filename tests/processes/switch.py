"""The kill switch, engaged while several servers trade: what commits, and what leaves, after it.

| what                                       | from                                             |
|--------------------------------------------|--------------------------------------------------|
| claims committed after the flag            | the order of the audit's rows                    |
| orders sent after the answer               | when the simulators' process received each order,|
|                                            | and when the operator had the answer             |
| the flag's and the answer's delay          | a process that does nothing else                 |
"""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.processes import books, load
from tests.processes.town import TOUCH, Town, town
from tests.processes.zygote import Forked, Zygote

_SERVERS, _CLIENTS = 2, 6
_ANSWERS_BEFORE, _ANSWERS_AFTER = (10, 40), 20
_MS = 10**6


@dataclass
class Tally:
    """What a campaign has seen; delays in ms.

    Attributes:
        flag_ms: from the request's arrival at the server to its flag, committed.
        sent_ms, answer_ms: from when it was sent to the flag, and to the answer.
        under_way: orders that were being sent when the flag was committed.
    """

    engaged: int = 0
    claims: int = 0
    orders: int = 0
    claims_after: int = 0
    orders_after: int = 0
    under_way: int = 0
    flag_ms: list[float] = field(default_factory=list)
    sent_ms: list[float] = field(default_factory=list)
    answer_ms: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


async def campaign(zygote: Zygote, folder: Path, count: int, seed: int = 0) -> Tally:
    """Engage and release `count` times under load."""
    tally, chance = Tally(), Random(seed)
    async with town(zygote, folder, "WAL", servers=_SERVERS) as here:
        operator, _ = await here.fork("operator", home=str(here.home))
        clients = here.clients(_CLIENTS, chance)
        tasks = [asyncio.create_task(client.run()) for client in clients]
        for _ in range(count):
            await _engage_once(here, operator, tasks, chance, tally)
        await load.stop(tasks)
        await operator.leave()
        tally.wrong += here.memory.wrong + here.complaints()
        told = books.claims_by_switch(here.home)
        tally.claims, tally.claims_after = told
        if tally.claims_after:
            tally.wrong.append(f"{tally.claims_after} claims were committed after a flag")
        tally.wrong += [str(o) for o in (await here.ask("GET", "/audit/invariants"))["broken"]]
        await here.end()
    return tally


async def _engage_once(
    here: Town,
    operator: Forked,
    tasks: list[asyncio.Task[None]],
    chance: Random,
    tally: Tally,
) -> None:
    await here.move_markets(TOUCH)
    await load.reach(here.memory, chance.randint(*_ANSWERS_BEFORE), tasks)
    url = chance.choice(here.servers).url
    engaged = await operator.ask(engage=True, url=url)
    await load.reach(here.memory, _ANSWERS_AFTER, tasks)
    # All that was received until now was received while the switch was engaged, or before.
    received = await _received(here)
    released = await operator.ask(engage=False, url=url)
    for answer in (engaged, released):
        if answer["http"] != 200:
            tally.wrong.append(f"{answer}")
    late = [key for key, at in received if at > engaged["answered"]]
    tally.wrong += [f"{key} was sent after the answer" for key in late]
    tally.orders, tally.orders_after = len(received), tally.orders_after + len(late)
    tally.engaged += 1
    tally.under_way += len(engaged["body"].get("in_flight", ()))
    arrived = max(at for at in here.arrivals() if at < engaged["flag"])
    tally.flag_ms.append((engaged["flag"] - arrived) / _MS)
    tally.sent_ms.append((engaged["flag"] - engaged["sent"]) / _MS)
    tally.answer_ms.append((engaged["answered"] - engaged["sent"]) / _MS)


async def _received(here: Town) -> list[tuple[str, int]]:
    theirs = await here.theirs()
    return [seen for one in theirs.values() for seen in one.received]
