"""Exact decimal money: from text, to text, never through a float (Law 2).

Digits are matched before `Decimal` sees them: on its own it takes `NaN`,
full-width digits, `1_000`, and spends minutes on `1e2000000`.
"""

import decimal
import re
from decimal import Decimal
from functools import lru_cache

ZERO = Decimal(0)
ONE = Decimal(1)
BPS = Decimal(10_000)

_DIGITS = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,18})?", re.ASCII)
_SIGNED = re.compile(r"-?[0-9]{1,60}(?:\.[0-9]{1,60})?", re.ASCII)

# Products of two 36-digit numbers are exact here; only a division rounds.
_PRECISION = 96


def use_exact_context() -> None:
    """Make this thread, and each new one, calculate without silent rounding."""
    decimal.DefaultContext.prec = _PRECISION
    decimal.setcontext(decimal.Context(prec=_PRECISION, rounding=decimal.ROUND_HALF_EVEN))


use_exact_context()


def parse_positive(text: str) -> Decimal | None:
    """Return the number, or None unless it is plain ASCII digits greater than zero.

    At most 18 digits either side of the point; no sign, exponent, or space.
    """
    if not _DIGITS.fullmatch(text):
        return None
    value = Decimal(text)
    return value if value > 0 else None


@lru_cache(maxsize=4096)
def stored(text: str) -> Decimal:
    """Return the number we once wrote with `to_text`."""
    if not _SIGNED.fullmatch(text):
        raise ValueError(f"not a stored number: {text[:80]!r}")
    return Decimal(text)


@lru_cache(maxsize=4096)
def to_text(value: Decimal) -> str:
    """Return canonical text: no exponent, no trailing zeros, no negative zero."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


@lru_cache(maxsize=4096)
def padded(value: Decimal, decimals: int) -> Decimal:
    """Return the same number shown with at least `decimals` decimals. Never rounds."""
    plain = Decimal(to_text(value))
    exponent = plain.as_tuple().exponent
    if isinstance(exponent, int) and -exponent < decimals:
        return plain.quantize(Decimal(1).scaleb(-decimals))
    return plain


def shown(value: Decimal, decimals: int) -> Decimal:
    """Return a computed average for people: half-even to `decimals` + 4, then trimmed."""
    rounded = value.quantize(Decimal(1).scaleb(-(decimals + 4)), decimal.ROUND_HALF_EVEN)
    return padded(rounded, decimals)


def round_up(value: Decimal, step: Decimal) -> Decimal:
    """Return the smallest multiple of `step` that is at least `value`."""
    return (value / step).to_integral_value(decimal.ROUND_CEILING) * step


def round_down(value: Decimal, step: Decimal) -> Decimal:
    """Return the largest multiple of `step` that is at most `value`."""
    return (value / step).to_integral_value(decimal.ROUND_FLOOR) * step


def is_multiple(value: Decimal, step: Decimal) -> bool:
    """Say whether `value` is a whole number of `step`s, exactly."""
    return value % step == 0
