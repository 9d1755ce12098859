"""The reconcilers, step by step: `services/reconcile.py` and `absence.py`.

| step    | what it has in memory, perhaps stale by now       |
|---------|---------------------------------------------------|
| asking  | the row, and the exchange's clock                 |
| missing | "not found", and what the row had counted before  |
| found   | a report                                          |
| enough  | enough "not found"s: the history is to be read    |
| clear   | nothing in the history: absent is to be written   |
"""

from tests.model import books
from tests.model.books import read_time, settle, write_time
from tests.model.exchange import VALID_FOR, Steps, estimate, exchange_time, put_on_way
from tests.model.guards import Model
from tests.model.state import (
    AT_EXCHANGE,
    BLIND,
    BREAK,
    CANCEL_ON_WAY,
    CANCELLED,
    COUNTED,
    DISPATCHED,
    DONE,
    DRIFT,
    EXCHANGE_MARK,
    FINAL,
    FLAG,
    HIDDEN,
    LIVE,
    LOOKED,
    NEVER_LIVED,
    NO_ORDER,
    NOW,
    NOWHERE,
    ORDER,
    OVER,
    PENDING,
    POSTED,
    QUARANTINE,
    R_ASKED,
    R_ASKING,
    R_CLEAR,
    R_COUNTED,
    R_ENOUGH,
    R_FOUND,
    R_IDLE,
    R_LOOKED,
    R_MISSING,
    R_REPORT,
    RECONCILERS,
    SIGNED,
    SLOT,
    TRADE,
    UNSETTLED,
    VISIBLE,
    WORKS,
    ZERO,
    Row,
    State,
    report_code,
)

SPACING = 1
_BARE = 8  # Added to a report that came without its fills.
_LONG_AFTER = 64  # Added to a question of the last tick.


def reconcilers(s: State, m: Model, out: Steps) -> None:
    """Whatever each reconciler may do next; forgetting all of it is a crash."""
    for n in range(m.reconcilers):
        at = RECONCILERS + n * SLOT
        step = s[at]
        if step == R_IDLE:
            if s[ORDER] != NO_ORDER and s[ORDER] not in FINAL:
                _look(s, m, at, out)
            continue
        out.append(("fault: the reconciling process dies", _with(s, at)))
        if step == R_ASKING:
            _look(s, m, at, out)
        elif step == R_MISSING:
            _count(s, m, at, out)
        elif step == R_FOUND:
            _settle(s, m, at, out)
        elif step == R_ENOUGH:
            _read_history(s, m, at, out)
        else:
            row = _with(s, at)
            write_time(row, m)
            books.absent(row, m)
            out.append(("reconcile: writes `absent`", row))


def _with(s: State, at: int, *slot: int) -> Row:
    row = list(s)
    row[at : at + SLOT] = [*slot, *[0] * (SLOT - len(slot))]
    return row


def _look(s: State, m: Model, at: int, out: Steps) -> None:
    g = m.guards
    if s[ORDER] in UNSETTLED and not g.unknown_looked_up:
        return
    if s[at] == R_IDLE and m.apart:
        row = _with(s, at, R_ASKING, _told_time(s, m), 0, 0, _aged(s, m))
        _store_time(row, m)
        out.append(("reconcile: reads the exchange's clock", row))
        return
    asked = s[at + R_ASKED] if m.apart else _told_time(s, m)
    aged = s[at + R_REPORT] if m.apart else _aged(s, m)
    if not g.error_is_no_evidence:
        row = _missing(s, m, at, asked, aged)
        out.append(("reconcile: asks, an error comes", row))
    seen = s[VISIBLE] == 2 and s[BLIND] != 2 and not s[HIDDEN]
    if s[AT_EXCHANGE] != NOWHERE and seen and (g.closed_orders_too or s[AT_EXCHANGE] == LIVE):
        code = report_code(s[AT_EXCHANGE] == OVER, s[DONE])
        out.append(("reconcile: finds the order", _learnt(_found(s, at, code), m)))
        if m.fills_lag and s[DONE]:
            row = _learnt(_found(s, at, code + _BARE), m)
            out.append(("reconcile: finds the order, its fills are not told yet", row))
        return
    row = _missing(s, m, at, asked, aged)
    _store_time(row, m)
    out.append(("reconcile: asks, not found", _learnt(row, m)))
    if not g.never_sent_again and s[ORDER] in UNSETTLED:
        row = _with(s, at)
        if put_on_way(row, estimate(s, m)):
            row[DISPATCHED] = min(row[DISPATCHED] + 1, 2)
            out.append(("reconcile: not found, sends again", row))


def _told_time(s: State, m: Model) -> int:
    """Return what the exchange's clock is said to show: paper tells its mark if that is later."""
    return exchange_time(s, m) if m.own_clock and m.guards.clock_stored else estimate(s, m)


def _store_time(row: Row, m: Model) -> None:
    """Raise the mark of the paper exchange to the time that it tells."""
    if m.own_clock and m.steps and m.guards.clock_stored:
        row[EXCHANGE_MARK] = exchange_time(row, m)


def _missing(s: State, m: Model, at: int, asked: int, aged: int) -> Row:
    """Hold when was asked, what the row had counted, and when it was answered."""
    heard = estimate(s, m) if m.guards.spaced_from_the_answer else asked
    works = int(s[ORDER] in WORKS)
    return _with(s, at, R_MISSING, asked, s[COUNTED], s[LOOKED], works + 2 * heard + aged)


