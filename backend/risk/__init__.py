"""May we? Pure checks, one per file; the file name is the check's name and its code.

Each module offers `PRECEDENCE` (the lowest blocking one names the refusal), `LIMIT`
and `check(view, limit) -> Finding`. All of them run when a plan is made and again
inside the claim's own transaction. A missing fact blocks (Law 7).
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Protocol, cast

from backend import plugins
from backend.domain.instrument import Instrument, Violation
from backend.domain.money import parse_positive
from backend.domain.order import OrderTerms
from backend.domain.quote import Quote


@dataclass(frozen=True, slots=True)
class Limit:
    """What a check compares with, and where it comes from when nobody set one.

    Attributes:
        unit: of the number, or "" for a choice.
        paper, live: the default, as text; None means no limit. Testnet and demo
            accounts take `paper`.
        choices: the words it may be instead of a number.
    """

    unit: str = ""
    paper: str | None = None
    live: str | None = None
    choices: tuple[str, ...] = ()

    def parse(self, text: str) -> Decimal | str:
        """Return the limit, or raise ValueError with the valid forms."""
        if text in self.choices:
            return text
        number = None if self.choices else parse_positive(text)
        if number is None:
            valid = " or ".join(self.choices) if self.choices else f"a number ({self.unit})"
            raise ValueError(f"must be {valid}, was {text[:40]!r}")
        return number

    def tightest(self, texts: list[str]) -> Decimal | str:
        """Return the strictest of several settings of this limit."""
        parsed = [self.parse(text) for text in texts]
        if self.choices:
            return max((str(p) for p in parsed), key=self.choices.index)
        return min(p for p in parsed if isinstance(p, Decimal))


# For checks that are rules rather than limits.
ALWAYS = Limit(choices=("on",), paper="on", live="on")


@dataclass(frozen=True, slots=True)
class RiskView:
    """Everything a check may look at: the account as it is without this trade.

    Attributes:
        stopped: why the account takes no new risk, or None.
        quote: the freshest one, or None when there is none.
        price: the locked price; worst_price: the farthest it may fill.
        notional: quantity × worst_price, instrument's quote currency.
        account_notional: the same in the account's currency; None without a fresh conversion.
        reserved: what the trade needs, by currency; None when it could not be computed.
        free: what is free of those currencies.
        kill_switch: the engaged switch that covers this order, in words, or None.
        twin: another recent trade with the same order, or None.
        daily_notional: confirmed today (ET) by this principal here, account currency.
        reference_price: what the exchange's price band is around; None when not known.
        permissions: what the exchange lets the account do, in its own words.
        open_orders, stop_orders: live orders of the account on the instrument.
        account_orders, account_stops: the same over all instruments.
        base_position: base units owned and being bought; None when not known.
    """

    now: datetime
    account_id: str
    currency: str
    enabled: bool
    stopped: str | None
    terms: OrderTerms
    instrument: Instrument
    quote: Quote | None
    price: Decimal
    worst_price: Decimal
    notional: Decimal
    account_notional: Decimal | None
    reserved: Mapping[str, Decimal] | None
    free: Mapping[str, Decimal]
    kill_switch: str | None
    pending_trades: int
    orders_last_minute: int
    daily_notional: Decimal
    twin: str | None
    reference_price: Decimal | None = None
    permissions: frozenset[str] = frozenset()
    open_orders: int = 0
    stop_orders: int = 0
    account_orders: int = 0
    account_stops: int = 0
    base_position: Decimal | None = None


@dataclass(slots=True)
class Finding:
    """One check's answer; `run` adds the check's name.

    Attributes:
        status: `pass`, `warn`, `block` or `not_run`.
        value, limit: in `unit`; None where the check has no number.
        headroom: what is left below the limit once this order counts.
        detail: a sentence, for everything but a pass.
        nearest: the nearest valid values when a number was off.
    """

    status: str
    value: Decimal | None = None
    limit: Decimal | None = None
    unit: str = ""
    headroom: Decimal | None = None
    detail: str = ""
    nearest: tuple[Decimal, ...] = ()
    check: str = ""

    def public(self) -> dict[str, Any]:
        """Return the JSON object of a plan's `checks`."""
        shown: dict[str, Any] = {"check": self.check, "status": self.status}
        for name in ("value", "limit", "unit", "headroom", "detail"):
            if getattr(self, name) not in (None, ""):
                shown[name] = getattr(self, name)
        return shown


def blocked(detail: str) -> Finding:
    """Return a block without numbers, for a missing or forbidding fact."""
    return Finding("block", detail=detail)


def within(value: Decimal, limit: Decimal, unit: str, what: str) -> Finding:
    """Return pass or block for `value` <= `limit`."""
    if value <= limit:
        return Finding("pass", value, limit, unit, limit - value)
    detail = f"{what} may be at most {limit:f} {unit}, would be {value:f}"
    return Finding("block", value, limit, unit, limit - value, detail)


def from_violation(
    violation: Violation | None, value: Decimal, limit: Decimal, unit: str
) -> Finding:
    """Return pass or block for a rule of the instrument."""
    if violation is None:
        return Finding("pass", value, limit, unit)
    return Finding(
        "block",
        value,
        violation.limit,
        unit,
        detail=violation.detail,
        nearest=violation.nearest,
    )


class Check(Protocol):
    """What each module of this folder offers."""

    PRECEDENCE: int
    LIMIT: Limit

    def check(self, view: RiskView, limit: Any) -> Finding:
        """Return the finding; `limit` is a Decimal or one of `LIMIT.choices`."""
        ...


def load_checks() -> dict[str, Check]:
    """Return every check by name, in the order in which they may name a refusal."""
    found = cast(dict[str, Check], plugins.load(sys.modules[__name__]))
    return dict(sorted(found.items(), key=lambda item: item[1].PRECEDENCE))


def run(
    checks: Mapping[str, Check], view: RiskView, limits: Mapping[str, Decimal | str | None]
) -> list[Finding]:
    """Run every check. A check whose limit nobody set answers `not_run`."""
    findings = []
    for name, module in checks.items():
        limit = limits[name]
        finding = Finding("not_run", detail="no limit is set")
        if limit is not None:
            finding = module.check(view, limit)
        finding.check = name
        findings.append(finding)
    return findings


def resolve_limits(
    checks: Mapping[str, Check], environment: str, *sources: Mapping[str, str]
) -> dict[str, Decimal | str | None]:
    """Return the limit of each check: the tightest of `sources`, else its default."""
    return {
        name: _resolved(
            module.LIMIT,
            environment == "live",
            tuple(source[name] for source in sources if name in source),
        )
        for name, module in checks.items()
    }


@lru_cache(maxsize=1024)
def _resolved(limit: Limit, live: bool, texts: tuple[str, ...]) -> Decimal | str | None:
    default = limit.live if live else limit.paper
    if not texts and default is None:
        return None
    return limit.tightest(list(texts) or [str(default)])
