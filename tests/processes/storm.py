"""A storm: many processes claim, cancel, sweep and reconcile the same trades on one file.

Some use the home as a library, two are servers, reached over HTTP and MCP. Of each trade
exactly one claim, one cancel or its expiry may win; everybody else is told the truth.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

from backend.domain.clock import from_row
from tests.processes import books
from tests.processes.books import Ours
from tests.processes.doors import Http, Mcp
from tests.processes.rush import Attempt, attempts
from tests.processes.town import Town, town
from tests.processes.zygote import Forked, Zygote

_SERVERS = 2
_ROUND = 100
# So many of ten plans expire in the middle of the rush, which begins so long before.
_EXPIRING, _BEFORE_EXPIRY = 0.2, timedelta(milliseconds=150)
_APART_S = 30
# MCP costs several times an HTTP request: it rushes at one trade of these.
_MCP_EVERY = 5
_ACCOUNT = {"exchange": "paper", "identifier": "rich", "name": "rich", "balance": "999999999"}
_TERMS = {"account_id": "paper:rich", "symbol": "AAPL", "side": "buy", "quantity": "1"}
_CLAIMED = ("executed", "failed")


@dataclass
class Tally:
    """What a storm has seen. `ended` counts trades by how they ended."""

    trades: int = 0
    attempts: int = 0
    busy: int = 0
    seconds: float = 0
    worst_s: float = 0
    ended: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


async def campaign(
    zygote: Zygote,
    folder: Path,
    journal: str,
    processes: int,
    count: int,
    seed: int = 0,
    report: Callable[[Tally], None] = lambda _: None,
) -> Tally:
    """Let `processes` (two of them servers) rush at `count` trades; stop at a violation."""
    tally = Tally()
    async with town(zygote, folder, journal, servers=_SERVERS, simulated=False) as here:
        await here.ask("POST", "/accounts", _ACCOUNT)
        forked = [
            here.fork("storm", journal=journal, settings=here.settings)
            for _ in range(processes - _SERVERS)
        ]
        libraries = [one for one, _ in await asyncio.gather(*forked)]
        try:
            for number in range(0, count, _ROUND):
                size = min(_ROUND, count - number)
                await _round(here, libraries, f"{seed} {number}", size, tally)
                report(tally)
                if tally.wrong:
                    return tally
            tally.wrong += await _afterwards(here)
        finally:
            for library in libraries:
                await library.leave()
        await here.end()
    return tally


async def _round(
    here: Town, libraries: Sequence[Forked], seed: str, count: int, tally: Tally
) -> None:
    ids = await _planned(here, libraries, count)
    Random(seed).shuffle(ids)
    started = time.perf_counter()
    rushes = [one.ask(rush=ids, seed=f"{seed} {n}") for n, one in enumerate(libraries)]
    told = await asyncio.gather(*rushes, *_over_the_wire(here, ids, seed))
    tally.seconds += time.perf_counter() - started
    # Whoever won is not done yet perhaps: its answer was, and the books are read after it.
    ours = books.read_home(here.home).trades
    made = [attempt for many in told for attempt in many]
    tally.wrong += judged(made, {key: ours[key] for key in ids})
    tally.trades += count
    tally.attempts += len(made)
    tally.busy += sum(attempt[6] for attempt in made)
    tally.worst_s = max(tally.worst_s, *(attempt[5] for attempt in made))
    tally.ended.update(ours[key].status for key in ids)


async def _planned(here: Town, libraries: Sequence[Forked], count: int) -> list[str]:
    """Plan, so that the first of them expire soon after now and the others do not."""
    few = max(1, int(count * _EXPIRING))
    early = await libraries[0].ask(plan=few, terms=_TERMS)
    here.clock.advance(_APART_S)
    each = -(-(count - few) // len(libraries))
    more = [
        one.ask(plan=min(each, count - few - each * n), terms=_TERMS)
        for n, one in enumerate(libraries)
        if count - few > each * n
    ]
    ids = [*early["ids"], *(key for made in await asyncio.gather(*more) for key in made["ids"])]
    left = from_row(early["expires_at"]) - here.clock() - _BEFORE_EXPIRY
    here.clock.advance(max(0, left.total_seconds()))
    return ids


def _over_the_wire(here: Town, ids: Sequence[str], seed: str) -> list[Any]:
    token, made = here.token(), []
    for server in here.servers:
        doors = (
            (Http(here.http, server.url, token), ids),
            (Mcp(here.http, server.url, token), ids[::_MCP_EVERY]),
        )
        for door, some in doors:
            made.append(attempts(door, some, Random(f"{seed} {type(door).__name__} {server.url}")))
    return made


def judged(made: Sequence[Attempt], ours: Mapping[str, Ours]) -> list[str]:
    """Return what is wrong: other than one winner of each trade, and answers that lie."""
    wrong = []
    winners = Counter((key, word) for key, word, won, *_ in made if won)
    for key, trade in ours.items():
        claims, cancels = winners[key, "claim"], winners[key, "cancel"]
        expected = (int(trade.status in _CLAIMED), int(trade.status == "cancelled"))
        if (claims, cancels) != expected or trade.status not in (*_CLAIMED, "cancelled", "expired"):
            wrong.append(f"{key} is {trade.status}: {claims} claims and {cancels} cancels won")
    for key, word, _, status, code, *_ in made:
        ended = ours[key].status
        possible = ("executing", "working", ended) if ended in _CLAIMED else (ended,)
        if status not in possible:
            wrong.append(f"{key} is {ended}: a {word} was told {status} ({code})")
    return wrong


async def _afterwards(here: Town) -> list[str]:
    """Hold the books against the exchange's, and the audit against both."""
    theirs = await here.theirs()
    home = books.read_home(here.home)
    wrong = books.violations(home, theirs) + books.differences(home, theirs)
    wrong += books.not_once(here.home)
    return wrong + [str(one) for one in (await here.ask("GET", "/audit/invariants"))["broken"]]
