"""The KB as resources, and the one prompt: what an agent may read about the tools."""

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

from fastmcp import FastMCP
from fastmcp.resources import TextResource
from pydantic import AnyUrl

INSTRUCTIONS = """\
exec-mcp executes trades in two phases. plan_trade checks an order, locks its price and reserves \
buying power; nothing is bought or sold yet. Show the operator every number of the plan, the \
environment (paper, testnet, demo or live) and when it expires, and wait for an explicit yes or \
no. Then call execute_trade with action confirm or cancel. After a confirm, check the outcome: if \
the status is unknown or executing, call get_trade until it is final, and never plan again \
instead. You cannot approve your own trades: where a plan needs approval, the operator gives it \
on another channel. Numbers: the text block keeps every digit. Every tool has a page: kb://mcp/\
<tool>; the promises are in kb://laws."""

_PROMPT = """\
Trade for the operator through exec-mcp, in this order:

1. Call plan_trade with {arguments}.
   If it is refused, say what the refusal says; change nothing without asking.
2. Show the operator every number of the plan: environment, account_id, symbol, side, quantity, \
order_type, price, worst_price, total, fee, reserved_buying_power and buying_power, the checks, \
and expires_at. If approval.required is true, say that an operator must approve it on another \
channel first, and how.
3. Wait for an explicit yes. Silence, an earlier yes, or your own judgement is not one.
4. On yes call execute_trade(trade_id, "confirm"); on no, or doubt, call \
execute_trade(trade_id, "cancel"). If the plan has expired, say so and ask before planning again.
5. Check the outcome and tell it with its numbers. executed: done. working: the order rests at \
the exchange; follow it with get_order. failed: say the reason. executing or unknown: call \
get_trade until it is final; never plan again instead, because the first order may have been \
filled.
"""


def add_pages(server: FastMCP) -> None:
    """Serve every page of the KB as `kb://<folder>/<page>`."""
    for name, page in _pages(files("kb"), ""):
        text = page.read_text(encoding="utf-8")
        server.add_resource(
            TextResource(
                uri=AnyUrl(f"kb://{name}"),
                name=name,
                description=_first_paragraph(text),
                mime_type="text/markdown",
                text=text,
            )
        )


def add_prompt(server: FastMCP) -> None:
    """Offer the prompt `trade`."""

    @server.prompt(title="Trade", description="Plan, ask the operator, confirm, check.")
    def trade(
        symbol: str,
        side: str,
        quantity: str,
        order_type: str = "market",
        limit_price: str = "",
        stop_price: str = "",
        account_id: str = "",
    ) -> str:
        terms = {
            "symbol": symbol,
            "side": side,
            "quantity": quantity,
            "order_type": order_type,
            "limit_price": limit_price,
            "stop_price": stop_price,
            "account_id": account_id,
        }
        arguments = ", ".join(f'{name}="{value}"' for name, value in terms.items() if value)
        return _PROMPT.format(arguments=arguments)


def _pages(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        if entry.is_dir():
            yield from _pages(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".md"):
            yield prefix + entry.name.removesuffix(".md"), entry


def _first_paragraph(text: str) -> str:
    """Return the first paragraph of prose: no heading, no date line."""
    for block in text.split("\n\n"):
        words = " ".join(block.split())
        if words and not words.startswith(("#", "Last verified:")):
            return words
    return text.partition("\n")[0].lstrip("# ")
