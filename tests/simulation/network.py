"""Simulated TCP on loopback: byte streams in order, delays by dice, and what breaks them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from tests.simulation.loop import CURRENT, SimLoop
from tests.simulation.sites import Sites
from tests.simulation.sockets import HOST, RST, End, Endpoint, FakeSocket

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.sim import Trace

# Words per segment, in the order in which they are tried.
WORDS = ("reset before", "reset after", "drop", "silence", "truncate", "late", "split")
_FIRST_PORT, _FIRST_CLIENT_PORT = 20_000, 40_000


class Listener(asyncio.AbstractServer):
    """Accepts connections on one port."""

    def __init__(self, network: Network, port: int, factory: Callable[[], Any]) -> None:
        self._network = network
        self.port = port
        self.factory = factory
        self.context = copy_context()
        self.process = CURRENT.get()
        self.sockets = (FakeSocket((HOST, port), (HOST, 0), network.idle),)

    def close(self) -> None:
        self._network.listeners.pop(self.port, None)

    async def wait_closed(self) -> None:
        pass

    def is_serving(self) -> bool:
        return self._network.listeners.get(self.port) is self

    async def start_serving(self) -> None:
        pass

    async def serve_forever(self) -> None:
        await self._network.loop.create_future()

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._network.loop


class Network:
    """Every connection of a seed.

    Attributes:
        names: of ports, for the names of sites; the server's process otherwise.
        delay_s: the least and the most that a segment usually takes.
        idle: a descriptor that is never readable.
    """

    def __init__(
        self, loop: SimLoop, dice: random.Random, sites: Sites, trace: Trace, idle: int
    ) -> None:
        self.loop = loop
        self._dice = dice
        self._sites = sites
        self._trace = trace
        self._endpoints: dict[Endpoint, None] = {}
        self._hanging: list[asyncio.Future[None]] = []
        self._site_names: dict[str, tuple[tuple[str, str], ...]] = {}
        self._gone: set[int] = set()
        self._ports = _FIRST_PORT
        self._client_ports = _FIRST_CLIENT_PORT
        self.listeners: dict[int, Listener] = {}
        self.names: dict[int, str] = {}
        self.delay_s = (0.0002, 0.02)
        self.idle = idle

    # --- connections ---

    def listen(self, factory: Callable[[], Any], port: int) -> Listener:
        """Listen; 0 takes the next port.

        Raises:
            OSError: the port is taken.
        """
        if port == 0:
            self._ports += 1
            port = self._ports
        if port in self.listeners:
            raise OSError(98, "address already in use")
        self._gone.discard(port)
        listener = self.listeners[port] = Listener(self, port, factory)
        return listener

    async def connect(self, factory: Callable[[], Any], port: int) -> tuple[Endpoint, Any]:
        """Open a connection from the process that asks.

        Raises:
            ConnectionRefusedError: nobody listens, or the dice refuse.
            ConnectionResetError: the server died meanwhile.
        """
        process = CURRENT.get()
        name = self._name(process, port)
        opened: asyncio.Future[None] = self.loop.create_future()
        if port in self._gone or self._hits(f"net {name} connect: hang"):
            self._hanging.append(opened)
            await opened
        delay = self._delay()
        if self._hits(f"net {name} connect: refuse"):
            await asyncio.sleep(delay)
            raise ConnectionRefusedError(111, "refused")
        if port not in self.listeners:
            await asyncio.sleep(delay)
            raise ConnectionRefusedError(111, "nobody listens")
        client = self._pair(process, self.listeners[port], opened)
        self.loop.call_later(2 * delay, _opened, opened)
        try:
            await opened
        except asyncio.CancelledError:
            client.close()
            raise
        protocol = factory()
        client.begin(protocol)
        return client, protocol

    def _pair(
        self, process: Process | None, listener: Listener, opened: asyncio.Future[None]
    ) -> Endpoint:
        self._client_ports += 1
        own, port = self._client_ports, listener.port
        client = Endpoint(self, own, port, process)
        server = Endpoint(self, port, own, listener.process)
        client.context, server.context = copy_context(), listener.context.copy()
        client.peer, server.peer = server, client
        client.connecting = opened
        name = self._name(process, port)
        there, _, back = name.partition("->")
        self._label(client, name)
        self._label(server, f"{back}->{there}")
        self._endpoints[client] = self._endpoints[server] = None
        self._trace.add(f"net {name} opens")

        def accept() -> None:
            if not server.lost:
                server.begin(server.context.run(listener.factory))

        self.loop.call_later(self._delay(), accept, context=listener.context.copy())
        return client

    def _label(self, endpoint: Endpoint, name: str) -> None:
        endpoint.name = name
        sites = self._site_names.get(name)
        if sites is None:
            sites = tuple((f"net {name}: {word}", word) for word in WORDS)
            self._site_names[name] = sites
        endpoint.sites = sites

    def _name(self, process: Process | None, port: int) -> str:
        listener = self.listeners.get(port)
        server = listener.process.kind if listener and listener.process else "exchange"
        client = "world" if process is None else process.kind
        return f"{client}->{self.names.get(port, server)}"

    # --- segments ---

    def carry(self, source: Endpoint, data: bytes) -> None:
        """Carry one segment, or do to it what the dice say."""
        for site, word in source.sites:
            if self._sites.chance(site):
                self._trace.add(site)
                self._go_wrong(source, data, word)
                return
        self.send(source, data)

    def _go_wrong(self, source: Endpoint, data: bytes, word: str) -> None:
        if word == "reset before":
            self.cut(source)
        elif word == "reset after":
            self.send(source, data)
            self.send(source, RST)
            self.send(source.peer, RST)
        elif word == "drop":
            source.mute = True
        elif word == "silence":
            source.mute = source.peer.mute = True
        elif word == "truncate":
            self.send(source, data[: int(len(data) * self._dice.random())])
            self.send(source, RST)
            self.send(source.peer, RST)
        elif word == "late":
            self.send(source, data, self._dice.choice((0.3, 0.8, 1.5, 4.0, 9.0, 20.0)))
        else:
            at = int(len(data) * self._dice.random())
            self.send(source, data[:at])
            self.send(source, data[at:], self._delay())

    def send(self, source: Endpoint, what: bytes | End, extra_s: float = 0.0) -> None:
        """Let something arrive at the other end, unless this end was made mute."""
        if what != b"" and not source.mute:
            source.peer.expect(what, self._delay() + extra_s)

    def cut(self, endpoint: Endpoint) -> None:
        """Reset a connection at both ends; what is on its way is lost."""
        for end in (endpoint, endpoint.peer):
            if not end.lost:
                self.loop.call_later(self._delay(), end.reset, context=end.context)

    def forget(self, endpoint: Endpoint) -> None:
        """It is over."""
        self._endpoints.pop(endpoint, None)

    def end(self) -> None:
        """The seed is over: nothing is open any more."""
        for endpoint in self._endpoints:
            endpoint.end()
        self._endpoints.clear()

    def heal(self) -> None:
        """End every silence: what was silent is reset, who hangs is refused."""
        for endpoint in list(self._endpoints):
            if endpoint.mute:
                endpoint.mute = endpoint.peer.mute = False
                self.cut(endpoint)
        for opened in self._hanging:
            if not opened.done():
                opened.set_exception(ConnectionRefusedError(111, "refused"))
                opened.exception()  # Who waited may be dead: then nobody hears of it.
        self._hanging.clear()
        self._gone.clear()

    def end_of(self, process: Process, goodbye: bool) -> None:
        """Take the sockets of a dead process back; its peers see a reset, or nothing."""
        for port, listener in list(self.listeners.items()):
            if listener.process is process:
                del self.listeners[port]
                if not goodbye:
                    self._gone.add(port)
        for endpoint in list(self._endpoints):
            if endpoint.process is process:
                self.forget(endpoint)
                peer = endpoint.peer
                endpoint.end()
                if not goodbye:
                    peer.mute = True
                elif not peer.lost and not endpoint.mute:
                    self.loop.call_later(self._delay(), peer.reset, context=peer.context)

    def _hits(self, site: str) -> bool:
        hit = self._sites.chance(site)
        if hit:
            self._trace.add(site)
        return hit

    def _delay(self) -> float:
        least, most = self.delay_s
        return least + (most - least) * self._dice.random() ** 4


def _opened(opened: asyncio.Future[None]) -> None:
    if not opened.done():
        opened.set_result(None)
