"""The testing kit: the whole product in one process, under a clock that you move.

Opt in with `pytest_plugins = ["backend.testing"]`; see `kb/testing.md`. Without pytest
`stack` and `blocking_stack` work as they are. PYTEST_DONT_REWRITE: a conftest may
import from here before pytest loads the plugin.
"""

from backend.exchanges.paper.faults import FaultScript
from backend.testing.answers import Answer
from backend.testing.blocking import BlockingStack, blocking_stack
from backend.testing.clock import START, FreezegunClock, FrozenClock
from backend.testing.prices import ChosenPrices
from backend.testing.stack import Stack, stack

__all__ = [
    "START",
    "Answer",
    "BlockingStack",
    "ChosenPrices",
    "FaultScript",
    "FreezegunClock",
    "FrozenClock",
    "Stack",
    "blocking_stack",
    "stack",
]

# Only pytest reads this: nothing above needs it installed.
pytest_plugins = ["backend.testing.plugin"]
