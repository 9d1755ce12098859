"""The simulators' HTTP server: keep-alive, limits, dropped and truncated answers, a clean stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from tests.simulators.http import (
    BODY_LIMIT_BYTES,
    Drop,
    Handler,
    HttpServer,
    Reply,
    Request,
    raw_response,
)

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def serving(handle: Handler) -> AsyncIterator[HttpServer]:
    server = HttpServer(handle)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def echo(request: Request) -> Reply:
    line = f"{request.method} {request.path} {request.query} {request.headers.get('x-a', '')} "
    return Reply(200, line.encode() + request.body, {"content-type": "text/plain", "x-b": "2"})


async def test_a_request_reaches_the_handler_whole_when_it_has_a_query_and_a_body():
    async with serving(echo) as server, httpx.AsyncClient() as client:
        reply = await client.post(f"{server.url}/a/b/?c=%2F1", content=b"d=e", headers={"X-A": "1"})
    assert (reply.status_code, reply.text) == (200, "POST /a/b/ c=%2F1 1 d=e")
    assert (reply.headers["x-b"], reply.headers["content-length"]) == ("2", "23")


async def test_one_connection_serves_many_requests_when_the_client_keeps_it():
    async with serving(echo) as server:
        host, port = server.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        for number in range(5):
            writer.write(f"GET /{number} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"content-length: 9" in head
            assert await reader.readexactly(9) == f"GET /{number}   ".encode()
        writer.close()
        await writer.wait_closed()


async def test_pipelined_requests_are_answered_in_order_when_sent_at_once():
    async with serving(echo) as server:
        host, port = server.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        last = b"GET /2 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        writer.write(b"GET /1 HTTP/1.1\r\nhost: x\r\n\r\n" + last)
        answer = await reader.read(-1)
        writer.close()
        await writer.wait_closed()
    assert answer.index(b"GET /1") < answer.index(b"GET /2")


async def test_a_body_over_the_limit_is_refused_when_it_arrives():
    async with serving(echo) as server, httpx.AsyncClient() as client:
        fits = await client.post(server.url, content=b"x" * BODY_LIMIT_BYTES)
        too_large = await client.post(server.url, content=b"x" * (BODY_LIMIT_BYTES + 1))
    assert (fits.status_code, too_large.status_code) == (200, 413)


async def test_the_connection_closes_without_an_answer_when_the_handler_drops_it():
    async def drop(request: Request) -> Reply:
        raise Drop

    async with serving(drop) as server, httpx.AsyncClient() as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(server.url)


async def test_the_client_sees_a_cut_body_when_the_handler_drops_after_some_bytes():
    async def cut(request: Request) -> Reply:
        raise Drop(raw_response(Reply(200, b'{"id": 1}'))[:-3])

    async with serving(cut) as server, httpx.AsyncClient() as client:
        with pytest.raises(httpx.RemoteProtocolError, match="received 6 bytes"):
            await client.get(server.url)


async def test_stop_raises_the_handlers_error_when_a_handler_is_broken():
    async def broken(request: Request) -> Reply:
        raise KeyError("oops")

    server = HttpServer(broken)
    await server.start()
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(server.url)
    with pytest.raises(KeyError, match="oops"):
        await server.stop()


async def test_stop_closes_idle_and_waiting_connections_when_clients_are_still_there():
    arrived = asyncio.Event()

    async def wait_forever(request: Request) -> Reply:
        arrived.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    server = HttpServer(wait_forever)
    await server.start()
    async with httpx.AsyncClient() as client:
        pending = asyncio.create_task(client.get(server.url))
        await arrived.wait()
        await server.stop()
        with pytest.raises(httpx.RemoteProtocolError):
            await pending
        with pytest.raises(httpx.ConnectError):
            await client.get(server.url)


async def test_a_malformed_request_is_answered_400_when_it_is_not_http():
    async with serving(echo) as server:
        host, port = server.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"NOT HTTP\r\n\r\n")
        answer = await reader.read(-1)
        writer.close()
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 400")
