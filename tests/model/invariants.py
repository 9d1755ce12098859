"""What must hold in every state, and what a settled state is.

| number | in words                                                                       |
|--------|--------------------------------------------------------------------------------|
| I-1    | at most one order at the exchange and one request sent per trade               |
| I-2    | a hold is given back only when the exchange has nothing live or unbooked of it |
| I-3    | a cancelled or expired plan has no order and sent nothing                      |
| I-4    | each fill of the exchange is booked at most once, and no other                 |
| I-5    | a hold is posted and given back to the last lot, exactly when its trade ends   |
| I-6    | an ended trade is executed if something was filled, and failed if nothing      |
| I-7    | a claim is before the plan's end, and never after somebody was told of the end |
| I-8    | statuses and states move along the legal edges only                            |
| I-9    | no request leaves before its order row is committed                            |
| I-10   | after the kill switch no claim commits; after its answer nothing leaves        |
| I-11   | the start quarantines only what is older than its journal                      |

I-7 to I-11 are about steps: the step that breaks one says so in the state it leads to.
"""

from tests.model.guards import Model
from tests.model.state import (
    ACCEPTED,
    AT_EXCHANGE,
    BOOKED,
    BREAK,
    CANCELLED,
    DISPATCHED,
    DONE,
    EXECUTED,
    EXPIRED,
    FAILED,
    HIDDEN,
    HOLD,
    LIVE,
    LOTS,
    LOTS_IN,
    NO_ORDER,
    NO_TRADE,
    NOWHERE,
    ORDER,
    POSTED,
    RELEASED,
    RESTORED,
    SNAPSHOT,
    TRADE,
    VOIDED,
    WRONG,
    State,
)

NAMES = ("", *(f"I-{n}" for n in range(1, 12)))


def broken(s: State, m: Model) -> int:
    """Return the number of an invariant that this state breaks, 0 if it breaks none."""
    if s[WRONG]:
        return s[WRONG]
    if s[ACCEPTED] > 1 or s[DISPATCHED] > 1:
        return 1
    if not m.guards.journal_elsewhere:
        return 0  # What these books have lost for good is for a person to find.
    trade, hold, posted = s[TRADE], s[HOLD], s[POSTED]
    honest = not (m.late_fill or m.late_entry)
    # An exchange that breaks its word may leave us behind for a while, not for good.
    if honest and hold == RELEASED and (s[AT_EXCHANGE] == LIVE or s[DONE] > posted):
        return 2
    if honest and trade == NO_TRADE and s[AT_EXCHANGE] != NOWHERE:
        return 2
    over = trade in (CANCELLED, EXPIRED)
    if over and (s[ORDER] != NO_ORDER or s[DISPATCHED] or s[ACCEPTED]):
        return 3
    if posted != LOTS_IN[s[BOOKED]] or s[BOOKED] >> s[DONE]:
        return 4
    if (trade >= EXECUTED) != (hold == RELEASED) or (
        hold == RELEASED and posted + s[VOIDED] != LOTS and not s[BREAK]
    ):
        return 5
    if (trade == EXECUTED and not posted) or (trade == FAILED and posted):
        return 6
    return 0


def settled(s: State, m: Model) -> bool:
    """Say whether nothing is left to do: all ended, or handed to an operator by an incident."""
    if s[SNAPSHOT] == RESTORED and not m.guards.journal_elsewhere:
        return True
    if s[AT_EXCHANGE] == LIVE:
        return False
    if s[TRADE] >= EXECUTED:
        return s[POSTED] == s[DONE] or bool(s[BREAK] and m.late_fill)
    # The exchange hides the order: only a person can tell what became of it.
    return s[TRADE] == NO_TRADE or bool(s[HIDDEN] and s[BREAK])
