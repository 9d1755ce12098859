"""The portfolio over HTTP."""

from typing import Any

from backend.api.fields import Field
from backend.api.http import Call, Route
from backend.services import lookup, portfolio

_READ = ("read", "trade", "approve", "admin")
_ACCOUNT = (Field("account_id", "text", "exchange:identifier"),)


async def get_portfolio(call: Call) -> Any:
    account = await lookup.resolve_account(call.desk, call.caller, call.fields["account_id"])
    return await portfolio.portfolio(call.desk, call.cache, call.caller, account)


ROUTES = (Route("GET", "/portfolio", _READ, get_portfolio, "Get the portfolio", query=_ACCOUNT),)
