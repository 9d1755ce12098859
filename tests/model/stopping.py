"""The kill switch, copies of the database, and what a start makes of an old one."""

from tests.model.books import PLAN_ENDS, end_plan, is_wrong, write_time
from tests.model.exchange import (
    Steps,
)
from tests.model.guards import Model
from tests.model.state import (
    BOOKED,
    CALLERS,
    CANCEL_ON_WAY,
    CANCELLED,
    COPY,
    COUNTED,
    DATABASE,
    ENGAGED,
    ENGAGED_AT,
    EXECUTING,
    EXPIRED,
    FLAG,
    GONE,
    HELD,
    HOLD,
    IDLE,
    JOURNAL,
    JOURNAL_KILL,
    KILL,
    LOOKED,
    LOST,
    NO_ORDER,
    NONE_TAKEN,
    NOW,
    ORDER,
    PENDING,
    POSTED,
    QUARANTINE,
    RECONCILERS,
    REPORTED,
    RESTORED,
    SENDING,
    SIGNED,
    SLOT,
    SNAPSHOT,
    STARTING,
    TAKEN_ONCE,
    TOLD_OVER,
    TRADE,
    WIDTH,
    Row,
    State,
)

# --- the kill switch ---


def kill(s: State, m: Model, out: Steps) -> None:
    if not s[ENGAGED]:
        row = list(s)
        now = write_time(row, m)
        row[KILL] = row[ENGAGED] = 1
        row[ENGAGED_AT] = s[NOW]
        if m.guards.kill_ends_plans:
            end_plan(row, m, EXPIRED if now >= PLAN_ENDS else CANCELLED)
        if 1 <= row[ORDER] <= 4:
            row[FLAG] = row[CANCEL_ON_WAY] = 1
        out.append(("engage: commits the kill switch", row))
    told = s[JOURNAL_KILL] or not (m.restore and m.guards.journal_has_kills)
    if s[ENGAGED] == 1 and not told:
        row = list(s)
        row[JOURNAL_KILL] = 1
        out.append(("engage: tells the journal", row))
    waited = s[ORDER] != SENDING or s[NOW] > s[ENGAGED_AT] or not m.guards.kill_waits
    if s[ENGAGED] == 1 and told and waited:
        row = list(s)
        row[ENGAGED], row[ENGAGED_AT] = 2, 0
        out.append(("engage: answers that nothing more leaves", row))


# --- a copy is made, and restored ---


def restore(s: State, m: Model, out: Steps) -> None:
    if s[SNAPSHOT] == NONE_TAKEN:
        row = list(s)
        row[SNAPSHOT], row[COPY:WIDTH] = TAKEN_ONCE, s[:DATABASE]
        out.append(("an operator: copies the database", row))
    elif s[SNAPSHOT] == TAKEN_ONCE:
        row = list(s)
        row[:DATABASE] = s[COPY:WIDTH]
        row[SNAPSHOT], row[COPY:WIDTH] = RESTORED, [0] * DATABASE
        for at in (CALLERS, CALLERS + SLOT):
            if row[at] not in (IDLE, GONE):
                row[at : at + SLOT] = [GONE, 0, 0, 0, 0]
        row[RECONCILERS:COPY] = [0] * (COPY - RECONCILERS)
        if row[STARTING]:
            row[STARTING] = 3
        if not m.guards.journal_elsewhere and row[ORDER] == NO_ORDER:
            row[JOURNAL] = row[JOURNAL_KILL] = 0
        if row[ENGAGED] == 1 and not (row[KILL] or row[JOURNAL_KILL]):
            row[ENGAGED] = row[ENGAGED_AT] = 0  # It was cut off, and nobody was answered.
        write_time(row, m)
        _fence(row, m)
        out.append(("fault: all stops, the copy is restored, the server starts", row))
    if s[QUARANTINE]:
        row = list(s)
        row[QUARANTINE] = 0
        out.append(("an operator: lifts the quarantine", row))


def second_start(s: State, m: Model, out: Steps) -> None:
    """Another server of the home looks at the fence, while orders are sent."""
    line_there = bool(s[JOURNAL])
    row_there = s[ORDER] != NO_ORDER
    if not m.guards.fence_once:  # The line's audit row is lost for ever.
        row_there = row_there and not s[JOURNAL] & LOST
    journal_first = m.guards.fence_reads_journal_first
    if s[STARTING] == 0:
        row = list(s)
        row[STARTING] = 1 + (line_there if journal_first else row_there)
        out.append(("another server starts: reads one of journal and database", row))
    elif s[STARTING] < 3:
        seen = s[STARTING] == 2
        row = list(s)
        row[STARTING] = 3
        if (seen and not row_there) if journal_first else (line_there and not seen):
            is_wrong(row, 11)
        out.append(("another server starts: reads the other, and compares", row))


def _fence(row: Row, m: Model) -> None:
    """The start: a database older than its journal is quarantined, its orders are found again."""
    g = m.guards
    lost_order = g.fence and row[JOURNAL] and row[ORDER] == NO_ORDER
    lost_kill = row[JOURNAL_KILL] and not row[KILL]
    lost_end = g.journal_has_ends and row[TOLD_OVER] and row[TRADE] == PENDING
    marked = m.marked and g.copy_mark
    moved = not m.in_place and g.place
    if not (lost_order or lost_kill or lost_end or marked or moved):
        return
    row[QUARANTINE] = 1
    if lost_kill:
        row[KILL] = 1
    if lost_order and g.fence_recovers:
        row[TRADE], row[ORDER], row[HOLD] = EXECUTING, SENDING, HELD
        row[SIGNED] = row[JOURNAL] if g.fence_keeps_validity else 1
        for field in (BOOKED, POSTED, REPORTED, FLAG, COUNTED, LOOKED):
            row[field] = 0
        row[JOURNAL] |= LOST
    if row[TRADE] == PENDING and g.fence_voids_plans:
        end_plan(row, m, CANCELLED)
