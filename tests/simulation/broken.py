"""Products that are broken on purpose: the oracle must find out, or it proves nothing.

Each is a change of one rule, made by replacing a function for the time of a seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import backend.app
from backend import database
from backend.domain.errors import NO_ANSWER, OutcomeUnknown, TradeNotPending
from backend.domain.order import OrderReport, OrderState
from backend.services import absence, claim, execution, orders, reconcile, settle
from backend.store import controls, ledger, trades
from backend.store import orders as order_rows
from tests.simulation.run import Outcome, run

Put = tuple[Any, str, Any]


def _claimed_twice() -> list[Put]:
    """A confirm that lost the claim sends all the same."""
    real = vars(execution)["claim"]
    seen: dict[str, Any] = {}

    def careless(tx: Any, desk: Any, caller: Any, trade_id: str, *more: Any) -> Any:
        try:
            made = real(tx, desk, caller, trade_id, *more)
        except TradeNotPending:
            if trade_id in seen:
                return seen[trade_id]
            raise
        if isinstance(made, claim.Claimed):
            seen[trade_id] = made
        return made

    return [(execution, "claim", careless)]


def _sent_again() -> list[Put]:
    """An order whose answer was lost is sent once more."""
    real = execution._send

    class Stubborn:
        def __init__(self, exchange: Any) -> None:
            self._exchange = exchange

        def __getattr__(self, name: str) -> Any:
            return getattr(self._exchange, name)

        async def submit(self, order: Any) -> Any:
            try:
                return await self._exchange.submit(order)
            except OutcomeUnknown:
                return await self._exchange.submit(order)

    async def send(desk: Any, exchange: Any, claimed: Any) -> None:
        await real(desk, Stubborn(exchange), claimed)

    return [(execution, "_send", send)]


def _absent_at_once() -> list[Put]:
    """One "not found" is proof enough, whenever it was said."""

    async def counts(*_: Any) -> bool:
        return True

    return [(absence, "_counts", counts)]


def _released_on_silence() -> list[Put]:
    """Where no answer came, the trade has failed."""

    def unknown(tx: Any, account: Any, trade_id: str, why: str, *_: Any) -> None:
        settle._never_lived(tx, account, trade_id, OrderState.REJECTED, why)

    return [(settle, "unknown", unknown)]


def _no_high_water() -> list[Put]:
    """A clock that was put back brings expired plans back: time is what it says now."""

    def now(self: Any) -> Any:
        return self._clock()

    return [(database.Transaction, "now", property(now))]


def _stopped_by_nothing() -> list[Put]:
    """A claim does not look at the kill switch."""
    return [(controls, "engaged", lambda tx, scopes: None)]


def _cancelled_on_the_spot() -> list[Put]:
    """A cancel's acknowledgement is taken for the order's end."""

    async def ask(exchange: Any, trade_id: str, symbol: str, exchange_order_id: Any) -> None:
        with suppress(*NO_ANSWER):
            await exchange.cancel(trade_id, symbol, exchange_order_id)
        hasty.add(trade_id)

    hasty: set[str] = set()
    real_report = settle.report

    def report(tx: Any, account: Any, news: OrderReport, source: str) -> Any:
        if news.client_order_id in hasty and news.state is not OrderState.FILLED:
            order = order_rows.find(tx, news.client_order_id)
            trade = trades.find(tx, news.client_order_id)
            if order is not None and trade is not None:
                order_rows.move(tx, trade.id, OrderState.CANCELLED)
                settle._finish(tx, trade, order, OrderState.CANCELLED)
        return real_report(tx, account, news, source)

    return [
        (orders, "request_cancel", ask),
        (reconcile, "request_cancel", ask),
        (settle, "report", report),
    ]


def _no_fence() -> list[Put]:
    """A restored copy is taken for the books."""

    async def raise_fence(desk: Any) -> bool:
        return False

    return [(backend.app, "raise_fence", raise_fence)]


def _holds_kept() -> list[Put]:
    """A plan that expires keeps its reservation."""
    real = ledger.void

    def void(tx: Any, account: int, trade_id: str) -> Any:
        trade = trades.get(tx, trade_id)
        return {} if trade.status == "expired" else real(tx, account, trade_id)

    return [(ledger, "void", void)]


BROKEN: dict[str, Callable[[], list[Put]]] = {
    "claimed-twice": _claimed_twice,
    "sent-again": _sent_again,
    "absent-at-once": _absent_at_once,
    "released-on-silence": _released_on_silence,
    "no-high-water": _no_high_water,
    "stopped-by-nothing": _stopped_by_nothing,
    "cancelled-on-the-spot": _cancelled_on_the_spot,
    "no-fence": _no_fence,
    "holds-kept": _holds_kept,
}


@contextmanager
def broken(name: str) -> Iterator[None]:
    """Break the product in one way for as long as this lasts."""
    puts = BROKEN[name]()
    before = [(place, what, vars(place)[what]) for place, what, _ in puts]
    for place, what, changed in puts:
        setattr(place, what, changed)
    try:
        yield
    finally:
        for place, what, real in before:
            setattr(place, what, real)


def first_caught(name: str, first: int, count: int) -> Outcome | None:
    """Return the first of these seeds in which the oracle finds out, or None."""
    with broken(name):
        for seed in range(first, first + count):
            outcome = run(seed)
            if outcome.violations:
                return outcome
    return None
