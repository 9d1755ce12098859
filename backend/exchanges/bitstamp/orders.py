"""Orders and fills as the exchange's replies tell them.

Each function raises ValueError, KeyError or TypeError for what it does not understand:
`understood` turns those into an unknown outcome.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TypeVar

from backend.domain.errors import OutcomeUnknown
from backend.domain.money import ZERO, to_text
from backend.domain.order import (
    Fill,
    Order,
    OrderReport,
    OrderState,
    OrderType,
    Side,
    TimeInForce,
)
from backend.exchanges.bitstamp.fields import (
    Row,
    id_in,
    moment,
    number,
    optional_text,
    rows,
    side,
    text,
    unsigned,
)

Reply = Row
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

# Anything else, such as `In Queue`, is not an end.
_ENDS = {
    "Finished": OrderState.CANCELLED,
    "Canceled": OrderState.CANCELLED,
    "Expired": OrderState.EXPIRED,
}
_FLAGS = {
    TimeInForce.IOC: "ioc_order",
    TimeInForce.FOK: "fok_order",
    TimeInForce.DAY: "daily_order",
}
_TRADE = "2"
# The exchange does not tell which side of a trade it was.
LIQUIDITY = "taker"
_REMEMBERED = 20_000


@contextmanager
def understood(**facts: str) -> Iterator[None]:
    """Turn an answer that cannot be read into an unknown outcome: it is no evidence."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise OutcomeUnknown(
            f"the exchange's answer was not understood ({type(error).__name__})", **facts
        ) from None


@dataclass(slots=True)
class Memory:
    """What this connection knows of orders beyond what a reply repeats; the newest only.

    Attributes:
        names: client order ids by the exchange's.
        quantities: what was ordered, by client order id.
        ended: the whole quantities of ended orders that were checked, by the exchange's id.
        claimed: the exchange's ids as it answered them to submits, by client order id.
    """

    names: dict[str, str] = field(default_factory=dict)
    quantities: dict[str, Decimal] = field(default_factory=dict)
    ended: dict[str, Decimal] = field(default_factory=dict)
    claimed: dict[str, str] = field(default_factory=dict)

    def quantity_of(self, report: OrderReport) -> Decimal | None:
        """Return what was ordered at least, None where nothing is known of it."""
        ended = self.ended.get(report.exchange_order_id)
        return self.quantities.get(report.client_order_id, ended)

    def see(self, report: OrderReport) -> None:
        """Remember whose order it is."""
        if report.client_order_id:
            remember(self.names, report.exchange_order_id, report.client_order_id)


def remember(kept: dict[_Key, _Value], key: _Key, value: _Value) -> None:
    """Keep a value, and forget the oldest beyond some thousands."""
    kept.pop(key, None)
    kept[key] = value
    if len(kept) > _REMEMBERED:
        del kept[next(iter(kept))]


def terms_of(order: Order) -> dict[str, str]:
    """Return the form of an order; a market order goes as limit IOC at its worst price.

    Raises:
        ValueError: a type that this exchange does not take.
    """
    terms = order.terms
    if terms.order_type is OrderType.MARKET:
        price, time_in_force = order.worst_price, TimeInForce.IOC
    elif terms.order_type is OrderType.LIMIT and terms.limit_price is not None:
        price, time_in_force = terms.limit_price, terms.time_in_force
    else:
        raise ValueError(f"bitstamp takes market and limit orders, was {terms.order_type}")
    params = {
        "amount": to_text(terms.quantity),
        "price": to_text(price),
        "client_order_id": order.client_order_id,
    }
    if time_in_force in _FLAGS:
        params[_FLAGS[time_in_force]] = "True"
    return params


def accepted(reply: Reply, order: Order, sent: Mapping[str, str]) -> OrderReport:
    """Return what an accepted order's reply tells: that it is open, and nothing of fills.

    Raises:
        OutcomeUnknown: the reply is not about what was sent; with `order_id` if it has one.
    """
    terms, order_id = order.terms, id_in(reply, "id")
    facts = {"order_id": order_id} if order_id else {}
    with understood(**facts):
        text(reply["id"])
        echo = (
            reply["market"],
            side(reply["type"]),
            number(reply["price"]),
            number(reply["amount"]),
            reply.get("client_order_id"),
        )
    asked = (
        terms.symbol,
        terms.side,
        number(sent["price"]),
        terms.quantity,
        order.client_order_id,
    )
    if echo != asked:
        raise OutcomeUnknown(
            "the exchange accepted an order, and not the one that was sent", **facts
        )
    return OrderReport(
        order.client_order_id,
        order_id,
        terms.symbol,
        terms.side,
        terms.quantity,
        OrderState.OPEN,
        ZERO,
    )


