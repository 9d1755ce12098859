"""A table per check: the view, the limit, and the finding."""

from dataclasses import fields
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from backend.domain.instrument import Instrument, PriceBand
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


STOP_LIMIT = OrderType.STOP_LIMIT
PASS, BLOCK = ("pass", "-", "-", "-", "-"), ("block", "-", "-", "-", "-")
INSTRUMENT = {f.name for f in fields(Instrument)}
BAND = PriceBand(buy_up=D("1.2"), buy_down=D("0.8"), sell_up=D("1.5"), sell_down=D("0.5"))


def on(**changes: Any) -> dict[str, Any]:
    """Return changes of a view, those of the instrument's rules in their place."""
    rules = {name: changes.pop(name) for name in INSTRUMENT & set(changes)}
    return {**changes, "instrument": an_instrument(**rules)}


def bounded(**changes: Any) -> dict[str, Any]:
    return on(min_price=D(50), max_price=D(150), **changes)


def banded(reference: str | None = None, **changes: Any) -> dict[str, Any]:
    known = None if reference is None else D(reference)
    return on(price_band=BAND, reference_price=known, **changes)


def allowed(permissions: str, sets: list[set[str]]) -> dict[str, Any]:
    return on(permissions=tuple(map(frozenset, sets))) | {"permissions": frozenset(permissions)}


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
        ("tick_size", bounded(worst_price=D(50)), "on", ("pass", "101", "0.01", "USD", "-")),
        (
            "tick_size",
            bounded(worst_price=D("49.99")),
            "on",
            ("block", "49.99", "50", "USD", "-"),
        ),
        ("tick_size", bounded(worst_price=D(150)), "on", ("pass", "101", "0.01", "USD", "-")),
        (
            "tick_size",
            bounded(worst_price=D("150.01")),
            "on",
            ("block", "150.01", "150", "USD", "-"),
        ),
        (
            "tick_size",
            bounded(terms=a_limit_buy("49.99")),
            "on",
            ("block", "49.99", "50", "USD", "-"),
        ),
        (
            "tick_size",
            bounded(
                terms=a_limit_buy("100", order_type=OrderType.STOP_LIMIT, stop_price=D("150.01"))
            ),
            "on",
            ("block", "150.01", "150", "USD", "-"),
        ),
        # The worst price may be off the tick where neither given price is.
        (
            "tick_size",
            {"worst_price": D("101.005")},
            "on",
            ("block", "101.005", "0.01", "USD", "-"),
        ),
        ("instrument_open", {}, "on", ("pass", "-", "-", "-", "-")),
        ("instrument_open", on(status="halt"), "on", ("block", "-", "-", "-", "-")),
        ("instrument_open", on(order_types=frozenset({"limit"})), "on", PASS),
        ("instrument_open", on(order_types=frozenset({"market"})), "on", BLOCK),
        ("instrument_open", on(order_types=frozenset()), "on", BLOCK),
        (
            "instrument_open",
            on(order_types=frozenset({"limit"}), terms=a_limit_buy("100", order_type=STOP_LIMIT)),
            "on",
            BLOCK,
        ),
        (
            "instrument_open",
            on(
                order_types=frozenset({"stop_limit"}),
                terms=a_limit_buy("100", order_type=STOP_LIMIT),
            ),
            "on",
            PASS,
        ),
        ("instrument_open", on(permissions=(frozenset({"a", "b"}),)), "on", BLOCK),
        ("instrument_open", allowed("b", [{"a", "b"}]), "on", PASS),
        ("instrument_open", allowed("b", [{"a", "b"}, {"c"}]), "on", BLOCK),
        ("instrument_open", allowed("bc", [{"a", "b"}, {"c"}]), "on", PASS),
        ("exchange_band", {}, "on", ("not_run", "-", "-", "-", "-")),
        ("exchange_band", banded(), "on", BLOCK),
        ("exchange_band", banded("100"), "on", ("pass", "101", "-", "USD", "-")),
        (
            "exchange_band",
            banded("100", worst_price=D(120)),
            "on",
            ("pass", "120", "-", "USD", "-"),
        ),
        (
            "exchange_band",
            banded("100", worst_price=D("120.01")),
            "on",
            ("block", "120.01", "120.0", "USD", "-"),
        ),
        ("exchange_band", banded("100", worst_price=D(80)), "on", ("pass", "80", "-", "USD", "-")),
        (
            "exchange_band",
            banded("100", worst_price=D("79.99")),
            "on",
            ("block", "79.99", "80.0", "USD", "-"),
        ),
        # A sale has multipliers of its own.
        (
            "exchange_band",
            banded("100", terms=terms(side=Side.SELL), worst_price=D(150)),
            "on",
            ("pass", "150", "-", "USD", "-"),
        ),
        (
            "exchange_band",
            banded("100", terms=terms(side=Side.SELL), worst_price=D("150.01")),
            "on",
            ("block", "150.01", "150.0", "USD", "-"),
        ),
        (
            "exchange_band",
            banded("100", terms=a_limit_buy("130")),
            "on",
            ("block", "130", "120.0", "USD", "-"),
        ),
        (
            "exchange_band",
            banded("100", terms=a_limit_buy("90", order_type=STOP_LIMIT, stop_price=D(70))),
            "on",
            ("pass", "101", "-", "USD", "-"),
        ),
        ("max_open_orders", {"open_orders": 900}, "on", ("not_run", "-", "-", "-", "-")),
        (
            "max_open_orders",
            on(max_open_orders=5, open_orders=4),
            "on",
            ("pass", "5", "5", "orders", "0"),
        ),
        (
            "max_open_orders",
            on(max_open_orders=5, open_orders=5),
            "on",
            ("block", "6", "5", "orders", "-1"),
        ),
        ("max_open_orders", on(max_stop_orders=2, stop_orders=2), "on", PASS),
        (
            "max_open_orders",
            on(max_stop_orders=2, stop_orders=1, terms=a_limit_buy("1", order_type=STOP_LIMIT)),
            "on",
            ("pass", "2", "2", "orders", "0"),
        ),
        (
            "max_open_orders",
            on(
                max_open_orders=9,
                max_stop_orders=2,
                stop_orders=2,
                terms=a_limit_buy("1", order_type=OrderType.STOP),
            ),
            "on",
            ("block", "3", "2", "orders", "-1"),
        ),
        (
            "max_open_orders",
            on(
                max_open_orders=3,
                max_stop_orders=2,
                open_orders=3,
                terms=a_limit_buy("1", order_type=STOP_LIMIT),
            ),
            "on",
            ("block", "4", "3", "orders", "-1"),
        ),
        ("max_position", {"base_position": D(10**9)}, "on", ("not_run", "-", "-", "-", "-")),
        ("max_position", on(max_position=D(5)), "on", BLOCK),
        (
            "max_position",
            on(max_position=D(5), base_position=D(4)),
            "on",
            ("pass", "5", "5", "BTC", "0"),
        ),
        (
            "max_position",
            on(max_position=D(5), base_position=D("4.001")),
            "on",
            ("block", "5.001", "5", "BTC", "-0.001"),
        ),
        (
            "max_position",
            on(max_position=D(5), base_position=D(9), terms=terms(side=Side.SELL)),
            "on",
            ("not_run", "-", "-", "-", "-"),
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


@pytest.mark.parametrize(
    ("name", "changes", "nearest"),
    [
        ("tick_size", bounded(terms=a_limit_buy("49.99")), ["50"]),
        ("tick_size", bounded(worst_price=D(151)), ["150"]),
        ("exchange_band", banded("100.001", worst_price=D(130)), ["120.00"]),
        ("exchange_band", banded("100.001", worst_price=D(70)), ["80.01"]),
    ],
)
def test_the_nearest_price_is_on_the_tick_and_inside(
    name: str, changes: dict[str, Any], nearest: list[str]
) -> None:
    finding = find(name, "on", **changes)

    assert [str(v) for v in finding.nearest] == nearest
    price = finding.nearest[0]
    again = find(name, "on", **{**changes, "terms": terms(), "worst_price": price})
    assert again.status == "pass"


def test_a_closed_instrument_says_its_status_and_a_missing_type_what_is_supported() -> None:
    closed = find("instrument_open", "on", **on(status="halt"))
    lacking = find("instrument_open", "on", **on(order_types=frozenset({"stop_limit"})))

    assert "its status is halt" in closed.detail
    assert "no market orders; supported: stop_limit" in lacking.detail
