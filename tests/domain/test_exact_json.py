import json
import time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.domain.exact_json import NumberText, RawJson, dumps, loads, loads_strict
from backend.domain.order import Side

D = Decimal


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (7, "7"),
        (D("215.40"), "215.40"),
        (D("1E-8"), "0.00000001"),
        (D("1E+3"), "1000"),
        ('é\u2028\ud83d\ude00\n"\\', '"\\u00e9\\u2028\\ud83d\\ude00\\n\\"\\\\"'),
        (Side.BUY, '"buy"'),
        ({}, "{}"),
        ([], "[]"),
        ((1, D("2.0")), "[1,2.0]"),
        ({"a": [{"b": D("0.10")}]}, '{"a":[{"b":0.10}]}'),
        ({"a": RawJson('{"b":1.00}')}, '{"a":{"b":1.00}}'),
    ],
    ids=ascii,
)
def test_each_value_is_written_so(value: Any, text: str) -> None:
    assert dumps(value) == text
    json.loads(text)


@pytest.mark.parametrize("value", [1.5, float("nan"), {1, 2}, b"x", object])
def test_a_float_or_a_stranger_is_not_written(value: Any) -> None:
    with pytest.raises(TypeError, match="cannot write"):
        dumps({"a": value})


_numbers = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**18), max_value=10**18)
_values = st.recursive(
    st.none() | st.booleans() | _numbers | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(_values)
def test_what_is_written_is_read_back(value: Any) -> None:
    assert loads(dumps(value)) == value


def test_a_strangers_numbers_come_as_they_were_written() -> None:
    body = b'{"a":0.00000001,"b":123456789012.123456789,"c":1e400,"d":-0,"e":"7"}'
    found = loads_strict(body)

    assert found == {
        "a": "0.00000001",
        "b": "123456789012.123456789",
        "c": "1e400",
        "d": "-0",
        "e": "7",
    }
    assert [type(v) for v in found.values()] == [NumberText] * 4 + [str]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"{'a':1}", "not JSON"),
        (b'{"a":1}x', "not JSON"),
        (b'\xef\xbb\xbf{"a":1}', "not JSON"),
        (b'{"a":01}', "not JSON"),
        (b'{"a":+1}', "not JSON"),
        (b'{"a":\xff}', "not UTF-8"),
        (b'{"a":"\xed\xa0\x80"}', "not UTF-8"),
        (b'{"a":NaN}', "NaN is not a number"),
        (b'{"a":Infinity}', "Infinity is not a number"),
        (b'{"a":-Infinity}', "-Infinity is not a number"),
        (b'{"a":1,"a":1}', "a key twice"),
        (b'{"a":{"b":1,"b":2}}', "a key twice"),
        (b'{"a":1,"\\u0061":2}', "a key twice"),
        (b'{"a":"\\ud800"}', "lone surrogate"),
        (b'{"\\udfff":1}', "lone surrogate"),
        (b'{"a":[["\\ud800x"]]}', "lone surrogate"),
        (b"[" * 30_000 + b"]" * 30_000, "nested too deeply"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "nested too deeply"),
    ],
    ids=lambda case: ascii(case[:20]),
)
def test_what_is_not_strict_json_is_refused_in_words_that_quote_nothing(
    body: bytes, words: str
) -> None:
    with pytest.raises(ValueError, match=words) as refusal:
        loads_strict(body)
    assert "ud800" not in str(refusal.value)


def test_a_whole_surrogate_pair_is_text() -> None:
    assert loads_strict(b'{"a":"\\ud83d\\ude00"}') == {"a": "😀"}


def test_a_number_of_60_000_digits_is_read_at_once() -> None:
    start = time.perf_counter()
    found = loads_strict(b'{"a":' + b"9" * 60_000 + b',"b":1e999999999}')
    assert len(found["a"]) == 60_000
    assert time.perf_counter() - start < 0.5


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        loads_strict(body)
    except ValueError as error:
        assert str(error)  # noqa: PT017
