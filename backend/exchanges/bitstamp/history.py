"""What happened on one market: order events, and the account's trades."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from backend.domain.errors import OutcomeUnknown
from backend.domain.order import Fill
from backend.exchanges._budget import Purpose
from backend.exchanges.bitstamp import answers
from backend.exchanges.bitstamp.answers import Refusal
from backend.exchanges.bitstamp.endpoints import Door
from backend.exchanges.bitstamp.fields import micro_moment, moment, rows, text
from backend.exchanges.bitstamp.orders import Memory, Reply, in_order, trade_row, understood
from backend.exchanges.bitstamp.rejections import NO_EVENTS
from backend.prices.bitstamp import code_of

_PAGE = 1000
_MOST_PAGES = 200
_DAY, _CLOCKS_DIFFER = timedelta(days=1), timedelta(minutes=1)
_MOST_REPLAYS = 31  # Each tells of one day; nothing older than 30 is kept.
# The exchange refuses a start that is more than 30 days back.
_START_IS_TAKEN = timedelta(days=29)


async def events_after(door: Door, symbol: str, event_id: str) -> list[Reply]:
    """Return the account's order events of a market from that event on, oldest first."""
    return await _replay(door, symbol, since_id=event_id)


async def events_since(door: Door, symbol: str, since: datetime) -> list[Reply]:
    """Return the account's order events of a market since, and some before, oldest first.

    The exchange tells of one day at a time, back from an event that it names: where a
    whole day is empty, what is before it is not told.
    """
    found = await _replay(door, symbol)
    told_from = door.market.now() - _DAY + _CLOCKS_DIFFER
    for _ in range(_MOST_REPLAYS):
        if not found or told_from <= since:
            break
        with understood():
            first, told_from = text(found[0]["event_id"]), _told_at(found[0]) - _DAY
        found = await _replay(door, symbol, until_id=first) + found
    return found


async def trades_since(
    door: Door, symbol: str, since: datetime, memory: Memory, most_pages: int = _MOST_PAGES
) -> Sequence[Fill]:
    """Return the account's fills of a market since, all of them, oldest first.

    Raises:
        OutcomeUnknown: there are more than the exchange pages through.
        RateLimited, ExchangeUnavailable, ExchangeRejected: no answer.
    """
    params = {"sort": "desc", "limit": str(_PAGE)}
    if door.market.now() - since < _START_IS_TAKEN:
        params["since_timestamp"] = str(int(since.timestamp()))
    # Rows tell whole seconds: one in the first second may be a little older.
    start = since.replace(microsecond=0)
    fills: dict[tuple[str, str], Fill] = {}  # One trade may be that of two orders of ours.
    for page in range(most_pages):
        # Newest first: what is traded meanwhile shifts rows into the next page, never out.
        params["offset"] = str(page * _PAGE)
        told = await door.rows(f"user_transactions/{code_of(symbol)}/", params)
        with understood():
            traded = [trade_row(row, symbol, memory.names) for row in told]
            fills |= {(f.exchange_order_id, f.exchange_fill_id): f for f in traded if f is not None}
            if len(told) < _PAGE or moment(told[-1]["datetime"]) < start:
                break
    else:
        raise OutcomeUnknown("the exchange does not tell trades that far back")
    return in_order([f for f in fills.values() if f.executed_at >= start])


async def _replay(door: Door, symbol: str, **bounds: str) -> list[Reply]:
    params = {"market": symbol, "order_source": "orderbook", **bounds}
    told: Any = await door.send("account_order_data/", params, Purpose.LOOK_UP)
    if isinstance(told, Refusal):
        if told.proves(NO_EVENTS):
            return []
        raise answers.no_answer(told)
    with understood():
        return sorted(rows(told), key=_place)


def _place(row: Reply) -> tuple[datetime, str]:
    return _told_at(row), text(row["event_id"])


def _told_at(row: Reply) -> datetime:
    return micro_moment(row["data"]["microtimestamp"])
