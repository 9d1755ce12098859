"""What the paper exchange shall do wrong: an ordered script, for tests and the testing kit.

Each submit takes the next word for submits, each look-up the next word for look-ups.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, Self, TypeVar

from backend.domain.errors import ExchangeUnavailable, OutcomeUnknown
from backend.domain.instrument import Instrument
from backend.domain.order import Order

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SubmitFault:
    """What happens to one submit."""

    kind: Literal[
        "none", "lose_request", "lose_answer", "reject", "delay", "partial", "unavailable"
    ]
    code: str = ""
    delay: timedelta = timedelta()
    quantity: Decimal = Decimal(0)


@dataclass(eq=False)
class FaultScript:
    """The script, and what was seen of the caller.

    Attributes:
        attempts: every order that `submit` was called with.
        sent: those of which a byte left: all but the `unavailable` ones.
    """

    attempts: list[Order] = field(default_factory=list)
    sent: list[Order] = field(default_factory=list)
    _submits: deque[SubmitFault] = field(default_factory=deque)
    _lookups: deque[str] = field(default_factory=deque)
    _hidden_until: datetime | None = None
    _rules: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _on_the_way: list[tuple[datetime, str, Order]] = field(default_factory=list)
    _stream: set[str] = field(default_factory=set)

    # --- the words ---

    def accept(self) -> Self:
        """Let one submit through as it is."""
        return self._submit(SubmitFault("none"))

    def lose_request(self) -> Self:
        """The order never arrives; the caller cannot tell."""
        return self._submit(SubmitFault("lose_request"))

    def lose_answer(self) -> Self:
        """The order arrives and its answer is lost."""
        return self._submit(SubmitFault("lose_answer"))

    def reject(self, code: str = "insufficient_funds") -> Self:
        """The exchange refuses the order with `code`."""
        return self._submit(SubmitFault("reject", code=code))

    def delay(self, seconds: int) -> Self:
        """The caller times out; the order arrives at the first call that many seconds later.

        Past its `valid_until` it is refused on arrival.
        """
        return self._submit(SubmitFault("delay", delay=timedelta(seconds=seconds)))

    def partial(self, quantity: Decimal) -> Self:
        """Fill `quantity` at the order's own price, then cancel the rest."""
        return self._submit(SubmitFault("partial", quantity=quantity))

    def unavailable(self) -> Self:
        """The exchange is not reached: no byte is written."""
        return self._submit(SubmitFault("unavailable"))

    def hide(self, times: int = 1) -> Self:
        """Let the next `times` look-ups find nothing."""
        self._lookups.extend(["hide"] * times)
        return self

    def hide_until(self, moment: datetime) -> Self:
        """Let every look-up before `moment` find nothing."""
        self._hidden_until = moment
        return self

    def fail_lookups(self, times: int = 1, unavailable: bool = False) -> Self:
        """Let the next `times` look-ups get no answer."""
        self._lookups.extend(["unavailable" if unavailable else "unknown"] * times)
        return self

    def stale_rules(self, symbol: str, **changes: Any) -> Self:
        """Judge orders by changed rules of which `instruments` does not tell."""
        self._rules[symbol] = changes
        return self

    def duplicate_events(self) -> Self:
        """Stream every event twice."""
        self._stream.add("duplicate")
        return self

    def reorder_events(self) -> Self:
        """Stream every two events that are ready together in the wrong order."""
        self._stream.add("reorder")
        return self

    def drop_stream(self) -> Self:
        """Break the stream once, at its next event."""
        self._stream.add("drop")
        return self

    # --- what the exchange asks ---

    def next_submit(self) -> SubmitFault:
        """Return what happens to this submit."""
        return self._submits.popleft() if self._submits else SubmitFault("none")

    def put_on_the_way(self, arrival: datetime, account: str, order: Order) -> None:
        """Keep a delayed order until it arrives."""
        self._on_the_way.append((arrival, account, order))

    def arrived(self, account: str, now: datetime) -> list[Order]:
        """Return, once, the account's delayed orders that have arrived."""
        here = [e for e in self._on_the_way if e[1] == account and e[0] <= now]
        self._on_the_way = [e for e in self._on_the_way if e not in here]
        return [order for _, _, order in sorted(here, key=lambda e: e[0])]

    def looks_hidden(self, now: datetime) -> bool:
        """Say whether this look-up finds nothing, or raise that it got no answer."""
        word = self._lookups.popleft() if self._lookups else ""
        if word == "unknown":
            raise OutcomeUnknown("the look-up got no answer")
        if word == "unavailable":
            raise ExchangeUnavailable("the exchange was not reached")
        return word == "hide" or (self._hidden_until is not None and now < self._hidden_until)

    def true_rules(self, instrument: Instrument) -> Instrument:
        """Return the rules that orders are judged by."""
        return replace(instrument, **self._rules.get(instrument.symbol, {}))

    def breaks_stream(self) -> bool:
        """Say, once, whether the stream breaks now."""
        said = "drop" in self._stream
        self._stream.discard("drop")
        return said

    def disturbed(self, events: Sequence[T]) -> list[T]:
        """Return the events that are ready as the stream shall show them."""
        shown = list(events)
        if "reorder" in self._stream:
            for i in range(0, len(shown) - 1, 2):
                shown[i], shown[i + 1] = shown[i + 1], shown[i]
        return [event for event in shown for _ in range(2 if "duplicate" in self._stream else 1)]

    def _submit(self, fault: SubmitFault) -> Self:
        self._submits.append(fault)
        return self
