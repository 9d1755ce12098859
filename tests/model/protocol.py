"""Our side: plan, confirm, cancel, expire, stop, crash, restart; `steps` lists all that can happen.

Each function adds what may happen next to `out`: a sentence and the row after it. One
entry is one atomic step: a transaction, a message put on the wire, a line in the journal.
A crash may come between any two of them.
"""

from tests.model import books
from tests.model.books import PLAN_ENDS, end_plan, is_wrong, read_time, settle, write_time
from tests.model.exchange import (
    Steps,
    ask_for_cancel,
    clocks,
    estimate,
    market,
    network,
    put_on_way,
    stream,
)
from tests.model.guards import Model
from tests.model.reconciling import adjusting, reconcilers
from tests.model.state import (
    BLIND,
    C_ANSWER,
    C_CLAIMED,
    C_SIGNED,
    C_STEP,
    C_WALL,
    CALLERS,
    CANCELLED,
    CLAIMED,
    COPY,
    DISPATCHED,
    DRIFT,
    ENGAGED,
    EXECUTING,
    EXPIRED,
    GATED,
    GONE,
    HELD,
    HOLD,
    IDLE,
    JOURNAL,
    KILL,
    MARK,
    NO_ORDER,
    NOW,
    ORDER,
    PENDING,
    PLANNED,
    PREPARED,
    QUARANTINE,
    RECONCILERS,
    REFUSED,
    REPEATED,
    SEEN,
    SENDING,
    SIGNED,
    SKEW,
    SLOT,
    STAMPED,
    STEPS,
    TAKEN,
    TOLD_OVER,
    TRADE,
    VISIBLE,
    WAITING,
    WIDTH,
    WRITTEN,
    ZERO,
    Row,
    State,
)
from tests.model.stopping import kill, restore, second_start

TOLERANCE = 1  # By how much the clock may be behind the mark: `CLOCK_TOLERANCE`.


def first(m: Model) -> State:
    """Return the state in which nothing has happened."""
    row = [0] * WIDTH
    row[SKEW] = row[DRIFT] = ZERO
    row[STEPS], row[BLIND] = m.steps, int(m.blind)
    row[VISIBLE] = 2 * (not m.lag)
    for n in range(m.callers, 2):
        row[CALLERS + n * SLOT] = GONE
    return bytes(row)


def steps(s: State, m: Model) -> Steps:
    """Return everything that may happen next."""
    out: Steps = []
    if not s[PLANNED]:
        _plan(s, out)
    for n in range(m.callers):
        at = CALLERS + n * SLOT
        if s[at] != GONE:
            _caller(s, m, at, out)
    _plans_end(s, m, out)
    _other_write(s, m, out)
    if m.kill:
        kill(s, m, out)
    network(s, m, out)
    market(s, m, out)
    stream(s, m, out)
    reconcilers(s, m, out)
    adjusting(s, m, out)
    ask_for_cancel(s, m, out)
    clocks(s, m, out)
    if m.restore:
        restore(s, m, out)
    if m.second_start:
        second_start(s, m, out)
    return out


def ordered(row: Row, m: Model) -> State:
    """Return a row in which callers, and reconcilers, stand in a fixed order: they are alike."""
    if m.callers == 2 and row[CALLERS : CALLERS + SLOT] > row[CALLERS + SLOT : RECONCILERS]:
        row[CALLERS:RECONCILERS] = row[CALLERS + SLOT : RECONCILERS] + row[CALLERS : CALLERS + SLOT]
    middle = RECONCILERS + SLOT
    if m.reconcilers == 2 and row[RECONCILERS:middle] > row[middle:COPY]:
        row[RECONCILERS:COPY] = row[middle:COPY] + row[RECONCILERS:middle]
    return bytes(row)


# --- plans ---


def _plan(s: State, out: Steps) -> None:
    if s[NOW] == 0 and s[SKEW] == ZERO and not (s[KILL] or s[QUARANTINE]):
        row = list(s)
        row[TRADE], row[HOLD], row[PLANNED] = PENDING, HELD, 1
        out.append(("plan: reserves", row))


def _other_write(s: State, m: Model, out: Steps) -> None:
    if m.steps and s[MARK] < read_time(s, m):
        row = list(s)
        write_time(row, m)
        out.append(("somebody else's write: stores the time", row))


