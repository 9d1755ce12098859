"""The story, played in this process, and the command line as a process of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.results import Result

Command = Callable[..., Result]

ROOT = Path(__file__).parents[2]
DATA = ROOT / ".." / "shared" / "data"
STORY = (
    '"status":"pending"',
    '"status":"executed"',
    '"code":"trade_not_pending"',
    '"status":"cancelled"',
    '"current_status":"expired"',
    '"status":"executing"',
    "Exactly one order reached the exchange.",
    '"positions"',
    "The invariants hold.",
)


def _in_order(parts: tuple[str, ...], text: str) -> bool:
    for part in parts:
        _, here, text = text.partition(part)
        if not here:
            return False
    return True


def test_the_demo_tells_the_whole_story_in_order(exec_mcp: Command, home: Path):
    result = exec_mcp("demo")

    assert (result.code, result.err) == (0, "")
    assert _in_order(STORY, result.out)
    assert not home.exists()


@pytest.mark.parametrize(
    ("file", "symbol"),
    [
        ("equities/minute/spy_20230803_quote.csv", "SPY"),
        ("equities/daily/aapl_1d_raw.csv", "AAPL"),
        ("binance/klines/BTCUSDT_1d_2019.json", "BTC/USDT"),
        ("binance/klines/lean_BTCBUSD_1m_2022-12-13.csv", "BTC/BUSD"),
    ],
)
def test_the_demo_is_priced_from_a_recording(exec_mcp: Command, file: str, symbol: str):
    path = DATA / file
    if not path.exists():
        pytest.skip("the recorded data is not here")

    result = exec_mcp("demo", "--replay", str(path))

    assert result.code == 0
    assert f"Prices: replay:{path.name}@20" in result.out
    assert f'"symbol":"{symbol}"' in result.out
    assert _in_order(STORY, result.out)


def test_the_demo_buys_one_step_of_what_costs_more_than_its_share(
    exec_mcp: Command, tmp_path: Path
):
    bars = "time,open,high,low,close\n2024-01-02T10:00:00Z,20000,20000,20000,20000\n"
    (tmp_path / "DEAR.csv").write_text(bars)

    result = exec_mcp("demo", "--replay", str(tmp_path / "DEAR.csv"))

    assert result.code == 0
    assert '"quantity":1,"symbol":"DEAR"' in result.out


@pytest.mark.parametrize("content", [None, "", "junk\n", "a,b\n1,2\n"])
def test_the_demo_refuses_a_bad_recording_in_one_sentence(
    exec_mcp: Command, tmp_path: Path, content: str | None
):
    file = tmp_path / "bad.csv"
    if content is not None:
        file.write_text(content)

    result = exec_mcp("demo", "--replay", str(file))

    assert result.code == 1
    assert "bad.csv" in result.err
    assert result.err.count("\n") == 1


def _process(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "EXEC_MCP_HOME": str(home)},
        cwd=ROOT,
        input="",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


MAIN = ("-c", "from backend.cli import main; main()")


def test_the_demo_ends_by_itself_in_a_pipe(tmp_path: Path):
    done = _process(*MAIN, "demo", home=tmp_path / "home")

    assert (done.returncode, done.stderr) == (0, "")
    assert _in_order(STORY, done.stdout)


def test_a_refusal_ends_the_process_with_1_and_no_traceback(tmp_path: Path):
    done = _process(*MAIN, "approve", "trd-nothing", home=tmp_path / "home")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "exec-mcp: there is no trade 'trd-nothing'\n"


def test_stdio_starts_without_what_only_other_commands_need(tmp_path: Path):
    heavy = "{'cyclopts', 'rich', 'fastapi', 'structlog', 'prometheus_client', 'fastmcp'}"
    code = (
        "import sys, backend.cli, backend.cli.exits, backend.config;"
        f"print(sorted({heavy} & set(sys.modules)))"
    )

    assert _process("-c", code, home=tmp_path).stdout == "[]\n"
