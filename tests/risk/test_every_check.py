"""What holds of every check that is found, present and to come."""

from decimal import Decimal
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from backend.domain.errors import CODES
from backend.domain.instrument import PriceBand
from backend.risk import Check, load_checks, resolve_limits, run
from mcp_server.codes import KNOWN_CODES
from tests.domain.builders import an_instrument
from tests.risk.builders import a_view

CHECKS = load_checks()
PAGE = Path(__file__).parents[2] / "kb" / "risk.md"
every_check = pytest.mark.parametrize(("name", "check"), CHECKS.items(), ids=CHECKS)

BANDED = an_instrument(
    price_band=PriceBand(Decimal(2), Decimal("0.5"), Decimal(2), Decimal("0.5")),
    max_position=Decimal(10),
)

# The fact without which each check must block; what needs none is a rule of the order alone.
MISSING: dict[str, dict[str, Any]] = {
    "account_enabled": {"enabled": False},
    "buying_power": {"reserved": None},
    "kill_switch": {"kill_switch": "global: unreadable"},
    "max_daily_notional": {"account_notional": None},
    "max_order_notional": {"account_notional": None},
    "exchange_band": {"instrument": BANDED, "reference_price": None},
    "max_position": {"instrument": BANDED, "base_position": None},
    "price_band": {"quote": None},
    "stale_quote": {"quote": None},
}
RULES = {
    "instrument_open",
    "max_open_orders",
    "duplicate_order",
    "max_orders_per_minute",
    "max_pending_trades",
    "min_notional",
    "quantity_bounds",
    "step_size",
    "tick_size",
}


def some_limit(check: Check) -> Decimal | str:
    """Return a limit as the check takes it."""
    return check.LIMIT.choices[-1] if check.LIMIT.choices else Decimal(1000)


@every_check
def test_a_check_offers_what_the_folder_asks_for(name: str, check: Check) -> None:
    assert isinstance(check.PRECEDENCE, int)
    assert list(signature(check.check).parameters) == ["view", "limit"]
    assert check.__doc__
    for default in (check.LIMIT.paper, check.LIMIT.live):
        assert default is None or check.LIMIT.parse(default)


@every_check
def test_a_check_passes_on_a_sound_order(name: str, check: Check) -> None:
    finding = check.check(a_view(), some_limit(check))
    assert finding.status in ("pass", "not_run")


def test_each_check_needs_a_fact_or_is_a_rule_of_the_order() -> None:
    assert set(MISSING) | RULES == set(CHECKS)
    assert not set(MISSING) & RULES


@pytest.mark.parametrize("name", MISSING)
def test_a_missing_fact_blocks(name: str) -> None:
    check = CHECKS[name]
    finding = check.check(a_view(**MISSING[name]), some_limit(check))

    assert finding.status == "block"
    assert finding.detail


def test_the_lowest_precedence_names_the_refusal_and_no_two_are_equal() -> None:
    order = [check.PRECEDENCE for check in CHECKS.values()]
    assert order == sorted(set(order))
    assert next(iter(CHECKS)) == "kill_switch"


def test_a_checks_name_is_a_code_of_its_own_that_the_mcp_server_believes() -> None:
    assert not set(CHECKS) & set(CODES)
    assert set(CODES) | set(CHECKS) == KNOWN_CODES


@every_check
def test_a_check_has_its_line_on_the_page(name: str, check: Check) -> None:
    limit = check.LIMIT
    unit = limit.unit or " ".join(limit.choices)
    default = f"{limit.paper or 'none'} | {limit.live or 'none'}"
    (line,) = (x for x in PAGE.read_text().splitlines() if x.startswith(f"| `{name}` |"))
    assert line.endswith(f"| `EXEC_MCP_RISK_{name.upper()}` | {default} | {unit} |")


def test_the_page_has_no_check_that_is_not_there() -> None:
    rows = [x for x in PAGE.read_text().splitlines() if x.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == list(CHECKS)


def test_every_check_runs_and_says_its_name() -> None:
    limits = resolve_limits(CHECKS, "paper")
    findings = run(CHECKS, a_view(), limits)

    assert [finding.check for finding in findings] == list(CHECKS)
    unset = {name for name, limit in limits.items() if limit is None}
    assert {f.check for f in findings if f.detail == "no limit is set"} == unset


def test_every_check_has_a_default_on_a_live_account() -> None:
    assert None not in resolve_limits(CHECKS, "live").values()
