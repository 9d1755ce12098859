"""Plans: make one, or cancel it. `execution` confirms, `approval` approves, `lookup` looks."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from backend.database import Transaction
from backend.domain import exact_json
from backend.domain.errors import Refused, TradeNotPending
from backend.domain.exact_json import RawJson
from backend.domain.instrument import normalise_symbol
from backend.domain.money import ZERO, padded, to_text
from backend.domain.order import OrderTerms, OrderType, Side, TimeInForce
from backend.domain.trade import CancelReason, TradeStatus, digest
from backend.risk import Finding, resolve_limits, run
from backend.services import Desk, market, planning, storage, views
from backend.services.approval import needs_approval
from backend.services.expiry import end_plan, expire_due
from backend.services.lookup import cancelled, look_up, resolve_account, visible
from backend.services.planning import Facts, Pricing
from backend.store import accounts, audit, controls, ledger, trades
from backend.store.accounts import Account
from backend.store.tokens import Token
from backend.store.trades import Trade


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What `plan_trade` asks for; None where it was left out."""

    symbol: str
    side: Side
    quantity: Decimal
    order_type: OrderType = OrderType.MARKET
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    time_in_force: TimeInForce | None = None
    account_id: str | None = None
    request_id: str | None = None


async def plan(desk: Desk, caller: Token, request: PlanRequest) -> tuple[dict[str, Any], bool]:
    """Check an order, reserve what it needs, and lock its price for a short while.

    Returns:
        the trade, and whether it is new (False: `request_id` was used before).

    Raises:
        NotFound: the account.
        Refused: the first check that blocks; its name is the code. `storage`: the disk ails.
    """
    account = await resolve_account(desk, caller, request.account_id)
    request_hash = _request_hash(account, request)
    if known := await _already_planned(desk, caller, request, request_hash):
        return known, False
    storage.refuse_unsafe(desk)
    facts = await planning.gather(desk, account, request.symbol, request.side)
    terms = _terms(request, facts.instrument.symbol)
    offered = desk.exchanges[account.exchange].CAPABILITIES
    planning.check_shape(terms, offered)
    pricing = planning.price_order(terms, facts, planning.band_of(account, offered))

    def body(tx: Transaction) -> tuple[dict[str, Any], bool]:
        if known := _by_request(tx, caller, request, request_hash):
            return views.trade_view(tx, known), False
        fresh = accounts.by_number(tx, account.number)
        refuse_new_risk(tx)
        expire_due(tx, fresh.number)
        trade_id = desk.new_id()
        limits = resolve_limits(
            desk.checks, fresh.environment, desk.config.risk, fresh.limits, caller.limits
        )
        view = planning.risk_view(
            tx, fresh, caller.principal, terms, facts, pricing, limits, trade_id, {}
        )
        findings = run(desk.checks, view, limits)
        refuse_if_blocked(findings)
        assert pricing.reserved is not None, "buying_power blocks what could not be computed"
        draft = _Draft(
            trade_id,
            caller,
            fresh,
            request,
            request_hash,
            facts,
            pricing,
            pricing.reserved,
            findings,
        )
        trade = _insert(tx, desk, draft)
        return views.trade_view(tx, trade, fresh), True

    return await desk.database.write(body)


def _terms(request: PlanRequest, symbol: str) -> OrderTerms:
    default = TimeInForce.IOC if request.order_type is OrderType.MARKET else TimeInForce.GTC
    return OrderTerms(
        symbol,
        request.side,
        request.quantity,
        request.order_type,
        request.limit_price,
        request.stop_price,
        request.time_in_force or default,
    )


def _request_hash(account: Account, request: PlanRequest) -> str:
    """Return the hash of what was asked for: a default counts as if it had been said."""
    terms = asdict(_terms(request, normalise_symbol(request.symbol)))
    values = {"account_id": account.id, **terms}
    return digest({k: to_text(v) if isinstance(v, Decimal) else v for k, v in values.items()})


async def _already_planned(
    desk: Desk, caller: Token, request: PlanRequest, request_hash: str
) -> dict[str, Any] | None:
    if request.request_id is None:
        return None
    found = await desk.database.read(lambda tx: _by_request(tx, caller, request, request_hash))
    return await look_up(desk, caller, found.id) if found else None


def _by_request(
    tx: Transaction, caller: Token, request: PlanRequest, request_hash: str
) -> Trade | None:
    if request.request_id is None:
        return None
    found = trades.by_request(tx, caller.principal, request.request_id)
    if found is not None and found.request_hash != request_hash:
        raise Refused(
            f"request_id was used for another order ({found.id}); use a new request_id",
            "request_id_reused",
            trade_id=found.id,
        )
    return found


def refuse_new_risk(tx: Transaction) -> None:
    """Refuse plan and confirm while the server is quarantined or its clock is behind."""
    if reason := controls.quarantine(tx):
        raise Refused(f"the server takes no new risk: {reason}", "quarantined")
    if tx.clock_behind:
        raise Refused(
            "the server's clock stepped back; wait until it catches up, or ask the operator",
            "clock",
        )


