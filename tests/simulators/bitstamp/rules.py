"""What an order must satisfy, and the errors it is refused with.

The published list of codes gives each refusal's class; where our reference does not say which
number of the class belongs to a rule, 400.001 stands for it and the text carries the rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from tests.simulators.bitstamp.markets import Market
from tests.simulators.bitstamp.model import BOUNDS, TAKES_ANY_PRICE, Account
from tests.simulators.bitstamp.wire import (
    at_least,
    derivatives_refusal,
    fixed,
    order_refusal,
)
from tests.simulators.matching import Book

MOST_OFF_MARKET = Decimal("0.2")
CLIENT_ID_LIMIT = 180


@dataclass(frozen=True, slots=True)
class Draft:
    """An order before it is accepted; `price` is None for market and instant orders."""

    account: Account
    market: Market
    side: str
    kind: str
    quantity: Decimal
    price: Decimal | None = None
    client_order_id: str | None = None
    expires: datetime | None = None


def check_market(market: Market, kind: str) -> None:
    """Refuses (Refusal) a derivative, a disabled market, or a type that it does not take."""
    if not market.is_spot:
        raise derivatives_refusal("API5506", "Derivatives are not simulated", "market")
    if not market.is_open:
        raise order_refusal("400.003", f"Trading is currently disabled for {market.name}.")
    if kind in TAKES_ANY_PRICE and not market.takes_market_orders:
        raise order_refusal("400.003", f"Market orders are disabled for {market.name}.")


def check_draft(draft: Draft, book: Book) -> None:
    """Refuses (Refusal) what breaks the market's rules; funds are not looked at."""
    market, price, client_id = draft.market, draft.price, draft.client_order_id or ""
    if len(client_id) > CLIENT_ID_LIMIT:
        raise _invalid("client_order_id", "Ensure this field has no more than 180 characters.")
    _check_step("amount", draft.quantity, Decimal(1).scaleb(-market.base_decimals))
    _check_size(draft.quantity, market)
    if price is not None:
        _check_step("price", price, market.price_step)
        _check_distance(draft.side, price, book)
    value = draft.quantity * (price if price is not None else _touch(draft.side, book))
    if value < market.minimum_value:
        least = f"{market.row['minimum_order_value']} {market.counter.upper()}"
        raise _invalid("__all__", f"Minimum order size is {least}.")
    if market.maximum_value is not None and value > market.maximum_value:
        raise _invalid("__all__", f"Maximum order size is {market.row['maximum_order_value']}.")


def check_funds(draft: Draft, book: Book, available: Decimal) -> None:
    """Refuses (Refusal, 400.009) an order that `available` does not cover, fee included."""
    market, counter = draft.market, draft.market.counter
    if draft.side == "sell":
        if draft.quantity > available:
            raise _short(draft.quantity, available, market.base)
        return
    needed = cost_of(draft, book) * (1 + draft.account.worse_fee)
    if needed > available:
        raise _short(needed, available, counter)


def cost_of(draft: Draft, book: Book) -> Decimal:
    """What a buy costs at most: at its limit, or walking the book."""
    if draft.price is not None:
        return draft.price * draft.quantity
    cost, left = Decimal(0), draft.quantity
    for order in book.facing("buy", None):
        taken = min(left, order.remaining)
        cost, left = cost + taken * order.price, left - taken
        if left <= 0:
            break
    return cost


def quantity_worth(side: str, value: Decimal, market: Market, book: Book) -> Decimal:
    """The base quantity that the book gives for `value` of the counter currency, cut to a step."""
    quantity, left = Decimal(0), value
    for order in book.facing(side, None):
        taken = min(left, order.remaining * order.price)
        quantity, left = quantity + taken / order.price, left - taken
        if left <= 0:
            break
    return Decimal(fixed(quantity, market.base_decimals))


def _check_step(field: str, value: Decimal, step: Decimal) -> None:
    if value <= 0:
        raise _invalid(field, "Ensure this value is greater than or equal to 1E-8.")
    if value % step:
        places = -int(step.normalize().as_tuple().exponent)
        raise _invalid(
            field, f"Ensure that there are no more than {max(places, 0)} decimal places."
        )


def _check_size(quantity: Decimal, market: Market) -> None:
    least, most = market.minimum_quantity, market.maximum_quantity
    if least is not None and quantity < least:
        raise _invalid("amount", f"Ensure this value is greater than or equal to {least:f}.")
    if most is not None and quantity > most:
        raise _invalid("amount", f"Ensure this value is less than or equal to {most:f}.")


def _check_distance(side: str, price: Decimal, book: Book) -> None:
    ask, bid = book.best_ask, book.best_bid
    if side == "buy" and ask is not None and price > ask * (1 + MOST_OFF_MARKET):
        raise _invalid("__all__", "Price is more than 20% above market price.")
    if side == "sell" and bid is not None and price < bid * (1 - MOST_OFF_MARKET):
        raise _invalid("__all__", "Price is more than 20% below market price.")


def _touch(side: str, book: Book) -> Decimal:
    touch = book.best_ask if side == "buy" else book.best_bid
    return BOUNDS["buy"] if touch is None else touch


def _invalid(field: str, text: str) -> Exception:
    return order_refusal("400.001", text, field)


def _short(needed: Decimal, available: Decimal, currency: str) -> Exception:
    unit = currency.upper()
    return order_refusal(
        "400.009",
        f"You need {at_least(needed, 2)} {unit} to open that order. You have only "
        f"{at_least(available, 2)} {unit} available. Check your account balance for details.",
    )
