"""Frames of the private streams that are spoilt on the line: nothing that filled is lost."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given

from tests.fuzz.relay import behind_relay, check_stream, spoils
from tests.properties.running import examples


@pytest.mark.parametrize("name", ["binance", "bitstamp"])
def test_a_spoilt_stream_is_opened_again_and_every_fill_is_known(name: str, tmp_path: Path) -> None:
    loop = asyncio.new_event_loop()
    side, relay = loop.run_until_complete(behind_relay(name, tmp_path))

    @examples(12)
    @given(spoiled=spoils)
    def all_is_known(spoiled):
        loop.run_until_complete(check_stream(side, relay, spoiled))

    try:
        all_is_known()
    finally:
        close = side.desk.close if name == "binance" else side.desk.stop
        loop.run_until_complete(close())
        loop.run_until_complete(relay.stop())
        loop.close()
