from decimal import Decimal

import pytest

from backend.risk import ALWAYS, Limit, load_checks, resolve_limits

CHECKS = load_checks()
NUMBER = Limit("bps", paper="500", live="50")
WORD = Limit(paper="warn", live="block", choices=("off", "warn", "block"))


@pytest.mark.parametrize(
    ("limit", "text", "expected"),
    [
        (NUMBER, "500", Decimal(500)),
        (NUMBER, "0.5", Decimal("0.5")),
        (WORD, "off", "off"),
        (ALWAYS, "on", "on"),
    ],
)
def test_a_setting_is_read(limit: Limit, text: str, expected: Decimal | str) -> None:
    assert limit.parse(text) == expected


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        *((NUMBER, text) for text in ("", "0", "-1", "1e3", "NaN", "１", " 5", "5%", "off")),
        *((WORD, text) for text in ("", "5", "WARN", "block ", "on")),
        *((ALWAYS, text) for text in ("off", "0", "true")),
    ],
    ids=str,
)
def test_a_setting_that_is_not_of_its_form_is_refused_with_the_valid_form(
    limit: Limit, text: str
) -> None:
    with pytest.raises(ValueError, match="must be (a number \\(bps\\)|off or warn or block|on)"):
        limit.parse(text)


@pytest.mark.parametrize(
    ("limit", "texts", "expected"),
    [
        (NUMBER, ["500", "50", "70"], Decimal(50)),
        (NUMBER, ["9", "10"], Decimal(9)),
        (WORD, ["off", "block", "warn"], "block"),
        (WORD, ["off", "warn"], "warn"),
    ],
)
def test_the_tightest_of_several_counts(
    limit: Limit, texts: list[str], expected: Decimal | str
) -> None:
    assert limit.tightest(texts) == expected


@pytest.mark.parametrize(
    ("environment", "sources", "expected"),
    [
        ("paper", [], None),
        ("testnet", [], None),
        ("demo", [], None),
        ("live", [], Decimal(10000)),
        ("paper", [{"max_order_notional": "5"}], Decimal(5)),
        # What an operator sets replaces the default, also by more.
        ("live", [{"max_order_notional": "20000"}], Decimal(20000)),
        # Of server, account and token the tightest counts.
        ("live", [{"max_order_notional": "7"}, {}, {"max_order_notional": "6"}], Decimal(6)),
        ("live", [{"max_order_notional": "5"}, {"max_order_notional": "6"}, {}], Decimal(5)),
        ("live", [{"another": "5"}], Decimal(10000)),
    ],
)
def test_a_limit_comes_from_whoever_set_it_else_from_the_check(
    environment: str, sources: list[dict[str, str]], expected: Decimal | None
) -> None:
    assert resolve_limits(CHECKS, environment, *sources)["max_order_notional"] == expected
