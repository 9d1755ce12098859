"""kill -9 at a random instant of a live load, a restart, and a look at everything.

A cycle: load through the servers of one home, on paper, Binance and Bitstamp at once;
SIGKILL of all servers, or of one while the other goes on; the markets move, late requests
arrive; new servers start, and their own background work recovers what it can, while the
clock of all processes is put forward where only time proves something. Then our books and
the exchanges' must agree.
"""

import asyncio
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.processes import books, load
from tests.processes.books import Home, Theirs
from tests.processes.town import HIGH, LOW, TOUCH, Town, town
from tests.processes.zygote import Zygote

_CLIENTS = 6
# The kill falls after so many answers at most, and then somewhere between two.
_ANSWERS, _INSTANT_S = 24, 0.02
_TROUBLE = 0.2
_FAULTS = ("lose_answer", "lose_request", "late", "error", "html")
# Beyond the dead keeper's lease; then beyond what both exchanges need to prove absence.
_LEASE_S, _ABSENT_S, _AGAIN_S = 6, 190, 13
_LOOK_EVERY_S, _STILL_S, _GIVE_UP_S = 0.01, 0.3, 60
PER_HOME = 25

PLANNING = "a plan under way"
NOT_CLAIMED = "a confirm before its claim"
NOT_THERE = "claimed, not at the exchange"
NOT_SETTLED = "at the exchange, not settled"
NOT_ANSWERED = "settled, not answered"
CANCELLING = "a cancel under way"
WINDOWS = (PLANNING, NOT_CLAIMED, NOT_THERE, NOT_SETTLED, NOT_ANSWERED, CANCELLING)


@dataclass
class Tally:
    """What a campaign has seen.

    Attributes:
        windows: where the kills fell, by what was found before the restart.
        wrong: every violation, with the cycle in which it was found.
    """

    cycles: int = 0
    trades: int = 0
    orders: int = 0
    seconds: float = 0
    slowest_s: float = 0
    windows: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


async def campaign(
    zygote: Zygote,
    folder: Path,
    journal: str,
    count: int,
    seed: int = 0,
    report: Callable[[Tally], None] = lambda _: None,
) -> Tally:
    """Do `count` cycles, on a new home after each `PER_HOME`, until the first violation.

    Every second home has one server, the others two.
    """
    tally = Tally()
    for number in range(0, count, PER_HOME):
        chance = Random(f"{seed} {number}")
        servers = 2 - number // PER_HOME % 2
        place = folder / f"home-{number}"
        async with town(zygote, place, journal, servers=servers) as here:
            for _ in range(min(PER_HOME, count - number)):
                await _cycle(here, chance, tally, servers)
                report(tally)
                if tally.wrong:
                    return tally
            tally.trades += len(here.memory.planned)
            tally.orders += sum(len(one.orders) for one in (await here.theirs()).values())
            await here.end()
        shutil.rmtree(place)
    return tally


async def _cycle(here: Town, chance: Random, tally: Tally, servers: int) -> None:
    started = time.perf_counter()
    here.memory.lost.clear()
    await _script_trouble(here, chance)
    await _load_and_kill(here, chance, tally)
    await _meanwhile(here, chance)
    await here.start(servers - len(here.servers))
    await _confirm_again(here)
    wrong = await _recovered(here) or await _in_order(here)
    tally.wrong += [f"cycle {tally.cycles} in {here.folder}: {one}" for one in wrong]
    tally.cycles += 1
    took = time.perf_counter() - started
    tally.seconds, tally.slowest_s = tally.seconds + took, max(tally.slowest_s, took)


async def _script_trouble(here: Town, chance: Random) -> None:
    for exchange in ("binance", "bitstamp"):
        if chance.random() < _TROUBLE:
            await here.tell(exchange, "next_submit", chance.choice(_FAULTS))


