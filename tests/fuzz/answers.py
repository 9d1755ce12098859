"""Both exchanges with answers that say something else: each method ends as its protocol says."""

import asyncio
import json
import re
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from backend.domain.errors import ExchangeRejected, ExchangeUnavailable, OutcomeUnknown, RateLimited
from backend.domain.ledger import FeeSchedule
from backend.domain.order import Fill, Order, OrderReport
from backend.exchanges.binance.rejections import REFUSALS, REFUSED, REJECTIONS
from backend.exchanges.bitstamp import rejections as bitstamp_list
from tests.exchanges import binance_bench, bitstamp_bench
from tests.exchanges.scripted import D
from tests.fuzz.mutations import changes
from tests.simulators.http import Reply, Request

Change = Callable[[bytes], bytes]
# What a question to an exchange may end in; `submit` in no RateLimited.
ENDS = (ExchangeRejected, ExchangeUnavailable, OutcomeUnknown, RateLimited)
# A desk is left for a new one before its lists grow long.
_LASTS = 150
FAR = D(45_000)
LOOK_UPS = ("find", "open_orders", "orders", "fills", "balances", "fees", "identity", "own_rules")


@dataclass
class Side:
    """One exchange on its simulator; what it answers next can be changed.

    Attributes:
        change: what is done to each answer until it is taken away.
        answered: status and body of each changed answer, newest last.
    """

    name: str
    desk: Any
    exchange: Any
    symbol: str
    change: Change | None = None
    status: int | None = None
    count: int = 0

    def __post_init__(self) -> None:
        self.answered: list[tuple[int, bytes]] = []

    def altered(self, reply: Reply) -> Reply:
        if self.change is None:
            return reply
        body = self.change(reply.body)
        status = reply.status if self.status is None else self.status
        self.answered.append((status, body))
        return Reply(status, body, reply.headers)

    def order(self, **changes: Any) -> Order:
        self.count += 1
        name = f"trd-{self.count:020d}".replace("0", "a").replace("1", "b").replace("8", "c")
        made: Order = self.desk.order(name.replace("9", "d"), **changes)
        return made


async def open_binance(home: Path, ws_api_url: str | None = None) -> Side:
    desk = await binance_bench.open_desk(home, ws_api_url=ws_api_url, orders_over="rest")
    side = Side("binance", desk, desk.exchange, "BTC/USDT")
    rest = desk.sim._rest
    answer = rest._handle

    async def handle(request: Request) -> Reply:
        return side.altered(await answer(request))

    rest.server._handle = handle
    await desk.exchange.prepare()
    return side


async def open_bitstamp(home: Path) -> Side:
    desk = await bitstamp_bench.Desk(home).start()
    await desk.catalogue.load("bitstamp", "testnet")
    exchange = await desk.connect()
    side = Side("bitstamp", desk, exchange, "BTC/USD")
    answer = desk.sim._answer

    def altered(*given: Any) -> Any:
        verdict = answer(*given)
        verdict.reply = side.altered(verdict.reply)
        return verdict

    vars(desk.sim)["_answer"] = altered
    return side


async def ask(side: Side, method: str, known: OrderReport | None) -> None:
    """Ask one question; whatever comes must be an answer or one of our errors."""
    exchange, since = side.exchange, side.desk.clock() - timedelta(hours=1)
    name = known.client_order_id if known else "trd-" + "z" * 20
    number = known.exchange_order_id if known else None
    calls: dict[str, Callable[[], Awaitable[Any]]] = {
        "find": lambda: exchange.find(name, side.symbol, number),
        "open_orders": lambda: exchange.open_orders(),
        "orders": lambda: exchange.orders(side.symbol, since),
        "fills": lambda: exchange.fills(side.symbol, since),
        "balances": lambda: exchange.balances(),
        "fees": lambda: exchange.fees(side.symbol),
        "identity": lambda: exchange.identity(),
        "own_rules": lambda: _own_rules(side),
    }
    try:
        told = await calls[method]()
    except ENDS:
        return
    judge(told)


def judge(told: Any) -> None:
    """What came through must be of use: no size below zero, no fill of nothing."""
    for one in told if isinstance(told, list | tuple) else [told]:
        if isinstance(one, OrderReport):
            assert one.quantity >= 0, one
            assert one.filled_quantity >= 0, one
            judge(one.fills)
        elif isinstance(one, Fill):
            assert one.quantity > 0, one
            assert one.price >= 0, one
            assert one.fee >= 0, one
        elif isinstance(one, FeeSchedule):
            assert min(one.maker, one.taker) >= 0, one


