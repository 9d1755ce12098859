"""The oracle: what the server must answer, and what must be in its books after it.

    plan ─▶ refusal codes or a reservation     confirm ─▶ status, code, fills
    time, prices ─▶ expiry, resting fills      kill switch, disable ─▶ what ends

It knows the design and nothing of the code. A refusal may have several causes at once:
`why_not` returns the codes of all of them, and the server names one.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from tests.properties.book import (
    APPROVAL_TTL,
    BPS,
    CANCELLED,
    EXECUTED,
    EXECUTING,
    EXPIRED,
    FAILED,
    LISTED,
    LIVE,
    LONGEST_PLAN,
    PENDING,
    PLAN_TTL,
    VALID,
    WORKING,
    Account,
    Listed,
    Terms,
    Trade,
    down,
    up,
)

D = Decimal
_DAY = timedelta(days=1)
_STOPS = ("stop", "stop_limit")
_LIMITS = ("limit", "stop_limit")


@dataclass(frozen=True)
class Wish:
    """An order as it is asked for; every part of it has the right form."""

    account: str
    symbol: str
    side: str
    quantity: D
    kind: str = "market"
    limit: D | None = None
    stop: D | None = None
    tif: str | None = None

    @property
    def time_in_force(self) -> str:
        return self.tif or ("ioc" if self.kind == "market" else "gtc")

    @property
    def identity(self) -> tuple[object, ...]:
        """What makes two requests the same: a default counts as if it had been said."""
        return (self.account, self.symbol, self.side, self.quantity, self.kind, self.limit,
                self.stop, self.time_in_force)  # fmt: skip


@dataclass
class Oracle:
    """The whole world as it should be: accounts, trades and the market."""

    now: datetime
    accounts: dict[str, Account]
    market: dict[str, tuple[D, D] | None]
    trades: dict[str, Trade] = field(default_factory=dict)
    requests: dict[str, tuple[tuple[object, ...], str]] = field(default_factory=dict)
    halted: bool = False

    # --- looking ---

    def of(self, account: str, *statuses: str) -> list[Trade]:
        """The account's trades in these statuses, oldest first."""
        return [t for t in self.trades.values() if t.account == account and t.status in statuses]

    def held(self, account: str, currency: str) -> D:
        kept = (t.reserved.get(currency, D(0)) for t in self.of(account, *LIVE))
        return sum(kept, D(0))

    def total(self, account: str, currency: str) -> D:
        return self.accounts[account].totals.get(currency, D(0))

    def free(self, account: str, currency: str) -> D:
        return self.total(account, currency) - self.held(account, currency)

    def touch(self, listed: Listed, side: str) -> D | None:
        quote = self.market[listed.symbol]
        return None if quote is None else quote[1] if side == "buy" else quote[0]

    # --- plan ---

    def shape_codes(self, wish: Wish) -> set[str]:
        """What is wrong with the kind of order, whatever its numbers."""
        codes, tif = set(), wish.time_in_force
        if wish.kind == "market" and tif != "ioc" or wish.kind in _STOPS and tif in ("ioc", "fok"):
            codes.add("unsupported_order")
        if (wish.kind in _LIMITS) != (wish.limit is not None):
            codes.add("invalid_request")
        if (wish.kind in _STOPS) != (wish.stop is not None):
            codes.add("invalid_request")
        return codes

    def prices(self, wish: Wish) -> tuple[D, D] | None:
        """The locked price and the worst one; None where there is no quote to lock."""
        listed = LISTED[wish.symbol]
        if wish.kind == "market":
            touch = self.touch(listed, wish.side)
            return None if touch is None else (touch, touch)
        if wish.kind == "stop":
            assert wish.stop is not None
            if wish.side == "buy":
                return wish.stop, max(down(wish.stop * D("1.01"), listed.tick), wish.stop)
            return wish.stop, min(up(wish.stop * D("0.99"), listed.tick), wish.stop)
        assert wish.limit is not None
        return wish.limit, wish.limit

    def why_not(self, wish: Wish) -> set[str]:
        """The codes with which this plan may be refused now; none: it must be taken."""
        if codes := self.shape_codes(wish):
            return codes
        prices = self.prices(wish)
        if prices is None:
            return {"stale_quote"}
        codes = self._rules(wish, prices[1]) | self._stops(wish.account)
        account = self.accounts[wish.account]
        needs = account.reservation(LISTED[wish.symbol], wish.side, wish.quantity, prices[1])
        if any(needs[c] > self.free(wish.account, c) for c in needs):
            codes.add("buying_power")
        return codes

    def _stops(self, account: str) -> set[str]:
        codes = set()
        if self.halted or self.accounts[account].halted:
            codes.add("kill_switch")
        if not self.accounts[account].enabled:
            codes.add("account_enabled")
        return codes

    def _rules(self, wish: Wish, worst: D) -> set[str]:
        """What is wrong with its numbers at this market."""
        listed, codes = LISTED[wish.symbol], set()
        most = self.accounts[wish.account].terms.most_notional
        if any(p % listed.tick for p in (wish.limit, wish.stop) if p is not None):
            codes.add("tick_size")
        if wish.quantity % listed.step:
            codes.add("step_size")
        if not listed.step <= wish.quantity <= listed.most:
            codes.add("quantity_bounds")
        if wish.quantity * worst < 1:
            codes.add("min_notional")
        if most is not None and wish.quantity * worst > most:
            codes.add("max_order_notional")
        touch = self.touch(listed, wish.side)
        if touch is None:
            return codes | {"stale_quote"}
        if wish.limit is not None:
            around = wish.stop or touch
            through = wish.limit - around if wish.side == "buy" else around - wish.limit
            if up(through / around * BPS, D("0.01")) > 5000:
                codes.add("price_band")
        return codes

    def planned(self, wish: Wish, trade_id: str, request: str | None) -> Trade:
        """Take a plan that must be taken."""
        listed, prices = LISTED[wish.symbol], self.prices(wish)
        assert prices is not None
        price, worst = prices
        account = self.accounts[wish.account]
        wanted = False
        if account.terms.threshold is not None:
            counted = [*self.of(wish.account, PENDING), *self._confirmed(wish.account)]
            notional = wish.quantity * worst + sum((t.notional for t in counted), D(0))
            wanted = notional > account.terms.threshold
        day = wish.time_in_force == "day"
        trade = Trade(
            trade_id, wish.account, listed, wish.side, wish.quantity, wish.kind, wish.limit,
            wish.stop, wish.time_in_force, price, worst,
            account.reservation(listed, wish.side, wish.quantity, worst),
            self.now, self.now + (APPROVAL_TTL if wanted else PLAN_TTL), wanted, request,
            order_ends=listed.day_ends(self.now) if day else None,
        )  # fmt: skip
        self.trades[trade_id] = trade
        if request is not None:
            self.requests[request] = (wish.identity, trade_id)
        return trade

    def _confirmed(self, account: str) -> list[Trade]:
        since = self.now - _DAY
        return [
            t for t in self.trades.values()
            if t.account == account and t.claimed is not None and t.claimed > since
        ]  # fmt: skip

    # --- the ends of a plan ---

    def approve(self, trade: Trade) -> str | None:
        """Approve; return the code of the refusal, None if there is none."""
        if trade.status != PENDING:
            return "trade_not_pending"
        if not trade.wants_approval or trade.approved:
            return "approval_refused"
        trade.approved = True
        later = max(trade.expires, self.now + PLAN_TTL)
        trade.expires = min(later, trade.created + LONGEST_PLAN)
        return None

    def end_plans(self, accounts: Iterable[str], reason: str) -> None:
        for account in accounts:
            for trade in self.of(account, PENDING):
                trade.status, trade.reason = CANCELLED, reason

    # --- confirm ---

    def confirm_codes(self, trade: Trade) -> set[str]:
        """Why a confirm by the planner is refused before anything is sent."""
        if trade.status != PENDING:
            return {"trade_not_pending"}
        if trade.wants_approval and not trade.approved:
            return {"awaiting_approval"}
        wish = Wish(trade.account, trade.listed.symbol, trade.side, trade.quantity, trade.kind,
                    trade.limit, trade.stop, trade.tif)  # fmt: skip
        codes = self._rules(wish, trade.worst)
        if trade.order_ends is not None and self.now >= trade.order_ends:
            codes.add("plan_changed")
        return codes

    def send(self, trade: Trade, fault: str) -> None:
        """The claim is won: the order goes out, and this is what becomes of it."""
        trade.claimed = self.now
        if fault == "reject":
            self._end(trade, "rejected")
        elif fault == "unavailable":
            self._end(trade, "not_sent")
        elif fault == "lose_request":
            trade.status = EXECUTING
        elif fault == "partial":
            self._execute(trade, trade.quantity / 2, trade.worst, taker=True)
            self._end(trade, "")
        else:
            trade.hidden = fault == "lose_answer"
            self._arrive(trade)
            if trade.hidden:
                trade.there, trade.status = trade.status, EXECUTING

    def _arrive(self, trade: Trade) -> None:
        """The paper exchange takes the order."""
        trade.status = WORKING
        if trade.kind == "market":
            self._execute(trade, trade.quantity, trade.price, taker=True)
            return self._end(trade, "")
        self._meet(trade, taker=True)
        if trade.status == WORKING and trade.tif in ("ioc", "fok"):
            self._end(trade, "not_filled")
        return None

    def _meet(self, trade: Trade, taker: bool = False) -> None:
        """A live order and the present touch."""
        touch = self.touch(trade.listed, trade.side)
        if touch is None:
            return
        sign = 1 if trade.side == "buy" else -1
        if trade.stop is not None and not trade.triggered:
            if sign * touch < sign * trade.stop:
                return
            trade.triggered = taker = True
        if sign * touch <= sign * trade.worst:
            price = touch if taker else trade.worst
            self._execute(trade, trade.quantity, price, taker)
            self._end(trade, "")

    def _execute(self, trade: Trade, quantity: D, price: D, taker: bool) -> None:
        trade.filled += quantity
        trade.unseen.append((quantity, price, taker))
        if not trade.hidden:
            self._book(trade)

    def _book(self, trade: Trade) -> None:
        """What the exchange filled becomes known."""
        account, trade.hidden = self.accounts[trade.account], False
        for quantity, price, taker in trade.unseen:
            rate = account.terms.taker if taker else account.terms.maker
            account.fill(trade, quantity, price, rate)
        trade.unseen.clear()

    def _end(self, trade: Trade, reason: str) -> None:
        trade.status = EXECUTED if trade.filled else FAILED
        trade.reason = None if trade.filled else reason

    # --- a live order ---

    def cancel_order(self, trade: Trade) -> None:
        """The exchange is asked to cancel, and looked at once."""
        there = trade.there or (WORKING if trade.status == WORKING else None)
        if there == WORKING:
            late = trade.order_ends is not None and self.now >= trade.order_ends
            self._end(trade, "order_expired" if late else "order_cancelled")
            trade.there = trade.status
        self._reveal(trade)

    def _reveal(self, trade: Trade) -> None:
        """A look-up finds the order, if the exchange has it."""
        if trade.there is not None:
            trade.status, trade.there = trade.there, None
            self._book(trade)

    # --- time ---

    def expire(self) -> None:
        """Plans whose instant has come stop counting, whoever looks."""
        for trade in self.trades.values():
            if trade.status == PENDING and self.now >= trade.expires:
                trade.status = EXPIRED

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.expire()

    def tick(self) -> None:
        """The background work: live orders meet the market, unknown ones are looked up."""
        for trade in self.trades.values():
            known, status = trade.there is None, trade.there or trade.status
            if status == WORKING:
                self._pass_time(trade)
            elif trade.status == EXECUTING and known and self._is_late(trade):
                self._end(trade, "absent")
            self._reveal(trade)

    def _is_late(self, trade: Trade) -> bool:
        """The exchange can take it no more: that it has none such is conclusive now."""
        return trade.claimed is not None and self.now > trade.claimed + VALID

    def _pass_time(self, trade: Trade) -> None:
        """Let a live order meet what time brought: its end, or a price."""
        hidden, trade.status = trade.there is not None, WORKING
        if trade.order_ends is not None and self.now >= trade.order_ends:
            self._end(trade, "order_expired")
        else:
            self._meet(trade)
        if hidden:
            trade.there = trade.status


def world(now: datetime, terms: dict[str, Terms], market: dict[str, tuple[D, D]]) -> Oracle:
    """Return the oracle of a home that was just made."""
    accounts = {name: Account(name, one, {"USD": one.opening}) for name, one in terms.items()}
    return Oracle(now, accounts, dict(market))
