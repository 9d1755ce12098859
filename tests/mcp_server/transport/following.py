"""A client of either era that follows resources, message by message, over any transport."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal

from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCNotification, JSONRPCRequest, JSONRPCResponse

from mcp_server.transport.client import websocket_client

Era = Literal["auto", "legacy"]

ERAS: tuple[Era, ...] = ("auto", "legacy")
WHO = {"name": "test", "version": "1"}
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": WHO,
}
_HANDSHAKE = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": WHO}


class Line:
    """Both ends of a transport, and what was heard.

    Attributes:
        frames: every message that came, in order.
        updates: the updates among them: the resource and its event.
    """

    def __init__(self, heard: Any, told: Any, era: Era) -> None:
        self.era = era
        self.frames: list[Any] = []
        self.updates: list[tuple[str, dict[str, Any]]] = []
        self._heard = heard
        self._told = told
        self._number = 0
        self._came = asyncio.Event()

    async def read(self) -> None:
        async for message in self._heard:
            told = message.message
            self.frames.append(told)
            params = getattr(told, "params", None) or {}
            if getattr(told, "method", "") == "notifications/resources/updated":
                self.updates.append((params["uri"], params["_meta"]["exec-mcp/event"]))
            self._came.set()

    async def greet(self) -> None:
        if self.era == "legacy":
            await self.answer_to(await self.ask("initialize", **_HANDSHAKE))
            hello = JSONRPCNotification(jsonrpc="2.0", method="notifications/initialized")
            await self._told.send(SessionMessage(hello))

    async def ask(self, method: str, **params: Any) -> int:
        """Send a request and return its id."""
        self._number += 1
        if self.era == "auto":
            params["_meta"] = {**ENVELOPE, **params.get("_meta", {})}
        told = JSONRPCRequest(jsonrpc="2.0", id=self._number, method=method, params=params)
        await self._told.send(SessionMessage(told))
        return self._number

    async def answer_to(self, number: int) -> Any:
        """Return the answer to a request, once it is there."""
        await self.until(lambda: [f for f in self.frames if getattr(f, "id", None) == number])
        return next(f for f in self.frames if getattr(f, "id", None) == number)

    async def follow(self, *uris: str, after: Mapping[str, str] | None = None) -> list[str]:
        """Follow resources, and return those that were honoured (legacy does not tell)."""
        meta = {"_meta": {"exec-mcp/resume": dict(after)}} if after else {}
        if self.era == "legacy":
            for uri in uris:
                answer = await self.answer_to(
                    await self.ask("resources/subscribe", uri=uri, **meta)
                )
                assert isinstance(answer, JSONRPCResponse), answer
            return list(uris)
        seen = len(self.frames)
        wanted = {"resourceSubscriptions": list(uris)}
        await self.ask("subscriptions/listen", notifications=wanted, **meta)
        await self.until(lambda: self.frames[seen:])
        acknowledged = self.frames[seen]
        assert acknowledged.method == "notifications/subscriptions/acknowledged"
        return list(acknowledged.params["notifications"].get("resourceSubscriptions", ()))

    async def leave(self, uri: str) -> None:
        """Follow it no more: the listen request is cancelled, or the resource unsubscribed."""
        if self.era == "legacy":
            await self.answer_to(await self.ask("resources/unsubscribe", uri=uri))
            return
        params = {"requestId": self._number, "_meta": ENVELOPE}
        told = JSONRPCNotification(jsonrpc="2.0", method="notifications/cancelled", params=params)
        await self._told.send(SessionMessage(told))

    async def events(self, count: int) -> list[tuple[str, str]]:
        """Wait for that many updates and return what each of them is."""
        await self.until(lambda: len(self.updates) >= count)
        return [(uri, event["event"]) for uri, event in self.updates]

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self._came.clear()
                await self._came.wait()


@asynccontextmanager
async def line(heard: Any, told: Any, era: Era) -> AsyncIterator[Line]:
    """Speak over two streams."""
    one = Line(heard, told, era)
    reading = asyncio.create_task(one.read())
    try:
        await one.greet()
        yield one
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


@asynccontextmanager
async def over_websocket(url: str, token: str, era: Era, **options: Any) -> AsyncIterator[Line]:
    """Speak over a WebSocket that comes back by itself."""
    async with (
        websocket_client(url, token, **options) as (heard, told),
        line(heard, told, era) as one,
    ):
        yield one
