"""The one door to the backend: HTTP under `/api/v1`, with the caller's own token.

Errors say what became of the request: `NotReached` (nothing happened) or
`AnswerLost` (it may have happened). No other exception of httpx leaves this module.
"""

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

Connect = Callable[[], Awaitable[httpx.AsyncClient]]

# The backend answers a confirm after at most 10 s; what takes longer is lost.
_TIMEOUTS = {"timeout": httpx.Timeout(30.0, connect=5.0, pool=5.0).as_dict()}
_NOT_REACHED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.InvalidURL)


class NotReached(Exception):
    """No byte of the request left. Nothing happened."""


class AnswerLost(Exception):
    """The request may have arrived; its answer did not."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back over HTTP.

    Attributes:
        text: the body, byte for byte; "" if it is not UTF-8.
        data: the body's JSON object with numbers as doubles; None if it is not one.
        is_problem: the content type is `application/problem+json`.
    """

    status: int
    text: str
    data: dict[str, Any] | None
    is_problem: bool


class BackendClient:
    """Calls the backend on behalf of whoever called the tool.

    Args:
        http: a client with a `base_url`, or a function to await for one. The function
            is called for every request and raises `httpx.ConnectError` while there is
            no backend. An in-process client needs `raise_app_exceptions=False`.
        token: returns the bearer token to present; no other header is passed on.
    """

    def __init__(self, http: httpx.AsyncClient | Connect, token: Callable[[], str | None]) -> None:
        self._http = http
        self._token = token

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        token: str | None = None,
    ) -> Reply:
        """Make one request and return its reply, whatever its status. Never retries.

        Args:
            path: below `/api/v1`, already percent-encoded.
            params, body: members that are None are left out.
            token: instead of the caller's.

        Raises:
            NotReached: no connection; nothing happened.
            AnswerLost: a time-out or a broken connection; it may have happened.
        """
        try:
            http = self._http if isinstance(self._http, httpx.AsyncClient) else await self._http()
            # Built here, not by the client: that would parse the address three times.
            request = httpx.Request(
                method,
                http.base_url.join(f"api/v1{path}"),
                params=_present(params),
                content=None if body is None else json.dumps(_present(body)),
                headers=self._headers(http, body is not None, token or self._token()),
                extensions=_TIMEOUTS,
            )
            response = await http.send(request, follow_redirects=False)
        except _NOT_REACHED as error:
            raise NotReached(type(error).__name__) from error
        except httpx.HTTPError as error:
            raise AnswerLost(type(error).__name__) from error
        return _reply(response)

    @contextmanager
    def bound(self) -> Iterator[None]:
        """Make this the client that `backend()` returns, for the present call."""
        reset = _current.set(self)
        try:
            yield
        finally:
            _current.reset(reset)

    @staticmethod
    def _headers(http: httpx.AsyncClient, has_body: bool, token: str | None) -> dict[str, str]:
        headers = {"Accept": "application/json"}
        if "authorization" in http.headers:  # A client that presents one token for everybody.
            headers["Authorization"] = http.headers["authorization"]
        if has_body:
            headers["Content-Type"] = "application/json"
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return headers


_current: ContextVar[BackendClient] = ContextVar("backend")


def backend() -> BackendClient:
    """Return the client of the call that is being served."""
    return _current.get()


def segment(text: str) -> str:
    """Return `text` as one path segment: `BTC/USD` is `BTC%2FUSD`, and `..` goes nowhere."""
    return quote(text, safe="").replace(".", "%2E")


def _present(members: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if members is None:
        return None
    return {name: value for name, value in members.items() if value is not None}


def _reply(response: httpx.Response) -> Reply:
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        text = response.content.decode()
        data = json.loads(text)
    except (ValueError, RecursionError):
        text, data = "", None
    return Reply(
        response.status_code,
        text,
        data if isinstance(data, dict) else None,
        media_type == "application/problem+json",
    )
