"""The matching engine: placing, cancelling, amending, triggering; every change is reported."""

import random
import string
from collections import defaultdict
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from tests.simulators.matching import Book, Match, Resting

from .accounts import Account
from .errors import DUPLICATE, INSUFFICIENT, MARKET_CLOSED, ApiError, not_cancelled, refused
from .filters import check_lot
from .instruments import Instrument
from .market import Market
from .numbers import ZERO
from .orders import SIDES, Fill, NewOrder, Order
from .prevention import in_the_way
from .quantities import Needs
from .settlement import Settlement
from .views import Views, position_event

MAKER = "maker"
_ID_LETTERS = string.ascii_letters + string.digits
_REFUND = {False: 1, True: 5}  # unfilled orders that a first fill gives back: taker, maker


class Engine:
    """All books, and all orders of all accounts. Times are ms of `clock`."""

    def __init__(
        self,
        clock: Callable[[], int],
        instruments: dict[str, Instrument],
        accounts: dict[int, Account],
        dice: random.Random,
    ) -> None:
        self._clock, self._instruments, self._accounts = clock, instruments, accounts
        self._dice = dice
        self.publish: Callable[[int, dict[str, Any]], None] = lambda uid, event: None
        self.changed: Callable[[str], None] = lambda symbol: None
        self.books: defaultdict[str, Book] = defaultdict(Book)
        self.market = Market(clock, instruments, self.books)
        self.views = Views(instruments)
        self.money = Settlement(accounts, instruments, self.market)
        self.needs = Needs(self.books, instruments)
        self._wipe()

    def _wipe(self) -> None:
        self.orders: dict[tuple[str, int], Order] = {}
        self.history: list[Order] = []
        self.fills: list[Fill] = []
        self.live: defaultdict[tuple[int, str], dict[int, Order]] = defaultdict(dict)
        self.by_client: defaultdict[tuple[int, str, str], list[Order]] = defaultdict(list)
        self._stops: defaultdict[str, list[Order]] = defaultdict(list)
        self._last_id: defaultdict[str, int] = defaultdict(int)
        self.execution_id = self._stranger_id = self._burst = self._prevented = 0

    def reset(self) -> None:
        """Forget every order, fill, book and public trade; ids start again."""
        self._wipe()
        self.books.clear()
        self.market.tapes.clear()

    # --- accounts' orders

    def place(self, account: Account, new: NewOrder) -> Order:
        """Take a new order in, match it, report it. Raises ApiError where it is refused."""
        self._refuse(account, new)
        need = self.needs.of(new, account)
        if account.free(need.asset) < need.amount:
            raise refused(INSUFFICIENT)
        order = self._create(account, new, need.quantity)
        self.money.hold(order, need.asset, need.amount)
        if new.is_stop:
            self._stops[order.symbol].append(order)
            self._report(order, "NEW")
        else:
            self._enter(order)
        self._flush(order.symbol)
        return order

    def cancel(
        self,
        account: Account,
        symbol: str,
        order_id: int | None,
        client_id: str | None,
        new_client_id: str | None = None,
        restriction: str | None = None,
    ) -> Order:
        """Take an open order off. Raises ApiError -2011."""
        order = self.find_open(account, symbol, order_id, client_id)
        wanted = {"ONLY_NEW": "NEW", "ONLY_PARTIALLY_FILLED": "PARTIALLY_FILLED"}
        if restriction is not None and order.status != wanted[restriction]:
            raise not_cancelled("Order was not canceled due to cancel restrictions.")
        if self._instruments[symbol].status == "BREAK":
            raise not_cancelled(MARKET_CLOSED)
        order.cancel_id = new_client_id or self.make_id()
        self._end(order, "CANCELED")
        self._report(order, "CANCELED", original_id=order.client_id)
        self._flush(symbol)
        return order

    def amend(self, order: Order, quantity: Decimal, new_client_id: str | None) -> Order:
        """Lower an open order's quantity; it keeps its id and place. Raises ApiError -2038."""
        instrument = self._instruments[order.symbol]
        rule = instrument.rule("MAX_NUM_ORDER_AMENDS")
        if quantity > order.quantity:
            raise ApiError(-2038, "Order amend (quantity increase) is not supported.")
        if quantity == order.quantity:
            text = "The requested action would change no state; rejecting."
            raise ApiError(-2038, text)
        if rule and order.amends >= rule["maxNumOrderAmends"]:
            raise ApiError(-2038, "Order amend rejected.")
        check_lot(quantity, instrument)
        original = order.client_id
        left = max(ZERO, quantity - order.executed)
        unit = order.price if order.is_buy else Decimal(1)
        self.money.release(order, unit * (order.remaining - left))
        order.amends += 1
        order.quantity, order.update_time = quantity, self._clock()
        order.client_id = new_client_id or self.make_id()
        self.by_client[(order.uid, order.symbol, order.client_id)].append(order)
        resting = self.books[order.symbol].get(order.order_id)
        if resting is not None:
            resting.remaining = left
        self._report(order, "REPLACED", original_id=original)
        if not left:
            self._expire(order, "NONE")
        self._flush(order.symbol)
        return order

    def open_of(self, uid: int, symbol: str | None = None) -> list[Order]:
        """The open orders of an account, oldest first."""
        if symbol is not None:
            return list(self.live[(uid, symbol)].values())
        mine = [orders for (owner, _), orders in self.live.items() if owner == uid]
        return sorted((o for orders in mine for o in orders.values()), key=lambda o: o.time)

    def make_id(self) -> str:
        return "".join(self._dice.choices(_ID_LETTERS, k=22))

    # --- strangers and scripted history

    def trade_against(self, symbol: str, side: str, price: Decimal, quantity: Decimal) -> None:
        """Somebody takes what accounts and makers offer up to a price."""
        self._cross(symbol, side, price, quantity)
        self._flush(symbol)

    def quote(self, symbol: str, quotes: Mapping[str, Decimal], quantity: Decimal) -> None:
        """Market makers' orders, by side; they trade first with whatever they cross."""
        for side, price in quotes.items():
            self._cross(symbol, side, price, quantity)
        for side, price in quotes.items():
            self._stranger_id -= 1
            self.books[symbol].rest(Resting(self._stranger_id, MAKER, side, price, quantity))
        self._flush(symbol)

    def unquote(self, symbol: str) -> None:
        """Take every order of the market makers off a book, without telling yet."""
        book = self.books[symbol]
        for resting in book.owned_by(MAKER):
            book.remove(resting.order_id)

    def _cross(self, symbol: str, side: str, price: Decimal, quantity: Decimal) -> None:
        self._burst += 1
        for match in self.books[symbol].take(side, quantity, price):
            self._trade(symbol, side, None, match)

    def print_trade(self, symbol: str, price: Decimal, quantity: Decimal, side: str) -> None:
        """A public trade among strangers: moves the last price and triggers stops."""
        self._burst += 1
        self.market.record(symbol, price, quantity, side == "sell", self._burst)
        self._flush(symbol)

    def roll_back(self, count: int) -> list[Order]:
        """Lose the last orders as a restored database does; counterparties keep their side."""
        lost = self.history[len(self.history) - count :]
        for order in reversed(lost):
            self.books[order.symbol].remove(order.order_id)
            self._forget(order)
            self.money.undo(order)
            del self.orders[(order.symbol, order.order_id)]
            self.by_client[(order.uid, order.symbol, order.client_id)].remove(order)
            self._last_id[order.symbol] = order.order_id - 1
            self.history.pop()
        gone = {(order.symbol, order.order_id) for order in lost}
        self.fills[:] = [fill for fill in self.fills if (fill.symbol, fill.order_id) not in gone]
        return lost

    # --- the inside

    def _refuse(self, account: Account, new: NewOrder) -> None:
        if new.client_id is not None:
            same = self.by_client.get((account.uid, new.symbol, new.client_id), [])
            if any(order.is_open and order.client_id == new.client_id for order in same):
                raise refused(DUPLICATE)
        if new.type == "LIMIT_MAKER":
            book = self.books[new.symbol]
            if book.fillable(SIDES[new.side], new.quantity, new.price):
                raise refused("Order would immediately match and take.")
        if new.is_stop and self._triggered(new.side, new.type, new.symbol, new.stop_price):
            raise refused("Order would trigger immediately.")

    def _create(self, account: Account, new: NewOrder, quantity: Decimal) -> Order:
        now = self._clock()
        self._last_id[new.symbol] += 1
        order = Order(
            self._last_id[new.symbol],
            account.uid,
            new.symbol,
            new.side,
            new.type,
            new.time_in_force,
            new.client_id or self.make_id(),
            quantity,
            new.price,
            new.quote_quantity,
            new.stop_price,
            new.stp or self._instruments[new.symbol].default_stp,
            now,
            now,
            new.strategy_id,
            new.strategy_type,
        )
        self.orders[(order.symbol, order.order_id)] = order
        self.history.append(order)
        self.live[(order.uid, order.symbol)][order.order_id] = order
        self.by_client[(order.uid, order.symbol, order.client_id)].append(order)
        return order

    def _enter(self, order: Order) -> None:
        """The order goes on the book: second NEW of a stop, only NEW of the others."""
        order.is_working = True
        order.working_time = order.update_time = self._clock()
        self._report(order, "NEW")
        self._burst += 1
        self._match(order)

    def _match(self, order: Order) -> None:
        book, side = self.books[order.symbol], SIDES[order.side]
        allowed = self._prevent_self_trade(order)
        bound = self._range_bound(order)
        if order.time_in_force == "FOK" and book.fillable(side, allowed, bound) < order.remaining:
            return self._expire(order, "UNFILLED_FOK_ORDER_EXPIRED")
        wanted = order.remaining
        for match in book.take(side, allowed, bound):
            self._trade(order.symbol, side, order, match)
        if not order.remaining:
            return None
        if allowed < wanted:
            return self._expire_in_match(order)
        return self._rest_or_expire(order, bound)

    def _rest_or_expire(self, order: Order, bound: Decimal | None) -> None:
        book, side = self.books[order.symbol], SIDES[order.side]
        if bound != order.limit and book.fillable(side, order.remaining, order.limit):
            return self._expire(order, "EXECUTION_RULE_PRICE_RANGE_EXCEEDED")
        if order.limit is None:
            return self._expire(order, "INSUFFICIENT_LIQUIDITY")
        if order.time_in_force == "IOC":
            return self._expire(order, "UNFILLED_IOC_QUANTITY_EXPIRED")
        owner = str(order.uid)
        return book.rest(Resting(order.order_id, owner, side, order.limit, order.remaining))

    def _trade(self, symbol: str, side: str, taker: Order | None, match: Match) -> None:
        trade = self.market.record(symbol, match.price, match.quantity, side == "sell", self._burst)
        maker = self.orders.get((symbol, match.maker.order_id))
        for order, is_maker in ((taker, False), (maker, True)):
            if order is None:
                continue
            if not order.fills:
                self._accounts[order.uid].count.refund += _REFUND[is_maker]
            fill = self.money.fill(order, trade, is_maker)
            self.fills.append(fill)
            order.update_time = self._clock()
            if order.remaining:
                order.status = "PARTIALLY_FILLED"
            else:
                self._end(order, "FILLED")
            self._report(order, "TRADE", fill)

    def _prevent_self_trade(self, order: Order) -> Decimal:
        """Act on own orders in the way; returns how much the taker may still take."""
        own, allowed = in_the_way(self.books[order.symbol], order)
        if order.stp != "EXPIRE_TAKER":
            for resting in own:
                self._expire_in_match(self.orders[(order.symbol, resting.order_id)])
        return allowed

    def _range_bound(self, order: Order) -> Decimal | None:
        """The worst price that the price-range rule and the order's own limit leave."""
        tape = self.market.tapes[order.symbol]
        key = "bidLimitMultUp" if order.is_buy else "askLimitMultDown"
        if tape.reference is None or key not in tape.price_range:
            return order.limit
        edge = tape.reference * Decimal(tape.price_range[key])
        if order.limit is None:
            return edge
        return min(edge, order.limit) if order.is_buy else max(edge, order.limit)

    def _expire(self, order: Order, reason: str) -> None:
        order.expiry_reason = reason
        self._end(order, "EXPIRED")
        self._report(order, "EXPIRED")

    def _expire_in_match(self, order: Order) -> None:
        self._prevented += 1
        order.prevented, order.prevented_match = order.remaining, self._prevented
        self._end(order, "EXPIRED_IN_MATCH")
        self._report(order, "TRADE_PREVENTION")

    def _end(self, order: Order, status: str) -> None:
        order.status, order.update_time = status, self._clock()
        self.books[order.symbol].remove(order.order_id)
        self.money.release(order)
        self._forget(order)

    def _forget(self, order: Order) -> None:
        self.live[(order.uid, order.symbol)].pop(order.order_id, None)
        if order.is_stop and order in self._stops[order.symbol]:
            self._stops[order.symbol].remove(order)

    def find_open(
        self, account: Account, symbol: str, order_id: int | None, client_id: str | None
    ) -> Order:
        """The open order of these ids. Raises ApiError -2011."""
        mine = self.live[(account.uid, symbol)]
        if order_id is not None:
            order = mine.get(order_id)
            if order is not None and client_id not in (None, order.client_id):
                raise not_cancelled("Cancel order is invalid. Check origClOrdId and orderId.")
        else:
            same = self.by_client.get((account.uid, symbol, client_id or ""), [])
            order = next((o for o in same if o.is_open and o.client_id == client_id), None)
        if order is None:
            raise not_cancelled()
        return order

    def _triggered(self, side: str, kind: str, symbol: str, stop: Decimal) -> bool:
        last = self.market.last(symbol)
        if last is None:
            return False
        rising = (side == "BUY") == kind.startswith("STOP_LOSS")
        return last >= stop if rising else last <= stop

    def _fire(self, order: Order) -> None:
        self._stops[order.symbol].remove(order)
        if order.type in ("STOP_LOSS", "TAKE_PROFIT"):
            self.money.release(order)
            account = self._accounts[order.uid]
            need = self.needs.of_market(order.symbol, order.is_buy, order.quantity, account.owner)
            if account.free(need.asset) < need.amount:
                order.is_working = False
                return self._expire(order, "REJECTED")
            self.money.hold(order, need.asset, need.amount)
        return self._enter(order)

    def _flush(self, symbol: str) -> None:
        """Fire what the new last price triggers, then tell accounts and the public."""
        self._tell_positions()
        while fired := next((o for o in self._stops[symbol] if self._due(o)), None):
            self._fire(fired)
            self._tell_positions()
        self.market.tapes[symbol].update_id += 1
        self.changed(symbol)

    def _due(self, order: Order) -> bool:
        return self._triggered(order.side, order.type, order.symbol, order.stop_price)

    def _tell_positions(self) -> None:
        now = self._clock()
        for uid, assets in list(self.money.touched.items()):
            account = self._accounts[uid]
            account.updated = now
            held = {asset: account.balance(asset) for asset in assets}
            self.publish(uid, position_event(now, {a: (b.free, b.locked) for a, b in held.items()}))
        self.money.touched.clear()

    def _report(
        self, order: Order, execution: str, fill: Fill | None = None, original_id: str = ""
    ) -> None:
        self.execution_id += 1
        now = self._clock()
        event = self.views.report(order, execution, self.execution_id, now, fill, original_id)
        self.publish(order.uid, event)
