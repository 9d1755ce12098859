"""`kb/exchanges/bitstamp.md` is true: its tables and numbers are the code's."""

from pathlib import Path

import pytest

from backend.domain.order import OrderType, TimeInForce
from backend.exchanges.bitstamp import CAPABILITIES, CREDENTIALS, SETTINGS, rejections
from backend.exchanges.bitstamp.metadata import NO_MAXIMUM
from backend.prices.bitstamp import ADDRESSES
from tests.exchanges.kb_table import table_under

PAGE = Path(__file__).parents[2] / "kb" / "exchanges" / "bitstamp.md"


def test_the_rejections_on_the_page_are_the_closed_list():
    assert table_under(PAGE, "Rejections") == [
        [kind.name, kind.codes, kind.sentence] for kind in rejections.KINDS
    ]
    assert table_under(PAGE, "Texts") == [[part, name] for part, name in rejections.TEXTS.items()]


def test_the_settings_and_credentials_on_the_page_are_those_that_are_read():
    assert table_under(PAGE, "Settings") == [
        [name, default or "empty", text] for name, (default, text) in SETTINGS.items()
    ]
    assert table_under(PAGE, "Connect an account") == [
        [name, text] for name, text in CREDENTIALS.items()
    ]


def test_the_environments_on_the_page_are_those_that_there_are():
    assert table_under(PAGE, "Environments") == [
        [name, where.rest, where.socket] for name, where in ADDRESSES.items()
    ]
    assert set(ADDRESSES) == CAPABILITIES.environments


@pytest.mark.parametrize(
    "number",
    [
        f"`sign_time` + {CAPABILITIES.validity.seconds} s + ",
        f" s + {CAPABILITIES.absence_margin.seconds} s.",
        f"at least {CAPABILITIES.absence_spacing.seconds} s apart",
        f"every {CAPABILITIES.poll_every.seconds} s",
        f"{NO_MAXIMUM:,}",
    ],
)
def test_the_numbers_on_the_page_are_those_that_are_declared(number):
    assert number in PAGE.read_text()


def test_it_declares_what_the_page_says_it_takes():
    assert CAPABILITIES.order_types == {OrderType.MARKET, OrderType.LIMIT}
    assert CAPABILITIES.times_in_force == set(TimeInForce)
    assert CAPABILITIES.absence_answers == 3
