"""Numbers reach the backend exactly, or not at all."""

import json
from typing import Any

import pytest

from mcp_server.answers import ActionError, Refusal
from mcp_server.parsing import is_trade_id, number, optional_number, parse_action


@pytest.mark.parametrize(
    ("given", "forwarded"),
    [
        (10, 10),
        (-3, -3),
        (0, 0),
        (215.4, "215.4"),
        (10.0, "10.0"),
        (1e-8, "0.00000001"),
        (1e22, "10000000000000000000000"),
        (123456789012.125, "123456789012.125"),
        ("215.40", "215.40"),
        ("123456789012.123456789", "123456789012.123456789"),
        ("1_000", "1_000"),
        ("", ""),
    ],
)
def test_a_number_is_forwarded_without_losing_a_digit(given: Any, forwarded: Any) -> None:
    assert number("quantity", given) == forwarded


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (None, "was null"),
        (float("nan"), "finite"),
        (float("inf"), "finite"),
        (-float("inf"), "finite"),
        (0.1 + 0.2, "send it as a string"),
        (123456789012.12346, "send it as a string"),
        (True, "was true"),
        (False, "was false"),
        ([1], "was [1]"),
        ({"a": 1}, 'was {"a": 1}'),
        (10**40, "out of range"),
        (-(10**100), "out of range"),
    ],
)
def test_what_is_no_exact_number_is_refused(given: Any, says: str) -> None:
    with pytest.raises(Refusal) as refusal:
        number("limit_price", given)

    problem = json.loads(str(refusal.value))
    assert problem["code"] == "invalid_number"
    assert problem["parameter"] == "limit_price"
    assert says in problem["detail"]


def test_a_refusal_never_echoes_more_than_eighty_characters() -> None:
    with pytest.raises(Refusal) as refusal:
        number("quantity", ["9" * 500])

    assert "9" * 80 not in str(refusal.value)


def test_a_price_may_be_left_out() -> None:
    assert optional_number("limit_price", None) is None
    assert optional_number("limit_price", 215.4) == "215.4"


@pytest.mark.parametrize("given", ["confirm", " Confirm ", "CONFIRM\n"])
def test_action_is_lower_cased_and_stripped(given: str) -> None:
    assert parse_action(given) == "confirm"


@pytest.mark.parametrize("given", ["modify", "", "confirm cancel", "сonfirm"])
def test_another_action_is_a_value_error_with_the_documented_words(given: str) -> None:
    with pytest.raises(ValueError, match=r"^action must be 'confirm' or 'cancel'\.$") as error:
        parse_action(given)

    assert isinstance(error.value, ActionError)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("trd-abcdefghijklmnopqrst", True),
        ("trd-234567abcdefghijklmn", True),
        ("trd-abcdefghijklmnopqrs", False),
        ("trd-abcdefghijklmnopqrst\n", False),
        ("trd-ABCDEFGHIJKLMNOPQRST", False),
        ("trd-../../accounts/paper", False),
        ("", False),
    ],
)
def test_only_our_own_ids_may_stand_in_a_path(text: str, good: bool) -> None:
    assert is_trade_id(text) is good
