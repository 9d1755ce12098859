"""A raw Bitstamp client for the simulator's own tests: httpx, websockets and a signature."""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from types import TracebackType
from typing import Any
from urllib.parse import urlencode

import httpx
from websockets.asyncio.client import ClientConnection, connect

from backend.testing.clock import FrozenClock
from tests.simulators.bitstamp import Account, Simulator
from tests.simulators.bitstamp.wire import milliseconds

FORM = "application/x-www-form-urlencoded"
START = datetime(2026, 9, 15, 8, 8, 14, 223000, tzinfo=UTC)


def nonce() -> str:
    return str(uuid.uuid4())


class Client:
    """Signs and sends for one account."""

    def __init__(self, sim: Simulator, account: Account) -> None:
        self.sim, self.account = sim, account
        self.http = httpx.AsyncClient(base_url=sim.rest_url, trust_env=False)
        self.host = sim.rest_url.removeprefix("http://")
        self.extra: dict[str, str] = {}
        self._last: httpx.Response | None = None

    @property
    def last(self) -> httpx.Response:
        """The last response."""
        assert self._last is not None
        return self._last

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.http.aclose()

    def headers(self, method: str, path: str, query: str, body: str) -> dict[str, str]:
        account = self.account
        content_type = {"Content-Type": FORM} if body else {}
        stamp, once = str(milliseconds(self.sim.clock())), nonce()
        parts = (
            f"BITSTAMP {account.key}{method}{self.host}{path}{query}",
            f"{content_type.get('Content-Type', '')}{once}{stamp}v2{body}",
        )
        digest = hmac.new(account.secret.encode(), "".join(parts).encode(), hashlib.sha256)
        return {
            "X-Auth": f"BITSTAMP {account.key}",
            "X-Auth-Nonce": once,
            "X-Auth-Timestamp": stamp,
            "X-Auth-Version": "v2",
            "X-Auth-Signature": digest.hexdigest(),
            **content_type,
            **self.extra,
        }

    async def send(
        self, method: str, path: str, query: str, body: str, headers: dict[str, str]
    ) -> Any:
        self._last = await self.http.request(
            method, f"/api/v2/{path}{query}", content=body.encode(), headers=headers
        )
        is_json = self.last.headers["content-type"] == "application/json"
        return self.last.json() if is_json else self.last.text

    async def post(self, path: str, **params: Any) -> Any:
        body = urlencode(params)
        headers = self.headers("POST", f"/api/v2/{path}", "", body)
        return await self.send("POST", path, "", body, headers)

    async def get(self, path: str, query: str = "") -> Any:
        headers = self.headers("GET", f"/api/v2/{path}", query, "")
        return await self.send("GET", path, query, "", headers)

    async def public(self, path: str, query: str = "") -> Any:
        return await self.send("GET", path, query, "", {})

    async def status(self, **names: Any) -> Any:
        return await self.post("order_status/", **names)

    async def balances(self) -> dict[str, Any]:
        """(total, available, reserved) by currency."""
        rows = await self.post("account_balances/")
        return {
            row["currency"]: (
                Decimal(row["total"]),
                Decimal(row["available"]),
                Decimal(row["reserved"]),
            )
            for row in rows
        }

    def verifies(self, headers: dict[str, str]) -> bool:
        """Whether the last response carries the signature that its request's headers call for."""
        head = headers["X-Auth-Nonce"] + headers["X-Auth-Timestamp"]
        text = (head + self.last.headers["content-type"]).encode() + self.last.content
        expected = hmac.new(self.account.secret.encode(), text, hashlib.sha256).hexdigest()
        return bool(self.last.headers.get("x-server-auth-signature") == expected)


class Socket:
    """A socket whose channels are subscribed one by one."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def ask(self, frame: Any) -> Any:
        await self.connection.send(frame if isinstance(frame, str) else json.dumps(frame))
        return await self.next()

    async def next(self) -> Any:
        return json.loads(await self.connection.recv())

    async def subscribe(self, channel: str, token: str = "") -> Any:
        data = {"channel": channel} | ({"auth": token} if token else {})
        return await self.ask({"event": "bts:subscribe", "data": data})

    async def drain(self) -> list[Any]:
        """Every frame sent before now: a heartbeat's answer comes behind them."""
        await self.connection.send(json.dumps({"event": "bts:heartbeat"}))
        frames = []
        while (frame := await self.next())["event"] != "bts:heartbeat":
            frames.append(frame)
        return frames


@asynccontextmanager
async def socket(sim: Simulator) -> AsyncIterator[Socket]:
    async with connect(sim.ws_url, proxy=None) as connection:
        yield Socket(connection)


@asynccontextmanager
async def trading(**options: Any) -> AsyncIterator[tuple[Simulator, Client, FrozenClock]]:
    """A running simulator, and an account with 100,000 USD and 2 BTC.

    BTC/USD quotes 49,990 to 50,000, ten a side and level; fees 0.3 % maker, 0.4 % taker.
    """
    clock = FrozenClock(START)
    async with Simulator(clock, **options) as sim:
        sim.set_touch("btcusd", Decimal(49_990), Decimal(50_000))
        account = sim.add_account({"usd": Decimal(100_000), "btc": Decimal(2)})
        async with Client(sim, account) as client:
            yield sim, client, clock


async def subscribe(line: Socket, client: Client, *kinds: str) -> None:
    """Subscribe to private channels of btcusd, with one token."""
    token = await client.post("websockets_token/")
    for kind in kinds:
        channel = f"private-{kind}_btcusd-{token['user_id']}"
        ack = await line.subscribe(channel, token["token"])
        assert ack == {"event": "bts:subscription_succeeded", "channel": channel, "data": {}}


def summary(frames: list[Any]) -> list[tuple[str, str, str]]:
    """(event, traded, remaining) of order events; (trade, quantity, price) of trades."""
    rows = []
    for frame in frames:
        data = frame["data"]
        if frame["event"] == "trade":
            rows.append(("trade", data["amount"], data["price"]))
        else:
            rows.append((frame["event"], data["amount_traded"], data["amount_str"]))
    return rows


def code_of(answer: Any) -> str:
    """The code of an error body, whichever envelope it is in."""
    return str(answer.get("code") or answer.get("response_code"))