def refuse_if_blocked(findings: Sequence[Finding], **facts: Any) -> None:
    """Raise for the first finding that blocks; its check's name is the code."""
    for finding in findings:
        if finding.status == "block":
            if finding.nearest:
                facts["nearest"] = [padded(value, 0) for value in finding.nearest]
            raise Refused(
                finding.detail, finding.check, checks=[f.public() for f in findings], **facts
            )


@dataclass(frozen=True, slots=True)
class _Draft:
    """A plan that passed its checks: all that is needed to write it down."""

    trade_id: str
    caller: Token
    account: Account
    request: PlanRequest
    request_hash: str
    facts: Facts
    pricing: Pricing
    reserved: Mapping[str, Decimal]
    findings: Sequence[Finding]


def _insert(tx: Transaction, desk: Desk, draft: _Draft) -> Trade:
    trade = _new_trade(tx, desk, draft)
    trades.insert(tx, trade)
    ledger.reserve(tx, trade.account, trade.id, draft.reserved)
    accounts.touch_ledger(tx, trade.account)
    audit.append(
        tx,
        "trade.planned",
        trade.principal,
        account=trade.account,
        trade_id=trade.id,
        plan_hash=trade.plan_hash,
        symbol=trade.symbol,
        side=trade.side.value,
        quantity=to_text(trade.quantity),
        order_type=trade.order_type.value,
        price=to_text(trade.price),
        worst_price=to_text(trade.worst_price),
        reserved={currency: to_text(amount) for currency, amount in draft.reserved.items()},
        expires_at=trade.expires_at.isoformat(),
        approval_required=trade.approval_required,
    )
    return trade


def _new_trade(tx: Transaction, desk: Desk, draft: _Draft) -> Trade:
    account, facts, pricing = draft.account, draft.facts, draft.pricing
    instrument, caller = facts.instrument, draft.caller
    assert facts.quote is not None, "stale_quote blocks a plan without a quote"
    terms = _terms(draft.request, instrument.symbol)
    notional = None
    if facts.rate is not None:
        notional = terms.quantity * pricing.worst_price * facts.rate
    threshold, wanted = needs_approval(tx, account, caller.principal, notional, draft.trade_id)
    ttl = desk.config.approval_ttl_s if wanted else desk.config.plan_ttl_s
    cash = planning.spendable(tx, account, instrument.quote)
    quote = market.shown_quote(facts.quote, instrument.price_decimals)
    prices = (pricing.price, pricing.worst_price, pricing.band_bps)
    return Trade(
        number=0,
        id=draft.trade_id,
        account=account.number,
        principal=caller.principal,
        token_kid=caller.kid,
        request_id=draft.request.request_id,
        request_hash=draft.request_hash,
        plan_hash=planning.plan_hash(account.id, terms, *prices, instrument.version),
        status=TradeStatus.PENDING,
        reason=None,
        symbol=terms.symbol,
        base=instrument.base,
        quote_currency=instrument.quote,
        price_decimals=instrument.price_decimals,
        side=terms.side,
        quantity=terms.quantity,
        order_type=terms.order_type,
        limit_price=terms.limit_price,
        stop_price=terms.stop_price,
        time_in_force=terms.time_in_force,
        price=pricing.price,
        worst_price=pricing.worst_price,
        band_bps=pricing.band_bps,
        quote=RawJson(exact_json.dumps(quote)),
        fee=pricing.fee,
        fee_currency=pricing.fee_currency,
        notional=notional,
        checks=RawJson(exact_json.dumps([finding.public() for finding in draft.findings])),
        rules_version=instrument.version,
        credential_version=account.credential_version,
        buying_power=cash - draft.reserved.get(instrument.quote, ZERO),
        approval_required=wanted,
        approval_threshold=threshold,
        created_at=tx.now,
        expires_at=tx.now + timedelta(seconds=ttl),
        order_expires_at=planning.order_expiry(terms, instrument, tx.now),
    )


async def cancel(desk: Desk, caller: Token, trade_id: str) -> dict[str, Any]:
    """Cancel a pending trade and release what it reserved.

    A trade that is already cancelled or expired is a benign answer; nothing changes.

    Raises:
        NotFound: no such trade within the token's reach.
        TradeNotPending: it was claimed; the order, if it is live, wants `cancel_order`.
    """

    def body(tx: Transaction) -> dict[str, Any]:
        trade, account = visible(tx, caller, trade_id)
        expire_due(tx, trade.account)
        released = end_plan(tx, trade, TradeStatus.CANCELLED, caller.principal, CancelReason.CALLER)
        now = trades.get(tx, trade_id)
        if now.status not in (TradeStatus.CANCELLED, TradeStatus.EXPIRED):
            raise _not_cancellable(tx, now, account)
        return cancelled(now, account, released)

    return await desk.database.write(body)


def _not_cancellable(tx: Transaction, trade: Trade, account: Account) -> TradeNotPending:
    live = trade.status in (TradeStatus.EXECUTING, TradeStatus.WORKING)
    follow = "cancel_order stops the order" if live else "there is nothing left to cancel"
    return TradeNotPending(
        f"Trade is {trade.status}; {follow}",
        current_status=trade.status,
        next="cancel_order" if live else views.NEXT[trade.status],
        trade_id=trade.id,
        trade=views.trade_view(tx, trade, account),
    )
