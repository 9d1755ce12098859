"""Signed calls about orders: place, look up, list, cancel, replace."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.simulators.bitstamp.calls import Call
from tests.simulators.bitstamp.model import Fill, Order
from tests.simulators.bitstamp.rules import (
    Draft,
    check_draft,
    check_funds,
    check_market,
    quantity_worth,
)
from tests.simulators.bitstamp.wire import (
    SIDES,
    at_least,
    fixed,
    from_microseconds,
    iso_datetime,
    long_datetime,
    number,
    order_refusal,
    short_datetime,
)

CACHE_LIFE = timedelta(seconds=10)
FLAGS = {
    "daily_order": "daily",
    "ioc_order": "ioc",
    "fok_order": "fok",
    "moc_order": "moc",
    "gtd_order": "gtd",
}
Row = dict[str, Any]


def place_limit(call: Call) -> Row:
    """POST /buy/{market}/ and /sell/{market}/."""
    check_market(call.market, "limit")
    kind = _kind(call)
    expires = _expiry(call, kind)
    return _place(call, kind, call.decimal("amount"), call.decimal("price"), expires)


def place_market(call: Call) -> Row:
    """POST /buy/market/{market}/ and /sell/market/{market}/: amount in base."""
    check_market(call.market, "market")
    return _place(call, "market", call.decimal("amount"))


def place_instant(call: Call) -> Row:
    """POST /buy/instant/{market}/ (amount in counter) and /sell/instant/{market}/."""
    market, side = call.market, call.place["side"]
    check_market(market, "instant")
    amount = call.decimal("amount")
    if side == "buy" or call.flag("amount_in_counter"):
        if side == "buy":
            amount /= 1 + call.account.worse_fee
        amount = quantity_worth(side, amount, market, call.sim.engine.books[market.symbol])
    return _place(call, "instant", amount)


def order_status(call: Call) -> Row:
    """By id or client order id; the original quantity is not told."""
    order = _named(call)
    if order.hidden:
        raise order_refusal("404.002", "Order not found.")
    row: Row = {
        "id": order.order_id,
        "datetime": long_datetime(order.created),
        "type": str(SIDES.index(order.side)),
        "status": order.status,
        "market": order.market.name,
        "amount_remaining": at_least(order.remaining, 8),
    }
    if order.client_order_id is not None:
        row["client_order_id"] = order.client_order_id
    if not call.flag("omit_transactions"):
        row["transactions"] = [_transaction(fill) for fill in order.fills]
    return row


def open_orders(call: Call) -> list[Row]:
    """The account's open orders, as they were up to 10 s ago."""
    market, now = call.market_or_all, call.sim.clock()
    key = (call.account, market.symbol if market else "")
    cached = call.sim.listed.get(key)
    if cached is None or not timedelta(0) <= now - cached[0] < CACHE_LIFE:
        orders = [o for o in call.sim.engine.working(call.account, market) if not o.hidden]
        cached = (now, [_open_row(order, market is None) for order in orders])
        call.sim.listed[key] = cached
    return cached[1]


def cancel_order(call: Call) -> Row:
    """By id or client order id."""
    order = _named(call)
    if order.status != "Open":
        raise order_refusal("404.002", "Order not found.")
    if order.cancel_pending or call.fault.pending:
        order.cancel_pending = True
        return _canceled(order) | {"status": "Cancel pending"}
    call.sim.engine.cancel(order)
    return _canceled(order) | {"status": "Canceled"}


def cancel_all_orders(call: Call) -> Row:
    """Every open order, or those of one market."""
    orders = call.sim.engine.working(call.account, call.market_or_all)
    done = [order for order in orders if not order.cancel_pending]
    for order in done:
        call.sim.engine.cancel(order)
    return {"canceled": [_canceled(order) for order in done], "success": done == orders}


