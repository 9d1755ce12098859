"""From an answer on the wire to an outcome: four error envelopes, one verdict.

| envelope | |
|---|---|
| `{"status": "error", "reason", "code"}` | authentication |
| `{"status": "error", "reason", "response_code"}` | most refusals, often under HTTP 200 |
| `{"error": text or by field}` | older calls |
| `{"code", "message"}`, `{"message"}` | derivatives, the front door |
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from backend.domain.errors import ExchangeRejected, ExecError, OutcomeUnknown, RateLimited
from backend.domain.exact_json import loads
from backend.exchanges.bitstamp import rejections
from backend.wire import Answer

_SHOWN = 120


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error that the exchange answered.

    Attributes:
        code: the exchange's own, "" if it gave none.
        said: its text, at most 120 printable ASCII characters.
        order_id: of the order that the error is about, "" if it names none.
    """

    status: int
    code: str
    said: str
    order_id: str = ""

    @property
    def kind(self) -> rejections.Kind | None:
        """Return its class, or None: it proves nothing. A 5xx never proves anything."""
        return None if self.status >= 500 else rejections.kind_of(self.code, self.said)

    @property
    def is_rate_limit(self) -> bool:
        """Say whether the exchange wants fewer requests."""
        return self.kind is rejections.BY_NAME["rate"]

    @property
    def is_order_not_found(self) -> bool:
        """Say whether it is the documented "not found" of an order."""
        by_text = not self.code and self.said.startswith(rejections.ORDER_NOT_FOUND_TEXT)
        return self.status < 500 and (self.code == rejections.ORDER_NOT_FOUND or by_text)


def read(answer: Answer) -> Any:
    """Return the content of an answer, numbers as Decimal, or a `Refusal`.

    Raises:
        OutcomeUnknown: it is not JSON: a proxy's page, or cut short.
    """
    if answer.status == 429:
        return Refusal(429, "HTTP 429", "")
    try:
        content = loads(answer.body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise OutcomeUnknown(
            f"the exchange's answer was not understood (HTTP {answer.status})"
        ) from None
    if _is_error(content) or answer.status != 200:
        return _refusal(content, answer.status)
    return content


def not_placed(refusal: Refusal) -> ExecError:
    """Return what a refusal means for an order that was sent.

    Returns:
        ExchangeRejected for what is on the closed list, else OutcomeUnknown.
    """
    kind = refusal.kind
    if kind is not None:
        return _rejected(refusal, kind.sentence)
    facts = {"order_id": refusal.order_id} if refusal.order_id else {}
    return OutcomeUnknown(
        f"the exchange answered {_name(refusal)}: the order may have been placed", **facts
    )


def no_answer(refusal: Refusal) -> ExecError:
    """Return what a refusal means for a look-up: no evidence of anything."""
    if refusal.is_rate_limit:
        return RateLimited(f"the exchange wants fewer requests ({_name(refusal)})")
    kind = refusal.kind
    if kind is not None:
        return _rejected(refusal, kind.sentence)
    return OutcomeUnknown(f"the exchange answered {_name(refusal)} instead of what was asked")


def unknown_order(refusal: Refusal) -> ExchangeRejected:
    """Return what a cancel of an order that is not open ends in. No evidence either."""
    return ExchangeRejected(
        "the exchange knows no such open order: it may be filled, cancelled or never placed",
        refusal.code or rejections.ORDER_NOT_FOUND,
    )


def _rejected(refusal: Refusal, sentence: str) -> ExchangeRejected:
    said = f"; it said: {refusal.said}" if refusal.said else ""
    code = refusal.code or refusal.said
    return ExchangeRejected(f"{sentence} ({_name(refusal)}){said}", code)


def _name(refusal: Refusal) -> str:
    return refusal.code or f"HTTP {refusal.status} without a code"


def _is_error(content: Any) -> bool:
    return isinstance(content, dict) and (
        content.get("status") == "error"
        or "error" in content
        or ("code" in content and "message" in content)
    )


def _refusal(content: Any, status: int) -> Refusal:
    if not isinstance(content, dict):
        return Refusal(status, "", "")
    code = content.get("code") or content.get("response_code") or ""
    parts = (content.get(name) for name in ("reason", "error", "message", "response_explanation"))
    said = next((found for part in parts for found in _texts(part)), "")
    order_id = content.get("order_id")
    return Refusal(status, _shown(code), _shown(said), _shown(order_id or ""))


def _texts(value: Any) -> Iterator[str]:
    """Yield the sentences of a reason: a text, a list of them, or lists by field."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (found for one in value.values() for found in _texts(one))
    elif isinstance(value, list):
        yield from (found for one in value for found in _texts(one))


def _shown(value: Any) -> str:
    kept = (letter for letter in str(value) if " " <= letter <= "~")
    return "".join(kept)[:_SHOWN]
