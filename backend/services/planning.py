"""Turn a wish into numbers: the locked price, the worst price, the fee, the reservation."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from backend.database import Transaction
from backend.domain import clock as time
from backend.domain import ledger as arithmetic
from backend.domain.errors import Refused
from backend.domain.instrument import Instrument
from backend.domain.ledger import FeeSchedule
from backend.domain.money import BPS, ZERO, round_down, round_up, stored, to_text
from backend.domain.order import OrderTerms, OrderType, Side, TimeInForce
from backend.domain.quote import Quote
from backend.domain.trade import digest
from backend.exchanges import Capabilities
from backend.risk import RiskView
from backend.services import Desk, market
from backend.store import controls, ledger, trades
from backend.store.accounts import Account

STOP_BAND_BPS = Decimal(100)
# How much dearer a fee in a third asset may become, by that asset's price, until the fill.
FEE_ASSET_BAND_BPS = Decimal(500)
_MINUTE = 60
_STOPS = (OrderType.STOP, OrderType.STOP_LIMIT)


@dataclass(frozen=True, slots=True)
class Facts:
    """What was learnt outside any transaction: nothing durable, some seconds old at most.

    Attributes:
        fee_price: quote currency per unit of a third fee asset; None when not needed
            or not known.
        rate: account currency per unit of the instrument's quote currency, or None.
        reference_price: what the instrument's price band is around; None when there is
            no band, or the price is not known.
    """

    instrument: Instrument
    quote: Quote | None
    fees: FeeSchedule
    fee_price: Decimal | None
    rate: Decimal | None
    reference_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Pricing:
    """What an order may cost. Prices and notional in the instrument's quote currency."""

    price: Decimal
    worst_price: Decimal
    band_bps: Decimal
    fee: Decimal
    fee_currency: str
    reserved: dict[str, Decimal] | None


async def gather(desk: Desk, account: Account, symbol: str, side: Side) -> Facts:
    """Ask the exchange for rules, quote and fees: everything that can wait or fail.

    Raises:
        ExchangeUnavailable: it did not answer; nothing was sent.
    """
    listed = await market.instrument(desk, account, symbol)
    exchange = await desk.exchange(account)
    with market.unanswered():
        instrument = await exchange.own_rules(listed)
        fees = await exchange.fees(instrument.symbol)
    quote = await market.quote(desk, account, instrument.symbol)
    unit = fees.unit(instrument, side)
    fee_price = None
    if unit not in (instrument.base, instrument.quote):
        fee_price = await market.conversion(desk, account, unit, instrument.quote)
    rate = await market.conversion(desk, account, instrument.quote, account.currency)
    reference = None
    if instrument.price_band is not None:
        with market.unanswered():
            reference = await exchange.reference_price(instrument.symbol)
    return Facts(instrument, quote, fees, fee_price, rate, reference)


def check_shape(terms: OrderTerms, offered: Capabilities) -> None:
    """Refuse an order type or time in force that is not offered, or prices that do not fit it."""
    if terms.order_type not in offered.order_types:
        supported = ", ".join(sorted(offered.order_types))
        raise Refused(
            f"{terms.order_type} orders are not offered; supported: {supported}",
            "unsupported_order",
        )
    if terms.time_in_force not in offered.times_in_force:
        supported = ", ".join(sorted(offered.times_in_force))
        raise Refused(
            f"time in force {terms.time_in_force} is not offered; supported: {supported}",
            "unsupported_order",
        )
    kind, at_once = terms.order_type, (TimeInForce.IOC, TimeInForce.FOK)
    if kind is OrderType.MARKET and terms.time_in_force is not TimeInForce.IOC:
        raise Refused("a market order is always ioc; leave time_in_force out", "unsupported_order")
    if kind in (OrderType.STOP, OrderType.STOP_LIMIT) and terms.time_in_force in at_once:
        raise Refused(f"a {kind} order waits: use gtc or day", "unsupported_order")
    _check_price(
        "limit_price", terms.limit_price, kind in (OrderType.LIMIT, OrderType.STOP_LIMIT), kind
    )
    _check_price(
        "stop_price", terms.stop_price, kind in (OrderType.STOP, OrderType.STOP_LIMIT), kind
    )


