"""One order through our adapter ÷ the same order sent bare: what the adapter itself costs.

The order is limit IOC far from the market: it ends at once and leaves nothing behind.
"""

import hashlib
import hmac
import json
import os
import statistics
import subprocess
import time
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

import httpx
import websockets

from backend.domain.order import Order, OrderTerms, OrderType, Side, TimeInForce
from backend.domain.secret import Secret
from backend.exchanges import AccountKey, Context, Exchange, ExchangeModule, binance, bitstamp
from backend.prices import open_prices
from tests.bench.measure import ROOT, Figure, Step, interleaved
from tests.bench.simulated import now, simulators
from tests.exchanges.catalogue import TinyCatalogue

RUNS, ORDERS = 5, 200
_SCRIPT = ROOT / "tests" / "clients" / "scripts" / "ccxt_order_ms.py"


async def figures(folder: Path) -> AsyncIterator[Figure]:
    """Yield one figure per exchange and road: the median of five runs, in turns."""
    async with simulators() as told:
        async with (
            Ours(folder, "binance", told) as ours,
            websockets.connect(told["binance"]["addresses"][1], compression=None) as bare,
        ):
            taken = await _median(_submit(ours, "BTC/USDT"), _bare_place(bare, told["binance"]))
            yield Figure("Binance order over the WebSocket API", *taken, "ms", 2.0)
            if (theirs := _ccxt_ms(told["binance"])) is not None:
                yield Figure("the same ÷ CCXT's create_order", taken[0], theirs, "ms", 0.5)
        for name, symbol, bare_post in (
            ("binance", "BTC/USDT", _bare_binance),
            ("bitstamp", "BTC/USD", _bare_bitstamp),
        ):
            async with (
                Ours(folder, name, told, **_REST.get(name, {})) as ours,
                httpx.AsyncClient(base_url=told[name]["addresses"][0]) as http,
            ):
                taken = await _median(_submit(ours, symbol), bare_post(http, told[name]))
                yield Figure(f"{name.capitalize()} order over REST", *taken, "ms", 1.3)


_MODULES = cast(dict[str, ExchangeModule], {"binance": binance, "bitstamp": bitstamp})
_REST = {"binance": {"orders_over": "rest"}}


async def _median(ours: Step, bare: Step) -> tuple[float, float]:
    runs = [await interleaved(ours, bare, ORDERS) for _ in range(RUNS)]
    return statistics.median(r[0] for r in runs), statistics.median(r[1] for r in runs)


class Ours:
    """Our connection to one of the simulated accounts."""

    def __init__(self, folder: Path, name: str, told: Any, **settings: str) -> None:
        self._name, self._told = name, told[name]
        prices = open_prices("simulated", now)
        addresses = {name: tuple(self._told["addresses"])}
        context = Context(folder, now, prices, simulators=addresses)
        self._catalogue = TinyCatalogue(context)
        secrets = {"api_key": Secret(self._told["key"]), "api_secret": Secret(self._told["secret"])}
        identifier = self._told["identifier"]
        self._key = AccountKey(name, identifier, "testnet", "USD", settings, secrets)

    async def __aenter__(self) -> Exchange:
        await self._catalogue.load(self._name, "testnet")
        module = _MODULES[self._name]
        self._exchange = await module.connect(self._key, self._catalogue.context)
        await self._exchange.prepare()
        return self._exchange

    async def __aexit__(self, *error: object) -> None:
        await self._exchange.close()
        await self._catalogue.close()


def an_order(symbol: str, sign_time: Any, validity: timedelta) -> Order:
    """Return a limit IOC order that cannot fill."""
    terms = OrderTerms(
        symbol,
        Side.BUY,
        Decimal("0.01"),
        OrderType.LIMIT,
        Decimal(40_000),
        None,
        TimeInForce.IOC,
    )
    until = sign_time + validity
    name = f"trd-{uuid.uuid4().hex[:20]}"
    return Order(name, terms, Decimal(40_000), Decimal(40_000), sign_time, until, None)


def _submit(exchange: Exchange, symbol: str) -> Step:
    async def step() -> None:
        moment = await exchange.now()
        await exchange.submit(an_order(symbol, moment, exchange.capabilities.validity))

    return step


def _binance_params() -> dict[str, str]:
    return {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "IOC",
        "quantity": "0.01",
        "price": "40000",
        "newOrderRespType": "FULL",
        "newClientOrderId": f"trd-{uuid.uuid4().hex[:20]}",
        "recvWindow": "3000",
        "timestamp": str(time.time_ns() // 1_000_000),
    }


def _signature(secret: str, payload: str) -> str:
    return hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()


def _bare_place(socket: Any, told: Any) -> Step:
    async def step() -> None:
        params = {**_binance_params(), "apiKey": told["key"]}
        payload = "&".join(f"{k}={params[k]}" for k in sorted(params))
        params["signature"] = _signature(told["secret"], payload)
        frame = {"id": uuid.uuid4().hex, "method": "order.place", "params": params}
        await socket.send(json.dumps(frame))
        answer = json.loads(await socket.recv())
        assert answer["status"] == 200, answer

    return step


def _bare_binance(http: httpx.AsyncClient, told: Any) -> Step:
    async def step() -> None:
        query = urlencode(_binance_params())
        query += f"&signature={_signature(told['secret'], query)}"
        headers = {"X-MBX-APIKEY": told["key"]}
        answer = await http.post(f"/api/v3/order?{query}", headers=headers)
        assert answer.json()["status"] == "EXPIRED", answer.text

    return step


def _bare_bitstamp(http: httpx.AsyncClient, told: Any) -> Step:
    host, path = told["addresses"][0].removeprefix("http://"), "/api/v2/buy/btcusd/"

    async def step() -> None:
        wanted = {"amount": "0.01", "price": "40000", "ioc_order": "True"}
        body = urlencode({**wanted, "client_order_id": f"trd-{uuid.uuid4().hex[:20]}"})
        form = "application/x-www-form-urlencoded"
        nonce, stamp = str(uuid.uuid4()), str(time.time_ns() // 1_000_000)
        auth = f"BITSTAMP {told['key']}"
        message = f"{auth}POST{host}{path}{form}{nonce}{stamp}v2{body}"
        headers = {
            "X-Auth": auth,
            "X-Auth-Signature": _signature(told["secret"], message),
            "X-Auth-Nonce": nonce,
            "X-Auth-Timestamp": stamp,
            "X-Auth-Version": "v2",
            "Content-Type": form,
        }
        answer = await http.post(path, content=body, headers=headers)
        assert "id" in answer.json(), answer.text

    return step


def _ccxt_ms(told: Any) -> float | None:
    """Return the median milliseconds of CCXT's create_order; None without its interpreter."""
    python = os.environ.get(
        "EXEC_CLIENTS_PYTHON", str(ROOT / ".venv" / "clients" / "bin" / "python")
    )
    if not Path(python).exists():
        return None
    runs = [
        subprocess.run(
            [python, str(_SCRIPT)],
            input=json.dumps({**told, "orders": ORDERS}),
            capture_output=True,
            text=True,
            check=True,
        )
        for _ in range(RUNS)
    ]
    medians: list[float] = [json.loads(run.stdout)["median_ms"] for run in runs]
    return statistics.median(medians)
