"""`exec-mcp demo`: the two-phase story, told with real replies over a real MCP client."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from backend.cli.exits import Failed
from backend.cli.operator import opened, operator_token, request
from backend.cli.output import say, text_of
from backend.config import Config, read_config
from backend.domain import exact_json
from backend.domain.clock import seconds, system_clock
from backend.domain.money import round_down
from backend.domain.quote import Prices
from backend.exchanges.paper.faults import FaultScript
from backend.prices import open_prices

if TYPE_CHECKING:
    from fastmcp import Client
    from fastmcp.client.transports import FastMCPTransport

    from backend.app import Backend

_SHARE = Decimal("0.1")
_PLAN = ("trade_id", "status", "side", "quantity", "symbol", "price", "total")
_RESERVED = ("reserved_buying_power", "buying_power", "expires_at", "environment")
_OUTCOME = ("status", "executed_price", "total", "fee", "new_balance", "new_position")


async def demo(*, replay: Path | None = None) -> None:
    """Play the two-phase story on a paper account in a temporary home.

    Parameters
    ----------
    replay:
        Price it from this recording (CSV or JSON bars) instead of the simulated market.
    """
    with TemporaryDirectory(prefix="exec-mcp-demo-") as folder:
        clock = StoryClock()
        config = read_config({"EXEC_MCP_HOME": folder})
        prices, faults = _priced(replay, clock), FaultScript()
        async with opened(config, clock=clock, prices=prices, faults=faults) as backend:
            await _play(config, backend, clock, faults)


class StoryClock:
    """The system's clock, and what the story adds to it."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def __call__(self) -> datetime:
        return system_clock() + self._ahead

    def advance(self, count: int) -> None:
        """Go on by so many seconds without waiting for them."""
        self._ahead += seconds(count)


def _priced(replay: Path | None, clock: StoryClock) -> Prices:
    try:
        return open_prices("simulated" if replay is None else f"replay:{replay}", clock)
    except ValueError as error:
        raise Failed(str(error)) from error


async def _play(config: Config, backend: "Backend", clock: StoryClock, faults: FaultScript) -> None:
    from fastmcp import Client

    from mcp_server.server import create_server

    token = (config.home / "agent.token").read_text().strip()
    async with backend.http() as http, Client(create_server(http, token=token)) as client:
        story = await _begin(config, backend, client)
        await _plan_and_confirm(story)
        await _cancel(story)
        await _expire(story, clock)
        await _lose_the_answer(story, backend, faults)
        await _look_at_the_end(story, config, backend)


