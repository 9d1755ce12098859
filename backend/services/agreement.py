"""Agreement: our orders, fills and totals beside an exchange's own. Nothing is changed.

| found                                          | what it is                          |
|------------------------------------------------|-------------------------------------|
| two orders of one trade; one of ours unknown   | differs                             |
| other terms, a fill there or here only         | differs                             |
| a live order of a trade that we ended          | differs                             |
| further on there than a live order of ours     | not comparable now: it is moving    |
| other totals while nothing moves               | differs                             |
| no answer, no room in the rate budget          | not checked                         |

What a listing says differently is asked for by itself first: listings are cached.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from backend.database import Transaction
from backend.domain.errors import NO_ANSWER
from backend.domain.money import ZERO, to_text
from backend.domain.order import FINAL, LIVE, UNSETTLED, Fill, OrderReport
from backend.domain.trade import is_trade_id
from backend.exchanges import Exchange
from backend.services import Desk
from backend.services.reconcile import at_rest
from backend.store import accounts, books, ledger, orders, trades
from backend.store.accounts import Account
from backend.store.orders import OrderRow
from backend.store.trades import Trade

# How far back is compared: as much as every exchange tells of, and as a look-up budget can bear.
_DAYS = timedelta(days=28)
_MOST_ORDERS = 1000
_MOST_SYMBOLS = 20
_MOST_DOUBTS = 20
# Clocks and reports may differ by this much around the moment of signing.
_BEFORE_SIGNING = timedelta(seconds=5)
_TRIES = 2


class Verdict(StrEnum):
    """What an account's comparison came to."""

    AGREES = "agrees"
    DIFFERS = "differs"
    NOT_COMPARABLE = "not_comparable"
    NOT_CHECKED = "not_checked"


@dataclass(slots=True)
class Agreement:
    """What was found on one account.

    Attributes:
        broken: what differs; notes: what keeps it from being compared.
        compared: how many orders were.
    """

    account_id: str
    broken: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    compared: int = 0
    answered: bool = True

    @property
    def verdict(self) -> Verdict:
        """Return what it came to."""
        if self.broken:
            return Verdict.DIFFERS
        if not self.answered:
            return Verdict.NOT_CHECKED
        return Verdict.NOT_COMPARABLE if self.notes else Verdict.AGREES


@dataclass(frozen=True, slots=True)
class _Ours:
    """One order by our books."""

    order: OrderRow
    trade: Trade
    fills: Mapping[str, Fill]


@dataclass(frozen=True, slots=True)
class _Books:
    """One account by our books, at one moment.

    Attributes:
        since: orders signed from then on are here, and live ones.
        version: rises with whatever changes on the account.
    """

    since: datetime
    orders: Mapping[str, _Ours]
    totals: Mapping[str, Decimal]
    version: int
    rests: bool

    def signed_since(self) -> list[_Ours]:
        """Return the orders that the exchange is asked for."""
        return [ours for ours in self.orders.values() if ours.order.sign_time >= self.since]


@dataclass(slots=True)
class _Theirs:
    """One account by the exchange's books: reports by trade id, and totals."""

    reports: dict[str, dict[str, OrderReport]] = field(default_factory=dict)
    totals: dict[str, Decimal] = field(default_factory=dict)


async def with_all(desk: Desk) -> list[Agreement]:
    """Compare every account with its exchange, one after the other."""
    known = await desk.database.read(accounts.all_accounts)
    return [await with_exchange(desk, account) for account in known]


async def with_exchange(desk: Desk, account: Account) -> Agreement:
    """Compare one account with its exchange; what moves meanwhile is looked at once more."""
    found = Agreement(account.id)
    try:
        exchange = await desk.exchange(account)
        for _ in range(_TRIES):
            found = Agreement(account.id)
            await _compare(desk, account, exchange, found)
            if found.verdict is not Verdict.NOT_COMPARABLE:
                break
    except NO_ANSWER as error:
        found.answered = False
        found.notes.append(f"no answer: {error.detail}")
    return found


