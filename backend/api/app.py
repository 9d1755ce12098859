"""The FastAPI application: every area's routes behind one door."""

import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from backend import api, plugins
from backend.api.auth import RateLimiter, authorise
from backend.api.fields import parse_fields
from backend.api.http import (
    Answer,
    BodyRefused,
    Call,
    Route,
    json_response,
    on_bug,
    on_exec_error,
    on_gone,
    on_http_exception,
    problem_response,
    read_body,
    read_query,
)
from backend.domain.errors import CODES, ExecError
from backend.domain.trade import is_trade_id
from backend.services import Desk, storage
from backend.services.portfolio import Cache

PREFIX = "/api/v1"


_OBJECT = {"type": "object"}
_REFUSALS = (400, 401, 403, 404, 413, 415, 429, 500, 503)
_PROBLEM = {"$ref": "#/components/schemas/Problem"}


@dataclass(slots=True)
class Metrics:
    """What Prometheus scrapes; one registry per application, so that tests do not share."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    requests: Counter = field(init=False)
    seconds: Histogram = field(init=False)
    tasks: Gauge = field(init=False)
    children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        labels = ("method", "route", "status")
        self.requests = Counter(
            "exec_mcp_requests", "HTTP requests", labels, registry=self.registry
        )
        self.seconds = Histogram(
            "exec_mcp_request_seconds", "Time to answer", ("route",), registry=self.registry
        )
        self.tasks = Gauge("exec_mcp_running_tasks", "Executions under way", registry=self.registry)

    def count(self, route: Route, status: int, took_s: float) -> None:
        """Count one answer."""
        key = (route.method, route.path, status)
        if key not in self.children:  # Most never happen: making all of them slows the start.
            self.children[key] = self.requests.labels(*key), self.seconds.labels(route.path)
        counter, seconds = self.children[key]
        counter.inc()
        seconds.observe(took_s)


@dataclass(frozen=True, slots=True)
class Door:
    """What every endpoint shares."""

    desk: Desk
    key: bytes = field(repr=False)
    instance: str
    limiter: RateLimiter
    cache: Cache = field(default_factory=Cache)
    metrics: Metrics = field(default_factory=Metrics)


class _Api(FastAPI):
    """FastAPI, whose document has the schemas that our routes refer to."""

    def __init__(self, codes: list[str], **given: Any) -> None:
        super().__init__(**given)
        self._components = {
            "schemas": {"Problem": _problem_schema(codes)},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        }

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document, built when it is first asked for."""
        return {**super().openapi(), "components": self._components}


def all_routes() -> list[Route]:
    """Return the routes of every area: trading first, as the router looks in this order."""
    areas = plugins.load(sys.modules[api.__name__])
    names = sorted(areas, key=lambda name: (name != "trading", name))
    return [route for name in names for route in getattr(areas[name], "ROUTES", ())]


