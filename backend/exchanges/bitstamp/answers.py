"""From an answer on the wire to an outcome: four error envelopes, one verdict.

| envelope | |
|---|---|
| `{"status": "error", "reason", "code"}` | authentication |
| `{"status": "error", "reason", "response_code"}` | most refusals, often under HTTP 200 |
| `{"error": text or by field}` | older calls |
| `{"code", "message"}`, `{"message"}` | derivatives, the front door |

A code counts only inside one of these, a text only where the exchange signed it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from backend.domain.errors import ExchangeRejected, ExecError, OutcomeUnknown, RateLimited
from backend.exchanges.bitstamp import rejections
from backend.exchanges.bitstamp.fields import id_in, read_json
from backend.wire import Answer

_SHOWN = 120


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error that the exchange answered.

    Attributes:
        code: the exchange's own, "" if it gave none.
        said: its text, at most 120 printable ASCII characters.
        order_id: of the order that the error is about, "" if it names none.
        is_signed: by the exchange, and to our request.
    """

    status: int
    code: str
    said: str
    order_id: str = ""
    is_signed: bool = False

    @property
    def kind(self) -> rejections.Kind | None:
        """Return its class, or None: it proves nothing. A 3xx or a 5xx never does."""
        if self.status // 100 not in (2, 4):
            return None
        return rejections.kind_of(self.code, self.said, self.is_signed)

    @property
    def is_rate_limit(self) -> bool:
        """Say whether the exchange wants fewer requests."""
        return self.status == 429 or self.kind is rejections.BY_NAME["rate"]

    def proves(self, code: str) -> bool:
        """Say whether the exchange itself said that there is no such thing, in this code."""
        return self.is_signed and self.status // 100 in (2, 4) and self.code == code


def read(answer: Answer) -> Any:
    """Return the content of an answer, numbers as Decimal, or a `Refusal`.

    Raises:
        OutcomeUnknown: it is not JSON: a proxy's page, or cut short.
    """
    try:
        content = read_json(answer.body)
        if _is_error(content) or answer.status != 200:
            return _refusal(content, answer.status)
    except (ValueError, RecursionError):
        if answer.status == 429:  # Whatever its page says.
            return Refusal(429, "", "")
        raise OutcomeUnknown(
            f"the exchange's answer was not understood (HTTP {answer.status})"
        ) from None
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
    code, names = "", ["message"]
    if _is_error(content):
        code = content.get("code") or content.get("response_code") or ""
        names = ["reason", "error", "message", "response_explanation"]
    said = next((found for name in names for found in _texts(content.get(name))), "")
    return Refusal(status, _shown(code), _shown(said), id_in(content, "order_id", "id"))


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
