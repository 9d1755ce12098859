"""Instruments, quotes and conversions, as an account's exchange sees them."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from decimal import Decimal
from typing import Any

from backend.domain.clock import to_et
from backend.domain.errors import (
    NO_ANSWER,
    ExchangeRejected,
    ExchangeUnavailable,
    OutcomeUnknown,
    Refused,
)
from backend.domain.instrument import Instrument, normalise_symbol
from backend.domain.money import padded
from backend.domain.order import OrderType
from backend.domain.quote import Prices, Quote
from backend.exchanges import Capabilities, Metadata
from backend.services import Desk, metadata
from backend.store.accounts import Account


@contextmanager
def unanswered() -> Iterator[None]:
    """Turn a look-up without an answer into `ExchangeUnavailable`: nothing was sent."""
    try:
        yield
    except (OutcomeUnknown, ExchangeRejected) as error:
        raise ExchangeUnavailable(
            f"the exchange did not answer a look-up ({error.detail}); nothing was sent"
        ) from error


async def rules(desk: Desk, account: Account) -> Metadata:
    """Return what can be traded at the account's exchange; no key is needed to know it.

    Raises:
        ExchangeUnavailable: nothing is known of it.
    """
    wanted = _source(desk, account)
    if wanted is not None:
        return await desk.markets.require(*wanted)
    exchange = await desk.exchange(account)
    with unanswered():
        return await exchange.metadata()


def _source(desk: Desk, account: Account) -> metadata.Key | None:
    return metadata.source(account, desk.exchanges[account.exchange])


async def instruments(desk: Desk, account: Account) -> Mapping[str, Instrument]:
    """Return what the account's exchange lists, by symbol."""
    return (await rules(desk, account)).instruments


async def instrument(desk: Desk, account: Account, symbol_text: str) -> Instrument:
    """Return one instrument under the rules by which the account trades it.

    Raises:
        Refused: `unknown_symbol`, naming the nearest ones.
    """
    found = _find(account, await instruments(desk, account), normalise_symbol(symbol_text))
    wanted = _source(desk, account)
    if account.environment != "paper" or wanted is None:
        return found
    # A mirrored account takes what the exchange takes, and needs nobody's permission.
    theirs = desk.exchanges[wanted[0]].CAPABILITIES
    taken = frozenset[str](offered_types(found, theirs))
    return replace(found, order_types=taken, permissions=())


def _find(account: Account, known: Mapping[str, Instrument], symbol: str) -> Instrument:
    if symbol in known:
        return known[symbol]
    flat = {name.replace("/", ""): name for name in known}
    if "/" not in symbol and symbol in flat:
        return known[flat[symbol]]  # The exchange's own spelling: BTCUSDT is BTC/USDT.
    near = [flat[name] for name in difflib.get_close_matches(symbol.replace("/", ""), flat, 3)]
    hint = f"did you mean {' or '.join(near)}?" if near else "see list_markets"
    raise Refused(f"{symbol} cannot be traded on {account.exchange}; {hint}", "unknown_symbol")


async def quote(desk: Desk, account: Account, symbol: str) -> Quote | None:
    """Return the touch of the account's own exchange, or None when it cannot tell.

    Raises:
        ExchangeUnavailable: the account's exchange was not reached at all.
    """
    wanted = _source(desk, account)
    # A real exchange is not asked for a book that it does not have.
    if wanted is not None and symbol not in (await desk.markets.require(*wanted)).instruments:
        return None
    exchange = await desk.exchange(account)
    with suppress(*NO_ANSWER):
        return await exchange.quote(symbol)
    return None


async def conversion(desk: Desk, account: Account, unit: str, into: str) -> Decimal | None:
    """Return how many `into` one `unit` is worth at a fresh quote, or None."""
    if unit == into:
        return Decimal(1)
    if direct := await quote(desk, account, f"{unit}/{into}"):
        return direct.mid
    inverse = await quote(desk, account, f"{into}/{unit}")
    return 1 / inverse.mid if inverse else None


def prices(desk: Desk, account: Account) -> Prices | None:
    """Return where the account's quotes come from, if anybody may ask it without a key."""
    wanted = _source(desk, account)
    if wanted is not None:
        return desk.markets.market(*wanted).prices
    return desk.prices if account.environment == "paper" else None


def shown_quote(quote: Quote, decimals: int) -> dict[str, Any]:
    """Return the JSON object of a quote."""
    return {
        "bid": padded(quote.bid, decimals),
        "ask": padded(quote.ask, decimals),
        "last": padded(quote.last, decimals),
        "as_of": to_et(quote.as_of),
        "source": quote.source,
    }


async def price(desk: Desk, account: Account, symbol_text: str) -> dict[str, Any]:
    """Return the current quote of one instrument.

    Raises:
        Refused: unknown symbol, or `stale_quote` when there is none now.
    """
    known = await instrument(desk, account, symbol_text)
    found = await quote(desk, account, known.symbol)
    if found is None:
        raise Refused(f"there is no quote for {known.symbol} now; try again later", "stale_quote")
    return {
        "symbol": known.symbol,
        "account_id": account.id,
        "environment": account.environment,
        "exchange": account.exchange,
        **shown_quote(found, known.price_decimals),
        "currency": known.quote,
    }


