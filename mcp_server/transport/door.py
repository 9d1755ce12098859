"""Who may open a WebSocket, and how much one token may do: checked before the upgrade.

| refused                                   | HTTP | code                 |
|-------------------------------------------|------|----------------------|
| a Host that is not this server's          | 421  | `host_not_allowed`   |
| an Origin that is not allowed             | 403  | `origin_not_allowed` |
| no `mcp` among the subprotocols           | 400  | `invalid_request`    |
| no token, a bad one, or one in the query  | 401  | `unauthorised`       |
| too many connections; the server stops    | 429, 503 | `rate_limited`, `backend_unreachable` |
"""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus

from fastmcp.server.auth import AccessToken, TokenVerifier
from fastmcp.server.http import HostOriginGuardMiddleware
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from mcp_server.transport.frames import SUBPROTOCOL


@dataclass(frozen=True, slots=True)
class Limits:
    """What one server and one token may do.

    Attributes:
        connections, per_token: how many at once.
        calls: requests of one connection that may be under way at once.
        listens: subscriptions of one connection that may be open at once.
        per_s: messages of one token per second; twice as many may come at once.
        malformed: frames of one connection that were no message, before it is closed.
        recheck_s: between two looks whether the token still stands.
        stall_s: how long one frame may take to be read by the client.
        drain_s: how long a stop waits for calls under way.
    """

    connections: int = 2048
    per_token: int = 1024
    calls: int = 64
    listens: int = 16
    per_s: int = 500
    malformed: int = 20
    recheck_s: float = 5.0
    stall_s: float = 10.0
    drain_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why no connection is opened."""

    status: HTTPStatus
    code: str
    detail: str

    def response(self) -> Response:
        """Return it as a problem, as the HTTP API answers."""
        body = {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": self.status.value,
            "code": self.code,
            "detail": self.detail,
        }
        headers = {"WWW-Authenticate": "Bearer"} if self.status == 401 else {}
        text = json.dumps(body, separators=(",", ":"))
        return Response(text, self.status, headers, "application/problem+json")


@dataclass(slots=True)
class Bucket:
    """How many messages a token may send now."""

    left: float
    at: float

    def take(self, per_s: int) -> bool:
        """Count one message, and say whether it may pass."""
        now = asyncio.get_running_loop().time()
        self.left = min(per_s * 2.0, self.left + (now - self.at) * per_s)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


class Door:
    """Lets callers in, and counts them.

    Args:
        verifier: says whose a token is.
        stopping: set when nobody is let in any more.
        allowed_hosts, allowed_origins: besides this machine's own names.
    """

    def __init__(
        self,
        verifier: TokenVerifier,
        limits: Limits,
        stopping: asyncio.Event,
        allowed_hosts: Sequence[str] | None = None,
        allowed_origins: Sequence[str] | None = None,
    ) -> None:
        self.verifier = verifier
        self.limits = limits
        self.stopping = stopping
        self._open: Counter[str] = Counter()
        self._buckets: dict[str, Bucket] = {}
        self._guard = HostOriginGuardMiddleware(
            _passed, allowed_hosts, allowed_origins, mode="strict"
        )

    async def admit(self, ws: WebSocket) -> AccessToken | Refusal:
        """Return whose connection this will be, or why there will be none."""
        status = await self._guarded(ws.scope)
        if status == HTTPStatus.MISDIRECTED_REQUEST:
            return Refusal(status, "host_not_allowed", "the Host is not one of this server's")
        if status != HTTPStatus.OK:
            return Refusal(status, "origin_not_allowed", "no page of this Origin may connect")
        if "token" in ws.query_params or "access_token" in ws.query_params:
            detail = "a token belongs in the Authorization header, never in an address"
            return Refusal(HTTPStatus.UNAUTHORIZED, "unauthorised", detail)
        access = await self._whose(ws)
        if access is None:
            detail = "send a valid token: Authorization: Bearer …"
            return Refusal(HTTPStatus.UNAUTHORIZED, "unauthorised", detail)
        if SUBPROTOCOL not in ws.scope["subprotocols"]:
            detail = f"offer the subprotocol {SUBPROTOCOL!r} (Sec-WebSocket-Protocol)"
            return Refusal(HTTPStatus.BAD_REQUEST, "invalid_request", detail)
        return self._room(access.client_id) or access

    def _room(self, principal: str) -> Refusal | None:
        if self.stopping.is_set():
            detail = "the server is stopping; connect again in a moment"
            return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "backend_unreachable", detail)
        mine, all_of_them = self._open[principal], self._open.total()
        if mine >= self.limits.per_token or all_of_them >= self.limits.connections:
            detail = f"{mine} connections of this token are open; close some first"
            return Refusal(HTTPStatus.TOO_MANY_REQUESTS, "rate_limited", detail)
        return None

    @contextmanager
    def counted(self, principal: str) -> Iterator[Bucket]:
        """Count a connection for as long as it lasts."""
        self._open[principal] += 1
        most = self.limits.per_s * 2.0
        now = asyncio.get_running_loop().time()
        try:
            yield self._buckets.setdefault(principal, Bucket(most, now))
        finally:
            self._open[principal] -= 1
            if not self._open[principal]:
                del self._open[principal]
                del self._buckets[principal]

    async def _whose(self, ws: WebSocket) -> AccessToken | None:
        kind, _, token = ws.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token.strip():
            return None
        return await self.verifier.verify_token(token.strip())

    async def _guarded(self, scope: Scope) -> HTTPStatus:
        """Ask the guard of streamable HTTP. It looks at HTTP scopes only: it is shown one."""
        told: list[int] = []

        async def note(message: Message) -> None:
            if message["type"] == "http.response.start":
                told.append(message["status"])

        scheme = "https" if scope["scheme"] == "wss" else "http"
        shown = {**scope, "type": "http", "method": "GET", "scheme": scheme}
        await self._guard(shown, _nothing, note)
        return HTTPStatus(told[0])


async def _passed(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": HTTPStatus.OK.value})


async def _nothing() -> Message:
    raise RuntimeError("the guard reads no body")
