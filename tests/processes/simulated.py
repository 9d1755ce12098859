"""Binance and Bitstamp in a process of their own, told and asked over its line.

| command                        | answer                                                  |
|--------------------------------|---------------------------------------------------------|
| `do`: a word of `ExchangeSide` | null                                                    |
| `books`                        | orders, balances and order requests received, by exchange|
| `end`                          | null, or what the simulators themselves did wrong       |
"""

import inspect
import json
import time
from collections.abc import Mapping
from typing import Any

from tests.matrix.side import ExchangeSide
from tests.matrix.sides import SIDES
from tests.processes.shared_clock import SharedClock
from tests.processes.zygote import Line

_NO_LIMIT = 10**9


class _Stamped(list[Any]):
    """Requests in the order they arrived, each with the machine's monotonic time in ns."""

    def __init__(self) -> None:
        super().__init__()
        self.at: list[int] = []

    def append(self, seen: Any) -> None:
        self.at.append(time.monotonic_ns())
        super().append(seen)


async def obey(line: Line, clock: SharedClock) -> None:
    """Tell what an account there needs, then do as told until the driver goes."""
    sides = {name: SIDES[name](clock) for name in ("binance", "bitstamp")}
    requests = {name: _Stamped() for name in sides}
    for name, side in sides.items():
        await side.start()
        _open_the_gates(side, requests[name])
    line.say({name: _about(side) for name, side in sides.items()})
    heard = await line.heard()
    while told := await heard.readline():
        line.say(await _answer(sides, requests, json.loads(told)))


def _open_the_gates(side: Any, requests: _Stamped) -> None:
    """Let as many requests in as come, and note when."""
    simulator = side.sim
    if side.name == "binance":
        for kind in ("REQUEST_WEIGHT", "RAW_REQUESTS", "CONNECTIONS", "ORDERS"):
            simulator.set_limit(kind, _NO_LIMIT)
        simulator.world.requests = requests
    else:
        simulator.limits.per_second = simulator.limits.per_ten_minutes = _NO_LIMIT
        simulator.requests = requests


def _about(side: ExchangeSide) -> dict[str, Any]:
    return {
        "addresses": side.addresses,
        "identifier": side.identifier,
        "credentials": side.credentials,
        "currency": side.payment,
        "symbol": side.symbol,
    }


async def _answer(
    sides: Mapping[str, ExchangeSide], requests: Mapping[str, _Stamped], command: dict[str, Any]
) -> Any:
    if "do" in command:
        done = getattr(sides[command["at"]], command["do"])(*command.get("with", ()))
        if inspect.isawaitable(done):
            await done
        return {}
    if "end" in command:
        wrong = [f"{name}: {error!r}" for name in sides if (error := await _end(sides[name]))]
        return {"wrong": wrong}
    return {name: _books(side, requests[name]) for name, side in sides.items()}


async def _end(side: ExchangeSide) -> BaseException | None:
    try:
        await side.stop()
    except Exception as error:  # noqa: BLE001  Whatever a handler raised: it is told.
        return error
    return None


def _books(side: ExchangeSide, requests: _Stamped) -> dict[str, Any]:
    return {
        "orders": [[o.client_order_id, str(o.filled), o.live] for o in side.theirs()],
        "balances": {currency: str(total) for currency, total in side.balances().items()},
        "received": [
            [client_order_id, at]
            for seen, at in zip(requests, requests.at, strict=True)
            if (client_order_id := _placed(seen))
        ],
    }


def _placed(seen: Any) -> str | None:
    """Return the client order id of a request to place an order, None of any other."""
    if (seen.method, seen.path) in (("POST", "/api/v3/order"), ("WS", "order.place")):
        return str(seen.params["newClientOrderId"])
    if seen.path.startswith(("/api/v2/buy/", "/api/v2/sell/")):
        return str(seen.params["client_order_id"])
    return None
