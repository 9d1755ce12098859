"""Holds through the store itself: posted + voided + open is what was reserved, always."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from backend.database import Database, Transaction, choose_durability
from backend.domain.money import ZERO
from backend.store import ledger
from backend.store.migrations import migrations
from tests.properties.money import NOW
from tests.properties.rules import D

_amounts = st.decimals(min_value=0, max_value=10**12, places=8)
steps = st.lists(
    st.tuples(st.sampled_from(["post", "post", "post", "void", "other"]), _amounts), max_size=12
)


def open_books(path: Path) -> Database:
    return Database(path, lambda: NOW, migrations, choose_durability())


class _Back(Exception):
    """Leaves no trace of an example."""


async def check_holds(books: Database, reserved: Decimal, life: Sequence[tuple[str, Any]]) -> None:
    """Any sequence of postings and voids, undone at its end."""

    def body(tx: Transaction) -> None:
        tx.execute("PRAGMA defer_foreign_keys = ON")
        _live(tx, reserved, life)
        raise _Back

    try:
        await books.write(body)
    except _Back:
        return


def _live(tx: Transaction, reserved: Decimal, life: Sequence[tuple[str, Any]]) -> None:
    account, total = 1, D(10) ** 9
    ledger.adjust(tx, account, "USD", total, "opening")
    ledger.reserve(tx, account, "t", {"USD": reserved})
    taken, voided = ZERO, False
    for number, (what, amount) in enumerate(life):
        if what == "void":
            kept = ledger.holds(tx, "t")[0].remaining
            released = ledger.void(tx, account, "t")
            assert released == ({"USD": kept} if kept and not voided else {})
            voided = True
        else:
            before = _free(tx)
            short = ledger.post(
                tx, account, "t" if what == "post" else None, str(number), {"USD": -amount}
            )
            taken += amount
            # What its own hold pays leaves nothing shorter than it was.
            assert bool(short) == (_free(tx) < 0 and _free(tx) < before)
        (hold,) = ledger.holds(tx, "t")
        assert min(hold.posted, hold.voided, hold.remaining) >= 0
        assert hold.reserved == reserved == hold.posted + hold.voided + hold.remaining
        now = ledger.funds(tx, account, "USD")
        assert (now.total, now.held) == (total - taken, hold.remaining)


def _free(tx: Transaction) -> Decimal:
    return ledger.funds(tx, 1, "USD").free
