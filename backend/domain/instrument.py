"""What can be traded, and the exchange's rules for it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from backend.domain.errors import Refused
from backend.domain.money import is_multiple, round_down, round_up, to_text

_SYMBOL = re.compile(r"[A-Z0-9]{1,15}(?:\.[A-Z0-9]{1,5})?(?:/[A-Z0-9]{1,15})?", re.ASCII)


def normalise_symbol(text: str) -> str:
    """Return the one spelling of a symbol: `aapl` is `AAPL`, `btc-usd` is `BTC/USD`.

    Raises:
        Refused: `unknown_symbol`, when it cannot be a symbol at all.
    """
    symbol = text.strip().upper().replace("-", "/").replace("_", "/")
    if not text.isascii() or not _SYMBOL.fullmatch(symbol):
        raise Refused(
            "symbol must be ASCII letters and digits such as AAPL or BTC/USD; "
            "see list_markets for what can be traded",
            "unknown_symbol",
        )
    return symbol


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
        version: of the rule set this came with; a plan remembers it.
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

    def price_violation(self, price: Decimal) -> Violation | None:
        """Return what is wrong with `price`, or None."""
        if is_multiple(price, self.tick_size):
            return None
        near = _around(price, self.tick_size, self.tick_size)
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
        near = _around(quantity, self.step_size, self.min_quantity)
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
            (limit,),
        )

    def notional_violation(self, quantity: Decimal, price: Decimal) -> Violation | None:
        """Return what is wrong with `quantity` × `price`, or None.

        `nearest` holds quantities: the smallest, or largest, that would pass at this price.
        """
        notional = quantity * price
        if notional < self.min_notional:
            near = round_up(self.min_notional / price, self.step_size)
            return Violation(
                "min_notional",
                f"quantity x price must be at least {to_text(self.min_notional)} {self.quote}, "
                f"was {to_text(notional)}; the smallest quantity at this price is {to_text(near)}",
                self.min_notional,
                (near,),
            )
        if self.max_notional is not None and notional > self.max_notional:
            near = round_down(self.max_notional / price, self.step_size)
            return Violation(
                "min_notional",
                f"quantity x price must be at most {to_text(self.max_notional)} {self.quote}, "
                f"was {to_text(notional)}; the largest quantity at this price is {to_text(near)}",
                self.max_notional,
                (near,),
            )
        return None


def _around(value: Decimal, step: Decimal, least: Decimal) -> tuple[Decimal, ...]:
    low, high = round_down(value, step), round_up(value, step)
    return (low, high) if low >= least else (max(high, least),)


def _nearest(values: Sequence[Decimal]) -> str:
    return "nearest valid: " + " or ".join(to_text(v) for v in values)
