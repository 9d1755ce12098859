"""Orders and fills: ours to their words, and back."""

from datetime import datetime
from decimal import Decimal

import msgspec

from backend.domain.errors import OutcomeUnknown
from backend.domain.money import stored, to_text
from backend.domain.order import Fill, Order, OrderReport, OrderState, OrderType, Side
from backend.exchanges.binance.answers import printable, read, understood
from backend.exchanges.binance.signing import Params
from backend.exchanges.binance.times import from_ms, to_ms

_ENDED = {
    "FILLED": OrderState.FILLED,
    "CANCELED": OrderState.CANCELLED,
    "REJECTED": OrderState.REJECTED,
    "EXPIRED": OrderState.EXPIRED,
    "EXPIRED_IN_MATCH": OrderState.EXPIRED,
}


class PlacedFill(msgspec.Struct):
    """One fill in the answer to a new order."""

    price: str
    quantity: str = msgspec.field(name="qty")
    fee: str = msgspec.field(name="commission")
    fee_currency: str | None = msgspec.field(name="commissionAsset")
    fill_id: int = msgspec.field(name="tradeId")


class OrderRow(msgspec.Struct):
    """An order, as it is answered and listed; what is missing there has a default."""

    code: str = msgspec.field(name="symbol")
    order_id: int = msgspec.field(name="orderId")
    client_order_id: str = msgspec.field(name="clientOrderId")
    former_client_order_id: str = msgspec.field(name="origClientOrderId", default="")
    side: str | None = None
    price: str | None = None
    quantity: str | None = msgspec.field(name="origQty", default=None)
    filled: str = msgspec.field(name="executedQty", default="0")
    status: str = ""
    reason: str = msgspec.field(name="expiryReason", default="")
    placed_at: int = msgspec.field(name="time", default=0)
    answered_at: int = msgspec.field(name="transactTime", default=0)
    fills: list[PlacedFill] = msgspec.field(default_factory=list)


class NamedRow(msgspec.Struct):
    """The least that an answer to a new order says: that there is one."""

    code: str = msgspec.field(name="symbol")
    order_id: int = msgspec.field(name="orderId")


class FillRow(msgspec.Struct):
    """One fill, as the account's history lists it."""

    code: str = msgspec.field(name="symbol")
    fill_id: int = msgspec.field(name="id")
    order_id: int = msgspec.field(name="orderId")
    price: str
    quantity: str = msgspec.field(name="qty")
    fee: str = msgspec.field(name="commission")
    fee_currency: str | None = msgspec.field(name="commissionAsset")
    filled_at: int = msgspec.field(name="time")
    is_buyer: bool = msgspec.field(name="isBuyer")
    is_maker: bool = msgspec.field(name="isMaker")


def number(text: str) -> Decimal:
    """Return a number that the exchange wrote, >= 0.

    Raises:
        ValueError: it is not plain digits, or below zero.
    """
    value = stored(text)
    if value < 0:
        raise ValueError("a number below zero")
    return value


def order_params(order: Order, code: str) -> Params:
    """Return the fields of a new order.

    A market order goes out as limit ioc at its worst price, a stop as a stop-limit there.
    """
    terms = order.terms
    is_market = terms.order_type is OrderType.MARKET
    limit = terms.limit_price if terms.limit_price is not None else order.worst_price
    params: dict[str, str | int] = {
        "symbol": code,
        "side": terms.side.upper(),
        "type": "LIMIT" if terms.stop_price is None else "STOP_LOSS_LIMIT",
        "timeInForce": "IOC" if is_market else terms.time_in_force.upper(),
        "quantity": to_text(terms.quantity),
        "price": to_text(limit),
        "newClientOrderId": order.client_order_id,
        "newOrderRespType": "FULL",
    }
    if terms.stop_price is not None:
        params["stopPrice"] = to_text(terms.stop_price)
    params["timestamp"] = to_ms(order.sign_time)
    # The exchange refuses it after this, at each of its own checks.
    params["recvWindow"] = to_ms(order.valid_until) - to_ms(order.sign_time)
    return params


