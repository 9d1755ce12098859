"""JSON with every digit: Decimals go out as plain numbers, numbers come in as their text.

The standard encoder has no Decimal, and the standard decoder takes doubled keys, NaN
and lone surrogates; both are refused here.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any


class NumberText(str):
    """A JSON number, as the characters it was written with."""

    __slots__ = ()


class RawJson(str):
    """JSON text of our own making: written as it stands, not as a string."""

    __slots__ = ()


def dumps(value: Any) -> str:
    """Return compact JSON. Decimals are written in full, never with an exponent."""
    parts: list[str] = []
    _write(value, parts.append)
    return "".join(parts)


def _write(value: Any, emit: Any) -> None:
    if isinstance(value, str):
        if isinstance(value, RawJson):
            emit(str(value))
            return
        emit(_quoted(value.value if isinstance(value, Enum) else value))
    elif value is None:
        emit("null")
    elif value is True or value is False:
        emit("true" if value else "false")
    elif isinstance(value, Decimal):
        emit(format(value, "f"))
    elif isinstance(value, int):
        emit(int.__repr__(value))
    elif isinstance(value, Mapping):
        _write_object(value, emit)
    elif isinstance(value, list | tuple):
        _write_array(value, emit)
    else:
        raise TypeError(f"cannot write {type(value).__name__} as JSON")


def _write_object(value: Mapping[str, Any], emit: Any) -> None:
    separator = "{"
    for key, item in value.items():
        emit(separator)
        emit(_quoted(key))
        emit(":")
        _write(item, emit)
        separator = ","
    emit("}" if value else "{}")


def _write_array(value: list[Any] | tuple[Any, ...], emit: Any) -> None:
    separator = "["
    for item in value:
        emit(separator)
        _write(item, emit)
        separator = ","
    emit("]" if value else "[]")


def loads(text: str) -> Any:
    """Return what we once wrote with `dumps`, numbers as Decimal."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def loads_strict(body: bytes) -> Any:
    """Return a stranger's JSON; numbers as `NumberText`, to be matched before use.

    Raises:
        ValueError: not UTF-8, not JSON, a doubled key, NaN or Infinity, a lone
            surrogate, or nested too deeply. The message never quotes the body.
    """
    try:
        value = json.loads(
            body.decode("utf-8"),
            parse_float=NumberText,
            parse_int=NumberText,
            parse_constant=_refuse_constant,
            object_pairs_hook=_refuse_doubled_keys,
        )
        _refuse_surrogates(value)
    except RecursionError:
        raise ValueError("the body is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"the body is not JSON (at character {error.pos})") from None
    except UnicodeDecodeError:
        raise ValueError("the body is not UTF-8") from None
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number here")


def _refuse_doubled_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("the body has a key twice")
    return made


def _refuse_surrogates(value: Any) -> None:
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
            raise ValueError("the body has a lone surrogate")
    elif isinstance(value, dict):
        for key, item in value.items():
            _refuse_surrogates(key)
            _refuse_surrogates(item)
    elif isinstance(value, list):
        for item in value:
            _refuse_surrogates(item)
