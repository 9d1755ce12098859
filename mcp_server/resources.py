"""What can be read and followed: a trade, an account's orders, a price; as the tools tell it."""

import logging
from typing import Any

from fastmcp import FastMCP
from fastmcp.exceptions import ResourceError
from fastmcp.resources import ResourceTemplate

from mcp_server.backend_client import AnswerLost, BackendClient, NotReached, Reply, segment
from mcp_server.hub import data_of

_FIRST_PRICE_S = 5
_NOT_THERE = "no such thing, or not yours"
_LATER = "the backend cannot be reached now; ask again"


def add_resources(server: FastMCP, client: BackendClient) -> None:
    """Serve the three templates; their text has every digit."""

    async def ask(path: str, **params: Any) -> Reply:
        try:
            reply = await client.call("GET", path, params=params)
        except (NotReached, AnswerLost) as error:
            raise ResourceError(_LATER, log_level=logging.DEBUG) from error
        if reply.status != 200 or reply.data is None:
            raise ResourceError(_NOT_THERE, log_level=logging.DEBUG)
        return reply

    async def trade(trade_id: str) -> str:
        return (await ask(f"/trading/trades/{segment(trade_id)}")).text

    async def orders(account_id: str) -> str:
        return (await ask("/trading/orders", account_id=account_id, status="open")).text

    async def price(exchange: str, symbol: str) -> str:
        # The answer's text, not its doubles: every digit is kept.
        uri = f"price://{exchange}/{symbol}"
        reply = await ask("/events", uris=uri, wait_s=_FIRST_PRICE_S)
        return _only_data(reply)

    for read, uri, title, description in (
        (trade, "trade://{trade_id}", "Trade", "One whole trade, as get_trade tells it."),
        (orders, "orders://{account_id}", "Open orders", "An account's orders, as list_orders."),
        (price, "price://{exchange}/{symbol*}", "Price", "A quote, as get_price tells it."),
    ):
        server.add_template(
            ResourceTemplate.from_function(
                read,
                uri,
                name=read.__name__,
                title=title,
                description=f"{description} Subscribe to be told each change.",
                mime_type="application/json",
            )
        )


def _only_data(reply: Reply) -> str:
    """Return the text of `data` of the one event, as it came."""
    if reply.data is None or not reply.data["uris"]:
        raise ResourceError(_NOT_THERE, log_level=logging.DEBUG)
    if not reply.data["events"]:
        raise ResourceError("there is no price now; ask again", log_level=logging.DEBUG)
    return data_of(reply.text)
