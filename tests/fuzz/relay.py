"""A line between an exchange's socket and ours that spoils what is told on it."""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from backend.domain.errors import ExchangeUnavailable, OutcomeUnknown
from backend.exchanges import Context
from tests.exchanges import bitstamp_bench
from tests.exchanges.catalogue import TinyCatalogue
from tests.exchanges.scripted import ScriptedPrices
from tests.fuzz.answers import Side, open_binance
from tests.simulators.binance.wsapi import PATH

_PATIENCE_S = 30.0
_TOO_LONG = 4 * 1024 * 1024 + 1
_NO_JSON = ["", "{", "nonsense", '{"event":', "null", "[]", "7", '"x"', "\x00", "[" * 5000]
# Half a frame: a text of 100 bytes is announced, and ten come.
_HALF = b"\x81\x64" + b"0123456789"
_NO_FRAME = b"\xff\xff\xff\xff\xff\xff"

spoils = st.lists(
    st.sampled_from(
        ["pass", "pass", "twice", "cut", "binary", "garbled", "long", "half", "bytes", "close"]
        + [f"text {number}" for number in range(len(_NO_JSON))]
    ),
    min_size=1,
    max_size=4,
)


class Relay:
    """Passes frames on; each piece of news meets the next word of `spoiled`."""

    upstream = ""

    def __init__(self) -> None:
        self.spoiled: list[str] = []
        self._server: Server | None = None

    async def start(self) -> str:
        """Listen, and return the address without a path."""
        self._server = await serve(self._converse, "127.0.0.1", 0, compression=None)
        return f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _converse(self, ours: ServerConnection) -> None:
        path = ours.request.path if ours.request else "/"
        with suppress(ConnectionClosed, OSError, InvalidHandshake, RuntimeError):
            async with connect(self.upstream + path, proxy=None, compression=None) as theirs:
                up = asyncio.create_task(_pump(ours, theirs))
                try:
                    async for message in theirs:
                        await self._pass(ours, message)
                finally:
                    up.cancel()
                    await asyncio.gather(up, return_exceptions=True)

    async def _pass(self, ours: ServerConnection, message: str | bytes) -> None:
        told = message if isinstance(message, str) else ""
        is_news = "executionReport" in told or '"channel":"private-' in told.replace(" ", "")
        is_news = is_news and "bts:" not in told
        word = self.spoiled.pop(0) if is_news and self.spoiled else "pass"
        if word in ("pass", "twice"):
            for _ in range(2 if word == "twice" else 1):
                await ours.send(message)
        elif word.startswith("text "):
            await ours.send(_NO_JSON[int(word[5:])])
        elif word == "binary":
            await ours.send(os.urandom(20))
        elif word == "garbled":
            await ours.send(told[: len(told) // 2])
        elif word == "long":
            await ours.send(" " * _TOO_LONG)
        elif word in ("half", "bytes"):
            ours.transport.write(_HALF if word == "half" else _NO_FRAME)
            ours.transport.close()
        elif word == "cut":
            ours.transport.abort()
        else:
            await ours.close(1011)


async def behind_relay(name: str, home: Path) -> tuple[Side, Relay]:
    """Open an exchange whose private stream comes over a relay."""
    relay = Relay()
    address = await relay.start()
    if name == "binance":
        side = await open_binance(home, address + PATH)
        relay.upstream = side.desk.sim.ws_api_url.removesuffix(PATH)
        return side, relay
    desk = await bitstamp_bench.Desk(home).start()
    await desk.catalogue.close()
    addresses = {"bitstamp": (desk.sim.rest_url, address)}
    context = Context(home, desk.clock, ScriptedPrices(desk.clock), simulators=addresses)
    desk.catalogue = TinyCatalogue(context)
    await desk.catalogue.load("bitstamp", "testnet")
    relay.upstream = desk.sim.ws_url
    return Side("bitstamp", desk, await desk.connect(), "BTC/USD"), relay


async def _pump(source: Any, sink: Any) -> None:
    with suppress(ConnectionClosed):
        async for message in source:
            await sink.send(message)


class Follower:
    """Follows a private stream as the keeper does: after each gap it looks everything up."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self.filled: dict[str, dict[str, Any]] = {}
        self.looked = 0
        self._news = asyncio.Event()

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for what only news can bring.

        Raises:
            TimeoutError: it did not become so.
        """
        async with asyncio.timeout(_PATIENCE_S):
            while not is_so():
                self._news.clear()
                await self._news.wait()

    async def follow(self) -> None:
        while True:
            with suppress(ExchangeUnavailable, OutcomeUnknown):
                async for event in self._side.exchange.events():
                    if event.report is None:
                        await self._look()
                    elif self._note(event.report):
                        await self._look()  # It tells of more than of the fills.

    async def _look(self) -> None:
        for name in list(self.filled):
            report = await self._side.exchange.find(name, self._side.symbol, None)
            if report is not None:
                self._note(report)
        self.looked += 1
        self._news.set()

    def _note(self, report: Any) -> bool:
        """Keep its fills; say whether there are more."""
        known = self.filled.get(report.client_order_id)
        if known is None:
            return False
        for fill in report.fills:
            before = known.setdefault(fill.exchange_fill_id, fill)
            assert (before.quantity, before.price) == (fill.quantity, fill.price)
        self._news.set()
        return bool(sum(fill.quantity for fill in known.values()) < report.filled_quantity)


async def check_stream(side: Side, relay: Relay, spoiled: list[str]) -> None:
    """Two orders fill while their news is spoiled: every fill is known in the end."""
    follower = Follower(side)
    following = asyncio.create_task(follower.follow())
    try:
        side.desk.clock.advance(700)
        await follower.until(lambda: follower.looked > 0)
        await side.exchange.prepare()
        relay.spoiled = list(spoiled)
        orders = [side.order(quantity="0.001") for _ in range(2)]
        for order in orders:
            follower.filled[order.client_order_id] = {}
            await side.exchange.prepare()
            await side.exchange.submit(order)
        await follower.until(lambda: all(_whole(follower, order) for order in orders))
    finally:
        relay.spoiled = []
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


def _whole(follower: Follower, order: Any) -> bool:
    fills = follower.filled[order.client_order_id].values()
    return bool(sum(fill.quantity for fill in fills) == order.terms.quantity)
