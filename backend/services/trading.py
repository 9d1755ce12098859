"""Plans: make one, cancel it, approve it, look at it. Execution lives next door."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from backend.database import Transaction
from backend.domain import exact_json
from backend.domain.clock import to_et
from backend.domain.errors import Forbidden, NotFound, Refused, TradeNotPending
from backend.domain.exact_json import RawJson
from backend.domain.instrument import normalise_symbol
from backend.domain.money import ZERO, padded, stored, to_text
from backend.domain.order import OrderTerms, OrderType, Side, TimeInForce
from backend.domain.trade import CancelReason, TradeStatus, digest, is_trade_id
from backend.risk import Finding, resolve_limits, run
from backend.services import Desk, market, planning, views
from backend.services.expiry import end_plan, expire_due
from backend.services.planning import Facts, Pricing
from backend.store import accounts, audit, controls, ledger, orders, trades
from backend.store.accounts import Account
from backend.store.tokens import Token
from backend.store.trades import Trade

_DAY = timedelta(days=1)
_LONGEST_PLAN = timedelta(seconds=3600)


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


async def resolve_account(desk: Desk, caller: Token, account_id: str | None) -> Account:
    """Return the account a call means; never a live one that was not named.

    Raises:
        NotFound: no such account, or not within the token's reach.
    """
    if account_id is None:
        only = caller.accounts[0] if len(caller.accounts) == 1 else None
        account_id = only or desk.config.default_account
        named = False
    else:
        named = True
    found = await desk.database.read(lambda tx: accounts.find(tx, account_id))
    if found is None or not caller.sees(found.id):
        raise NotFound()
    if not named and found.environment == "live" and caller.accounts != (found.id,):
        raise Refused(f"name the account: account_id={found.id} is live", "invalid_request")
    return found


async def plan(desk: Desk, caller: Token, request: PlanRequest) -> tuple[dict[str, Any], bool]:
    """Check an order, reserve what it needs, and lock its price for a short while.

    Returns:
        the trade, and whether it is new (False: `request_id` was used before).

    Raises:
        NotFound: the account.
        Refused: the first check that blocks; its name is the code.
    """
    account = await resolve_account(desk, caller, request.account_id)
    request_hash = _request_hash(account, request)
    if known := await _already_planned(desk, caller, request, request_hash):
        return known, False
    facts = await planning.gather(desk, account, request.symbol)
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
        trade = _insert(
            tx, desk, caller, fresh, request, request_hash, facts, pricing, findings, trade_id
        )
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
    values = {k: v for k, v in asdict(request).items() if k != "request_id"}
    values["account_id"] = account.id
    values["symbol"] = normalise_symbol(request.symbol)
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


def _insert(
    tx: Transaction,
    desk: Desk,
    caller: Token,
    account: Account,
    request: PlanRequest,
    request_hash: str,
    facts: Facts,
    pricing: Pricing,
    findings: Sequence[Finding],
    trade_id: str,
) -> Trade:
    assert facts.quote is not None
    assert pricing.reserved is not None
    instrument = facts.instrument
    terms = _terms(request, instrument.symbol)
    notional = None
    if facts.rate is not None:
        notional = terms.quantity * pricing.worst_price * facts.rate
    threshold, needs_approval = _approval(tx, account, caller.principal, notional, trade_id)
    ttl = desk.config.approval_ttl_s if needs_approval else desk.config.plan_ttl_s
    cash = ledger.funds(tx, account.number, instrument.quote).free
    quote = market.shown_quote(facts.quote, instrument.price_decimals)
    trade = Trade(
        number=0,
        id=trade_id,
        account=account.number,
        principal=caller.principal,
        token_kid=caller.kid,
        request_id=request.request_id,
        request_hash=request_hash,
        plan_hash=planning.plan_hash(
            account.id,
            terms,
            pricing.price,
            pricing.worst_price,
            pricing.band_bps,
            instrument.version,
        ),
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
        checks=RawJson(exact_json.dumps([finding.public() for finding in findings])),
        rules_version=instrument.version,
        credential_version=account.credential_version,
        buying_power=cash - pricing.reserved.get(instrument.quote, ZERO),
        approval_required=needs_approval,
        approval_threshold=threshold,
        approved_by=None,
        approved_at=None,
        incident=None,
        created_at=tx.now,
        expires_at=tx.now + timedelta(seconds=ttl),
        order_expires_at=planning.order_expiry(terms, instrument, tx.now),
        claimed_at=None,
        finished_at=None,
        version=1,
    )
    trades.insert(tx, trade)
    ledger.reserve(tx, account.number, trade_id, pricing.reserved)
    accounts.touch_ledger(tx, account.number)
    audit.append(
        tx,
        "trade.planned",
        caller.principal,
        account=account.number,
        trade_id=trade_id,
        plan_hash=trade.plan_hash,
        symbol=trade.symbol,
        side=trade.side.value,
        quantity=to_text(trade.quantity),
        order_type=trade.order_type.value,
        price=to_text(trade.price),
        worst_price=to_text(trade.worst_price),
        reserved={c: to_text(a) for c, a in pricing.reserved.items()},
        expires_at=trade.expires_at.isoformat(),
        approval_required=needs_approval,
    )
    return trade


def approval_threshold(account: Account) -> Decimal | None:
    """Return the notional above which an operator must approve; None where none need be."""
    text = account.limits.get("approval_threshold", "0" if account.environment == "live" else None)
    return None if text is None else stored(text)


def _approval(
    tx: Transaction, account: Account, principal: str, notional: Decimal | None, trade_id: str
) -> tuple[Decimal | None, bool]:
    """Return the account's approval threshold and whether this plan needs an operator."""
    threshold = approval_threshold(account)
    if threshold is None:
        return None, False
    earlier = trades.notionals_since(tx, account.number, principal, tx.now - _DAY, trade_id)
    known = [n for n in (notional, *earlier) if n is not None]
    # What cannot be converted cannot be shown to be small (Law 7).
    return threshold, len(known) <= len(earlier) or sum(known, ZERO) > threshold


