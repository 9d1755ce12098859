"""A server that trades at random on the disk whose power can go, and what its callers were told.

The power goes at instants chosen by the seed; the server never notices and trades on, so that
one run gives many images. What a caller was told before an instant must be true after it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import httpx

import backend.app
import backend.database
import backend.exchanges.paper as paper
import backend.services.fence
from backend.app import Backend, open_backend
from backend.config import read_config
from backend.database import Durability, choose_durability
from backend.exchanges.paper.faults import FaultScript
from backend.testing import START, FrozenClock
from backend.testing.prices import ChosenPrices
from tests.storage.disk import Disk, standing_in, watched

TRADES, ORDERS = "/api/v1/trading/trades", "/api/v1/trading/orders"
_SYMBOLS = ("AAPL", "SPY")
# Instants between two images; with a rollback journal there are more to one trade.
_GAP_MOST = {"WAL": 45, "DELETE": 150}
_OLD_SQLITE = (3, 40, 1)


@dataclass(frozen=True, slots=True)
class Variant:
    """How a server keeps its data, and whose power goes.

    Attributes:
        mode: the databases' journal mode, `WAL` or `DELETE`.
        both: the exchange's machine is the same one; else it loses nothing.
        synchronous: instead of the product's own, to prove that the images tell.
        journal_syncs: False leaves the send journal's fsync out, for the same reason.
    """

    mode: str
    both: bool = False
    synchronous: str | None = None
    journal_syncs: bool = True

    def durability(self) -> Durability:
        """Return the product's choice for this mode, changed as told."""
        chosen = choose_durability(*((_OLD_SQLITE,) if self.mode == "DELETE" else ()))
        assert chosen.journal_mode == self.mode, f"this SQLite is not safe in {self.mode}"
        return replace(chosen, synchronous=self.synchronous) if self.synchronous else chosen

    def __str__(self) -> str:
        whose = "one machine" if self.both else "exchange elsewhere"
        kept = f"synchronous={self.synchronous}" if self.synchronous else ""
        told = "" if self.journal_syncs else "send journal not synced"
        return ", ".join(filter(None, (self.mode, whose, kept, told)))


class Told(NamedTuple):
    """What a caller was told of one trade."""

    trade_id: str
    status: str
    filled: Decimal | None


@dataclass(frozen=True, slots=True)
class Image:
    """What a loss of power left of a home, and what must be true of it.

    Attributes:
        name: variant, seed and number: what repeats it.
        told: everything that callers were told before.
        sent: orders of which a byte had left.
    """

    name: str
    variant: Variant
    files: dict[str, bytes]
    at: datetime
    told: tuple[Told, ...]
    sent: frozenset[str]


@asynccontextmanager
async def server(
    home: Path, variant: Variant, clock: FrozenClock, prices: ChosenPrices, **more: Any
) -> AsyncIterator[Backend]:
    """Open a backend of this variant."""
    config = read_config({"EXEC_MCP_HOME": str(home), "EXEC_MCP_LOG_LEVEL": "ERROR"})
    given = {"clock": clock, "prices": prices, "background": False, **more}
    with kept_as(variant):
        async with open_backend(config, **given) as opened:
            yield opened


@contextmanager
def kept_as(variant: Variant) -> Iterator[None]:
    """Let the product keep its databases this way. An image counts as the file it is of."""
    durability = variant.durability()
    with ExitStack() as stand_ins:
        for module in (backend.app, paper):
            stand_ins.enter_context(standing_in(module, choose_durability=lambda: durability))
        for place in (backend.database, backend.services.fence):
            stand_ins.enter_context(standing_in(place, place_of=lambda path: path.name))
        yield


def market(clock: FrozenClock) -> ChosenPrices:
    """Return the prices that stand at the beginning."""
    prices = ChosenPrices(clock, listed=_SYMBOLS)
    prices.set("AAPL", "215.38", "215.40")
    prices.set("SPY", "538.18", "538.20")
    return prices


