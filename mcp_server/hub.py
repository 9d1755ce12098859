"""Everything that one token's clients follow: one long poll of the backend for all of it.

            join                       told, each in its own queue
 client ───────────▶ Follower ◀──────────────────────────────────┐
 client ───────────▶ Follower ◀── Hub ◀── GET /events?uris=… ◀── backend

Trade events have numbers: whoever joins is told what it missed since its own last one, then
goes on with the others; nothing is left out or told twice. Of a price only the newest waits.
"""

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from mcp_server.backend_client import AnswerLost, BackendClient, NotReached, Reply

# What the backend takes in one poll; an account's trades are one subject.
MOST_URIS = 200
_MOST_WAITING = 2048
_LONGEST_URI = 100
_SCHEMES = ("trade://", "orders://", "price://")
_WAIT_S = 20
_BACK_OFF_S = (0.05, 5.0)
# Between two polls that brought nothing but prices: newer ones replace them meanwhile.
_PACE_S = 0.005
# Where all that is followed is gone: an account was deleted, say.
_GONE_S = 1.0
_ENDED = frozenset({401, 403})


class Unheard(Exception):
    """The backend could not be asked now: nothing was subscribed to."""


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to one subject.

    Attributes:
        told: `event_id`, `event`, `at` and `data`; numbers are doubles.
        text: the same as JSON; every digit is there.
    """

    uri: str
    event_id: str
    told: Mapping[str, Any]
    text: str


class Follower:
    """What one client is to be told, in order; what it has been told of each subject.

    Attributes:
        over: nothing more will come: the token ended, or the client reads too slowly.
    """

    def __init__(self) -> None:
        self.over = False
        self.told: dict[str, int | str] = {}
        self._send: Callable[[Event], None] | None = None
        self._waiting: OrderedDict[int | str, Event] = OrderedDict()
        self._number = 0
        self._news = asyncio.Event()

    def offer(self, event: Event) -> None:
        """Queue an event of a subject that it follows, unless it has been told."""
        uri, event_id = event.uri, event.event_id
        before = self.told.get(uri)
        if before is None or self.over:
            return
        if is_price(uri):
            if event_id != before:
                self.told[uri] = event_id
                self._put(uri, event)
        elif int(event_id) > int(before):
            self.told[uri] = int(event_id)
            self._number += 1
            self._put(self._number, event)

    def send_to(self, send: Callable[[Event], None]) -> None:
        """Hand over what waits, and from now on each event at once."""
        self._send = send
        while self._waiting:
            send(self._waiting.popitem(last=False)[1])

    def end(self) -> None:
        """Let it be told what waits, and then no more."""
        self.over = True
        self._news.set()

    async def next(self) -> Event | None:
        """Return the next event, None at the end."""
        while not self._waiting:
            if self.over:
                return None
            self._news.clear()
            await self._news.wait()
        return self._waiting.popitem(last=False)[1]

    def _put(self, key: int | str, event: Event) -> None:
        if self._send is not None:
            self._send(event)
            return
        self._waiting[key] = event
        if len(self._waiting) > _MOST_WAITING:
            self.end()  # It comes back and is told what it missed.
        self._news.set()


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of the backend."""

    events: Sequence[Event]
    uris: Collection[str]
    cursor: str

    @property
    def seq(self) -> int:
        """The last trade event that was looked at."""
        return int(self.cursor.partition(".")[0])

    @property
    def rest(self) -> str:
        """What the backend keeps there besides."""
        return self.cursor.partition(".")[2]


