"""The two state machines, edge by edge."""

import pytest

from backend.domain.order import FINAL, LIVE, ORDER_EDGES, UNSETTLED, OrderState
from backend.domain.trade import (
    FINISHED,
    TRADE_EDGES,
    TradeStatus,
    digest,
    is_trade_id,
    new_trade_id,
)

TRADE_TABLE = """
           pending executing working executed cancelled expired failed
pending       .        x        .       .         x        x      .
executing     .        .        x       x         .        .      x
working       .        .        .       x         .        .      x
executed      .        .        .       .         .        .      .
cancelled     .        .        .       .         .        .      .
expired       .        .        .       .         .        .      .
failed        .        .        .       x         .        .      .
"""

ORDER_TABLE = """
                sending unknown open partially_filled filled cancelled rejected expired not_sent absent
sending            .       x     x          x           x        x        x        x       x       .
unknown            .       .     x          x           x        x        x        x       .       x
open               .       .     .          x           x        x        x        x       .       .
partially_filled   .       .     .          .           x        x        .        x       .       .
filled             .       .     .          .           .        .        .        .       .       .
cancelled          .       .     .          .           .        .        .        .       .       .
rejected           .       .     .          .           .        .        .        .       .       .
expired            .       .     .          .           .        .        .        .       .       .
not_sent           .       .     .          .           .        .        .        .       .       .
absent             .       .     .          .           .        .        .        .       .       .
"""  # noqa: E501


def read(table: str) -> list[tuple[str, str, bool]]:
    """Return every pair of the table and whether the step is legal."""
    head, *rows = (line.split() for line in table.strip().splitlines())
    return [
        (row[0], to, cell == "x") for row in rows for to, cell in zip(head, row[1:], strict=True)
    ]


@pytest.mark.parametrize(("before", "after", "legal"), read(TRADE_TABLE))
def test_each_step_of_a_trade_is_legal_or_not(before: str, after: str, legal: bool) -> None:
    assert (TradeStatus(after) in TRADE_EDGES[TradeStatus(before)]) is legal


@pytest.mark.parametrize(("before", "after", "legal"), read(ORDER_TABLE))
def test_each_step_of_an_order_is_legal_or_not(before: str, after: str, legal: bool) -> None:
    assert (OrderState(after) in ORDER_EDGES[OrderState(before)]) is legal


def test_the_tables_have_every_pair() -> None:
    assert len(read(TRADE_TABLE)) == len(TradeStatus) ** 2
    assert len(read(ORDER_TABLE)) == len(OrderState) ** 2


def test_an_order_is_live_or_final_and_what_is_unsettled_is_live() -> None:
    assert set(OrderState) == LIVE | FINAL
    assert not LIVE & FINAL
    assert UNSETTLED < LIVE


def test_only_evidence_leads_out_of_a_finished_trade() -> None:
    ways_out = {status: TRADE_EDGES[status] for status in FINISHED if TRADE_EDGES[status]}
    assert ways_out == {TradeStatus.FAILED: {TradeStatus.EXECUTED}}


def test_a_trade_id_has_100_random_bits_in_an_alphabet_that_exchanges_take() -> None:
    ids = {new_trade_id() for _ in range(1000)}

    assert len(ids) == 1000
    assert all(is_trade_id(trade_id) and len(trade_id) == 24 for trade_id in ids)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "trd-",
        "trd-abc123",
        "TRD-AAAAAAAAAAAAAAAAAAAA",
        "trd-aaaaaaaaaaaaaaaaaaaaa",
        "trd-aaaaaaaaaaaaaaaaaaa1",
        "trd-aaaaaaaaaaaaaaaaaaaа",  # The last letter is Cyrillic.
        "trd-aaaaaaaaaaaaaaaaaaaa\n",
        " trd-aaaaaaaaaaaaaaaaaaaa",
    ],
    ids=ascii,
)
def test_what_is_not_of_our_form_is_no_trade_id(text: str) -> None:
    assert not is_trade_id(text)


def test_a_digest_does_not_depend_on_the_order_of_its_terms() -> None:
    assert digest({"a": "1", "b": None}) == digest({"b": None, "a": "1"})
    assert digest({"a": "1"}) != digest({"a": 1})
