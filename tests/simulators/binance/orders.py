"""Orders and fills as the matching engine keeps them."""

import copy
from dataclasses import dataclass, field
from decimal import Decimal

from .numbers import ZERO

FINAL = frozenset({"FILLED", "CANCELED", "EXPIRED", "EXPIRED_IN_MATCH", "REJECTED"})
STOPS = frozenset({"STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"})
PRICELESS = frozenset({"MARKET", "STOP_LOSS", "TAKE_PROFIT"})
SIDES = {"BUY": "buy", "SELL": "sell"}


@dataclass(frozen=True, slots=True)
class NewOrder:
    """The checked parameters of a new order; a price or quantity not sent is 0."""

    symbol: str
    side: str
    type: str
    quantity: Decimal
    price: Decimal = ZERO
    quote_quantity: Decimal = ZERO
    stop_price: Decimal = ZERO
    time_in_force: str = "GTC"
    client_id: str | None = None
    respond: str = "FULL"
    stp: str | None = None
    strategy_id: int | None = None
    strategy_type: int | None = None

    @property
    def is_stop(self) -> bool:
        return self.type in STOPS


@dataclass(frozen=True, slots=True)
class Fill:
    """One side of a trade that belongs to an account."""

    trade_id: int
    order_id: int
    uid: int
    symbol: str
    price: Decimal
    quantity: Decimal
    quote: Decimal
    fee: Decimal
    fee_asset: str
    time: int
    is_buyer: bool
    is_maker: bool


@dataclass(slots=True)
class Order:
    """One order of an account; times in ms, `working_time` -1 until it is on the book."""

    order_id: int
    uid: int
    symbol: str
    side: str
    type: str
    time_in_force: str
    client_id: str
    quantity: Decimal
    price: Decimal
    quote_quantity: Decimal
    stop_price: Decimal
    stp: str
    time: int
    update_time: int
    strategy_id: int | None = None
    strategy_type: int | None = None
    cancel_id: str | None = None
    status: str = "NEW"
    executed: Decimal = ZERO
    executed_quote: Decimal = ZERO
    prevented: Decimal = ZERO
    prevented_match: int | None = None
    working_time: int = -1
    is_working: bool = False
    expiry_reason: str | None = None
    held_asset: str = ""
    held: Decimal = ZERO
    amends: int = 0
    fills: list[Fill] = field(default_factory=list)
    postings: dict[str, list[Decimal]] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        return self.status not in FINAL

    @property
    def is_buy(self) -> bool:
        return self.side == "BUY"

    @property
    def is_stop(self) -> bool:
        return self.type in STOPS

    @property
    def remaining(self) -> Decimal:
        return self.quantity - self.executed - self.prevented

    @property
    def limit(self) -> Decimal | None:
        """The worst price it may trade at; None for a market order."""
        return None if self.type in PRICELESS else self.price

    def frozen(self) -> "Order":
        """A copy that later news does not change."""
        kept = copy.copy(self)
        kept.fills = list(self.fills)
        return kept
