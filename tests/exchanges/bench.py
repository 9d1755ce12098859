"""One exchange under test, whatever it is: what the contract suite needs of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal

from backend.domain.order import Order
from backend.exchanges import Exchange
from tests.exchanges.scripted import FrozenClock


async def _nothing() -> None:
    """Stop nothing."""


@dataclass
class Bench:
    """One account at one exchange.

    Attributes:
        symbol: what `order` trades, ours; the touch fills a market order of it at once.
        payment: the currency it is paid in; the account has plenty of both.
        order: `order(client_order_id, **changes)` builds a market buy that fills at once;
            `limit_price` makes it a gtc limit order, `side`, `quantity` as given.
        far: a limit price at which a buy rests.
        fail_next: `reject`, `unavailable`, `lose_answer` (of the next submit), `lookup`
            (the next look-up gets no answer).
        identifier: the exchange's own name of the account.
        exact: a quantity with as many decimals as may be, enough for an order at `far`.
        trade_by_hand: buys at once as if a person had, without an id of ours.
        sent: client order ids of the orders of which a byte reached the exchange.
    """

    exchange: Exchange
    symbol: str
    payment: str
    order: Callable[..., Order]
    far: Decimal
    fail_next: Callable[[str], object]
    sent: Callable[[], list[str]]
    clock: FrozenClock
    identifier: str
    exact: str
    trade_by_hand: Callable[[], Awaitable[None]]
    stop: Callable[[], Awaitable[None]] = _nothing
