"""How an order or a cancel leaves: over the WebSocket API, or REST, never both."""

import asyncio
from datetime import datetime, timedelta

from backend import wire
from backend.domain.clock import Clock
from backend.domain.errors import ExchangeUnavailable, RateLimited
from backend.exchanges._budget import Purpose
from backend.exchanges.binance.answers import Answer
from backend.exchanges.binance.api_socket import ApiSocket, open_api_socket
from backend.exchanges.binance.endpoints import Endpoint
from backend.exchanges.binance.limits import Limits
from backend.exchanges.binance.rest import Rest
from backend.exchanges.binance.signing import Params, Signer, signed_params

# A kept connection older than this may be closed by the other side just now.
_WARM = timedelta(seconds=20)
# A road that is closed is not waited for at every order.
_TRIED_AGAIN_AFTER = timedelta(seconds=60)


class Sender:
    """The two roads of one account's orders. Which one is decided before the first byte."""

    def __init__(
        self, url: str, over_socket: bool, rest: Rest, signer: Signer, clock: Clock, limits: Limits
    ) -> None:
        self._url = url
        self._over_socket = over_socket
        self._rest = rest
        self._signer = signer
        self._clock = clock
        self._limits = limits
        self._sockets: list[ApiSocket] = []
        self._opening = asyncio.Lock()
        self._next_try: datetime | None = None
        self.answer_s = wire.ANSWER_S

    async def make_ready(self) -> None:
        """Open the socket where it is not, or else warm the second road.

        Raises:
            ExchangeUnavailable, OutcomeUnknown, RateLimited: neither is ready.
        """
        if not await self._socket_is_ready():
            await self._warm_rest()

    async def send(self, endpoint: Endpoint, params: Params) -> Answer:
        """Send one signed request, once; its room is taken.

        Raises:
            ExchangeUnavailable: no byte was written.
            OutcomeUnknown: it may have arrived.
        """
        socket = self._socket
        if socket is None:
            return await self._rest.send_signed(endpoint, params, self._signer)
        return await socket.ask(endpoint.socket, signed_params(self._signer, params))

    async def close(self) -> None:
        """End every connection, one that is just being opened too."""
        self._over_socket = False
        async with self._opening:
            for socket in self._sockets:
                await socket.close()

    @property
    def _socket(self) -> ApiSocket | None:
        newest = self._sockets[-1] if self._sockets else None
        return newest if newest is not None and newest.is_open else None

    async def _socket_is_ready(self) -> bool:
        if not self._over_socket or self._socket is not None:
            return self._over_socket
        async with self._opening:
            if self._socket is not None:
                return True
            too_soon = self._next_try is not None and self._clock() < self._next_try
            if too_soon or not self._over_socket:
                return False
            try:
                self._limits.take_socket(Purpose.ORDER)
                opened = await open_api_socket(
                    self._url, self._clock, self._limits, answer_s=self.answer_s
                )
            except (ExchangeUnavailable, RateLimited):
                self._next_try = self._clock() + _TRIED_AGAIN_AFTER
                return False
            # A retired one may still have answers to come.
            self._sockets = [old for old in self._sockets if not old.ended] + [opened]
            return True

    async def _warm_rest(self) -> None:
        used = self._rest.used_at
        if used is None or self._clock() - used >= _WARM:
            await self._rest.time()