async def _load_and_kill(here: Town, chance: Random, tally: Tally) -> None:
    """Kill all servers, or one of the two, and look at what lies there."""
    clients = here.clients(_CLIENTS, chance)
    tasks = [asyncio.create_task(client.run()) for client in clients]
    await load.reach(here.memory, chance.randint(0, _ANSWERS), tasks)
    await asyncio.wait(tasks, timeout=chance.uniform(0, _INSTANT_S))
    victims = list(here.servers) if chance.random() < 0.5 else [chance.choice(here.servers)]
    await here.kill(victims)
    urls = [server.url for server in victims]
    broken = [t for t, one in zip(tasks, clients, strict=True) if one.door.url in urls]
    await asyncio.wait(broken)  # Their connections are broken: none of them waits any more.
    place = here.home if here.servers else books.copied(here.home, here.folder / "copy")
    tally.windows.update(_windows(here, await here.theirs(place), books.read_home(place)))
    await load.stop(tasks)


def _windows(here: Town, theirs: Mapping[str, Theirs], ours: Home) -> Iterator[str]:
    """Tell where the kill fell, for each call whose answer was lost."""
    there = {order[0] for one in theirs.values() for order in one.orders}
    for what, trade_id in here.memory.lost:
        trade = ours.trades.get(trade_id)
        if what != "confirm" or trade is None:
            yield PLANNING if what == "plan" else CANCELLING
        elif trade.state is None:
            yield NOT_CLAIMED
        elif trade.state in books.UNSETTLED:
            yield NOT_SETTLED if trade_id in there else NOT_THERE
        else:
            yield NOT_ANSWERED


async def _meanwhile(here: Town, chance: Random) -> None:
    """Time passes while servers are dead: late requests arrive, markets move."""
    late_first = chance.random() < 0.5
    if late_first:
        await _deliver_late(here)
    here.clock.advance(_LEASE_S)
    if not late_first:
        await _deliver_late(here)
    await here.move_markets(*((LOW, HIGH) if chance.random() < 0.5 else ()), TOUCH)


async def _deliver_late(here: Town) -> None:
    for exchange in ("binance", "bitstamp"):
        await here.tell(exchange, "deliver_late")


async def _confirm_again(here: Town) -> None:
    """Do what a client does that lost an answer: ask again, at another server perhaps."""
    lost = [trade_id for what, trade_id in here.memory.lost if what == "confirm"]
    clients = here.clients(len(here.servers), Random(0))
    await asyncio.gather(
        *(clients[n % len(clients)].confirm(trade_id) for n, trade_id in enumerate(lost))
    )


async def _recovered(here: Town) -> list[str]:
    """Wait until all books agree, putting the clock forward where only time proves something.

    Returns:
        what may never be so, or what still differs when there is nothing left to wait for.
    """
    taken, before = 0, [""]
    stepped = since = time.monotonic()
    while True:
        theirs = await here.theirs()
        ours = books.read_home(here.home)
        if wrong := books.violations(ours, theirs):
            return wrong
        differs = books.differences(ours, theirs)
        if not differs:
            return []
        waiting = [t.not_found for t in ours.trades.values() if t.state in books.UNSETTLED]
        now = time.monotonic()
        if (moved := [*differs, *map(str, waiting)]) != before:
            before, since = moved, now
        if now - since > _GIVE_UP_S:
            return differs
        if (waiting and min(waiting) >= taken) or now - max(since, stepped) > _STILL_S:
            here.clock.advance(_AGAIN_S if taken else _ABSENT_S)
            taken, stepped = taken + 1, now
        await asyncio.sleep(_LOOK_EVERY_S)


async def _in_order(here: Town) -> list[str]:
    """Hold what clients were told, and the invariants, against the books."""
    memory, ours = here.memory, books.read_home(here.home)
    wrong = [*memory.wrong, *here.complaints()]
    wrong += [f"{key} was planned and is gone" for key in memory.planned if key not in ours.trades]
    wrong += [f"{count} confirms of {key} won" for key, count in memory.won.items() if count > 1]
    wrong += [
        f"{key} was told {status}, is {ours.trades[key].status}"
        for key, status in memory.told.items()
        if key in ours.trades and ours.trades[key].status != status
    ]
    return wrong + await _invariants(here)


async def _invariants(here: Town) -> list[str]:
    """Return what is broken, once the server had its turn since the clock was put forward."""
    until = time.monotonic() + _GIVE_UP_S
    while True:
        told = await here.ask("GET", "/audit/invariants")
        broken = [str(one) for one in told["broken"]]
        only_late = broken and all(one.startswith("I-12") for one in broken)
        if not only_late or time.monotonic() > until:
            return broken
        await asyncio.sleep(_LOOK_EVERY_S)
