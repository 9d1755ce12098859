"""How Bitstamp spells things: numbers, times, and its four error envelopes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from typing import Any

from tests.simulators.http import Reply

JSON_TYPE = "application/json"
SIDES = ("buy", "sell")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Refusal(Exception):
    """The exchange says no (or claims to): an error body and its HTTP status."""

    def __init__(self, body: dict[str, Any], status: int = 200) -> None:
        super().__init__(json.dumps(body))
        self.body = body
        self.status = status


def auth_refusal(code: str, reason: str, status: int = 403) -> Refusal:
    """Envelope 1: `{"status", "reason", "code"}`."""
    return Refusal({"status": "error", "reason": reason, "code": code}, status)


def order_refusal(code: str, reason: str, where: str = "__all__", status: int = 200) -> Refusal:
    """Envelope 2: reasons by field, `response_code` and `response_explanation`."""
    body = {
        "status": "error",
        "reason": {where: [reason]},
        "response_code": code,
        "response_explanation": reason,
    }
    return Refusal(body, status)


def plain_refusal(text: str, status: int = 200) -> Refusal:
    """Envelope 3: `{"error": text}`."""
    return Refusal({"error": text}, status)


def derivatives_refusal(code: str, message: str, field: str, status: int = 400) -> Refusal:
    """Envelope 4: `{"code", "message", "field"}`."""
    return Refusal({"code": code, "message": message, "field": field}, status)


def json_reply(body: Any, status: int = 200) -> Reply:
    """A JSON answer, spelled as Bitstamp's own: no blanks after commas and colons."""
    text = json.dumps(body, separators=(",", ":"))
    return Reply(status, text.encode(), {"content-type": JSON_TYPE})


def html_reply(status: int, title: str) -> Reply:
    """The page of a proxy in front of the exchange."""
    page = f"<html><head><title>{status} {title}</title></head><body>{title}</body></html>"
    return Reply(status, page.encode(), {"content-type": "text/html"})


def fixed(value: Decimal, places: int) -> str:
    """`value` with exactly `places` decimals, cut rather than rounded."""
    return format(value.quantize(Decimal(1).scaleb(-places), ROUND_DOWN), "f")


def at_least(value: Decimal, places: int) -> str:
    """`value` in full, padded to `places` decimals."""
    exponent = value.normalize().as_tuple().exponent
    assert isinstance(exponent, int)
    return fixed(value, max(places, -exponent))


def rounded(value: Decimal, places: int) -> Decimal:
    """`value` rounded half up to `places` decimals."""
    return value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)


def number(value: Decimal) -> int | float:
    """A JSON number, as the exchange's older fields are: a double, or an integer."""
    return int(value) if value == value.to_integral_value() else float(value)


def microseconds(moment: datetime) -> int:
    """Since 1970, exact."""
    return (moment - _EPOCH) // _MICROSECOND


def milliseconds(moment: datetime) -> int:
    """Since 1970, cut."""
    return microseconds(moment) // 1000


def seconds(moment: datetime) -> int:
    """Since 1970, cut."""
    return microseconds(moment) // 1_000_000


def from_microseconds(stamp: int) -> datetime:
    """An aware time in UTC."""
    return _EPOCH + stamp * _MICROSECOND


def long_datetime(moment: datetime) -> str:
    """`2022-01-31 14:43:15.796000`, UTC without saying so."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def short_datetime(moment: datetime) -> str:
    """`2022-01-31 14:43:15`, UTC without saying so."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def iso_datetime(moment: datetime) -> str:
    """`2022-01-31T14:43:15.796000Z`, as replace_order spells it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
