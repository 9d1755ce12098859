"""Instruments, quotes and conversions, as an account's exchange sees them."""

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from backend.domain.clock import to_et
from backend.domain.errors import ExchangeUnavailable, OutcomeUnknown, Refused
from backend.domain.instrument import Instrument, normalise_symbol
from backend.domain.money import padded
from backend.domain.quote import Quote
from backend.services import Desk
from backend.store.accounts import Account


@contextmanager
def unanswered() -> Iterator[None]:
    """Turn a look-up without an answer into `ExchangeUnavailable`: nothing was sent."""
    try:
        yield
    except OutcomeUnknown as error:
        raise ExchangeUnavailable(
            f"the exchange did not answer a look-up ({error.detail}); nothing was sent"
        ) from error


async def instruments(desk: Desk, account: Account) -> dict[str, Instrument]:
    """Return what the account's exchange lets it trade, by symbol.

    Raises:
        ExchangeUnavailable: it did not answer.
    """
    exchange = await desk.exchange(account)
    with unanswered():
        return {i.symbol: i for i in await exchange.instruments()}


async def instrument(desk: Desk, account: Account, symbol_text: str) -> Instrument:
    """Return one instrument.

    Raises:
        Refused: `unknown_symbol`, naming the nearest ones.
    """
    symbol = normalise_symbol(symbol_text)
    known = await instruments(desk, account)
    if symbol in known:
        return known[symbol]
    flat = {name.replace("/", ""): name for name in known}
    near = [flat[name] for name in difflib.get_close_matches(symbol.replace("/", ""), flat, 3)]
    hint = f"did you mean {' or '.join(near)}?" if near else "see list_markets"
    raise Refused(f"{symbol} cannot be traded on {account.exchange}; {hint}", "unknown_symbol")


async def quote(desk: Desk, account: Account, symbol: str) -> Quote | None:
    """Return the touch of the account's own exchange, or None when it cannot tell."""
    exchange = await desk.exchange(account)
    try:
        return await exchange.quote(symbol)
    except (ExchangeUnavailable, OutcomeUnknown):
        return None


async def conversion(desk: Desk, account: Account, unit: str, into: str) -> Decimal | None:
    """Return how many `into` one `unit` is worth at a fresh quote, or None."""
    if unit == into:
        return Decimal(1)
    if direct := await quote(desk, account, f"{unit}/{into}"):
        return direct.mid
    inverse = await quote(desk, account, f"{into}/{unit}")
    return 1 / inverse.mid if inverse else None


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
    """Return the JSON object of an instrument's rules."""
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
        "rules_version": known.version,
    }


async def market(desk: Desk, account: Account, symbol_text: str) -> dict[str, Any]:
    """Return one instrument with its rules, order types and quote.

    Raises:
        Refused: `unknown_symbol`.
    """
    known = await instrument(desk, account, symbol_text)
    found = await quote(desk, account, known.symbol)
    offered = desk.exchanges[account.exchange].CAPABILITIES
    return {
        "exchange": account.exchange,
        "account_id": account.id,
        "environment": account.environment,
        **shown_instrument(known),
        "order_types": sorted(offered.order_types),
        "times_in_force": sorted(offered.times_in_force),
        "price": shown_quote(found, known.price_decimals) if found else None,
    }


async def markets(
    desk: Desk, accounts: Sequence[Account], query: str | None, limit: int, after: str | None
) -> dict[str, Any]:
    """Return a page of instruments of these accounts' exchanges, by exchange and symbol."""
    rows: dict[str, dict[str, Any]] = {}
    for account in accounts:
        for known in (await instruments(desk, account)).values():
            text = f"{known.symbol} {known.name}".upper()
            if query is None or query.strip().upper() in text:
                key = f"{account.exchange} {known.symbol}"
                rows.setdefault(key, {"exchange": account.exchange, **shown_instrument(known)})
    keys = [key for key in sorted(rows) if after is None or key > after]
    return {
        "markets": [rows[key] for key in keys[:limit]],
        "next_cursor": keys[limit - 1] if len(keys) > limit else None,
    }


async def currencies(desk: Desk, accounts: Sequence[Account]) -> dict[str, Any]:
    """Return every currency that these accounts' exchanges deal in."""
    seen: dict[tuple[str, str], dict[str, Any]] = {}
    for account in accounts:
        for known in (await instruments(desk, account)).values():
            for currency, decimals in (
                (known.base, known.quantity_decimals),
                (known.quote, known.price_decimals),
            ):
                row = seen.setdefault(
                    (account.exchange, currency),
                    {"exchange": account.exchange, "currency": currency, "decimals": decimals},
                )
                row["decimals"] = max(row["decimals"], decimals)
    return {"currencies": [seen[key] for key in sorted(seen)]}
