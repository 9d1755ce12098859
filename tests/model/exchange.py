"""The exchange and the network: what they may do at any moment, whatever we do."""

from tests.model.books import finish, move_order, our_clock, settle
from tests.model.guards import Ids, Model
from tests.model.state import (
    ACCEPTED,
    ARRIVED,
    AT_EXCHANGE,
    BLIND,
    C_ANSWER,
    C_SIGNED,
    C_STEP,
    CALLERS,
    CANCEL_ON_WAY,
    DONE,
    DRIFT,
    ENDED,
    EXCHANGE_MARK,
    FINAL,
    FLAG,
    HIDDEN,
    LIVE,
    LOTS,
    MARK,
    NO_ORDER,
    NOTHING,
    NOW,
    NOWHERE,
    ON_WAY_1,
    ON_WAY_2,
    ORDER,
    OVER,
    REFUSED,
    REPEATED,
    SEEN,
    SKEW,
    SLOT,
    STEPS,
    TAKEN,
    VISIBLE,
    WAITING,
    ZERO,
    Row,
    State,
    report_code,
)

VALID_FOR = 1
STEP = 3  # By how much our clock steps.

_HIDES = (
    (1, "look-ups by id miss it"),
    (2, "the cancel renames it"),
    (3, "the history forgets it"),
)

Steps = list[tuple[str, Row]]


def exchange_time(row: State | Row, m: Model) -> int:
    """Return the exchange's own time."""
    return max(our_clock(row), row[EXCHANGE_MARK]) if m.own_clock else row[NOW]


def estimate(row: State | Row, m: Model) -> int:
    """Return what we take the exchange's time for."""
    if m.own_clock or not m.guards.exchange_clock:
        return our_clock(row)
    return max(0, row[NOW] + row[DRIFT] - ZERO)


def put_on_way(row: Row, signed: int) -> bool:
    """Put a request on its way; False when the model has no room for one more."""
    both = sorted((row[ON_WAY_1], row[ON_WAY_2], signed + 1))
    if both[0]:
        return False
    row[ON_WAY_1], row[ON_WAY_2] = both[1:]
    return True


def _take_off(row: Row, place: int) -> int:
    stamp = row[place]
    row[place] = 0
    row[ON_WAY_1], row[ON_WAY_2] = sorted((row[ON_WAY_1], row[ON_WAY_2]))
    return stamp - 1


def _seen(row: Row) -> None:
    row[SEEN] |= 1 << report_code(row[AT_EXCHANGE] == OVER, row[DONE])


def _answer(row: Row, signed: int, answer: int) -> None:
    for at in (CALLERS, CALLERS + SLOT):
        waits = row[at + C_STEP] == WAITING and row[at + C_SIGNED] == signed + 1
        # Of two answers, to a request that came twice, the first may be the one that is lost.
        if waits and (row[at + C_ANSWER] == NOTHING or answer == REPEATED):
            row[at + C_ANSWER] = answer
            return


def network(s: State, m: Model, out: Steps) -> None:
    """Requests and cancels arrive, are lost, or come twice."""
    if s[ON_WAY_2]:
        places = (ON_WAY_2,) if s[ON_WAY_1] in (0, s[ON_WAY_2]) else (ON_WAY_1, ON_WAY_2)
        for place in places:
            _request(s, m, place, out)
    if s[CANCEL_ON_WAY]:
        row = list(s)
        row[CANCEL_ON_WAY] = 0
        if s[AT_EXCHANGE] == LIVE:
            row[AT_EXCHANGE] = OVER
            _seen(row)
            out.append(("exchange: cancels the order", row))
            if not m.guards.ack_is_not_final:
                out.append(("cancel: acknowledged, taken for the end", _ended(s, m)))
        else:
            out.append(("exchange: knows no order to cancel", row))
            if not m.guards.unknown_order_is_no_evidence:
                out.append(("cancel: no such order, taken for the end", _ended(row, m)))
        row = list(s)
        row[CANCEL_ON_WAY] = 0
        out.append(("fault: the cancel is lost", row))


def _ended(row: State | Row, m: Model) -> Row:
    after = list(row)
    if after[ORDER] not in FINAL and move_order(after, m, ENDED):
        finish(after, m)
    return after


