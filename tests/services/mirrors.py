"""A stack that knows the tiny exchange, and a paper account that mirrors it."""

from typing import Any, cast

from backend.exchanges import ExchangeModule
from backend.services.metadata import Markets
from backend.testing import Stack
from tests.exchanges.tiny import TinyMarket, TinyModule
from tests.services.spoken import Reply, add_account, plan

MIRRORED = "paper:btc"
LIVE = ("tiny", "live")


def install(stack: Stack) -> TinyMarket:
    """Let this server know the tiny exchange, anew after each start; return its live side."""
    module = TinyModule(stack.clock)
    # One mapping serves the desk and its markets.
    known = cast(dict[str, ExchangeModule], stack.backend.desk.exchanges)
    known["tiny"] = cast(ExchangeModule, module)
    return module.markets["live"]


async def add_mirrored(stack: Stack, identifier: str = "btc", **more: Any) -> Reply:
    """Add a paper account with 100,000 USDT that mirrors the tiny exchange."""
    given = {"settings": {"mirror": "tiny"}, "currency": "USDT", **more}
    return await add_account(stack, identifier, **given)


async def mirrored(stack: Stack, **more: Any) -> TinyMarket:
    """Install the tiny exchange, and mirror it on `paper:btc`."""
    market = install(stack)
    added = await add_mirrored(stack, **more)
    assert added.http == 201, added
    return market


async def plan_btc(stack: Stack, **terms: Any) -> Reply:
    """Plan a market buy of 2 BTC on the mirrored account, changed as told."""
    usual = {"account_id": MIRRORED, "symbol": "BTC/USDT", "quantity": 2}
    return await plan(stack, **{**usual, **terms})


def markets(stack: Stack) -> Markets:
    return stack.backend.desk.markets
