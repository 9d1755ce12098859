"""The KB over MCP: resources and the prompt."""

from importlib.resources import files

import pytest

from tests.mcp_server.fake_backend import AnyClient

pytestmark = pytest.mark.anyio


async def test_every_tools_page_is_a_resource(client: AnyClient) -> None:
    resources = {str(r.uri): r for r in await client.list_resources()}

    for tool in await client.list_tools():
        resource = resources[f"kb://mcp/{tool.name}"]
        assert resource.mime_type == "text/markdown"
        assert resource.name == f"mcp/{tool.name}"
        assert (resource.description or "").startswith(f"`{tool.name}`")


async def test_every_page_of_the_kb_reads_as_it_stands_in_the_file(client: AnyClient) -> None:
    for resource in await client.list_resources():
        name = str(resource.uri).removeprefix("kb://")
        (content,) = await client.read_resource(resource.uri)

        page = files("kb").joinpath(f"{name}.md")
        assert content.text == page.read_text(encoding="utf-8")  # type: ignore[union-attr]
        assert resource.description


async def test_the_prompt_leads_from_plan_to_the_checked_outcome(client: AnyClient) -> None:
    (prompt,) = await client.list_prompts()
    result = await client.get_prompt(
        "trade", {"symbol": "AAPL", "side": "buy", "quantity": "10", "order_type": "market"}
    )

    text = result.messages[0].content.text  # type: ignore[union-attr]
    assert (prompt.name, prompt.title) == ("trade", "Trade")
    assert prompt.description
    steps = ["plan_trade with", "Show the operator", "explicit yes", "confirm", "get_trade"]
    assert [text.index(step) for step in steps] == sorted(text.index(step) for step in steps)
    assert 'symbol="AAPL", side="buy", quantity="10", order_type="market"' in text
    assert "environment" in text
    assert "expires_at" in text
    assert "never plan again" in text


async def test_the_prompt_takes_a_price_with_braces_as_it_is(client: AnyClient) -> None:
    result = await client.get_prompt(
        "trade", {"symbol": "{x}", "side": "buy", "quantity": "1", "limit_price": "215.40"}
    )

    text = result.messages[0].content.text  # type: ignore[union-attr]
    assert 'symbol="{x}"' in text
    assert 'limit_price="215.40"' in text
