"""How orders meet prices. Pure: orders and quotes in, steps out.

resting ──touch reaches the limit──▶ fills as maker at its limit
stop ──touch reaches the stop──▶ triggered, fills as taker, the rest rests
day ──expires_at──▶ expired; due expiries come before later prices
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from backend.domain.money import BPS, ONE, ZERO, round_down, round_up
from backend.domain.order import FINAL, OrderState, Side, TimeInForce
from backend.domain.quote import Quote


@dataclass(frozen=True, slots=True)
class Working:
    """A live order, as far as matching is concerned.

    Attributes:
        limit_price: the worst price it takes; of a `stop`, its worst price.
        stop_price: None, or where it is triggered.
        matched_until: prices up to here have been seen.
    """

    number: int
    symbol: str
    side: Side
    quantity: Decimal
    limit_price: Decimal
    stop_price: Decimal | None
    time_in_force: TimeInForce
    expires_at: datetime | None
    filled: Decimal
    triggered: bool
    state: OrderState
    matched_until: datetime

    @property
    def remaining(self) -> Decimal:
        """Return the base units that are still to fill."""
        return self.quantity - self.filled

    @property
    def final(self) -> bool:
        """Say whether nothing more can happen to it."""
        return self.state in FINAL

    def is_due(self, moment: datetime) -> bool:
        """Say whether a day order has ended at `moment`."""
        return self.expires_at is not None and moment >= self.expires_at


@dataclass(frozen=True, slots=True)
class Conditions:
    """How the exchange fills orders of one instrument.

    Attributes:
        liquidity: base units per order and price point; None is unlimited.
        slippage_bps: how far from the touch a taker fills, never past the limit.
    """

    tick_size: Decimal
    liquidity: Decimal | None
    slippage_bps: Decimal


@dataclass(frozen=True, slots=True)
class Execution:
    """A fill before it has an id and a fee."""

    quantity: Decimal
    price: Decimal
    liquidity: str


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened to an order; `order` is how it was afterwards."""

    at: datetime
    order: Working
    execution: Execution | None = None
    reason: str = ""


def arrive(
    order: Working, quote: Quote | None, conditions: Conditions, now: datetime
) -> list[Step]:
    """Return what happens to a new limit or stop order at the present quote."""
    if order.is_due(now):
        return [_expiry(order, now)]
    if quote is None:
        return _without_rest(order, now)
    return meet(order, replace(quote, as_of=now), conditions, taker=True)


def resume(
    order: Working, quotes: Iterable[Quote], conditions: Conditions, now: datetime
) -> list[Step]:
    """Return what happened to a live order while the market went through `quotes`.

    Args:
        quotes: oldest first; those the order has seen, and those after `now`, are skipped.
    """
    steps: list[Step] = []
    for quote in quotes:
        if quote.as_of <= order.matched_until or quote.as_of > now:
            continue
        if order.final or order.is_due(quote.as_of):
            break
        steps += meet(order, quote, conditions)
        order = steps[-1].order if steps else order
    if not order.final and order.is_due(now):
        steps.append(_expiry(order, now))
    return steps


def look(order: Working, quote: Quote | None, conditions: Conditions, now: datetime) -> list[Step]:
    """Return what happens to a live order when only the present quote is known.

    What the market did since is not known, so nothing is made of it: it goes on from now.
    """
    if order.is_due(now):
        return [_expiry(order, now)]
    if quote is None or quote.as_of <= order.matched_until:
        return []
    steps = meet(order, replace(quote, as_of=now), conditions)
    return [step if step.reason else replace(step, reason="present_quote") for step in steps]


def meet(order: Working, quote: Quote, conditions: Conditions, taker: bool = False) -> list[Step]:
    """Return what happens to a live order at one price point."""
    steps: list[Step] = []
    if order.stop_price is not None and not order.triggered:
        if not _reaches_stop(order, quote):
            return []
        taker = True
        order = replace(order, triggered=True)
        steps.append(Step(quote.as_of, order, reason="triggered"))
    execution = _execution(order, quote, conditions, taker)
    if execution is not None:
        order = filled(order, execution.quantity)
        steps.append(Step(quote.as_of, order, execution))
    if taker and not order.final:
        steps += _without_rest(order, quote.as_of)
    return steps


def filled(order: Working, quantity: Decimal) -> Working:
    """Return the order after `quantity` more of it was filled."""
    total = order.filled + quantity
    whole = total >= order.quantity
    state = OrderState.FILLED if whole else OrderState.PARTIALLY_FILLED
    return replace(order, filled=total, state=state)


def _execution(
    order: Working, quote: Quote, conditions: Conditions, taker: bool
) -> Execution | None:
    touch = quote.touch(order.side)
    if touch > order.limit_price if order.side is Side.BUY else touch < order.limit_price:
        return None
    quantity = order.remaining
    if conditions.liquidity is not None:
        quantity = min(quantity, conditions.liquidity)
    if order.time_in_force is TimeInForce.FOK and quantity < order.remaining:
        return None
    if not taker:
        return Execution(quantity, order.limit_price, "maker")
    return Execution(quantity, _slipped(order, touch, conditions), "taker")


def _slipped(order: Working, touch: Decimal, conditions: Conditions) -> Decimal:
    moved = conditions.slippage_bps / BPS
    if order.side is Side.BUY:
        return min(round_up(touch * (ONE + moved), conditions.tick_size), order.limit_price)
    return max(round_down(touch * (ONE - moved), conditions.tick_size), order.limit_price)


def _expiry(order: Working, now: datetime) -> Step:
    ended = replace(order, state=OrderState.EXPIRED)
    return Step(order.expires_at or now, ended, reason="day_end")


def _reaches_stop(order: Working, quote: Quote) -> bool:
    stop = order.stop_price or ZERO
    return quote.ask >= stop if order.side is Side.BUY else quote.bid <= stop


def _without_rest(order: Working, at: datetime) -> list[Step]:
    """Return the end of an order that does not rest; a stop waits for its trigger first."""
    waiting = order.stop_price is not None and not order.triggered
    if waiting or order.time_in_force not in (TimeInForce.IOC, TimeInForce.FOK):
        return []
    ended = replace(order, state=OrderState.CANCELLED)
    return [Step(at, ended, reason=str(order.time_in_force))]


def cancelled(order: Working, at: datetime) -> Step:
    """Return the end of a live order by cancellation."""
    return Step(at, replace(order, state=OrderState.CANCELLED), reason="cancelled")
