"""What the paper exchange refuses, and why: the closed list."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from backend.database import Transaction
from backend.domain.clock import to_et
from backend.domain.errors import ExchangeRejected, OutcomeUnknown
from backend.domain.instrument import Instrument, Violation
from backend.domain.ledger import FeeSchedule, reservation
from backend.domain.money import ZERO, to_text
from backend.domain.order import Order, OrderType, Side
from backend.exchanges.paper import book
from backend.exchanges.paper.book import Booked
from backend.exchanges.paper.instruments import Rules

REJECTIONS = {
    "expired_request": "it arrived at or after its valid_until",
    "unknown_symbol": "no such instrument here",
    "not_trading": "the instrument takes no new orders now",
    "unsupported_order": "the instrument does not take this order type",
    "bad_order": "a price that its type needs is missing",
    "tick_size": "a price is not a multiple of the tick, or outside its bounds",
    "exchange_band": "a price is outside the band around the reference price",
    "step_size": "the quantity is not a multiple of the step",
    "quantity_bounds": "the quantity is below the minimum or above the maximum",
    "min_notional": "quantity x price is below the minimum or above the maximum",
    "max_open_orders": "as many orders of the instrument are live as it allows",
    "max_position": "more of the base would be held than the instrument allows",
    "no_fee_price": "the asset that pays the fees has no price",
    "insufficient_funds": "the free balance does not cover the order and its fee",
    "unknown_order": "a cancel of an order that is unknown or final",
}


@dataclass(frozen=True, slots=True)
class Known:
    """What was learnt of an order's instrument before the book was locked.

    Attributes:
        instrument: what the order is judged by; None for an unknown symbol.
        fee_price: quote currency per unit of a third fee asset, if known.
        reference_price: what the instrument's price band is around, where it has one.
    """

    instrument: Instrument | None
    fee_price: Decimal | None = None
    reference_price: Decimal | None = None


def admit(transaction: Transaction, account: str, order: Order, known: Known, rules: Rules) -> None:
    """Let a new order in, or raise.

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
    traded = known.instrument
    if traded is None:
        raise _rejected("unknown_symbol", f"no instrument {order.terms.symbol}")
    _check_open(order, traded)
    _check_prices(order)
    if (violation := _violation(order, traded, known.reference_price)) is not None:
        raise _rejected(violation.rule, violation.detail)
    live = [b for b in book.live(transaction, account) if b.working.symbol == traded.symbol]
    _check_count(order, traded, live)
    _check_position(transaction, account, order, traded, live)
    _check_funds(transaction, account, order, traded, rules, known.fee_price)


def fee_asset(fees: FeeSchedule, instrument: Instrument) -> str | None:
    """Return the third asset that pays this account's fees, or None."""
    unit = fees.unit(instrument, Side.BUY)  # The side changes no third asset.
    return None if not fees.worst or unit in (instrument.base, instrument.quote) else unit


def _check_open(order: Order, traded: Instrument) -> None:
    if traded.status != "trading":
        raise _rejected("not_trading", f"the status of {traded.symbol} is {traded.status}")
    kind = order.terms.order_type
    needed = OrderType.LIMIT if kind is OrderType.MARKET else kind
    if traded.order_types is not None and needed not in traded.order_types:
        raise _rejected("unsupported_order", f"{traded.symbol} takes no {kind} orders")


def _check_prices(order: Order) -> None:
    terms = order.terms
    limited = terms.order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT)
    if (limited and terms.limit_price is None) or (_waits(order) and terms.stop_price is None):
        raise _rejected("bad_order", f"a {terms.order_type} order needs its price")


def _waits(order: Order) -> bool:
    return order.terms.order_type in (OrderType.STOP, OrderType.STOP_LIMIT)


def _violation(order: Order, traded: Instrument, reference: Decimal | None) -> Violation | None:
    quantity, price = order.terms.quantity, book.limit_of(order)
    prices = [price] if order.terms.stop_price is None else [price, order.terms.stop_price]
    for each in prices:
        if violation := traded.price_violation(each):
            return violation
        if reference is not None and (
            violation := traded.band_violation(order.terms.side, each, reference)
        ):
            return violation
    return (
        traded.step_violation(quantity)
        or traded.bounds_violation(quantity)
        or traded.notional_violation(quantity, price)
    )


def _check_count(order: Order, traded: Instrument, live: Sequence[Booked]) -> None:
    stops = [booked for booked in live if booked.working.stop_price is not None]
    counted = [(live, traded.max_open_orders)]
    if _waits(order):
        counted.append((stops, traded.max_stop_orders))
    for there, most in counted:
        if most is not None and len(there) >= most:
            raise _rejected("max_open_orders", f"{len(there)} are live on {traded.symbol}")


def _check_position(
    transaction: Transaction,
    account: str,
    order: Order,
    traded: Instrument,
    live: Sequence[Booked],
) -> None:
    if traded.max_position is None or order.terms.side is Side.SELL:
        return
    held = book.totals(transaction, account).get(traded.base, ZERO)
    bought = sum((b.working.remaining for b in live if b.working.side is Side.BUY), ZERO)
    after = held + bought + order.terms.quantity
    if after > traded.max_position:
        raise _rejected(
            "max_position",
            f"at most {to_text(traded.max_position)} {traded.base} may be held, "
            f"would be {to_text(after)}",
        )


def _check_funds(
    transaction: Transaction,
    account: str,
    order: Order,
    traded: Instrument,
    rules: Rules,
    fee_price: Decimal | None,
) -> None:
    asset = fee_asset(rules.fees, traded)
    if asset is not None and fee_price is None:
        raise _rejected("no_fee_price", f"no price for {asset} in {traded.quote}")
    terms = order.terms
    needs = reservation(
        terms.side, terms.quantity, book.limit_of(order), traded, rules.fees, fee_price
    )
    for currency, quantity in needs.items():
        free = book.free(transaction, account, currency, rules)
        if quantity > max(free, ZERO):
            raise _rejected(
                "insufficient_funds",
                f"needs {to_text(quantity)} {currency}, free is {to_text(free)}",
            )


def _rejected(code: str, detail: str) -> ExchangeRejected:
    return ExchangeRejected(f"the paper exchange refused: {detail}", code)
