"""WebSocket v2: subscriptions, tokens, and what can go wrong with a stream."""

from __future__ import annotations

import json
import re
from collections import Counter, deque
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

from tests.simulators.bitstamp.account_api import TOKEN_LIFE, Token

FRAME_LIMIT_BYTES = 512
SUBSCRIPTION_LIMIT = 1024
PING_INTERVAL_S = 54
SENT_MEMORY = 100_000
_PUBLIC = re.compile(
    r"(live_trades|live_orders|order_book|diff_order_book|detail_order_book|funding_rate)_[a-z0-9-]+"
)
_PRIVATE = re.compile(
    r"private-(my_orders|my_trades|live_trades|live_order_trades)_[a-z0-9-]+-(?P<user>[0-9]+)"
    r"|private-my_(settlements|liquidations|token_settlements)-(?P<owner>[0-9]+)"
)
Note = Callable[[str, dict[str, str]], None]


class Stream:
    """The socket server. `note` is told of every client frame, without its token."""

    def __init__(
        self, clock: Callable[[], datetime], tokens: Mapping[str, Token], note: Note
    ) -> None:
        self.url = ""
        self.sent: deque[dict[str, Any]] = deque(maxlen=SENT_MEMORY)
        self.is_silent = False
        self._clock, self._tokens, self._note = clock, tokens, note
        self._subscriptions: dict[ServerConnection, set[str]] = {}
        self._dropping: Counter[str] = Counter()
        self._doubling: Counter[str] = Counter()
        self._server: Server | None = None

    async def start(self, port: int = 0) -> None:
        """Listen on loopback; `url` is set afterwards."""
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            port,
            max_size=FRAME_LIMIT_BYTES,
            ping_interval=PING_INTERVAL_S,
            ping_timeout=None,
        )
        bound = next(iter(self._server.sockets)).getsockname()[1]
        self.url = f"ws://127.0.0.1:{bound}"

    async def stop(self) -> None:
        """Close every connection and the listener."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    # --- what a test may script ---

    @property
    def connections(self) -> list[set[str]]:
        """The channels of each open connection."""
        return list(self._subscriptions.values())

    def drop_next(self, kind: str, count: int = 1) -> None:
        """The next frames of channels that begin with `kind` are not sent."""
        self._dropping[kind] += count

    def double_next(self, kind: str, count: int = 1) -> None:
        """The next frames of channels that begin with `kind` are sent twice."""
        self._doubling[kind] += count

    def request_reconnect(self) -> None:
        """Ask every client to come back on a new connection."""
        frame = {"event": "bts:request_reconnect", "channel": "", "data": None}
        broadcast(self._subscriptions, _text(frame))

    async def disconnect(self, code: int = 1001) -> None:
        """Close every client connection, with a close frame."""
        for connection in list(self._subscriptions):
            await connection.close(code)

    def abort(self) -> None:
        """Cut every client connection, without a close frame."""
        for connection in list(self._subscriptions):
            connection.transport.abort()

    # --- sending ---

    def send(self, channel: str, frame: dict[str, Any]) -> None:
        """Send a frame to those who subscribed to its channel."""
        listening = [c for c, channels in self._subscriptions.items() if channel in channels]
        if self.is_silent or not listening or _spend(self._dropping, channel):
            return
        times = 2 if _spend(self._doubling, channel) else 1
        for _ in range(times):
            self.sent.append(frame)
            broadcast(listening, _text(frame))

    async def _serve(self, connection: ServerConnection) -> None:
        self._subscriptions[connection] = set()
        try:
            async for message in connection:
                for frame in self._answer(connection, message):
                    await connection.send(_text(frame))
        except ConnectionClosed:
            pass  # the client went away, or a frame was too long: 1009 is sent by then
        finally:
            del self._subscriptions[connection]

    def _answer(self, connection: ServerConnection, message: str | bytes) -> list[dict[str, Any]]:
        try:
            frame = json.loads(message)
        except ValueError:
            return [_error("Incorrect JSON format.")]
        event = frame.get("event") if isinstance(frame, dict) else None
        data = frame.get("data") if isinstance(frame, dict) else None
        channel = data.get("channel") if isinstance(data, dict) else None
        self._note(str(event), {"channel": str(channel)} if channel else {})
        if event == "bts:heartbeat":
            return [{"event": event, "channel": "", "data": {"status": "success"}}]
        if event not in ("bts:subscribe", "bts:unsubscribe") or not isinstance(data, dict):
            return [_error("Bad subscription string.")]
        if not isinstance(channel, str):
            return [_error("Bad subscription string.")]
        return self._change(connection, str(event), channel, str(data.get("auth", "")))

    def _change(
        self, connection: ServerConnection, event: str, channel: str, token: str
    ) -> list[dict[str, Any]]:
        private = _PRIVATE.fullmatch(channel)
        if not private and not _PUBLIC.fullmatch(channel):
            return [_error("Invalid channel provided.")]
        channels = self._subscriptions[connection]
        if event == "bts:unsubscribe":
            channels.discard(channel)
            return [_ack("bts:unsubscription_succeeded", channel)]
        if private and not self._is_allowed(token, private["user"] or private["owner"]):
            return [_error("Connection is unauthorized.", 4009)]
        channels.add(channel)
        if len(channels) > SUBSCRIPTION_LIMIT:
            connection.transport.abort()
            return []
        return [_ack("bts:subscription_succeeded", channel)]

    def _is_allowed(self, text: str, user_id: str) -> bool:
        token = self._tokens.get(text)
        if token is None or str(token.user_id) != user_id:
            return False
        return self._clock() - token.made < TOKEN_LIFE


def _spend(script: Counter[str], channel: str) -> bool:
    for kind in script:
        if channel.startswith(kind) and script[kind] > 0:
            script[kind] -= 1
            return True
    return False


def _ack(event: str, channel: str) -> dict[str, Any]:
    return {"event": event, "channel": channel, "data": {}}


def _error(message: str, code: int | None = None) -> dict[str, Any]:
    return {"event": "bts:error", "channel": "", "data": {"code": code, "message": message}}


def _text(frame: dict[str, Any]) -> str:
    return json.dumps(frame, separators=(",", ":"))