def create_api(desk: Desk, key: bytes, instance: str) -> FastAPI:
    """Return the HTTP API of a desk.

    Args:
        key: what token hashes are keyed with.
        instance: this start's random name, told by `/health`.
    """
    app = _Api(
        sorted({*CODES, *desk.checks}),
        title="exec-mcp",
        version=version("exec-mcp"),
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    door = Door(desk, key, instance, RateLimiter(desk.config.rate_limit_per_s))
    app.state.door = door
    app.router.routes.extend(_endpoints())
    for prefix in ("", PREFIX):
        app.add_route(f"{prefix}/health", _health(door), ["GET"], include_in_schema=False)
        app.add_route(f"{prefix}/metrics", _metrics(door), ["GET"], include_in_schema=False)
    app.add_exception_handler(ExecError, on_exec_error)
    app.add_exception_handler(HTTPException, on_http_exception)
    app.add_exception_handler(ClientDisconnect, on_gone)
    app.add_exception_handler(Exception, on_bug)
    return app


@cache
def _endpoints() -> list[BaseRoute]:
    """Return the routes as FastAPI serves them: making them takes longer than all else here.

    They hold nothing of a desk: an application's door is asked for with each request.
    """
    router = APIRouter()
    for route in all_routes():
        router.add_api_route(
            PREFIX + route.path,
            _endpoint(route),
            methods=[route.method],
            status_code=route.statuses[0],
            summary=route.summary,
            name=route.handle.__name__,
            response_class=Response,
            openapi_extra=_documentation(route),
        )
    return router.routes


def _endpoint(route: Route) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        door: Door = request.app.state.door
        started = time.perf_counter()
        try:
            response = await _answer(door, route, request)
        except ExecError as error:
            _name_trade(request, error)
            response = await on_exec_error(request, error)
        except BodyRefused as error:
            response = error.response
        door.metrics.count(route, response.status_code, time.perf_counter() - started)
        return response

    return endpoint


def _name_trade(request: Request, error: ExecError) -> None:
    """Say which trade a refusal is about: its reader must be able to tell."""
    trade_id = request.path_params.get("trade_id", "")
    if is_trade_id(trade_id):
        error.facts = {"trade_id": trade_id, **error.facts}


async def _answer(door: Door, route: Route, request: Request) -> Response:
    caller = await authorise(door.desk, door.key, door.limiter, request, route.scopes, route.lane)
    fields = parse_fields(route.query, read_query(request), "query")
    if route.method != "GET":
        fields |= parse_fields(route.body, await read_body(request), "body")
    call = Call(door.desk, caller, door.key, door.cache, request.path_params, fields)
    made = await route.handle(call)
    if not isinstance(made, Answer):
        return json_response(made)
    if made.problem:
        facts = {k: v for k, v in made.data.items() if k not in ("code", "detail")}
        return problem_response(made.status, made.data["code"], made.data["detail"], facts)
    return json_response(made.data, made.status)


def _health(door: Door) -> Callable[[Request], Awaitable[Response]]:
    async def health(_: Request) -> Response:
        desk = door.desk
        ailment = storage.ailment(desk)
        ill = "degraded" if ailment or desk.trouble else "ok"
        status = "failed" if desk.database.failure else ill
        told: dict[str, Any] = {
            "status": status,
            "version": version("exec-mcp"),
            "instance": door.instance,
        }
        if ailment:
            told["storage"] = ailment
        if desk.silent:  # Their exchange gives no answers; which they are is not everybody's.
            told["silent_accounts"] = len(desk.silent)
        if desk.markets.trouble:  # Old rules serve on: no reason to take this server for ill.
            told["stale_rules"] = sorted(desk.markets.trouble)
        return json_response(told, 200 if status == "ok" else 503)

    return health


def _metrics(door: Door) -> Callable[[Request], Awaitable[Response]]:
    async def metrics(request: Request) -> Response:
        await authorise(door.desk, door.key, door.limiter, request, ("read", "admin"))
        door.metrics.tasks.set(len(door.desk.tasks.running))
        return Response(generate_latest(door.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return metrics


def _documentation(route: Route) -> dict[str, Any]:
    """Return the OpenAPI of a route, from the same fields that parse it."""
    problem = {
        "description": "problem",
        "content": {"application/problem+json": {"schema": _PROBLEM}},
    }
    responses: dict[str, Any] = {str(status): problem for status in _REFUSALS}
    for status in route.statuses:
        responses[str(status)] = (
            problem
            if status >= 400
            else {
                "description": route.summary,
                "content": {"application/json": {"schema": _OBJECT}},
            }
        )
    made: dict[str, Any] = {"responses": responses, "security": [{"bearer": []}]}
    made["parameters"] = [
        {"name": f.name, "in": "query", "required": f.required, "schema": f.schema()}
        for f in route.query
    ] + _path_parameters(route.path)
    if route.body:
        schema = {
            "type": "object",
            "properties": {f.name: f.schema() for f in route.body},
            "required": [f.name for f in route.body if f.required],
            "additionalProperties": False,
        }
        made["requestBody"] = {
            "required": any(f.required for f in route.body),
            "content": {"application/json": {"schema": schema}},
        }
    return made


def _path_parameters(path: str) -> list[dict[str, Any]]:
    names = [part.strip("{}").partition(":")[0] for part in path.split("/") if part[:1] == "{"]
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in names
    ]


def _problem_schema(codes: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["type", "title", "status", "code", "detail"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "code": {"type": "string", "enum": codes},
            "detail": {"type": "string"},
            "current_status": {"type": "string"},
            "trade_id": {"type": "string"},
            "trade": _OBJECT,
            "nearest": {"type": "array"},
        },
    }
