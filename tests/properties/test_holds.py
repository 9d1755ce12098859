"""The algebra of holds, in the store that keeps them."""

import asyncio
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.properties import holds
from tests.properties.running import PROPERTIES


def test_whatever_is_posted_and_voided_a_hold_adds_up(tmp_path: Path) -> None:
    books = holds.open_books(tmp_path / "books.db")
    loop = asyncio.new_event_loop()

    @PROPERTIES
    @given(reserved=st.decimals(min_value=0, max_value=10**9, places=8), life=holds.steps)
    def adds_up(reserved, life):
        loop.run_until_complete(holds.check_holds(books, reserved, life))

    try:
        adds_up()
    finally:
        books.close()
        loop.close()
