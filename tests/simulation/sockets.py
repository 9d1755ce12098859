"""One end of a simulated connection, as asyncio and its users see it."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from contextvars import Context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulation.network import Network
    from tests.simulation.process import Process

HOST = "127.0.0.1"


class End:
    """What follows the last byte of a direction: its end, or a reset."""


FIN, RST = End(), End()


class FakeSocket:
    """What libraries ask of a transport's socket."""

    family, type, proto = socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP

    def __init__(self, own: tuple[str, int], peer: tuple[str, int], idle: int) -> None:
        self._own, self._peer = own, peer
        self._idle = idle
        self.endpoint: Endpoint | None = None

    def getsockname(self) -> tuple[str, int]:
        return self._own

    def getpeername(self) -> tuple[str, int]:
        return self._peer

    def fileno(self) -> int:
        """Return a descriptor that is never readable; -1, if there is something to read."""
        return -1 if self.endpoint is not None and self.endpoint.is_readable else self._idle

    def setsockopt(self, *_: Any) -> None:
        pass


class Endpoint(asyncio.Transport):
    """One end of a connection: a transport.

    Attributes:
        name: `client->server`; sites: what can go wrong with a segment, by its site's name.
        mute: what is written here vanishes.
    """

    def __init__(self, network: Network, own: int, peer: int, process: Process | None) -> None:
        sock = FakeSocket((HOST, own), (HOST, peer), network.idle)
        sock.endpoint = self
        # Like asyncio's own: `extra` has the three names.
        super().__init__({"socket": sock, "sockname": sock._own, "peername": sock._peer})
        self._network = network
        self._loop = network.loop
        self._protocol: Any = None
        self._inbox: deque[bytes | End] = deque()
        self._due = 0
        self._paused = True  # Until there is a protocol.
        self._closing = False
        self._ended = False  # We wrote our last byte.
        self._arrives = 0.0
        self.process = process
        self.context: Context
        self.connecting: asyncio.Future[None] | None = None
        self.peer: Endpoint
        self.lost = False
        self.mute = False
        self.name = ""
        self.sites: tuple[tuple[str, str], ...] = ()

    def begin(self, protocol: Any) -> None:
        """Give it its protocol; what arrived before is delivered after."""
        self._protocol = protocol
        protocol.connection_made(self)
        self._paused = False
        self._loop.call_soon(self._pump, context=self.context)

    # --- what arrives ---

    @property
    def is_readable(self) -> bool:
        return self.lost or self._closing or self._due > 0

    def arrive(self) -> None:
        """The next thing in the inbox is there now."""
        self._due += 1
        self._pump()

    def _pump(self) -> None:
        while self._due and not self._paused and not self.lost:
            self._due -= 1
            self._take(self._inbox.popleft())

    def _take(self, what: bytes | End) -> None:
        if what is RST:
            self._lose(ConnectionResetError("the connection was reset"))
        elif self._closing:
            if what is not FIN:  # Data for nobody: the kernel answers with a reset.
                self._network.send(self, RST)
        elif isinstance(what, bytes):
            self._protocol.data_received(what)
        elif not self._protocol.eof_received():
            self.close()

    def reset(self) -> None:
        """Break it from within the network: the protocol hears of it now."""
        if self.connecting is not None and not self.connecting.done():
            self._lose(None)
            self.connecting.set_exception(ConnectionResetError("reset while connecting"))
        else:
            self._lose(ConnectionResetError("the connection was reset"))

    def _lose(self, error: Exception | None) -> None:
        if self.lost:
            return
        self.lost = self._closing = True
        self._network.forget(self)
        if self._protocol is not None:
            self._loop.call_soon(self._protocol.connection_lost, error, context=self.context)

    def end(self) -> None:
        """Its process is dead, or the seed is over: nobody hears of it."""
        self.lost = self._closing = True

    # --- what asyncio asks of a transport ---

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if data and not self._closing and not self._ended and self._is_alive():
            self._network.carry(self, bytes(data))

    def write_eof(self) -> None:
        if not self._ended and not self._closing and self._is_alive():
            self._ended = True
            self._network.send(self, FIN)

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        if self._closing or not self._is_alive():
            return
        self.write_eof()
        self._closing = True
        self._paused = False
        self._loop.call_soon(self._lose, None, context=self.context)

    abort = close

    def _is_alive(self) -> bool:
        return self.process is None or self.process.alive

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return not self._paused

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            self._loop.call_soon(self._pump, context=self.context)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def get_protocol(self) -> Any:
        return self._protocol

    # --- the network's own ---

    def expect(self, what: bytes | End, delay_s: float) -> None:
        """Let something arrive here, after what is on its way."""
        self._arrives = max(self._arrives, self._loop.time() + delay_s)
        self._inbox.append(what)
        self._loop.call_at(self._arrives, self.arrive, context=self.context)
