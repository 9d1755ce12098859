"""`kb/exchanges/paper.md` is true: its tables are the code's."""

from pathlib import Path

from backend.domain.money import to_text
from backend.exchanges.paper.door import REJECTIONS
from backend.exchanges.paper.instruments import catalogue
from backend.exchanges.paper.settings import SETTINGS
from tests.exchanges.kb_table import table_under

PAGE = Path(__file__).parents[2] / "kb" / "exchanges" / "paper.md"


def test_the_instruments_on_the_page_are_those_that_can_be_traded():
    assert table_under(PAGE, "Instruments") == [
        [
            i.symbol,
            i.name,
            to_text(i.tick_size),
            to_text(i.step_size),
            to_text(i.max_quantity),
            f"{to_text(i.min_notional)} {i.quote}",
            i.session,
        ]
        for i in catalogue().values()
    ]


def test_the_settings_on_the_page_are_those_that_are_read():
    assert table_under(PAGE, "Settings") == [
        [name, default or "empty", text] for name, (default, text) in SETTINGS.items()
    ]


def test_the_rejection_codes_on_the_page_are_the_closed_list():
    assert table_under(PAGE, "Rejections") == [[code, text] for code, text in REJECTIONS.items()]
