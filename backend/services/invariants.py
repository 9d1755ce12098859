"""The invariants as code: what must be so of the books after every commit.

One table, walked by every test layer and by `exec-mcp verify` on a live system. Nothing here
waits or writes. What must be so between the books and an exchange is in `agreement`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from backend.database import Row, Transaction
from backend.domain.clock import from_row, to_et, to_row
from backend.domain.money import ZERO, stored, to_text
from backend.domain.order import UNSETTLED
from backend.journal import Line
from backend.services import invariants_of_trades as of_trades
from backend.services import stops
from backend.store import books, controls
from backend.store.dossiers import Dossier, Dossiers, journalled

Sentences = Iterator[str]
KEEPER = "keeper"
_SWEPT_WITHIN = timedelta(seconds=30)


class Broken(NamedTuple):
    """One invariant that does not hold: its number and what is wrong, with the rows."""

    invariant: str
    text: str


@dataclass(frozen=True, slots=True)
class Watch:
    """What a server knows of its own looking; without it I-12 looks at plans only.

    Attributes:
        process: its name in the lease.
        looked_at: when an account's orders were last looked at, by its number.
        patience: how long an account's orders may go without, by its number.
        failing: what fails there, by account number: a bug, not an exchange's silence.
    """

    process: str
    looked_at: Mapping[int, datetime] = field(default_factory=dict)
    patience: Mapping[int, timedelta] = field(default_factory=dict)
    failing: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Books:
    """What an invariant of the whole looks at.

    Attributes:
        watch: None: the check is about what is written, not about what should have been by now.
    """

    tx: Transaction
    balances: list[Row]
    strays: list[tuple[str, str]]
    watch: Watch | None


def held_is_open_holds(at: Books) -> Sentences:
    """I-5: what a balance holds is the sum of its open holds."""
    sums: dict[tuple[int, str], Decimal] = {}
    for account, currency, reserved, posted, voided in books.holds(at.tx):
        left = stored(reserved) - stored(posted) - stored(voided)
        sums[account, currency] = sums.get((account, currency), ZERO) + left
    for row in at.balances:
        wanted = sums.pop((row["account"], row["currency"]), ZERO)
        if stored(row["held"]) != wanted:
            yield f"{_name(row)}: held is {row['held']}, its holds keep {to_text(wanted)}"
    for (account, currency), left in sums.items():
        if left:
            yield f"{currency} of account {account}: holds keep {to_text(left)}, without a balance"


def total_is_postings(at: Books) -> Sentences:
    """I-6: a total is its opening and all that was posted since."""
    sums: dict[tuple[int, str], Decimal] = {}
    for account, currency, amount in books.postings(at.tx):
        sums[account, currency] = sums.get((account, currency), ZERO) + stored(amount)
    for row in at.balances:
        wanted = sums.pop((row["account"], row["currency"]), ZERO)
        if stored(row["total"]) != wanted:
            yield f"{_name(row)}: total is {row['total']}, its postings make {to_text(wanted)}"
    for (account, currency), total in sums.items():
        if total:
            yield f"{currency} of account {account}: {to_text(total)} is posted, without a balance"


def time_never_goes_back(at: Books) -> Sentences:
    """I-7: the audit's times do not go back, but where an operator accepted the clock."""
    for row in books.steps_back(at.tx):
        its, before = _et(row["at"]), _et(row["before"])
        yield f"audit row {row['seq']} is of {its}, the one before of {before}"


def audit_is_gapless(at: Books) -> Sentences:
    """I-9: the audit counts from 1, and tells of nothing that is not in the books."""
    count, last = books.audit_count(at.tx)
    if count != last:
        yield f"the audit has {count} rows and ends with number {last}"
    for table, trade_id in sorted(set(at.strays)):
        yield f"{trade_id} has rows in {table}, and is no trade"


def stops_stop(at: Books) -> Sentences:
    """I-10: between engaged and released no claim in scope; quarantine and disabling as well."""
    return stops.broken(at.tx)


