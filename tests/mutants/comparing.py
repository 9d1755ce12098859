"""Our totals beside the exchange's: what counts as a difference, and what is done about it."""

from tests.mutants.mutant import (
    RECONCILE,
    Mutant,
    reconciles,
)

_TWICE = reconciles("a_balance_difference_at_rest_twice_in_a_row_stops_the_account")
_MOVED = reconciles("what_an_order_that_is_not_to_be_found_moved_is_booked_once_when_it_shows")


COMPARING = (
    Mutant(
        "compare_only_at_rest",
        RECONCILE,
        "    if not at_rest(tx, account):\n        return None\n",
        "",
        "while an order is on its way a difference means nothing",
        "I-6",
        reconciles("balances_are_not_compared_while_an_order_moves"),
    ),
    Mutant(
        "at_rest_all_booked",
        RECONCILE,
        "order.state not in UNSETTLED and order.reported_quantity == order.filled_quantity\n",
        "order.state not in UNSETTLED\n",
        "while fills are missing a difference means nothing",
        "I-6, F14",
        reconciles("totals_are_not_compared_while_fills_are_missing"),
    ),
    Mutant(
        "compare_what_was_asked_for",
        RECONCILE,
        "        if _comparable(tx, account, always) != before:\n            return False\n",
        "",
        "what was posted since the question makes the answer old",
        "I-6",
        reconciles("an_answer_that_is_older_than_a_posting_is_not_compared"),
    ),
    Mutant(
        "compare_twice",
        RECONCILE,
        '    lasting = [one for one in wrong if one in before.split(", ")]\n',
        "    lasting = wrong\n",
        "a difference counts when two looks in a row show it",
        "I-6",
        _TWICE,
    ),
    Mutant(
        "compare_the_same_difference",
        RECONCILE,
        '    lasting = [one for one in wrong if one in before.split(", ")]\n',
        "    lasting = wrong if before else []\n",
        "two different differences are no lasting one",
        "I-6",
        reconciles("differences_that_differ_from_each_other_stop_nothing_until_one_lasts"),
    ),
    Mutant(
        "compare_not_before_the_poll",
        RECONCILE,
        "    elif working:\n        return",
        "    elif False:\n        return",
        "a fill that nobody has seen yet is no difference",
        "I-6, F40",
        reconciles("between_two_looks_at_the_working_orders_no_totals_are_compared"),
    ),
    Mutant(
        "compare_after_the_start",
        RECONCILE,
        "    always = account.number not in desk.compared\n",
        "    always = False\n",
        "the books may be an older copy: the first look compares",
        "F25, I-6",
        reconciles("the_first_look_after_a_start_compares_whatever_was_compared_before"),
    ),
    Mutant(
        "break_stops",
        RECONCILE,
        "        accounts.set_break(tx, account.number, reason)\n",
        "",
        "a lasting difference stops the account",
        "I-6",
        _TWICE,
    ),
    Mutant(
        "adjust_nothing_while_stopped",
        RECONCILE,
        "    doubtful = accounts.by_number(tx, account.number).break_reason is not None or any(\n",
        "    doubtful = any(\n",
        "while something is wrong nothing is explained away",
        "I-6",
        reconciles("a_stopped_account_takes_over_nothing_until_it_is_resumed"),
    ),
    Mutant(
        "adjust_nothing_while_one_is_missing",
        RECONCILE,
        "        order.not_found for order in orders.live(tx, account.number)\n",
        "        False for order in orders.live(tx, account.number)\n",
        "what a missing order moved is not somebody else's",
        "I-4, I-6",
        _MOVED,
    ),
    Mutant(
        "adjust_the_right_way",
        RECONCILE,
        "ledger.adjust(tx, account.number, currency, stored(change), ",
        "ledger.adjust(tx, account.number, currency, -stored(change), ",
        "an adjustment makes the books agree",
        "I-6",
        reconciles("a_stopped_account_takes_over_nothing_until_it_is_resumed"),
    ),
)
