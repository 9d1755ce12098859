"""How the product is reached: `serve` on HTTP, `stdio` from a desktop client.

`stdio` starts to shake hands at once and builds its backend meanwhile, so this module
imports nothing heavy at its top.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import httpx

from backend.config import SettingError
from backend.domain.errors import ExecError
from backend.domain.money import use_exact_context

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from backend.app import Backend
    from backend.config import Config
    from mcp_server.transport.socket import Deflate

_PROBE_TIMEOUT_S = 1.0
_DRAIN_S = 2


def web_app(backend: Backend, stopping: asyncio.Event | None = None) -> FastAPI:
    """Return the API with MCP over streamable HTTP at `/mcp` and over WebSocket at `/ws`.

    Args:
        stopping: set when the server stops: WebSocket connections then end in order.
    """
    from starlette.routing import Route

    from mcp_server.server import create_server, http_app
    from mcp_server.transport.websocket import websocket_route

    server = create_server(backend.http(), toolsets=backend.desk.config.toolsets, auth=True)
    mcp = http_app(server)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with mcp.lifespan(mcp):
            yield

    backend.api.router.lifespan_context = lifespan
    # A mount at "/" would answer for the API's own 404 and 405 too.
    for path in ("/mcp", "/mcp/"):  # The second redirects to the first.
        backend.api.router.routes.append(Route(path, mcp, include_in_schema=False))
    backend.api.router.routes.append(websocket_route(server, stopping=stopping))
    return backend.api


@dataclass(frozen=True, slots=True)
class Wire:
    """What `serve` speaks besides plain HTTP.

    Attributes:
        ws_deflate: compress WebSocket messages: `auto` (not on this machine), `on`, `off`.
        tls_cert, tls_key: PEM files; with them the server speaks https and wss only.
    """

    ws_deflate: Deflate = "auto"
    tls_cert: Path | None = None
    tls_key: Path | None = None


_PLAIN = Wire()


async def serve(config: Config, host: str, port: int, wire: Wire = _PLAIN) -> None:
    """Serve until SIGINT or SIGTERM; executions under way end first.

    Raises:
        RuntimeError: the address is not this machine's own, or it is in use; or the
            certificate and its key do not fit.
    """
    import uvicorn

    from backend.app import open_backend
    from backend.logs import configure
    from backend.services.execution import ANSWER_WITHIN_S
    from mcp_server.transport.frames import MAX_FRAME_BYTES, PING_EVERY_S, PONG_WITHIN_S
    from mcp_server.transport.socket import socket_class

    if host not in ("127.0.0.1", "::1", "localhost"):
        raise RuntimeError(
            f"serve binds to this machine only, not to {host}: put a TLS proxy in front of it"
        )
    configure(config.log_level or "INFO")
    stopping = asyncio.Event()
    async with open_backend(config, drain_s=ANSWER_WITHIN_S) as backend:
        server = _server(
            backend,
            uvicorn.Config(
                web_app(backend, stopping),
                host=host,
                port=port,
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=_DRAIN_S,
                ws=socket_class(wire.ws_deflate, stopping),
                ws_max_size=MAX_FRAME_BYTES,
                ws_ping_interval=PING_EVERY_S,
                ws_ping_timeout=PONG_WITHIN_S,
                **_tls(wire),
            ),
        )
        listener = _listen(host, port)
        name = f"[{host}]" if ":" in host else host
        scheme = "https" if wire.tls_cert else "http"
        url = f"{scheme}://{name}:{listener.getsockname()[1]}"
        with (
            announced(config.home, url, backend.instance),
            _outliving(signal.SIGTERM, server),
            _outliving(signal.SIGINT, server),
        ):
            doors = "API /api/v1, MCP /mcp and /ws"
            print(f"exec-mcp serves {url} ({doors}); stop with Ctrl-C", flush=True)  # noqa: T201
            await server.serve(sockets=[listener])


def _server(backend: Backend, config: uvicorn.Config) -> uvicorn.Server:
    import uvicorn

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            backend.desk.events.stop()  # Long polls would hold it up.
            await super().shutdown(sockets)

    return Server(config)


def _tls(wire: Wire) -> dict[str, Any]:
    if (wire.tls_cert is None) != (wire.tls_key is None):
        raise RuntimeError("a certificate needs its key: give --tls-cert and --tls-key")
    if wire.tls_cert is None:
        return {}
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(wire.tls_cert, wire.tls_key)
    except OSError as error:  # ssl's own errors are OSErrors too.
        raise RuntimeError(f"cannot use {wire.tls_cert} with its key: {error}") from None
    return {"ssl_certfile": wire.tls_cert, "ssl_keyfile": wire.tls_key}


@contextlib.contextmanager
def _outliving(number: signal.Signals, server: uvicorn.Server) -> Iterator[None]:
    """Let uvicorn stop on a signal without dying of it: it raises it again once it is done.

    What is under way still has to end, and the databases to be closed. A signal that comes
    before uvicorn listens for it counts as well.
    """

    def stop(*_: object) -> None:
        server.should_exit = True

    before = signal.signal(number, stop)
    try:
        yield
    finally:
        signal.signal(number, before)


def _listen(host: str, port: int) -> socket.socket:
    """Return a listening socket: a client that connects from now on is served soon."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where the protocol is named; without it each reply to a
    # kept-alive connection may wait 40 ms for an acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise RuntimeError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    return listener


