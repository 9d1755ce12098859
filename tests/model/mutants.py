"""The protocol with one guard removed: the search must find what that guard is for.

Each mutant names the line that it stands for as `file: text in it`; a test looks that it is
there. Guards that the code lacks are in `holes.py`.
"""

from dataclasses import replace

from tests.model.guards import Model
from tests.model.mutant import (
    ABSENCE,
    BACKUP,
    BLIND,
    CANCEL,
    CLAIM,
    CLOCK,
    DISMISSED,
    EXECUTION,
    FENCE,
    FORGOTTEN,
    FORWARD,
    HIDDEN,
    KILL,
    LATE_ENTRY,
    LATE_FILL,
    LEDGER,
    ONE_ANSWER,
    ORDERS,
    PAIR,
    PAPER,
    PLAIN,
    QUICK,
    RACE,
    RECONCILE,
    RENAMED,
    RESTORE,
    RISK,
    SECOND,
    SETTLE,
    TRADES,
    TWICE,
    WHOLE,
    by_name,
    one,
)

_CLAIM = (
    one("claim_once", RACE, TRADES, "WHERE id = :id AND status = 'pending'", "one claim wins"),
    one("claim_in_time", PLAIN, TRADES, "AND expires_at > :now", "not after the plan's end"),
    one(
        "now_under_the_lock",
        PLAIN,
        "backend/database.py",
        "result = body(self._opened())",
        "`now` is read when the lock is held, not before waiting for it",
    ),
    one(
        "claim_refuses_kill",
        KILL,
        CLAIM,
        "if view.kill_switch:",
        "no claim after the kill switch; engage ends pending plans too, so both go",
        "kill_ends_plans",
    ),
    one(
        "order_row_with_the_claim",
        PLAIN,
        CLAIM,
        "orders.insert_sending(tx, trade.id",
        "claim and order row are one transaction",
    ),
    one(
        "high_water",
        CLOCK,
        "backend/database.py",
        "SET value = MAX(value, :now)",
        "a clock that steps back revives no plan",
    ),
)

_SEND = (
    one(
        "claim_before_send",
        PLAIN,
        EXECUTION,
        "claimed = await desk.database.write(",
        "the row is committed before a byte leaves (Law 5)",
    ),
    one("gate", KILL, EXECUTION, "if _too_late(desk, claimed):", "nothing leaves 1 s later"),
    one(
        "gate_counts_suspension",
        Model("kill switch and a clock that steps", callers=1, kill=True, steps=2, last=4),
        EXECUTION,
        "waited = desk.elapsed_s() - claimed.elapsed_s",
        "a wall clock that steps back does not open the gate again",
    ),
    one(
        "signed_is_stored",
        QUICK,
        CLAIM,
        "sign_time=sign_time,",
        "what is signed is what is stored: a late sender cannot outlive valid_until",
    ),
    one("one_attempt", PLAIN, EXECUTION, "report = await exchange.submit(order)", "one attempt"),
)

_SETTLE = (
    one(
        "no_answer_is_unknown",
        PLAIN,
        EXECUTION,
        "except OutcomeUnknown as error:",
        "a time-out is not a failure (Law 6)",
    ),
    one(
        "written_is_unknown",
        PLAIN,
        EXECUTION,
        "except (ExchangeUnavailable, RateLimited) as error:",
        "`not_sent` only where no byte was written",
    ),
    one(
        "error_is_unknown",
        PLAIN,
        EXECUTION,
        "except ExchangeRejected as error:",
        "rejected only by a code of the closed list; a 503 is none",
    ),
    one(
        "repeated_is_unknown",
        TWICE,
        "backend/exchanges/bitstamp/rejections.py",
        "API0004 (our nonce is new",
        "a repeated id or nonce is looked up, it is no rejection",
    ),
    one(
        "order_edges",
        PAIR,
        ORDERS,
        "AND state IN ({marks})",
        "a stale reconciler writes over nothing that moved on",
    ),
    one("fills_once", PLAIN, ORDERS, "if before:", "a fill that comes again is booked once"),
    one(
        "fills_in_any_state",
        LATE_FILL,
        SETTLE,
        "new_fills = [fill for fill in news.fills if _book(",
        "fills are booked in any state",
    ),
    one(
        "final_needs_fills",
        PLAIN,
        SETTLE,
        "if news.state in FINAL and not missing:",
        "final only with all fills booked",
    ),
    one(
        "outcome_by_fills",
        PLAIN,
        SETTLE,
        "status, reason = TradeStatus.EXECUTED, None",
        "the outcome is read from the filled quantity, not from a word",
    ),
    one(
        "void_only_the_rest",
        PLAIN,
        LEDGER,
        "return self.reserved - self.posted - self.voided",
        "what was posted is not given back",
    ),
    one(
        "void_at_the_end",
        PLAIN,
        SETTLE,
        "ledger.void(tx, trade.account, trade.id)",
        "an ended trade keeps no hold",
    ),
    one(
        "ack_is_not_final",
        CANCEL,
        EXECUTION,
        "await exchange.cancel(trade_id, symbol, exchange_order_id)",
        "a cancel's acknowledgement is not a final quantity",
    ),
    one(
        "unknown_order_is_no_evidence",
        CANCEL,
        EXECUTION,
        "except NO_ANSWER as error:",
        "a cancel that finds no order proves nothing",
    ),
)