async def _compare(desk: Desk, account: Account, exchange: Exchange, found: Agreement) -> None:
    before = await desk.database.read_apart(lambda tx: _ours(tx, account))
    theirs = await _ask(exchange, before, found)
    ids = set(before.orders) | set(theirs.reports)
    after = await desk.database.read_apart(lambda tx: _ours(tx, account, ids))
    doubts = []
    for trade_id in sorted(theirs.reports):
        reports, ours = list(theirs.reports[trade_id].values()), after.orders.get(trade_id)
        if len(reports) > 1:
            numbers = ", ".join(sorted(report.exchange_order_id for report in reports))
            found.broken.append(f"{trade_id} is {len(reports)} orders there: {numbers}")
        elif ours is None:
            found.broken.append(f"order {trade_id} there is not in these books")
    for trade_id, ours in sorted(after.orders.items()):
        told = list(theirs.reports.get(trade_id, {}).values())
        if len(told) < 2 and trade_id in before.orders:
            found.compared += 1
            report = told[0] if told else None
            if any(_differences(ours, report, ours.order.sign_time >= before.since)):
                doubts.append(ours)
    await _ask_again(desk, account, exchange, doubts, found)
    _compare_totals(before, after, theirs, found)


def _ours(tx: Transaction, account: Account, also: Iterable[str] = ()) -> _Books:
    since = books.compared_since(tx, account.number, tx.now - _DAYS, _MOST_ORDERS)
    live = [order.trade_id for order in orders.live(tx, account.number)]
    ids = [*books.signed_since(tx, account.number, since), *live, *also]
    known = {trade_id: _one(tx, account, trade_id) for trade_id in ids}
    return _Books(
        since,
        {trade_id: ours for trade_id, ours in known.items() if ours is not None},
        {one.currency: one.total for one in ledger.all_funds(tx, account.number)},
        accounts.by_number(tx, account.number).ledger_version,
        at_rest(tx, account),
    )


def _one(tx: Transaction, account: Account, trade_id: str) -> _Ours | None:
    order = orders.find(tx, trade_id)
    if order is None or order.account != account.number:
        return None
    fills = {fill.exchange_fill_id: fill for fill in orders.fills(tx, trade_id)}
    return _Ours(order, trades.get(tx, trade_id), fills)


async def _ask(exchange: Exchange, ours: _Books, found: Agreement) -> _Theirs:
    """Ask for the history of what we traded, the open orders and the balances."""
    theirs = _Theirs(defaultdict(dict))
    oldest: dict[str, datetime] = {}
    for one in sorted(ours.signed_since(), key=lambda one: one.order.sign_time, reverse=True):
        oldest[one.trade.symbol] = one.order.sign_time - _BEFORE_SIGNING
    for symbol in list(oldest)[_MOST_SYMBOLS:]:
        found.notes.append(f"{symbol} was not looked at: too many symbols")
    for symbol, since in list(oldest.items())[:_MOST_SYMBOLS]:
        recorded = await exchange.orders(symbol, since)
        fills = await exchange.fills(symbol, since)
        for report in recorded:
            own = [fill for fill in fills if fill.exchange_order_id == report.exchange_order_id]
            _keep(theirs, replace(report, fills=_merged(report.fills, own)))
    for report in await exchange.open_orders():
        if report.exchange_order_id not in theirs.reports.get(report.client_order_id, {}):
            _keep(theirs, report)
    theirs.totals = {balance.currency: balance.total for balance in await exchange.balances()}
    return theirs


def _keep(theirs: _Theirs, report: OrderReport) -> None:
    if is_trade_id(report.client_order_id):
        theirs.reports[report.client_order_id][report.exchange_order_id] = report


def _merged(some: Sequence[Fill], more: Sequence[Fill]) -> tuple[Fill, ...]:
    return tuple({fill.exchange_fill_id: fill for fill in (*some, *more)}.values())


