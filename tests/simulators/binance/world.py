"""Everything the exchange knows, without any wire: accounts, keys, engine, limits, faults."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from .accounts import Account
from .engine import Engine
from .errors import ApiError
from .faults import Faults, StreamFaults
from .instruments import Instrument
from .limits import Limits
from .params import Params
from .reading import Reads
from .signing import Key, make_key

_AHEAD_MS = 1000
_OUTSIDE = "Timestamp for this request is outside of the recvWindow."
_AHEAD = "Timestamp for this request was 1000ms ahead of the server's time."
ENVIRONMENTS = ("live", "testnet", "demo")


@dataclass(frozen=True, slots=True)
class Seen:
    """One request that arrived: REST method and path, or "WS" and the method's name."""

    method: str
    path: str
    params: dict[str, str]
    time: int


class World:
    """State and rules shared by REST, the WebSocket API and the market streams."""

    def __init__(
        self,
        clock: Callable[[], datetime],
        seed: int,
        environment: str,
        instruments: list[Instrument],
    ) -> None:
        if environment not in ENVIRONMENTS:
            raise ValueError(f"environments are {ENVIRONMENTS}, was {environment!r}")
        self._clock = clock
        self.environment = environment
        self.dice = random.Random(seed)
        self.instruments = {item.symbol: item for item in instruments}
        self.accounts: dict[int, Account] = {}
        self.keys: dict[str, Key] = {}
        self.engine = Engine(self.now, self.instruments, self.accounts, self.dice)
        self.reads = Reads(self.engine, self.accounts)
        self.limits = Limits()
        self.faults = Faults()
        self.user_faults, self.market_faults = StreamFaults(), StreamFaults()
        self.exchange_filters: dict[str, int] = {}
        self.delays_ms = {1: 0, 2: 0, 3: 0}
        self.maintenance = False
        self.requests: list[Seen] = []
        self.late: list[Call] = []

    def now(self) -> int:
        """Server time in ms."""
        return int(self._clock().timestamp() * 1000)

    def add_account(self, balances: dict[str, Decimal], kind: str, **options: Any) -> Account:
        uid = 350_000_001 + len(self.accounts)
        key = make_key(uid, kind, self.dice)
        account = Account(uid, key, self.limits.new_order_count(), start=dict(balances), **options)
        account.refill()
        self.accounts[uid] = account
        self.keys[key.name] = key
        return account

    def add_key(self, account: Account, kind: str, **options: bool) -> Key:
        key = make_key(account.uid, kind, self.dice, **options)
        self.keys[key.name] = key
        return key

    def instrument(self, symbol: str) -> Instrument:
        """Raises ApiError -1121."""
        if symbol not in self.instruments:
            raise ApiError(-1121, "Invalid symbol.")
        return self.instruments[symbol]

    def check_window(self, check: int, params: Params) -> None:
        """One of the three window checks, later by the delays injected up to it. Raises -1021."""
        delay = sum(self.delays_ms[number] for number in range(1, check + 1))
        now = Decimal(self.now() + delay)
        sent = params.timestamp_ms()
        if check == 1 and sent >= now + _AHEAD_MS:
            raise ApiError(-1021, _AHEAD)
        if now - sent > params.window_ms():
            raise ApiError(-1021, _OUTSIDE)


@dataclass(slots=True)
class Call:
    """One admitted request on its way to its handler."""

    world: World
    params: Params
    api: str
    account: Account | None = None
    key: Key | None = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def caller(self) -> Account:
        """The account that signed."""
        if self.account is None:
            raise LookupError("this operation is not signed")
        return self.account

    @property
    def caller_key(self) -> Key:
        if self.key is None:
            raise LookupError("this operation is not signed")
        return self.key

    def symbol(self) -> str:
        """The mandatory symbol, known to the exchange."""
        return self.world.instrument(self.params.required("symbol")).symbol
