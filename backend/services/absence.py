"""Looking an order up, and when "not found" proves that it is absent (Law 6).

| answer                              | what it proves                                            |
|-------------------------------------|-----------------------------------------------------------|
| the order                           | that it is there: settled                                 |
| an error, a refusal, silence        | nothing                                                   |
| "not found" while it may still enter| nothing                                                   |
| "not found" after that, often enough| absent, if no history row and no fill could be this order |
| "not found" of one that we saw live | that the exchange lost it, or was reset: the account stops|
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from backend.database import Transaction
from backend.domain.clock import to_row
from backend.domain.errors import SILENCE
from backend.domain.order import UNSETTLED, Fill, OrderReport
from backend.domain.trade import is_trade_id
from backend.exchanges import Exchange
from backend.services import Desk, log, settle
from backend.services.execution import request_cancel, take_report
from backend.store import orders, trades
from backend.store.accounts import Account
from backend.store.orders import OrderRow
from backend.store.trades import Trade

# Clocks and reports may differ by this much around the moment of signing.
_BEFORE_SIGNING = timedelta(seconds=5)


class History:
    """What the exchange has recorded of the orders looked for: read once per symbol and round.

    Attributes:
        wanted: the orders looked for; the oldest says how far back to read.
    """

    def __init__(self, exchange: Exchange, wanted: Iterable[OrderRow]) -> None:
        self.wanted = list(wanted)
        self._exchange = exchange
        self._orders: dict[str, list[OrderReport]] = {}
        self._fills: dict[str, list[Fill]] = {}
        self._since = min((o.sign_time for o in self.wanted), default=None)

    async def orders(self, symbol: str, since: datetime | None = None) -> list[OrderReport]:
        """Return the orders of `symbol`, at least those since."""
        if symbol not in self._orders:
            found = await self._exchange.orders(symbol, self._from(since))
            self._orders[symbol] = list(found)
        return self._orders[symbol]

    async def fills(self, symbol: str, since: datetime) -> list[Fill]:
        """Return the fills of `symbol` since."""
        if symbol not in self._fills:
            self._fills[symbol] = list(await self._exchange.fills(symbol, self._from(since)))
        return [fill for fill in self._fills[symbol] if fill.executed_at >= since]

    def _from(self, since: datetime | None) -> datetime:
        known = [moment for moment in (since, self._since) if moment is not None]
        return min(known) - _BEFORE_SIGNING


async def symbol_of(desk: Desk, order: OrderRow) -> str:
    """Return the symbol that an order trades."""
    trade = await desk.database.read(lambda tx: trades.get(tx, order.trade_id))
    return trade.symbol


async def look_up(
    desk: Desk, account: Account, exchange: Exchange, order: OrderRow, history: History
) -> None:
    """Ask for one order and settle the answer.

    Raises:
        RateLimited: no more may be asked now; every other silence is only written down.
    """
    symbol = await symbol_of(desk, order)
    try:
        asked_at = await exchange.now()
        found = await exchange.find(order.trade_id, symbol, order.exchange_order_id)
        answered_at = asked_at if found else await exchange.now()
    except SILENCE as error:
        log.info("look_up.no_evidence", trade_id=order.trade_id, detail=error.detail)
        return
    if found is not None:
        await take_report(desk, account, exchange, found, "look-up")
        # A cancel asked for while the order was not to be found is asked for again now.
        if order.cancel_requested_at is not None and order.state in UNSETTLED:
            await request_cancel(exchange, order.trade_id, symbol, found.exchange_order_id)
    elif await _counts(desk, exchange, order, asked_at, answered_at):
        if order.state in UNSETTLED:
            await _judge(desk, account, exchange, order, symbol, history)
        else:
            await _lost(desk, account, order)


async def _counts(
    desk: Desk, exchange: Exchange, order: OrderRow, asked_at: datetime, answered_at: datetime
) -> bool:
    """Count a "not found" that is evidence. Returns whether there are enough of them.

    Validity is judged by when it was asked for; the next one must be asked for long enough
    after this answer came, or both could tell of one blind moment.
    """
    rules = exchange.capabilities
    if asked_at <= order.valid_until + rules.absence_margin:
        return False
    last = order.looked_up_at
    if last is not None and order.not_found and asked_at - last < rules.absence_spacing:
        return False
    answers = order.not_found + 1
    await desk.database.write(
        lambda tx: orders.update(
            tx, order.trade_id, not_found=answers, looked_up_at=to_row(answered_at)
        )
    )
    return answers >= rules.absence_answers


async def _judge(
    desk: Desk,
    account: Account,
    exchange: Exchange,
    order: OrderRow,
    symbol: str,
    history: History,
) -> None:
    """End the order as absent, unless the history or a fill says otherwise."""
    trade = await desk.database.read(lambda tx: trades.get(tx, order.trade_id))
    since = order.sign_time - _BEFORE_SIGNING
    try:
        recorded = await history.orders(symbol, order.sign_time)
        fills = await history.fills(symbol, since)
    except SILENCE as error:
        log.info("history.no_evidence", trade_id=order.trade_id, detail=error.detail)
        return
    for report in recorded:
        if report.client_order_id == order.trade_id:
            # The look-ups missed it: the history is evidence all the same.
            await take_report(desk, account, exchange, report, "history")
            return
    twins = [report for report in recorded if _could_be(report, trade)]
    if twins:
        doubt = f"order {twins[0].exchange_order_id} could be this one under another id"
        await desk.database.write(lambda tx: settle.incident(tx, account, trade, doubt))
        return
    others = {report.exchange_order_id for report in recorded}
    others |= await desk.database.read(lambda tx: _followed(tx, account, trade))
    doubtful = [f for f in fills if f.side == trade.side and f.exchange_order_id not in others]
    ids = [(f.exchange_order_id, f.exchange_fill_id) for f in doubtful]
    booked = await desk.database.read(
        lambda tx: orders.known_fill_ids(tx, account.number, symbol, ids)
    )
    unbooked = [pair for pair in ids if pair not in booked]
    if unbooked:
        doubt = f"fill {unbooked[0][1]} belongs to no known order"
        await desk.database.write(lambda tx: settle.incident(tx, account, trade, doubt))
        return
    times, end = order.not_found + 1, to_row(order.valid_until)
    evidence = f"{times} not found after {end}, history and fills clear"
    await desk.database.write(lambda tx: settle.absent(tx, account, order.trade_id, evidence))


def _followed(tx: Transaction, account: Account, trade: Trade) -> set[str]:
    """Return the exchange's ids of our other live orders of the symbol.

    One may be older than the history that is read; its fills are booked once it is looked at.
    """
    return {
        order.exchange_order_id
        for order in orders.live(tx, account.number)
        if order.exchange_order_id is not None
        and order.trade_id != trade.id
        and trades.get(tx, order.trade_id).symbol == trade.symbol
    }


def _could_be(report: OrderReport, trade: Trade) -> bool:
    """Say whether a recorded order asks for the same as this trade under an id that is not ours.

    Who cancels an order may rename it, and an exchange may lose an id: nobody but the
    operator can tell such an order from one that a person placed.
    """
    same = (report.side, report.quantity) == (trade.side, trade.quantity)
    return same and not is_trade_id(report.client_order_id)


async def _lost(desk: Desk, account: Account, order: OrderRow) -> None:
    """Stop an account of which the exchange no longer knows an order that we saw live.

    A test exchange was reset, or history was rolled back: nothing is concluded from it.
    """
    log.warning("order.not_found", trade_id=order.trade_id, state=order.state)
    what = "the exchange no longer knows this order, which was live: was it reset?"
    await desk.database.write(
        lambda tx: settle.incident(tx, account, trades.get(tx, order.trade_id), what)
    )
