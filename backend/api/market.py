"""Exchanges, instruments, currencies and prices over HTTP."""

from typing import Any

from backend.api.fields import Field
from backend.api.http import Call, Route
from backend.services import accounts, lookup, market

_READ = ("read", "trade", "approve", "admin")
_ACCOUNT = (Field("account_id", "text", "as seen by this account"),)
_EXCHANGE = Field("exchange", "text", "only of this exchange")
_PAGE = (
    _EXCHANGE,
    Field("query", "text", "part of a symbol or name"),
    Field("limit", "whole", "how many at most", default=50, most=200),
    Field("cursor", "text", "next_cursor of the page before"),
)


async def list_exchanges(call: Call) -> Any:
    return {
        "exchanges": [
            {
                "exchange": name,
                "environments": sorted(module.CAPABILITIES.environments),
                "order_types": sorted(module.CAPABILITIES.order_types),
                "times_in_force": sorted(module.CAPABILITIES.times_in_force),
                "client_order_id": module.CAPABILITIES.client_order_id,
                "sub_accounts": module.CAPABILITIES.sub_accounts,
            }
            for name, module in call.desk.exchanges.items()
        ]
    }


async def list_markets(call: Call) -> Any:
    found = await accounts.reachable(call.desk, call.caller, call.fields["exchange"])
    return await market.markets(
        call.desk, found, call.fields["query"], call.fields["limit"], call.fields["cursor"]
    )


async def get_market(call: Call) -> Any:
    account = await lookup.resolve_account(call.desk, call.caller, call.fields["account_id"])
    return await market.market(call.desk, account, call.path["symbol"])


async def list_currencies(call: Call) -> Any:
    found = await accounts.reachable(call.desk, call.caller, call.fields["exchange"])
    return await market.currencies(call.desk, found)


async def get_price(call: Call) -> Any:
    account = await lookup.resolve_account(call.desk, call.caller, call.fields["account_id"])
    return await market.price(call.desk, account, call.path["symbol"])


ROUTES = (
    Route("GET", "/exchanges", _READ, list_exchanges, "List exchanges and what they can do"),
    Route("GET", "/markets", _READ, list_markets, "List instruments", query=_PAGE),
    Route("GET", "/markets/{symbol:path}", _READ, get_market, "Get one instrument", query=_ACCOUNT),
    Route("GET", "/currencies", _READ, list_currencies, "List currencies", query=(_EXCHANGE,)),
    Route("GET", "/prices/{symbol:path}", _READ, get_price, "Get a quote", query=_ACCOUNT),
)