def visible(tx: Transaction, caller: Token, trade_id: str) -> tuple[Trade, Account]:
    """Return a trade within the token's reach.

    Raises:
        NotFound: there is none, or it is somebody else's: the two look the same.
    """
    trade = trades.find(tx, trade_id) if is_trade_id(trade_id) else None
    if trade is not None:
        account = accounts.by_number(tx, trade.account)
        if caller.sees(account.id):
            return trade, account
    raise NotFound()


async def expire_if_due(desk: Desk, caller: Token, trade_id: str) -> None:
    """Let a look at a plan whose time has passed find it expired."""

    def is_due(tx: Transaction) -> int | None:
        trade, _ = visible(tx, caller, trade_id)
        due = trade.status is TradeStatus.PENDING and tx.now >= trade.expires_at
        return trade.account if due else None

    account = await desk.database.read(is_due)
    if account is not None:
        await desk.database.write(lambda tx: expire_due(tx, account))


async def look_up(desk: Desk, caller: Token, trade_id: str) -> dict[str, Any]:
    """Return the whole trade in its present state.

    Raises:
        NotFound: no such trade within the token's reach.
    """
    await expire_if_due(desk, caller, trade_id)
    return await desk.database.read(lambda tx: views.trade_view(tx, *visible(tx, caller, trade_id)))


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
        return _cancelled(now, account, released)

    return await desk.database.write(body)


def _cancelled(trade: Trade, account: Account, released: dict[str, Decimal]) -> dict[str, Any]:
    answer: dict[str, Any] = {"trade_id": trade.id, "status": trade.status}
    if released:
        assert trade.finished_at is not None
        answer["cancelled_at"] = to_et(trade.finished_at)
    cash = released.get(trade.quote_currency, ZERO)
    answer["released_buying_power"] = views.money(cash) if released else ZERO
    if trade.base in released:
        answer["released"] = {
            "currency": trade.base,
            "quantity": padded(released[trade.base], 0),
        }
    answer["account_id"] = account.id
    answer["environment"] = account.environment
    return answer


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


