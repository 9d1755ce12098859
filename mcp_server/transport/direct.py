"""A short way for updates: a transport that writes text takes them as text, at once.

Without it each of a thousand subscribers' updates is built, checked and written anew.
"""

from collections.abc import Callable
from contextvars import ContextVar

# Takes a frame, and what a newer one of the same name may replace (None: nothing may).
Direct = Callable[[str, str | None], None]

direct: ContextVar[Direct | None] = ContextVar("direct", default=None)