def check_echo(row: OrderRow, params: Params) -> None:
    """Compare an accepted order with what was sent.

    Raises:
        OutcomeUnknown: the answer is about another order.
    """
    same = (
        row.code == params["symbol"]
        and row.client_order_id == params["newClientOrderId"]
        and row.side in (None, params["side"])
        and (row.quantity is None or number(row.quantity) == stored(str(params["quantity"])))
        and (row.price is None or number(row.price) == stored(str(params["price"])))
    )
    if not same:
        raise OutcomeUnknown("the exchange answered about another order than was sent")


def state_of(status: str, filled: Decimal) -> OrderState:
    """Return our state for the exchange's word; an unknown word is not final."""
    if status in _ENDED:
        return _ENDED[status]
    return OrderState.PARTIALLY_FILLED if filled else OrderState.OPEN


def reason_of(status: str, told: str) -> str:
    """Return why an order ended, in the exchange's word, "" if it does not say."""
    if told and told != "NONE":
        return printable(told)
    return status if status == "EXPIRED_IN_MATCH" else ""


def report_of(
    row: OrderRow, symbol: str, fills: tuple[Fill, ...] = (), client_order_id: str | None = None
) -> OrderReport:
    """Return what a listed order says.

    Args:
        client_order_id: ours, where the exchange may show another since.

    Raises:
        ValueError: it is not whole.
    """
    if row.quantity is None or row.side is None:
        raise ValueError("an order without quantity or side")
    filled = number(row.filled)
    return OrderReport(
        client_order_id=client_order_id or row.client_order_id,
        exchange_order_id=str(row.order_id),
        symbol=symbol,
        side=Side(row.side.lower()),
        quantity=number(row.quantity),
        state=state_of(row.status, filled),
        filled_quantity=filled,
        fills=fills,
        reason=reason_of(row.status, row.reason),
    )


def placed(body: bytes | msgspec.Raw, order: Order, params: Params, quote: str) -> OrderReport:
    """Return what a good answer to a new order says.

    Raises:
        OutcomeUnknown: it is not about what was sent, or not understood; with `order_id`,
            where it names an order of this instrument.
    """
    named = read(body, NamedRow)
    # Numbers are per instrument: one of another says nothing here.
    facts = {"order_id": str(named.order_id)} if named.code == params["symbol"] else {}
    try:
        row = read(body, OrderRow)
        with understood():
            check_echo(row, params)
            return placed_report(row, order, quote)
    except OutcomeUnknown as error:
        detail = error.detail
    raise OutcomeUnknown(detail, **facts)


def placed_report(row: OrderRow, order: Order, quote: str) -> OrderReport:
    """Return what the answer to a new order says. Its fills are all taker's.

    Raises:
        ValueError: a number is malformed.
    """
    filled = number(row.filled)
    executed_at = from_ms(row.answered_at)
    return OrderReport(
        client_order_id=order.client_order_id,
        exchange_order_id=str(row.order_id),
        symbol=order.terms.symbol,
        side=order.terms.side,
        quantity=order.terms.quantity,
        state=state_of(row.status, filled),
        filled_quantity=filled,
        fills=_placed_fills(row, order, quote, executed_at) if row.fills else (),
        reason=reason_of(row.status, row.reason),
    )


def _placed_fills(
    row: OrderRow, order: Order, quote: str, executed_at: datetime
) -> tuple[Fill, ...]:
    order_id = str(row.order_id)
    fills = (
        Fill(
            order_id,
            str(fill.fill_id),
            order.client_order_id,
            order.terms.symbol,
            order.terms.side,
            number(fill.quantity),
            number(fill.price),
            number(fill.fee),
            fill.fee_currency or quote,
            "taker",
            executed_at,
        )
        for fill in row.fills
        if fill.fill_id >= 0
    )
    return tuple(fill for fill in fills if fill.quantity)


def fill_of(row: FillRow, symbol: str, quote: str, client_order_id: str | None) -> Fill:
    """Return what a listed fill says.

    Raises:
        ValueError: a number is malformed.
    """
    return Fill(
        str(row.order_id),
        str(row.fill_id),
        client_order_id,
        symbol,
        Side.BUY if row.is_buyer else Side.SELL,
        number(row.quantity),
        number(row.price),
        number(row.fee),
        row.fee_currency or quote,
        "maker" if row.is_maker else "taker",
        from_ms(row.filled_at),
    )