@contextlib.contextmanager
def announced(home: Path, url: str, instance: str) -> Any:
    """Keep `serve.json` in the home while a server runs there."""
    path = home / "serve.json"
    fresh = home / f"serve.json.{os.getpid()}"
    fresh.touch(mode=0o600)
    fresh.write_text(json.dumps({"url": url, "instance": instance, "pid": os.getpid()}))
    fresh.replace(path)
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError, ValueError, KeyError):
            if json.loads(path.read_text())["instance"] == instance:
                path.unlink()


async def running_server(home: Path) -> str | None:
    """Return the address of a `serve` of this home, if it answers as itself."""
    try:
        told = json.loads((home / "serve.json").read_text())
        url, instance = told["url"], told["instance"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=_PROBE_TIMEOUT_S) as http:
            health = (await http.get(f"{url}/health")).json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return None
    itself = isinstance(health, dict) and isinstance(instance, str)
    return url if itself and health.get("instance") == instance else None


class _Watched(httpx.AsyncHTTPTransport):
    """Remembers that the server is gone, or that another one answers in its place."""

    lost = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            response = await super().handle_async_request(request)
        except httpx.ConnectError:
            self.lost = True
            raise
        self.lost = self.lost or response.status_code == HTTPStatus.UNAUTHORIZED
        return response


class LazyBackend:
    """The backend of a stdio server: found or built while the client shakes hands.

    When a `serve` that was found goes away, the next call looks again, or embeds one.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._stack = contextlib.AsyncExitStack()
        self._ready: asyncio.Task[httpx.AsyncClient] | None = None
        self._road: _Watched | None = None

    async def __call__(self) -> httpx.AsyncClient:
        """Return the HTTP client, waiting for it the first time."""
        lost = self._road is not None and self._road.lost and self._config.backend_url is None
        failed = self._ready is not None and self._ready.done() and bool(self._ready.exception())
        if lost or failed:
            self._ready = self._road = None
        if self._ready is None:
            self._ready = asyncio.get_running_loop().create_task(self._open(), name="backend")
        try:
            return await asyncio.shield(self._ready)
        except ExecError as error:  # The next call tries again; this one reached nobody.
            raise httpx.ConnectError(error.detail) from error

    async def _open(self) -> httpx.AsyncClient:
        url = self._config.backend_url or await running_server(self._config.home)
        if url is not None:
            self._road = _Watched()
            http = httpx.AsyncClient(base_url=url, transport=self._road, trust_env=False)
            return await self._stack.enter_async_context(http)
        # The imports take a while: the loop goes on answering meanwhile.
        app = await asyncio.to_thread(_import_app, self._config.log_level)
        backend: Backend = await self._stack.enter_async_context(app.open_backend(self._config))
        return await self._stack.enter_async_context(backend.http())

    async def close(self) -> None:
        """Finish what is under way and close everything."""
        if self._ready is not None:
            await asyncio.gather(self._ready, return_exceptions=True)
        await self._stack.aclose()


def _import_app(log_level: str | None) -> Any:
    from backend import app
    from backend.logs import configure

    # Desktop clients show what comes on standard error as trouble.
    configure(log_level or "WARNING")
    return app


async def stdio(config: Config) -> None:
    """Serve MCP over stdio until the client closes its end or a signal comes.

    A backend that cannot be opened ends the process, with a sentence on standard error.
    """
    from mcp_server.server import create_server

    use_exact_context()  # Here, not where the backend is built: tool calls inherit it.
    lazy = LazyBackend(config)
    backend = _with_token(config, lazy)
    server = create_server(backend, token=None, toolsets=config.toolsets)
    loop = asyncio.get_running_loop()
    running = loop.create_task(
        server.run_async(transport="stdio", show_banner=False, log_level="WARNING"), name="stdio"
    )
    started = loop.create_task(backend(), name="start backend")
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    running.add_done_callback(lambda _: over.set())
    started.add_done_callback(lambda task: over.set() if task.exception() else None)
    await over.wait()
    await asyncio.wait({started})
    await lazy.close()
    if (failure := started.exception()) or not running.done():
        _leave(failure)


async def stdio_elsewhere(config: Config, url: str) -> None:
    """Pass what a stdio client says on to a server at `url`, until either ends.

    A server that cannot be reached, or lets the caller in no more, ends the process with
    a sentence on standard error.
    """
    from websockets.exceptions import InvalidHandshake

    from mcp_server.transport.bridge import bridge

    if config.token is None:
        raise SettingError("EXEC_MCP_TOKEN is needed: a token of the server to connect to")
    try:
        if await bridge(url, config.token):
            raise ConnectionError("the server ended the connection for good")
    except (OSError, TimeoutError, InvalidHandshake) as error:
        _leave(ConnectionError(f"{url}: {error}"))


def _leave(failure: BaseException | None) -> NoReturn:
    """End the process here and now: a thread waits for input, and nothing can interrupt it."""
    code = 0
    if failure is not None:
        code = 2 if isinstance(failure, SettingError) else 3
        sys.stderr.write(f"exec-mcp: cannot reach the backend: {failure}\n")
    sys.stderr.flush()
    sys.stdout.flush()
    os._exit(code)


def _with_token(
    config: Config, lazy: LazyBackend
) -> Callable[[], Coroutine[Any, Any, httpx.AsyncClient]]:
    """Return the backend with the agent's token on it: `agent.token` is made on first start."""

    async def backend() -> httpx.AsyncClient:
        http = await lazy()
        if "authorization" not in http.headers:
            token = config.token or _own_token(config)
            http.headers["authorization"] = f"Bearer {token}"
        return http

    return backend


def _own_token(config: Config) -> str:
    try:
        return (config.home / "agent.token").read_text().strip()
    except FileNotFoundError:
        raise SettingError(
            "EXEC_MCP_TOKEN is needed: this home has no agent.token of its own"
        ) from None
