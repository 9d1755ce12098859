"""Texts that look like numbers, JSON that looks like JSON, and times that come twice a year."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from backend.domain import exact_json
from backend.domain.clock import ET, from_row, session_end, to_et, to_row
from backend.domain.exact_json import NumberText
from backend.domain.money import parse_positive, stored, to_text

D = Decimal
_ASCII_DIGITS = frozenset("0123456789")
# Digits of every script, and what `Decimal` and `float` take beside digits.
nasty_numbers = st.one_of(
    st.text(st.characters(categories=["Nd", "No", "Nl"]), min_size=1, max_size=20),
    st.text("0123456789._+-eE,xXnNaAiIfF \t\n\u00a0\u066b", min_size=1, max_size=45),
    st.from_regex(r"[0-9]{1,20}(\.[0-9]{1,20})?", fullmatch=True),
    st.sampled_from(["NaN", "sNaN", "Infinity", "-Infinity", "1e2000000", "0x1", "1_0", "٣", "１"]),
)  # fmt: skip
amounts = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30)
_numbers = amounts | st.integers(-(10**30), 10**30)
_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
documents = st.recursive(
    st.none() | st.booleans() | _numbers | _texts,
    lambda v: st.lists(v, max_size=4) | st.dictionaries(_texts, v, max_size=4),
    max_leaves=12,
)
moments = st.integers(86_400, 7_258_118_400_000_000).map(
    lambda micro: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=1, microseconds=micro)
)
# Half an hour each side of a change of the clocks in New York.
changes = st.builds(
    lambda year, spring, micro: _change(year, spring) + timedelta(microseconds=micro),
    st.integers(2007, 2100),
    st.booleans(),
    st.integers(-2 * 3_600_000_000, 2 * 3_600_000_000),
)


def _change(year: int, spring: bool) -> datetime:
    """The second Sunday of March at 2:00 standard time, or the first of November at 2:00 summer."""
    first = datetime(year, 3 if spring else 11, 1, tzinfo=UTC)
    sunday = first + timedelta(days=(6 - first.weekday()) % 7 + (7 if spring else 0))
    return sunday + timedelta(hours=7 if spring else 6)


def check_parse(text: str) -> None:
    """Only plain ASCII digits above zero are a number, and exactly that number."""
    found = parse_positive(text)
    whole, point, rest = text.partition(".")
    plain = (
        {*whole, *rest} <= _ASCII_DIGITS
        and 1 <= len(whole) <= 18
        and (not point or 1 <= len(rest) <= 18)
    )
    if not plain or not any(digit in "123456789" for digit in text):
        assert found is None, text
    else:
        assert found is not None
        assert int(found * 10**18) == int(whole + rest.ljust(18, "0"))


def check_stored(number: Decimal) -> None:
    text = to_text(number)
    assert stored(text) == number
    assert not text.startswith("-0") or number < 0
    assert text == to_text(stored(text))


def check_json(document: Any) -> None:
    """What is written is JSON, and comes back with every digit; strangers' numbers as text."""
    text = exact_json.dumps(document)
    assert _plain(exact_json.loads(text)) == _plain(document)
    json.loads(text)
    assert _plain(exact_json.loads_strict(text.encode())) == _plain(document)


def _plain(value: Any) -> Any:
    """Make numbers comparable, and tell them from texts that look alike."""
    if isinstance(value, NumberText):
        return ("number", Decimal(value))
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int | Decimal):
        return ("number", Decimal(value))
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value]


def check_strict(body: bytes) -> None:
    """A stranger's bytes are JSON without doubled keys and such, or a ValueError in few words."""
    try:
        found = exact_json.loads_strict(body)
    except ValueError as refusal:
        words = str(refusal)
    else:
        words = ""
        assert found == json.loads(body, parse_int=str, parse_float=str)
    assert len(words) < 100


def check_moment(moment: datetime) -> None:
    """A stamp says its instant to the second, with the offset of that instant; rows sort."""
    stamp = to_et(moment)
    read = datetime.fromisoformat(stamp)
    assert read == moment.replace(microsecond=0)
    assert read.utcoffset() == moment.astimezone(ET).utcoffset()
    assert from_row(to_row(moment)) == moment
    later = moment + timedelta(microseconds=1)
    assert to_row(moment) < to_row(later)
    for session in ("us_equity", "continuous"):
        end = session_end(moment, session)
        assert moment < end <= moment + timedelta(hours=25)
    local = session_end(moment, "us_equity").astimezone(ET)
    assert (local.hour, local.minute) == (16, 0)