@dataclass
class Trader:
    """Trades at random and remembers what it was told."""

    chance: Random
    clock: FrozenClock
    prices: ChosenPrices
    faults: FaultScript
    backend: Backend
    http: httpx.AsyncClient
    told: list[Told] = field(default_factory=list)
    resting: list[str] = field(default_factory=list)

    async def step(self) -> None:
        """Do one thing, or some at once."""
        chance = self.chance
        act = chance.random()
        if act < 0.65:
            await asyncio.gather(*(self._trade() for _ in range(chance.choice((1, 1, 2, 3)))))
        elif act < 0.75 and self.resting:
            await self._cancel_order(chance.choice(self.resting))
        elif act < 0.85:
            self._move_prices()
            await self._pass(chance.choice((1, 3)))
        elif act < 0.9:
            await self._pass(61)
        else:
            await self._look()

    async def _trade(self) -> None:
        chance = self.chance
        order = {
            "symbol": chance.choice(_SYMBOLS),
            "side": chance.choice(("buy", "buy", "sell")),
            "quantity": str(chance.randint(1, 3)),
        }
        if chance.random() < 0.4:
            order |= {"order_type": "limit", "limit_price": chance.choice(("150", "216", "600"))}
        planned = await self.http.post(TRADES, json=order)
        if planned.status_code != 201:
            return
        trade_id = planned.json()["trade_id"]
        self._hear(planned)
        act = chance.random()
        if act < 0.15:
            self._hear(await self.http.delete(f"{TRADES}/{trade_id}"))
        elif act < 0.9:
            self._disturb()
            confirm = partial(self.http.post, f"{TRADES}/{trade_id}/confirm")
            answers = await asyncio.gather(*(confirm() for _ in range(chance.choice((1, 1, 2)))))
            for answer in answers:
                self._hear(answer)

    def _disturb(self) -> None:
        word = self.chance.random()
        if word < 0.08:
            self.faults.lose_answer()
        elif word < 0.16:
            self.faults.lose_request()
        elif word < 0.2:
            self.faults.reject()
        elif word < 0.24:
            self.faults.unavailable()

    async def _cancel_order(self, trade_id: str) -> None:
        self.resting.remove(trade_id)
        await self.http.delete(f"{ORDERS}/{trade_id}")
        self._hear(await self.http.get(f"{TRADES}/{trade_id}"))

    def _move_prices(self) -> None:
        bid = Decimal(self.chance.choice(("148.00", "215.38", "217.00")))
        self.prices.set("AAPL", bid, bid + Decimal("0.02"))

    async def _pass(self, seconds: int) -> None:
        self.clock.advance(seconds)
        await self.backend.keeper.tick()

    async def _look(self) -> None:
        if self.told:
            trade_id = self.chance.choice(self.told).trade_id
            self._hear(await self.http.get(f"{TRADES}/{trade_id}"))

    def _hear(self, answer: httpx.Response) -> None:
        said = answer.json()
        trade = said.get("trade") or said
        if answer.status_code == 422:
            trade = said.get("trade") or {**said, "status": "failed"}
        status, trade_id = trade.get("status"), trade.get("trade_id")
        if trade_id is None or not isinstance(status, str):
            return
        filled = trade.get("filled_quantity")
        self.told.append(Told(trade_id, status, None if filled is None else Decimal(str(filled))))
        if status == "working" and trade_id not in self.resting:
            self.resting.append(trade_id)


async def images(home: Path, variant: Variant, seed: int, count: int) -> list[Image]:
    """Trade until the power went `count` times; return what it left each time."""
    chance, clock, faults = Random(seed), FrozenClock(START), FaultScript()
    prices, dice = market(clock), Random(seed + 1)
    taken: list[Image] = []
    spared = "" if variant.both else "paper.db*"
    with watched(home, variant.journal_syncs) as disk:
        given = {"faults": faults, "new_id": _ids(seed)}
        async with server(home, variant, clock, prices, **given) as opened:
            token = (home / "agent.token").read_text(encoding="ascii").strip()
            async with opened.http(token) as http:
                trader = Trader(chance, clock, prices, faults, opened, http)

                def take(number: int) -> Image:
                    return Image(
                        f"{variant}, seed {seed}, image {number}",
                        variant,
                        disk.loss(Random(f"{seed} {number}"), spared),
                        clock(),
                        tuple(trader.told),
                        frozenset(order.client_order_id for order in faults.sent),
                    )

                most = _GAP_MOST[variant.mode]
                disk.at_moment = _at_times(disk, lambda: dice.randint(1, most), taken, take, count)
                while len(taken) < count:
                    await trader.step()
                disk.at_moment = lambda moment: None
    return taken


def _at_times(
    disk: Disk,
    gap: Callable[[], int],
    taken: list[Image],
    take: Callable[[int], Image],
    count: int,
) -> Callable[[int], None]:
    """Return what takes an image at random instants from now on."""
    due = disk.moments + gap()

    def at_moment(moment: int) -> None:
        nonlocal due
        if moment >= due and len(taken) < count:
            taken.append(take(len(taken)))
            due = moment + gap()

    return at_moment


def _ids(seed: int) -> Callable[[], str]:
    letters = Random(seed)
    return lambda: "trd-" + "".join(letters.choices("abcdefghijklmnopqrstuvwxyz234567", k=20))
