"""One state of the model: a row of small numbers, packed into bytes so that it hashes fast.

Legal edges are read from the production tables, so the model cannot drift from them.
"""

from backend.domain.order import FINAL as FINAL_ORDERS
from backend.domain.order import ORDER_EDGES, OrderState
from backend.domain.trade import TRADE_EDGES, TradeStatus

# --- what a field may hold ---

NO_TRADE, PENDING, EXECUTING, WORKING, EXECUTED, FAILED, CANCELLED, EXPIRED = range(8)
TRADES = dict(enumerate(("", "pending", "executing", "working", "executed", "failed")))
TRADES |= {CANCELLED: "cancelled", EXPIRED: "expired"}

(NO_ORDER, SENDING, UNKNOWN, OPEN, PARTLY, FILLED, ENDED, REJECTED, NOT_SENT, ABSENT) = range(10)
# An order that expired at the exchange ends as one that was cancelled there.
ORDERS = dict(enumerate(("", "sending", "unknown", "open", "partially_filled", "filled")))
ORDERS |= {ENDED: "cancelled", REJECTED: "rejected", NOT_SENT: "not_sent", ABSENT: "absent"}

NO_HOLD, HELD, RELEASED = range(3)
NOWHERE, LIVE, OVER = range(3)  # An order at the exchange.
NONE_TAKEN, TAKEN_ONCE, RESTORED = range(3)  # A copy of the database.
LOTS = 2  # An order is of two lots, so that it can be partly filled.
LOST = 64  # The line's audit row went with the database that was replaced.
ZERO = 4  # Stands for 0 where a field can be negative.

# --- fields ---

# Our database: what a snapshot holds and a restore brings back.
(
    TRADE,
    ORDER,
    BOOKED,  # One bit per fill.
    POSTED,  # Lots that left the hold or the free funds.
    VOIDED,  # Lots given back.
    HOLD,
    REPORTED,  # The most that the exchange told to be filled.
    FLAG,  # A cancel was asked for.
    COUNTED,  # "Not found" answers that count.
    LOOKED,  # When the last of them was asked for, by the exchange's clock, plus 1.
    SIGNED,  # The order's sign_time plus 1.
    KILL,
    QUARANTINE,
    BREAK,  # An incident: the account takes no new risk, an operator looks.
    MARK,  # The high-water mark of our clock.
) = range(15)
DATABASE = 15

# The rest of the world.
(
    NOW,  # True time.
    SKEW,  # By how much our clock is ahead.
    DRIFT,  # By how much our idea of the exchange's clock is ahead.
    STEPS,  # Bits: our clock may still step forward, back.
    JOURNAL,  # The send journal's line: the sign_time in it plus 1, and `LOST`.
    JOURNAL_KILL,  # The journal's line of an engaged kill switch, if it has such lines.
    STARTING,  # Another server starts: 1 not seen, 2 seen what it reads first; 3 done.
    SNAPSHOT,
    AT_EXCHANGE,
    DONE,  # Lots filled at the exchange.
    SEEN,  # A bit for each report that the stream ever sent: it may come at any time, again too.
    VISIBLE,  # 2: look-ups see the order.
    HIDDEN,  # Look-ups by our id miss it; 2: the history has it by another id, 3: not at all.
    BLIND,  # 1: the look-ups may still go blind for a while; 2: they are.
    EXCHANGE_MARK,  # The high-water mark of the paper exchange, whose clock is ours.
    ARRIVED,  # Requests that reached the exchange, for its nonce check.
    ON_WAY_1,  # A request on its way: the sign_time in it plus 1.
    ON_WAY_2,
    CANCEL_ON_WAY,
    # What happened, for the invariants only.
    ACCEPTED,
    DISPATCHED,
    PLANNED,
    TOLD_OVER,  # Somebody was told that the plan is cancelled or expired.
    ENGAGED,  # 1: the kill switch is committed; 2: `engage` has answered.
    ENGAGED_AT,
    WRONG,  # The invariant that a step broke, 0 none.
) = range(DATABASE, DATABASE + 26)

CALLERS = DATABASE + 26
C_STEP, C_SIGNED, C_CLAIMED, C_WALL, C_ANSWER = range(5)
IDLE, PREPARED, CLAIMED, STAMPED, WRITTEN, GATED, WAITING, GONE = range(8)
NOTHING, REFUSED, REPEATED, TAKEN = range(4)  # Answers to a request.

RECONCILERS = CALLERS + 10
R_STEP, R_ASKED, R_COUNTED, R_LOOKED, R_REPORT = range(5)
R_IDLE, R_ASKING, R_MISSING, R_FOUND, R_ENOUGH, R_CLEAR = range(6)

COPY = RECONCILERS + 10
WIDTH = COPY + DATABASE
SLOT = 5

State = bytes
Row = list[int]

LOTS_IN = tuple(bin(mask).count("1") for mask in range(16))

_TRADE_NUMBERS = {name: number for number, name in TRADES.items()}
_ORDER_NUMBERS = {name: number for number, name in ORDERS.items()} | {"expired": ENDED}


def _trade_edges() -> frozenset[tuple[int, int]]:
    numbers = {status: _TRADE_NUMBERS[status.value] for status in TradeStatus}
    return frozenset(
        (numbers[a], numbers[b]) for a, edges in TRADE_EDGES.items() for b in edges
    ) | {(NO_TRADE, PENDING)}


def _order_edges() -> frozenset[tuple[int, int]]:
    numbers = {state: _ORDER_NUMBERS[state.value] for state in OrderState}
    return frozenset(
        (numbers[a], numbers[b]) for a, edges in ORDER_EDGES.items() for b in edges
    ) | {(NO_ORDER, SENDING)}


TRADE_STEPS = _trade_edges()
ORDER_STEPS = _order_edges()
FINAL = frozenset(_ORDER_NUMBERS[state.value] for state in FINAL_ORDERS)
NEVER_LIVED = frozenset({REJECTED, NOT_SENT, ABSENT})
UNSETTLED = frozenset({SENDING, UNKNOWN})
WORKS = frozenset({OPEN, PARTLY})


def report_code(over: bool, done: int) -> int:
    """Return the number of "live" or "over" with so many lots filled: 1 to 6."""
    return 1 + done + 3 * over


def describe(row: State) -> str:
    """Return a state in a few words, for a trace."""
    words = [f"t={row[NOW]}"]
    if row[SKEW] != ZERO:
        words.append(f"our clock {row[SKEW] - ZERO:+d}")
    words.append(f"trade {TRADES[row[TRADE]] or '-'}")
    if row[ORDER]:
        words.append(f"order {ORDERS[row[ORDER]]}")
    words.append(f"hold {('-', 'open', 'released')[row[HOLD]]}")
    if row[POSTED]:
        words.append(f"booked {row[POSTED]}")
    if row[AT_EXCHANGE]:
        words.append(f"exchange {('', 'live', 'over')[row[AT_EXCHANGE]]} {row[DONE]}/{LOTS}")
    on_way = sum(1 for field in (ON_WAY_1, ON_WAY_2) if row[field])
    names = ((on_way, "on its way"), (row[KILL], "kill"), (row[QUARANTINE], "quarantine"))
    return ", ".join([*words, *(name for there, name in (*names, (row[BREAK], "break")) if there)])
