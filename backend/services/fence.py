"""The restore fence: at start, a database that is older than its send journal is quarantined.

| found at start                             | what is done                                      |
|--------------------------------------------|---------------------------------------------------|
| the newest dispatches stand in the audit   | nothing                                           |
| a dispatch is missing: a copy was restored | quarantine; plans void; each missing order becomes |
|                                            | `unknown` with its hold, and is looked up          |
| the database is marked as a copy           | quarantine; plans void                            |

An operator lifts the quarantine when the books agree with the exchanges again. Done twice it
changes nothing: what was written again is found.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from backend.database import Transaction
from backend.domain.clock import from_row
from backend.domain.money import stored
from backend.domain.trade import CancelReason, TradeStatus
from backend.journal import Dispatch
from backend.services import Desk, log
from backend.services.expiry import cancel_pending
from backend.store import accounts, audit, controls, ledger, orders, restored, trades

_WHY = "a copy was restored"


async def raise_fence(desk: Desk) -> bool:
    """Compare the database with its journal; quarantine what is older. Returns whether it was."""
    since = await desk.database.read(restored.journal_read)
    newest = desk.journal.newest(since)
    if desk.journal.damaged:
        # Most likely cut by a crash, and then its order never left: what the exchange holds
        # without a row of ours quarantines by itself.
        log.warning("journal.damaged", lines=desk.journal.damaged)
    behind = await desk.database.read(lambda tx: _lacks(tx, newest))
    copy_of = await desk.database.read(restored.copy_mark)
    if not behind and copy_of is None:
        return False
    lines = desk.journal.all(since) if behind else []
    size = desk.journal.size
    written = await desk.database.write(lambda tx: _quarantine(tx, lines, size))
    log.error("fence.raised", why=_WHY, orders=written)
    return True


def _lacks(tx: Transaction, lines: Sequence[Dispatch]) -> bool:
    return any(audit.hash_of(tx, line.audit_seq) != line.audit_hash for line in lines)


def _quarantine(tx: Transaction, lines: Sequence[Dispatch], size: int) -> list[str]:
    restored.drop_copy_mark(tx)
    restored.keep_journal_read(tx, size)
    missing = [line for line in lines if orders.find(tx, line.trade_id) is None]
    written = [line.trade_id for line in missing if _write_again(tx, line)]
    lost = sorted({line.trade_id for line in missing} - set(written))
    controls.set_quarantine(tx, f"{_WHY}: the books may be older than the exchanges'")
    for account in accounts.all_accounts(tx):
        cancel_pending(tx, account.number, "system", CancelReason.QUARANTINE)
    audit.append(tx, "fence.raised", "system", why=_WHY, orders=written, without_account=lost)
    return written


def _write_again(tx: Transaction, line: Dispatch) -> bool:
    """Write the rows of an order that may have left; False: its account is not in this copy."""
    account = accounts.find(tx, line.account_id)
    if account is None:
        return False
    trade = trades.find(tx, line.trade_id)
    if trade is None:
        row: Mapping[str, Any] = {
            **line.trade,
            "account": account.number,
            "status": TradeStatus.EXECUTING.value,
        }
        restored.insert_trade(tx, row)
        held = {currency: stored(quantity) for currency, quantity in line.holds.items()}
        ledger.reserve(tx, account.number, line.trade_id, held)
    elif trade.status is TradeStatus.PENDING:
        trades.move(tx, trade.id, TradeStatus.EXECUTING)
    orders.insert_sending(
        tx, line.trade_id, account.number, from_row(line.sign_time), from_row(line.valid_until)
    )
    accounts.touch_ledger(tx, account.number)
    for event in ("trade.planned", "trade.claimed")[0 if trade is None else 1 :]:
        audit.append(
            tx, event, "system", account=account.number, trade_id=line.trade_id, restored=True
        )
    return True
