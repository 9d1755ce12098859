"""Numbers, JSON and times as strangers write them."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from tests.properties import texts
from tests.properties.running import PROPERTIES


@PROPERTIES
@given(text=texts.nasty_numbers)
def test_only_plain_digits_above_zero_are_a_number(text: str) -> None:
    texts.check_parse(text)


@PROPERTIES
@given(number=texts.amounts)
def test_an_amount_comes_back_from_its_row(number: Decimal) -> None:
    texts.check_stored(number.quantize(Decimal("1e-20")))


@PROPERTIES
@given(document=texts.documents)
def test_json_comes_back_with_every_digit(document: object) -> None:
    texts.check_json(document)


@PROPERTIES
@given(
    body=st.binary(max_size=60) | st.text('[]{}":,01e.-nulltrue \\ud8', max_size=40).map(str.encode)
)
def test_strange_bytes_are_strict_json_or_refused(body: bytes) -> None:
    texts.check_strict(body)


@PROPERTIES
@given(moment=texts.moments | texts.changes)
def test_a_stamp_names_its_instant_on_both_sides_of_a_change_of_the_clocks(moment) -> None:
    texts.check_moment(moment)
