"""The restore fence: at start, a database that may be older than its orders is quarantined.

| found at start                               | what is done                                    |
|----------------------------------------------|-------------------------------------------------|
| nothing of what follows                      | nothing                                         |
| the audit lacks what a line of the journal   | quarantine; plans void; each missing order      |
| names: a copy was restored                   | becomes `unknown` with its hold, and is looked  |
|                                              | up; a kill switch engaged since is engaged      |
| the database is marked as a copy             | quarantine; plans void                          |
| the database's file is another than before:  | quarantine; plans void                          |
| it was copied, perhaps with its journal      |                                                 |
| the journal is another than before: what was | quarantine; plans void                          |
| sent since is not known                      |                                                 |

An operator lifts the quarantine when the books agree with the exchanges again. Done twice it
changes nothing: what was written again is found.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from backend.database import Transaction
from backend.domain.clock import from_row
from backend.domain.errors import Refused
from backend.domain.money import stored
from backend.domain.trade import CancelReason, TradeStatus
from backend.journal import Dispatch, Head, Line, Switch
from backend.place import place_of
from backend.services import Desk, log, planning
from backend.services.expiry import cancel_pending
from backend.store import accounts, audit, controls, ledger, orders, restored, trades
from backend.store.accounts import Account
from backend.store.restored import Witnesses

_RESTORED = "a copy was restored: the books may be older than the exchanges'"
_MOVED = "the database is another file than before: a copy was restored, or the home was moved"
_OTHER_JOURNAL = "the send journal is another file than before: it was lost, or a copy was restored"
_NEXT = "look at `exec-mcp verify`, then `exec-mcp resume --quarantine`"


async def raise_fence(desk: Desk) -> bool:
    """Compare the database with its witnesses; quarantine what is older. Returns whether it was."""
    journal, place = desk.journal, place_of(desk.database.path)
    before = await desk.database.read(restored.witnesses)
    name, size = journal.name, journal.size
    since = before.journal_read if before.journal in (None, name) else 0
    newest = journal.newest(since)
    if journal.damaged:
        # Most likely cut by a crash, and then its order never left: what the exchange holds
        # without a row of ours quarantines by itself.
        log.warning("journal.damaged", lines=journal.damaged)
    behind = await desk.database.read(lambda tx: _lacks(tx, newest))
    copy_of = await desk.database.read(restored.copy_mark)
    why = None
    if behind or copy_of is not None:
        why = _RESTORED
    elif before.place not in (None, place):
        why = _MOVED
    elif before.journal not in (None, name):
        why = _OTHER_JOURNAL
    lines = journal.all(since) if why else []
    now = Witnesses(place, await _begun(desk), size if why else since)
    if why is None:
        if now != before:
            await desk.database.write(lambda tx: restored.keep_witnesses(tx, now))
        return False
    again = await desk.database.write(lambda tx: _quarantine(tx, why, lines, now))
    log.error("fence.raised", why=why, **again)
    return True


async def _begun(desk: Desk) -> str | None:
    """Return the journal's name; one that is empty gets its first line now."""
    if desk.journal.name is None:
        await leave_head(desk, (0, audit.GENESIS))
    return desk.journal.name


async def leave_head(desk: Desk, since: tuple[int, str]) -> None:
    """Tell the journal how far the audit has come, if that is further than `since`.

    So a copy of before is known, though no order was sent since. Where it cannot be told,
    it is not: nothing hangs on it but that.
    """
    if desk.database.failure:
        return
    with suppress(Refused):
        head = await desk.database.read(audit.head)
        if head != since:
            desk.journal.append(Head(*head))


def tell_switch(desk: Desk, line: Switch) -> None:
    """Tell the journal of a kill switch, so that a copy of before starts with it.

    A journal that cannot be written stops no kill switch.
    """
    try:
        desk.journal.append(line)
    except Refused as error:
        log.error("journal.failed", scope=line.scope, detail=error.detail)


def refuse_replaced(desk: Desk) -> None:
    """Refuse to send when the database's file was replaced under the running server.

    Raises:
        Refused: `storage`: others read and write another file by now.
    """
    if desk.database.is_replaced:
        raise Refused(
            "the database's file was replaced under this server: restart it; nothing was sent",
            "storage",
        )


def _lacks(tx: Transaction, lines: Sequence[Line]) -> bool:
    return any(_is_missing(tx, line) for line in lines)


def _is_missing(tx: Transaction, line: Line) -> bool:
    return audit.hash_of(tx, line.audit_seq) != line.audit_hash


def _quarantine(
    tx: Transaction, why: str, lines: Sequence[Line], now: Witnesses
) -> dict[str, list[str]]:
    restored.drop_copy_mark(tx)
    restored.keep_witnesses(tx, now)
    missing = [line for line in lines if _is_missing(tx, line)]
    sent = [line for line in missing if isinstance(line, Dispatch)]
    sent = [line for line in sent if orders.find(tx, line.trade_id) is None]
    written = [line.trade_id for line in sent if _write_again(tx, line)]
    again = {
        "orders": written,
        "not_written": sorted({line.trade_id for line in sent} - set(written)),
        "kill_switches": _engage_again(tx, [one for one in missing if isinstance(one, Switch)]),
    }
    controls.set_quarantine(tx, f"{why}; {_NEXT}")
    for account in accounts.all_accounts(tx):
        cancel_pending(tx, account.number, "system", CancelReason.QUARANTINE)
    facts: dict[str, Any] = {"why": why, **again}
    audit.append(tx, "fence.raised", "system", **facts)
    return again


def _engage_again(tx: Transaction, lines: Sequence[Switch]) -> list[str]:
    """Engage what was engaged last. What was released since stays as the copy has it."""
    last = {line.scope: line for line in lines}
    engaged = [line for line in last.values() if line.engaged]
    for line in engaged:
        controls.set_switch(tx, line.scope, True, line.reason, line.by)
    return [line.scope for line in engaged]


def _write_again(tx: Transaction, line: Dispatch) -> bool:
    """Write the rows of an order that may have left, with its hold.

    Returns:
        False where that cannot be: its account is not in this copy, or its plan has ended
        here. A person must look; the exchange's word stops the server once it is heard.
    """
    account = accounts.find(tx, line.account_id)
    if account is None:
        return False
    known = trades.find(tx, line.trade_id) is not None
    if not known:
        row = {**line.trade, "account": account.number, "status": TradeStatus.EXECUTING.value}
        restored.insert_trade(tx, row)
        held = {currency: stored(quantity) for currency, quantity in line.holds.items()}
        ledger.reserve(tx, account.number, line.trade_id, held)
    elif not restored.claim_again(tx, line.trade_id, line.trade):
        why = f"order {line.trade_id} was sent, and its plan has ended in these books"
        accounts.set_break(tx, account.number, why)
        return False
    orders.insert_sending(
        tx, line.trade_id, account.number, from_row(line.sign_time), from_row(line.valid_until)
    )
    _count_again(tx, account, line)
    accounts.touch_ledger(tx, account.number)
    for event in ("trade.claimed",) if known else ("trade.planned", "trade.claimed"):
        audit.append(
            tx, event, "system", account=account.number, trade_id=line.trade_id, restored=True
        )
    return True


def _count_again(tx: Transaction, account: Account, line: Dispatch) -> None:
    """Count the order among those of its day, as its claim did."""
    trade = trades.get(tx, line.trade_id)
    if trade.notional is not None and trade.claimed_at is not None:
        whose = (account.number, trade.principal, planning.today(trade.claimed_at))
        total = trades.daily_notional(tx, *whose) + trade.notional
        trades.set_daily_notional(tx, *whose, total)
