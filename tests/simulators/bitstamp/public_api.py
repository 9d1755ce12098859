"""Public calls: instruments, quotes, books, trades and bars."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from tests.simulators.bitstamp.calls import Call
from tests.simulators.bitstamp.feed import level
from tests.simulators.bitstamp.markets import Market, currency_rows, pairs_info_row
from tests.simulators.bitstamp.model import Trade
from tests.simulators.bitstamp.wire import (
    SIDES,
    at_least,
    fixed,
    order_refusal,
    rounded,
    seconds,
)

STEPS = (60, 180, 300, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 259200)
PERIODS = {"minute": 60, "hour": 3600, "day": 86400}
Row = dict[str, Any]


def markets(call: Call) -> list[Row]:
    """All markets at once."""
    return [market.row for market in call.sim.engine.markets.values()]


def currencies(call: Call) -> list[Row]:
    """Every currency the markets use."""
    return currency_rows(call.sim.engine.markets.values())


def trading_pairs_info(call: Call) -> list[Row]:
    """The obsolete list; spot only."""
    return [pairs_info_row(market) for market in call.sim.engine.markets.values() if market.is_spot]


def ticker(call: Call) -> Row:
    """One market's day, or hour for ticker_hour. Any parameter refuses the call."""
    _refuse_parameters(call)
    return _ticker(call, call.market, 1 if call.place["span"] == "ticker_hour" else 24)


def tickers(call: Call) -> list[Row]:
    """Every market's day, with its name."""
    _refuse_parameters(call)
    return [
        _ticker(call, market, 24) | {"pair": market.name, "market": market.name}
        for market in call.sim.engine.markets.values()
    ]


def order_book(call: Call) -> Row:
    """The whole book: group 0 single orders, 1 (default) by price, 2 single with ids."""
    group, market = call.params.get("group", "1"), call.market
    if group not in ("0", "1", "2"):
        raise order_refusal("400.001", "Invalid group.", "group")
    stamp = call.sim.engine.feed.stamp()
    bids, asks = (_side(call, market, side, group) for side in SIDES)
    return {
        "timestamp": str(stamp // 1_000_000),
        "microtimestamp": str(stamp),
        "bids": bids,
        "asks": asks,
    }


def transactions(call: Call) -> list[Row]:
    """The market's trades of the last minute, hour (default) or day, newest first."""
    period = PERIODS.get(call.params.get("time", "hour"))
    if period is None:
        raise order_refusal("400.001", "Invalid time.", "time")
    since, market = call.sim.clock() - timedelta(seconds=period), call.market
    rows = [trade for trade in _trades(call, market) if trade.at >= since]
    return [_transaction(trade) for trade in reversed(rows)]


def ohlc(call: Call) -> Row:
    """Bars without gaps; of start and end together, end wins."""
    market, step = call.market, call.integer("step", 0, STEPS[-1])
    if step not in STEPS:
        raise order_refusal("400.001", "Invalid step.", "step")
    limit, now = call.integer("limit", 1, 1000), seconds(call.sim.clock())
    last = now // step * step
    if "end" in call.params:
        last = min(last, call.integer("end", now, 10**12) // step * step)
    elif "start" in call.params:
        first = call.integer("start", 0, 10**12) // step * step
        last = min(last, first + (limit - 1) * step)
    if call.flag("exclude_current_candle") and last == now // step * step:
        last -= step
    bars = list(_bars(_trades(call, market), last - (limit - 1) * step, last, step))
    rows = [bar.row(market) for bar in bars]
    return {"data": {"pair": market.name, "market": market.name, "ohlc": rows}}


def _refuse_parameters(call: Call) -> None:
    if call.params:
        raise order_refusal("400.018", "Request does not accept parameters.")


def _trades(call: Call, market: Market) -> list[Trade]:
    return [trade for trade in call.sim.engine.trades if trade.market is market]


def _side(call: Call, market: Market, side: str, group: str) -> list[list[str]]:
    engine = call.sim.engine
    if group == "1":
        return [level(market, *one) for one in engine.books[market.symbol].levels(side, 1_000_000)]
    rows = engine.feed.detailed(market, side, 1_000_000)
    return rows if group == "2" else [row[:2] for row in rows]


def _ticker(call: Call, market: Market, hours: int) -> Row:
    book, now = call.sim.engine.books[market.symbol], call.sim.clock()
    trades = _trades(call, market)
    recent = [trade for trade in trades if trade.at >= now - timedelta(hours=hours)]
    bid, ask = book.best_bid or Decimal(0), book.best_ask or Decimal(0)
    last = trades[-1].price if trades else bid
    prices = [trade.price for trade in recent] or [last]
    volume = sum((trade.quantity for trade in recent), Decimal(0))
    cost = sum((trade.cost for trade in recent), Decimal(0))
    values = {
        "last": last,
        "high": max(prices),
        "low": min(prices),
        "vwap": rounded(cost / volume, market.counter_decimals) if volume else last,
        "bid": bid,
        "ask": ask,
        "open": prices[0],
        "open_24": prices[0],
    }
    change = (last - prices[0]) / prices[0] * 100 if prices[0] else Decimal(0)
    side = SIDES.index(trades[-1].taker_side) if trades else 0
    return {name: at_least(value, market.counter_decimals) for name, value in values.items()} | {
        "volume": fixed(volume, 8),
        "timestamp": str(seconds(now)),
        "percent_change_24": fixed(change, 2),
        "side": str(side),
        "market_type": market.row["market_type"],
    }


def _transaction(trade: Trade) -> Row:
    return {
        "date": str(seconds(trade.at)),
        "tid": str(trade.trade_id),
        "price": at_least(trade.price, trade.market.counter_decimals),
        "type": str(SIDES.index(trade.taker_side)),
        "amount": fixed(trade.quantity, 8),
    }


@dataclass(slots=True)
class _Bar:
    start: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal = Decimal(0)

    def add(self, trade: Trade) -> None:
        """Count a trade in."""
        self.high, self.low = max(self.high, trade.price), min(self.low, trade.price)
        self.close, self.volume = trade.price, self.volume + trade.quantity

    def row(self, market: Market) -> Row:
        """As the exchange sends it."""
        prices = {"open": self.open, "high": self.high, "low": self.low, "close": self.close}
        texts = {name: at_least(price, market.counter_decimals) for name, price in prices.items()}
        return {"timestamp": str(self.start), "volume": fixed(self.volume, 8)} | texts


def _bars(trades: list[Trade], first: int, last: int, step: int) -> Iterator[_Bar]:
    before = [trade for trade in trades if seconds(trade.at) < first]
    close = before[-1].price if before else None
    waiting = trades[len(before) :]
    for start in range(first, last + 1, step):
        inside = [trade for trade in waiting if start <= seconds(trade.at) < start + step]
        if inside:
            price = inside[0].price
        elif close is not None:
            price = close
        else:
            continue
        bar = _Bar(start, price, price, price, price)
        for trade in inside:
            bar.add(trade)
        close = bar.close
        yield bar
