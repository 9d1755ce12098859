"""What exchanges say: an answer that is not what it should be is never taken for another one."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz import answers, frames
from tests.fuzz.mutations import changes
from tests.properties.running import examples


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


@examples(120)
@given(**answers.QUESTIONS)
def test_a_question_ends_in_an_answer_of_use_or_in_a_documented_error(sides, name, method, change):
    answers.check_look_up(sides, name, method, change)


@examples(80)
@given(**answers.ORDERS)
def test_an_order_is_refused_only_where_the_answer_says_so_and_found_afterwards(
    sides, name, change, status, far
):
    answers.check_submit(sides, name, change, status, far)


@examples(200)
@given(change=changes, exchange=st.sampled_from(["binance", "bitstamp"]))
def test_rules_are_read_as_they_stand_or_refused_whole(change, exchange):
    frames.check_rules(change, exchange)


@examples(100)
@given(change=changes)
def test_an_accounts_own_rules_are_read_as_they_stand_or_refused(change):
    frames.check_own_rules(change)


@examples(150)
@given(first=changes, second=changes)
def test_an_event_of_binance_is_told_or_ends_the_stream(loop, first, second):
    frames.check_binance_events(loop, first, second)


@examples(150)
@given(first=changes, second=changes, replay=changes)
def test_a_frame_of_bitstamp_is_told_or_asks_for_a_look(loop, first, second, replay):
    frames.check_bitstamp_events(loop, first, second, replay)


@examples(100)
@given(change=changes)
def test_a_public_price_has_two_sides_that_do_not_cross_or_is_none(loop, change):
    frames.check_prices(loop, change)
