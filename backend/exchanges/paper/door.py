"""What the paper exchange refuses, and why: the closed list."""

from decimal import Decimal

from backend.database import Transaction
from backend.domain.clock import to_et
from backend.domain.errors import ExchangeRejected, OutcomeUnknown
from backend.domain.instrument import Instrument, Violation
from backend.domain.ledger import FeeSchedule, reservation
from backend.domain.money import ZERO, to_text
from backend.domain.order import Order, OrderType, Side
from backend.exchanges.paper import book

REJECTIONS = {
    "expired_request": "it arrived at or after its valid_until",
    "unknown_symbol": "no such instrument here",
    "bad_order": "a price that its type needs is missing",
    "tick_size": "a price is not a multiple of the tick",
    "step_size": "the quantity is not a multiple of the step",
    "quantity_bounds": "the quantity is below the minimum or above the maximum",
    "min_notional": "quantity x price is below the minimum or above the maximum",
    "no_fee_price": "the asset that pays the fees has no price",
    "insufficient_funds": "the free balance does not cover the order and its fee",
    "unknown_order": "a cancel of an order that is unknown or final",
}


def admit(
    transaction: Transaction,
    account: str,
    order: Order,
    rules: Instrument | None,
    fees: FeeSchedule,
    fee_price: Decimal | None,
) -> None:
    """Let a new order in, or raise.

    Args:
        rules: None for an unknown symbol.
        fee_price: quote currency per unit of a third fee asset, if known.

    Raises:
        OutcomeUnknown: the client order id was used before: what became of that
            order is for the caller to look up.
        ExchangeRejected: with a code of `REJECTIONS`.
    """
    if book.find(transaction, account, order.client_order_id) is not None:
        raise OutcomeUnknown("duplicate client order id")
    if transaction.now >= order.valid_until:
        raise _rejected(
            "expired_request", f"the request was valid until {to_et(order.valid_until)}"
        )
    if rules is None:
        raise _rejected("unknown_symbol", f"no instrument {order.terms.symbol}")
    _check_prices(order)
    if (violation := _violation(order, rules)) is not None:
        raise _rejected(violation.rule, violation.detail)
    _check_funds(transaction, account, order, rules, fees, fee_price)


def fee_asset(fees: FeeSchedule, instrument: Instrument) -> str | None:
    """Return the third asset that pays this account's fees, or None."""
    unit = fees.unit(instrument, Side.BUY)  # The side changes no third asset.
    return None if not fees.worst or unit in (instrument.base, instrument.quote) else unit


def _check_prices(order: Order) -> None:
    terms = order.terms
    limited = terms.order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT)
    stopped = terms.order_type in (OrderType.STOP, OrderType.STOP_LIMIT)
    if (limited and terms.limit_price is None) or (stopped and terms.stop_price is None):
        raise _rejected("bad_order", f"a {terms.order_type} order needs its price")


def _violation(order: Order, rules: Instrument) -> Violation | None:
    quantity, price = order.terms.quantity, book.limit_of(order)
    prices = [price] if order.terms.stop_price is None else [price, order.terms.stop_price]
    for each in prices:
        if violation := rules.price_violation(each):
            return violation
    return (
        rules.step_violation(quantity)
        or rules.bounds_violation(quantity)
        or rules.notional_violation(quantity, price)
    )


def _check_funds(
    transaction: Transaction,
    account: str,
    order: Order,
    rules: Instrument,
    fees: FeeSchedule,
    fee_price: Decimal | None,
) -> None:
    asset = fee_asset(fees, rules)
    if asset is not None and fee_price is None:
        raise _rejected("no_fee_price", f"no price for {asset} in {rules.quote}")
    terms = order.terms
    needs = reservation(terms.side, terms.quantity, book.limit_of(order), rules, fees, fee_price)
    for currency, quantity in needs.items():
        free = book.free(transaction, account, currency, fees)
        if quantity > max(free, ZERO):
            raise _rejected(
                "insufficient_funds",
                f"needs {to_text(quantity)} {currency}, free is {to_text(free)}",
            )


def _rejected(code: str, detail: str) -> ExchangeRejected:
    return ExchangeRejected(f"the paper exchange refused: {detail}", code)
