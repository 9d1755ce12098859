"""What the simulated exchange keeps: accounts, orders, trades and fills."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from tests.simulators.bitstamp.markets import Market

SUBTYPES = {
    "limit": 0,
    "instant": 1,
    "market": 2,
    "daily": 3,
    "ioc": 4,
    "moc": 5,
    "fok": 6,
    "gtd": 8,
}
TAKES_ANY_PRICE = ("market", "instant")
NEVER_RESTS = ("market", "instant", "ioc", "fok")
BOUNDS = {"buy": Decimal(999_999_999), "sell": Decimal(0)}


@dataclass(slots=True, eq=False)
class Account:
    """A main account (trade_account_id 0) or a sub-account of one; totals by currency."""

    user_id: int
    key: str
    secret: str = field(repr=False)
    balances: dict[str, Decimal]
    maker_percent: Decimal
    taker_percent: Decimal
    trade_account_id: int = 0
    parent: Account | None = None
    tradable: frozenset[str] | None = None
    is_house: bool = False

    @property
    def family(self) -> Account:
        """The main account: trades inside a family are self-trades."""
        return self.parent or self

    @property
    def worse_fee(self) -> Decimal:
        """The worse of maker and taker, as a fraction."""
        return max(self.maker_percent, self.taker_percent) / 100


@dataclass(slots=True, eq=False)
class Order:
    """One order; `price` is None for market and instant orders."""

    order_id: int
    account: Account
    market: Market
    side: str
    kind: str
    price: Decimal | None
    quantity: Decimal
    client_order_id: str | None
    created: datetime
    expires: datetime | None = None
    remaining: Decimal = Decimal(0)
    status: str = "Open"
    closed: datetime | None = None
    hidden: bool = False
    cancel_pending: bool = False
    fills: list[Fill] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.remaining = self.quantity

    @property
    def shown_price(self) -> Decimal:
        """The price events and replies carry: of a market order a bound, then the last match."""
        if self.price is not None:
            return self.price
        return self.fills[-1].price if self.fills else BOUNDS[self.side]

    @property
    def reserved(self) -> tuple[str, Decimal]:
        """The currency and how much of it the open part holds, fee included."""
        if self.side == "sell":
            return self.market.base, self.remaining
        value = self.remaining * (self.price or Decimal(0))
        return self.market.counter, value * (1 + self.account.worse_fee)


@dataclass(frozen=True, slots=True, eq=False)
class Trade:
    """One match between two orders."""

    trade_id: int
    market: Market
    price: Decimal
    quantity: Decimal
    cost: Decimal
    at: datetime
    taker_side: str
    buy: Order
    sell: Order

    @property
    def is_self_trade(self) -> bool:
        """Both sides belong to one family."""
        return self.buy.account.family is self.sell.account.family


@dataclass(frozen=True, slots=True, eq=False)
class Fill:
    """One order's part in a trade; the fee is in the counter currency."""

    trade: Trade
    order: Order
    fee: Decimal

    @property
    def price(self) -> Decimal:
        """In the counter currency."""
        return self.trade.price

    @property
    def counterpart(self) -> Order:
        """The order on the other side."""
        return self.trade.sell if self.order is self.trade.buy else self.trade.buy

    @property
    def moves(self) -> dict[str, Decimal]:
        """Signed changes of the account's totals, the fee included."""
        market, sign = self.trade.market, 1 if self.order.side == "buy" else -1
        return {
            market.base: sign * self.trade.quantity,
            market.counter: -sign * self.trade.cost - self.fee,
        }


@dataclass(frozen=True, slots=True)
class Twist:
    """How one order is to go wrong, or nothing."""

    hidden: bool = False
    client_order_id: str | None = None
    doubled: bool = False
    dust: bool = False
    trades_last: bool = False
    created_empty: bool = False


PLAIN = Twist()
