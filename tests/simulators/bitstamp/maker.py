"""The market maker's quotes, and the rollback of what happened last."""

from __future__ import annotations

from decimal import Decimal

from tests.simulators.bitstamp.engine import Engine
from tests.simulators.bitstamp.markets import Market
from tests.simulators.bitstamp.model import Order, Trade
from tests.simulators.bitstamp.rules import Draft


def set_touch(
    engine: Engine, market: Market, bid: Decimal, ask: Decimal, depth: Decimal, levels: int
) -> None:
    """Replace the maker's orders: `depth` at each of `levels` prices, a step apart, per side.

    Accounts' orders that cross the new prices fill against the maker, up to `depth` per level.
    """
    with engine.feed.batch(market):
        for order in engine.working(engine.house, market):
            engine.cancel(order)
        for number in range(levels):
            away = market.price_step * number
            for side, price in (("buy", bid - away), ("sell", ask + away)):
                _quote(engine, market, side, price, depth)


def _quote(engine: Engine, market: Market, side: str, price: Decimal, depth: Decimal) -> None:
    if price <= 0:
        return
    book = engine.books[market.symbol]
    if book.fillable(side, depth, price):
        engine.open(Draft(engine.house, market, side, "ioc", depth, price))
    if not book.fillable(side, depth, price):
        engine.open(Draft(engine.house, market, side, "limit", depth, price))


def roll_back(engine: Engine, orders: int, fills: int) -> None:
    """Undo the last `fills` trades of accounts, then forget their last `orders` orders.

    Balances go back, and no event says so: this is a test server restored from an older copy.
    An order whose fill is undone is open again, unless it would meet another account's order.
    """
    ours = [trade for trade in engine.trades if not _is_houses(trade)]
    for trade in reversed(ours[max(0, len(ours) - fills) :]):
        _undo(engine, trade)
    kept = [order for order in engine.orders.values() if not order.account.is_house]
    for order in reversed(kept[max(0, len(kept) - orders) :]):
        for fill in reversed(list(order.fills)):
            _undo(engine, fill.trade, order)
        engine.forget(order)


def _undo(engine: Engine, trade: Trade, forgotten: Order | None = None) -> None:
    engine.trades.remove(trade)
    for order in (trade.buy, trade.sell):
        fill = next(fill for fill in order.fills if fill.trade is trade)
        order.fills.remove(fill)
        order.remaining += trade.quantity
        engine.post(fill, -1)
        if order is not forgotten and not order.account.is_house:
            _reopen(engine, order)


def _reopen(engine: Engine, order: Order) -> None:
    """The market maker steps aside."""
    book = engine.books[order.market.symbol]
    crossed = [] if order.price is None else list(book.facing(order.side, order.price))
    makers = [engine.orders[other.order_id] for other in crossed]
    for maker in makers:
        if maker.account.is_house:
            engine.forget(maker)
    engine.reopen(order, rests=all(maker.account.is_house for maker in makers))


def _is_houses(trade: Trade) -> bool:
    return trade.buy.account.is_house and trade.sell.account.is_house
