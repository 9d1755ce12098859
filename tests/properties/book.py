"""The oracle's accounts: what an account owns and what its trades keep, by plain arithmetic.

Written from the design's words and the paper exchange's page, not from the code.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from zoneinfo import ZoneInfo

D = Decimal
NEW_YORK = ZoneInfo("America/New_York")
BPS = D(10_000)
FEE_UNIT = D("0.00000001")
PLAN_TTL, APPROVAL_TTL = timedelta(seconds=60), timedelta(seconds=600)
LONGEST_PLAN = timedelta(seconds=3600)
VALID = timedelta(seconds=2)
PENDING, EXECUTING, WORKING = "pending", "executing", "working"
EXECUTED, FAILED, CANCELLED, EXPIRED = "executed", "failed", "cancelled", "expired"
LIVE = (PENDING, EXECUTING, WORKING)


def up(value: D, unit: D) -> D:
    return (value / unit).to_integral_value(ROUND_CEILING) * unit


def down(value: D, unit: D) -> D:
    return (value / unit).to_integral_value(ROUND_FLOOR) * unit


def stamp(moment: datetime) -> str:
    """Return Eastern Time with its offset, to the second."""
    text = moment.astimezone(NEW_YORK).strftime("%Y-%m-%dT%H:%M:%S%z")
    return f"{text[:-2]}:{text[-2:]}"


@dataclass(frozen=True)
class Listed:
    """An instrument as the paper exchange's page lists it; the least quantity is a step."""

    symbol: str
    base: str
    tick: D
    step: D
    most: D
    stock: bool

    def day_ends(self, now: datetime) -> datetime:
        """16:00 in New York for a stock, midnight UTC for a coin."""
        if not self.stock:
            return datetime(now.year, now.month, now.day, tzinfo=now.tzinfo) + timedelta(days=1)
        local = now.astimezone(NEW_YORK)
        end = local.replace(hour=16, minute=0, second=0, microsecond=0)
        return (end if local < end else end + timedelta(days=1)).astimezone(now.tzinfo)


LISTED = {
    "AAPL": Listed("AAPL", "AAPL", D("0.01"), D(1), D(1_000_000), True),
    "LTC/USD": Listed("LTC/USD", "LTC", D("0.01"), D("0.001"), D(1_000_000), False),
}


@dataclass(frozen=True)
class Terms:
    """An account's fees, as fractions, and its limits."""

    maker: D = D(0)
    taker: D = D(0)
    fee_in_base: bool = False
    threshold: D | None = None
    most_notional: D | None = None
    opening: D = D(100_000)

    @property
    def dearer(self) -> D:
        return max(self.maker, self.taker)


@dataclass
class Trade:
    """A plan and its order, as the oracle believes them to be."""

    id: str
    account: str
    listed: Listed
    side: str
    quantity: D
    kind: str
    limit: D | None
    stop: D | None
    tif: str
    price: D
    worst: D
    reserved: dict[str, D]
    created: datetime
    expires: datetime
    wants_approval: bool
    request: str | None = None
    status: str = PENDING
    approved: bool = False
    reason: str | None = None
    claimed: datetime | None = None
    order_ends: datetime | None = None
    triggered: bool = False
    filled: D = D(0)
    # What the exchange has while we do not know of it: a status, and fills not booked yet.
    there: str | None = None
    hidden: bool = False
    unseen: list[tuple[D, D, bool]] = field(default_factory=list)

    @property
    def notional(self) -> D:
        return self.quantity * self.worst

    @property
    def released(self) -> D:
        """What a cancel of the plan gives back in dollars."""
        return self.reserved.get("USD", D(0))


@dataclass
class Account:
    """Totals by currency; what is held is what its live trades reserved."""

    id: str
    terms: Terms
    totals: dict[str, D] = field(default_factory=dict)
    bought: dict[str, D] = field(default_factory=dict)
    enabled: bool = True
    halted: bool = False

    def reservation(self, listed: Listed, side: str, quantity: D, worst: D) -> dict[str, D]:
        """A buy holds dollars, a sell the base, and the fee where it is not from what comes in."""
        notional, rate = quantity * worst, self.terms.dearer
        if side == "buy":
            fee = D(0) if self.terms.fee_in_base else up(notional * rate, FEE_UNIT)
            return {"USD": notional + fee}
        fee = up(quantity * rate, FEE_UNIT) if self.terms.fee_in_base else D(0)
        return {listed.base: quantity + fee}

    def fill(self, trade: Trade, quantity: D, price: D, rate: D) -> None:
        """Book one execution."""
        base, sign = trade.listed.base, 1 if trade.side == "buy" else -1
        self._add(base, sign * quantity)
        self._add("USD", -sign * quantity * price)
        fee = up(quantity * (D(1) if self.terms.fee_in_base else price) * rate, FEE_UNIT)
        self._add(base if self.terms.fee_in_base else "USD", -fee)
        held = self.bought.get(trade.listed.symbol, D(0)) + sign * quantity
        held = max(held, D(0))
        if self.terms.fee_in_base:
            held -= min(fee, held)
        self.bought[trade.listed.symbol] = held

    def _add(self, currency: str, amount: D) -> None:
        self.totals[currency] = self.totals.get(currency, D(0)) + amount