def _plans_end(s: State, m: Model, out: Steps) -> None:
    g = m.guards
    sweeps = s[TRADE] == PENDING or (not g.sweep_only_pending and s[TRADE] == EXECUTING)
    due = read_time(s, m) >= PLAN_ENDS or s[NOW] == m.last
    if sweeps and due and g.sweep:
        _end(s, m, EXPIRED, "the sweeper: expires the plan", out)
    dismisses = s[TRADE] == PENDING or (not g.cancel_only_pending and s[TRADE] == EXECUTING)
    if m.dismiss and dismisses:
        _end(s, m, CANCELLED, "cancel: ends the plan", out)


def _end(s: State, m: Model, status: int, words: str, out: Steps) -> None:
    row = list(s)
    write_time(row, m)
    if row[TRADE] == PENDING:
        end_plan(row, m, status)
    else:  # Only where the guard is off.
        row[TRADE], row[TOLD_OVER] = status, 1
        books.void(row, m)
    out.append((words, row))


# --- confirm: prepare, claim, write the journal, send, settle ---


def _caller(s: State, m: Model, at: int, out: Steps) -> None:
    step = s[at]
    if step == IDLE:
        if s[TRADE] == PENDING:
            row = list(s)
            row[at + C_STEP], row[at + C_SIGNED] = PREPARED, estimate(s, m) + 1
            # What the claim would take for the time if it had looked before the lock.
            row[at + C_WALL] = 0 if m.guards.now_under_the_lock else read_time(s, m)
            if m.second_start and not m.guards.journal_after_claim:
                row[JOURNAL] = row[at + C_SIGNED]
            out.append(("confirm: prepares", row))
        return
    row = list(s)
    row[at : at + SLOT] = [GONE, 0, 0, 0, 0]
    out.append(("fault: the confirming process dies", row))
    if step == PREPARED:
        _claim(s, m, at, out)
    elif step == CLAIMED:
        _after_commit(s, m, at, out)
    elif step in (STAMPED, WRITTEN, GATED):
        _towards_the_wire(s, m, at, out)
    elif step == WAITING:
        _answers(s, m, at, out)


def _may_claim(row: Row, m: Model, now: int) -> bool:
    g = m.guards
    if row[TRADE] != PENDING and (g.claim_once or row[TRADE] != EXECUTING):
        return False
    if row[TRADE] == PENDING and g.claim_in_time and now >= PLAN_ENDS:
        return False
    if g.claim_refuses_clock_behind and now - books.our_clock(row) > TOLERANCE:
        return False
    if g.plan_ages_on_true_time and m.ages and row[NOW] >= PLAN_ENDS:
        return False
    stopped = row[KILL] and g.claim_refuses_kill
    quarantined = row[QUARANTINE] and g.claim_refuses_quarantine
    return not (stopped or quarantined or row[NOW] == m.last)


def _claim(s: State, m: Model, at: int, out: Steps) -> None:
    g = m.guards
    row = list(s)
    now = write_time(row, m)
    if not _may_claim(row, m, now if g.now_under_the_lock else s[at + C_WALL]):
        row[at : at + SLOT] = [GONE, 0, 0, 0, 0]
        out.append(("claim: refused", row))
        return
    if not g.claim_before_send:
        _send(s, m, at, "send: the request leaves before the claim", out)
        return
    if now >= PLAN_ENDS or now < s[MARK] or row[TOLD_OVER]:
        is_wrong(row, 7)
    if m.ages and s[NOW] > PLAN_ENDS + TOLERANCE:
        is_wrong(row, 7)
    if row[ENGAGED]:
        is_wrong(row, 10)
    row[TRADE] = EXECUTING
    if g.order_row_with_the_claim:
        _insert_order(row, at)
    whole = g.order_row_with_the_claim and g.stamped_in_the_claim
    row[at + C_STEP] = STAMPED if whole else CLAIMED
    row[at + C_CLAIMED], row[at + C_WALL] = (s[NOW], now) if m.kill else (0, 0)
    out.append(("claim: pending -> executing, order `sending`", row))


def _insert_order(row: Row, at: int) -> None:
    if row[ORDER] == NO_ORDER:
        row[ORDER], row[SIGNED] = SENDING, row[at + C_SIGNED]


