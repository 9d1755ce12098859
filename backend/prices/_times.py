"""Times as others write them: ISO text, or a number since the Unix epoch."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from dateutil import parser as dates

from backend.prices._market import EPOCH

_MICROSECOND = timedelta(microseconds=1)
_NUMBER = re.compile(r"[0-9]{9,19}(?:\.[0-9]{1,9})?", re.ASCII)
# Year first: what is left out would be filled in, and 08/03 could be either.
_YEAR_FIRST = re.compile(r"\s*\d{4}-?\d{2}-?\d{2}", re.ASCII)
_BLANK = datetime(1970, 1, 1)  # noqa: DTZ001 - what `parsed` fills in, so that no clock is read.


def moment_of(text: str, naive_is_utc: bool = True) -> datetime:
    """Return the aware UTC time of ISO text, or of epoch seconds, ms or µs.

    Raises:
        ValueError: it is neither, or it has no offset and that is not allowed.
    """
    if _NUMBER.fullmatch(text):
        return _since_epoch(text)
    moment = parsed(text)
    if moment.tzinfo is None:
        if not naive_is_utc:
            raise ValueError(f"no UTC offset in the time {text[:40]!r}")
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC)


def parsed(text: str) -> datetime:
    """Return the time that is written there, aware only if it has an offset."""
    if not _YEAR_FIRST.match(text):
        raise ValueError(f"not a time, year first: {text[:40]!r}")
    try:
        return dates.parse(text, default=_BLANK)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"not a time: {text[:40]!r}") from error


def _since_epoch(text: str) -> datetime:
    digits = len(text.partition(".")[0])
    per_unit = 1_000_000 if digits < 12 else 1_000 if digits < 15 else 1
    try:
        return EPOCH + int(Decimal(text) * per_unit) * _MICROSECOND
    except OverflowError as error:
        raise ValueError(f"not a time: {text[:40]!r}") from error