async def _own_rules(side: Side) -> None:
    metadata = await side.exchange.metadata()
    await side.exchange.own_rules(metadata.instruments[side.symbol])


def rejection_is_said(name: str, status: int, body: bytes) -> bool:
    """Say whether an answer's own content is a definitive refusal, read without our code."""
    if name == "bitstamp":
        said = body.decode(errors="replace")
        codes = re.findall(r"[0-9]{3}\.[0-9]{3}|API[0-9]{4}", said)
        return status // 100 in (2, 4) and (
            any(bitstamp_list.kind_of(code, "", False) for code in codes)
            or any(text in said for text in bitstamp_list.TEXTS)
        )
    try:
        told = json.loads(body)
    except ValueError:
        return False
    if not isinstance(told, dict) or not 400 <= status < 500:
        return False
    code, text = told.get("code"), told.get("msg")
    return code in REJECTIONS or (code in REFUSED and text in REFUSALS)


async def submit(side: Side, order: Order) -> OrderReport | None:
    """Send an order whose answer is changed, and judge what it ended in."""
    before = len(side.answered)
    try:
        report: OrderReport = await side.exchange.submit(order)
    except OutcomeUnknown:
        return None
    except ExchangeRejected:
        status, body = side.answered[-1]
        assert rejection_is_said(side.name, status, body), (status, body)
        return None
    except ExchangeUnavailable:
        # Nothing was sent: then nothing was answered either.
        judge_silence(side, before)
        return None
    terms = order.terms
    assert (report.client_order_id, report.symbol) == (order.client_order_id, terms.symbol)
    assert (report.side, report.quantity) == (terms.side, terms.quantity)
    assert report.filled_quantity >= 0
    assert all(fill.quantity > 0 and fill.price >= 0 and fill.fee >= 0 for fill in report.fills)
    return report


def judge_silence(side: Side, before: int) -> None:
    """No answer came since."""
    assert len(side.answered) == before, side.answered[-1]


class Sides:
    """The exchanges under test, renewed from time to time, on a loop of their own."""

    def __init__(self, folder: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self._folder = folder
        self._open: dict[str, tuple[Side, OrderReport, int]] = {}

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def of(self, name: str) -> tuple[Side, OrderReport]:
        """Return an exchange and an order of ours that it has filled."""
        side, known, used = self._open.get(name, (None, None, _LASTS))
        if side is None or known is None or used >= _LASTS:
            if side is not None:
                self._close(side)
            opening = {"binance": open_binance, "bitstamp": open_bitstamp}[name]
            side = self.run(opening(self._folder / f"{name}{len(self._open)}"))
            known = self.run(side.exchange.submit(side.order()))
            used = 0
        self._open[name] = (side, known, used + 1)
        side.desk.clock.advance(700)  # Whatever an answer told us to wait is over.
        side.change = side.status = None
        return side, known

    def _close(self, side: Side) -> None:
        self.run(side.desk.close() if side.name == "binance" else side.desk.stop())

    def close(self) -> None:
        for side, _, _ in self._open.values():
            self._close(side)
        self.loop.close()


@contextmanager
def opened() -> Iterator[Sides]:
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        sides = Sides(Path(folder))
        try:
            yield sides
        finally:
            sides.close()


def check_look_up(sides: Sides, name: str, method: str, change: Change) -> None:
    """One question whose answers are all changed, then the same one answered truly."""
    side, known = sides.of(name)
    side.change = change
    sides.run(ask(side, method, known))


def check_submit(sides: Sides, name: str, change: Change, status: int | None, far: bool) -> None:
    """One order whose answer is changed; what is there is found once answers are true again."""
    side, _ = sides.of(name)
    given = {"limit_price": FAR, "price": FAR} if far else {}
    order = side.order(quantity="0.002" if far else "0.001", **given)
    with suppress(*ENDS):
        sides.run(side.exchange.prepare())
    side.change, side.status = change, status
    sides.run(submit(side, order))
    side.change = side.status = None
    if order.client_order_id in side.desk.sent():
        side.desk.clock.advance(700)
        found = sides.run(side.exchange.find(order.client_order_id, side.symbol, None))
        assert found is not None
        assert found.client_order_id == order.client_order_id


NAMES = st.sampled_from(["binance", "bitstamp"])
QUESTIONS = {"name": NAMES, "method": st.sampled_from(LOOK_UPS), "change": changes}
ORDERS = {
    "name": NAMES,
    "change": changes,
    "status": st.sampled_from([None, None, None, 400, 403, 429, 500, 502, 200, 201, 302]),
    "far": st.booleans(),
}
