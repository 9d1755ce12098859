"""What may be asked again when a connection broke, and what may not."""

from typing import Any

import pytest
from mcp_types import JSONRPCNotification, JSONRPCRequest, JSONRPCResponse

from mcp_server.transport.outbox import Outbox
from mcp_server.transport.pending import EVENT, RESUME, Pending

pytestmark = pytest.mark.anyio


def request(number: int | str, method: str, **params: Any) -> JSONRPCRequest:
    return JSONRPCRequest(jsonrpc="2.0", id=number, method=method, params=params)


def response(number: int | str, **result: Any) -> JSONRPCResponse:
    return JSONRPCResponse(jsonrpc="2.0", id=number, result=result)


def call(number: int, tool: str, **arguments: Any) -> JSONRPCRequest:
    return request(number, "tools/call", name=tool, arguments=arguments)


TOOLS = [
    {"name": "get_price", "annotations": {"readOnlyHint": True}},
    {"name": "execute_trade", "annotations": {"readOnlyHint": False}},
    {"name": "odd"},
]


@pytest.fixture
def pending() -> Pending:
    """A client that knows which tools only read."""
    made = Pending()
    made.sent(request(1, "tools/list"))
    assert made.heard(response(1, tools=TOOLS))
    return made


def test_a_read_is_asked_again_with_its_own_id(pending: Pending) -> None:
    asked = [request(2, "resources/read", uri="x://y"), call(3, "get_price", symbol="AAPL")]
    for one in asked:
        pending.sent(one)

    assert list(pending.broken()) == []
    assert list(pending.again()) == asked


@pytest.mark.parametrize("tool", ["execute_trade", "odd", "never heard of"])
def test_what_may_have_happened_is_told_and_never_asked_again(pending: Pending, tool: str) -> None:
    pending.sent(call(2, tool, trade_id="trd-1", action="confirm"))

    (told,) = pending.broken()

    assert told.id == 2
    assert told.error.data == {"code": "answer_lost", "repeat": False, "trade_id": "trd-1"}
    assert list(pending.again()) == []


def test_a_tool_that_is_not_known_to_only_read_is_not_asked_again() -> None:
    pending = Pending()
    pending.sent(call(2, "get_price", symbol="AAPL"))

    assert [error.id for error in pending.broken()] == [2]


def test_what_was_answered_or_cancelled_is_forgotten(pending: Pending) -> None:
    pending.sent(call(2, "get_price"))
    pending.sent(call(3, "get_price"))
    pending.heard(response(2))
    params = {"requestId": 3}
    pending.sent(
        JSONRPCNotification(jsonrpc="2.0", method="notifications/cancelled", params=params)
    )

    assert list(pending.broken()) == []
    assert list(pending.again()) == []


def test_the_handshake_is_done_again_and_its_answer_is_not_told_twice() -> None:
    pending = Pending()
    shake = request(0, "initialize", protocolVersion="2025-11-25")
    greeted = JSONRPCNotification(jsonrpc="2.0", method="notifications/initialized")
    pending.sent(shake)
    assert pending.heard(response(0))
    pending.sent(greeted)

    assert list(pending.again()) == [shake, greeted]
    assert not pending.heard(response(0))


def test_a_handshake_under_way_is_asked_once_more() -> None:
    pending = Pending()
    shake = request(0, "initialize")
    pending.sent(shake)

    assert list(pending.again()) == [shake]
    assert pending.heard(response(0))


def updated(uri: str, event_id: str) -> JSONRPCNotification:
    meta = {EVENT: {"event_id": event_id}}
    return JSONRPCNotification(
        jsonrpc="2.0", method="notifications/resources/updated", params={"uri": uri, "_meta": meta}
    )


def test_a_subscription_goes_on_after_the_last_event_that_was_heard() -> None:
    pending = Pending()
    uris = ["trade://a", "trade://b"]
    listen = request(7, "subscriptions/listen", notifications={"resourceSubscriptions": uris})
    pending.sent(listen)
    pending.heard(updated("trade://a", "41"))
    pending.heard(updated("trade://a", "42"))

    assert list(pending.broken()) == []
    (again,) = pending.again()
    assert isinstance(again, JSONRPCRequest)
    assert (again.id, again.method) == (7, "subscriptions/listen")
    assert (again.params or {})["_meta"] == {RESUME: {"trade://a": "42"}}


def test_a_legacy_subscription_is_made_again_until_it_was_ended() -> None:
    pending = Pending()
    pending.sent(request(0, "initialize"))
    pending.heard(response(0))
    for number, uri in ((1, "trade://a"), (2, "trade://b")):
        pending.sent(request(number, "resources/subscribe", uri=uri))
        pending.heard(response(number))
    pending.sent(request(3, "resources/unsubscribe", uri="trade://a"))
    pending.heard(response(3))
    pending.heard(updated("trade://b", "9"))

    again = [m for m in pending.again() if m.method == "resources/subscribe"]

    assert [(m.params or {}) for m in again] == [
        {"uri": "trade://b", "_meta": {RESUME: {"trade://b": "9"}}}
    ]
    assert not pending.heard(response(again[0].id))  # type: ignore[union-attr]


async def test_of_each_price_only_the_newest_waits_and_all_else_keeps_its_place() -> None:
    outbox = Outbox()
    for text, key in (("a1", "A"), ("fill 1", None), ("b1", "B"), ("a2", "A"), ("fill 2", None)):
        outbox.put(text, key)

    assert [await outbox.get() for _ in range(4)] == ["a2", "fill 1", "b1", "fill 2"]
    assert (outbox.replaced, len(outbox), outbox.overflowed) == (1, 0, False)


async def test_what_may_not_be_dropped_overflows_and_prices_never_do() -> None:
    prices, events = Outbox(max_messages=3), Outbox(max_messages=3)
    for number in range(1000):
        prices.put(f"{number}", "AAPL")
    for number in range(4):
        events.put(f"{number}")

    assert (prices.overflowed, len(prices)) == (False, 1)
    assert events.overflowed


async def test_bytes_are_bounded_too() -> None:
    outbox = Outbox(max_bytes=100)
    outbox.put("x" * 60, "price")
    outbox.put("y" * 60, "price")
    assert not outbox.overflowed
    outbox.put("z" * 60)
    assert outbox.overflowed