class Hub:
    """The followers of one token.

    Attributes:
        on_idle: called when nobody is left.
    """

    def __init__(self, client: BackendClient, token: str | None) -> None:
        self.on_idle: Callable[[], None] = _nothing
        self._client = client
        self._token = token
        self._followers: dict[str, set[Follower]] = {}
        self._cursor: str | None = None
        self._generation = 0
        self._joining = 0
        self._pause_s = _BACK_OFF_S[0]
        self._added = asyncio.Event()
        self._call: asyncio.Task[Page] | None = None
        self._task: asyncio.Task[None] | None = None

    async def join(
        self, follower: Follower, uris: Sequence[str], resume: Mapping[str, str]
    ) -> list[str]:
        """Let a follower follow what it may, from now on or after the events it names.

        Returns:
            the subjects that are there for this token; of the others nothing is told.

        Raises:
            Unheard: the backend could not be asked.
        """
        wanted = [uri for uri in dict.fromkeys(uris) if _may_be_ours(uri)][:MOST_URIS]
        if not wanted:
            return []
        self._joining += 1
        try:
            first = await self._asked(wanted, None)
            there = [uri for uri in wanted if uri in first.uris and self._has_room(uri)]
            for uri in there:
                follower.told[uri] = "" if is_price(uri) else _since(resume.get(uri), first.seq)
            seq = await self._catch_up(follower, there, first)
        finally:
            self._joining -= 1
        self._enter(follower, there, f"{seq}.{first.rest}")
        return there

    async def _catch_up(self, follower: Follower, uris: Sequence[str], first: Page) -> int:
        """Tell a follower what it missed, up to what the others were told; return how far."""
        for event in first.events:
            follower.offer(event)
        seq = min((int(follower.told[u]) for u in uris if not is_price(u)), default=first.seq)
        while seq < max(first.seq, self._seq()):
            page = await self._asked(uris, str(seq))
            for event in page.events:
                follower.offer(event)
            seq = page.seq
        return seq

    def leave(self, follower: Follower, uris: Collection[str] | None = None) -> None:
        """Tell a follower no more, of these subjects or of anything."""
        for uri in list(follower.told if uris is None else uris):
            follower.told.pop(uri, None)
            others = self._followers.get(uri, set())
            others.discard(follower)
            if not others:
                self._followers.pop(uri, None)
        if not self._followers and not self._joining:
            self._idle()

    async def close(self) -> None:
        """End every subscription."""
        task = self._task
        self._end_all()
        if task is not None:
            await asyncio.gather(task, return_exceptions=True)

    def _enter(self, follower: Follower, uris: Sequence[str], cursor: str) -> None:
        """Add a follower that knows everything up to `cursor`; nothing is awaited here."""
        if not uris:
            return
        new = [uri for uri in uris if uri not in self._followers]
        for uri in uris:
            self._followers.setdefault(uri, set()).add(follower)
        if self._cursor is None:
            self._cursor = cursor
        elif new:  # What it was told of prices is older than what the hub was told, maybe.
            self._cursor = f"{self._seq()}.{cursor.partition('.')[2]}"
        if new:
            self._generation += 1
            self._added.set()
            if self._call is not None:
                self._call.cancel()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="follow events")

    def _has_room(self, uri: str) -> bool:
        return uri in self._followers or len(self._followers) < MOST_URIS

    def _seq(self) -> int:
        return 0 if self._cursor is None else int(self._cursor.partition(".")[0])

    async def _run(self) -> None:
        try:
            while self._followers:
                page = await self._polled()
                if page is not None:
                    self._cursor = page.cursor
                    for event in page.events:
                        for follower in tuple(self._followers.get(event.uri, ())):
                            follower.offer(event)
        except _TokenEnded:
            self._task = None
            self._end_all()

    async def _polled(self) -> Page | None:
        """Return the next page; None: subjects were added meanwhile, or nobody answered."""
        generation, began = self._generation, time.monotonic()
        asking = self._asked(sorted(self._followers), self._cursor, _WAIT_S)
        call = self._call = asyncio.create_task(asking, name="poll events")
        try:
            await asyncio.wait({call})
        finally:
            call.cancel()
            self._call = None
        if call.cancelled():
            return None
        try:
            page = call.result()
        except _TokenEnded:
            raise
        except Unheard:
            self._pause_s = min(self._pause_s * 2, _BACK_OFF_S[1])
            await self._wait(self._pause_s)
            return None
        self._pause_s = _BACK_OFF_S[0]
        if all(is_price(event.uri) for event in page.events):
            pace_s = _PACE_S if page.uris else _GONE_S
            await self._wait(began + pace_s - time.monotonic())
        return page if generation == self._generation else None

    async def _wait(self, seconds: float) -> None:
        """Wait, unless more is to be followed."""
        self._added.clear()
        if seconds > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._added.wait()

    async def _asked(self, uris: Sequence[str], after: str | None, wait_s: int = 0) -> Page:
        params = {"uris": ",".join(uris), "after": after, "wait_s": wait_s, "limit": 500}
        try:
            reply = await self._client.call("GET", "/events", params=params, token=self._token)
        except (NotReached, AnswerLost) as error:
            raise Unheard("the backend was not reached") from error
        if reply.status in _ENDED:
            raise _TokenEnded("the token was revoked or has expired")
        if reply.status != 200 or reply.data is None:
            raise Unheard(f"the backend answered {reply.status}")
        return Page(list(_events(reply)), frozenset(reply.data["uris"]), reply.data["cursor"])

    def _end_all(self) -> None:
        for follower in {one for each in self._followers.values() for one in each}:
            follower.end()
        self._followers.clear()
        self._idle()

    def _idle(self) -> None:
        self.on_idle()
        self._cursor = None
        if self._task is not None:
            self._task.cancel()
            self._task = None


def _nothing() -> None:
    """Nobody wants to know."""


class _TokenEnded(Unheard):
    """The backend lets this token in no more."""


def _events(reply: Reply) -> Iterator[Event]:
    """Yield the events of an answer, with the digits that it has: `events` comes first."""
    decode, place = json.JSONDecoder().raw_decode, reply.text.index("[") + 1
    while reply.text[place] == "{":
        event, end = decode(reply.text, place)
        data = data_of(reply.text[place:end])
        told = {name: event[name] for name in ("event_id", "event", "at", "data")}
        head = json.dumps({**told, "data": None}, separators=(",", ":")).removesuffix("null}")
        yield Event(event["uri"], event["event_id"], told, f"{head}{data}}}")
        place = end + (reply.text[end] == ",")


def data_of(text: str) -> str:
    """Return the text of the first `data` in an answer, as it came."""
    after = text.partition('"data":')[2]
    _, end = json.JSONDecoder().raw_decode(after)
    return after[:end]


def _may_be_ours(uri: str) -> bool:
    return uri.startswith(_SCHEMES) and len(uri) <= _LONGEST_URI and "," not in uri


def is_price(uri: str) -> bool:
    """Say whether a subject is a price: only its newest event counts."""
    return uri.startswith("price://")


def _since(event_id: str | None, now: int) -> int:
    """Return the last event that a client has heard; what is none of ours means none."""
    known = event_id is not None and event_id.isascii() and event_id.isdigit()
    return min(int(event_id or 0), now) if known and len(str(event_id)) <= 15 else now
