"""What can be traded, and the exchange's rules for it."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from backend.domain.errors import Refused
from backend.domain.money import is_multiple, round_down, round_up, to_text

_SYMBOL = re.compile(r"[^\W_]{1,15}(?:\.[A-Z0-9]{1,5})?(?:/[^\W_]{1,15})?")


def _may_stand_in_a_symbol(letter: str) -> bool:
    # Exchanges list coins named in scripts without case; look-alikes of ASCII have case.
    return letter.isascii() or unicodedata.category(letter) == "Lo"


def normalise_symbol(text: str) -> str:
    """Return the one spelling of a symbol: `aapl` is `AAPL`, `btc-usd` is `BTC/USD`.

    Raises:
        Refused: `unknown_symbol`, when it cannot be a symbol at all.
    """
    symbol = text.strip().upper().replace("-", "/").replace("_", "/")
    if not _SYMBOL.fullmatch(symbol) or not all(map(_may_stand_in_a_symbol, text.strip())):
        raise Refused(
            "symbol must be letters and digits such as AAPL or BTC/USD; "
            "see list_markets for what can be traded",
            "unknown_symbol",
        )
    return symbol


@dataclass(frozen=True, slots=True)
class Currency:
    """One currency as an exchange lists it.

    Attributes:
        kind: `fiat`, `crypto`, or "" where the exchange does not tell.
        decimals: of a balance.
        deposits, withdrawals: None where the exchange does not tell.
    """

    code: str
    name: str = ""
    kind: str = ""
    decimals: int = 8
    deposits: bool | None = None
    withdrawals: bool | None = None


@dataclass(frozen=True, slots=True)
class PriceBand:
    """How far a price may be from the reference price: multipliers of it, by side.

    Attributes:
        buy_up, buy_down, sell_up, sell_down: such as 1.2 and 0.8.
        minutes: of the average that stands in where there is no reference price;
            0: the last trade's price.
    """

    buy_up: Decimal
    buy_down: Decimal
    sell_up: Decimal
    sell_down: Decimal
    minutes: int = 5


@dataclass(frozen=True, slots=True)
class Violation:
    """A number that breaks a rule.

    Attributes:
        rule: the rule's name, `tick_size` for example.
        detail: what was wrong, the rule and the value.
        limit: the rule's own number.
        nearest: the nearest valid values, lowest first; empty when there is none.
    """

    rule: str
    detail: str
    limit: Decimal
    nearest: tuple[Decimal, ...]


@dataclass(frozen=True, slots=True)
class Instrument:
    """One instrument under one exchange's rules.

    Attributes:
        base: what is bought and sold; unit of every quantity.
        quote: what it is paid in; unit of every price and notional.
        tick_size: smallest price step.
        step_size: smallest quantity step.
        max_notional: None where the exchange sets none.
        session: when a `day` order ends; see `clock.session_end`.
        version: of these rules; a plan remembers it.
        code: the exchange's own spelling of the symbol.
        status: `trading`, or why no new order is taken now.
        min_price, max_price: None where the exchange sets none.
        price_band: limits around a reference price, or None.
        max_open_orders, max_stop_orders: on this instrument, per account.
        account_max_orders, account_max_stops: the same over all instruments.
        max_position: base units held and being bought, or None.
        order_types: what it takes; None: all that the exchange offers.
        permissions: the account needs one of each set.
    """

    symbol: str
    name: str
    base: str
    quote: str
    tick_size: Decimal
    step_size: Decimal
    min_quantity: Decimal
    max_quantity: Decimal
    min_notional: Decimal
    max_notional: Decimal | None
    price_decimals: int
    quantity_decimals: int
    session: str
    version: str
    code: str = ""
    status: str = "trading"
    min_price: Decimal | None = None
    max_price: Decimal | None = None
    price_band: PriceBand | None = None
    max_open_orders: int | None = None
    max_stop_orders: int | None = None
    account_max_orders: int | None = None
    account_max_stops: int | None = None
    max_position: Decimal | None = None
    order_types: frozenset[str] | None = None
    permissions: tuple[frozenset[str], ...] = ()

    def price_violation(self, price: Decimal) -> Violation | None:
        """Return what is wrong with `price`, or None."""
        return self._tick_violation(price) or self._price_bounds_violation(price)

    def _price_bounds_violation(self, price: Decimal) -> Violation | None:
        if self.min_price is not None and price < self.min_price:
            limit, word = self.min_price, "at least"
        elif self.max_price is not None and price > self.max_price:
            limit, word = self.max_price, "at most"
        else:
            return None
        return Violation(
            "tick_size",
            f"price must be {word} {to_text(limit)} {self.quote}, was {to_text(price)}",
            limit,
            self._prices_near(price),
        )

    def _prices_near(self, price: Decimal) -> tuple[Decimal, ...]:
        least = self.tick_size if self.min_price is None else self.min_price
        return _around(price, self.tick_size, least, self.max_price)

    def band_violation(self, side: str, price: Decimal, reference: Decimal) -> Violation | None:
        """Return what is wrong with `price` around the reference price, or None."""
        band = self.price_band
        if band is None:
            return None
        down, up = (band.buy_down, band.buy_up) if side == "buy" else (band.sell_down, band.sell_up)
        low, high = reference * down, reference * up
        if low <= price <= high:
            return None
        limit = low if price < low else high
        near = round_up(low, self.tick_size) if price < low else round_down(high, self.tick_size)
        return Violation(
            "exchange_band",
            f"price must be from {to_text(low)} to {to_text(high)} {self.quote}, {to_text(down)} "
            f"to {to_text(up)} times the exchange's reference price {to_text(reference)}, "
            f"was {to_text(price)}",
            limit,
            (near,),
        )

    def _tick_violation(self, price: Decimal) -> Violation | None:
        if is_multiple(price, self.tick_size):
            return None
        near = self._prices_near(price)
        return Violation(
            "tick_size",
            f"price must be a multiple of the tick {to_text(self.tick_size)} {self.quote}, "
            f"was {to_text(price)}; {_nearest(near)}",
            self.tick_size,
            near,
        )

    def step_violation(self, quantity: Decimal) -> Violation | None:
        """Return what is wrong with the precision of `quantity`, or None."""
        if is_multiple(quantity, self.step_size):
            return None
        near = self._quantities_near(quantity)
        return Violation(
            "step_size",
            f"quantity must be a multiple of {to_text(self.step_size)} {self.base}, "
            f"was {to_text(quantity)}; {_nearest(near)}",
            self.step_size,
            near,
        )

    def bounds_violation(self, quantity: Decimal) -> Violation | None:
        """Return what is wrong with the size of `quantity`, or None."""
        if quantity < self.min_quantity:
            limit, word = self.min_quantity, "at least"
        elif quantity > self.max_quantity:
            limit, word = self.max_quantity, "at most"
        else:
            return None
        return Violation(
            "quantity_bounds",
            f"quantity must be {word} {to_text(limit)} {self.base}, was {to_text(quantity)}",
            limit,
            self._quantities_near(quantity),
        )

    def _quantities_near(self, quantity: Decimal) -> tuple[Decimal, ...]:
        return _around(quantity, self.step_size, self.min_quantity, self.max_quantity)

    def notional_violation(self, quantity: Decimal, price: Decimal) -> Violation | None:
        """Return what is wrong with `quantity` × `price`, or None.

        `nearest` holds quantities: the smallest, or largest, that would pass at this price.
        """
        notional = quantity * price
        if notional < self.min_notional:
            limit, word, which = self.min_notional, "at least", "smallest"
            near = round_up(limit / price, self.step_size)
        elif self.max_notional is not None and notional > self.max_notional:
            limit, word, which = self.max_notional, "at most", "largest"
            near = round_down(limit / price, self.step_size)
        else:
            return None
        near = min(max(near, self.min_quantity), self.max_quantity)
        fits = self._takes(near, price)
        told = f"the {which} quantity at this price is {to_text(near)}"
        return Violation(
            "min_notional",
            f"quantity x price must be {word} {to_text(limit)} {self.quote}, "
            f"was {to_text(notional)}; {told if fits else 'no quantity fits at this price'}",
            limit,
            (near,) if fits else (),
        )

    def _takes(self, quantity: Decimal, price: Decimal) -> bool:
        """Say whether a quantity passes every rule of sizes at this price."""
        most, notional = self.max_notional, quantity * price
        sized = self.min_notional <= notional and (most is None or notional <= most)
        return sized and is_multiple(quantity, self.step_size)


def _around(
    value: Decimal, step: Decimal, least: Decimal, most: Decimal | None
) -> tuple[Decimal, ...]:
    """Return the multiples of `step` next to `value` that are within the bounds."""
    first, last = round_up(least, step), None if most is None else round_down(most, step)
    near = [max(one, first) for one in (round_down(value, step), round_up(value, step))]
    if last is not None:
        near = [min(one, last) for one in near if first <= last]
    return tuple(sorted(set(near)))


def _nearest(values: Sequence[Decimal]) -> str:
    return "nearest valid: " + " or ".join(to_text(v) for v in values)
