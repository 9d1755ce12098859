"""Commands run as functions in this process, on a home of their own."""

import asyncio
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from backend.app import Backend, open_backend
from backend.cli import run
from backend.config import read_config
from backend.domain import exact_json
from backend.domain.clock import system_clock
from backend.exchanges.paper.faults import FaultScript
from tests.cli.results import Result


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("EXEC_MCP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("EXEC_MCP_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def exec_mcp(home: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    def command(*arguments: str) -> Result:
        capsys.readouterr()
        code = run(arguments)
        return Result(code, *capsys.readouterr())

    return command


@pytest.fixture
def agent(home: Path) -> Callable[..., dict[str, Any]]:
    """Plan as the agent, `ago_s` before now; `confirm` goes on, with `faults`."""

    def trade(
        *,
        confirm: bool = False,
        faults: FaultScript | None = None,
        ago_s: int = 0,
        **order: Any,
    ) -> dict[str, Any]:
        return asyncio.run(_trade(confirm, faults, ago_s, {**_ORDER, **order}))

    return trade


_ORDER = {"symbol": "AAPL", "side": "buy", "quantity": "10"}


async def _trade(
    confirm: bool, faults: FaultScript | None, ago_s: int, order: dict[str, Any]
) -> dict[str, Any]:
    async with open_backend(
        read_config(),
        background=False,
        faults=faults,
        clock=lambda: system_clock() - timedelta(seconds=ago_s),
    ) as backend:
        made = await _post(backend, "/trading/trades", order)
        if confirm:
            return await _post(backend, f"/trading/trades/{made['trade_id']}/confirm", {})
        return made


async def _post(backend: Backend, path: str, body: dict[str, Any]) -> dict[str, Any]:
    token = (backend.desk.config.home / "agent.token").read_text().strip()
    async with backend.http(token) as http:
        reply = await http.post(f"/api/v1{path}", json=body)
    made: dict[str, Any] = exact_json.loads(reply.text)
    return made
