"""Fills booked once, and states that move along their edges only."""

from tests.mutants.mutant import (
    ORDER_STATES,
    ORDERS,
    SETTLE,
    STATES,
    TRADES,
    Mutant,
    confirms,
    reconciles,
    restarts,
    settles,
    states,
)

_ORDERED = settles("fills_by_reply_stream_and_look_up_in_any_order_are_booked_once")
_NUMBERS = settles("the_same_fill_with_other_numbers_is_an_incident_and_stops_the_account")

BOOKING = (
    Mutant(
        "settle_more_than_ordered",
        SETTLE,
        "    if new_fills and order.filled_quantity > trade.quantity:\n",
        "    if False:\n",
        "more than was ordered is booked, and somebody looks",
        "I-4, F37",
        settles("more_filled_than_ordered_is_booked_with_an_incident"),
    ),
    Mutant(
        "settle_fill_of_another_order",
        SETTLE,
        '        if known["trade_id"] != trade.id:\n',
        "        if False:\n",
        "a fill that two orders claim is booked once, and somebody looks",
        "I-4, F11",
        settles("a_fill_that_two_orders_claim_is_booked_once_with_an_incident"),
    ),
    Mutant(
        "settle_fill_with_other_numbers",
        SETTLE,
        "        elif not orders.same_fill(known, fill):\n",
        "        elif False:\n",
        "a fill that comes again with other numbers is an incident",
        "I-4, F11",
        _NUMBERS,
    ),
    Mutant(
        "fills_once",
        ORDERS,
        "    if before:\n        return before\n",
        "    if before and tx.execute(\n"
        '        "DELETE FROM fills WHERE account = ? AND symbol = ?"\n'
        '        " AND exchange_order_id = ? AND exchange_fill_id = ?", key) < 0:\n'
        "        return before\n",
        "a fill that comes again is booked once",
        "I-4, F10",
        _ORDERED,
    ),
    Mutant(
        "fills_by_order_too",
        ORDERS,
        "    key = (account, fill.symbol, fill.exchange_order_id, fill.exchange_fill_id)\n"
        "    before = tx.row(\n"
        '        "SELECT * FROM fills WHERE account = ? AND symbol = ?"\n'
        '        " AND exchange_order_id = ? AND exchange_fill_id = ?",\n',
        "    key = (account, fill.symbol, fill.exchange_fill_id)\n"
        "    before = tx.row(\n"
        '        "SELECT * FROM fills WHERE account = ? AND symbol = ?"\n'
        '        " AND exchange_fill_id = ?",\n',
        "two orders may each have a fill of the same id",
        "I-4, F11",
        settles("two_orders_may_each_have_a_fill_of_the_same_id"),
    ),
    Mutant(
        "fill_same_price",
        ORDERS,
        '        and stored(row["price"]) == fill.price\n',
        "",
        "another price is other numbers",
        "I-4, F11",
        _NUMBERS,
    ),
    Mutant(
        "fill_same_fee_currency",
        ORDERS,
        '        and row["fee_currency"] == fill.fee_currency\n',
        "",
        "the same fee in another currency is other numbers",
        "I-4, F11",
        _NUMBERS,
    ),
    Mutant(
        "fill_same_side",
        ORDERS,
        '        and row["side"] == fill.side\n',
        "",
        "the other side is other numbers",
        "I-4, F11",
        _NUMBERS,
    ),
    Mutant(
        "settle_short",
        SETTLE,
        "    if short:\n",
        "    if False:\n",
        "a fill that leaves the account short stops it",
        "I-6, F37",
        settles("a_fill_that_leaves_the_account_short_is_booked_and_opens_a_break"),
    ),
    Mutant(
        "settle_position",
        SETTLE,
        "    ledger.set_position(tx, account.number, trade.symbol, after)\n",
        "",
        "what was bought is a position",
        "I-6",
        settles("a_fee_in_base_lowers_the_position"),
    ),
    Mutant(
        "order_edges",
        ORDERS,
        '            f" WHERE trade_id = :trade_id AND state IN ({marks})",\n',
        "            f\" WHERE trade_id = :trade_id AND '{marks}' <> ''\",\n",
        "terminal never goes back, and a stale reconciler writes over nothing",
        "I-8, F28",
        settles("a_terminal_order_never_goes_back"),
    ),
    Mutant(
        "trade_edges",
        TRADES,
        '            f" WHERE id = :id AND status IN ({marks})",\n',
        "            f\" WHERE id = :id AND '{marks}' <> ''\",\n",
        "a trade moves along its edges only",
        "I-3, I-8, F18, F19",
        confirms("cancelling_a_plan_twice_or_after_its_end_is_benign"),
    ),
    Mutant(
        "cancel_only_pending",
        STATES,
        "    _T.EXECUTING: frozenset({_T.WORKING, _T.EXECUTED, _T.FAILED}),\n",
        "    _T.EXECUTING: frozenset({_T.WORKING, _T.EXECUTED, _T.FAILED, _T.CANCELLED}),\n",
        "a claimed trade cannot be dismissed",
        "I-3, F18",
        states("each_step_of_a_trade_is_legal_or_not"),
    ),
    Mutant(
        "absent_only_from_unknown",
        ORDER_STATES,
        "    _S.OPEN: _SEEN - {_S.OPEN} | {_S.REJECTED},\n",
        "    _S.OPEN: _SEEN - {_S.OPEN} | {_S.REJECTED, _S.ABSENT},\n",
        "an order that was seen live is not absent",
        "I-8, I-2",
        states("each_step_of_an_order_is_legal_or_not"),
    ),
    Mutant(
        "reported_only_grows",
        ORDERS,
        "        reported_quantity=max(order.reported_quantity, news.filled_quantity),\n",
        "        reported_quantity=news.filled_quantity,\n",
        "what the exchange said was filled is not unsaid by an older word",
        "I-4, F10",
        settles("what_was_told_to_be_filled_is_not_unsaid_by_a_later_word"),
    ),
    Mutant(
        "found_again_counts_anew",
        ORDERS,
        "max(order.reported_quantity, news.filled_quantity),\n        not_found=0,\n",
        "max(order.reported_quantity, news.filled_quantity),\n",
        "an order that was found is not on its way to being absent",
        "I-2, F06",
        reconciles("not_found_now_and_then_between_answers_that_find_it_loses_no_order"),
        also=((ORDERS, "            not_found=0,\n        )\n", "        )\n"),),
    ),
    Mutant(
        "unknown_is_live",
        ORDERS,
        '        "SELECT * FROM orders WHERE account = ?"\n'
        "        \" AND state IN ('sending', 'unknown', 'open', 'partially_filled')"
        ' ORDER BY sign_time"',
        '        "SELECT * FROM orders WHERE account = ?"\n'
        "        \" AND state IN ('unknown', 'open', 'partially_filled') ORDER BY sign_time\"",
        "after a crash an order that was being sent is looked up",
        "I-12, F03, F04",
        restarts("a_crash_while_the_exchange_thinks_is_looked_up"),
    ),
    Mutant(
        "news_of_an_ended_order",
        SETTLE,
        "    if order.state in FINAL and order.state not in _NOT_THERE and not report.fills:\n",
        "    if order.state in FINAL:\n",
        "a fill after the end is news, whoever tells it",
        "I-4, F09",
        _NUMBERS,
    ),
    Mutant(
        "news_of_a_missing_one",
        SETTLE,
        "    if order.filled_quantity < report.filled_quantity or order.not_found:\n",
        "    if order.filled_quantity < report.filled_quantity:\n",
        "that it was found is news while it was not to be found",
        "I-2, F06",
        reconciles("not_found_now_and_then_between_answers_that_find_it_loses_no_order"),
    ),
    Mutant(
        "news_of_other_numbers",
        SETTLE,
        "    if any(booked.get(fill.exchange_fill_id) != fill for fill in report.fills):\n",
        "    if any(fill.exchange_fill_id not in booked for fill in report.fills):\n",
        "a known fill with other numbers is news",
        "I-4, F11",
        _NUMBERS,
    ),
)
