"""What the exchange publishes: frames in order, gathered per operation, and book updates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from tests.simulators.bitstamp import events
from tests.simulators.bitstamp.events import Event, Frame
from tests.simulators.bitstamp.markets import Market
from tests.simulators.bitstamp.model import Account, Fill, Trade
from tests.simulators.bitstamp.wire import at_least, fixed, microseconds

if TYPE_CHECKING:
    from tests.simulators.bitstamp.engine import Engine

BOOK_DEPTH = 100
Levels = dict[Decimal, Decimal]


class Feed:
    """Gathers the frames of one operation and hands them to `send`, channel by channel."""

    def __init__(self, clock: Callable[[], datetime], engine: Engine, own_chain: bool) -> None:
        self.send: Callable[[str, Frame], None] = _nobody_listens
        self.main_sees_subaccounts = True
        self.trades_last = False
        self._clock = clock
        self._engine = engine
        self._own_chain = own_chain
        self._frames: list[Frame] = []
        self._depth = 0
        self._published: dict[str, dict[str, Levels]] = {}
        self._last_stamp = 0

    @contextmanager
    def batch(self, market: Market, trades_last: bool = False) -> Iterator[None]:
        """Frames made inside go out at the end; `trades_last` moves my_trades behind them."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
        if self._depth:
            return
        frames, self._frames = self._frames, []
        if trades_last or self.trades_last:
            frames.sort(key=lambda frame: "private-my_trades" in frame["channel"])
        frames += self._book_frames(market)
        for frame in frames:
            self.send(frame["channel"], frame)

    def order_event(self, event: Event) -> None:
        """Publish an order event: live_orders, and my_orders of its users."""
        self._frames.append(event.public_frame())
        for user_id in self.watchers(event.account):
            self._frames.append(event.private_frame(user_id, self._own_chain))

    def fill(self, fill: Fill) -> None:
        """Publish a fill on my_trades; self-trades have a channel of their own."""
        if not fill.trade.is_self_trade:
            for user_id in self.watchers(fill.order.account):
                self._frames.append(events.my_trade_frame(fill, user_id))

    def trade(self, trade: Trade) -> None:
        """Publish a trade on live_trades, and a self-trade to its users."""
        self._frames.append(events.live_trade_frame(trade))
        if trade.is_self_trade:
            accounts = (trade.buy.account, trade.sell.account)
            users = {user for account in accounts for user in self.watchers(account)}
            for user_id in sorted(users):
                self._frames.append(events.self_trade_frame(trade, user_id))

    def stamp(self) -> int:
        """A microtimestamp that only grows, also under a clock that stands."""
        self._last_stamp = max(microseconds(self._clock()), self._last_stamp + 1)
        return self._last_stamp

    def watchers(self, account: Account) -> list[int]:
        """The users whose private channels tell of this account's orders."""
        if account.is_house:
            return []
        users = [account.user_id]
        if account.parent is not None and self.main_sees_subaccounts:
            users.append(account.parent.user_id)
        return users

    def _book_frames(self, market: Market) -> list[Frame]:
        book = self._engine.books[market.symbol]
        now = {side: dict(book.levels(side, 1_000_000)) for side in ("buy", "sell")}
        before = self._published.get(market.symbol, {"buy": {}, "sell": {}})
        if now == before:
            return []
        self._published[market.symbol] = now
        stamp = self.stamp()
        snapshot = {side: dict(list(now[side].items())[:BOOK_DEPTH]) for side in now}
        changes = {side: _changed(before[side], now[side]) for side in now}
        orders = {side: self.detailed(market, side, BOOK_DEPTH) for side in now}
        return [
            book_frame(f"order_book_{market.symbol}", stamp, market, snapshot),
            book_frame(f"diff_order_book_{market.symbol}", stamp, market, changes),
            _frame(f"detail_order_book_{market.symbol}", stamp, orders["buy"], orders["sell"]),
        ]

    def detailed(self, market: Market, side: str, depth: int) -> list[list[str]]:
        """`[price, amount, order id]` of single orders, best first."""
        book = self._engine.books[market.symbol]
        taker = "sell" if side == "buy" else "buy"
        resting = list(book.facing(taker, None))[:depth]
        return [[*level(market, o.price, o.remaining), str(o.order_id)] for o in resting]


def book_frame(channel: str, stamp: int, market: Market, sides: dict[str, Levels]) -> Frame:
    """A `data` frame of aggregated levels."""
    bids, asks = ([level(market, p, q) for p, q in sides[s].items()] for s in ("buy", "sell"))
    return _frame(channel, stamp, bids, asks)


def level(market: Market, price: Decimal, quantity: Decimal) -> list[str]:
    """`[price, amount]` with the market's decimals."""
    return [
        at_least(price, market.counter_decimals),
        fixed(quantity, market.base_decimals) if quantity else "0.00000000",
    ]


def _frame(channel: str, stamp: int, bids: list[list[str]], asks: list[list[str]]) -> Frame:
    data = {
        "timestamp": str(stamp // 1_000_000),
        "microtimestamp": str(stamp),
        "bids": bids,
        "asks": asks,
    }
    return {"data": data, "channel": channel, "event": "data"}


def _changed(before: Levels, now: Levels) -> Levels:
    changed = {price: now[price] for price in now if before.get(price) != now[price]}
    return changed | {price: Decimal(0) for price in before if price not in now}


def _nobody_listens(channel: str, frame: Frame) -> None:
    """Before the sockets are up."""
