"""One server for all the refusals of a module: they change nothing, so they may share it."""

from collections.abc import Iterator

import pytest

from backend.testing import BlockingStack, blocking_stack


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlockingStack]:
    """A server without rate limit to speak of."""
    home = tmp_path_factory.mktemp("server") / "home"
    with blocking_stack(home, rate_limit_per_s=100_000) as opened:
        yield opened