def _check_price(name: str, price: Decimal | None, wanted: bool, kind: OrderType) -> None:
    if wanted and price is None:
        raise Refused(f"a {kind} order needs {name}")
    if price is not None and not wanted:
        raise Refused(f"a {kind} order takes no {name}; leave it out")


def price_order(terms: OrderTerms, facts: Facts, band_bps: Decimal) -> Pricing:
    """Lock the price and compute the farthest one, the fee and what must be reserved.

    Raises:
        Refused: `stale_quote`, when a market order has no quote to lock.
    """
    if terms.order_type is OrderType.MARKET:
        if facts.quote is None:
            raise Refused(
                f"there is no quote for {terms.symbol}: no price can be locked", "stale_quote"
            )
        price, band = facts.quote.touch(terms.side), band_bps
    elif terms.order_type is OrderType.STOP:
        assert terms.stop_price is not None
        price, band = terms.stop_price, STOP_BAND_BPS
    else:
        assert terms.limit_price is not None
        price, band = terms.limit_price, ZERO
    worst = worst_price(terms.side, price, band, facts.instrument.tick_size)
    unit = facts.fees.unit(facts.instrument, terms.side)
    fee = _expected_fee(terms, price, facts, unit)
    reserved = None
    if fee is not None:
        cautious = facts.fee_price and facts.fee_price * (1 - FEE_ASSET_BAND_BPS / BPS)
        reserved = arithmetic.reservation(
            terms.side, terms.quantity, worst, facts.instrument, facts.fees, cautious
        )
    return Pricing(price, worst, band, fee or ZERO, unit, reserved)


def worst_price(side: Side, price: Decimal, band_bps: Decimal, tick_size: Decimal) -> Decimal:
    """Return `price` moved by the band, on a tick, towards `price` and never inside it."""
    if not band_bps:
        return price
    if side is Side.BUY:
        return max(round_down(price * (1 + band_bps / BPS), tick_size), price)
    return min(round_up(price * (1 - band_bps / BPS), tick_size), price)


def _expected_fee(terms: OrderTerms, price: Decimal, facts: Facts, unit: str) -> Decimal | None:
    """Return the fee at the locked price, in `unit`; None when it cannot be known."""
    rate = facts.fees.taker if terms.order_type is OrderType.MARKET else facts.fees.worst
    if not rate:
        return ZERO
    if unit == facts.instrument.base:
        return arithmetic.fee_for(terms.quantity, rate)
    if unit == facts.instrument.quote:
        return arithmetic.fee_for(terms.quantity * price, rate)
    if facts.fee_price is None:
        return None
    return arithmetic.fee_for(terms.quantity * price, rate, facts.fee_price)


def plan_hash(
    account_id: str,
    terms: OrderTerms,
    pricing_price: Decimal,
    worst: Decimal,
    band_bps: Decimal,
    rules_version: str,
) -> str:
    """Return the hash that an approval is bound to: everything that will be sent."""
    return digest(
        {
            "account": account_id,
            "symbol": terms.symbol,
            "side": terms.side.value,
            "quantity": to_text(terms.quantity),
            "order_type": terms.order_type.value,
            "limit_price": to_text(terms.limit_price) if terms.limit_price else None,
            "stop_price": to_text(terms.stop_price) if terms.stop_price else None,
            "price": to_text(pricing_price),
            "worst_price": to_text(worst),
            "band_bps": to_text(band_bps),
            "time_in_force": terms.time_in_force.value,
            "rules_version": rules_version,
        }
    )


def order_expiry(terms: OrderTerms, instrument: Instrument, now: datetime) -> datetime | None:
    """Return when the order itself ends at the exchange; None unless it is a `day` order."""
    if terms.time_in_force is not TimeInForce.DAY:
        return None
    return time.session_end(now, instrument.session)


def band_of(account: Account, offered: Capabilities) -> Decimal:
    """Return how far from the locked price a market order may fill on this account."""
    text = account.limits.get("band_bps")
    return stored(text) if text else offered.band_bps


