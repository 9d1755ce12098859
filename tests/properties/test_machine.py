"""A short run of the machine: the long one is `python -m tests.properties --soak`."""

from collections.abc import Iterator

import pytest

from tests.properties.accounts import QUOTES, furnish
from tests.properties.home import Home, opened
from tests.properties.running import run_lives


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    with opened(QUOTES) as made:
        made.run(furnish(made))
        made.keep()
        yield made


def test_whatever_is_done_the_server_answers_as_the_oracle_says(home: Home) -> None:
    run_lives(home)
