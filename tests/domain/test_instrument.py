from decimal import Decimal

import pytest

from backend.domain.errors import Refused
from backend.domain.instrument import Violation, normalise_symbol
from backend.domain.money import to_text
from tests.domain.builders import an_instrument

D = Decimal


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("AAPL", "AAPL"),
        ("aapl", "AAPL"),
        (" AAPL ", "AAPL"),
        ("btc-usd", "BTC/USD"),
        ("btc_usd", "BTC/USD"),
        ("Btc/Usd", "BTC/USD"),
        ("BRK.B", "BRK.B"),
        ("1INCH/USD", "1INCH/USD"),
    ],
)
def test_one_spelling_stands_for_all(text: str, symbol: str) -> None:
    assert normalise_symbol(text) == symbol


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "/",
        "BTC/",
        "/USD",
        "BTC//USD",
        "A B",
        "AAPL\x00",
        "AAPL;DROP",
        "ＡＡＰＬ",
        "ААPL",  # Its first letters are Cyrillic.
        "ſtock",  # A long s becomes S in upper case.
        "../etc",
        "A" * 16,
        "A" * 100_000,
        "BTC/USD/EUR",
        "AAPL'--",
        "💰",
    ],
    ids=lambda text: ascii(text[:12]),
)
def test_what_cannot_be_a_symbol_is_refused(text: str) -> None:
    with pytest.raises(Refused) as refusal:
        normalise_symbol(text)
    assert refusal.value.code == "unknown_symbol"


@pytest.mark.parametrize(
    ("price", "nearest"),
    [
        ("100.00", None),
        ("100.001", ["100", "100.01"]),
        ("0.001", ["0.01"]),  # Nothing is worth 0.
        ("100.0100000000000000001", ["100.01", "100.02"]),
    ],
)
def test_a_price_off_the_tick_names_the_nearest(price: str, nearest: list[str] | None) -> None:
    violation = an_instrument().price_violation(D(price))

    assert _nearest(violation) == nearest
    if violation:
        assert (violation.rule, violation.limit) == ("tick_size", D("0.01"))
        assert f"was {price}" in violation.detail


@pytest.mark.parametrize(
    ("quantity", "nearest"),
    [
        ("0.002", None),
        ("1.234", None),
        ("1.2345", ["1.234", "1.235"]),
        ("0.0015", ["0.002"]),  # 0.001 would be below the minimum.
        ("0.0001", ["0.002"]),
    ],
)
def test_a_quantity_off_the_step_names_the_nearest(
    quantity: str, nearest: list[str] | None
) -> None:
    assert _nearest(an_instrument().step_violation(D(quantity))) == nearest


@pytest.mark.parametrize(
    ("quantity", "nearest", "words"),
    [
        ("0.001", ["0.002"], "at least 0.002 BTC, was 0.001"),
        ("0.002", None, ""),
        ("100", None, ""),
        ("100.001", ["100"], "at most 100 BTC, was 100.001"),
    ],
)
def test_a_quantity_out_of_bounds_names_the_bound(
    quantity: str, nearest: list[str] | None, words: str
) -> None:
    violation = an_instrument().bounds_violation(D(quantity))

    assert _nearest(violation) == nearest
    assert violation is None or words in violation.detail


@pytest.mark.parametrize(
    ("quantity", "price", "nearest"),
    [
        ("0.1", "100", None),
        ("0.099", "100", ["0.1"]),
        ("0.01", "333", ["0.031"]),  # 10 / 333 = 0.03003…, up to a step.
        ("10000", "100", None),
        ("10000.001", "100", ["100"]),
        ("4000", "333", ["100"]),
    ],
)
def test_a_notional_out_of_bounds_names_the_quantity_that_fits(
    quantity: str, price: str, nearest: list[str] | None
) -> None:
    instrument = an_instrument()
    violation = instrument.notional_violation(D(quantity), D(price))

    assert _nearest(violation) == nearest
    if violation:
        assert instrument.notional_violation(violation.nearest[0], D(price)) is None


def test_a_notional_that_no_quantity_reaches_offers_none_and_says_so() -> None:
    violation = an_instrument(max_quantity=D("0.2")).notional_violation(D("0.1"), D("1"))

    assert _nearest(violation) == []
    assert violation is not None
    assert violation.detail.endswith("no quantity fits at this price")


def test_what_is_offered_instead_of_a_quantity_is_within_the_bounds_as_well() -> None:
    instrument = an_instrument(max_quantity=D(100))

    assert _nearest(instrument.step_violation(D("100.0005"))) == ["100"]
    assert _nearest(instrument.bounds_violation(D("100.0005"))) == ["100"]


def test_no_maximum_is_no_bound() -> None:
    assert an_instrument(max_notional=None).notional_violation(D(100), D(10**12)) is None


def _nearest(violation: Violation | None) -> list[str] | None:
    return [to_text(value) for value in violation.nearest] if violation else None
