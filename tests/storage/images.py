"""What must be true after the power came back: open an image with the product, and look."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from backend.app import Backend
from backend.database import Transaction, sqlite3
from backend.domain.errors import ExecError
from backend.journal import Dispatch
from backend.services.audit import invariants
from backend.store import accounts, controls
from backend.testing import FrozenClock
from tests.storage.trading import Image, Told, market, server

PRIVATE = ("vault.key", "agent.token", "operator.token")
# Past the validity of what was sent, and past the dead keeper's lease.
_LATER = timedelta(seconds=10)


async def judge(image: Image, keys: Path, folder: Path) -> list[str]:
    """Put an image into `folder`, recover, and return everything that is wrong then.

    Args:
        keys: the home the image was taken of: its vault and tokens are the same.
    """
    _put(image, keys, folder)
    clock = FrozenClock(image.at + _LATER)
    try:
        async with server(folder, image.variant, clock, market(clock)) as opened:
            return await _recovered(opened, image, clock, folder)
    except (sqlite3.Error, ExecError, RuntimeError, ValueError, AssertionError) as error:
        return [f"it does not recover: {error!r}"]


def _put(image: Image, keys: Path, folder: Path) -> None:
    folder.mkdir(mode=0o700)
    others = {name: (keys / name).read_bytes() for name in PRIVATE}
    for name, data in (image.files | others).items():
        (folder / name).write_bytes(data)
        (folder / name).chmod(0o600)


async def _recovered(opened: Backend, image: Image, clock: FrozenClock, folder: Path) -> list[str]:
    database = opened.desk.database
    wrong = [f"quick_check: {said}" for said in database.check()]
    if reason := await database.read(controls.quarantine):
        wrong.append(f"quarantined: {reason}")
    for _ in range(2):
        await opened.keeper.tick()
        clock.advance(3)
    wrong += (await invariants(opened.desk))["broken"]
    stopped = [a.break_reason for a in await database.read(accounts.all_accounts) if a.break_reason]
    wrong += [f"stopped: {reason}" for reason in stopped]
    ours, plans = await database.read(_ours)
    theirs, said = _theirs(folder)
    wrong += [f"quick_check of the exchange: {text}" for text in said]
    wrong += _compare(ours, theirs)
    lines = opened.desk.journal.all()
    journalled = {line.trade_id for line in lines if isinstance(line, Dispatch)}
    lost = sorted((set(theirs) | image.sent) - journalled)
    wrong += [f"{trade_id} was sent, and the send journal does not know it" for trade_id in lost]
    return wrong + [text for told in image.told if (text := _is_untrue(told, plans, ours))]


def _ours(tx: Transaction) -> tuple[dict[str, Decimal], dict[str, str]]:
    """Return what is filled of each order, and the status of each trade."""
    orders = tx.rows("SELECT trade_id, filled_quantity FROM orders")
    return (
        {row["trade_id"]: Decimal(row["filled_quantity"]) for row in orders},
        {row["id"]: row["status"] for row in tx.rows("SELECT id, status FROM trades")},
    )


def _theirs(folder: Path) -> tuple[dict[str, Decimal], list[str]]:
    """Return what is filled of each order at the exchange, and what is wrong with its book."""
    book = sqlite3.connect(str(folder / "paper.db"))
    try:
        rows = book.execute("SELECT client_order_id, filled FROM orders").fetchall()
        check = [row[0] for row in book.execute("PRAGMA quick_check")]
    finally:
        book.close()
    ids = [row[0] for row in rows]
    twice = [f"{one} stands twice" for one in sorted(set(ids)) if ids.count(one) > 1]
    return {row[0]: Decimal(row[1]) for row in rows}, twice + [c for c in check if c != "ok"]


def _compare(ours: dict[str, Decimal], theirs: dict[str, Decimal]) -> list[str]:
    """Hold the two books against each other: each order of theirs has its row, and its fills."""
    foreign = sorted(theirs.keys() - ours)
    wrong = [f"{trade_id} is at the exchange and not in our books" for trade_id in foreign]
    for trade_id, filled in ours.items():
        there = theirs.get(trade_id, Decimal(0))
        if filled != there:
            wrong.append(f"{trade_id}: {filled} filled in our books, {there} at the exchange")
    return wrong


def _is_untrue(told: Told, plans: dict[str, str], ours: dict[str, Decimal]) -> str | None:
    """Say what a caller was told and is not so any more."""
    now = plans.get(told.trade_id)
    if now is None:
        return f"{told.trade_id} was told to be {told.status} and is lost"
    allowed = {
        "pending": None,
        "executing": ("executing", "working", "executed", "failed"),
        "working": ("working", "executed", "failed"),
    }.get(told.status, (told.status,))
    if allowed and now not in allowed:
        return f"{told.trade_id} was told to be {told.status} and is {now}"
    filled = ours.get(told.trade_id, Decimal(0))
    if told.filled is not None and filled < told.filled:
        return f"{told.trade_id}: {told.filled} was told to be filled, {filled} is"
    return None
