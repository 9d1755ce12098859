"""Opts the project's own tests into its testing kit; long campaigns run only when asked for."""

import gc

import pytest

pytest_plugins = ["backend.testing"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-soak", action="store_true", help="run the long campaigns too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--run-soak"):
        return
    long = [item for item in items if item.get_closest_marker("soak") is not None]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item.get_closest_marker("soak") is None]


def pytest_collection_finish() -> None:
    """Let the collector pass over what lives to the end: thousands of tests and all modules."""
    gc.collect()
    gc.freeze()
