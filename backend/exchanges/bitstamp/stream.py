"""The private stream of one account: its order events and trades, market by market.

    open ─▶ subscribe each market ─▶ Event(None) ─▶ reports …
              new market     ─▶ subscribe, replay since it was first needed
              broken chain   ─▶ replay once from the last event
              reconnect asked─▶ new socket and token, subscribe, replay, close the old

There is no channel for all markets: a market is listened to from the first time that
something concerns it. Where a replay cannot close a gap, Event(None) says so.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from backend.domain.errors import (
    NO_ANSWER,
    ExchangeUnavailable,
    OutcomeUnknown,
    RateLimited,
)
from backend.domain.order import OrderReport
from backend.domain.secret import Secret
from backend.exchanges import Event
from backend.exchanges.bitstamp import history
from backend.exchanges.bitstamp.endpoints import Door
from backend.exchanges.bitstamp.fields import optional_text, text
from backend.exchanges.bitstamp.link import (
    WAKE,
    ChannelRefused,
    Frame,
    Link,
    TokenRefused,
)
from backend.exchanges.bitstamp.orders import Memory, Reply, remember, understood
from backend.exchanges.bitstamp.tracking import Tracked, Tracker
from backend.prices.bitstamp import code_of

SILENCE_S = 30.0
_MOST_MARKETS = 500  # Two channels each; a connection bears 1,024.
_OLDEST_LINK = timedelta(days=80)  # The exchange ends it at 90.
_TOKEN_LASTS = timedelta(seconds=50)  # Of 60.
_CLOCKS_DIFFER = timedelta(seconds=5)
# So often may a break hide nothing before the chain is taken to run over others' events.
_FALSE_ALARMS = 3
# A refusal may pass: the exchange uses one word for every error.
_REFUSED_FOR = timedelta(minutes=5)
_RECONNECT = "bts:request_reconnect"
_GAP = Event(None)
_NO_REPLAY = (*NO_ANSWER, RateLimited)


@dataclass(slots=True)
class Token:
    """What authorises subscriptions for a minute."""

    text: Secret
    user_id: str
    made: datetime


class Tokens:
    """One token at a time, however many ask."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._token: Token | None = None
        self._asking = asyncio.Lock()

    async def fresh(self) -> Token:
        """Return a token with at least 10 s left."""
        async with self._asking:
            token = self._token
            if token is None or self._door.market.clock() - token.made >= _TOKEN_LASTS:
                token = await self._ask()
            return token

    async def another(self) -> Token:
        """Return a token that was made now."""
        async with self._asking:
            return await self._ask()

    async def _ask(self) -> Token:
        made = self._door.market.clock()
        reply = await self._door.look("websockets_token/", as_main=True)
        with understood():
            self._token = Token(Secret(text(reply["token"])), text(reply["user_id"]), made)
        return self._token


@dataclass(slots=True)
class _Chain:
    """The linked events of one market.

    Attributes:
        needed: when the market was first needed, by the exchange's clock.
        seen: event ids, the newest.
    """

    needed: datetime
    last: str = ""
    false_alarms: int = 0
    seen: dict[str, None] = field(default_factory=dict)

    def is_broken(self, frame: Frame) -> bool:
        before = frame.get("pre_event_id")
        trusted = self.false_alarms < _FALSE_ALARMS
        return bool(self.last and before and before != self.last and trusted)

    def take(self, event_id: str) -> None:
        if event_id:
            remember(self.seen, event_id, None)
            self.last = event_id


