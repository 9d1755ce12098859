"""REST: one attempt each, signed where a key is given."""

from datetime import datetime

import httpx
import msgspec

from backend import wire
from backend.domain.clock import Clock
from backend.domain.errors import ExchangeUnavailable
from backend.exchanges.binance.answers import Answer, from_rest, not_told, read, understood
from backend.exchanges.binance.endpoints import TIME, Endpoint
from backend.exchanges.binance.limits import Limits
from backend.exchanges.binance.signing import Params, Signer, rest_query, signed_query
from backend.exchanges.binance.times import from_ms

_FORM = "application/x-www-form-urlencoded"


class ServerTime(msgspec.Struct):
    """The answer to `time`."""

    server_time: int = msgspec.field(name="serverTime")


class Rest:
    """One client of one environment; with a signer, one account's."""

    def __init__(
        self,
        url: str,
        clock: Clock,
        limits: Limits,
        answer_s: float = wire.ANSWER_S,
        connect_s: float = wire.CONNECT_S,
    ) -> None:
        self._url = url
        self._clock = clock
        self._limits = limits
        self._answer_s = answer_s
        self._connect_s = connect_s
        self._client: httpx.AsyncClient | None = None
        self._closed = False
        self.used_at: datetime | None = None

    async def ask(self, endpoint: Endpoint, params: Params | None = None) -> Answer:
        """Ask a public question.

        Raises:
            RateLimited, ExchangeUnavailable: nothing was sent.
            OutcomeUnknown: no answer came.
        """
        self._limits.take(endpoint)
        query = f"?{rest_query(params)}" if params else ""
        return await self._send(endpoint.method, endpoint.path + query)

    async def ask_signed(self, endpoint: Endpoint, params: Params, signer: Signer) -> Answer:
        """Ask as the account; `params` hold the timestamp. Raises as `ask`."""
        self._limits.take(endpoint)
        return await self.send_signed(endpoint, params, signer)

    async def send_signed(self, endpoint: Endpoint, params: Params, signer: Signer) -> Answer:
        """Send what has its room already.

        Raises:
            ExchangeUnavailable: no byte was written.
            OutcomeUnknown: it may have arrived.
        """
        query = signed_query(signer, params)
        headers = {"X-MBX-APIKEY": signer.key.reveal()}
        if endpoint.method == "POST":
            headers["Content-Type"] = _FORM
            return await self._send("POST", endpoint.path, headers, query.encode("ascii"))
        return await self._send(endpoint.method, f"{endpoint.path}?{query}", headers)

    async def time(self) -> datetime:
        """Return the exchange's time. Raises as `ask`."""
        answer = await self.ask(TIME)
        if not answer.good:
            raise not_told(answer)
        told = read(answer.body, ServerTime).server_time
        with understood():
            return from_ms(told)

    async def close(self) -> None:
        """Let go of connections: nothing is sent any more."""
        self._closed = True
        if self._client is not None:
            await self._client.aclose()

    async def _send(
        self,
        method: str,
        target: str,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        if self._closed:  # The account's key was replaced meanwhile.
            raise ExchangeUnavailable("the connection was closed; nothing was sent")
        if self._client is None:
            self._client = wire.http_client(self._url, self._answer_s, self._connect_s)
        told = await wire.request(self._client, method, target, headers=headers, body=body)
        now = self._clock()
        self.used_at = now
        self._limits.learn_headers(told.headers)
        answer = from_rest(told, now)
        self._limits.obey(answer)
        return answer
