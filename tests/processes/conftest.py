"""One zygote for all tests of this folder that a worker runs."""

from collections.abc import Iterator

import pytest

from tests.processes.zygote import Zygote
from tests.processes.zygote import zygote as started


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    with started() as made:
        yield made
