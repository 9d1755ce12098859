"""How the market reaches the book: read outside the transaction, applied inside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from backend.database import Transaction
from backend.domain.order import OrderState
from backend.domain.quote import Prices, Quote
from backend.exchanges.paper import book, matching
from backend.exchanges.paper.book import Booked
from backend.exchanges.paper.instruments import Rules
from backend.exchanges.paper.matching import Conditions, Step

# How old `matched_until` may grow before it is written without anything having happened.
_UNSEEN_AT_MOST = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Market:
    """What the market did since the live orders last met it.

    Attributes:
        replayed: `quotes` are the whole path; else only the present quote is known.
        quotes: by symbol, oldest first.
    """

    now: datetime
    replayed: bool
    quotes: Mapping[str, Sequence[Quote]]


async def read_market(live: Sequence[Booked], prices: Prices, now: datetime) -> Market:
    """Return what the market did for every live order up to `now`."""
    oldest: dict[str, datetime] = {}
    for order in (booked.working for booked in live):
        oldest[order.symbol] = min(
            order.matched_until, oldest.get(order.symbol, order.matched_until)
        )
    quotes: dict[str, Sequence[Quote]] = {}
    for symbol, since in oldest.items():
        if prices.replayable:
            quotes[symbol] = prices.path(symbol, since, now)
        else:
            present = await prices.quote(symbol)
            quotes[symbol] = () if present is None else (present,)
    return Market(now, prices.replayable, quotes)


def is_quiet(transaction: Transaction, account: str, market: Market, rules: Rules) -> bool:
    """Say whether nothing happened that is worth a write."""
    for booked in book.live(transaction, account):
        unseen = market.now - booked.working.matched_until
        if _steps(booked, market, rules) or (market.replayed and unseen > _UNSEEN_AT_MOST):
            return False
    return True


def meet_market(transaction: Transaction, account: str, market: Market, rules: Rules) -> None:
    """Record what happened to every live order, in the order of time, expiries first."""
    happened: list[tuple[datetime, bool, int, Booked, Step]] = []
    for booked in book.live(transaction, account):
        if (quotes := market.quotes.get(booked.working.symbol)) is None:
            continue  # Placed by another process since the market was read.
        happened += [
            (
                step.at,
                step.order.state is not OrderState.EXPIRED,
                booked.working.number,
                booked,
                step,
            )
            for step in _steps(booked, market, rules)
        ]
        if market.replayed or quotes:
            until = market.now if market.replayed else quotes[-1].as_of
            book.see(transaction, booked, max(until, booked.working.matched_until))
    for _, _, _, booked, step in sorted(happened, key=lambda item: item[:3]):
        book.record(transaction, booked, step, rules)


def conditions_of(symbol: str, rules: Rules) -> Conditions:
    """Return how orders of `symbol` are filled."""
    settings = rules.settings
    return Conditions(rules.of(symbol).tick_size, settings.liquidity, settings.slippage_bps)


def _steps(booked: Booked, market: Market, rules: Rules) -> list[Step]:
    order = booked.working
    quotes = market.quotes.get(order.symbol, ())
    conditions = conditions_of(order.symbol, rules)
    if market.replayed:
        return matching.resume(order, quotes, conditions, market.now)
    return matching.look(order, quotes[-1] if quotes else None, conditions, market.now)
