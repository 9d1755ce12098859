"""What happened since somebody last asked: to trades, in their one order, and to prices.

| subject                      | tells                                | `data`               |
|------------------------------|--------------------------------------|----------------------|
| `trade://{trade_id}`         | each row of the audit about it       | as of `get_trade`    |
| `orders://{account_id}`      | the same of each trade of an account | as of `get_trade`    |
| `price://{exchange}/{symbol}`| each new price; only the newest      | as of `get_price`    |

Trade events are rows of the audit: durable, the same from every process of the home, and
numbered, so that nothing is missed or told twice. Prices are of this process and moment.
`data` is what stands when an event is told, not when it happened.
"""

import asyncio
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import unquote

from backend.database import Row, Transaction
from backend.domain.clock import from_row, to_et
from backend.domain.errors import ExchangeUnavailable, NotFound, Refused, Unauthorised
from backend.services import Desk, feeds, lookup, views
from backend.services import accounts as all_of
from backend.services.bell import AuditBell
from backend.services.feeds import Feed, Feeds
from backend.store import accounts, audit, tokens, trades
from backend.store.accounts import Account
from backend.store.tokens import Token

WAIT_MOST_S = 25
URIS_MOST = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """What a caller wants to know.

    Attributes:
        after: a cursor, or the last `event_id`; None: from now on.
        wait_s: how long to wait for the first event.
        limit: how many rows of the audit at most.
    """

    uris: Sequence[str]
    after: str | None = None
    wait_s: float = 0
    limit: int = 100


class Position(NamedTuple):
    """How far a caller has read: the audit's rows, and the prices of one process.

    Attributes:
        seq: the last row of the audit; None: only what comes from now on.
    """

    seq: int | None
    process: str = ""
    prices: int = 0


class Events:
    """Answers polls, and lets them wait."""

    def __init__(self, desk: Desk) -> None:
        self.feeds = Feeds(desk)
        self._desk = desk
        self._news = AuditBell(desk.database)
        self._name = secrets.token_hex(4)
        self._closing = False

    def stop(self) -> None:
        """Answer everybody who waits, now; nobody waits any more."""
        self._closing = True
        self._news.ring()

    async def close(self) -> None:
        """End what runs in the background."""
        self.stop()
        await self._news.close()
        await self.feeds.close()

    async def poll(self, caller: Token, asked: Asked) -> dict[str, Any]:
        """Return the events after a position, waiting for the first one if one can come.

        Returns:
            `events`, oldest first, then prices; the `uris` that the caller may see, and
            a `cursor` to go on from. What others own looks like what is not there.

        Raises:
            Refused: the cursor is none of ours, or there are too many uris.
            Unauthorised: the token ended meanwhile.
        """
        if len(asked.uris) > URIS_MOST:
            raise Refused(f"uris must be at most {URIS_MOST}, was {len(asked.uris)}")
        position, deadline = _position(asked.after), _now_s() + asked.wait_s
        woken = asyncio.Event()
        followed = await self._followed(caller, asked.uris)
        with ExitStack() as stack:
            if asked.wait_s:
                stack.enter_context(self._news.wakes(woken))
                for _, feed in followed.values():
                    stack.enter_context(feed.wakes(woken))
            while not self._closing:
                woken.clear()
                look = await self._look(caller, asked, followed, position)
                left = deadline - _now_s()
                done = look.events or look.is_behind or not look.uris or left <= 0
                if done or self._closing:
                    return look.answer(self._name)
                position = look.position
                with suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await woken.wait()
        raise ExchangeUnavailable("the server is stopping; ask again in a moment")

    async def _look(
        self,
        caller: Token,
        asked: Asked,
        followed: Mapping[str, tuple[Account, Feed]],
        position: Position,
    ) -> "_Look":
        def body(tx: Transaction) -> _Look:
            if not tokens.is_alive(tx, caller.kid):
                raise Unauthorised("a valid API token is needed")
            return _trade_events(tx, caller, asked, position)

        look = await self._desk.database.read(body)
        known = position.prices if position.process == self._name else 0
        for uri, (account, feed) in followed.items():
            if feed.version > known:
                look.events.append(self._price_event(uri, account, feed))
        look.uris += followed
        look.position = Position(look.position.seq, self._name, self.feeds.version)
        return look

    def _price_event(self, uri: str, account: Account, feed: Feed) -> dict[str, Any]:
        return {
            "event_id": f"{self._name}.{feed.version}",
            "uri": uri,
            "event": "price.stale" if feed.stale else "price.changed",
            "at": to_et(feed.told_at),
            "data": feeds.shown(feed, account),
        }

    async def _followed(
        self, caller: Token, uris: Iterable[str]
    ) -> dict[str, tuple[Account, Feed]]:
        """Return the feed of each price that the caller may see."""
        wanted = [(uri, *_parts(rest)) for uri in uris if (rest := _rest("price", uri))]
        if not wanted:
            return {}
        mine = await all_of.reachable(self._desk, caller)
        found = {}
        for uri, place, symbol in wanted:
            account = self._account(mine, place)
            if account is not None:
                with suppress(Refused, ExchangeUnavailable):  # No such book, or none known.
                    found[uri] = account, await self.feeds.of(account, symbol)
        return found

    def _account(self, mine: Sequence[Account], place: str) -> Account | None:
        """Return through whose eyes an exchange is seen: the default account's, else live."""
        there = [one for one in mine if place in (one.exchange, one.id)]
        default = self._desk.config.default_account
        order = {default: 0, "live": 1}
        there.sort(key=lambda one: min(order.get(one.id, 2), order.get(one.environment, 2)))
        return there[0] if there else None


