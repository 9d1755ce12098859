"""The pytest part: two fixtures, one marker."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.testing.blocking import BlockingStack, blocking_stack
from backend.testing.stack import Stack, stack

_FIXTURE = "exec_mcp"


@pytest.fixture
async def exec_mcp(
    anyio_backend: Any,  # Asking for it is what makes anyio run us, and the test as well.
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> AsyncIterator[Stack]:
    """The whole product on a fresh home; `@pytest.mark.exec_mcp(…)` sets its options."""
    async with stack(tmp_path / "exec-mcp", **_options(request)) as opened:
        yield opened


@pytest.fixture
def exec_mcp_sync(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BlockingStack]:
    """The same for tests that are not async."""
    with blocking_stack(tmp_path / "exec-mcp", **_options(request)) as opened:
        yield opened


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, also under `--strict-markers`."""
    config.addinivalue_line("markers", "exec_mcp(**options): options of the stack: kb/testing.md")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run our tests on asyncio only.

    Where a project leaves anyio's own `anyio_backend` in place and has trio, anyio makes a
    second test of each; ours is left out, and the project's other tests stay as they are.
    """
    foreign = [item for item in items if _FIXTURE in _fixtures(item) and not _on_asyncio(item)]
    if foreign:
        config.hook.pytest_deselected(items=foreign)
        items[:] = [item for item in items if item not in foreign]


def _options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return the options of every marker, the nearest one winning."""
    options: dict[str, Any] = {}
    for marker in request.node.iter_markers("exec_mcp"):
        options = {**marker.kwargs, **options}
    return options


def _fixtures(item: pytest.Item) -> list[str]:
    return getattr(item, "fixturenames", [])


def _on_asyncio(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    chosen = callspec.params.get("anyio_backend", "asyncio") if callspec else "asyncio"
    return (chosen if isinstance(chosen, str) else chosen[0]) == "asyncio"