async def _ask_again(
    desk: Desk, account: Account, exchange: Exchange, doubts: Sequence[_Ours], found: Agreement
) -> None:
    """Ask for each order that a listing tells of differently, and write down what stays so."""
    for doubt in doubts[:_MOST_DOUBTS]:
        order = doubt.order
        report = await exchange.find(order.trade_id, doubt.trade.symbol, order.exchange_order_id)
        ours = await _read_one(desk, account, order.trade_id)
        for moving, text in _differences(ours, report, whole=True):
            (found.notes if moving else found.broken).append(text)
    for doubt in doubts[_MOST_DOUBTS:]:
        found.notes.append(f"{doubt.order.trade_id} was not asked for by itself: too many differ")


async def _read_one(desk: Desk, account: Account, trade_id: str) -> _Ours:
    ours = await desk.database.read(lambda tx: _one(tx, account, trade_id))
    assert ours is not None, "an order is never deleted"
    return ours


def _differences(
    ours: _Ours, report: OrderReport | None, whole: bool
) -> Iterator[tuple[bool, str]]:
    """Yield how an order of ours differs, each with whether it is only that it moves.

    Args:
        whole: the report has all the fills there are.
    """
    order, trade, name = ours.order, ours.trade, ours.order.trade_id
    ended = order.state in FINAL
    if order.state in UNSETTLED:
        yield True, f"{name} is {order.state}: its outcome is not known yet"
    elif report is None:
        if order.filled_quantity or not ended:
            yield False, f"{name} is {order.state} here, the exchange does not know it"
    elif (report.symbol, report.side) != (trade.symbol, trade.side):
        yield False, f"{name} is a {report.side} of {report.symbol} there"
    elif report.quantity != trade.quantity:
        there, here = to_text(report.quantity), to_text(trade.quantity)
        # Some exchanges add an order up from its parts, and a part may lag behind the rest.
        yield report.quantity < trade.quantity, f"{name} is of {there} there, of {here} here"
    else:
        yield from _progress(ours, report, ended)
        yield from _fills(ours, report, ended) if whole else ()


def _progress(ours: _Ours, report: OrderReport, ended: bool) -> Iterator[tuple[bool, str]]:
    order, name = ours.order, ours.order.trade_id
    lives = report.state in LIVE
    if ended and lives:
        yield False, f"{name} is live there, it ended here as {order.state}"
    if not ended and not lives:
        yield True, f"{name} ended there as {report.state}, it is {order.state} here still"
    if order.filled_quantity != report.filled_quantity:
        there, here = to_text(report.filled_quantity), to_text(order.filled_quantity)
        ahead = not ended and report.filled_quantity > order.filled_quantity
        yield ahead, f"{name} has {there} filled there, {here} here"


def _fills(ours: _Ours, report: OrderReport, ended: bool) -> Iterator[tuple[bool, str]]:
    name, theirs = ours.order.trade_id, {fill.exchange_fill_id: fill for fill in report.fills}
    for fill_id, fill in ours.fills.items():
        there = theirs.get(fill_id)
        if there is None:
            yield False, f"fill {fill_id} of {name} is booked here, it is not there"
        elif _numbers(there) != _numbers(fill):
            yield False, f"fill {fill_id} of {name} has other numbers there"
    for fill_id in theirs.keys() - ours.fills.keys():
        yield not ended, f"fill {fill_id} of {name} is there, it is not booked here"


def _numbers(fill: Fill) -> tuple[Decimal, Decimal, Decimal, str]:
    return fill.quantity, fill.price, fill.fee, fill.fee_currency


def _compare_totals(before: _Books, after: _Books, theirs: _Theirs, found: Agreement) -> None:
    """Compare totals, if nothing moved while they were asked for."""
    if found.notes or not (before.rests and after.rests and before.version == after.version):
        found.notes.append("totals cannot be compared now: orders are moving")
        return
    for currency in sorted(after.totals.keys() | theirs.totals.keys()):
        there, here = theirs.totals.get(currency, ZERO), after.totals.get(currency, ZERO)
        if there != here:
            found.broken.append(
                f"total of {currency}: {to_text(there)} there, {to_text(here)} here"
            )


def shown(found: Agreement) -> dict[str, object]:
    """Return what was found on an account, for reading."""
    return {
        "account_id": found.account_id,
        "verdict": found.verdict.value,
        "orders_compared": found.compared,
        "broken": found.broken,
        "notes": found.notes,
    }
