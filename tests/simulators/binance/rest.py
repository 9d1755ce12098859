"""REST: routes, headers, bodies; what HTTP makes of an outcome."""

import json
from typing import Any

from tests.simulators.http import Drop, HttpServer, Reply, Request, raw_response

from .errors import ApiError
from .faults import Html, Lost, Truncated
from .gateway import Gateway, Signed
from .operations import LIVE_ROUTES, OPERATIONS, ROUTES
from .params import parse
from .signing import rest_payload
from .world import World

JSON = {"content-type": "application/json;charset=UTF-8"}
HTML = {"content-type": "text/html"}
_TIME_KEYS = frozenset(
    {"time", "serverTime", "transactTime", "workingTime", "updateTime"}
    | {"closeTime", "openTime", "timestamp", "T"}
)
_DEAD = "/api/v3/userDataStream"
_RATE_CODES = (-1003, -1015)  # their data is for the WebSocket API; REST says it in a header


class Rest:
    """The HTTP side of the exchange."""

    def __init__(self, world: World, gateway: Gateway) -> None:
        self._world, self._gateway = world, gateway
        self.server = HttpServer(self._handle)

    async def _handle(self, request: Request) -> Reply:
        try:
            return self._answer(request)
        except ApiError as error:
            return self._error(error)
        except Html as page:
            return html(page.status)
        except Lost:
            raise Drop from None
        except Truncated as cut:
            whole = raw_response(Reply(200, dumps(cut.result), JSON))
            raise Drop(whole[: len(whole) - len(dumps(cut.result)) // 2 - 1]) from None

    def _answer(self, request: Request) -> Reply:
        routes = {**ROUTES, **LIVE_ROUTES} if self._world.environment == "live" else ROUTES
        name = routes.get((request.method, request.path))
        if name is None:
            return self._no_route(request)
        raw = parse(request.query, request.body)
        payload, signature = rest_payload(request.query, request.body)
        proof = Signed(request.headers.get("x-mbx-apikey"), payload, signature)
        place = (request.method, request.path)
        result, call = self._gateway.run(OPERATIONS[name], raw, proof, "rest", place)
        if request.headers.get("x-mbx-time-unit", "").upper() == "MICROSECOND":
            result = _in_microseconds(result)
        headers = {**JSON, **self._world.limits.headers(), **call.headers}
        return Reply(200, dumps(result), headers)

    def _no_route(self, request: Request) -> Reply:
        self._gateway.log((request.method, request.path), {})
        if request.path == _DEAD:
            return html(410)
        return html(404)

    def _error(self, error: ApiError) -> Reply:
        body = error.body()
        if error.code in _RATE_CODES:
            body.pop("data", None)
        headers = {**JSON, **self._world.limits.headers(), **error.headers}
        return Reply(error.status, dumps(body), headers)


def dumps(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def html(status: int) -> Reply:
    """A page as a proxy in front of the exchange writes it."""
    title = {403: "Forbidden", 404: "Not Found", 410: "Gone", 502: "Bad Gateway"}
    name = f"{status} {title.get(status, 'Error')}"
    head = f"<html><head><title>{name}</title></head>"
    page = f"{head}<body><center><h1>{name}</h1></center></body></html>"
    return Reply(status, page.encode(), HTML)


def _in_microseconds(value: Any) -> Any:
    if isinstance(value, list):
        return [_in_microseconds(item) for item in value]
    if isinstance(value, dict):
        return {k: _microsecond(k, item) for k, item in value.items()}
    return value


def _microsecond(key: str, value: Any) -> Any:
    if key in _TIME_KEYS and isinstance(value, int):
        return value * 1000 if value > 0 else value
    return _in_microseconds(value)
