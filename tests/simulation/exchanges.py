"""The exchanges of a simulated world: one small language for the paper book and both simulators."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from backend.database import Row, sqlite3
from backend.exchanges.paper.faults import FaultScript
from backend.testing.prices import ChosenPrices
from tests.matrix.sides import SIDES, BinanceSide, BitstampSide, ExchangeSide

D = Decimal

BID, ASK = D(49990), D(50000)

# What may go wrong with an order's request, in words that every exchange here knows.
SUBMITS = (
    *("lose_answer", "lose_request", "late", "error", "html", "error_not_taken"),
    *("truncated", "no_funds", "duplicate_id", "hidden"),
)

Booked = tuple[str, Decimal, Decimal, Decimal]


@dataclass(frozen=True, slots=True)
class Theirs:
    """One order by the exchange's own books.

    Attributes:
        fills: id, quantity, price and fee of each.
    """

    account_id: str
    trade_id: str
    quantity: Decimal
    live: bool
    fills: frozenset[Booked]

    @property
    def filled(self) -> Decimal:
        return sum((fill[1] for fill in self.fills), D(0))


class Traded(ABC):
    """An exchange that accounts of ours trade at.

    Attributes:
        symbols: what is traded here, in our spelling.
        account_ids: our accounts there.
        faulty: words of `SUBMITS` that it knows.
        absent_after_s: how long absence takes to be proved.
    """

    name: str
    symbols: tuple[str, ...]
    account_ids: tuple[str, ...]
    faulty: tuple[str, ...] = SUBMITS
    absent_after_s: float
    step = D("0.001")

    @abstractmethod
    def touch(self, bid: Decimal, ask: Decimal, depth: str) -> None:
        """Move the market."""

    @abstractmethod
    def stranger(self, side: str, quantity: str) -> None:
        """Let somebody take from the book around the touch."""

    @abstractmethod
    def next_submit(self, word: str) -> None:
        """Let the next order go wrong."""

    @abstractmethod
    def next_cancel(self, word: str) -> None:
        """Let the next cancel go wrong: `lose_answer` or `lose_request`."""

    @abstractmethod
    def look_ups(self, word: str | None) -> None:
        """Let look-ups fail until None: `denied`, `limited`, `html`, `lost`."""

    @abstractmethod
    def show(self) -> None:
        """Let look-ups see everything again."""

    @abstractmethod
    async def deliver_late(self) -> None:
        """Let the late requests arrive."""

    @abstractmethod
    def stream(self, word: str, count: int) -> None:
        """Bend the private stream: `drop`, `double`, `silence`, `last`."""

    @abstractmethod
    async def break_stream(self) -> None:
        """Break every private connection."""

    @abstractmethod
    def key(self, good: bool) -> None:
        """Refuse our keys, or take them again."""

    @abstractmethod
    def fees(self, rate: str) -> None:
        """Let the accounts pay this fraction."""

    @abstractmethod
    def cancel_by_hand(self, chance: float) -> None:
        """Cancel one of our live orders, as a person would on the exchange's own page."""

    @abstractmethod
    def calm(self) -> None:
        """Withdraw every fault."""

    @abstractmethod
    def received(self) -> list[str]:
        """Return the trade id of every order request of which a byte arrived."""

    @abstractmethod
    def theirs(self) -> list[Theirs]:
        """Return our orders by the exchange's own books."""

    @abstractmethod
    def balances(self, account_id: str) -> dict[str, Decimal]:
        """Return the totals that are not zero."""


class Paper(Traded):
    """The paper exchange: part of the product, with its book in `paper.db`."""

    name = "paper"
    symbols = ("BTC/USD", "LTC/USD")
    account_ids = ("paper:main", "paper:second")
    faulty = ("lose_answer", "lose_request", "late", "no_funds", "unavailable", "partial")
    absent_after_s = 3

    def __init__(self, home: Path, prices: ChosenPrices, dice: random.Random) -> None:
        self.prices = prices
        self.faults = FaultScript()
        self._home = home
        self._dice = dice

    def touch(self, bid: Decimal, ask: Decimal, depth: str) -> None:
        for symbol in self.symbols:
            self.prices.set(symbol, bid, ask)

    def stranger(self, side: str, quantity: str) -> None:
        """There is nobody else."""

    def next_submit(self, word: str) -> None:
        if word == "late":
            self.faults.delay(self._dice.randint(1, 3))
        elif word == "no_funds":
            self.faults.reject()
        elif word == "partial":
            self.faults.partial(self.step)
        else:
            getattr(self.faults, word)()

    def next_cancel(self, word: str) -> None:
        """Its cancels do not fail."""

    def look_ups(self, word: str | None) -> None:
        self.faults._lookups.clear()
        if word is not None:
            self.faults.fail_lookups(12, unavailable=word == "denied")

    def show(self) -> None:
        """It hides nothing: its look-ups are authoritative."""

    async def deliver_late(self) -> None:
        """They arrive by themselves, in time."""

    def stream(self, word: str, count: int) -> None:
        if word == "double":
            self.faults.duplicate_events()
        elif word == "last":
            self.faults.reorder_events()
        else:
            self.faults.drop_stream()

    async def break_stream(self) -> None:
        self.faults.drop_stream()

    def key(self, good: bool) -> None:
        """It has none."""

    def fees(self, rate: str) -> None:
        """They are a setting."""

    def cancel_by_hand(self, chance: float) -> None:
        """It has no page of its own."""

    def calm(self) -> None:
        self.faults._lookups.clear()
        self.faults._submits.clear()
        self.faults._stream.clear()

    def received(self) -> list[str]:
        return [order.client_order_id for order in self.faults.sent]

    def theirs(self) -> list[Theirs]:
        orders = self._rows("SELECT * FROM orders ORDER BY account, number")
        fills = self._rows("SELECT * FROM fills ORDER BY account, number")
        told: dict[tuple[str, int], set[Booked]] = {}
        for f in fills:
            one = (f"f-{f['number']}", D(f["quantity"]), D(f["price"]), D(f["fee"]))
            told.setdefault((f["account"], f["order_number"]), set()).add(one)
        return [
            Theirs(
                f"paper:{o['account']}",
                o["client_order_id"],
                D(o["quantity"]),
                o["state"] in ("open", "partially_filled"),
                frozenset(told.get((o["account"], o["number"]), ())),
            )
            for o in orders
        ]

    def balances(self, account_id: str) -> dict[str, Decimal]:
        rows = self._rows("SELECT * FROM balances")
        mine = [r for r in rows if f"paper:{r['account']}" == account_id]
        return {r["currency"]: D(r["total"]) for r in mine if D(r["total"])}

    def _rows(self, sql: str) -> list[Row]:
        path = self._home / "paper.db"
        connection = sqlite3.connect(path)
        connection.row_factory = sqlite3.Row
        try:
            return list(connection.execute(sql))
        finally:
            connection.close()