def _after_commit(s: State, m: Model, at: int, out: Steps) -> None:
    row = list(s)
    row[at + C_STEP] = STAMPED
    if not m.guards.order_row_with_the_claim:
        _insert_order(row, at)
        out.append(("claim: a second transaction writes the order row", row))
    else:
        row[at + C_CLAIMED] = s[NOW] if m.kill else 0
        out.append(("confirm: starts the 1 s of the gate, after the commit", row))


def _too_late(s: State, m: Model, at: int) -> bool:
    """The 1 s gate: on the clock that counts suspension, and on the wall clock.

    It serves the kill switch alone; what enters late is refused by its sign_time.
    """
    if not (m.kill and m.guards.gate):
        return False
    waited = s[NOW] - s[at + C_CLAIMED] if m.guards.gate_counts_suspension else 0
    return waited > 0 or books.our_clock(s) > s[at + C_WALL]


def _towards_the_wire(s: State, m: Model, at: int, out: Steps) -> None:
    """Journal, gate, wire: in this order, and the gate at the wire."""
    g, step = m.guards, s[at]
    early = g.gate_after_journal
    if step == STAMPED and early and g.journal_before_send:
        row = list(s)
        row[at + C_STEP], row[JOURNAL] = WRITTEN, s[at + C_SIGNED] if m.journals else 0
        out.append(("journal: writes the line", row))
        return
    if step != GATED and _too_late(s, m, at):
        row = list(s)
        write_time(row, m)
        books.not_sent(row, m)
        row[at : at + SLOT] = [GONE, 0, 0, 0, 0]
        out.append(("the 1 s gate: too late, not sent", row))
    elif step != GATED and not (g.gate_at_the_wire and early):
        row = list(s)
        row[at + C_STEP] = GATED
        out.append(("the 1 s gate: in time", row))
    else:
        _send(s, m, at, "send: the request leaves", out)


def _send(s: State, m: Model, at: int, words: str, out: Steps) -> None:
    g = m.guards
    row = list(s)
    if not g.gate_after_journal and m.restore:
        row[JOURNAL] = s[at + C_SIGNED]
    stamp = s[at + C_SIGNED] - 1 if g.signed_is_stored else estimate(s, m)
    row[at + C_SIGNED] = stamp + 1
    if not put_on_way(row, stamp):
        return
    dispatched(row)
    row[at + C_STEP], row[at + C_CLAIMED], row[at + C_WALL] = WAITING, 0, 0
    out.append((words, row))
    if not g.written_is_unknown:
        row = list(row)
        books.not_sent(row, m)
        row[at : at + SLOT] = [GONE, 0, 0, 0, 0]
        out.append(("send: breaks half way, taken for not sent", row))
    row = list(s)
    write_time(row, m)
    books.not_sent(row, m)
    row[at : at + SLOT] = [GONE, 0, 0, 0, 0]
    out.append(("send: no byte leaves, not sent", row))


def dispatched(row: Row) -> None:
    """Count a request that left, and hold it against what must have come before."""
    row[DISPATCHED] = min(row[DISPATCHED] + 1, 2)
    if row[ENGAGED] == 2:
        is_wrong(row, 10)
    if row[ORDER] == NO_ORDER:
        is_wrong(row, 9)


def _answers(s: State, m: Model, at: int, out: Steps) -> None:
    g, answer = m.guards, s[at + C_ANSWER]

    def ends(words: str) -> Row:
        row = list(s)
        row[at : at + SLOT] = [GONE, 0, 0, 0, 0]
        write_time(row, m)
        out.append((words, row))
        return row

    after = ends("confirm: no answer, the outcome is unknown")
    if not g.one_attempt:
        again = list(s)
        if put_on_way(again, s[at + C_SIGNED] - 1):
            dispatched(again)
            out.append(("confirm: no answer, sends again", again))
    (books.unknown if g.no_answer_is_unknown else books.not_sent)(after, m)
    if not g.error_is_unknown and not answer:
        books.rejected(ends("confirm: a 503 comes, taken for a rejection"), m)
    if answer == REFUSED:
        books.rejected(ends("confirm: hears that it was rejected"), m)
    elif answer == REPEATED:
        heard = books.unknown if g.repeated_is_unknown else books.rejected
        heard(ends("confirm: hears that it was repeated"), m)
    elif answer == TAKEN:
        for code in range(1, 7):
            if s[SEEN] >> code & 1:
                done = (code - 1) % 3
                row = ends(f"confirm: hears {'over' if code > 3 else 'live'} with {done} filled")
                settle(row, m, code, (1 << done) - 1)
