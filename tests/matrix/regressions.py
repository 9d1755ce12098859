"""Real bugs of other projects, and the tests that keep each of them out of this one.

The tests of this folder play a bug on the whole server, on every exchange where it could occur; an
adapter's own tests, in tests/exchanges, are named where they show more of it. What the bug was
stands in the first line of its test.

R01  test_r01_a_stream_that_tells_of_an_order_before_its_answer_is_lost
     test_r01_r03_r04_f05_one_request_ends_in_what_its_answer_proves
R02  test_r02_a_not_found_is_no_failure
     test_r01_r02_everything_else_leaves_an_order_unknown
R03  test_r03_r04_r06_a_lost_answer_is_never_sent_again
     test_r03_what_proves_nothing_is_unknown_and_never_sent_again
R04  test_r03_r04_r06_a_lost_answer_is_never_sent_again
R05  test_r05_r07_one_confirm_is_one_request_however_it_ends
R06  test_r03_r04_r06_a_lost_answer_is_never_sent_again
R07  test_r05_r07_one_confirm_is_one_request_however_it_ends
R08  test_r08_a_duplicate_id_after_a_lost_answer_is_no_rejection
     test_r08_f08_a_repeated_id_is_unknown_and_the_first_order_is_found
R09  test_r09_an_order_that_filled_while_it_was_cancelled_is_not_made_again
R10  test_r10_an_order_without_the_exchanges_id_is_asked_for_by_ours
R11  test_r11_a_stop_order_is_asked_for_where_stop_orders_are
R12  test_r12_an_order_missing_among_the_open_ones_may_be_filled
R13  test_r13_an_order_that_could_not_rest_is_judged_once_and_left_alone
R14  test_r14_r15_r17_a_cancel_without_an_answer_ends_nothing
R15  test_r14_r15_r17_a_cancel_without_an_answer_ends_nothing
     test_r15_a_cancel_without_an_answer_is_unknown
R16  test_r16_a_partly_filled_order_that_is_called_rejected_ends_once
R17  test_r14_r15_r17_a_cancel_without_an_answer_ends_nothing
R18  test_r18_r20_r21_a_silent_exchange_loses_no_order
     test_r18_a_look_up_that_gets_no_answer_is_never_not_found
     test_r18_a_refused_look_up_is_never_not_found
R19  test_r19_an_order_found_absent_that_turns_up_live_does_not_stay
R20  test_r18_r20_r21_a_silent_exchange_loses_no_order
R21  test_r18_r20_r21_a_silent_exchange_loses_no_order
R22  test_r22_an_order_placed_in_the_place_of_a_cancelled_one_is_kept
R23  test_r23_a_look_up_that_is_behind_says_nothing_of_an_accepted_order
     test_r23_a_look_up_that_lags_says_not_found_and_later_finds
     test_r23_an_order_may_be_hidden_at_first_and_is_found_later
R24  test_r24_however_many_not_founds_release_nothing_while_it_may_arrive
R25  test_r25_a_stale_list_of_open_orders_proves_nothing
     test_r25_the_stale_list_leaves_out_what_was_cancelled_through_us
R26  test_r26_an_order_placed_while_the_database_is_locked_is_not_lost
R27  test_r27_an_order_cancelled_by_us_and_filled_there_is_ours
R28  test_r28_the_fill_of_another_order_is_never_attached
     test_r28_a_fill_of_our_older_order_is_not_taken_for_the_lost_ones
R29  test_r29_r30_a_restart_books_nothing_again
     test_r29_r30_a_crash_before_anything_was_booked_books_it_once
R30  test_r29_r30_a_restart_books_nothing_again
     test_r29_r30_a_crash_before_anything_was_booked_books_it_once
R37  test_r37_r38_an_end_told_before_its_fills_makes_none_up
     test_r37_a_fill_that_cannot_be_read_yet_is_waited_for
R38  test_r37_r38_an_end_told_before_its_fills_makes_none_up
R39  test_r39_the_paper_exchange_fills_no_order_that_has_ended
     test_r39_one_trade_told_twice_is_one_fill_whose_fee_has_no_sign
R40  test_r40_two_orders_that_share_one_trade_id_are_both_booked
R41  test_r41_a_fill_without_an_id_is_given_none_by_us
     test_r41_a_fill_has_the_same_id_whoever_tells_of_it
R42  test_r42_r43_a_fill_that_is_told_again_much_later_is_booked_once
R43  test_r42_r43_a_fill_that_is_told_again_much_later_is_booked_once
R44  test_r44_a_fill_that_the_exchange_takes_back_stays_and_stops_the_account
R45  test_r45_what_happened_while_the_stream_was_down_is_looked_up
     test_r45_a_broken_connection_ends_the_stream_and_the_next_begins_with_a_look
     test_r45_a_reconnect_that_is_asked_for_loses_nothing
R46  test_r46_r47_a_fill_that_the_stream_never_tells_is_polled
     test_r46_a_lost_order_frame_is_replayed_once_the_chain_shows_it
R47  test_r46_r47_a_fill_that_the_stream_never_tells_is_polled
R48  test_r48_a_fill_during_a_cancel_is_booked
R49  test_r49_a_fill_that_is_told_after_the_cancel_counts
     test_r49_an_end_that_comes_before_its_trade_tells_what_is_filled
R50  test_r50_what_is_called_cancelled_may_be_filled
     test_r50_the_outcome_is_in_the_quantity_and_no_unknown_word_is_an_end
R51  test_r51_a_partial_fill_and_a_cancel_leave_exact_sums
     test_r51_dust_that_the_exchange_leaves_of_an_order_is_released
     test_r51_dust_that_an_order_leaves_is_not_counted_as_filled
R52  test_r52_the_cancel_of_an_order_that_is_gone_breaks_no_loop
     test_r52_a_cancel_that_comes_twice_is_one
R53  test_r53_two_accounts_at_one_exchange_are_two
     test_r53_a_sub_accounts_stream_tells_its_own_orders_and_the_main_ones_do_not
R54  test_r54_what_is_free_follows_each_placement_and_cancel
R55  test_r55_plans_at_once_never_reserve_more_than_there_is
R56  test_r56_the_tables_themselves_take_no_order_and_no_fill_twice
R60  test_r60_a_quantity_is_sent_as_it_was_planned
     test_r60_numbers_go_out_exactly_without_an_exponent
     test_r60_a_quantity_goes_out_in_plain_digits
R69  test_r69_a_cancelled_order_is_found_whatever_it_is_called_then
     test_r69_a_lost_order_that_was_renamed_is_not_judged_absent_while_it_may_be_ours
     test_r69_a_cancelled_order_keeps_its_name_whatever_the_exchange_shows
     test_r69_a_cancel_is_told_under_the_orders_name_whoever_asked
"""

import re

_NAME = re.compile(r"\btest(?:_[rf]\d\d)+_\w+")


def table() -> dict[str, list[str]]:
    """Return the names of its tests by regression."""
    found: dict[str, list[str]] = {}
    for line in (__doc__ or "").splitlines():
        if head := re.match(r"R\d\d(?=  )", line):
            found[head[0]] = []
        if found:
            found[list(found)[-1]] += _NAME.findall(line)
    return found
