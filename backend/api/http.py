"""Requests in, replies out: exact numbers, bounded bodies, problems as RFC 9457."""

import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from backend.api.auth import Lane
from backend.api.fields import Field
from backend.domain import errors, exact_json
from backend.domain.errors import ExecError, Forbidden, NotFound, Refused
from backend.logs import without_secrets
from backend.services import Desk, log
from backend.services.portfolio import Cache
from backend.store.tokens import Token

LARGEST_BODY = 64 * 1024

# What the caller may do next, as a number. Subclasses come before their base.
STATUS: tuple[tuple[type[ExecError], int], ...] = (
    (errors.Unauthorised, 401),
    (errors.Forbidden, 403),
    (errors.NotFound, 404),
    (errors.RateLimited, 429),
    (errors.ExchangeRejected, 422),
    (errors.ExchangeUnavailable, 503),
    (errors.OutcomeUnknown, 202),
    (errors.Refused, 400),
)


@dataclass(frozen=True, slots=True)
class Call:
    """One request, checked: what a handler gets."""

    desk: Desk
    caller: Token
    key: bytes = field(repr=False)
    cache: Cache
    path: Mapping[str, str]
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply that is not simply 200 with a JSON object."""

    status: int
    data: Any
    problem: bool = False


Handler = Callable[[Call], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Route:
    """One route: what parses it, who may use it, what documents it.

    Attributes:
        scopes: any one of them suffices.
        statuses: what it may answer beside what every route may: see `kb/http.md`.
        urgent: counted apart, so that a flood of plans never holds up a cancel.
        waits: a long poll: counted apart too, so that following is no flood.
    """

    method: str
    path: str
    scopes: tuple[str, ...]
    handle: Handler
    summary: str
    body: tuple[Field, ...] = ()
    query: tuple[Field, ...] = ()
    statuses: tuple[int, ...] = (200,)
    urgent: bool = False
    waits: bool = False
    tags: tuple[str, ...] = field(default=())

    @property
    def lane(self) -> Lane:
        """Return which of a token's buckets a request is counted in."""
        return "urgent" if self.urgent else "waits" if self.waits else "usual"


def whole_reach(call: Call) -> None:
    """Refuse a token that is bound to accounts what is about all of them.

    Raises:
        Forbidden: it is bound.
    """
    if call.caller.accounts:
        raise Forbidden("a token that is bound to accounts cannot do this")


def json_response(data: Any, status: int = 200) -> Response:
    """Return a reply whose numbers carry every digit."""
    return Response(exact_json.dumps(data), status, media_type="application/json")


def problem_response(
    status: int, code: str, detail: str, facts: Mapping[str, Any] | None = None
) -> Response:
    """Return an RFC 9457 problem: type, title, status, code, detail, then the facts."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": without_secrets(detail),  # It may quote what the caller sent.
        **(facts or {}),
    }
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return Response(exact_json.dumps(body), status, headers, media_type="application/problem+json")


def status_of(error: ExecError) -> int:
    """Return the HTTP status that tells what the caller may do next."""
    return next((status for kind, status in STATUS if isinstance(error, kind)), 500)


async def on_exec_error(_: Request, error: Exception) -> Response:
    """Answer one of our own errors."""
    assert isinstance(error, ExecError)
    if isinstance(error, NotFound):
        # Missing and foreign things answer the same bytes: no facts.
        return problem_response(404, error.code, "no such thing, or not yours")
    return problem_response(status_of(error), error.code, error.detail, error.facts)


async def on_http_exception(_: Request, error: Exception) -> Response:
    """Answer what the router refuses: unknown paths and wrong methods."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        response = problem_response(405, "method_not_allowed", "this path has no such method")
        response.headers.update(error.headers or {})
        return response
    if error.status_code == 404:
        return problem_response(404, "not_found", "no such thing, or not yours")
    return problem_response(error.status_code, "invalid_request", "the request is malformed")


async def on_gone(request: Request, error: Exception) -> Response:
    """A client that went away while it was still asking: nobody reads this, and it is no bug."""
    return problem_response(400, "invalid_request", "the connection ended before the request did")


async def on_bug(request: Request, error: Exception) -> Response:
    """The ASGI rim: log what nobody expected, answer 500 without a word of it."""
    # As text: a renderer of exceptions may print local variables, and tokens are among them.
    lines = "".join(traceback.format_exception(error))
    log.error("http.internal_error", path=request.url.path, traceback=lines)
    return problem_response(
        500, "internal_error", "our fault; it is in the server's log; look before you repeat"
    )


def read_query(request: Request) -> dict[str, str]:
    """Return the query's parameters.

    Raises:
        Refused: one of them is there twice.
    """
    given = request.query_params.multi_items()
    query = dict(given)
    if len(query) != len(given):
        raise Refused("the query has a parameter twice")
    return query


async def read_body(request: Request) -> Any:
    """Return the body's JSON object; {} when it is empty.

    Raises:
        BodyRefused: too large, or not JSON by its media type.
        Refused: not strict JSON.
    """
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > LARGEST_BODY:
            raise BodyRefused(413, "too_large", f"a body may have {LARGEST_BODY} bytes")
        chunks.append(chunk)
    if not size:
        return {}
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json":
        raise BodyRefused(415, "unsupported_media_type", "send application/json")
    try:
        return exact_json.loads_strict(b"".join(chunks))
    except ValueError as error:
        raise Refused(str(error)) from None


class BodyRefused(Exception):
    """A body that is not read at all."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.response = problem_response(status, code, detail)