class Stream:
    """The account's stream: one at a time; another may be asked for after it has ended.

    Args:
        find: returns the order of an exchange id with all its fills.
        silence_s: after so long without a frame a sign of life is asked for.
    """

    def __init__(
        self,
        door: Door,
        memory: Memory,
        find: Callable[[str], Awaitable[OrderReport | None]],
        silence_s: float = SILENCE_S,
    ) -> None:
        self.tokens = Tokens(door)
        self._door = door
        self._find = find
        self._silence_s = silence_s
        self._tracker = Tracker(memory)
        self._chains: dict[str, _Chain] = {}
        self._refused: dict[str, datetime] = {}
        self._links: set[Link] = set()

    def watch(self, symbol: str) -> None:
        """Listen to this market too, from now on."""
        if symbol in self._chains or len(self._chains) >= _MOST_MARKETS:
            return
        self._chains[symbol] = _Chain(self._door.market.now())
        for link in self._links:
            link.wake()

    async def close(self) -> None:
        """End every running stream."""
        for link in list(self._links):
            await link.close()

    async def events(self) -> AsyncGenerator[Event, None]:
        """Stream news from now on; see `Exchange.events`."""
        for chain in self._chains.values():
            chain.last = ""  # The caller looks at everything first.
        link = await self._open()
        try:
            await self._subscribe(link)
            yield _GAP
            while True:
                frame = await self._next(link)
                too_old = self._door.market.clock() - link.opened > _OLDEST_LINK
                if frame["event"] == _RECONNECT or too_old:
                    old, link = link, await self._open()
                    for event in await self._moved(old, link):
                        yield event
                for event in await self._news(link, frame):
                    yield event
                if frame is not WAKE and any(map(self._is_due, self._refused)):
                    for event in await self._joined(link):
                        yield event
        finally:
            self._links.discard(link)
            await link.close()

    async def _next(self, link: Link) -> Frame:
        """Return the next frame, asking for a sign of life in a long silence."""
        frame = await link.next(self._silence_s)
        if frame is None:
            await link.heartbeat()
            frame = await link.next(self._silence_s)
        if frame is None:
            raise ExchangeUnavailable("the private stream fell silent")
        return frame

    # --- connections and subscriptions ---

    async def _open(self) -> Link:
        market = self._door.market
        link = await Link.open(market.addresses.socket, market.clock)
        self._links.add(link)
        return link

    async def _moved(self, old: Link, link: Link) -> list[Event]:
        """Listen on another connection before the old one goes, and replay what was between."""
        try:
            await _token(self.tokens.another)
            await self._subscribe(link)
        finally:
            self._links.discard(old)
            await old.close()
        return [event for symbol in sorted(link.symbols) for event in await self._caught_up(symbol)]

    async def _subscribe(self, link: Link) -> list[str]:
        """Listen to every market that is not listened to; return which are new."""
        new = [s for s in self._chains if s not in link.symbols and self._is_due(s)]
        for symbol in new:
            try:
                for kind in ("my_orders", "my_trades"):
                    await self._join(link, f"private-{kind}_{code_of(symbol)}")
            except ChannelRefused:
                # It is followed by look-ups alone for a while.
                self._refused[symbol] = self._door.market.clock()
            else:
                link.symbols.add(symbol)
                self._refused.pop(symbol, None)
        return [symbol for symbol in new if symbol in link.symbols]

    def _is_due(self, symbol: str) -> bool:
        refused = self._refused.get(symbol)
        return refused is None or self._door.market.clock() - refused >= _REFUSED_FOR

    async def _joined(self, link: Link) -> list[Event]:
        """Listen to what is not listened to yet, and replay what was before."""
        new = await self._subscribe(link)
        return [event for symbol in new for event in await self._caught_up(symbol)]

    async def _join(self, link: Link, channel: str) -> None:
        token = await _token(self.tokens.fresh)
        try:
            await link.subscribe(f"{channel}-{token.user_id}", token.text)
            return
        except TokenRefused:
            token = await _token(self.tokens.another)
        try:
            await link.subscribe(f"{channel}-{token.user_id}", token.text)
        except TokenRefused:
            raise ExchangeUnavailable("the exchange does not take the stream's token") from None

    # --- news ---

    async def _news(self, link: Link, frame: Frame) -> list[Event]:
        if frame is WAKE:
            return await self._joined(link)
        channel = frame.get("channel")
        symbol = self._symbol_of(channel) if isinstance(channel, str) else None
        if symbol is None or not isinstance(channel, str):
            return []
        try:
            with understood():
                if channel.startswith("private-my_trades_"):
                    return await self._trade(symbol, frame)
                return await self._order(symbol, frame)
        except OutcomeUnknown:
            return [_GAP]

    def _symbol_of(self, channel: str) -> str | None:
        # The user id stands after the last dash; a market's code may hold dashes.
        code = channel.rpartition("-")[0].rpartition("_")[2]
        return next((symbol for symbol in self._chains if code_of(symbol) == code), None)

    async def _order(self, symbol: str, frame: Frame) -> list[Event]:
        chain, event_id = self._chains[symbol], optional_text(frame.get("event_id"))
        if event_id and event_id in chain.seen:
            return []
        events: list[Event] = []
        if chain.is_broken(frame):
            events = await self._mended(symbol, chain, event_id, self._is_ours(frame))
        if frame["event"] == "order_replaced":
            events.append(_GAP)  # Somebody put another order in an order's place.
        tracked = self._take(symbol, frame)
        return events + _told([tracked] if tracked else [])

    async def _trade(self, symbol: str, frame: Frame) -> list[Event]:
        if not self._is_ours(frame):
            return []
        tracked = self._tracker.take_trade(symbol, frame["data"])
        if tracked is not None:
            return _told([tracked])
        # Its order was placed before we listened: only a look-up tells whose it is.
        with suppress(*_NO_REPLAY):
            report = await self._find(text(frame["data"]["order_id"]))
            if report is not None:
                return [Event(report)]
        return [_GAP]

    async def _mended(
        self, symbol: str, chain: _Chain, event_id: str, is_ours: bool
    ) -> list[Event]:
        """Replay what lies between the last event and this one."""
        try:
            rows = await history.events_after(self._door, symbol, chain.last)
        except _NO_REPLAY:
            return [_GAP]
        ids = [text(row["event_id"]) for row in rows]
        if is_ours and event_id not in ids:
            return [_GAP]  # The replay is behind the stream: it proves nothing.
        before = rows[: ids.index(event_id)] if event_id in ids else rows
        missed = [row for row in before if row["event_id"] not in chain.seen]
        if not missed:
            chain.false_alarms += 1
        return self._replayed(symbol, missed)

    async def _caught_up(self, symbol: str) -> list[Event]:
        """Replay a market since its last event, or since it was first needed."""
        chain = self._chains[symbol]
        start = chain.needed - _CLOCKS_DIFFER
        try:
            if chain.last:
                rows = await history.events_after(self._door, symbol, chain.last)
            else:
                rows = await history.events_since(self._door, symbol, start)
        except _NO_REPLAY:
            return [_GAP]
        with suppress(OutcomeUnknown), understood():
            new = [row for row in rows if row["event_id"] not in chain.seen]
            return self._replayed(symbol, new, start)
        return [_GAP]

    def _replayed(
        self, symbol: str, rows: Iterable[Reply], since: datetime | None = None
    ) -> list[Event]:
        """Take replayed events, and tell of each order once."""
        found: dict[str, Tracked] = {}
        for row in rows:
            tracked = self._take(symbol, row)
            if tracked is not None and (since is None or tracked.last_seen >= since):
                found[tracked.exchange_order_id] = tracked
        return _told(found.values())

    def _take(self, symbol: str, frame: Reply) -> Tracked | None:
        """Take one order event; None: it is another account's of the same user."""
        self._chains[symbol].take(optional_text(frame.get("event_id")))
        if not self._is_ours(frame):
            return None
        return self._tracker.take_event(symbol, text(frame["event"]), frame["data"])

    def _is_ours(self, frame: Reply) -> bool:
        data = frame["data"]
        account = optional_text(frame.get("trade_account_id", data.get("trade_account_id")))
        return account in ("", self._door.subaccount_id or "0")


async def _token(ask: Callable[[], Awaitable[Token]]) -> Token:
    try:
        return await ask()
    except RateLimited as error:
        raise ExchangeUnavailable(error.detail) from None


def _told(orders: Iterable[Tracked]) -> list[Event]:
    reports = (tracked.report() for tracked in orders)
    return [Event(report) for report in reports if report is not None]