@dataclass(frozen=True, slots=True)
class Story:
    """The agent's side of the story: what it trades, and how it is told."""

    client: "Client[FastMCPTransport]"
    account_id: str
    symbol: str
    quantity: Decimal

    async def call(self, tool: str, *shown: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool, tell the call and the `shown` keys of its real reply, and return it all."""
        reply = await _call(self.client, tool, **arguments)
        told = ", ".join(f"{name}={json.dumps(value)}" for name, value in arguments.items())
        excerpt = {key: reply[key] for key in shown if key in reply}
        say(f"   agent: {tool}({told})")
        say(f"   reply: {exact_json.dumps(excerpt)}")
        return reply

    async def plan(self) -> dict[str, Any]:
        """Plan to buy the story's quantity."""
        reply = await self.call(
            "plan_trade",
            *_PLAN,
            *_RESERVED,
            symbol=self.symbol,
            side="buy",
            quantity=text_of(self.quantity),
            account_id=self.account_id,
        )
        _expect(reply.get("status") == "pending", "the plan waits", reply)
        return reply

    async def execute(self, trade_id: str, action: str, *shown: str) -> dict[str, Any]:
        """Confirm or cancel."""
        return await self.call("execute_trade", *shown, trade_id=trade_id, action=action)

    async def buying_power(self) -> Decimal:
        """Return what can be spent now."""
        reply = await _call(self.client, "portfolio_status", account_id=self.account_id)
        return Decimal(reply["buying_power"])


async def _call(client: "Client[FastMCPTransport]", tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments, raise_on_error=False)
    reply: dict[str, Any] = exact_json.loads(result.content[0].text)  # type: ignore[union-attr]
    return reply


def _expect(true: bool, what: str, reply: Mapping[str, Any]) -> None:
    if not true:
        told = reply.get("detail") or exact_json.dumps(reply)
        raise Failed(f"the demo failed: expected that {what}, but: {told}")


async def _begin(config: Config, backend: "Backend", client: "Client[FastMCPTransport]") -> Story:
    symbol = str(next(iter(getattr(backend.desk.prices, "symbols", ())), "AAPL"))
    currency = symbol.partition("/")[2] or "USD"
    account_id = "paper:main"
    if currency != "USD":
        new = {"exchange": "paper", "identifier": "demo", "currency": currency}
        async with backend.http(operator_token(config.home)) as http:
            account_id = exact_json.loads(await request(http, "POST", "/accounts", new))[
                "account_id"
            ]
    cash = (await _call(client, "portfolio_status", account_id=account_id))["balance"]
    market = await _call(client, "get_market", symbol=symbol, account_id=account_id)
    _expect(bool(market.get("price")), f"{symbol} has a price", market)
    price = market["price"]
    wanted = round_down(cash * _SHARE / price["ask"], market["step_size"])
    say("exec-mcp demo: an agent trades on paper, in a temporary home that is removed at the end.")
    say(f"The account {account_id} holds {text_of(cash)} {currency}.")
    say(f"Prices: {price['source']}; {symbol} {text_of(price['bid'])} / {text_of(price['ask'])}.")
    return Story(client, account_id, symbol, max(wanted, market["min_quantity"]))


def _chapter(title: str) -> None:
    say()
    say(title)


async def _plan_and_confirm(story: Story) -> None:
    _chapter("1. The agent plans. Nothing is bought; buying power is reserved, the price locked.")
    plan = await story.plan()
    say(
        f"   The operator reads: buy {text_of(plan['quantity'])} {plan['symbol']} at "
        f"{text_of(plan['price'])}, {text_of(plan['total'])} in all, {plan['environment']}. Agreed."
    )
    _chapter("2. The agent confirms: one claim, one order, filled at the locked price.")
    done = await story.execute(plan["trade_id"], "confirm", *_OUTCOME)
    _expect(done.get("status") == "executed", "the trade is executed", done)
    _expect(done["executed_price"] == plan["price"], "it filled at the locked price", done)
    _chapter("3. It confirms again, as a client does that lost the first answer. Refused, truly.")
    again = await story.execute(
        plan["trade_id"], "confirm", "code", "detail", "current_status", "trade_id"
    )
    _expect(again.get("code") == "trade_not_pending", "the second confirm is refused", again)


async def _cancel(story: Story) -> None:
    _chapter("4. It plans again, and the operator says no: a cancel gives the reservation back.")
    before = await story.buying_power()
    plan = await story.plan()
    reply = await story.execute(
        plan["trade_id"], "cancel", "status", "cancelled_at", "released_buying_power"
    )
    _expect(reply.get("status") == "cancelled", "the plan is cancelled", reply)
    after = await story.buying_power()
    _expect(before == after, "buying power is what it was", reply)
    say(f"   Buying power is {text_of(after)}, as before the plan.")


async def _expire(story: Story, clock: StoryClock) -> None:
    _chapter("5. It plans, and nobody answers. A minute later it is too late.")
    plan = await story.plan()
    clock.advance(61)
    say("   (The demo's clock is moved on by 61 s, instead of waiting.)")
    late = await story.execute(plan["trade_id"], "confirm", "code", "detail", "current_status")
    _expect(late.get("current_status") == "expired", "the plan has expired", late)


async def _lose_the_answer(story: Story, backend: "Backend", faults: FaultScript) -> None:
    _chapter("6. It confirms, and the exchange's answer is lost: nobody knows whether it bought.")
    faults.lose_answer()
    plan = await story.plan()
    trade_id = plan["trade_id"]
    lost = await story.execute(trade_id, "confirm", "status", "executed_price", "next")
    _expect(lost.get("status") == "executing", "the outcome is unknown", lost)
    say("   It is not sent again. The keeper asks the exchange for the order, by its id:")
    await backend.keeper.tick()
    found = await story.call(
        "get_trade", "status", "filled_quantity", "executed_price", trade_id=trade_id
    )
    _expect(found.get("status") == "executed", "the order was found and settled", found)
    sent = [order for order in faults.sent if order.client_order_id == trade_id]
    _expect(len(sent) == 1, "one order reached the exchange", found)
    say("   Exactly one order reached the exchange.")


async def _look_at_the_end(story: Story, config: Config, backend: "Backend") -> None:
    _chapter("7. What it comes to.")
    keys = ("balance", "buying_power", "reserved", "equity", "positions", "pending_trades")
    await story.call("portfolio_status", *keys, account_id=story.account_id)
    _chapter("8. The evidence.")
    async with backend.http(operator_token(config.home)) as http:
        chain = exact_json.loads(await request(http, "GET", "/audit/verify"))
        books = exact_json.loads(await request(http, "GET", "/audit/invariants"))
    _expect(chain["whole"], "the audit is whole", chain)
    _expect(books["whole"], "the invariants hold", books)
    say(f"   The audit is whole: {chain['rows']} rows in one hash chain. The invariants hold.")
