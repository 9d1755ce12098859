"""Raw clients for the tests of the Binance simulator: they sign by hand and parse nothing away."""

import asyncio
import base64
import hashlib
import hmac
import itertools
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from websockets.asyncio.client import ClientConnection, connect

from .binance import Account, Key, Simulator

START = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
PATIENCE_S = 5


class Clock:
    """A clock that moves only when told."""

    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> datetime:
        return self.at

    def ms(self) -> int:
        return int(self.at.timestamp() * 1000)

    def move(self, **by: float) -> None:
        self.at += timedelta(**by)


def sign(key: Account | Key, payload: str) -> str:
    if key.secret:
        return hmac.new(key.secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
    private = load_pem_private_key(key.private_key.encode(), None)
    if not isinstance(private, Ed25519PrivateKey):
        raise TypeError("not an Ed25519 key")
    return base64.b64encode(private.sign(payload.encode())).decode()


def key_name(key: Account | Key) -> str:
    return key.key if isinstance(key, Account) else key.name


class Rest:
    """Signed and unsigned REST calls of one key."""

    def __init__(self, sim: Simulator, clock: Clock, key: Account | Key | None = None) -> None:
        self._sim, self._clock, self._key = sim, clock, key
        self._http = httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def raw(self, method: str, target: str, body: str = "", **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self._http.request(
            method, self._sim.rest_url + target, content=body, headers=named
        )

    async def get(self, path: str, **params: Any) -> httpx.Response:
        query = urlencode(params, quote_via=quote)
        return await self.raw("GET", f"{path}?{query}" if query else path)

    async def signed(self, method: str, path: str, **params: Any) -> httpx.Response:
        if self._key is None:
            raise ValueError("this client has no key")
        params.setdefault("timestamp", self._clock.ms())
        query = urlencode(params, quote_via=quote)
        signature = quote(sign(self._key, query), safe="")
        target = f"{path}?{query}&signature={signature}"
        return await self.raw(method, target, x_mbx_apikey=key_name(self._key))

    async def order(self, symbol: str, side: str, type_: str, **params: Any) -> httpx.Response:
        named = {"symbol": symbol, "side": side, "type": type_, **params}
        return await self.signed("POST", "/api/v3/order", **named)

    async def limit(
        self, side: str, quantity: str, price: str, symbol: str = "BTCUSDT", **params: Any
    ) -> httpx.Response:
        named = {"timeInForce": "GTC", "quantity": quantity, "price": price, **params}
        return await self.order(symbol, side, "LIMIT", **named)

    async def query(self, symbol: str = "BTCUSDT", **params: Any) -> httpx.Response:
        return await self.signed("GET", "/api/v3/order", symbol=symbol, **params)

    async def cancel(self, symbol: str = "BTCUSDT", **params: Any) -> httpx.Response:
        return await self.signed("DELETE", "/api/v3/order", symbol=symbol, **params)


class Socket:
    """A WebSocket: requests answered by id, everything else kept as events in order."""

    def __init__(self, connection: ClientConnection, clock: Clock, key: Account | Key | None):
        self.connection, self._clock, self._key = connection, clock, key
        self._ids = itertools.count(1)
        self._events: deque[Any] = deque()

    async def ask(self, method: str, **params: Any) -> Any:
        """Send a request unsigned and wait for its answer."""
        request_id = next(self._ids)
        message = {"id": request_id, "method": method, "params": params}
        await self.connection.send(json.dumps(message))
        return await self._answer(request_id)

    async def control(self, method: str, *params: Any) -> Any:
        """Send a control frame of a market stream."""
        request_id = next(self._ids)
        message = {"id": request_id, "method": method, "params": list(params)}
        await self.connection.send(json.dumps(message))
        return await self._answer(request_id)

    async def signed(self, method: str, **params: Any) -> Any:
        if self._key is None:
            raise ValueError("this client has no key")
        params |= {"apiKey": key_name(self._key)}
        params.setdefault("timestamp", self._clock.ms())
        payload = "&".join(f"{name}={value}" for name, value in sorted(params.items()))
        return await self.ask(method, **params, signature=sign(self._key, payload))

    async def event(self) -> Any:
        """The next message that answers no request."""
        return self._events.popleft() if self._events else await self.read()

    async def events_so_far(self) -> list[Any]:
        """Every event sent before now: an answered ping stands behind them."""
        await self.ask("ping")
        found = list(self._events)
        self._events.clear()
        return found

    async def read(self) -> Any:
        return json.loads(await asyncio.wait_for(self.connection.recv(), PATIENCE_S))

    async def _answer(self, request_id: int) -> Any:
        while True:
            message = await self.read()
            if message.get("id") == request_id or message.get("id", 0) is None:
                return message
            self._events.append(message)


@asynccontextmanager
async def socket(url: str, clock: Clock, key: Account | Key | None = None) -> AsyncIterator[Socket]:
    async with connect(url, proxy=None, compression=None, close_timeout=1) as connection:
        yield Socket(connection, clock, key)


@asynccontextmanager
async def trader(
    balances: dict[str, str] | None = None, key_type: str = "hmac", **options: Any
) -> AsyncIterator[tuple[Simulator, Clock, Account, Rest]]:
    """A simulator with a touch on BTCUSDT, one account and its REST client."""
    clock = Clock()
    environment = options.pop("environment", "testnet")
    async with Simulator(clock, environment=environment) as sim:
        given = {"USDT": "100000", "BTC": "10"} if balances is None else balances
        funds = {asset: Decimal(value) for asset, value in given.items()}
        account = sim.add_account(funds, key_type, **options)
        sim.set_touch("BTCUSDT", "100.00", "101.00")
        async with Rest(sim, clock, account) as rest:
            yield sim, clock, account, rest


def refusal(reply: httpx.Response) -> tuple[int, int, str]:
    """Status, code and text of an error answer."""
    body = reply.json()
    return reply.status_code, body["code"], body["msg"]


async def balances(rest: Rest) -> dict[str, tuple[str, str]]:
    """Free and locked of every asset, as text."""
    body = (await rest.signed("GET", "/api/v3/account")).json()
    return {row["asset"]: (row["free"], row["locked"]) for row in body["balances"]}
