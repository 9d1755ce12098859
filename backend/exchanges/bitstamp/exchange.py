"""One Bitstamp account: the `Exchange` protocol over signed REST calls and one stream."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from backend.domain.errors import ExchangeUnavailable, OutcomeUnknown, RateLimited
from backend.domain.ledger import FeeSchedule
from backend.domain.money import ZERO
from backend.domain.order import FINAL, Fill, Order, OrderReport, OrderType, TimeInForce
from backend.domain.quote import Quote
from backend.exchanges import (
    Balance,
    Capabilities,
    Catalogue,
    ClientOrderId,
    Event,
    Exchange,
    Identity,
    Metadata,
)
from backend.exchanges._budget import Purpose
from backend.exchanges.bitstamp import answers, history, orders
from backend.exchanges.bitstamp.answers import Refusal
from backend.exchanges.bitstamp.endpoints import Door
from backend.exchanges.bitstamp.fields import (
    id_in,
    moment,
    number,
    optional_text,
    text,
    unsigned,
)
from backend.exchanges.bitstamp.orders import (
    Memory,
    Reply,
    order_age,
    quantity_in,
    remember,
    understood,
)
from backend.exchanges.bitstamp.rejections import ORDER_NOT_FOUND
from backend.exchanges.bitstamp.stream import Stream
from backend.exchanges.bitstamp.tracking import Tracker
from backend.prices.bitstamp import code_of

NAME = "bitstamp"
CAPABILITIES = Capabilities(
    environments=frozenset({"live", "testnet"}),
    order_types=frozenset({OrderType.MARKET, OrderType.LIMIT}),
    times_in_force=frozenset(TimeInForce),
    client_order_id=ClientOrderId.NOT_CHECKED,
    validity=timedelta(seconds=150),
    absence_margin=timedelta(seconds=30),
    absence_answers=3,
    absence_spacing=timedelta(seconds=11),
    band_bps=Decimal(10),
    poll_every=timedelta(seconds=30),
    stream=True,
    sub_accounts=True,
    look_up_every=timedelta(seconds=2),
)

_FEES_LAST = timedelta(minutes=5)
_OPEN_ORDERS_LAST = timedelta(seconds=11)  # The exchange keeps its list for 10.
_CLOCK_LASTS = timedelta(minutes=5)
_WARM_FOR = timedelta(seconds=20)
_ENDED = "Canceled"
_WHOLE_SECONDS = timedelta(seconds=1)  # Trades are told in these, orders more exactly.


class BitstampExchange(Exchange):
    """One account; see `kb/exchanges/bitstamp.md`."""

    capabilities = CAPABILITIES

    def __init__(self, door: Door, environment: str, catalogue: Catalogue) -> None:
        self._door = door
        self._market = door.market
        self._environment = environment
        self._catalogue = catalogue
        self._memory = Memory()
        self._stream = Stream(door, self._memory, self._by_id)
        self._fees: Mapping[str, FeeSchedule] = {}
        self._fees_as_of: datetime | None = None
        self._cancelled: dict[str, datetime] = {}

    # --- whose account, under which rules ---

    async def identity(self) -> Identity:
        """Return the user id; for a sub account `user-subaccount`. Rights are not told."""
        token = await self._stream.tokens.another()
        if not self._door.subaccount_id:
            return Identity(token.user_id, may_trade=True, may_withdraw=None)
        await self.balances()  # Only a key of the main account is answered here.
        identifier = f"{token.user_id}-{self._door.subaccount_id}"
        return Identity(identifier, may_trade=True, may_withdraw=None)

    async def metadata(self) -> Metadata:
        """Return the last good set of rules."""
        return self._catalogue.metadata(NAME, self._environment)

    async def fees(self, symbol: str | None = None) -> FeeSchedule:
        """Return what this account pays, at most some minutes old; None: the dearest."""
        now = self._market.clock()
        if self._fees_as_of is None or now - self._fees_as_of > _FEES_LAST:
            self._fees, self._fees_as_of = await self._ask_fees(), now
        told = self._fees.get(code_of(symbol)) if symbol else None
        if told is not None:
            return told
        return FeeSchedule(
            maker=max(fees.maker for fees in self._fees.values()),
            taker=max(fees.taker for fees in self._fees.values()),
        )

    async def quote(self, symbol: str) -> Quote | None:
        """Return the touch of the exchange's own book."""
        return await self._market.prices.quote(symbol)

    async def reference_price(self, symbol: str) -> Decimal | None:
        """Return None: no instrument here has a price band."""
        return None

    async def now(self) -> datetime:
        """Return the exchange's clock."""
        return await self._market.time(_CLOCK_LASTS)

    async def prepare(self) -> datetime:
        """Make sure that the exchange is reached, and that an order has room in the limits."""
        self._market.budget.take(Purpose.ORDER, requests=1)
        return await self._market.time(_WARM_FOR, Purpose.ORDER)

    # --- orders ---

    async def submit(self, order: Order) -> OrderReport:
        """Send one order, once. The reply tells that it is open, and nothing of fills.

        Raises:
            ExchangeRejected: with a code of `rejections.KINDS`.
            ExchangeUnavailable: no byte was written.
            OutcomeUnknown: everything else; `order_id` where the exchange named one.
        """
        terms, name = order.terms, order.client_order_id
        try:
            params = orders.terms_of(order)
        except ValueError as error:
            raise ExchangeUnavailable(f"{error}; nothing was sent") from None
        self._stream.watch(terms.symbol)
        remember(self._memory.quantities, name, terms.quantity)
        path = f"{terms.side}/{code_of(terms.symbol)}/"
        try:
            reply = await self._door.send(path, params, Purpose.ORDER, sign_time=order.sign_time)
        except RateLimited as error:  # Of our own budget, which is asked before anything is sent.
            raise ExchangeUnavailable(f"{error}; nothing was sent") from None
        named = reply.order_id if isinstance(reply, Refusal) else id_in(reply, "id")
        if named:
            remember(self._memory.claimed, name, named)
        if isinstance(reply, Refusal):
            raise answers.not_placed(reply)
        report = orders.accepted(reply, order, params)
        self._memory.see(report)
        return report

    async def cancel(
        self, client_order_id: str, symbol: str, exchange_order_id: str | None = None
    ) -> None:
        """Ask for a cancel. An answer is no proof: look the order up.

        Raises:
            ExchangeRejected: no such open order, or the market takes no cancels now.
        """
        key = {"id": exchange_order_id} if exchange_order_id else {}
        params = key or {"client_order_id": client_order_id}
        reply = await self._door.send("cancel_order/", params, Purpose.CANCEL)
        if isinstance(reply, Refusal):
            if reply.code == ORDER_NOT_FOUND and reply.status < 500:
                raise answers.unknown_order(reply)
            raise answers.no_answer(reply)
        with understood():
            if optional_text(reply.get("status")) == _ENDED:
                remember(self._cancelled, text(reply["id"]), self._market.clock())

    async def find(
        self, client_order_id: str, symbol: str, exchange_order_id: str | None = None
    ) -> OrderReport | None:
        """Return the order with all its fills, or None: the documented "not found".

        It is asked for by each of its ids before it counts as not found. Of several orders
        under one client id the exchange answers with one of them, and does not say which:
        the caller compares symbol, side and quantity.
        """
        self._stream.watch(symbol)
        known = exchange_order_id or self._memory.claimed.get(client_order_id)
        found = await self._status({"id": known}, client_order_id) if known else None
        if found is None:
            key = {"client_order_id": client_order_id}
            found = await self._status(key, client_order_id)
        return found

    async def open_orders(self) -> Sequence[OrderReport]:
        """Return every live order: the exchange's list, which may be 10 s old.

        What it said to be cancelled meanwhile is left out. An order that is missing here
        proves nothing.
        """
        rows = await self._door.rows("open_orders/")
        with understood():
            told = [orders.open_row(row) for row in rows]
        since = self._market.clock() - _OPEN_ORDERS_LAST
        live = [r for r in told if not self._was_cancelled_since(r.exchange_order_id, since)]
        for report in live:
            self._memory.see(report)
            self._stream.watch(report.symbol)
        return live

    async def orders(self, symbol: str, since: datetime) -> Sequence[OrderReport]:
        """Return the order history of `symbol`, open ones included, oldest first.

        From the order events, the open orders and the trades: one that none of them tells
        of was never there, or ended unfilled before the events that are still told.
        """
        rows = await history.events_since(self._door, symbol, since)
        tracker = Tracker(self._memory)
        with understood():
            for row in rows:
                tracker.take_event(symbol, text(row["event"]), row["data"])
        found = {
            tracked.exchange_order_id: (tracked.first_seen, report)
            for tracked in tracker.orders.values()
            if tracked.last_seen >= since and (report := tracked.report()) is not None
        }
        for placed, report in await self._open_since(symbol):
            found.setdefault(report.exchange_order_id, (placed, report))
        fills = await history.trades_since(self._door, symbol, since, self._memory)
        for fill in fills:
            order_id = fill.exchange_order_id
            if order_id not in found:
                traded = await self._by_id(order_id, quantity_in(fills, order_id))
                if traded is not None:
                    found[order_id] = (fill.executed_at, traded)
        return [
            report
            for _, report in sorted(
                found.values(), key=lambda one: order_age(one[1].exchange_order_id, one[0])
            )
        ]

    async def fills(self, symbol: str, since: datetime) -> Sequence[Fill]:
        """Return the account's fills of `symbol`, oldest first."""
        return await history.trades_since(self._door, symbol, since, self._memory)

    async def balances(self) -> Sequence[Balance]:
        """Return every non-zero balance."""
        rows = await self._door.rows("account_balances/")
        with understood():
            told = [
                Balance(
                    text(row["currency"]).upper(), number(row["total"]), number(row["available"])
                )
                for row in rows
            ]
        return [balance for balance in told if balance.total or balance.free]

    def events(self) -> AsyncGenerator[Event, None]:
        """Stream news of this account's orders; see `Stream`."""
        return self._stream.events()

    async def close(self) -> None:
        """End the streams. Connections belong to the market."""
        await self._stream.close()

    # --- below: how ---

    async def _status(
        self, key: dict[str, str], client_order_id: str, traded: Decimal | None = None
    ) -> OrderReport | None:
        """Look one order up; `traded`: what its trades add up to, if that was asked for."""
        reply: Any = await self._door.send("order_status/", key, Purpose.LOOK_UP)
        if isinstance(reply, Refusal):
            if reply.proves(ORDER_NOT_FOUND):
                return None
            raise answers.no_answer(reply)
        with understood():
            report = orders.looked_up(reply, client_order_id)
        if key.get("id") not in (None, report.exchange_order_id):
            raise OutcomeUnknown("the exchange answered about another order")
        await self._check(report, reply, traded)
        self._memory.see(report)
        return report

    async def _check(self, report: OrderReport, reply: Reply, traded: Decimal | None) -> None:
        """See that a state is not ahead of the fills that came with it.

        Raises:
            OutcomeUnknown: it is, or may be: ask again later.
        """
        # More than was ordered would be another order: the caller sees to that.
        behind = report.quantity < (self._memory.quantity_of(report) or ZERO)
        if report.state in FINAL and not behind and report.quantity:
            if traded is None and self._memory.quantity_of(report) is None:
                traded = await self._traded(report, reply)
            behind = report.filled_quantity < (traded or ZERO)
        if behind or not report.quantity:
            raise OutcomeUnknown("what the exchange says of the order does not add up")
        if report.state in FINAL:
            remember(self._memory.ended, report.exchange_order_id, report.quantity)

    async def _traded(self, report: OrderReport, reply: Reply) -> Decimal:
        with understood():
            placed = moment(reply["datetime"]) - _WHOLE_SECONDS
        fills = await history.trades_since(self._door, report.symbol, placed, self._memory)
        return quantity_in(fills, report.exchange_order_id)

    async def _by_id(
        self, exchange_order_id: str, traded: Decimal | None = None
    ) -> OrderReport | None:
        name = self._memory.names.get(exchange_order_id, "")
        return await self._status({"id": exchange_order_id}, name, traded)

    async def _open_since(self, symbol: str) -> Iterable[tuple[datetime, OrderReport]]:
        rows = await self._door.rows(f"open_orders/{code_of(symbol)}/")
        with understood():
            return [(moment(row["datetime"]), orders.open_row(row)) for row in rows]

    def _was_cancelled_since(self, exchange_order_id: str, since: datetime) -> bool:
        when = self._cancelled.get(exchange_order_id)
        return when is not None and when >= since

    async def _ask_fees(self) -> Mapping[str, FeeSchedule]:
        rows = await self._door.rows("fees/trading/")
        with understood():
            found = {text(row["market"]): _fees_of(row["fees"]) for row in rows}
            if not found:
                raise ValueError("no fees")
        return found


def _fees_of(row: Mapping[str, Any]) -> FeeSchedule:
    """Return fractions: the exchange tells percent."""
    return FeeSchedule(maker=unsigned(row["maker"]) / 100, taker=unsigned(row["taker"]) / 100)
