"""The audit over HTTP."""

from typing import Any

from backend.api.fields import Field
from backend.api.http import Answer, Call, Route, whole_reach
from backend.services import accounts, audit

_READ = ("read", "trade", "approve", "admin")
_PAGE = (
    Field("limit", "whole", "how many at most", default=50, most=500),
    Field("cursor", "whole", "next_cursor of the page before", most=10**11),
)

_EXCHANGE = (
    Field(
        "exchange",
        "choice",
        "true: compare every account with its exchange as well",
        default="false",
        choices=("true", "false"),
    ),
)


async def list_events(call: Call) -> Any:
    numbers = None
    if call.caller.accounts or "admin" not in call.caller.scopes:
        numbers = [a.number for a in await accounts.reachable(call.desk, call.caller)]
    return await audit.events(call.desk, numbers, call.fields["cursor"], call.fields["limit"])


async def verify(call: Call) -> Any:
    whole_reach(call)
    return await audit.verify(call.desk)


async def export(call: Call) -> Answer:
    whole_reach(call)
    return Answer(200, {"lines": await audit.export(call.desk)})


async def invariants(call: Call) -> Any:
    whole_reach(call)
    return await audit.invariants(call.desk, call.fields["exchange"] == "true")


ROUTES = (
    Route("GET", "/audit/events", _READ, list_events, "List audit rows, newest first", query=_PAGE),
    Route("GET", "/audit/verify", ("admin",), verify, "Walk the hash chain"),
    Route("GET", "/audit/export", ("admin",), export, "Export the chain as JSON lines"),
    Route("GET", "/audit/invariants", ("admin",), invariants, "Check the books", query=_EXCHANGE),
)
