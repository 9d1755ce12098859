"""Streamable HTTP: the caller's own token is asked about, and passed on."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastmcp import FastMCP
from fastmcp.utilities.tests import asgi_client

from mcp_server.auth import BackendVerifier
from mcp_server.backend_client import BackendClient
from mcp_server.server import create_server, http_app
from tests.mcp_server.fake_backend import FakeBackend

pytestmark = pytest.mark.anyio

SELF = {
    "name": "agent",
    "scopes": ["read", "trade"],
    "accounts": ["paper:main"],
    "expires_at": None,
}


class Seconds:
    """A monotonic clock that moves only when told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
async def verifier(backend: FakeBackend, seconds: Seconds) -> AsyncIterator[BackendVerifier]:
    async with backend.client() as http:
        yield BackendVerifier(BackendClient(http, lambda: None), seconds)


async def test_the_backend_says_whose_token_it_is(
    verifier: BackendVerifier, backend: FakeBackend
) -> None:
    backend.answers(200, SELF)

    access = await verifier.verify_token("secret")

    assert access is not None
    assert (access.client_id, access.scopes) == ("agent", ["read", "trade"])
    assert access.claims == {"accounts": ["paper:main"]}
    assert backend.asked[0].path == "/api/v1/tokens/self"
    assert backend.asked[0].headers["authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    ("status", "body"),
    [(401, {"code": "unauthorised"}), (500, {}), (200, "<html>"), (200, {}), (302, SELF)],
)
async def test_a_token_the_backend_does_not_vouch_for_is_refused(
    verifier: BackendVerifier, backend: FakeBackend, status: int, body: object
) -> None:
    backend.answers(status, body)

    assert await verifier.verify_token("secret") is None


@pytest.mark.parametrize("failure", [httpx.ConnectError("x"), httpx.ReadTimeout("x")])
async def test_a_backend_that_cannot_be_asked_vouches_for_nobody(
    verifier: BackendVerifier, backend: FakeBackend, failure: Exception
) -> None:
    backend.failure = failure

    assert await verifier.verify_token("secret") is None


@pytest.mark.parametrize("token", ["täg", "a\nb", "a\x00"])
async def test_a_token_that_cannot_stand_in_a_header_is_refused_unasked(
    verifier: BackendVerifier, backend: FakeBackend, token: str
) -> None:
    assert await verifier.verify_token(token) is None
    assert backend.asked == []


async def test_a_good_token_is_remembered_for_less_than_a_second(
    verifier: BackendVerifier, backend: FakeBackend, seconds: Seconds
) -> None:
    backend.answers(200, SELF)
    await verifier.verify_token("secret")
    backend.answers(401, {"code": "unauthorised"})

    seconds.now += 0.9
    assert await verifier.verify_token("secret") is not None
    assert await verifier.verify_token("another") is None
    seconds.now += 0.1
    assert await verifier.verify_token("secret") is None
    assert await verifier.verify_token("secret") is None


@pytest.fixture
async def protected(backend: FakeBackend) -> AsyncIterator[FastMCP]:
    async with backend.client() as http:
        yield create_server(http, auth=True)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_over_http_the_callers_token_is_forwarded(
    protected: FastMCP, backend: FakeBackend, mode: str
) -> None:
    backend.answers(200, SELF | {"accounts": []})
    headers = {"X-Secret": "mine", "Cookie": "a=b"}

    async with asgi_client(protected, auth="callers-token", headers=headers, mode=mode) as client:
        await client.call_tool("list_accounts", {})

    asked = [a for a in backend.asked if a.path == "/api/v1/accounts"]
    assert [a.headers["authorization"] for a in asked] == ["Bearer callers-token"]
    assert "cookie" not in asked[0].headers
    assert "x-secret" not in asked[0].headers


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer bad"}, 401),
        ({"Host": "evil.example"}, 421),
        ({"Origin": "http://evil.example"}, 403),
    ],
)
async def test_the_http_door_refuses_strangers(
    protected: FastMCP, backend: FakeBackend, headers: dict[str, str], status: int
) -> None:
    backend.answers(401, {"code": "unauthorised", "detail": "…"})
    app = http_app(protected)
    transport = httpx.ASGITransport(app)

    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as http,
    ):
        response = await http.post("/mcp", json={}, headers=headers)

    assert response.status_code == status


def test_a_server_that_asks_for_no_token_is_not_put_on_http(backend: FakeBackend) -> None:
    with pytest.raises(ValueError, match="must ask for tokens"):
        http_app(create_server(backend.client(), token="mine"))


def test_a_server_with_auth_takes_no_token_of_its_own(backend: FakeBackend) -> None:
    with pytest.raises(ValueError, match="give it none of its own"):
        create_server(backend.client(), token="mine", auth=True)