_RECONCILE = (
    one(
        "after_validity",
        QUICK,
        ABSENCE,
        "if asked_at <= order.valid_until + rules.absence_margin:",
        "while the request may still enter, `not found` is no evidence",
    ),
    one(
        "margin",
        ONE_ANSWER,
        ABSENCE,
        "order.valid_until + rules.absence_margin",
        "an accepted order is seen with a lag",
    ),
    one(
        "enough_answers",
        BLIND,
        ABSENCE,
        "return answers >= rules.absence_answers",
        "one look-up may be wrong",
    ),
    one(
        "spacing",
        BLIND,
        ABSENCE,
        "asked_at - last < rules.absence_spacing",
        "two look-ups may be wrong at once",
    ),
    one(
        "error_is_no_evidence",
        QUICK,
        ABSENCE,
        "except SILENCE as error:",
        "an error is no `not found`; the history doubles it, so both go",
        "history",
        "fills_of_history",
    ),
    one(
        "asked_before_the_answer",
        ONE_ANSWER,
        ABSENCE,
        "asked_at = await exchange.now()",
        "the time that counts is that of the question; the history doubles it, so both go",
        "history",
        "fills_of_history",
    ),
    one(
        "exchange_clock",
        FORWARD,
        ABSENCE,
        "asked_at = await exchange.now()",
        "absence is judged on the exchange's clock",
    ),
    one(
        "clock_learnt",
        FORWARD,
        "backend/exchanges/bitstamp/market.py",
        "self._offset = clock_offset(told, sent, self._heard)",
        "each answer corrects our idea of the exchange's clock",
    ),
    one(
        "closed_orders_too",
        QUICK,
        ABSENCE,
        "found = await exchange.find(",
        "open orders alone prove no absence",
    ),
    one(
        "history",
        HIDDEN,
        ABSENCE,
        "if report.client_order_id == order.trade_id:",
        "the history finds what look-ups by id miss; the fills double it, so both go",
        "fills_of_history",
    ),
    one(
        "twins",
        RENAMED,
        ABSENCE,
        "twins = [",
        "an order that asks for the same by another id may be ours; the fills double it: both go",
        "fills_of_history",
    ),
    one(
        "fills_of_history",
        FORGOTTEN,
        ABSENCE,
        "unbooked = [pair for pair in ids if pair not in booked]",
        "a fill of nobody's order blocks the verdict",
    ),
    one(
        "clock_stored",
        PAPER,
        "backend/exchanges/paper/exchange.py",
        "return await self._database.write(lambda transaction: transaction.now)",
        "the time that paper tells is stored: read ahead and put back before the question, our"
        " clock lets nothing in whose validity had ended by then",
    ),
    one(
        "never_sent_again",
        QUICK,
        RECONCILE,
        "Orders are never sent from here.",
        "what is not found is not sent again",
    ),
    one(
        "cancel_repeated",
        CANCEL,
        ABSENCE,
        "if order.cancel_requested_at is not None and order.state in UNSETTLED:",
        "a cancel that was lost is asked for again",
    ),
    one(
        "live_after_end_cancelled",
        LATE_ENTRY,
        EXECUTION,
        "if left.cancel_now:",
        "an order that lives although it had ended is cancelled",
    ),
    one(
        "unknown_looked_up",
        QUICK,
        RECONCILE,
        "unsettled = [order for order in live if order.state in UNSETTLED]",
        "after a crash somebody looks",
    ),
)

_AROUND = (
    one(
        "cancel_only_pending",
        Model("a plan is dismissed", callers=1, dismiss=True),
        "backend/domain/trade.py",
        "_T.PENDING: frozenset({_T.EXECUTING, _T.CANCELLED, _T.EXPIRED})",
        "a claimed trade cannot be dismissed",
    ),
    one(
        "sweep_only_pending",
        PLAIN,
        TRADES,
        "WHERE status = 'pending' AND account = ? AND expires_at <= ?",
        "the sweeper touches pending plans only",
    ),
    one(
        "sweep",
        PLAIN,
        "backend/services/expiry.py",
        "for trade in due:",
        "a plan that nobody confirms ends",
    ),
    one(
        "kill_waits",
        KILL,
        RISK,
        "await _wait_until_sent(desk, sending)",
        "engage answers when nothing can leave any more",
    ),
)