def looked_up(reply: Reply, client_order_id: str) -> OrderReport:
    """Return what `order_status` tells. The original quantity is what is filled and left.

    Raises:
        OutcomeUnknown: it is about an order of another client id.
    """
    symbol, order_id = text(reply["market"]), text(reply["id"])
    name = optional_text(reply.get("client_order_id"))
    if name and client_order_id and name != client_order_id:
        raise OutcomeUnknown("the exchange answered about an order of another client id")
    name = name or client_order_id
    which = side(reply["type"])
    fills = [
        _fill(row, text(row["tid"]), order_id, name, symbol, which)
        for row in rows(reply["transactions"])
    ]
    fills = [fill for fill in fills if fill.quantity]
    filled, left = sum((f.quantity for f in fills), ZERO), unsigned(reply["amount_remaining"])
    return OrderReport(
        name,
        order_id,
        symbol,
        which,
        filled + left,
        state_of(text(reply["status"]), filled, left),
        filled,
        in_order(fills),
        reason=_reason(reply["status"], left),
    )


def state_of(status: str, filled: Decimal, left: Decimal) -> OrderState:
    """Return the state: an end is read from what is left, not from its word."""
    end = _ENDS.get(status)
    if end is None:
        return OrderState.PARTIALLY_FILLED if filled else OrderState.OPEN
    return OrderState.FILLED if filled and not left else end


def _reason(status: str, left: Decimal) -> str:
    return status.lower() if status in _ENDS and left else ""


def open_row(row: Reply) -> OrderReport:
    """Return one row of `open_orders`; its `amount` is what is left."""
    left = unsigned(row["amount"])
    quantity = unsigned(row.get("amount_at_create", row["amount"]))
    filled = quantity - left
    if filled < 0:
        raise ValueError("more is left than was ordered")
    return OrderReport(
        optional_text(row.get("client_order_id")),
        text(row["id"]),
        text(row["market"]),
        side(row["type"]),
        quantity,
        OrderState.PARTIALLY_FILLED if filled else OrderState.OPEN,
        filled,
    )


def trade_row(row: Reply, symbol: str, names: Mapping[str, str]) -> Fill | None:
    """Return the fill that a row of `user_transactions` tells, or None: it is no trade."""
    if text(row["type"]) != _TRADE or row.get("order_id") is None:
        return None
    bought = number(row[_base(symbol)])
    if not bought:
        return None
    which = Side.BUY if bought > 0 else Side.SELL
    order_id = text(row["order_id"])
    base, quote = symbol.lower().split("/")
    priced = {**row, "price": row[f"{base}_{quote}"]}
    return _fill(priced, text(row["id"]), order_id, names.get(order_id), symbol, which)


def _fill(
    row: Reply, fill_id: str, order_id: str, name: str | None, symbol: str, which: Side
) -> Fill:
    """Return a fill; its quantity stands under the base currency's name, among other keys."""
    return Fill(
        exchange_order_id=order_id,
        exchange_fill_id=fill_id,
        client_order_id=name or None,
        symbol=symbol,
        side=which,
        quantity=abs(number(row[_base(symbol)])),
        price=unsigned(row["price"]),
        fee=abs(number(row["fee"])),
        fee_currency=quote_of(symbol),
        liquidity=LIQUIDITY,
        executed_at=moment(row["datetime"]),
    )


def quantity_in(fills: Iterable[Fill], order_id: str) -> Decimal:
    """Return what an order's fills add up to."""
    return sum((f.quantity for f in fills if f.exchange_order_id == order_id), ZERO)


def in_order(fills: list[Fill]) -> tuple[Fill, ...]:
    """Return fills oldest first; ids of one moment grow."""
    return tuple(sorted(fills, key=lambda f: (f.executed_at, _as_number(f.exchange_fill_id))))


def order_age(order_id: str, placed: datetime) -> tuple[datetime, int]:
    """Return what sorts orders oldest first; ids of one moment grow."""
    return placed, _as_number(order_id)


def _as_number(identifier: str) -> int:
    return int(identifier) if identifier.isdecimal() else 0


def quote_of(symbol: str) -> str:
    """Return the currency in which a symbol is paid."""
    return symbol.partition("/")[2]


def _base(symbol: str) -> str:
    return symbol.partition("/")[0].lower()
