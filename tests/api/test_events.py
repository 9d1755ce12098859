"""The long poll over HTTP: what it takes, and that it waits for nobody who may not."""

import pytest

from backend.api.app import PREFIX
from backend.testing import Stack

pytestmark = pytest.mark.anyio

EVENTS = f"{PREFIX}/events"


MAIN = "uris=orders://paper:main"
REFUSED = ["", "uris=", f"{MAIN}&wait_s=26", f"{MAIN}&wait_s=-1", f"{MAIN}&limit=0"]
REFUSED += [f"{MAIN}&limit=501", f"{MAIN}&uris=trade://x", f"{MAIN}&before=1"]
REFUSED += [f"uris={'x' * 16_385}"]


async def test_what_it_does_not_take_is_refused(exec_mcp: Stack) -> None:
    for query in REFUSED:
        reply = await exec_mcp.http.get(f"{EVENTS}?{query}")

        assert reply.status_code == 400, query
        assert reply.json()["code"] in ("invalid_request", "invalid_number")


async def test_an_answer_has_these_members_in_this_order(exec_mcp: Stack) -> None:
    made = await exec_mcp.plan("AAPL", "buy", 1)
    reply = await exec_mcp.http.get(f"{EVENTS}?uris=trade://{made.trade_id}&after=0")

    assert reply.text.startswith('{"events":[{"event_id":"')
    assert list(reply.json()) == ["events", "uris", "cursor"]
    assert list(reply.json()["events"][0]) == ["event_id", "uri", "event", "at", "data"]
    assert '"price":215.40,' in reply.text


async def test_any_scope_may_follow(exec_mcp: Stack) -> None:
    for scope in ("read", "trade", "approve", "admin"):
        reply = await exec_mcp.http_as(await exec_mcp.token(f"a-{scope}", scope)).get(
            f"{EVENTS}?{MAIN}"
        )

        assert reply.status_code == 200, scope
