"""What an answer proves: good, refused for good, not told, or outcome unknown."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, TypeVar

import msgspec

from backend import wire
from backend.domain.clock import to_et
from backend.domain.errors import ExchangeRejected, ExecError, OutcomeUnknown, RateLimited
from backend.exchanges.binance.rejections import TOO_MANY, sentence
from backend.exchanges.binance.times import from_ms, to_ms

T = TypeVar("T")

_TEXT_LIMIT = 120
_WAIT = timedelta(seconds=60)
_WAIT_AT_LEAST = timedelta(seconds=1)
_TOO_MANY_STATUS = (418, 429)
_WAIT_AT_MOST_S = 4 * 86_400  # The longest ban is three days.

# What a decoder or a parser may raise on what a stranger sent.
NOT_UNDERSTOOD = (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError)


class ErrorBody(msgspec.Struct):
    """The exchange's error object; `data` is whatever belongs to the code."""

    code: Annotated[int, msgspec.Meta(ge=-1_000_000, le=1_000_000)]
    message: str = msgspec.field(name="msg", default="")
    data: Any = None


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, whichever road it came.

    Attributes:
        body: JSON of the result; empty unless `good`.
        code, message: the exchange's own error; 0 and "" where there is none.
        retry_at: until when the exchange told us to be silent.
    """

    status: int
    body: bytes | msgspec.Raw = b""
    code: int = 0
    message: str = ""
    retry_at: datetime | None = None

    @property
    def good(self) -> bool:
        """Say whether it is an authenticated success."""
        return self.status == 200


def from_rest(answer: wire.Answer, now: datetime) -> Answer:
    """Return what came over REST."""
    if answer.status == 200:
        return Answer(200, answer.body)
    try:
        error = msgspec.json.decode(answer.body, type=ErrorBody)
    except NOT_UNDERSTOOD:
        error = ErrorBody(0)  # HTML of a proxy, or nothing.
    limited = answer.status in _TOO_MANY_STATUS or (answer.status == 403 and not error.code)
    retry_at = now + _retry_after(answer.headers) if limited else None
    return Answer(answer.status, b"", error.code, error.message, retry_at)


def from_socket(status: int, error: ErrorBody | None, now: datetime) -> Answer:
    """Return an error that came over the WebSocket API."""
    code, message = (0, "") if error is None else (error.code, error.message)
    retry_at = None
    if status in _TOO_MANY_STATUS:
        retry_at = _told_until(error, now)
    return Answer(status, b"", code, message, retry_at)


def _retry_after(headers: Mapping[str, str]) -> timedelta:
    text = headers.get("retry-after", "")
    is_number = text.isascii() and text.isdigit() and len(text) < 9
    if not is_number:
        return _WAIT
    return max(timedelta(seconds=min(int(text), _WAIT_AT_MOST_S)), _WAIT_AT_LEAST)


def _told_until(error: ErrorBody | None, now: datetime) -> datetime:
    data = error.data if error is not None and isinstance(error.data, dict) else {}
    told = data.get("retryAfter")
    if not isinstance(told, int):
        return now + _WAIT
    # By our clock it may be over already: then too there was a reason to tell it.
    until = from_ms(min(max(told, 0), to_ms(now) + _WAIT_AT_MOST_S * 1000))
    return max(until, now + _WAIT_AT_LEAST)


def refusal(answer: Answer, also: Mapping[int, str] | None = None) -> ExecError:
    """Return what a bad answer to an order or a cancel proves.

    Args:
        also: codes that are refusals here and nowhere else.

    Returns:
        ExchangeRejected for a code of the closed list; OutcomeUnknown for all else.
    """
    why = sentence(answer.code, answer.message)
    if why is None and also is not None:
        why = also.get(answer.code)
    if why is None or not 400 <= answer.status < 500:
        return OutcomeUnknown(f"the exchange's answer proves nothing ({_named(answer)})")
    return ExchangeRejected(f"the exchange refused: {why} ({answer.code})", str(answer.code))


def not_told(answer: Answer) -> ExecError:
    """Return why a look-up has no answer: never evidence of anything."""
    if answer.retry_at is not None or answer.code in TOO_MANY:
        when = {} if answer.retry_at is None else {"retry_at": to_et(answer.retry_at)}
        return RateLimited(f"the exchange told us to wait ({_named(answer)})", **when)
    why = sentence(answer.code, answer.message)
    return OutcomeUnknown(
        f"the exchange did not tell: {why or 'no usable answer'} ({_named(answer)})"
    )


def _named(answer: Answer) -> str:
    return (
        f"status {answer.status}, code {answer.code}" if answer.code else f"status {answer.status}"
    )


@contextmanager
def understood() -> Iterator[None]:
    """Turn an answer that is not what it should be into an unknown outcome."""
    try:
        yield
    except NOT_UNDERSTOOD:
        raise OutcomeUnknown("the exchange's answer was not understood") from None


def read(body: bytes | msgspec.Raw, kind: type[T]) -> T:
    """Return a good answer's result.

    Raises:
        OutcomeUnknown: it is not what it should be.
    """
    with understood():
        return msgspec.json.decode(body, type=kind)


def printable(text: str) -> str:
    """Return a stranger's text, short and without controls."""
    return "".join(letter for letter in text[:_TEXT_LIMIT] if letter.isprintable())
