"""The Bitstamp simulator: REST and WebSocket servers on loopback around one engine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from random import Random
from types import TracebackType
from typing import Any

from tests.simulators.bitstamp import maker, routes
from tests.simulators.bitstamp.account_api import Movement, Token
from tests.simulators.bitstamp.auth import Gatekeeper, Key, reply_signature
from tests.simulators.bitstamp.calls import Call, params_of
from tests.simulators.bitstamp.engine import Engine
from tests.simulators.bitstamp.faults import NO_FAULT, Fault, Faults, refusal_of
from tests.simulators.bitstamp.limits import Limits
from tests.simulators.bitstamp.markets import BUILT_IN, Row
from tests.simulators.bitstamp.model import Account, Fill, Order
from tests.simulators.bitstamp.routes import Route
from tests.simulators.bitstamp.stream import Stream
from tests.simulators.bitstamp.wire import (
    Refusal,
    auth_refusal,
    html_reply,
    json_reply,
    order_refusal,
)
from tests.simulators.http import Drop, HttpServer, Reply, Request, raw_response
from tests.simulators.matching import Book

SIGNATURE_HEADER = "x-server-auth-signature"


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it arrived, without its credentials. `method` is "WS" for socket frames."""

    method: str
    path: str
    params: Mapping[str, str]
    key: str = ""


@dataclass(slots=True)
class _Verdict:
    reply: Reply
    key: Key | None = None