def replace_order(call: Call) -> Row:
    """Cancel and place anew, or neither; the new order has a new id."""
    engine, params = call.sim.engine, call.params
    names = ("id", "orig_client_order_id")
    old = engine.find(call.account, *(params.get(name, "") for name in names))
    if old.status != "Open" or old.cancel_pending:
        raise order_refusal("404.002", "Order not found.")
    draft = Draft(
        call.account,
        old.market,
        old.side,
        old.kind,
        call.decimal("amount"),
        call.decimal("price"),
        params.get("client_order_id") or None,
        old.expires,
    )
    new = _swap(call, old, draft)
    return {
        "order_id": str(new.order_id),
        "order_type": new.side.upper(),
        "market": new.market.name,
        "amount": at_least(new.quantity, new.market.base_decimals),
        "price": at_least(new.shown_price, new.market.counter_decimals),
        "datetime": iso_datetime(new.created),
        "orig_order_id": str(old.order_id),
        "orig_client_order_id": old.client_order_id,
        "status": new.status,
    }


def _swap(call: Call, old: Order, draft: Draft) -> Order:
    engine = call.sim.engine
    book = engine.books[old.market.symbol]
    check_market(old.market, old.kind)
    check_draft(draft, book)
    currency, held = old.reserved
    check_funds(draft, book, engine.available(call.account, currency) + held)
    with engine.feed.batch(old.market):
        engine.cancel(old)
        return engine.open(draft, call.fault.twist, replaces=old)


def _place(
    call: Call,
    kind: str,
    quantity: Decimal,
    price: Decimal | None = None,
    expires: datetime | None = None,
) -> Row:
    account, market = call.account, call.market
    if account.tradable is not None and market.symbol not in account.tradable:
        raise order_refusal("403.001", f"{market.name} is not available to this account.")
    client_id = call.params.get("client_order_id") or None
    side = call.place["side"]
    draft = Draft(account, market, side, kind, quantity, price, client_id, expires)
    order = call.sim.engine.submit(draft, call.fault.twist)
    row: Row = {
        "id": str(order.order_id),
        "market": market.name,
        "datetime": long_datetime(order.created),
        "type": str(SIDES.index(side)),
        "price": at_least(order.shown_price, market.counter_decimals),
        "amount": fixed(order.quantity, 8),
    }
    return row | ({"client_order_id": client_id} if client_id else {})


def _kind(call: Call) -> str:
    named = [kind for flag, kind in FLAGS.items() if call.flag(flag)]
    if len(named) > 1:
        raise order_refusal("400.024", "Only one optional parameter is allowed.")
    if call.params.get("limit_price"):
        code = "400.025" if named else "400.001"
        raise order_refusal(code, "limit_price is not accepted here.", "limit_price")
    return named[0] if named else "limit"


def _expiry(call: Call, kind: str) -> datetime | None:
    if kind not in ("daily", "gtd"):
        return None
    now = call.sim.clock()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    if kind == "daily":
        return midnight
    expires = from_microseconds(call.integer("expire_time", 0, 10**13) * 1000)
    if expires <= now:
        raise order_refusal("400.001", "Expire time must be in the future.", "expire_time")
    return min(expires, midnight)


def _named(call: Call) -> Order:
    order_id, client_id = (call.params.get(name, "") for name in ("id", "client_order_id"))
    if not order_id and not client_id:
        raise order_refusal("400.001", "id or client_order_id is required.")
    return call.sim.engine.find(call.account, order_id, client_id)


def _transaction(fill: Fill) -> Row:
    trade = fill.trade
    return {
        "tid": trade.trade_id,
        "price": fixed(trade.price, 8),
        trade.market.base: fixed(trade.quantity, 8),
        trade.market.counter: fixed(trade.cost, 8),
        "fee": fixed(fill.fee, 5),
        "datetime": long_datetime(trade.at),
        "type": 2,
    }


def _open_row(order: Order, with_pair: bool) -> Row:
    row: Row = {
        "id": str(order.order_id),
        "datetime": short_datetime(order.created),
        "type": str(SIDES.index(order.side)),
        "price": at_least(order.shown_price, order.market.counter_decimals),
        "amount": fixed(order.remaining, 8),
        "amount_at_create": fixed(order.quantity, 8),
        "market": order.market.name,
    }
    if with_pair:
        row["currency_pair"] = order.market.name
    if order.client_order_id is not None:
        row["client_order_id"] = order.client_order_id
    return row


def _canceled(order: Order) -> Row:
    return {
        "id": order.order_id,
        "amount": number(order.remaining),
        "price": number(order.shown_price),
        "type": SIDES.index(order.side),
        "market": order.market.name,
    }
