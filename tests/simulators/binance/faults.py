"""Scripted faults: words said before, acted upon at the next matching request or event."""

from collections import defaultdict, deque
from dataclasses import dataclass, replace
from typing import Any

from .errors import INVALID_KEY, ApiError, unknown_status


class Lost(Exception):
    """The connection closes without an answer."""


class Html(Exception):
    """An answer that is a page of HTML, not JSON."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTML {status}")
        self.status = status


class Truncated(Exception):
    """An answer cut in the middle of its body."""

    def __init__(self, result: Any) -> None:
        super().__init__("truncated")
        self.result = result


@dataclass(frozen=True, slots=True)
class Fault:
    """One word: how the answer looks, and whether the request is carried out all the same."""

    how: str
    committed: bool = False
    code: int = -1000
    msg: str = ""
    status: int = 400
    times: int | None = 1

    def answer(self, now: int, result: Any) -> Exception:
        """What is raised instead of answering `result`."""
        if self.how == "html":
            return Html(self.status)
        if self.how == "truncated":
            return Truncated(result)
        if self.how == "error":
            return unknown_status(self.code, self.status)
        if self.how == "refusal":
            return self._refusal(now)
        return Lost()

    def _refusal(self, now: int) -> ApiError:
        if self.status not in (418, 429):
            return ApiError(self.code, self.msg, self.status)
        seconds = 120 if self.status == 418 else 10
        data = {"serverTime": now, "retryAfter": now + seconds * 1000}
        return ApiError(self.code, self.msg, self.status, data, {"Retry-After": str(seconds)})


_TOO_MUCH = "Too many requests; please use WebSocket Streams for live updates."
WORDS = {
    "reject": Fault("refusal", code=-2010, msg="Order rejected."),
    "lose_answer": Fault("lost", committed=True),
    "lose_request": Fault("lost"),
    "late": Fault("late"),
    "error": Fault("error", code=-1007, status=504),
    "html_502": Fault("html", status=502),
    "html_403": Fault("html", status=403),
    "truncated": Fault("truncated", committed=True),
    "denied": Fault("refusal", code=-2015, msg=INVALID_KEY, status=401),
    "limited": Fault("refusal", code=-1003, msg=_TOO_MUCH, status=429),
    "banned": Fault("refusal", code=-1003, msg=_TOO_MUCH, status=418),
}
KINDS = ("order", "cancel", "query")
STREAM_WORDS = ("drop", "duplicate", "reorder", "silent")


class Faults:
    """The words waiting for requests: by operation name first, then by its kind."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, deque[Fault]] = defaultdict(deque)

    def script(self, target: str, word: str, **details: Any) -> None:
        """Say a word for a kind (order, cancel, query) or a method (`openOrders.status`).

        Details override the word's `committed`, `code`, `msg`, `status` and `times`
        (None: until withdrawn). Raises ValueError for an unknown word.
        """
        if word not in WORDS:
            raise ValueError(f"words are {sorted(WORDS)}, was {word!r}")
        self._waiting[target].append(replace(WORDS[word], **details))

    def withdraw(self, target: str) -> None:
        self._waiting.pop(target, None)

    def take(self, name: str, kind: str | None) -> Fault | None:
        """The fault of the next request of this operation, if one was scripted."""
        for target in (name, kind):
            queue = self._waiting.get(target) if target else None
            if queue:
                return _next(queue)
        return None


def _next(queue: deque[Fault]) -> Fault:
    fault = queue[0]
    if fault.times is None:
        return fault
    if fault.times > 1:
        queue[0] = replace(fault, times=fault.times - 1)
    else:
        queue.popleft()
    return fault


class StreamFaults:
    """Bends one sequence of events: drops, doubles, swaps or silences them."""

    def __init__(self) -> None:
        self._waiting: deque[str] = deque()
        self._kept: list[Any] = []
        self.silent = False

    def script(self, word: str, times: int | None = 1) -> None:
        """Say a word for the next `times` events; "silent" lasts until withdrawn."""
        if word not in STREAM_WORDS:
            raise ValueError(f"words are {STREAM_WORDS}, was {word!r}")
        if word == "silent":
            self.silent = True
        else:
            self._waiting.extend([word] * (times or 1))

    def withdraw(self) -> None:
        self._waiting.clear()
        self._kept.clear()
        self.silent = False

    def bend(self, event: Any) -> list[Any]:
        """What is really sent for one event."""
        if self.silent:
            return []
        word = self._waiting.popleft() if self._waiting and not self._kept else None
        if word == "drop":
            return []
        if word == "duplicate":
            return [event, event]
        if word == "reorder":
            self._kept.append(event)
            return []
        sent = [event, *self._kept]
        self._kept.clear()
        return sent