@dataclass(slots=True)
class _Look:
    """One look at what is there.

    Attributes:
        is_behind: there may be more that was not looked at.
    """

    events: list[dict[str, Any]]
    uris: list[str]
    position: Position
    is_behind: bool

    def answer(self, process: str) -> dict[str, Any]:
        seq, _, prices = self.position
        cursor = f"{seq}.{process}.{prices}"
        return {"events": self.events, "uris": self.uris, "cursor": cursor}


def _trade_events(tx: Transaction, caller: Token, asked: Asked, position: Position) -> _Look:
    mine = _visible_trades(tx, caller, asked.uris)
    theirs = _visible_accounts(tx, caller, asked.uris)
    head = audit.head(tx)[0]
    after = head if position.seq is None else min(position.seq, head)
    ids, numbers = set(mine.values()), set(theirs.values())
    if ids or numbers:
        rows, looked = audit.of_trades(tx, ids, numbers, after, asked.limit)
    else:
        rows, looked = [], head
    told = _Told(tx)
    events = [told.event(uri, row) for row in rows for uri in told.uris(row, mine, theirs)]
    return _Look(events, [*mine, *theirs], Position(looked), looked < head)


class _Told:
    """The events of one look; each trade is shown once, however often it is told."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._views: dict[str, dict[str, Any]] = {}
        self._accounts: dict[str, int] = {}

    def event(self, uri: str, row: Row) -> dict[str, Any]:
        return {
            "event_id": str(row["seq"]),
            "uri": uri,
            "event": row["event"],
            "at": to_et(from_row(row["at"])),
            "data": self._view(row["trade_id"]),
        }

    def uris(self, row: Row, mine: Mapping[str, str], theirs: Mapping[str, int]) -> Iterable[str]:
        trade_id = row["trade_id"]
        self._view(trade_id)
        yield from (uri for uri, wanted in mine.items() if wanted == trade_id)
        number = self._accounts[trade_id]
        yield from (uri for uri, wanted in theirs.items() if wanted == number)

    def _view(self, trade_id: str) -> dict[str, Any]:
        if trade_id not in self._views:
            trade = trades.get(self._tx, trade_id)
            self._views[trade_id] = views.trade_view(self._tx, trade)
            self._accounts[trade_id] = trade.account
        return self._views[trade_id]


def _visible_trades(tx: Transaction, caller: Token, uris: Collection[str]) -> dict[str, str]:
    found = {}
    for uri in uris:
        trade_id = _rest("trade", uri)
        if trade_id is not None:
            with suppress(NotFound):
                found[uri] = lookup.visible(tx, caller, trade_id)[0].id
    return found


def _visible_accounts(tx: Transaction, caller: Token, uris: Collection[str]) -> dict[str, int]:
    found = {}
    for uri in uris:
        account_id = _rest("orders", uri)
        account = accounts.find(tx, account_id) if account_id is not None else None
        if account is not None and caller.sees(account.id):
            found[uri] = account.number
    return found


def _rest(scheme: str, uri: str) -> str | None:
    """Return what a URI names, None where it is of another scheme."""
    kind, _, rest = uri.partition("://")
    return unquote(rest) if kind == scheme else None


def _parts(rest: str) -> tuple[str, str]:
    place, _, symbol = rest.partition("/")
    return place, symbol


def _position(text: str | None) -> Position:
    if text is None:
        return Position(None)
    seq, _, rest = text.partition(".")
    process, _, prices = rest.partition(".")
    numbers = (seq, prices or "0")
    if not all(part.isascii() and part.isdigit() and len(part) <= 15 for part in numbers):
        raise Refused("after must be a cursor, or the event_id of a trade event")
    return Position(int(seq), process, int(numbers[1]))


def _now_s() -> float:
    return asyncio.get_running_loop().time()
