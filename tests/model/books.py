"""What one write of ours does to a state: `services/settle.py`, `expiry.py`, `store/*`.

Each function changes a row in place and stands for (part of) one transaction.
"""

from tests.model.guards import Model
from tests.model.state import (
    ABSENT,
    BOOKED,
    BREAK,
    CANCEL_ON_WAY,
    ENDED,
    EXECUTED,
    EXECUTING,
    FAILED,
    FILLED,
    FINAL,
    FLAG,
    HELD,
    HOLD,
    LOTS,
    LOTS_IN,
    MARK,
    NEVER_LIVED,
    NO_ORDER,
    NOT_SENT,
    NOW,
    OPEN,
    ORDER,
    ORDER_STEPS,
    PARTLY,
    PENDING,
    POSTED,
    REJECTED,
    RELEASED,
    REPORTED,
    SENDING,
    SKEW,
    TOLD_OVER,
    TRADE,
    TRADE_STEPS,
    UNKNOWN,
    VOIDED,
    WORKING,
    WRONG,
    ZERO,
    Row,
    State,
)

PLAN_ENDS = 2  # A plan made at 0 has expired at 2, by our clock.


def our_clock(row: State | Row) -> int:
    """Return what our clock shows."""
    return max(0, row[NOW] + row[SKEW] - ZERO)


def read_time(row: State | Row, m: Model) -> int:
    """Return `tx.now`."""
    clock = our_clock(row)
    return max(clock, row[MARK]) if m.guards.high_water else clock


def write_time(row: Row, m: Model) -> int:
    """Return `tx.now` of a write, and store it as the high-water mark."""
    now = read_time(row, m)
    if m.steps:  # Without steps the mark never says anything that the clock does not.
        row[MARK] = max(now, row[MARK])
    return now


def is_wrong(row: Row, invariant: int) -> None:
    """Remember the first invariant that a step broke."""
    row[WRONG] = row[WRONG] or invariant


def move_trade(row: Row, m: Model, after: int) -> bool:
    """Move along a legal edge; say whether it was one."""
    edge = (row[TRADE], after)
    if edge not in TRADE_STEPS:
        if m.guards.trade_edges or edge[0] == after:
            return False
        is_wrong(row, 8)
    row[TRADE] = after
    return True


def move_order(row: Row, m: Model, after: int) -> bool:
    """Move along a legal edge; say whether it was one."""
    edge = (row[ORDER], after)
    if edge not in ORDER_STEPS:
        if m.guards.order_edges or edge[0] == after:
            return False
        is_wrong(row, 8)
    row[ORDER] = after
    return True


def void(row: Row, m: Model) -> None:
    """Give back what the hold still keeps, once."""
    if row[HOLD] == HELD and m.guards.void_at_the_end:
        row[VOIDED] = max(0, LOTS - row[POSTED]) if m.guards.void_only_the_rest else LOTS
        row[HOLD] = RELEASED


def end_plan(row: Row, m: Model, status: int) -> bool:
    """End a pending plan; whoever asks is told so from now on."""
    if row[TRADE] != PENDING or not move_trade(row, m, status):
        return False
    void(row, m)
    row[TOLD_OVER] = 1
    return True


def settle(row: Row, m: Model, code: int, fills: int) -> bool:
    """Settle one report: `settle.report`. Returns whether fills are missing.

    Args:
        code: see `report_code`.
        fills: a bit for each fill that came with it.
    """
    g = m.guards
    if row[ORDER] == NO_ORDER:
        return False
    done, over = (code - 1) % 3, code > 3
    new = fills & ~row[BOOKED] if g.fills_once else fills
    if not g.fills_in_any_state and row[ORDER] not in (OPEN, PARTLY):
        new = 0
    row[POSTED] = min(row[POSTED] + LOTS_IN[new], 2 * LOTS)
    row[BOOKED] |= new
    if fills & ~row[BOOKED]:
        is_wrong(row, 4)
    row[REPORTED] = max(row[REPORTED], done)
    missing = row[POSTED] < max(row[REPORTED], LOTS if done == LOTS else 0)
    if row[ORDER] in FINAL and g.order_edges:
        _after_the_end(row, m, bool(new), over)
    elif over and (not missing or not g.final_needs_fills):
        if move_order(row, m, FILLED if done == LOTS else ENDED):
            finish(row, m)
    else:
        move_order(row, m, PARTLY if row[POSTED] else OPEN)
        if row[TRADE] == EXECUTING:
            move_trade(row, m, WORKING)
    return missing


def _after_the_end(row: Row, m: Model, news: bool, over: bool) -> None:
    if news:
        row[BREAK] = 1
        move_trade(row, m, EXECUTED)
    if not over and row[ORDER] in NEVER_LIVED:
        row[BREAK] = row[FLAG] = 1
        if m.guards.live_after_end_cancelled:
            row[CANCEL_ON_WAY] = 1


def finish(row: Row, m: Model) -> None:
    """End the trade with its order: what was filled decides, then the hold is given back."""
    filled = row[POSTED] if m.guards.outcome_by_fills else row[ORDER] == FILLED
    move_trade(row, m, EXECUTED if filled else FAILED)
    void(row, m)


def never_lived(row: Row, m: Model, state: int) -> None:
    """End an order as rejected, not sent or absent; fills outweigh any word."""
    if not row[POSTED] and move_order(row, m, state):
        finish(row, m)


def rejected(row: Row, m: Model) -> None:
    never_lived(row, m, REJECTED)


def not_sent(row: Row, m: Model) -> None:
    never_lived(row, m, NOT_SENT)


def absent(row: Row, m: Model) -> None:
    unknown(row, m)
    never_lived(row, m, ABSENT)


def unknown(row: Row, m: Model) -> None:
    """Nobody answered: the hold stays. The edge decides, so that news is not undone."""
    if row[ORDER] == SENDING or not m.guards.order_edges:
        move_order(row, m, UNKNOWN)