_START = (
    one(
        "journal_before_send",
        RESTORE,
        EXECUTION,
        "if not await _is_journalled(desk, claimed):",
        "a line before each dispatch, or the fence does not know of it",
    ),
    one(
        "gate_after_journal",
        KILL,
        EXECUTION,
        "if _too_late(desk, claimed):",
        "the line's fsync may be slow: the gate is looked at after it",
    ),
    one(
        "journal_after_claim",
        SECOND,
        EXECUTION,
        "desk.journal.append(claimed.dispatch)",
        "the line comes after the row's commit, or a server that starts takes the row for lost",
    ),
    one(
        "fence",
        RESTORE,
        "backend/app.py",
        "await raise_fence(desk)",
        "a database older than its journal is noticed",
    ),
    one(
        "fence_reads_journal_first",
        SECOND,
        FENCE,
        "newest = journal.newest(since)",
        "a server that starts beside others reads the journal, then the database: the other way"
        " round, an order sent between the two looks lost",
    ),
    one(
        "fence_recovers",
        RESTORE,
        FENCE,
        "orders.insert_sending(",
        "the journal's orders are written again, and found",
    ),
    one(
        "fence_keeps_validity",
        Model("one answer, and restore", answers=1, callers=1, restore=True, stream=False),
        FENCE,
        "from_row(line.valid_until)",
        "the line tells until when the order may enter",
    ),
    one(
        "fence_voids_plans",
        DISMISSED,
        FENCE,
        "cancel_pending(tx, account.number",
        "plans of an older copy are void: what was told to be over does not come back",
    ),
    one(
        "fence_once",
        Model("restore, and a second start", callers=1, restore=True, second_start=True, last=4),
        FENCE,
        "size if why else since",
        "the audit rows of a replaced database never come back: without a mark each later start,"
        " of any server of the home, quarantines again and ends the plans that wait",
    ),
    one(
        "copy_mark",
        BACKUP,
        FENCE,
        "copy_of = await",
        "a backup is known for what it is, though nothing was sent since",
        "journal_has_ends",
    ),
    one(
        "place",
        WHOLE,
        FENCE,
        "elif before.place not in (None, place):",
        "a database that is another file than before is a copy, though its journal came with it",
    ),
    one(
        "journal_has_kills",
        Model("kill switch and restore", callers=1, kill=True, restore=True, stream=False, last=3),
        RISK,
        "tell_switch(desk, line)",
        "a copy of before the kill switch starts with it, though nothing was sent since",
    ),
    one(
        "claim_refuses_quarantine",
        DISMISSED,
        CLAIM,
        'if error.code != "quarantined":',
        "no claim in quarantine; the fence voids plans too, so both go",
        "fence_voids_plans",
    ),
)

_ASSUMED = (
    one(
        "exchange_refuses_late",
        QUICK,
        "backend/exchanges/paper/door.py",
        "if transaction.now >= order.valid_until:",
        "assumed of real exchanges, built into paper",
    ),
    one(
        "seen_within_margin",
        QUICK,
        ABSENCE,
        "rules.absence_margin",
        "assumed: an accepted order is seen within the margin",
    ),
    one(
        "nonce",
        TWICE,
        "backend/exchanges/bitstamp/signing.py",
        "X-Auth-Nonce",
        "assumed: a request that the network repeats is refused",
    ),
)

_CLOSED = (
    one(
        "stamped_in_the_claim",
        Model("kill switch and a clock that steps back", callers=1, kill=True, steps=2, last=4),
        EXECUTION,
        "await _send(desk, exchange, claimed)",
        "the gate's second is counted from within the claim: else a process that is suspended after"
        " the commit, while the wall clock is put back, sends after engage has answered",
    ),
    one(
        "gate_at_the_wire",
        KILL,
        EXECUTION,
        "CONNECT_WITHIN_S = 3 * wire.ORDER_CONNECT_S",
        "engage waits for the gate and for what an order may still wait for after it: the pool,"
        " TCP and TLS",
    ),
    one(
        "by_hand_asks_the_exchange",
        Model("by hand", callers=1, by_hand=True, steps=1, last=7, stream=False, lag=False),
        RISK,
        "told = await _ask_first(desk, caller, trade_id)",
        "settling by hand asks the exchange first, and goes by its clock",
    ),
    one(
        "spaced_from_the_answer",
        replace(BLIND, apart=True),
        ABSENCE,
        "looked_up_at=to_row(answered_at)",
        "the space between two answers is counted from the first one: an answer that came 12 s"
        " late and the next one could be of the same moment",
    ),
)

MUTANTS = by_name((*_CLAIM, *_SEND, *_SETTLE, *_RECONCILE, *_AROUND, *_START, *_ASSUMED, *_CLOSED))
