"""The notation of the pages' examples."""

from pathlib import Path

import pytest

from tests.mcp_server.fake_backend import TRADE_ID, AnyClient, FakeBackend
from tests.mcp_server.kb_examples import Call, Check, Clock, Digits, Name, examples, play

PAGE = """# MCP tool: x

## Examples

Plan, then wait

```text
Agent: plan_trade(symbol="A, \\"B\\"", quantity=10, limit_price=null)
  -> trade_id as T, price 215.40, approval.required false
  -> checks.0.status "pass"
Operator: "Go ahead."
Clock: +61 s
Agent: execute_trade(trade_id=T, action="confirm")
  -> error "Trade has expired", current_status "expired"
Agent (to operator): "It expired."
```

## When to use

```text
Agent: never(read=1)
```
"""


def page(folder: Path, text: str) -> Path:
    path = folder / "x.md"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_block_is_read_as_calls_and_clock(tmp_path: Path) -> None:
    (example,) = examples(page(tmp_path, PAGE))

    assert str(example) == "x: Plan, then wait"
    assert example.steps == (
        Call(
            "plan_trade",
            {"symbol": 'A, "B"', "quantity": 10, "limit_price": None},
            (
                Check("trade_id", Name("T")),
                Check("price", Digits("215.40")),
                Check("approval.required", False),
                Check("checks.0.status", "pass"),
            ),
        ),
        Clock(61),
        Call(
            "execute_trade",
            {"trade_id": Name("T"), "action": "confirm"},
            (Check("current_status", "expired"),),
            "Trade has expired",
        ),
    )


@pytest.mark.parametrize("line", ["Agent: plan_trade", 'Agent: x(a="b" c)', "-> price 1"])
def test_a_line_outside_the_notation_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        examples(page(tmp_path, f"\n## Examples\n\n```text\n{line}\n```\n"))


def test_a_result_is_compared_digit_by_digit_and_bound() -> None:
    names: dict[str, object] = {}
    call = Call("x", {"id": Name("T")}, (Check("t", Name("T")), Check("a.0.p", Digits("215.40"))))

    call.verify(False, '{"t":"trd-1","a":[{"p":215.40}]}', names)

    assert call.with_names(names) == {"id": "trd-1"}
    with pytest.raises(AssertionError):
        call.verify(False, '{"t":"trd-1","a":[{"p":215.4}]}', names)


@pytest.mark.parametrize(("is_error", "text"), [(False, "Trade has expired"), (True, "other")])
def test_an_error_is_one_and_says_its_words(is_error: bool, text: str) -> None:
    with pytest.raises(AssertionError):
        Call("x", {}, error="Trade has expired").verify(is_error, text, {})


@pytest.mark.anyio
async def test_an_example_is_played_through_a_client(
    client: AnyClient, backend: FakeBackend, tmp_path: Path
) -> None:
    text = """
## Examples

```text
Agent: get_trade(trade_id="ID")
  -> trade_id as T, price 215.40
Clock: +61 s
Agent: get_order(trade_id=T)
  -> status "expired"
```
""".replace("ID", TRADE_ID)
    backend.answers(200, f'{{"trade_id":"{TRADE_ID}","status":"pending","price":215.40}}')

    async def advance(seconds: int) -> None:
        backend.answers(200, f'{{"trade_id":"{TRADE_ID}","status":"expired","after":{seconds}}}')

    (example,) = examples(page(tmp_path, text))
    await play(example, client, advance)

    assert [asked.path for asked in backend.asked] == [
        f"/api/v1/trading/trades/{TRADE_ID}",
        f"/api/v1/trading/orders/{TRADE_ID}",
    ]
