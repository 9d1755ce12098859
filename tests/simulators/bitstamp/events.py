"""Order events: their chained ids, the data they carry, and the frames they become."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from tests.simulators.bitstamp.model import SUBTYPES, Account, Fill, Order, Trade
from tests.simulators.bitstamp.wire import (
    SIDES,
    at_least,
    fixed,
    microseconds,
    number,
    rounded,
)

Frame = dict[str, Any]
SOURCE = "orderbook"


@dataclass(frozen=True, slots=True)
class Event:
    """One event of one order; `pre` is the id before it on the market, `pre_own` by user."""

    event_id: str
    pre: str
    pre_own: dict[int, str]
    name: str
    account: Account
    symbol: str
    at: datetime
    data: Frame

    def public_frame(self) -> Frame:
        """A live_orders frame: an integer id, no account, no client order id."""
        hidden = ("trade_account_id", "client_order_id", "orig_order_id")
        data = {key: value for key, value in self.data.items() if key not in hidden}
        name = "order_created" if self.name == "order_replaced" else self.name
        return {
            "data": data | {"id": int(data["id"])},
            "channel": f"live_orders_{self.symbol}",
            "event": name,
            "event_id": self.event_id,
            "pre_event_id": self.pre,
            "order_source": SOURCE,
        }

    def private_frame(self, user_id: int, own_chain: bool) -> Frame:
        """A my_orders frame for the channel of `user_id`."""
        return {
            "data": self.data,
            "channel": f"private-my_orders_{self.symbol}-{user_id}",
            "event": self.name,
            "trade_account_id": self.account.trade_account_id,
            "event_id": self.event_id,
            "pre_event_id": self.pre_own[user_id] if own_chain else self.pre,
            "order_source": SOURCE,
        }

    def replayed(self) -> Frame:
        """A row of account_order_data."""
        return {
            "event": self.name,
            "event_id": self.event_id,
            "order_source": SOURCE,
            "trade_account_id": self.account.trade_account_id,
            "data": self.data | {"id": int(self.data["id"])},
        }


class EventLog:
    """The events of accounts' orders, chained per market, and per market and user.

    The market maker's events are links of the market's chain, and are not kept.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._count = 0
        self._last: dict[tuple[str, int], str] = {}

    def record(
        self, name: str, order: Order, data: Frame, at: datetime, watchers: list[int]
    ) -> Event:
        """Append an event; ids grow by time, then by a counter, as recorded ones do.

        `watchers` are the users who are told of it.
        """
        symbol = order.market.symbol
        self._count += 1
        event_id = _event_id(microseconds(at), self._count)
        origin = _event_id(microseconds(at), 0)
        pre = self._last.get((symbol, 0), origin)
        pre_own = {user: self._last.get((symbol, user), origin) for user in watchers}
        event = Event(event_id, pre, pre_own, name, order.account, symbol, at, data)
        for user in (0, *watchers):
            self._last[symbol, user] = event_id
        if not order.account.is_house:
            self.events.append(event)
        return event

    def forget(self, order_id: str) -> None:
        """Drop the events of an order; ids given out since then stay as they are."""
        self.events = [event for event in self.events if event.data["id"] != order_id]


def _event_id(stamp: int, count: int) -> str:
    digits = f"{stamp:016x}{count:010x}000020"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def order_data(order: Order, traded: Decimal, at: datetime, empty: bool = False) -> Frame:
    """The data of one order event; `traded` is what this very event executed."""
    places = order.market.base_decimals
    zero = Decimal(0)
    remaining, quantity = (zero, zero) if empty else (order.remaining, order.quantity)
    stamp = microseconds(at) // 1000 * 1000
    data = {
        "id": str(order.order_id),
        "id_str": str(order.order_id),
        "order_type": SIDES.index(order.side),
        "order_subtype": SUBTYPES[order.kind],
        "datetime": str(stamp // 1_000_000),
        "microtimestamp": str(stamp),
        "amount": number(remaining),
        "amount_str": at_least(remaining, places) if remaining else "0",
        "amount_traded": at_least(traded, places) if traded else "0",
        "amount_at_create": at_least(quantity, places) if quantity else "0",
        "price": number(order.shown_price),
        "price_str": at_least(order.shown_price, order.market.counter_decimals),
        "is_liquidation": False,
        "trade_account_id": order.account.trade_account_id,
    }
    if order.client_order_id is not None:
        data["client_order_id"] = order.client_order_id
    return data


def my_trade_frame(fill: Fill, user_id: int) -> Frame:
    """A my_trades frame."""
    trade, account = fill.trade, fill.order.account
    data = {
        "id": trade.trade_id,
        "amount": at_least(trade.quantity, trade.market.base_decimals),
        "price": at_least(trade.price, trade.market.counter_decimals),
        "microtimestamp": _stamp(trade),
        "fee": fixed(fill.fee, 5),
        "order_id": str(fill.order.order_id),
        "trade_account_id": account.trade_account_id,
        "side": fill.order.side,
    }
    return {
        "data": data,
        "channel": f"private-my_trades_{trade.market.symbol}-{user_id}",
        "event": "trade",
        "trade_account_id": account.trade_account_id,
    }


def live_trade_frame(trade: Trade) -> Frame:
    """A live_trades frame."""
    return {
        "data": {"id": trade.trade_id} | _trade_data(trade),
        "channel": f"live_trades_{trade.market.symbol}",
        "event": "trade",
    }


def self_trade_frame(trade: Trade, user_id: int) -> Frame:
    """A self_trade frame: both accounts, no fee."""
    accounts = {
        "buyers_trade_account_id": trade.buy.account.trade_account_id,
        "sellers_trade_account_id": trade.sell.account.trade_account_id,
    }
    return {
        "data": _trade_data(trade) | accounts,
        "channel": f"private-live_trades_{trade.market.symbol}-{user_id}",
        "event": "self_trade",
    }


def _trade_data(trade: Trade) -> Frame:
    market = trade.market
    return {
        "timestamp": str(int(_stamp(trade)) // 1_000_000),
        "amount": number(trade.quantity),
        "amount_str": at_least(trade.quantity, market.base_decimals),
        "price": number(trade.price),
        "price_str": at_least(trade.price, market.counter_decimals),
        "type": SIDES.index(trade.taker_side),
        "microtimestamp": _stamp(trade),
        "buy_order_id": trade.buy.order_id,
        "sell_order_id": trade.sell.order_id,
    }


def _stamp(trade: Trade) -> str:
    return str(microseconds(trade.at) // 1000 * 1000)


def fee_of(cost: Decimal, percent: Decimal) -> Decimal:
    """A fee in the counter currency, to five decimals."""
    return rounded(cost * percent / 100, 5)
