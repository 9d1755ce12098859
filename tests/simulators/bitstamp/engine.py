"""The exchange itself: orders, matching, balances and what it publishes. No IO."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from tests.simulators.bitstamp import events
from tests.simulators.bitstamp.events import EventLog, Frame
from tests.simulators.bitstamp.feed import Feed
from tests.simulators.bitstamp.markets import Market, markets_from
from tests.simulators.bitstamp.model import (
    NEVER_RESTS,
    PLAIN,
    TAKES_ANY_PRICE,
    Account,
    Fill,
    Order,
    Trade,
    Twist,
)
from tests.simulators.bitstamp.rules import Draft, check_draft, check_funds, check_market
from tests.simulators.bitstamp.wire import order_refusal, rounded
from tests.simulators.matching import Book, Match, Resting

MEMORY = timedelta(days=30)
DUST = Decimal("1e-8")
FIRST_ORDER_ID = 2_050_558_851_342_339
FIRST_TRADE_ID = 635_698_396


class Engine:
    """Accounts, books, orders and trades; every change is published through `feed`."""

    def __init__(
        self,
        clock: Callable[[], datetime],
        rows: Iterable[Mapping[str, Any]],
        random: Random,
        own_chain: bool,
    ) -> None:
        self.clock = clock
        self.markets = markets_from(rows)
        self.books = {symbol: Book() for symbol in self.markets}
        self.orders: dict[int, Order] = {}
        self.trades: list[Trade] = []
        self.fills: list[Fill] = []
        self.log = EventLog()
        self.feed = Feed(clock, self, own_chain)
        self.house = Account(0, "maker", "", {}, Decimal(0), Decimal(0), is_house=True)
        self._working: dict[int, Order] = {}
        self._by_client_id: dict[tuple[Account, str], list[Order]] = {}
        self._random = random
        self._order_id, self._trade_id = FIRST_ORDER_ID, FIRST_TRADE_ID

    # --- reading ---

    def working(self, account: Account, market: Market | None = None) -> list[Order]:
        """The account's open orders, oldest first."""
        return [
            order
            for order in self._working.values()
            if order.account is account and (market is None or order.market is market)
        ]

    def reserved(self, account: Account, currency: str) -> Decimal:
        """What open orders hold of a currency."""
        holds = (order.reserved for order in self.working(account))
        return sum((held for name, held in holds if name == currency), Decimal(0))

    def available(self, account: Account, currency: str) -> Decimal:
        """Total less reserved."""
        return account.balances.get(currency, Decimal(0)) - self.reserved(account, currency)

    def find(self, account: Account, order_id: str = "", client_id: str = "") -> Order:
        """The account's order by either id; of several with one client id the newest.

        Raises:
            Refusal: 404.002, also for an order that was closed more than 30 days ago.
        """
        found = self._by_client_id.get((account, client_id), [])
        if order_id:
            found = [self.orders[int(order_id)]] if self._is_known(order_id) else []
        for order in reversed(found):
            if order.account is account and not self._is_forgotten(order):
                return order
        raise order_refusal("404.002", "Order not found.")

    def _is_known(self, order_id: str) -> bool:
        return order_id.isdecimal() and int(order_id) in self.orders

    def _is_forgotten(self, order: Order) -> bool:
        return order.closed is not None and self.clock() - order.closed > MEMORY

    # --- changing ---

    def submit(self, draft: Draft, twist: Twist = PLAIN) -> Order:
        """Accept and execute an order.

        Raises:
            Refusal: a rule is broken, or funds are short; nothing was placed.
        """
        check_market(draft.market, draft.kind)
        book = self.books[draft.market.symbol]
        check_draft(draft, book)
        spent = draft.market.base if draft.side == "sell" else draft.market.counter
        check_funds(draft, book, self.available(draft.account, spent))
        order = self.open(draft, twist)
        if twist.doubled:
            self.open(draft, twist)
        return order

    def open(self, draft: Draft, twist: Twist = PLAIN, replaces: Order | None = None) -> Order:
        """Place an order whose rules were checked."""
        order = Order(
            self._next_order_id(),
            draft.account,
            draft.market,
            draft.side,
            draft.kind,
            draft.price,
            draft.quantity,
            twist.client_order_id or draft.client_order_id,
            self.clock(),
            draft.expires,
            hidden=twist.hidden,
        )
        self.orders[order.order_id] = order
        if order.client_order_id:
            self._namesakes(order).append(order)
        with self.feed.batch(order.market, twist.trades_last):
            self._announce_new(order, twist, replaces)
            self._execute(order, DUST if twist.dust else Decimal(0))
        return order

    def cancel(self, order: Order, status: str = "Canceled") -> None:
        """End an open order."""
        with self.feed.batch(order.market):
            self.books[order.market.symbol].remove(order.order_id)
            self._end(order, status)

    def expire_due(self) -> None:
        """End every open order whose time is over by the clock."""
        now = self.clock()
        for order in list(self._working.values()):
            if order.expires is not None and order.expires <= now:
                self.cancel(order, "Expired")

    def reopen(self, order: Order, rests: bool) -> None:
        """Put an order whose fill was rolled back where it stood, if it `rests`."""
        if order.kind in NEVER_RESTS or not rests:
            order.status = "Canceled"
        else:
            order.status, order.closed = "Open", None
            self.books[order.market.symbol].remove(order.order_id)
            self._rest(order)

    def forget(self, order: Order) -> None:
        """Make as if an order had never been, its events included."""
        self.log.forget(str(order.order_id))
        self.books[order.market.symbol].remove(order.order_id)
        self._working.pop(order.order_id, None)
        self.orders.pop(order.order_id, None)
        if order.client_order_id:
            self._namesakes(order).remove(order)

    def _namesakes(self, order: Order) -> list[Order]:
        return self._by_client_id.setdefault((order.account, order.client_order_id or ""), [])

    # --- execution ---

    def _announce_new(self, order: Order, twist: Twist, replaces: Order | None) -> None:
        now = self.clock()
        data = events.order_data(order, Decimal(0), now, empty=twist.created_empty)
        name = "order_created"
        if replaces is not None:
            name, data["orig_order_id"] = "order_replaced", str(replaces.order_id)
        self._publish(name, order, data, now)

    def _execute(self, order: Order, dust: Decimal) -> None:
        book = self.books[order.market.symbol]
        limit = None if order.kind in TAKES_ANY_PRICE else order.price
        fillable = book.fillable(order.side, order.remaining, limit)
        crossing = order.kind == "moc" and fillable > 0
        if crossing or (order.kind == "fok" and fillable < order.remaining):
            self._end(order, "Canceled")
            return
        for match in book.take(order.side, order.remaining - dust, limit):
            self._trade(order, match)
        if not order.remaining:
            return
        if order.kind in NEVER_RESTS:
            self._end(order, "Canceled")
        else:
            self._rest(order)

    def _rest(self, order: Order) -> None:
        assert order.price is not None
        owner = "maker" if order.account.is_house else str(order.account.user_id)
        resting = Resting(order.order_id, owner, order.side, order.price, order.remaining)
        self.books[order.market.symbol].rest(resting)
        self._working[order.order_id] = order

    def _trade(self, taker: Order, match: Match) -> None:
        maker, market = self.orders[match.maker.order_id], taker.market
        buy, sell = (taker, maker) if taker.side == "buy" else (maker, taker)
        cost = rounded(match.price * match.quantity, 8)
        trade = Trade(
            self.next_trade_id(),
            market,
            match.price,
            match.quantity,
            cost,
            self.clock(),
            taker.side,
            buy,
            sell,
        )
        self.trades.append(trade)
        self.feed.trade(trade)
        self._fill(maker, trade, maker.account.maker_percent)
        self._fill(taker, trade, taker.account.taker_percent)

    def _fill(self, order: Order, trade: Trade, percent: Decimal) -> None:
        fee = Decimal(0) if trade.is_self_trade else events.fee_of(trade.cost, percent)
        fill = Fill(trade, order, fee)
        order.fills.append(fill)
        order.remaining -= trade.quantity
        self.post(fill, 1)
        self.feed.fill(fill)
        if order.remaining:
            data = events.order_data(order, trade.quantity, trade.at)
            self._publish("order_changed", order, data, trade.at)
        else:
            self._end(order, "Finished", trade.quantity)

    def _end(self, order: Order, status: str, traded: Decimal = Decimal(0)) -> None:
        now = self.clock()
        order.status, order.closed, order.cancel_pending = status, now, False
        self._working.pop(order.order_id, None)
        if order.account.is_house:
            del self.orders[order.order_id]
        data = events.order_data(order, traded, now)
        self._publish("order_deleted", order, data, now)

    def _publish(self, name: str, order: Order, data: Frame, at: datetime) -> None:
        watchers = self.feed.watchers(order.account)
        self.feed.order_event(self.log.record(name, order, data, at, watchers))

    def next_trade_id(self) -> int:
        """Ids of trades and other account transactions, one space."""
        self._trade_id += 1
        return self._trade_id

    def _next_order_id(self) -> int:
        self._order_id += self._random.randrange(1, 5000)
        return self._order_id

    def post(self, fill: Fill, sign: int) -> None:
        """Book a fill (1) or undo it (-1): the account's totals move. The house has none."""
        account = fill.order.account
        if account.is_house:
            return
        if sign > 0:
            self.fills.append(fill)
        else:
            self.fills.remove(fill)
        for currency, change in fill.moves.items():
            account.balances[currency] = account.balances.get(currency, Decimal(0)) + sign * change
