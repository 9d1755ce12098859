"""One paper account: the `Exchange` protocol over the durable book.

Matching is lazy: whoever asks first makes the live orders meet what the market
did since, in the same transaction as the answer.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeVar

from backend.database import Database, Transaction, sqlite3
from backend.domain.errors import (
    NO_ANSWER,
    ExchangeRejected,
    ExchangeUnavailable,
    OutcomeUnknown,
    Refused,
)
from backend.domain.instrument import Instrument
from backend.domain.ledger import FeeSchedule
from backend.domain.order import Fill, Order, OrderReport, OrderType, TimeInForce
from backend.domain.quote import Quote
from backend.exchanges import (
    AccountKey,
    Balance,
    Capabilities,
    ClientOrderId,
    Context,
    Event,
    Exchange,
    Identity,
    Metadata,
)
from backend.exchanges.paper import book, matching, told
from backend.exchanges.paper.door import Known, admit, fee_asset
from backend.exchanges.paper.faults import FaultScript, SubmitFault
from backend.exchanges.paper.ground import Ground
from backend.exchanges.paper.instruments import Rules
from backend.exchanges.paper.market import (
    Market,
    conditions_of,
    is_quiet,
    meet_market,
    read_market,
)
from backend.exchanges.paper.matching import Execution, Step

T = TypeVar("T")

CAPABILITIES = Capabilities(
    environments=frozenset({"paper"}),
    order_types=frozenset(OrderType),
    times_in_force=frozenset(TimeInForce),
    client_order_id=ClientOrderId.UNIQUE_FOR_EVER,
    validity=timedelta(seconds=2),
    absence_margin=timedelta(),
    absence_answers=1,
    absence_spacing=timedelta(),
    band_bps=Decimal(0),
    poll_every=timedelta(0),
    stream=True,
    sub_accounts=False,
)

_STREAM_PAUSE_S = 0.5
# What happens in a burst is read in one go: the one who submitted has its answer already.
_STREAM_BATCH_S = 0.1


class PaperExchange(Exchange):
    """One account; see `kb/exchanges/paper.md`."""

    capabilities = CAPABILITIES

    def __init__(
        self, account: AccountKey, ground: Ground, context: Context, database: Database
    ) -> None:
        self._account = account.identifier
        self._ground = ground
        self._settings = ground.settings
        self._clock = context.clock
        self._prices = ground.prices
        self._faults = context.faults or FaultScript()
        # Without a script nobody reads what was sent, and it would grow for ever.
        self._scripted = context.faults is not None
        self._database = database
        self._changed = asyncio.Event()
        self._closed = False

    async def identity(self) -> Identity:
        """Return the account itself: nobody else is in between."""
        return Identity(self._account, may_trade=True, may_withdraw=False)

    async def metadata(self) -> Metadata:
        """Return everything that can be traded: here, or on the exchange that is mirrored."""
        return self._ground.metadata()

    async def fees(self, symbol: str | None = None) -> FeeSchedule:
        """Return what this account pays, whatever it trades."""
        return self._settings.fees

    async def quote(self, symbol: str) -> Quote | None:
        """Return the price source's quote."""
        return await self._prices.quote(symbol) if symbol in self._rules.listed else None

    async def reference_price(self, symbol: str) -> Decimal | None:
        """Return what the exchange that is mirrored says, or None."""
        return await self._ground.reference_price(symbol)

    async def now(self) -> datetime:
        """Return the exchange's clock, which is ours, and store it.

        So no order comes in whose validity had ended by a time that was told.
        """
        with _answers(self._database):
            return await self._database.write(lambda transaction: transaction.now)

    async def prepare(self) -> datetime:
        """Return the exchange's clock, unless its book has failed."""
        with _answers(self._database):
            return self._clock()

    async def submit(self, order: Order) -> OrderReport:
        """Take one order into the book, or refuse it.

        Raises:
            ExchangeRejected: with a code of `door.REJECTIONS`.
            OutcomeUnknown: this client order id was used before, or a fault says so.
            ExchangeUnavailable: a fault says so.
        """
        fault = self._next_fault(order)
        if fault.kind == "unavailable":
            raise ExchangeUnavailable("the paper exchange was not reached; nothing was sent")
        if fault.kind == "reject":
            raise ExchangeRejected(f"the paper exchange refused: {fault.code}", fault.code)
        if fault.kind == "delay":
            self._faults.put_on_the_way(self._clock() + fault.delay, self._account, order)
        if fault.kind in ("delay", "lose_request"):
            raise OutcomeUnknown("no answer came; the order may have arrived")
        await self._deliver()
        if fault.kind != "lose_answer":
            return await self._take(order, fault)
        with suppress(ExchangeRejected):
            await self._take(order, fault)
        raise OutcomeUnknown("the answer was lost; the order may have arrived")

    async def cancel(
        self, client_order_id: str, symbol: str, exchange_order_id: str | None = None
    ) -> None:
        """Cancel a live order.

        Raises:
            ExchangeRejected: `unknown_order`: no such order, or it is final. No evidence.
        """

        def body(transaction: Transaction) -> None:
            found = book.find(transaction, self._account, client_order_id)
            if found is None or found.working.final or found.working.symbol != symbol:
                raise ExchangeRejected("unknown order", "unknown_order")
            step = matching.cancelled(found.working, transaction.now)
            book.record(transaction, found, step, rules)

        rules = self._rules
        await self._deliver()
        await self._write(body)

    async def find(
        self, client_order_id: str, symbol: str, exchange_order_id: str | None = None
    ) -> OrderReport | None:
        """Return the order with all its fills, or None. The look-up is authoritative.

        None is said under the write lock: no submit is between its look at the clock
        and its commit.
        """

        def body(transaction: Transaction) -> OrderReport | None:
            found = book.find(transaction, self._account, client_order_id)
            if found is None or found.working.symbol != symbol:
                return None
            return told.report(transaction, found)

        await self._deliver()
        if self._faults.looks_hidden(self._clock()):
            return None
        await self._match()
        return await self._read(body) or await self._write(body)

    async def open_orders(self) -> Sequence[OrderReport]:
        """Return every live order, oldest first."""

        def body(transaction: Transaction) -> list[OrderReport]:
            live = book.live(transaction, self._account)
            return [told.report(transaction, booked) for booked in live]

        return await self._look(body, [])

    async def orders(self, symbol: str, since: datetime) -> Sequence[OrderReport]:
        """Return the orders of `symbol` placed since, oldest first."""
        return await self._look(lambda t: told.history(t, self._account, symbol, since), [])

    async def fills(self, symbol: str, since: datetime) -> Sequence[Fill]:
        """Return the fills of `symbol` executed since, oldest first."""
        return await self._look(lambda t: told.fills(t, self._account, symbol, since), [])

    async def balances(self) -> Sequence[Balance]:
        """Return every non-zero balance; free counts live orders."""
        await self._deliver()
        await self._match()
        rules = self._rules
        return await self._read(lambda t: book.balances(t, self._account, rules))

    async def events(self) -> AsyncGenerator[Event, None]:
        """Stream news from now on. Live orders are matched meanwhile."""
        seen = await self._read(lambda t: told.last_event(t, self._account))
        yield Event(None)
        async for one in self.told_since(seen):
            yield Event(one.report)

    async def told_since(self, seen: int) -> AsyncIterator[told.Told]:
        """Stream the stored events after that sequence, then new ones, until closed."""
        while not self._closed:
            changed = self._changed
            await self._deliver()
            await self._match()
            found = await self._events_after(seen)
            if found and self._faults.breaks_stream():
                raise ExchangeUnavailable("the stream broke")
            for one in self._faults.disturbed(found):
                yield one
            if found:
                seen = found[-1].sequence
                continue
            with suppress(TimeoutError):
                # Before Python 3.12 `wait_for` swallows a cancel that comes as it ends.
                async with asyncio.timeout(_STREAM_PAUSE_S):
                    await changed.wait()
                await asyncio.sleep(_STREAM_BATCH_S)

    async def close(self) -> None:
        """End the streams and close the book."""
        if not self._closed:
            self._closed = True
            self._changed.set()
            self._database.close()

    def _next_fault(self, order: Order) -> SubmitFault:
        """Return what to do wrong, and let the script remember what it was sent."""
        fault = self._faults.next_submit()
        if self._scripted:
            self._faults.attempts.append(order)
            if fault.kind != "unavailable":
                self._faults.sent.append(order)
        return fault

    # --- below: how an order gets in, and how the market reaches the book ---

    async def _take(self, order: Order, fault: SubmitFault) -> OrderReport:
        if self._settings.latency_ms:
            await asyncio.sleep(self._settings.latency_ms / 1000)
        # A market order fills at its locked price: it must not wait for another quote.
        is_market = order.terms.order_type is OrderType.MARKET
        quote = None if is_market else await self._prices.quote(order.terms.symbol)
        rules = self._rules
        known = await self._known(order.terms.symbol, rules)

        def body(transaction: Transaction) -> OrderReport:
            admit(transaction, self._account, order, known, rules)
            seen = transaction.now if quote is None else quote.as_of
            booked = book.add(transaction, self._account, order, known.fee_price, seen)
            for step in self._first_steps(order, booked, quote, fault, rules, transaction.now):
                book.record(transaction, booked, step, rules)
            found = book.find(transaction, self._account, order.client_order_id)
            assert found is not None
            return told.report(transaction, found)

        return await self._write(body)

    def _first_steps(
        self,
        order: Order,
        booked: book.Booked,
        quote: Quote | None,
        fault: SubmitFault,
        rules: Rules,
        now: datetime,
    ) -> list[Step]:
        working = booked.working
        if fault.kind == "partial":
            execution = Execution(fault.quantity, working.limit_price, "taker")
            part = matching.filled(working, fault.quantity)
            return [Step(now, part, execution), matching.cancelled(part, now)]
        if order.terms.order_type is OrderType.MARKET:
            # The plan locked this price, and paper fills at exactly the locked price.
            execution = Execution(working.quantity, order.price, "taker")
            return [Step(now, matching.filled(working, working.quantity), execution)]
        steps = matching.arrive(working, quote, conditions_of(working.symbol, rules), now)
        return steps or [Step(now, working)]

    async def _events_after(self, sequence: int) -> list[told.Told]:
        return await self._read(lambda t: told.events(t, self._account, sequence))

    @property
    def _rules(self) -> Rules:
        return self._ground.rules

    async def _known(self, symbol: str, rules: Rules) -> Known:
        listed = rules.listed.get(symbol)
        if listed is None:
            return Known(None)
        reference = await self._reference(listed) if listed.price_band else None
        true = self._faults.true_rules(listed)
        return Known(true, await self._fee_price(listed, rules), reference)

    async def _reference(self, listed: Instrument) -> Decimal:
        try:
            found = await self._ground.reference_price(listed.symbol)
        except NO_ANSWER as error:
            raise ExchangeUnavailable(f"no reference price: {error.detail}") from error
        if found is None:
            raise ExchangeUnavailable(f"{listed.symbol} has no reference price now")
        return found

    async def _fee_price(self, listed: Instrument, rules: Rules) -> Decimal | None:
        asset = fee_asset(rules.fees, listed)
        if asset is None:
            return None
        quote = await self._prices.quote(f"{asset}/{listed.quote}")
        return None if quote is None else quote.last

    async def _look(self, body: Callable[[Transaction], T], nothing: T) -> T:
        await self._deliver()
        if self._faults.looks_hidden(self._clock()):
            return nothing
        await self._match()
        return await self._read(body)

    async def _deliver(self) -> None:
        """Take in the delayed orders that have arrived by now."""
        for order in self._faults.arrived(self._account, self._clock()):
            with suppress(ExchangeRejected, ExchangeUnavailable, OutcomeUnknown):
                await self._take(order, SubmitFault("none"))

    async def _match(self) -> None:
        """Let the live orders meet the market; write only what happened."""
        market = await self._market()
        if market is None:
            return
        account, rules = self._account, self._rules
        if not await self._read(lambda t: is_quiet(t, account, market, rules)):
            await self._write_after(market, lambda transaction: None)

    async def _market(self) -> Market | None:
        live = await self._read(lambda t: book.live(t, self._account))
        return await read_market(live, self._prices, self._clock()) if live else None

    async def _read(self, body: Callable[[Transaction], T]) -> T:
        with _answers(self._database):
            return await self._database.read(body)

    async def _write(self, body: Callable[[Transaction], T]) -> T:
        return await self._write_after(await self._market(), body)

    async def _write_after(self, market: Market | None, body: Callable[[Transaction], T]) -> T:
        rules = self._rules

        def whole(transaction: Transaction) -> T:
            if market is not None:
                meet_market(transaction, self._account, market, rules)
            return body(transaction)

        with _answers(self._database):
            result = await self._database.write(whole)
        self._changed.set()
        self._changed = asyncio.Event()
        return result


@contextmanager
def _answers(database: Database) -> Iterator[None]:
    """Turn trouble with the book into what a caller of an exchange understands.

    A book that failed says nothing more: what it shows may not be on the disk.
    """
    if database.failure:
        raise ExchangeUnavailable(f"the paper book has failed: {database.failure}")
    try:
        yield
    except Refused as error:
        if database.failure:
            raise OutcomeUnknown(f"the paper book failed: {error.detail}") from error
        raise ExchangeUnavailable(f"the paper book is not available: {error.detail}") from error
    except sqlite3.Error as error:
        raise OutcomeUnknown(f"the paper book failed: {error}") from error