def nothing_stands_still(at: Books) -> Sentences:
    """I-12: what is due is done while a server is at work: plans expire, orders are looked at."""
    lease = controls.lease(at.tx, KEEPER) if at.watch else None
    now = at.tx.now
    if at.watch is None or lease is None or from_row(lease["expires_at"]) <= now:
        return
    for row in books.overdue_plans(at.tx, to_row(now - _SWEPT_WITHIN)):
        yield f"{row['id']} expired at {_et(row['expires_at'])} and is pending still"
    if lease["owner"] == at.watch.process:
        for row in books.live_orders(at.tx):
            yield from _standing(row, at.watch, now)


def _standing(row: Row, watch: Watch, now: datetime) -> Sentences:
    account, what = row["account"], f"order of {row['trade_id']}, {row['state']},"
    if account in watch.failing:
        yield f"{what} is not looked at: {watch.failing[account]}"
    elif account in watch.looked_at and account in watch.patience:
        since = max(watch.looked_at[account], from_row(row["updated_at"]))
        if now - since > watch.patience[account]:
            unsettled = "unsettled " if row["state"] in UNSETTLED else ""
            yield f"{what} is {unsettled}not looked at since {to_et(since)}"


def _et(at: str) -> str:
    return to_et(from_row(at))


def _name(row: Row) -> str:
    return f"{row['currency']} of account {row['account']}"


class Rule(NamedTuple):
    """One invariant: its number, what it promises, and what looks at a trade and at the whole."""

    number: str
    title: str
    of_trade: Callable[[Dossier], Sentences] | None = None
    of_books: Callable[[Books], Sentences] | None = None


RULES = (
    Rule("I-1", "a trade is at most one order", of_trades.one_order),
    Rule("I-2", "a reservation is released with evidence", of_trades.released_with_evidence),
    Rule("I-3", "what ended as a plan has no order", of_trades.unsent_has_no_order),
    Rule("I-4", "fills add up to their order", of_trades.fills_add_up),
    Rule("I-5", "what is held is the open holds", of_trades.holds_add_up, held_is_open_holds),
    Rule("I-6", "totals are what was posted", of_trades.fills_are_posted, total_is_postings),
    Rule("I-7", "claims come in time", of_trades.claimed_in_time, time_never_goes_back),
    Rule("I-8", "histories follow the state tables", of_trades.history_is_a_path),
    Rule("I-9", "everything is written down", of_trades.is_written_down, audit_is_gapless),
    Rule("I-10", "a stop stops every claim", None, stops_stop),
    Rule("I-11", "what was sent is what was approved", of_trades.sent_as_approved),
    Rule("I-12", "nothing stands still", None, nothing_stands_still),
)


def check(
    tx: Transaction, journal: Iterable[Line] = (), watch: Watch | None = None
) -> list[Broken]:
    """Return what is broken, in the order of the invariants; [] when all of them hold.

    Args:
        journal: every line of the send journal, read before `tx` reads anything.
        watch: of a server at work; None leaves liveness out.
    """
    sent = journalled(journal)
    for trade_id in books.not_written_again(tx) if sent else ():
        sent.pop(trade_id, None)  # Its account stands still, and the audit says why.
    dossiers = Dossiers(tx, sent)
    found: dict[str, list[str]] = {rule.number: [] for rule in RULES}
    of_trade = [(found[rule.number], rule.of_trade) for rule in RULES if rule.of_trade]
    for dossier in dossiers:
        for sentences, look in of_trade:
            try:
                sentences.extend(look(dossier))
            except ValueError as error:  # A number or a time that we never wrote.
                sentences.append(f"{dossier.id} cannot be read: {error}")
    at = Books(tx, books.balances(tx), dossiers.strays, watch)
    for rule in RULES:
        if rule.of_books:
            try:
                found[rule.number].extend(rule.of_books(at))
            except ValueError as error:
                found[rule.number].append(f"the books cannot be read: {error}")
    return [Broken(number, text) for number, texts in found.items() for text in texts]
