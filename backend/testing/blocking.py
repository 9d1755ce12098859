"""The stack for tests that are not async: its methods wait until they are done."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal

from backend.testing.stack import Stack, stack


class BlockingStack:
    """Everything a `Stack` has, without `await`; the stack runs in a thread of its own.

    Only its methods block: what they hand out, such as `http`, stays async. Use
    `run(function, …)` for a coroutine function of your own.
    """

    def __init__(self, stack: Stack, portal: BlockingPortal) -> None:
        self._stack = stack
        self._portal = portal

    def __getattr__(self, name: str) -> Any:
        """Return the stack's own attribute; a coroutine method made blocking."""
        found = getattr(self._stack, name)
        return partial(self.run, found) if iscoroutinefunction(found) else found

    def run(self, function: Callable[..., Any], *given: Any, **named: Any) -> Any:
        """Call a coroutine function beside the stack and wait for its result."""
        return self._portal.call(partial(function, *given, **named))


@contextmanager
def blocking_stack(home: Path, **options: Any) -> Iterator[BlockingStack]:
    """Open a stack with the options of `stack`, in a thread."""
    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(stack(home, **options)) as opened,
    ):
        yield BlockingStack(opened, portal)
