"""Events over HTTP: a long poll, so that any client can follow trades and prices."""

from typing import Any

from backend.api.fields import Field
from backend.api.http import Call, Route
from backend.services.events import WAIT_MOST_S, Asked

_READ = ("read", "trade", "approve", "admin")
_WHAT = (
    Field("uris", "text", "what to follow, separated by commas", required=True, longest=16_384),
    Field("after", "text", "cursor of the answer before, or the last event_id"),
    Field("wait_s", "whole", "how long to wait for news", default=0, least=0, most=WAIT_MOST_S),
    Field("limit", "whole", "how many rows at most", default=100, most=500),
)


async def poll_events(call: Call) -> Any:
    fields = call.fields
    uris = dict.fromkeys(uri for uri in fields["uris"].split(",") if uri)
    asked = Asked(list(uris), fields["after"], fields["wait_s"], fields["limit"])
    return await call.desk.events.poll(call.caller, asked)


ROUTES = (
    Route(
        "GET", "/events", _READ, poll_events, "Follow trades and prices", query=_WHAT, waits=True
    ),
)
