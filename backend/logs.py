"""Structured logs on standard error, with a second line of defence against secrets."""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from typing import Any, TextIO, cast

import structlog

# What a member, header or parameter is called that holds a secret.
_NAME = (
    r"(?:api[_-]?key|listen[_-]?key|private[_-]?key|x-mbx-apikey|x-auth[\w-]{0,32}"
    r"|signature|secret|passphrase|password|credentials?|\bauthorization|\bauth)"
)
_SECRET_NAME = re.compile(rf"(?:.*[_-])?{_NAME}|secret[_-]?key|token|key", re.IGNORECASE)
_SECRET = re.compile(r"xmcp_[A-Za-z0-9_]+|(?i:bearer)\s+\S+")
_KEY_BLOCK = re.compile(
    r"-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,32}PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
# `name=value`, `name: value`, `"name": "value"`, `('name', 'value')`, also within quotes.
_MEMBER = re.compile(
    rf"""({_NAME}(?:[_-]?key)?(?:\\?["']\s*[:=,]|\s*[:=])\s*)"""
    r"""(?:b?\\?"[^"]*"?|b?\\?'[^']*'?|(?:(?:bitstamp|basic|digest)\s+)?[^\s"'&,;)}\]]+)""",
    re.IGNORECASE,
)


def without_secrets(text: str) -> str:
    """Return `text` with what looks like a credential replaced."""
    text = _KEY_BLOCK.sub("[redacted]", text)
    return _MEMBER.sub(r"\1[redacted]", _SECRET.sub("[redacted]", text))


# Libraries that print requests, headers and frames, or a line per bad token.
_QUIET = (
    "httpx",
    "httpcore",
    "httpx2",
    "httpcore2",
    "websockets",
    "uvicorn.access",
    "fastmcp.server.auth",
    "keyring",
)


def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace what looks like a credential, by its key or by its form, at any depth."""
    for name, value in event.items():
        event[name] = _clean(name, value)
    return event


def _clean(name: object, value: Any) -> Any:
    if _is_secret(name):
        return "[redacted]"
    if isinstance(value, Mapping):
        return {key: _clean(key, item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        if isinstance(value, list | tuple) and len(value) == 2:
            return [_clean(None, value[0]), _clean(value[0], value[1])]  # A header, it may be.
        return [_clean(None, item) for item in value]
    # What is neither text nor a plain number is written as its repr: that is looked at.
    return value if isinstance(value, int | float | None) else without_secrets(_text(value))


def _is_secret(name: object) -> bool:
    text = name.decode("latin-1") if isinstance(name, bytes) else name
    return isinstance(text, str) and _SECRET_NAME.fullmatch(text) is not None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


class _StandardError:
    """Standard error as it is when a line is written: a host program may replace it.

    A line that cannot be written (a full disk, a closed pipe) is lost, and nothing else: it
    may stand between a claim and its order.
    """

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()


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
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _StandardError())),
        cache_logger_on_first_use=False,  # Each command sets its own level.
    )
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
