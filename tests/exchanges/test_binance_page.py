"""`kb/exchanges/binance.md` is true: its tables are the adapter's data."""

from pathlib import Path

import pytest

from backend.exchanges import binance
from backend.exchanges.binance.endpoints import ENVIRONMENTS, order_windows, shared_windows
from backend.exchanges.binance.rejections import (
    FILTERS,
    NOT_CANCELLED,
    REFUSALS,
    REFUSED,
    REJECTIONS,
)
from backend.exchanges.binance.signing import CREDENTIALS
from tests.exchanges.kb_table import table_under

PAGE = Path(__file__).parents[2] / "kb" / "exchanges" / "binance.md"


@pytest.mark.parametrize(
    ("heading", "data"),
    [
        ("Rejections", {str(code): why for code, why in REJECTIONS.items()}),
        ("Refusals", REFUSALS),
        ("Rules", FILTERS),
        ("Cancels", {str(code): why for code, why in NOT_CANCELLED.items()}),
    ],
)
def test_the_closed_list_on_the_page_is_the_one_that_is_used(heading, data):
    rows = table_under(PAGE, heading)

    assert dict(rows) == dict(data)
    assert len(rows) == len(data)


def test_the_codes_that_go_by_their_text_are_on_the_page_and_on_no_other_list():
    line = f"The texts of {' and '.join(f'`{code}`' for code in REFUSED)}, word for word."

    assert line in PAGE.read_text().splitlines()
    assert not set(REFUSED) & {*REJECTIONS, *NOT_CANCELLED}


def test_the_settings_on_the_page_are_those_that_are_taken():
    rows = table_under(PAGE, "Settings")

    assert {name: (default, meaning) for name, default, meaning in rows} == binance.SETTINGS


def test_the_parts_of_a_key_on_the_page_are_those_that_are_asked_for():
    assert [row[0] for row in table_under(PAGE, "Connect an account")] == list(CREDENTIALS)


def test_the_addresses_on_the_page_are_compiled_in():
    rows = table_under(PAGE, "Environments")

    assert rows == [
        [name, where.public.rest, where.socket, where.public.streams]
        for name, where in ENVIRONMENTS.items()
    ]


def test_the_numbers_on_the_page_are_those_that_are_declared():
    text = PAGE.read_text()
    told = binance.CAPABILITIES

    assert f"{told.absence_margin.seconds} s have passed since `valid_until`" in text
    assert told.absence_answers == 3
    assert f"at least {told.absence_spacing.seconds} s apart" in text
    assert f"`valid_until`: {told.validity.seconds} s" in text
    assert f"every {told.look_up_every.seconds} s at most" in text
    assert f"all open orders every {told.poll_every.seconds} s" in text
    assert f"Default band: {told.band_bps} bps" in text
    limits = " ".join(row[2] for row in table_under(PAGE, "Rate limits"))
    for window in (*shared_windows(), *order_windows()):
        assert str(window.limit) in limits


def test_every_type_and_time_in_force_is_on_the_page():
    text = PAGE.read_text()
    line = next(line for line in text.splitlines() if line.startswith("- Order types"))

    for word in (*binance.CAPABILITIES.order_types, *binance.CAPABILITIES.times_in_force):
        assert f"`{word}`" in line
