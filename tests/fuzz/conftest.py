"""One server for all that is sent to it, and one of each exchange."""

from collections.abc import Iterator

import pytest

from tests.fuzz import answers
from tests.fuzz.openapi import QUOTES
from tests.properties.home import Home, opened


@pytest.fixture(scope="package")
def home() -> Iterator[Home]:
    with opened(QUOTES) as made:
        made.keep()
        yield made


@pytest.fixture(scope="package")
def sides() -> Iterator[answers.Sides]:
    with answers.opened() as made:
        yield made
