"""Signed reads of an account: balances, fees, transactions, its events and its stream token."""

from __future__ import annotations

import string
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.simulators.bitstamp.calls import Call
from tests.simulators.bitstamp.events import SOURCE, Event
from tests.simulators.bitstamp.markets import currency_decimals
from tests.simulators.bitstamp.model import Account, Fill
from tests.simulators.bitstamp.wire import (
    at_least,
    fixed,
    from_microseconds,
    number,
    order_refusal,
    short_datetime,
)

TOKEN_LIFE = timedelta(seconds=60)
REPLAY_SPAN = timedelta(hours=24)
OLDEST_SINCE = timedelta(days=30)
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Token:
    """A WebSocket token: whose it is, and when it was made."""

    user_id: int
    made: datetime


@dataclass(frozen=True, slots=True)
class Movement:
    """A deposit (change > 0) or a withdrawal of an account."""

    transaction_id: int
    account: Account
    currency: str
    change: Decimal
    at: datetime


def account_balances(call: Call) -> Any:
    """All balances, or one where the path names its currency."""
    account, wanted = call.account, call.place.get("currency")
    if wanted and wanted not in account.balances:
        raise order_refusal("404.003", "Currency not found.", "currency", 404)
    if wanted:
        return _balance(call, wanted)
    return [_balance(call, currency) for currency in sorted(account.balances)]


def trading_fees(call: Call) -> Any:
    """Maker and taker fees, in percent."""
    market = call.market_or_all
    if market is not None:
        return _fees(call.account, market.symbol)
    return [_fees(call.account, symbol) for symbol in call.sim.engine.markets]


def my_markets(call: Call) -> list[Row]:
    """What the account may trade."""
    tradable = call.account.tradable
    return [
        {"name": market.name, "url_symbol": symbol}
        for symbol, market in call.sim.engine.markets.items()
        if tradable is None or symbol in tradable
    ]


def user_transactions(call: Call) -> list[Row]:
    """Trades, deposits and withdrawals; newest first unless sort=asc."""
    offset, limit = call.integer("offset", 0, 200_000), call.integer("limit", 100, 1000)
    order = call.params.get("sort", "desc")
    if order not in ("asc", "desc"):
        raise order_refusal("400.001", "Invalid sort.", "sort")
    rows = sorted(_transactions(call), key=lambda row: int(row["id"]))
    if "since_id" in call.params:
        limit, since = 1000, call.integer("since_id", 0, 10**15)
        rows = [row for row in rows if int(row["id"]) >= since]
    if order == "desc":
        rows.reverse()
    return rows[offset : offset + limit]


def websockets_token(call: Call) -> Row:
    """A token for subscribing, good for 60 s."""
    letters = string.ascii_letters
    token = "".join(call.sim.random.choice(letters) for _ in range(32))
    call.sim.tokens[token] = Token(call.account.user_id, call.sim.clock())
    return {"token": token, "valid_sec": 60, "user_id": call.account.user_id}


def account_order_data(call: Call) -> list[Row]:
    """The account's order events of a market, from since_id (inclusive) to until_id."""
    _check_replay(call)
    log = call.sim.engine.log.events
    since, until = (_position(call, name, log) for name in ("since_id", "until_id"))
    if since is not None and until is not None and since >= until:
        raise order_refusal("400.083", "since_id must be before until_id.", "since_id")
    last = call.sim.clock() if until is None else log[until].at
    found = log[since or 0 : len(log) if until is None else until]
    rows = [
        event.replayed()
        for event in found
        if event.account is call.account
        and event.symbol == call.params["market"]
        and (since is not None or event.at >= last - REPLAY_SPAN)
    ]
    if not rows:
        raise order_refusal("404.008", "No events found.")
    return rows


def withdrawal(call: Call) -> Row:
    """Withdrawals are not simulated beyond asking for the right to make them."""
    raise order_refusal("400.001", "This field is required.", "amount")


def _balance(call: Call, currency: str) -> Row:
    total = call.account.balances[currency]
    reserved = call.sim.engine.reserved(call.account, currency)
    amounts = {"total": total, "available": total - reserved, "reserved": reserved}
    places = currency_decimals(currency)
    return {"currency": currency} | {name: at_least(v, places) for name, v in amounts.items()}


def _fees(account: Account, symbol: str) -> Row:
    fees = {"maker": fixed(account.maker_percent, 5), "taker": fixed(account.taker_percent, 5)}
    return {"currency_pair": symbol, "market": symbol, "fees": fees}


def _transactions(call: Call) -> list[Row]:
    since, until = (_moment(call, name) for name in ("since_timestamp", "until_timestamp"))
    market, account = call.market_or_all, call.account
    fills = [f for f in call.sim.engine.fills if f.order.account is account]
    timed = [
        (fill.trade.at, _fill_row(fill))
        for fill in fills
        if market is None or fill.trade.market is market
    ]
    if market is None:
        timed += [(m.at, _movement_row(m)) for m in call.sim.movements if m.account is account]
    return [
        row
        for at, row in timed
        if (since is None or at >= since) and (until is None or at <= until)
    ]


def _moment(call: Call, name: str) -> datetime | None:
    if name not in call.params:
        return None
    moment = from_microseconds(call.integer(name, 0, 10**11) * 1_000_000)
    if call.sim.clock() - moment > OLDEST_SINCE:
        raise order_refusal("400.001", "Timestamp is more than 30 days old.", name)
    return moment


def _fill_row(fill: Fill) -> Row:
    market, moves = fill.trade.market, fill.moves
    row: Row = {
        "id": fill.trade.trade_id,
        "datetime": short_datetime(fill.trade.at),
        "type": "2",
        "fee": fixed(fill.fee, 5),
        "eur": 0.0,
        market.base: fixed(moves[market.base], 8),
        market.counter: fixed(moves[market.counter] + fill.fee, 8),
        f"{market.base}_{market.counter}": number(fill.price),
        "order_id": fill.order.order_id,
    }
    if fill.trade.is_self_trade:
        row |= {"self_trade": True, "self_trade_order_id": fill.counterpart.order_id}
    return row


def _movement_row(movement: Movement) -> Row:
    return {
        "id": movement.transaction_id,
        "datetime": short_datetime(movement.at),
        "type": "0" if movement.change > 0 else "1",
        "fee": "0.00000",
        "btc_usd": "0.00",
        "eur": 0.0,
        movement.currency: fixed(movement.change, 8),
    }


def _check_replay(call: Call) -> None:
    params = call.params
    if not params.get("market"):
        raise order_refusal("400.078", "Market is required.", "market")
    # Bodies name markets as BTC/USD, paths as btcusd; this body takes either.
    params["market"] = params["market"].replace("/", "").lower()
    if params["market"] not in call.sim.engine.markets:
        raise order_refusal("400.079", "Invalid market.", "market")
    if params.get("order_source") not in (SOURCE, "stop_order"):
        raise order_refusal("400.080", "Invalid order source.", "order_source")
    if params["order_source"] == "stop_order":
        raise order_refusal("404.008", "No events found.")


def _position(call: Call, name: str, log: list[Event]) -> int | None:
    """Where an event of this market stands in the log; None if the call names none."""
    wanted = call.params.get(name)
    if not wanted:
        return None
    for position, event in enumerate(log):
        if event.event_id == wanted and event.symbol == call.params["market"]:
            return position
    code = {"since_id": "400.081", "until_id": "400.082"}[name]
    raise order_refusal(code, f"Invalid {name}.", name)
