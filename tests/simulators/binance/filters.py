"""The exchange's filters on a new order, each with its exact name in the refusal."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from .accounts import Account
from .errors import filter_failure
from .instruments import Instrument
from .market import Market
from .numbers import ZERO
from .orders import PRICELESS, NewOrder, Order

_AVERAGED = ("PERCENT_PRICE_BY_SIDE", "PERCENT_PRICE", "NOTIONAL", "MIN_NOTIONAL")


@dataclass(frozen=True, slots=True)
class Context:
    """What the filters of one order look at."""

    instrument: Instrument
    account: Account
    market: Market
    open_here: Iterable[Order]
    open_everywhere: Iterable[Order]
    exchange_filters: Mapping[str, int]

    def reference(self, name: str) -> Decimal | None:
        rule = self.instrument.rule(name) or {}
        minutes = int(rule.get("avgPriceMins", 0))
        return self.market.filter_reference(self.instrument.symbol, minutes)


def check(new: NewOrder, seen: Context) -> None:
    """Raise ApiError -1013 for the first filter that the order breaks."""
    for name, passes in (
        ("PRICE_FILTER", _price),
        ("PERCENT_PRICE", _percent),
        ("PERCENT_PRICE_BY_SIDE", _percent_by_side),
        ("LOT_SIZE", _lot),
        ("MARKET_LOT_SIZE", _market_lot),
        ("MIN_NOTIONAL", _min_notional),
        ("NOTIONAL", _notional),
        ("MAX_POSITION", _position),
    ):
        rule = seen.instrument.rule(name)
        if rule is not None and not passes(new, rule, seen):
            raise filter_failure(name)
    _check_counts(new, seen)
    _check_max_asset(new, seen)


def check_lot(quantity: Decimal, instrument: Instrument) -> None:
    """LOT_SIZE alone, for an amended quantity."""
    rule = instrument.rule("LOT_SIZE")
    if rule is not None and not _within(quantity, rule, "Qty", "stepSize"):
        raise filter_failure("LOT_SIZE")


Rule = Mapping[str, Decimal]


def _within(value: Decimal, rule: Rule, suffix: str, step: str) -> bool:
    low, high, size = (rule.get(k, ZERO) for k in (f"min{suffix}", f"max{suffix}", step))
    if value < low or (high and value > high):
        return False
    return not size or value % size == 0


def _price(new: NewOrder, rule: Rule, seen: Context) -> bool:
    prices = [new.stop_price] if new.is_stop else []
    if new.type not in PRICELESS:
        prices.append(new.price)
    return all(_within(price, rule, "Price", "tickSize") for price in prices)


def _percent(new: NewOrder, rule: Rule, seen: Context) -> bool:
    reference = seen.reference("PERCENT_PRICE")
    if new.type in PRICELESS or reference is None:
        return True
    low, high = rule["multiplierDown"], rule["multiplierUp"]
    return reference * low <= new.price <= reference * high


def _percent_by_side(new: NewOrder, rule: Rule, seen: Context) -> bool:
    reference = seen.reference("PERCENT_PRICE_BY_SIDE")
    if new.type in PRICELESS or reference is None:
        return True
    side = "bid" if new.side == "BUY" else "ask"
    low, high = rule[f"{side}MultiplierDown"], rule[f"{side}MultiplierUp"]
    return reference * low <= new.price <= reference * high


def _lot(new: NewOrder, rule: Rule, seen: Context) -> bool:
    return bool(new.quote_quantity) or _within(new.quantity, rule, "Qty", "stepSize")


def _market_lot(new: NewOrder, rule: Rule, seen: Context) -> bool:
    if new.type != "MARKET" or new.quote_quantity:
        return True
    return _within(new.quantity, rule, "Qty", "stepSize")


def _value(new: NewOrder, seen: Context, name: str) -> Decimal | None:
    """Price x quantity; a market order's at the reference price, None where there is none."""
    if new.quote_quantity:
        return new.quote_quantity
    price = seen.reference(name) if new.type in PRICELESS else new.price
    return None if price is None else price * new.quantity


def _min_notional(new: NewOrder, rule: Rule, seen: Context) -> bool:
    applies = new.type not in PRICELESS or seen.instrument.flag("MIN_NOTIONAL", "applyToMarket")
    value = _value(new, seen, "MIN_NOTIONAL")
    return not applies or value is None or value >= rule["minNotional"]


def _notional(new: NewOrder, rule: Rule, seen: Context) -> bool:
    value = _value(new, seen, "NOTIONAL")
    if value is None:
        return True
    priced, flag = new.type not in PRICELESS, seen.instrument.flag
    if (priced or flag("NOTIONAL", "applyMinToMarket")) and value < rule["minNotional"]:
        return False
    capped = "maxNotional" in rule and (priced or flag("NOTIONAL", "applyMaxToMarket"))
    return not capped or value <= rule["maxNotional"]


def _position(new: NewOrder, rule: Rule, seen: Context) -> bool:
    if new.side != "BUY":
        return True
    balance = seen.account.balance(seen.instrument.base)
    coming = sum((order.quantity for order in seen.open_here if order.is_buy), ZERO)
    return balance.free + balance.locked + coming + new.quantity <= rule["maxPosition"]


def _check_counts(new: NewOrder, seen: Context) -> None:
    rule = seen.instrument.rule("MAX_NUM_ORDERS")
    if rule and _count(seen.open_here) >= rule["maxNumOrders"]:
        raise filter_failure("MAX_NUM_ORDERS")
    rule = seen.instrument.rule("MAX_NUM_ALGO_ORDERS")
    if new.is_stop and rule and _stops(seen.open_here) >= rule["maxNumAlgoOrders"]:
        raise filter_failure("MAX_NUM_ALGO_ORDERS")
    limit = seen.exchange_filters.get("EXCHANGE_MAX_NUM_ORDERS")
    if limit is not None and _count(seen.open_everywhere) >= limit:
        raise filter_failure("EXCHANGE_MAX_NUM_ORDERS")
    limit = seen.exchange_filters.get("EXCHANGE_MAX_NUM_ALGO_ORDERS")
    if new.is_stop and limit is not None and _stops(seen.open_everywhere) >= limit:
        raise filter_failure("EXCHANGE_MAX_NUM_ALGO_ORDERS")


def _check_max_asset(new: NewOrder, seen: Context) -> None:
    limits = seen.account.max_asset
    base, quote = seen.instrument.base, seen.instrument.quote
    if base in limits and new.quantity > limits[base]:
        raise filter_failure("MAX_ASSET")
    if quote in limits and (_value(new, seen, "NOTIONAL") or ZERO) > limits[quote]:
        raise filter_failure("MAX_ASSET")


def _count(orders: Iterable[Order]) -> int:
    return sum(1 for _ in orders)


def _stops(orders: Iterable[Order]) -> int:
    return sum(1 for order in orders if order.is_stop)
