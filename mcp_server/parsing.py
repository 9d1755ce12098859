"""Arguments as they reach a tool: numbers without losing a digit, and ids for a path.

A JSON number arrives as a float, so `215.4` is exact only up to 15 digits. Strings
go to the backend as they are: it matches their digits.
"""

import json
import math
import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import WithJsonSchema

from mcp_server.answers import ActionError, Refusal, problem

_EITHER: list[dict[str, Any]] = [{"type": "number"}, {"type": "string"}]
# `Any`: pydantic's own idea of a number takes full-width digits, `1_000` and `true`.
Number = Annotated[Any, WithJsonSchema({"anyOf": _EITHER})]
OptionalNumber = Annotated[Any, WithJsonSchema({"anyOf": [*_EITHER, {"type": "null"}]})]

_TRADE_ID = re.compile(r"trd-[a-z2-7]{20}", re.ASCII)
_EXACT_DIGITS = 15  # What every double keeps.
_LONGEST_INTEGER = 10**40  # Far beyond what the backend takes; keeps it printable.
_ECHO = 80


def number(parameter: str, value: object) -> str | int:
    """Return a number in the form that reaches the backend exactly.

    Raises:
        Refusal: `invalid_number`, when `value` is no number, is not finite, or is a
            float of more than 15 significant digits.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _invalid(
            parameter, f"must be a number or a string of digits, was {echo(json.dumps(value))}"
        )
    if isinstance(value, int):
        if abs(value) >= _LONGEST_INTEGER:
            raise _invalid(parameter, "is out of range")
        return value
    return _exact(parameter, value)


def optional_number(parameter: str, value: object) -> str | int | None:
    """Return None for None, and anything else as `number` does."""
    return None if value is None else number(parameter, value)


def is_trade_id(text: str) -> bool:
    """Say whether `text` may stand in a path as a trade's id."""
    return bool(_TRADE_ID.fullmatch(text))


def parse_action(action: str) -> str:
    """Return `confirm` or `cancel`.

    Raises:
        ActionError: anything else; a ValueError with the documented words.
    """
    word = action.lower().strip()
    if word not in ("confirm", "cancel"):
        raise ActionError("action must be 'confirm' or 'cancel'.")
    return word


def _exact(parameter: str, value: float) -> str:
    if not math.isfinite(value):
        raise _invalid(parameter, f"must be finite, was {value}")
    digits = Decimal(repr(value))
    if len(digits.as_tuple().digits) > _EXACT_DIGITS:
        raise _invalid(
            parameter,
            f"has more than {_EXACT_DIGITS} significant digits, which a JSON number does "
            "not keep: send it as a string",
        )
    return format(digits, "f")


def _invalid(parameter: str, what: str) -> Refusal:
    return Refusal(problem("invalid_number", f"{parameter} {what}.", parameter=parameter))


def echo(text: str) -> str:
    """Return at most 80 characters of what a caller sent, for an error message."""
    return text if len(text) <= _ECHO else text[: _ECHO - 1] + "…"
