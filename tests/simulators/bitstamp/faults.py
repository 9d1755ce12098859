"""What can go wrong, each an explicit word that a test scripts for the next matching request."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.simulators.bitstamp.model import PLAIN, Twist
from tests.simulators.bitstamp.wire import (
    Refusal,
    auth_refusal,
    derivatives_refusal,
    html_reply,
    order_refusal,
    plain_refusal,
)
from tests.simulators.http import Reply

RETRY_TEXT = "Order could not be placed. Please retry."


@dataclass(frozen=True, slots=True)
class Fault:
    """How one request goes wrong.

    `committed`: the exchange did what was asked. `refusal` or `page` is answered in place of the
    true answer; `wire` is what happens to the answer's bytes: "drop", "truncate", "unsigned" or
    "missigned". `kept`: the request is on its way until `deliver_late`.
    """

    committed: bool = True
    refusal: Refusal | None = None
    names_order: bool = False
    page: Reply | None = None
    wire: str = ""
    kept: bool = False
    stale: bool = False
    pending: bool = False
    twist: Twist = PLAIN


NO_FAULT = Fault()
_FORMS: dict[str, Callable[[str, str, int], Refusal]] = {
    "auth": lambda code, text, status: auth_refusal(code, text, status),
    "order": lambda code, text, status: order_refusal(code, text, status=status),
    "plain": lambda code, text, status: plain_refusal(text, status),
    "derivatives": lambda code, text, status: derivatives_refusal(code, text, "market", status),
    "message": lambda code, text, status: Refusal({"message": text}, status),
}


def reject(code: str, text: str, form: str = "order", status: int = 200) -> Fault:
    """Nothing is done and an error is answered, in the envelope `form`:
    auth, order, plain, derivatives, or message (`{"message": text}`)."""
    return Fault(committed=False, refusal=_FORMS[form](code, text, status))


def lose_answer() -> Fault:
    """The request is carried out, then the connection drops."""
    return Fault(wire="drop")


def lose_request() -> Fault:
    """The connection drops and nothing was carried out."""
    return Fault(committed=False, wire="drop")


def late() -> Fault:
    """The connection drops; the request itself still arrives, at `deliver_late`."""
    return Fault(committed=False, wire="drop", kept=True)


def timed_out(committed: bool = True) -> Fault:
    """500.016, naming the order, which is live if `committed`."""
    text = "Request timed out before order confirmation. Check order status."
    return Fault(committed=committed, refusal=order_refusal("500.016", text), names_order=True)


def server_error(code: str, committed: bool, status: int = 200) -> Fault:
    """A 500.xxx code in a body, the work done or not."""
    return Fault(committed=committed, refusal=order_refusal(code, "Internal error.", status=status))


def could_not_be_placed(committed: bool) -> Fault:
    """The text that looks like a reject and is none."""
    return Fault(committed=committed, refusal=plain_refusal(RETRY_TEXT))


def html_502(committed: bool) -> Fault:
    """A proxy's error page, the work done or not."""
    return Fault(committed=committed, page=html_reply(502, "Bad Gateway"))


def rate_limited(status: int = 429) -> Fault:
    """Too many requests: 429 JSON, or another status with 400.002 in the body."""
    return Fault(
        committed=False, refusal=order_refusal("400.002", "Too many requests.", status=status)
    )


def truncated() -> Fault:
    """The work is done; the answer's body stops in the middle."""
    return Fault(wire="truncate")


def unsigned() -> Fault:
    """The work is done; the answer has no X-Server-Auth-Signature."""
    return Fault(wire="unsigned")


def missigned() -> Fault:
    """The work is done; X-Server-Auth-Signature is wrong."""
    return Fault(wire="missigned")


def hidden() -> Fault:
    """The order is live, and look-ups do not know it until `unhide`."""
    return Fault(twist=Twist(hidden=True))


def recorded_as(client_order_id: str) -> Fault:
    """The order is live under another client order id than the one sent."""
    return Fault(twist=Twist(client_order_id=client_order_id))


def doubled() -> Fault:
    """One request, two live orders of the same client order id."""
    return Fault(twist=Twist(doubled=True))


def dust() -> Fault:
    """The order ends with 1e-8 left over."""
    return Fault(twist=Twist(dust=True))


def trades_last() -> Fault:
    """The stream tells the order's end before its trades."""
    return Fault(twist=Twist(trades_last=True))


def created_empty() -> Fault:
    """order_created carries zeros for all three amounts."""
    return Fault(twist=Twist(created_empty=True))


def cancel_pending() -> Fault:
    """The cancel is taken, not done: "Cancel pending" until `finish_cancels`."""
    return Fault(pending=True)


def stale() -> Fault:
    """The answer given last to the same question (an empty list if there was none)."""
    return Fault(committed=False, stale=True)


class Faults:
    """The script. Operations are named as in `routes`; "*" means any."""

    def __init__(self) -> None:
        self._next: dict[str, deque[Fault]] = {}
        self._always: dict[str, Fault] = {}

    def next(self, operation: str, *faults: Fault) -> None:
        """The next requests of this kind go wrong so, one each, in this order."""
        self._next.setdefault(operation, deque()).extend(faults)

    def always(self, operation: str, fault: Fault) -> None:
        """Each request of this kind goes wrong so, until `clear`."""
        self._always[operation] = fault

    def clear(self, operation: str | None = None) -> None:
        """Withdraw what is scripted for an operation, or everything."""
        for script in (self._next, self._always):
            if operation is None:
                script.clear()
            else:
                script.pop(operation, None)

    @property
    def unused(self) -> dict[str, int]:
        """How many scripted words still wait, by operation."""
        return {name: len(queue) for name, queue in self._next.items() if queue}

    def take(self, operation: str) -> Fault:
        """The fault of a request that arrives now."""
        for name in (operation, "*"):
            if self._next.get(name):
                return self._next[name].popleft()
        return self._always.get(operation, self._always.get("*", NO_FAULT))


def refusal_of(fault: Fault, answer: Any) -> Refusal | None:
    """The error that is answered in place of `answer`, with the order's id where it has one."""
    if fault.refusal is None or not fault.names_order or not isinstance(answer, dict):
        return fault.refusal
    named = answer.get("order_id", answer.get("id"))
    return Refusal(fault.refusal.body | {"order_id": named}, fault.refusal.status)
