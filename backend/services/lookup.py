"""Find a trade or an account within a token's reach, and say what became of it."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from backend.database import Transaction
from backend.domain.clock import to_et
from backend.domain.errors import NotFound, Refused, TradeNotPending
from backend.domain.money import ZERO, padded
from backend.domain.trade import CancelReason, TradeStatus, is_trade_id
from backend.services import Desk, views
from backend.services.expiry import expire_due
from backend.store import accounts, trades
from backend.store.accounts import Account
from backend.store.tokens import Token
from backend.store.trades import Trade

_AFTER_CANCEL = {
    True: "plan_trade again if it is still wanted",
    False: "an operator must look before a new plan can pass",
}


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


def not_pending(tx: Transaction, trade: Trade, account: Account) -> TradeNotPending:
    """Return the error that carries the actual status and the whole trade."""
    by_us = trade.reason in (CancelReason.CALLER, CancelReason.OPERATOR_REJECTED)
    words = {
        TradeStatus.EXPIRED: "Trade has expired; plan_trade again at the current price",
        TradeStatus.CANCELLED: f"Trade has been cancelled ({trade.reason}); {_AFTER_CANCEL[by_us]}",
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


def cancelled(trade: Trade, account: Account, released: dict[str, Decimal]) -> dict[str, Any]:
    """Return what a cancel answers: benign when there was nothing left to release."""
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
