"""`kb/prices.md` is true: its table is the catalogue, its sources are the files."""

import sys
from pathlib import Path

import backend.prices
from backend.domain.money import to_text
from backend.plugins import load
from backend.prices import LISTINGS
from tests.exchanges.kb_table import table_under

PAGE = Path(__file__).parents[2] / "kb" / "prices.md"


def test_the_catalogue_on_the_page_is_what_is_simulated():
    assert table_under(PAGE, "simulated") == [
        [
            listing.symbol,
            to_text(listing.level),
            to_text(listing.tick_size),
            str(listing.volatility_pct),
            to_text(listing.spread_bps),
        ]
        for listing in sorted(LISTINGS.values())
    ]


def test_every_source_has_its_section_and_every_section_its_source():
    text = PAGE.read_text()

    for name in load(sys.modules[backend.prices.__name__]):
        assert f"\n## {name}\n" in text