def _request(s: State, m: Model, place: int, out: Steps) -> None:
    row = list(s)
    _take_off(row, place)
    out.append(("fault: the request is lost", row))
    if m.doubles and not s[ON_WAY_1] and not s[ARRIVED]:
        row = list(s)
        row[ON_WAY_1] = s[ON_WAY_2]
        out.append(("fault: the request is sent twice by the network", row))
    row = list(s)
    signed = _take_off(row, place)
    used = m.doubles and m.guards.nonce and row[ARRIVED]
    if m.doubles:
        row[ARRIVED] = 1
    late = s[NOW] == m.last or exchange_time(s, m) > signed + VALID_FOR
    if m.own_clock and m.steps:
        row[EXCHANGE_MARK] = exchange_time(s, m)
    if used or _exists(s, m):
        _answer(row, signed, REPEATED)
        out.append(("exchange: refuses the request as repeated", row))
        return
    refused = list(row)
    _answer(refused, signed, REFUSED)
    if late and m.guards.exchange_refuses_late and not m.late_entry:
        out.append(("exchange: refuses the request as too late", refused))
        return
    out.append(("exchange: refuses the order", refused))
    if s[ACCEPTED] == 0:
        row[AT_EXCHANGE], row[VISIBLE] = LIVE, 0 if m.lag else 2
        _seen(row)
    row[ACCEPTED] = min(s[ACCEPTED] + 1, 2)
    _answer(row, signed, TAKEN)
    out.append(("exchange: accepts the order", row))


def _exists(s: State, m: Model) -> bool:
    if m.ids is Ids.FOR_EVER:
        return s[ACCEPTED] > 0
    return m.ids is Ids.AMONG_OPEN and s[AT_EXCHANGE] == LIVE


def market(s: State, m: Model, out: Steps) -> None:
    """The order is filled, ends, becomes visible, hides."""
    if s[AT_EXCHANGE] == LIVE:
        row = list(s)
        row[DONE] += 1
        if row[DONE] == LOTS:
            row[AT_EXCHANGE] = OVER
        _seen(row)
        out.append(("exchange: fills a lot", row))
        row = list(s)
        row[AT_EXCHANGE] = OVER
        _seen(row)
        out.append(("exchange: ends the order", row))
    if s[AT_EXCHANGE] and s[VISIBLE] < 2:
        row = list(s)
        row[VISIBLE] = 2
        out.append(("exchange: look-ups see the order", row))
    if m.late_fill and s[AT_EXCHANGE] == OVER and s[DONE] < LOTS:
        row = list(s)
        row[DONE] += 1
        _seen(row)
        out.append(("fault: the exchange fills an order that was over", row))
    if m.hidden and not s[HIDDEN] and s[AT_EXCHANGE] == OVER:
        for how, words in _HIDES:
            if m.hidden >> (how - 1) & 1:
                row = list(s)
                row[HIDDEN] = how
                out.append((f"fault: {words}", row))


def stream(s: State, m: Model, out: Steps) -> None:
    """Any report ever sent may come: late, again, in any order; or never. Its own fill only."""
    if not m.stream or s[ORDER] == NO_ORDER or s[AT_EXCHANGE] == NOWHERE:
        return
    for code in range(1, 7):
        if s[SEEN] >> code & 1:
            done = (code - 1) % 3
            row = list(s)
            settle(row, m, code, 1 << (done - 1) if done else 0)
            out.append((f"stream: tells {'over' if code > 3 else 'live'} {done}/{LOTS}", row))


def clocks(s: State, m: Model, out: Steps) -> None:
    """Time passes; our clock steps; what was blind sees again."""
    if s[NOW] < m.last:
        row = list(s)
        row[NOW] += 1
        if s[AT_EXCHANGE] and s[VISIBLE] < 2 and m.guards.seen_within_margin:
            row[VISIBLE] = 2 if row[NOW] == m.last else s[VISIBLE] + 1
        if s[BLIND] == 2:
            row[BLIND] = 0
        if m.ages:  # The keeper writes once a second.
            row[MARK] = max(s[MARK], our_clock(row))
        out.append(("time passes", row))
    for bit, by, words in ((1, STEP, "forward"), (2, -STEP, "back")):
        if s[STEPS] & bit and s[NOW] < m.last:
            row = list(s)
            row[STEPS] &= ~bit
            row[SKEW] += by
            if not m.own_clock:
                row[DRIFT] += by
            out.append((f"fault: our clock steps {words}", row))
    if s[DRIFT] != ZERO and m.guards.clock_learnt:
        row = list(s)
        row[DRIFT] = ZERO
        out.append(("we measure the exchange's clock", row))
    if s[BLIND] == 1 and s[NOW] < m.last - 1:
        row = list(s)
        row[BLIND] = 2
        out.append(("fault: look-ups go blind for a moment", row))


def ask_for_cancel(s: State, m: Model, out: Steps) -> None:
    """A caller asks for the cancel of a live order: the flag, then one request."""
    if m.cancels and s[ORDER] in range(1, 5) and not s[FLAG]:
        row = list(s)
        row[FLAG] = row[CANCEL_ON_WAY] = 1
        out.append(("cancel_order: flags the order and asks the exchange", row))
