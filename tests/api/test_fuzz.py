"""Whatever is sent to whichever route, the answer is ours: never a 5xx, never broken books."""

import json
from typing import Any
from urllib.parse import quote

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.api.app import PREFIX
from backend.testing import BlockingStack
from tests.api.routes import BODIES, MISSING_TRADE, ROUTES, name_of

JSON = {"content-type": "application/json"}
NAMES = sorted({field.name for route in ROUTES for field in (*route.body, *route.query)})
# What the fields may be about, so that some requests get through.
WORDS = [
    *("AAPL", "BTC/USD", "buy", "sell", "limit", "gtc", "ioc", "1", "0.00001", "64000"),
    *("paper:main", "paper", "read", "absent", "global", "symbol", "account", "all", "open", "x"),
]
HOSTILE = ["", "\x00", "１２", "1e999999", "-1", "NaN", "'; DROP TABLE trades --", "../..", "🚪"]

_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(WORDS)
    | st.sampled_from(HOSTILE)
    | st.text(max_size=12)
)
_values = st.recursive(
    _scalars,
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=5), v, max_size=3),
    max_leaves=4,
)
_routes = st.sampled_from([route for route in ROUTES if route.method != "GET"])
_segments = st.sampled_from(
    [MISSING_TRADE, "paper:main", "agents", "AAPL", *HOSTILE[1:]]
) | st.text(st.characters(codec="utf-8", exclude_characters="/?#\\"), min_size=1, max_size=8)
usual = settings(deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def ask(server: BlockingStack, method: str, path: str, **more: Any) -> int:
    """Make the request as both kinds of caller; return the higher status."""
    both = (server.http, server.operator)
    replies = [server.run(http.request, method, PREFIX + path, **more) for http in both]
    for reply in replies:
        assert reply.headers["content-type"] in ("application/json", "application/problem+json")
        json.loads(reply.text)
    return max(int(reply.status_code) for reply in replies)


def quoted(segment: str) -> str:
    return quote(segment, safe="").replace(".", "%2E")


@settings(usual, max_examples=120)
@given(route=_routes, segment=_segments, data=st.data())
def test_any_json_object_to_any_route_is_answered(
    server: BlockingStack, route: Any, segment: str, data: st.DataObject
) -> None:
    fields = [field.name for field in route.body] or NAMES
    start = data.draw(st.sampled_from([{}, BODIES.get(name_of(route), {})]))
    body = {**start, **data.draw(st.dictionaries(st.sampled_from(fields), _values, max_size=4))}
    path = route.path.format(
        trade_id=quoted(segment), account_id=quoted(segment), name=quoted(segment)
    )

    assert ask(server, route.method, path, content=json.dumps(body), headers=JSON) < 500


@settings(usual, max_examples=60)
@given(route=_routes, body=st.binary(max_size=300))
def test_any_bytes_to_any_route_are_answered(
    server: BlockingStack, route: Any, body: bytes
) -> None:
    path = route.path.format(trade_id=MISSING_TRADE, account_id="paper:main", name="nobody")
    assert ask(server, route.method, path, content=body, headers=JSON) < 500


@settings(usual, max_examples=100)
@given(
    route=st.sampled_from([route for route in ROUTES if route.method == "GET"]),
    segment=_segments,
    query=st.dictionaries(
        st.sampled_from(NAMES) | st.text(max_size=5),
        st.sampled_from(WORDS + HOSTILE) | st.text(max_size=8),
        max_size=3,
    ),
)
def test_any_query_to_any_route_is_answered(
    server: BlockingStack, route: Any, segment: str, query: dict[str, str]
) -> None:
    path = route.path.replace(":path", "")
    path = path.format(trade_id=quoted(segment), account_id=quoted(segment), symbol=quoted(segment))
    assert ask(server, "GET", path, params=query) < 500


def test_the_books_are_whole_after_all_that(server: BlockingStack) -> None:
    reply = server.run(server.operator.get, f"{PREFIX}/audit/invariants")
    assert reply.json()["broken"] == []
