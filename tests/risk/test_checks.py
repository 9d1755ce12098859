"""A table per check: the view, the limit, and the finding."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from backend.domain.order import OrderType, Side, TimeInForce
from backend.risk import Finding, load_checks
from tests.domain.builders import NOW, a_quote, an_instrument, terms
from tests.risk.builders import a_view

CHECKS = load_checks()
D = Decimal


def find(name: str, limit: str, **changes: Any) -> Finding:
    """Return a check's finding on the usual view with these changes."""
    check = CHECKS[name]
    return check.check(a_view(**changes), check.LIMIT.parse(limit))


def numbers(finding: Finding) -> tuple[str, ...]:
    """Return status, value, limit, unit and headroom as text, `-` for none."""
    told = [finding.value, finding.limit, finding.headroom]
    value, limit, headroom = ("-" if v is None else format(v, "f") for v in told)
    return finding.status, value, limit, finding.unit or "-", headroom


def a_limit_buy(price: str, **changes: Any) -> Any:
    usual = {
        "order_type": OrderType.LIMIT,
        "limit_price": D(price),
        "time_in_force": TimeInForce.GTC,
    }
    return terms(**{**usual, **changes})


@pytest.mark.parametrize(
    ("name", "changes", "limit", "expected"),
    [
        ("kill_switch", {}, "on", ("pass", "-", "-", "-", "-")),
        ("kill_switch", {"kill_switch": "global: test"}, "on", ("block", "-", "-", "-", "-")),
        ("account_enabled", {}, "on", ("pass", "-", "-", "-", "-")),
        ("account_enabled", {"enabled": False}, "on", ("block", "-", "-", "-", "-")),
        ("account_enabled", {"stopped": "a break"}, "on", ("block", "-", "-", "-", "-")),
        ("tick_size", {}, "on", ("pass", "101", "0.01", "USD", "-")),
        ("tick_size", {"terms": a_limit_buy("99.50")}, "on", ("pass", "99.50", "0.01", "USD", "-")),
        (
            "tick_size",
            {"terms": a_limit_buy("99.505")},
            "on",
            ("block", "99.505", "0.01", "USD", "-"),
        ),
        (
            "tick_size",
            {"terms": a_limit_buy("99.5", order_type=OrderType.STOP_LIMIT, stop_price=D("99.001"))},
            "on",
            ("block", "99.001", "0.01", "USD", "-"),
        ),
        ("step_size", {}, "on", ("pass", "1", "0.001", "BTC", "-")),
        (
            "step_size",
            {"terms": terms(quantity=D("1.0001"))},
            "on",
            ("block", "1.0001", "0.001", "BTC", "-"),
        ),
        ("quantity_bounds", {}, "on", ("pass", "1", "100", "BTC", "-")),
        (
            "quantity_bounds",
            {"terms": terms(quantity=D("0.001"))},
            "on",
            ("block", "0.001", "0.002", "BTC", "-"),
        ),
        (
            "quantity_bounds",
            {"terms": terms(quantity=D(101))},
            "on",
            ("block", "101", "100", "BTC", "-"),
        ),
        ("min_notional", {}, "on", ("pass", "101", "10", "USD", "-")),
        ("min_notional", {"worst_price": D(10)}, "on", ("pass", "10", "10", "USD", "-")),
        ("min_notional", {"worst_price": D("9.99")}, "on", ("block", "9.99", "10", "USD", "-")),
        (
            "min_notional",
            {"worst_price": D(2_000_000)},
            "on",
            ("block", "2000000", "1000000", "USD", "-"),
        ),
        ("stale_quote", {}, "15", ("pass", "0", "15", "s", "15")),
        (
            "stale_quote",
            {"quote": a_quote(as_of=NOW - timedelta(seconds=15))},
            "15",
            ("pass", "15", "15", "s", "0"),
        ),
        (
            "stale_quote",
            {"quote": a_quote(as_of=NOW - timedelta(seconds=15.9))},
            "15",
            ("block", "15.9", "15", "s", "-0.9"),
        ),
        (
            "stale_quote",
            {"quote": a_quote(as_of=NOW - timedelta(days=2))},
            "15",
            ("block", "172800", "15", "s", "-172785"),
        ),
        # From a clock that is not ours.
        (
            "stale_quote",
            {"quote": a_quote(as_of=NOW + timedelta(seconds=16))},
            "15",
            ("block", "16", "15", "s", "-1"),
        ),
        ("stale_quote", {"quote": None}, "15", ("block", "-", "-", "-", "-")),
        ("price_band", {}, "500", ("not_run", "-", "-", "-", "-")),
        (
            "price_band",
            {"terms": a_limit_buy("101")},
            "500",
            ("pass", "0.00", "500", "bps", "500.00"),
        ),
        (
            "price_band",
            {"terms": a_limit_buy("50")},
            "500",
            ("pass", "0.00", "500", "bps", "500.00"),
        ),
        (
            "price_band",
            {"terms": a_limit_buy("106.05")},
            "500",
            ("pass", "500.00", "500", "bps", "0.00"),
        ),
        (
            "price_band",
            {"terms": a_limit_buy("106.06")},
            "500",
            ("block", "501.00", "500", "bps", "-1.00"),
        ),
        # Rounded up: never let through by rounding.
        (
            "price_band",
            {"terms": a_limit_buy("106.05001")},
            "500",
            ("block", "500.01", "500", "bps", "-0.01"),
        ),
        (
            "price_band",
            {"terms": a_limit_buy("94.05", side=Side.SELL)},
            "500",
            ("pass", "500.00", "500", "bps", "0.00"),
        ),
        (
            "price_band",
            {"terms": a_limit_buy("94.04", side=Side.SELL)},
            "500",
            ("block", "501.02", "500", "bps", "-1.02"),
        ),
        # A stop-limit is measured from its stop price.
        (
            "price_band",
            {"terms": a_limit_buy("210", order_type=OrderType.STOP_LIMIT, stop_price=D(200))},
            "500",
            ("pass", "500.00", "500", "bps", "0.00"),
        ),
        (
            "price_band",
            {"terms": a_limit_buy("101"), "quote": None},
            "500",
            ("block", "-", "-", "-", "-"),
        ),
        ("max_pending_trades", {}, "2", ("pass", "1", "2", "plans", "1")),
        ("max_pending_trades", {"pending_trades": 1}, "2", ("pass", "2", "2", "plans", "0")),
        ("max_pending_trades", {"pending_trades": 2}, "2", ("block", "3", "2", "plans", "-1")),
        ("buying_power", {}, "on", ("pass", "101", "1000", "USD", "899")),
        ("buying_power", {"free": {"USD": D(101)}}, "on", ("pass", "101", "101", "USD", "0")),
        (
            "buying_power",
            {"free": {"USD": D("100.99")}},
            "on",
            ("block", "101", "100.99", "USD", "-0.01"),
        ),
        ("buying_power", {"free": {}}, "on", ("block", "101", "0", "USD", "-101")),
        (
            "buying_power",
            {"reserved": {"USD": D(101), "BNB": D(1)}, "free": {"USD": D(1000)}},
            "on",
            ("block", "1", "0", "BNB", "-1"),
        ),
        ("buying_power", {"reserved": None}, "on", ("block", "-", "-", "-", "-")),
        ("max_order_notional", {}, "101", ("pass", "101", "101", "USD", "0")),
        ("max_order_notional", {}, "100.99", ("block", "101", "100.99", "USD", "-0.01")),
        ("max_order_notional", {"account_notional": None}, "100", ("block", "-", "-", "-", "-")),
        (
            "max_daily_notional",
            {"daily_notional": D(99)},
            "200",
            ("pass", "200", "200", "USD", "0"),
        ),
        (
            "max_daily_notional",
            {"daily_notional": D(100)},
            "200",
            ("block", "201", "200", "USD", "-1"),
        ),
        ("max_daily_notional", {"account_notional": None}, "200", ("block", "-", "-", "-", "-")),
        (
            "max_orders_per_minute",
            {"orders_last_minute": 29},
            "30",
            ("pass", "30", "30", "orders", "0"),
        ),
        (
            "max_orders_per_minute",
            {"orders_last_minute": 30},
            "30",
            ("block", "31", "30", "orders", "-1"),
        ),
        ("duplicate_order", {}, "warn", ("pass", "-", "-", "-", "-")),
        ("duplicate_order", {"twin": "trd-x"}, "off", ("not_run", "-", "-", "-", "-")),
        ("duplicate_order", {"twin": "trd-x"}, "warn", ("warn", "-", "-", "-", "-")),
        ("duplicate_order", {"twin": "trd-x"}, "block", ("block", "-", "-", "-", "-")),
    ],
)
def test_each_check_answers_with_value_limit_unit_and_headroom(
    name: str, changes: dict[str, Any], limit: str, expected: tuple[str, ...]
) -> None:
    finding = find(name, limit, **changes)

    assert numbers(finding) == expected
    assert finding.status == "pass" or finding.detail


def test_a_rule_of_the_instrument_names_the_nearest_values() -> None:
    finding = find("step_size", "on", terms=terms(quantity=D("1.0001")))
    assert [str(v) for v in finding.nearest] == ["1.000", "1.001"]


def test_what_is_shown_leaves_out_what_the_check_does_not_have() -> None:
    finding = find("kill_switch", "on")
    finding.check = "kill_switch"

    assert finding.public() == {"check": "kill_switch", "status": "pass"}


def test_what_is_shown_keeps_a_headroom_of_zero() -> None:
    finding = find("max_order_notional", "101")
    assert finding.public()["headroom"] == 0


def test_an_instrument_without_a_maximum_has_none() -> None:
    rich = {"worst_price": D(10**12), "instrument": an_instrument(max_notional=None)}
    assert find("min_notional", "on", **rich).status == "pass"