def risk_view(
    tx: Transaction,
    account: Account,
    principal: str,
    terms: OrderTerms,
    facts: Facts,
    pricing: Pricing,
    limits: Mapping[str, Decimal | str | None],
    trade_id: str,
    own: Mapping[str, Decimal],
) -> RiskView:
    """Read what the checks look at: the account as it is without this trade.

    Args:
        own: what the trade itself holds, by currency: it counts as free.
    """
    free = {
        currency: spendable(tx, account, currency) + own.get(currency, ZERO)
        for currency in (pricing.reserved or {})
    }
    rule = facts.instrument
    busy = _busy(tx, account, rule)
    switch = controls.engaged(tx, controls.scopes_over(account.id, terms.symbol))
    since = tx.now - time.seconds(_MINUTE)
    notional = terms.quantity * pricing.worst_price
    twin = {
        "id": trade_id,
        "account": account.number,
        "symbol": terms.symbol,
        "side": terms.side.value,
        "quantity": to_text(terms.quantity),
    }
    return RiskView(
        now=tx.now,
        account_id=account.id,
        currency=account.currency,
        enabled=account.enabled,
        stopped=account.break_reason,
        terms=terms,
        instrument=facts.instrument,
        quote=facts.quote,
        price=pricing.price,
        worst_price=pricing.worst_price,
        notional=notional,
        account_notional=notional * facts.rate if facts.rate is not None else None,
        reserved=pricing.reserved,
        free=free,
        kill_switch=f"{switch['scope']}: {switch['reason']}" if switch else None,
        pending_trades=trades.pending_count(tx, account.number, principal, trade_id),
        orders_last_minute=_recent_orders(tx, account, principal, limits, since),
        daily_notional=trades.daily_notional(tx, account.number, principal, today(tx.now)),
        twin=trades.twin(tx, twin, since),
        reference_price=facts.reference_price,
        permissions=frozenset(account.permissions),
        open_orders=busy.orders,
        stop_orders=busy.stops,
        account_orders=busy.account_orders,
        account_stops=busy.account_stops,
        base_position=busy.base,
    )


@dataclass(frozen=True, slots=True)
class _Busy:
    orders: int = 0
    stops: int = 0
    base: Decimal | None = None
    account_orders: int = 0
    account_stops: int = 0


def _busy(tx: Transaction, account: Account, instrument: Instrument) -> _Busy:
    """Count live orders, and what the account owns and buys of the base, where a rule asks."""
    busy = _Busy()
    if instrument.account_max_orders is not None or instrument.account_max_stops is not None:
        everywhere, waiting = trades.live_counts(tx, account.number, _STOPS)
        busy = replace(busy, account_orders=everywhere, account_stops=waiting)
    if instrument.max_open_orders is not None or instrument.max_stop_orders is not None:
        here, stops = trades.live_counts(tx, account.number, _STOPS, instrument.symbol)
        busy = replace(busy, orders=here, stops=stops)
    if instrument.max_position is None:
        return busy
    bought = sum(trades.live_buys(tx, account.number, instrument.symbol), ZERO)
    owned = ledger.funds(tx, account.number, instrument.base).total
    return replace(busy, base=owned + bought)


def spendable(tx: Transaction, account: Account, currency: str) -> Decimal:
    """Return what is free by our books and, on a real exchange, by its own word as well."""
    ours = ledger.funds(tx, account.number, currency).free
    if account.environment == "paper":
        return ours
    theirs = ledger.exchange_free(tx, account.number, currency)
    return ours if theirs is None else min(ours, theirs)


def _recent_orders(
    tx: Transaction,
    account: Account,
    principal: str,
    limits: Mapping[str, Decimal | str | None],
    since: datetime,
) -> int:
    limit = limits["max_orders_per_minute"]
    if not isinstance(limit, Decimal):
        return 0  # Nobody asks.
    return trades.claimed_since(tx, account.number, principal, since, int(limit) + 1)


def today(now: datetime) -> str:
    """Return the Eastern Time day that limits are counted by."""
    return now.astimezone(time.ET).date().isoformat()
