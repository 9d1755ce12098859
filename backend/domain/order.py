"""Orders: what an exchange holds, and what it reports about them.

    sending ──▶ open ──▶ partially_filled ──▶ filled | cancelled | expired
       │  │       └──────────────┴──────────▶ (final only with all fills booked)
       │  └───▶ unknown ──▶ any of the above, or absent
       └──▶ rejected | not_sent

"Cancel requested" is a flag, not a state. The outcome is read from the filled
quantity, never from a status word.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"


class OrderType(StrEnum):
    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"


class TimeInForce(StrEnum):
    DAY = "day"
    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"


class OrderState(StrEnum):
    SENDING = "sending"
    UNKNOWN = "unknown"
    OPEN = "open"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"
    NOT_SENT = "not_sent"
    ABSENT = "absent"


_S = OrderState
LIVE = frozenset({_S.SENDING, _S.UNKNOWN, _S.OPEN, _S.PARTIALLY_FILLED})
UNSETTLED = frozenset({_S.SENDING, _S.UNKNOWN})
FINAL = frozenset(_S) - LIVE

# Every legal edge; a terminal state leaves only on evidence, with an incident.
_SEEN = frozenset({_S.OPEN, _S.PARTIALLY_FILLED, _S.FILLED, _S.CANCELLED, _S.EXPIRED})
ORDER_EDGES: dict[OrderState, frozenset[OrderState]] = {
    _S.SENDING: _SEEN | {_S.UNKNOWN, _S.REJECTED, _S.NOT_SENT},
    _S.UNKNOWN: _SEEN | {_S.REJECTED, _S.ABSENT},
    _S.OPEN: _SEEN - {_S.OPEN} | {_S.REJECTED},
    _S.PARTIALLY_FILLED: frozenset({_S.FILLED, _S.CANCELLED, _S.EXPIRED}),
    **{state: frozenset() for state in FINAL},
}


@dataclass(frozen=True, slots=True)
class OrderTerms:
    """What the caller wants: the part of a plan that is approved and sent.

    Attributes:
        quantity: base units, > 0.
        limit_price, stop_price: quote currency; None where the type has none.
        time_in_force: None means ioc for market and gtc otherwise.
    """

    symbol: str
    side: Side
    quantity: Decimal
    order_type: OrderType
    limit_price: Decimal | None
    stop_price: Decimal | None
    time_in_force: TimeInForce


@dataclass(frozen=True, slots=True)
class Order:
    """One order as it goes to an exchange. What was signed is what was stored (Law 5).

    Attributes:
        client_order_id: the trade_id.
        price: the locked price of a market order; the touch at plan time otherwise.
        worst_price: the price beyond which it must not fill.
        sign_time: the timestamp in the signed request.
        valid_until: the exchange must refuse it after this instant.
        expires_at: when a `day` order ends; None otherwise.
    """

    client_order_id: str
    terms: OrderTerms
    price: Decimal
    worst_price: Decimal
    sign_time: datetime
    valid_until: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution, as the exchange reports it.

    Attributes:
        fee: ≥ 0, in `fee_currency`.
        liquidity: `maker` or `taker`.
    """

    exchange_order_id: str
    exchange_fill_id: str
    client_order_id: str | None
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    fee_currency: str
    liquidity: str
    executed_at: datetime


@dataclass(frozen=True, slots=True)
class OrderReport:
    """What an exchange says of one order: the answer to submit, find, or an event.

    Attributes:
        state: `open`, `partially_filled`, `filled`, `cancelled`, `expired` or `rejected`.
        filled_quantity: the exchange's own total; final once the state is terminal.
        fills: those that came with this report; perhaps not all.
        reason: the exchange's code for a rejection or cancellation, "" if none.
    """

    client_order_id: str
    exchange_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    state: OrderState
    filled_quantity: Decimal
    fills: tuple[Fill, ...] = ()
    reason: str = ""
