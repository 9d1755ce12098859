"""Price-time priority matching for one symbol: pure, no clock, no balances, Decimal only."""

import operator
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal

OPPOSITE = {"buy": "sell", "sell": "buy"}


@dataclass(slots=True)
class Resting:
    """An order waiting on the book; `remaining` falls as it is taken."""

    order_id: int
    owner: str
    side: str
    price: Decimal
    remaining: Decimal


@dataclass(frozen=True, slots=True)
class Match:
    """One execution against a resting order, at the resting order's price."""

    maker: Resting
    price: Decimal
    quantity: Decimal


class Book:
    """The resting orders of one symbol, best price first, then oldest first."""

    def __init__(self) -> None:
        self._orders: dict[int, Resting] = {}
        self._levels: dict[str, dict[Decimal, dict[int, Resting]]] = {"buy": {}, "sell": {}}
        self._prices: dict[str, list[Decimal]] = {"buy": [], "sell": []}

    @property
    def best_bid(self) -> Decimal | None:
        """The highest price somebody pays, None on an empty side."""
        return self._best("buy")

    @property
    def best_ask(self) -> Decimal | None:
        """The lowest price somebody asks, None on an empty side."""
        return self._best("sell")

    def __contains__(self, order_id: int) -> bool:
        return order_id in self._orders

    def get(self, order_id: int) -> Resting | None:
        """The resting order of this id; lowering its `remaining` keeps its place."""
        return self._orders.get(order_id)

    def rest(self, order: Resting) -> None:
        """Queue an order behind everything at its price. Raises ValueError if the id is here."""
        if order.order_id in self._orders:
            raise ValueError(f"order {order.order_id} rests already")
        levels = self._levels[order.side]
        if order.price not in levels:
            levels[order.price] = {}
            insort(self._prices[order.side], order.price, key=_rank(order.side))
        levels[order.price][order.order_id] = order
        self._orders[order.order_id] = order

    def remove(self, order_id: int) -> Resting | None:
        """Take an order off the book; None if it is not there."""
        order = self._orders.pop(order_id, None)
        if order is None:
            return None
        level = self._levels[order.side][order.price]
        del level[order_id]
        if not level:
            self._drop_level(order.side, order.price)
        return order

    def facing(self, side: str, limit: Decimal | None) -> Iterator[Resting]:
        """The orders a taker of this side would meet, in order; change the book only after."""
        against = OPPOSITE[side]
        for price in reversed(self._prices[against]):
            if not _crosses(side, price, limit):
                return
            yield from self._levels[against][price].values()

    def fillable(self, side: str, quantity: Decimal, limit: Decimal | None) -> Decimal:
        """How much of `quantity` would execute now; nothing is executed."""
        found = Decimal(0)
        for order in self.facing(side, limit):
            found += order.remaining
            if found >= quantity:
                return quantity
        return found

    def take(self, side: str, quantity: Decimal, limit: Decimal | None) -> list[Match]:
        """Execute against the book, best first; lowers the makers, removes the emptied ones."""
        matches: list[Match] = []
        for order in self.facing(side, limit):
            if quantity <= 0:
                break
            traded = min(quantity, order.remaining)
            matches.append(Match(order, order.price, traded))
            quantity -= traded
        for match in matches:
            match.maker.remaining -= match.quantity
            if match.maker.remaining <= 0:
                self.remove(match.maker.order_id)
        return matches

    def levels(self, side: str, depth: int) -> list[tuple[Decimal, Decimal]]:
        """(price, total quantity) of the best `depth` prices of the "buy" or "sell" side."""
        prices = self._prices[side][: -depth - 1 : -1]
        return [(price, self._total(side, price)) for price in prices]

    def owned_by(self, owner: str) -> list[Resting]:
        """Every resting order of one owner, oldest first."""
        return [order for order in self._orders.values() if order.owner == owner]

    def _best(self, side: str) -> Decimal | None:
        prices = self._prices[side]
        return prices[-1] if prices else None

    def _total(self, side: str, price: Decimal) -> Decimal:
        return sum((order.remaining for order in self._levels[side][price].values()), Decimal(0))

    def _drop_level(self, side: str, price: Decimal) -> None:
        del self._levels[side][price]
        rank = _rank(side)
        del self._prices[side][bisect_left(self._prices[side], rank(price), key=rank)]


def _rank(side: str) -> Callable[[Decimal], Decimal]:
    """Sorts a side so that its best price comes last, where a list is cheap to change."""
    return operator.pos if side == "buy" else operator.neg


def _crosses(side: str, price: Decimal, limit: Decimal | None) -> bool:
    if limit is None:
        return True
    return price <= limit if side == "buy" else price >= limit
