"""The wire: what an error proves, and that nothing goes anywhere else."""

import asyncio
import contextlib

import pytest
from websockets.asyncio.server import serve

from backend import wire
from backend.domain.errors import ExchangeUnavailable, OutcomeUnknown
from tests.simulators.http import Drop, HttpServer, Reply, Request

pytestmark = pytest.mark.anyio


class Door:
    """A server that answers as told and keeps what it got."""

    def __init__(self, answer: Reply | Exception) -> None:
        self.answer = answer
        self.got: list[Request] = []

    async def __call__(self, request: Request) -> Reply:
        self.got.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@contextlib.asynccontextmanager
async def asked(answer, **options):
    door = Door(answer)
    server = HttpServer(door)
    await server.start()
    client = wire.http_client(server.url, **options)
    try:
        yield client, door
    finally:
        await client.aclose()
        await server.stop()


ODD = ["https:login", "mailto:x", "javascript:1", "about:blank", "data:,", "HTTP:x", "//", "/else"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ODD)
async def test_a_redirect_is_an_answer_wherever_it_points(status, location):
    async with asked(Reply(status, b"", {"location": location})) as (client, door):
        answer = await wire.request(client, "POST", "/order", body=b"x")

    assert answer.status == status
    assert [request.path for request in door.got] == ["/order"]


@pytest.mark.parametrize("after", [b"", b"HTTP/1.1 200 OK\r\ncontent-le"])
async def test_a_connection_that_breaks_after_the_request_proves_nothing(after):
    async with asked(Drop(after)) as (client, door):
        with pytest.raises(OutcomeUnknown) as caught:
            await wire.request(client, "POST", "/order", body=b"x")

    assert len(door.got) == 1
    assert caught.value.__context__ is None


async def test_nobody_there_proves_that_nothing_left():
    server = HttpServer(Door(Reply(200, b"")))
    await server.start()
    url = server.url
    await server.stop()
    client = wire.http_client(url)

    with pytest.raises(ExchangeUnavailable, match="nothing was sent"):
        await wire.request(client, "POST", "/order", body=b"x")
    await client.aclose()


async def test_a_closed_client_sends_nothing():
    async with asked(Reply(200, b"")) as (client, door):
        await client.aclose()
        with pytest.raises(ExchangeUnavailable, match="nothing was sent"):
            await wire.request(client, "POST", "/order", body=b"x")

    assert door.got == []


async def test_an_answer_that_drips_ends_at_the_deadline():
    async def drip(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while not reader.at_eof():
                writer.write(b"x")
                await writer.drain()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(1), 0.05)
        writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = wire.http_client(f"http://127.0.0.1:{port}", answer_s=0.2, connect_s=0.05)

    with pytest.raises(OutcomeUnknown):
        await wire.request(client, "GET", "/")

    await client.aclose()
    server.close()
    await server.wait_closed()


async def test_a_handshake_goes_where_it_was_sent_and_nowhere_else():
    reached = []

    async def talk(connection):
        reached.append(connection)

    async with serve(talk, "127.0.0.1", 0) as other:
        elsewhere = f"ws://127.0.0.1:{other.sockets[0].getsockname()[1]}/"
        async with asked(Reply(302, b"", {"location": elsewhere})) as (client, door):
            url = str(client.base_url).replace("http", "ws", 1)
            with pytest.raises(ExchangeUnavailable):
                await wire.open_socket(url)

    assert len(door.got) == 1
    assert reached == []
