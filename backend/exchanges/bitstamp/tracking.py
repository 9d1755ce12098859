"""What order events and trades make of orders: the stream's frames and the replay's rows.

An event's `amount_traded` is that event's alone; what is filled is what the order began
with less what is left. Prices and fees come with trades only, in any order with events.
"""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from backend.domain.money import ZERO
from backend.domain.order import Fill, OrderReport, OrderState, Side
from backend.exchanges.bitstamp.fields import (
    micro_moment,
    number,
    optional_text,
    side,
    text,
    unsigned,
)
from backend.exchanges.bitstamp.orders import (
    LIQUIDITY,
    Memory,
    Reply,
    in_order,
    quote_of,
    remember,
)

DELETED = "order_deleted"
_DAILY = "3"


@dataclass(slots=True)
class Tracked:
    """One order, as far as it was told.

    Attributes:
        first_seen, last_seen: the times of the first and the last event that told of it.
        quantity: 0 until an event tells it.
        ended: None while it lives.
    """

    client_order_id: str
    exchange_order_id: str
    symbol: str
    side: Side
    first_seen: datetime
    last_seen: datetime
    quantity: Decimal = ZERO
    filled: Decimal = ZERO
    ended: OrderState | None = None
    fills: dict[str, Fill] = field(default_factory=dict)

    def report(self) -> OrderReport | None:
        """Return what is known now; None before its quantity is."""
        if not self.quantity:
            return None
        filled = max(self.filled, sum((f.quantity for f in self.fills.values()), ZERO))
        state = OrderState.PARTIALLY_FILLED if filled else OrderState.OPEN
        if self.ended is not None:
            state = OrderState.FILLED if filled == self.quantity else self.ended
        return OrderReport(
            self.client_order_id,
            self.exchange_order_id,
            self.symbol,
            self.side,
            self.quantity,
            state,
            filled,
            in_order(list(self.fills.values())),
        )


class Tracker:
    """The orders that were told of, by the exchange's id."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.orders: dict[str, Tracked] = {}

    def take_event(self, symbol: str, event: str, data: Reply) -> Tracked:
        """Take one order event.

        Raises:
            ValueError, KeyError, TypeError: it is not one.
        """
        order_id, at = text(data.get("id_str") or data["id"]), micro_moment(data["microtimestamp"])
        name = optional_text(data.get("client_order_id")) or self._memory.names.get(order_id, "")
        which = side(data["order_type"])
        tracked = self.orders.get(order_id)
        if tracked is None:
            tracked = Tracked(name, order_id, symbol, which, at, at)
            remember(self.orders, order_id, tracked)
        tracked.client_order_id, tracked.last_seen = name, at
        if name:
            remember(self._memory.names, order_id, name)
        quantity, left = unsigned(data["amount_at_create"]), unsigned(data["amount_str"])
        if quantity:
            tracked.quantity = quantity
            tracked.filled = max(tracked.filled, quantity - left)
        if event == DELETED:
            tracked.ended = _end_of(data, at)
        return tracked

    def take_trade(self, symbol: str, data: Reply) -> Tracked | None:
        """Take one trade; None: its order is not known here.

        Raises:
            ValueError, KeyError, TypeError: it is not one.
        """
        order_id, fill_id = text(data["order_id"]), text(data.get("id_str") or data["id"])
        tracked = self.orders.get(order_id)
        if tracked is None:
            return None
        fill = Fill(
            exchange_order_id=order_id,
            exchange_fill_id=fill_id,
            client_order_id=tracked.client_order_id or None,
            symbol=symbol,
            side=side(data["side"]),
            quantity=unsigned(data["amount"]),
            price=unsigned(data["price"]),
            fee=abs(number(data["fee"])),
            fee_currency=quote_of(symbol),
            liquidity=LIQUIDITY,
            executed_at=micro_moment(data["microtimestamp"]),
        )
        if fill.quantity:
            tracked.fills[fill_id] = fill
        return tracked


def _end_of(data: Reply, at: datetime) -> OrderState:
    """Return how an order ended that was not filled: a daily one expires at 00:00 UTC."""
    daily = optional_text(data.get("order_subtype")) == _DAILY
    if daily and (at.hour, at.minute) == (0, 0):
        return OrderState.EXPIRED
    return OrderState.CANCELLED