def shown_instrument(known: Instrument) -> dict[str, Any]:
    """Return the JSON object of an instrument's rules, without what the exchange leaves open."""
    band = known.price_band
    bounds = {
        "code": known.code or None,
        "min_price": known.min_price,
        "max_price": known.max_price,
        "max_open_orders": known.max_open_orders,
        "max_position": known.max_position,
        "price_band": band
        and {"buy": [band.buy_down, band.buy_up], "sell": [band.sell_down, band.sell_up]},
    }
    return {
        "symbol": known.symbol,
        "name": known.name,
        "base": known.base,
        "quote": known.quote,
        "price_decimals": known.price_decimals,
        "quantity_decimals": known.quantity_decimals,
        "tick_size": known.tick_size,
        "step_size": known.step_size,
        "min_quantity": known.min_quantity,
        "max_quantity": known.max_quantity,
        "min_notional": known.min_notional,
        "max_notional": known.max_notional,
        "session": known.session,
        "status": known.status,
        "rules_version": known.version,
        **{name: value for name, value in bounds.items() if value is not None},
    }


def offered_types(known: Instrument, offered: Capabilities) -> set[str]:
    """Return the order types that the instrument takes; a market order goes out as a limit."""
    if known.order_types is None:
        return set(offered.order_types)
    also = {OrderType.MARKET} if OrderType.LIMIT in known.order_types else set()
    return {kind for kind in offered.order_types if kind in known.order_types | also}


async def market(desk: Desk, account: Account, symbol_text: str) -> dict[str, Any]:
    """Return one instrument with its rules, order types and quote.

    Raises:
        Refused: `unknown_symbol`.
    """
    known = await instrument(desk, account, symbol_text)
    found = None
    with suppress(*NO_ANSWER):  # The rules are known, whether or not the exchange can be reached.
        found = await quote(desk, account, known.symbol)
    offered = desk.exchanges[account.exchange].CAPABILITIES
    return {
        "exchange": account.exchange,
        "account_id": account.id,
        "environment": account.environment,
        **_mirrored(account),
        **shown_instrument(known),
        "order_types": sorted(offered_types(known, offered)),
        "times_in_force": sorted(offered.times_in_force),
        "price": shown_quote(found, known.price_decimals) if found else None,
    }


async def markets(
    desk: Desk, accounts: Sequence[Account], query: str | None, limit: int, after: str | None
) -> dict[str, Any]:
    """Return a page of instruments of these accounts' exchanges, by exchange and symbol."""
    wanted = (query or "").strip().upper()
    found: dict[str, tuple[Account, Instrument]] = {}
    for place, account in _places(accounts).items():
        for known in (await instruments(desk, account)).values():
            if not wanted or wanted in f"{known.symbol} {known.code} {known.name}".upper():
                found[f"{place} {known.symbol}"] = account, known
    keys = sorted(key for key in found if after is None or key > after)
    return {
        "markets": [_listed(*found[key]) for key in keys[:limit]],
        "next_cursor": keys[limit - 1] if len(keys) > limit else None,
    }


def _places(accounts: Sequence[Account]) -> dict[str, Account]:
    """Return one account for each set of instruments; the name of its place comes first."""
    places: dict[str, Account] = {}
    for account in accounts:
        places.setdefault(place_of(account), account)
    return places


def place_of(account: Account) -> str:
    """Return the name of where the account trades: the same for the same books."""
    return " ".join((account.exchange, account.environment, *_mirrored(account).values()))


def _mirrored(account: Account) -> dict[str, str]:
    """Return whom a paper account follows, where it does."""
    text = account.settings.get("mirror") if account.environment == "paper" else None
    return {"mirror": text} if text else {}


def _listed(account: Account, known: Instrument) -> dict[str, Any]:
    place = {"exchange": account.exchange, "environment": account.environment}
    return {**place, **_mirrored(account), **shown_instrument(known)}


async def currencies(desk: Desk, accounts: Sequence[Account]) -> dict[str, Any]:
    """Return every currency that these accounts' exchanges deal in."""
    seen: dict[tuple[str, str], dict[str, Any]] = {}
    for account in _places(accounts).values():
        for known in (await rules(desk, account)).currencies.values():
            shown: dict[str, Any] = {"exchange": account.exchange, "currency": known.code}
            shown |= {"name": known.name}
            shown |= {"kind": known.kind, "decimals": known.decimals}
            shown |= {"deposits": known.deposits, "withdrawals": known.withdrawals}
            present = {name: value for name, value in shown.items() if value not in (None, "")}
            seen.setdefault((account.exchange, known.code), present)
    return {"currencies": [seen[key] for key in sorted(seen)]}