class Simulated(Traded):
    """Binance or Bitstamp, as their simulators play them."""

    def __init__(self, name: str, clock: Callable[[], datetime]) -> None:
        self.name = name
        self.side: ExchangeSide = SIDES[name](clock)
        self.symbols = (self.side.symbol,)
        self.absent_after_s = self.side.absent_after_s + 4 * self.side.spacing_s
        self.account_ids = ()
        self._touch = (str(BID), str(ASK))

    @property
    def sim(self) -> Any:
        assert isinstance(self.side, BinanceSide | BitstampSide)
        return self.side.sim

    async def start(self) -> None:
        """Listen, with one account of ours."""
        await self.side.start()
        self.account_ids = (f"{self.name}:{self.side.identifier}",)

    async def stop(self) -> None:
        await self.side.stop()

    def touch(self, bid: Decimal, ask: Decimal, depth: str) -> None:
        self._touch = (str(bid), str(ask))
        self.side.touch(*self._touch, depth)
        if isinstance(self.side, BinanceSide):  # What triggers stops.
            self.side.sim.print_trade(self.side.code, str(bid))

    def stranger(self, side: str, quantity: str) -> None:
        bid, ask = map(D, self._touch)
        self.side.stranger(side, str(ask + 5 if side == "buy" else bid - 5), quantity)

    def next_submit(self, word: str) -> None:
        if word == "hidden" and isinstance(self.side, BinanceSide):
            self.side.sim.lag("myTrades", True)
        self.side.next_submit(word)

    def next_cancel(self, word: str) -> None:
        self.side.next_cancel(word)

    def look_ups(self, word: str | None) -> None:
        self.side.look_ups(None)
        if word is not None:
            self.side.look_ups(word)

    def show(self) -> None:
        self.side.unhide()
        if isinstance(self.side, BinanceSide):
            self.side.sim.lag("myTrades", False)

    async def deliver_late(self) -> None:
        await self.side.deliver_late()

    def stream(self, word: str, count: int) -> None:
        if word == "drop":
            self.side.drop_events(count)
        elif word == "double":
            self.side.double_events(count)
        elif word == "last":
            self.side.fills_last()
        else:
            self.side.silence(True)

    async def break_stream(self) -> None:
        await self.side.break_stream()

    def key(self, good: bool) -> None:
        if isinstance(self.side, BinanceSide):
            for key in self.side.sim.world.keys.values():
                key.revoked = not good
        else:
            for known in self.sim._gatekeeper.keys.values():
                known.refused_with = "" if good else "API0001"

    def fees(self, rate: str) -> None:
        self.side.set_fees(rate)

    def cancel_by_hand(self, chance: float) -> None:
        live = [o.client_order_id for o in self.side.theirs() if o.live and o.client_order_id]
        if live:
            self.side.cancel_by_hand(live[int(chance * len(live))])

    def calm(self) -> None:
        self.look_ups(None)
        self.show()
        self.key(good=True)
        self.side.silence(False)
        if isinstance(self.side, BinanceSide):
            for target in ("order", "cancel", "user", "query"):
                self.side.sim.withdraw(target)
        else:
            self.sim.faults.clear()
            self.sim.stream._dropping.clear()
            self.sim.stream._doubling.clear()
            self.sim.engine.feed.trades_last = False

    def received(self) -> list[str]:
        return self.side.orders_received()

    def theirs(self) -> list[Theirs]:
        found = []
        for order in self.side.theirs():
            if not (order.client_order_id or "").startswith("trd-"):
                continue
            assert order.client_order_id is not None
            fills = self._fills(order.client_order_id)
            one = Theirs(
                self.account_ids[0], order.client_order_id, order.quantity, order.live, fills
            )
            assert one.filled == order.filled, "the simulator's own books do not add up"
            found.append(one)
        return found

    def _fills(self, trade_id: str) -> frozenset[Booked]:
        if isinstance(self.side, BinanceSide):
            ours = {o.order_id for o in self.side.sim.orders if o.client_id == trade_id}
            return frozenset(
                (str(f.trade_id), f.quantity, f.price, f.fee)
                for f in self.side.sim.fills
                if f.order_id in ours
            )
        return frozenset(
            (str(f.trade.trade_id), f.trade.quantity, f.price, f.fee)
            for f in self.sim.fills
            if f.order.client_order_id == trade_id
        )

    def balances(self, account_id: str) -> dict[str, Decimal]:
        return self.side.balances()