async def approve(desk: Desk, caller: Token, trade_id: str) -> dict[str, Any]:
    """Approve exactly the plan that was shown, once. It never executes anything.

    Raises:
        NotFound, TradeNotPending.
        Forbidden: the planner cannot approve itself (Law 10).
        Refused: `approval_refused`: none is needed, or it was given before.
    """

    def body(tx: Transaction) -> dict[str, Any]:
        trade, account = visible(tx, caller, trade_id)
        expire_due(tx, trade.account)
        trade = trades.get(tx, trade_id)
        if trade.status is not TradeStatus.PENDING:
            raise not_pending(tx, trade, account)
        if trade.principal == caller.principal:
            raise Forbidden("a plan is approved by another principal than its planner")
        if not trade.approval_required:
            raise Refused("this plan needs no approval", "approval_refused", trade_id=trade_id)
        ttl = timedelta(seconds=desk.config.plan_ttl_s)
        until = min(max(trade.expires_at, tx.now + ttl), trade.created_at + _LONGEST_PLAN)
        if not trades.approve(tx, trade, caller.principal, until):
            raise Refused("this plan is approved already", "approval_refused", trade_id=trade_id)
        audit.append(
            tx,
            "trade.approved",
            caller.principal,
            account=trade.account,
            trade_id=trade_id,
            plan_hash=trade.plan_hash,
        )
        return views.load(tx, trade_id)

    return await desk.database.write(body)


async def reject(desk: Desk, caller: Token, trade_id: str) -> dict[str, Any]:
    """Cancel a pending plan on the operator's word.

    Raises:
        NotFound, TradeNotPending.
    """

    def body(tx: Transaction) -> dict[str, Any]:
        trade, account = visible(tx, caller, trade_id)
        expire_due(tx, trade.account)
        released = end_plan(
            tx,
            trade,
            TradeStatus.CANCELLED,
            caller.principal,
            CancelReason.OPERATOR_REJECTED,
        )
        now = trades.get(tx, trade_id)
        if not released:
            raise not_pending(tx, now, account)
        return _cancelled(now, account, released)

    return await desk.database.write(body)


def not_pending(tx: Transaction, trade: Trade, account: Account) -> TradeNotPending:
    """Return the error that carries the actual status and the whole trade."""
    words = {
        TradeStatus.EXPIRED: "Trade has expired; plan_trade again at the current price",
        TradeStatus.CANCELLED: "Trade has been cancelled; plan_trade again if it is still wanted",
        TradeStatus.EXECUTED: "Trade is already executed; nothing was sent again",
        TradeStatus.FAILED: "Trade has failed; nothing was sent again; a new plan_trade is safe",
    }
    detail = words.get(
        trade.status, f"Trade is already {trade.status}; nothing was sent again; use get_trade"
    )
    return TradeNotPending(
        detail,
        current_status=trade.status,
        trade_id=trade.id,
        trade=views.trade_view(tx, trade, account),
    )


async def list_trades(
    desk: Desk,
    numbers: Sequence[int],
    *,
    status: str | None,
    symbol: str | None,
    limit: int,
    before: int | None,
) -> dict[str, Any]:
    """Return a page of trades of these accounts, newest first."""
    await sweep_if_due(desk, numbers)

    def body(tx: Transaction) -> dict[str, Any]:
        found, following = trades.page(
            tx, numbers, status=status, symbol=symbol, before=before, limit=limit
        )
        return {
            "trades": [views.trade_view(tx, trade) for trade in found],
            "next_cursor": None if following is None else str(following),
        }

    return await desk.database.read(body)


async def sweep_if_due(desk: Desk, numbers: Sequence[int]) -> None:
    """Expire what is due on these accounts, so that a reader sees it so."""
    due = await desk.database.read(lambda tx: [n for n in numbers if trades.due(tx, n)])
    if due:
        await desk.database.write(lambda tx: sum(expire_due(tx, number) for number in due))


async def list_orders(
    desk: Desk,
    numbers: Sequence[int],
    *,
    status: str,
    symbol: str | None,
    limit: int,
    before: int | None,
) -> dict[str, Any]:
    """Return a page of orders, newest first. `status` is `open`, `all` or an order state."""

    def body(tx: Transaction) -> dict[str, Any]:
        found, following = orders.page(
            tx,
            numbers,
            live_only=status == "open",
            state=None if status in ("open", "all") else status,
            symbol=symbol,
            before=before,
            limit=limit,
        )
        return {
            "orders": [views.whole_order(tx, trades.get(tx, trade_id)) for trade_id in found],
            "next_cursor": None if following is None else str(following),
        }

    return await desk.database.read(body)


async def get_order(desk: Desk, caller: Token, trade_id: str) -> dict[str, Any]:
    """Return the order of a trade.

    Raises:
        NotFound: no such trade, or it never became an order.
    """

    def body(tx: Transaction) -> dict[str, Any]:
        trade, _ = visible(tx, caller, trade_id)
        order = views.whole_order(tx, trade)
        if order is None:
            raise NotFound()
        return order

    return await desk.database.read(body)
