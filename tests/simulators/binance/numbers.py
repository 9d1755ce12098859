"""Decimals as the exchange prints them, rounded as it rounds them."""

from decimal import ROUND_DOWN, Decimal

ZERO = Decimal(0)
EIGHT = Decimal("0.00000001")


def text(value: Decimal, places: int = 8) -> str:
    """Fixed notation with exactly `places` decimals."""
    return format(value, f".{places}f")


def floor(value: Decimal, step: Decimal = EIGHT) -> Decimal:
    """The largest multiple of `step` not above `value`; a step of 0 leaves it."""
    if step == 0:
        return value
    return (value / step).to_integral_value(ROUND_DOWN) * step