class Simulator:
    """One simulated exchange.

    Args:
        clock: aware UTC times; nothing here has a time of its own.
        seed: of order ids and tokens.
        markets: rows as /markets/ sends them; a small built-in set if left out.
        hosts: names, besides 127.0.0.1:PORT with or without "http://", that clients may sign.
        own_chain: my_orders frames link over the user's own events of a market; False links
            them over everybody's.
    """

    def __init__(
        self,
        clock: Callable[[], datetime],
        seed: int = 0,
        markets: Iterable[Mapping[str, Any]] = BUILT_IN,
        hosts: Iterable[str] = (),
        own_chain: bool = True,
    ) -> None:
        self.clock = clock
        self.random = Random(seed)
        self.engine = Engine(clock, markets, self.random, own_chain)
        self.faults = Faults()
        self.limits = Limits(clock)
        self.requests: list[Seen] = []
        self.headers: list[Mapping[str, str]] = []
        self.accounts: list[Account] = []
        self.movements: list[Movement] = []
        self.tokens: dict[str, Token] = {}
        self.listed: dict[tuple[Account, str], tuple[datetime, list[Row]]] = {}
        self.order_error_status = 200
        self.signs_errors = False
        self.stream = Stream(clock, self.tokens, self._note_frame)
        self.rest_url = self.ws_url = ""
        self._gatekeeper = Gatekeeper(clock)
        self._by_key: dict[str, Account] = {}
        self._hosts = tuple(hosts)
        self._late: list[Request] = []
        self._answered: dict[tuple[str, bytes, str], Reply] = {}
        self._http = HttpServer(self._handle)

    # --- running ---

    async def start(self, port: int = 0, ws_port: int = 0) -> None:
        """Open both servers; `rest_url` and `ws_url` are set afterwards."""
        await self._http.start(port)
        await self.stream.start(ws_port)
        self.engine.feed.send = self.stream.send
        self.rest_url, self.ws_url = self._http.url, self.stream.url
        netloc = self.rest_url.removeprefix("http://")
        self._hosts = (*self._hosts, netloc, self.rest_url)

    async def stop(self) -> None:
        """Close both servers; raises what the simulator itself did wrong."""
        await self.stream.stop()
        await self._http.stop()

    async def __aenter__(self) -> Simulator:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    # --- what stands in it ---

    def add_account(
        self,
        balances: Mapping[str, Decimal],
        *,
        parent: Account | None = None,
        rights: Iterable[str] = ("read", "trade"),
        can_withdraw: bool = False,
        maker_percent: Decimal = Decimal("0.30000"),
        taker_percent: Decimal = Decimal("0.40000"),
        tradable: Iterable[str] | None = None,
    ) -> Account:
        """An account with a key of its own; a sub-account of `parent` if there is one.

        Balances are by currency, in either case; fees in percent; `tradable` market symbols.
        """
        count = len(self.accounts) + 1
        account = Account(
            user_id=4_416_056 + count,
            key=self._secret(32),
            secret=self._secret(32),
            balances={name.lower(): Decimal(total) for name, total in balances.items()},
            maker_percent=maker_percent,
            taker_percent=taker_percent,
            trade_account_id=0 if parent is None else 3_141_591 + count,
            parent=parent,
            tradable=None if tradable is None else frozenset(tradable),
        )
        granted = {*rights, *(("withdraw",) if can_withdraw else ())}
        self._gatekeeper.keys[account.key] = Key(account.key, account.secret, frozenset(granted))
        self._by_key[account.key] = account
        self.accounts.append(account)
        return account

    @property
    def orders(self) -> list[Order]:
        """Every order of every account, oldest first; the market maker's are left out."""
        return [order for order in self.engine.orders.values() if not order.account.is_house]

    @property
    def fills(self) -> list[Fill]:
        """Every fill of every account, oldest first."""
        return self.engine.fills

    @property
    def books(self) -> dict[str, Book]:
        """The books by market symbol."""
        return self.engine.books

    # --- what a test does to it ---

    def set_touch(
        self,
        symbol: str,
        bid: Decimal,
        ask: Decimal,
        depth: Decimal = Decimal(10),
        levels: int = 3,
    ) -> None:
        """Move the market maker: `depth` of base at each of `levels` prices a side."""
        maker.set_touch(self.engine, self.engine.markets[symbol], bid, ask, depth, levels)

    def move(self, account: Account, currency: str, change: Decimal) -> None:
        """A deposit (positive) or a withdrawal."""
        account.balances[currency] = account.balances.get(currency, Decimal(0)) + change
        number = self.engine.next_trade_id()
        self.movements.append(Movement(number, account, currency, change, self.clock()))

    def change_market(self, symbol: str, **fields: Any) -> None:
        """Change a market's row: `trading="Disabled"`, `counter_decimals=2`, anything."""
        self.engine.markets[symbol].row.update(fields)

    def revoke(self, key: str, code: str = "API0001") -> None:
        """The key is refused from now on, with this code."""
        self._gatekeeper.keys[key].refused_with = code

    def unhide(self) -> None:
        """Look-ups know every order again."""
        for order in self.orders:
            order.hidden = False

    def finish_cancels(self) -> None:
        """Do the cancels that were pending."""
        for order in self.orders:
            if order.cancel_pending:
                self.engine.cancel(order)

    def tick(self) -> None:
        """End orders whose time is over; every request does so too."""
        self.engine.expire_due()

    def roll_back(self, *, orders: int = 0, fills: int = 0) -> None:
        """Undo the last trades of accounts, and forget their last orders, without a word."""
        maker.roll_back(self.engine, orders, fills)
        self.listed.clear()

    async def deliver_late(self) -> list[Reply]:
        """The late requests arrive now, and are refused if their time is over; their answers."""
        arrived, self._late = self._late, []
        self.tick()
        return [self._answer(request, *self._route(request), NO_FAULT).reply for request in arrived]

    # --- a request ---

    async def _handle(self, request: Request) -> Reply:
        self.tick()
        self.headers.append(request.headers)
        found = routes.find(request.method, request.path)
        self._note(request)
        if self.limits.is_exceeded():
            refusal = order_refusal("400.002", "Request rate limit exceeded.")
            return json_reply(refusal.body, self.limits.status)
        if found is None:
            return html_reply(404, "Not Found")
        fault = self.faults.take(found[0].operation)
        if fault.kept:
            self._late.append(request)
        if fault.wire == "drop" and not fault.committed:
            raise Drop
        verdict = self._answer(request, *found, fault)
        return self._send(self._sign(verdict, request, fault), fault)

    def _route(self, request: Request) -> tuple[Route, dict[str, str]]:
        found = routes.find(request.method, request.path)
        assert found is not None, "only known calls are kept"
        return found

    def _answer(
        self, request: Request, route: Route, place: dict[str, str], fault: Fault
    ) -> _Verdict:
        verdict = _Verdict(html_reply(500, "Internal Server Error"))
        call = Call(self, params_of(request), place, fault)
        try:
            if route.right:
                verdict.key = self._gatekeeper.check(request, self._hosts)
                call.acting = self._acting(verdict.key, request, route.right)
            verdict.reply = self._do(request, route, call)
        except Refusal as refusal:
            verdict.reply = self._refused(refusal)
        return verdict

    def _do(self, request: Request, route: Route, call: Call) -> Reply:
        fault, question = (
            call.fault,
            (request.path, request.body, request.headers.get("x-auth", "")),
        )
        if fault.stale:
            return self._answered.get(question, json_reply([]))
        answer = route.handle(call) if fault.committed else None
        refusal = refusal_of(fault, answer)
        if refusal is not None:
            raise refusal
        if fault.page is not None:
            return fault.page
        self._answered[question] = json_reply(answer)
        return self._answered[question]

    def _refused(self, refusal: Refusal) -> Reply:
        status = refusal.status
        if status == 200 and "response_code" in refusal.body:
            status = self.order_error_status
        return json_reply(refusal.body, status)

    def _acting(self, key: Key, request: Request, right: str) -> Account:
        account = self._by_key[key.key]
        if right not in key.rights:
            raise auth_refusal("API0003", "No permission found")
        wanted = request.headers.get("x-auth-subaccount-id")
        if not wanted or wanted == str(account.trade_account_id):
            return account
        for other in self.accounts:
            if other.parent is account and str(other.trade_account_id) == wanted:
                return other
        raise auth_refusal("API0003", "No permission found")

    def _sign(self, verdict: _Verdict, request: Request, fault: Fault) -> Reply:
        reply, key = verdict.reply, verdict.key
        unsigned = fault.wire == "unsigned" or fault.page is not None
        if key is None or unsigned or (reply.status != 200 and not self.signs_errors):
            return reply
        nonce, stamp = request.headers["x-auth-nonce"], request.headers["x-auth-timestamp"]
        secret = "another secret" if fault.wire == "missigned" else key.secret
        signed = reply_signature(secret, nonce, stamp, reply)
        return replace(reply, headers={**reply.headers, SIGNATURE_HEADER: signed})

    def _send(self, reply: Reply, fault: Fault) -> Reply:
        if fault.wire == "drop":
            raise Drop
        date = self.clock().strftime("%a, %d %b %Y %H:%M:%S GMT")
        reply = replace(reply, headers={**reply.headers, "Date": date})
        if fault.wire == "truncate":
            raise Drop(raw_response(reply)[: -max(1, len(reply.body) // 2)])
        return reply

    # --- notes ---

    def _note(self, request: Request) -> None:
        key = request.headers.get("x-auth", "").partition(" ")[2]
        self.requests.append(Seen(request.method, request.path, params_of(request), key))

    def _note_frame(self, event: str, params: dict[str, str]) -> None:
        self.requests.append(Seen("WS", event, params))

    def _secret(self, length: int) -> str:
        letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
        return "".join(self.random.choice(letters) for _ in range(length))

    def describe(self) -> str:
        """Where it listens and the first account's credentials, as JSON on one line."""
        account = self.accounts[0]
        return json.dumps(
            {
                "rest_url": self.rest_url,
                "ws_url": self.ws_url,
                "user_id": account.user_id,
                "key": account.key,
                "secret": account.secret,
            }
        )
