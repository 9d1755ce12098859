"""The wire to an exchange: one attempt each, and what an error proves about it.

No retry, no redirect, no proxy from the environment. An error's text never shows the
request: it may carry a key or a signature.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.protocol import State

from backend.domain.address import is_loopback
from backend.domain.errors import ExchangeUnavailable, OutcomeUnknown

__all__ = [
    "ANSWER_S",
    "CONNECT_S",
    "ORDER_CONNECT_S",
    "Answer",
    "http_client",
    "is_loopback",
    "open_socket",
    "request",
    "send_text",
]

CONNECT_S = 3.0
# For orders: who stops them waits no longer than this for one that is on its way.
ORDER_CONNECT_S = 0.5
# Longer than the exchanges' own limit, so that their word comes before our silence.
ANSWER_S = 12.0
_FRAME_LIMIT = 4 * 1024 * 1024

# Raised before the first byte of a request is written, and never after.
_NEVER_LEFT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_NOT_OPENED = (OSError, TimeoutError, InvalidHandshake, InvalidURI, ConnectionClosed, EOFError)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the body as sent by the server, header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@cache
def _trusted() -> ssl.SSLContext:
    # Reading the certificates takes longer than many a request: once per process.
    return httpx.create_ssl_context(trust_env=False)


async def _goes_nowhere(response: httpx.Response) -> None:
    # httpx reads the address even when it may not follow, and an odd one is an error of its own.
    response.headers.pop("location", None)


def http_client(
    base_url: str, answer_s: float = ANSWER_S, connect_s: float = CONNECT_S
) -> httpx.AsyncClient:
    """Return a client for one exchange: HTTP/1.1, kept alive, one attempt per request."""
    return httpx.AsyncClient(
        base_url=base_url,
        timeout=httpx.Timeout(answer_s, connect=connect_s, pool=connect_s),
        event_hooks={"response": [_goes_nowhere]},
        limits=httpx.Limits(max_connections=20, max_keepalive_connections=10, keepalive_expiry=30),
        verify=_trusted(),
        follow_redirects=False,
        trust_env=False,
        headers={"User-Agent": "exec-mcp"},
    )


async def request(
    client: httpx.AsyncClient,
    method: str,
    target: str,
    *,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send one request, once.

    Args:
        target: path and query exactly as they go out: nothing is encoded again.

    Raises:
        ExchangeUnavailable: no byte was written.
        OutcomeUnknown: it may have arrived.
    """
    if client.is_closed:  # The account's key was replaced meanwhile.
        raise ExchangeUnavailable("the connection was closed; nothing was sent")
    url = client.base_url.copy_with(raw_path=target.encode("ascii"))
    outgoing = client.build_request(method, url, content=body or None, headers=headers)
    try:
        async with asyncio.timeout(_whole_s(client.timeout)):
            response = await client.send(outgoing)
        return Answer(response.status_code, response.headers, response.content)
    except _NEVER_LEFT as error:
        why = f"the exchange was not reached ({type(error).__name__}); nothing was sent"
        failure: ExchangeUnavailable | OutcomeUnknown = ExchangeUnavailable(why)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        failure = OutcomeUnknown(f"no answer came ({type(error).__name__})")
    # Raised out here, so that httpx's error, which holds the request, does not hang on it.
    raise failure


def _whole_s(parts: httpx.Timeout) -> float:
    """Return how long a request may take in all: httpx's limits are of single reads."""
    return sum(part or ANSWER_S for part in (parts.pool, parts.connect, parts.read))


class _Straight(connect):
    """A handshake that goes where it was sent, and nowhere else."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def open_socket(url: str, **options: Any) -> ClientConnection:
    """Open a WebSocket. It answers pings by itself and sends its own.

    Raises:
        ExchangeUnavailable: it did not open.
    """
    try:
        return await _Straight(
            url,
            proxy=None,
            open_timeout=CONNECT_S,
            close_timeout=1,
            ping_interval=20,
            ping_timeout=20,
            max_size=_FRAME_LIMIT,
            user_agent_header="exec-mcp",
            **options,
        )
    except (*_NOT_OPENED, ssl.SSLError) as error:
        raise ExchangeUnavailable(f"the socket did not open ({type(error).__name__})") from None


async def send_text(socket: ClientConnection, text: str) -> None:
    """Write one frame.

    Raises:
        ExchangeUnavailable: the socket was closed before: no byte was written.
        OutcomeUnknown: it broke meanwhile.
    """
    if socket.state is not State.OPEN:
        raise ExchangeUnavailable("the socket was closed; nothing was sent")
    try:
        await socket.send(text)
    except (ConnectionClosed, OSError) as error:
        raise OutcomeUnknown(f"the socket broke ({type(error).__name__})") from None
