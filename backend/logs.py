"""Structured logs on standard error, with a second line of defence against secrets."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

_SECRET = re.compile(r"xmcp_[A-Za-z0-9_]+|(?i:bearer)\s+\S+")
_KEYS = frozenset({"token", "secret", "password", "authorization", "credential", "key"})


def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace what looks like a credential, by its key or by its form."""
    for name, value in event.items():
        if name.lower() in _KEYS:
            event[name] = "[redacted]"
        elif isinstance(value, str):
            event[name] = _SECRET.sub("[redacted]", value)
    return event


def configure(level: str) -> None:
    """Write JSON lines to standard error from `level` on."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            redact,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    # Libraries that print requests, headers and frames stay quiet.
    for name in ("httpx", "httpcore", "httpx2", "httpcore2", "websockets", "uvicorn.access"):
        logging.getLogger(name).setLevel(logging.WARNING)