def _aged(s: State, m: Model) -> int:
    """Mark a question of the last tick: it is asked long after everything."""
    return _LONG_AFTER * (s[NOW] == m.last)


def _found(s: State, at: int, code: int) -> Row:
    """Hold a report, and whether the row that was read asks for the cancel."""
    wants_cancel = bool(s[FLAG]) and s[ORDER] != NO_ORDER
    return _with(s, at, R_FOUND, 0, int(wants_cancel), 0, code)


def _learnt(row: Row, m: Model) -> Row:
    """A signed question from ahead is refused, or its answer tells the exchange's clock."""
    if row[DRIFT] > ZERO and m.guards.clock_learnt:
        row[DRIFT] = ZERO
    return row


def _settle(s: State, m: Model, at: int, out: Steps) -> None:
    row = _with(s, at)
    write_time(row, m)
    code = s[at + R_REPORT]
    fills = 0 if code & _BARE else (1 << (code - 1) % 3) - 1
    settle(row, m, code & ~_BARE, fills)
    if s[at + R_COUNTED] and m.guards.cancel_repeated:
        row[CANCEL_ON_WAY] = 1
        out.append(("reconcile: settles what it found, asks again for the cancel", row))
    else:
        out.append(("reconcile: settles what it found", row))


def _count(s: State, m: Model, at: int, out: Steps) -> None:
    """Count a "not found" if it is evidence: late enough, and long enough after the last."""
    g = m.guards
    asked = s[at + R_ASKED] if g.asked_before_the_answer else estimate(s, m)
    over = s[SIGNED] - 1 + VALID_FOR + (m.margin if g.margin else 0)
    aged = s[at + R_REPORT] & _LONG_AFTER
    if asked <= over and g.after_validity and not aged:
        out.append(("reconcile: it may still enter, no evidence", _with(s, at)))
        return
    last = s[at + R_LOOKED] - 1
    close = s[at + R_COUNTED] and asked - last < SPACING and not aged
    if close and g.spacing:
        out.append(("reconcile: too soon after the last, not counted", _with(s, at)))
        return
    answers = s[at + R_COUNTED] + 1
    if answers < m.answers and g.enough_answers:
        row = _with(s, at)
        words = "reconcile: counts the answer"
    elif s[at + R_REPORT] & 1:
        row = _with(s, at)
        row[BREAK] = 1
        words = "reconcile: a live order is lost, an incident"
    else:
        row = _with(s, at, R_ENOUGH)
        words = "reconcile: counts the answer, it is enough"
    write_time(row, m)
    row[COUNTED], row[LOOKED] = min(answers, m.answers), (s[at + R_REPORT] % _LONG_AFTER >> 1) + 1
    out.append((words, row))


def _read_history(s: State, m: Model, at: int, out: Steps) -> None:
    g = m.guards
    told = s[AT_EXCHANGE] != NOWHERE and s[VISIBLE] == 2 and s[BLIND] != 2
    told = told and g.closed_orders_too
    if told and s[HIDDEN] < 2 and g.history:
        code = report_code(s[AT_EXCHANGE] == OVER, s[DONE])
        out.append(("reconcile: the history has the order", _found(s, at, code)))
    elif told and s[HIDDEN] == 2 and g.twins:
        row = _with(s, at)
        row[BREAK] = 1
        out.append(("reconcile: the history has a twin by another id, an incident", row))
    elif told and s[DONE] > s[POSTED] and g.fills_of_history:
        row = _with(s, at)
        row[BREAK] = 1
        out.append(("reconcile: a fill of nobody's order, an incident", row))
    else:
        out.append(("reconcile: history and fills are clear", _with(s, at, R_CLEAR)))


def adjusting(s: State, m: Model, out: Steps) -> None:
    """What is looked at beside the live orders, and the operator's own word."""
    there = s[AT_EXCHANGE] != NOWHERE and s[VISIBLE] == 2
    if m.late_entry and there and s[ORDER] in NEVER_LIVED:
        row = list(s)
        settle(row, m, report_code(s[AT_EXCHANGE] == OVER, s[DONE]), (1 << s[DONE]) - 1)
        out.append(("reconcile: sees an order that had ended", row))
    if m.late_fill and s[ORDER] in FINAL and s[POSTED] != s[DONE] and not s[BREAK]:
        row = list(s)
        row[BREAK] = 1
        out.append(("reconcile: the balances differ, an incident", row))
    if m.restore and there and s[AT_EXCHANGE] == LIVE and s[ORDER] == NO_ORDER:
        row = list(s)
        row[QUARANTINE] = 1
        if row[TRADE] == PENDING:
            books.end_plan(row, m, CANCELLED)
        out.append(("reconcile: a live order of our form without a row, quarantine", row))
    if m.by_hand and s[ORDER] in UNSETTLED:
        asks = m.guards.by_hand_asks_the_exchange
        ours = s[NOW] if asks else read_time(s, m)
        if not (asks and there) and ours > s[SIGNED] - 1 + VALID_FOR + m.margin:
            row = list(s)
            write_time(row, m)
            books.absent(row, m)
            out.append(("an operator: settles it as absent by hand", row))
