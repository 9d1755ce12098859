import decimal
import threading
import time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.domain.money import (
    is_multiple,
    padded,
    parse_positive,
    round_down,
    round_up,
    shown,
    stored,
    to_text,
    use_exact_context,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10", "10"),
        ("0.5", "0.5"),
        ("007", "7"),
        ("215.40", "215.40"),
        ("0.00000001", "0.00000001"),
        ("123456789012.123456789", "123456789012.123456789"),
        ("9" * 18 + "." + "9" * 18, "9" * 18 + "." + "9" * 18),
        ("0.000000000000000001", "0.000000000000000001"),
    ],
)
def test_plain_digits_are_a_number(text: str, expected: str) -> None:
    assert parse_positive(text) == Decimal(expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "0",
        "0.0",
        "-0",
        "-1",
        "+1",
        " 7 ",
        "7 ",
        "7\n",
        "7.",
        ".7",
        "1.2.3",
        "1_000",
        "1,000",
        "1e3",
        "1E-8",
        "1e2000000",
        "-1e2000000",
        "NaN",
        "sNaN",
        "Infinity",
        "-inf",
        "0x10",
        "1/2",
        "true",
        "１２",
        "٣",
        "1\u0660",
        "²",
        "1\x00",
        "1" * 19,
        "0." + "0" * 18 + "1",
        "1" * (10**6),
    ],
    ids=lambda text: repr(text[:20]),
)
def test_anything_else_is_no_number(text: str) -> None:
    assert parse_positive(text) is None


def test_a_million_digits_and_huge_exponents_are_refused_at_once() -> None:
    start = time.perf_counter()
    for text in ("1e2000000", "9" * 10**7, "0." + "9" * 10**7, "1e-999999999999"):
        assert parse_positive(text) is None
    assert time.perf_counter() - start < 0.5


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1E-8", "0.00000001"),
        ("1E+3", "1000"),
        ("10.500", "10.5"),
        ("-0", "0"),
        ("-0.00", "0"),
        ("0E-30", "0"),
        ("-1.50", "-1.5"),
        ("100", "100"),
        ("123456789012.123456789", "123456789012.123456789"),
    ],
)
def test_text_has_no_exponent_no_trailing_zero_and_no_negative_zero(
    value: str, expected: str
) -> None:
    assert to_text(Decimal(value)) == expected


@given(st.decimals(allow_nan=False, allow_infinity=False, places=18, min_value=0, max_value=10**18))
def test_text_and_back_is_the_same_number(value: Decimal) -> None:
    text = to_text(value)

    assert stored(text) == value
    assert "e" not in text.lower()


@pytest.mark.parametrize(
    "text", ["", "NaN", "1e5", "1E-8", "--1", "1" * 61, "１", " 1", "1\n", "+1", "Infinity"]
)
def test_what_we_never_wrote_is_not_read_back(text: str) -> None:
    with pytest.raises(ValueError, match="not a stored number"):
        stored(text)


@pytest.mark.parametrize(
    ("value", "decimals", "expected"),
    [
        ("215.4", 2, "215.40"),
        ("215.400", 2, "215.40"),
        ("215.401", 2, "215.401"),
        ("10", 0, "10"),
        ("1E+5", 2, "100000.00"),
        ("1E-8", 2, "0.00000001"),
        ("0", 2, "0.00"),
        ("-0", 2, "0.00"),
    ],
)
def test_padding_adds_zeros_and_never_rounds(value: str, decimals: int, expected: str) -> None:
    assert format(padded(Decimal(value), decimals), "f") == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("215.4", "215.40"),
        ("215.4000005", "215.40"),  # A tie goes to the even digit.
        ("215.4000015", "215.400002"),
        ("0.33333333333", "0.333333"),
        ("215.40000050000001", "215.400001"),
    ],
)
def test_an_average_is_shown_half_even_to_four_decimals_more(value: str, expected: str) -> None:
    assert format(shown(Decimal(value), 2), "f") == expected


@pytest.mark.parametrize(
    ("value", "step", "down", "up"),
    [
        ("10.005", "0.01", "10.00", "10.01"),
        ("10", "0.01", "10", "10"),
        ("0.001", "1", "0", "1"),
        ("123456789012345678.000000000000000001", "1", "123456789012345678", "123456789012345679"),
        ("7", "3", "6", "9"),
    ],
)
def test_rounding_goes_to_the_next_multiple(value: str, step: str, down: str, up: str) -> None:
    assert round_down(Decimal(value), Decimal(step)) == Decimal(down)
    assert round_up(Decimal(value), Decimal(step)) == Decimal(up)
    assert is_multiple(Decimal(down), Decimal(step))
    assert is_multiple(Decimal(value), Decimal(step)) == (down == up == value)


def test_a_product_of_the_longest_numbers_is_exact_in_a_fresh_thread_too() -> None:
    longest = Decimal("9" * 18 + "." + "9" * 18)
    expected = int("9" * 36) ** 2
    seen: list[Decimal] = []
    threads = [threading.Thread(target=lambda: seen.append(longest * longest)) for _ in range(2)]

    for thread in threads:
        thread.start()
        thread.join()

    assert [int(product.scaleb(36)) for product in (*seen, longest * longest)] == [expected] * 3


def test_the_exact_context_replaces_one_that_was_there_before() -> None:
    def compute() -> int:
        decimal.setcontext(decimal.Context(prec=28))
        use_exact_context()
        return decimal.getcontext().prec

    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(compute()))
    thread.start()
    thread.join()

    assert seen == [96]
