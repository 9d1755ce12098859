"""A backend that answers what it is told, and remembers what it was asked."""

import json
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import httpx
from fastmcp import Client
from fastmcp.client.client import CallToolResult
from mcp_types import TextContent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

TRADE_ID = "trd-abcdefghijklmnopqrst"
PROBLEM = "application/problem+json"

AnyClient: TypeAlias = Client[Any]


@dataclass
class Asked:
    """One request as it arrived. `path` is decoded, `target` is what was on the wire."""

    method: str
    path: str
    target: str
    params: dict[str, str]
    body: Any
    headers: dict[str, str]


@dataclass
class FakeBackend:
    """Answers every request with `status`, `text` and `content_type`, or raises `failure`."""

    status: int = 200
    text: str = "{}"
    content_type: str = "application/json"
    failure: Exception | None = None
    asked: list[Asked] = field(default_factory=list)

    def answers(self, status: int, body: Any, content_type: str | None = None) -> None:
        """Set the next answers; a dict is written as JSON, as a problem from 400 on."""
        self.status = status
        self.text = body if isinstance(body, str) else json.dumps(body)
        default = PROBLEM if status >= 400 else "application/json"
        self.content_type = content_type or default

    def client(self) -> httpx.AsyncClient:
        """Return an HTTP client that reaches this backend and nothing else."""
        route = Route("/{path:path}", self._serve, methods=["GET", "POST", "DELETE"])
        transport = _Failing(Starlette(routes=[route]), self)
        return httpx.AsyncClient(transport=transport, base_url="http://backend")

    async def _serve(self, request: Request) -> Response:
        body = await request.body()
        self.asked.append(
            Asked(
                request.method,
                request.scope["path"],
                request.scope["raw_path"].decode(),
                dict(request.query_params),
                json.loads(body) if body else None,
                dict(request.headers),
            )
        )
        return Response(self.text, self.status, media_type=self.content_type)


class _Failing(httpx.ASGITransport):
    def __init__(self, app: Any, backend: FakeBackend) -> None:
        super().__init__(app, raise_app_exceptions=False)
        self._backend = backend

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._backend.failure is not None:
            raise self._backend.failure
        return await super().handle_async_request(request)


def only_text(result: CallToolResult) -> str:
    """Return the text of a result that has one text block and nothing else."""
    (block,) = result.content
    assert isinstance(block, TextContent)
    return block.text
