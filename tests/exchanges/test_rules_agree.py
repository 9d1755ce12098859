"""A plan that our rules accept is accepted by the simulated exchange, and the other way round.

Thousands of random orders around every boundary of the recorded rules, and of these rules
changed at random. Both sides see what will be sent: the adapter's own request.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from backend.domain.instrument import Instrument
from backend.domain.money import to_text
from backend.domain.order import Order, OrderTerms
from backend.exchanges import Context, binance, bitstamp
from backend.exchanges.binance.orders import order_params
from backend.exchanges.bitstamp.metadata import NO_MAXIMUM
from backend.exchanges.bitstamp.orders import terms_of
from backend.services.planning import Pricing
from tests.exchanges import changed_rules
from tests.exchanges.catalogue import TinyCatalogue
from tests.exchanges.orders_at_random import RULES, Dice, Ground, a_quote, our_verdict
from tests.exchanges.recorded_markets import (
    EXCHANGE_INFOS,
    binance_rows,
    bitstamp_files,
    read_binance,
    read_bitstamp,
)
from tests.exchanges.scripted import START, D, FrozenClock, ScriptedPrices
from tests.simulators import binance as binance_simulator
from tests.simulators import bitstamp as bitstamp_simulator
from tests.simulators.binance import trading
from tests.simulators.binance.errors import ApiError
from tests.simulators.binance.params import Params
from tests.simulators.binance.world import Call as BinanceCall
from tests.simulators.bitstamp import order_api
from tests.simulators.bitstamp.calls import Call as BitstampCall
from tests.simulators.bitstamp.faults import NO_FAULT
from tests.simulators.bitstamp.wire import Refusal

pytestmark = pytest.mark.anyio
QUICK = 3000
ENDLESS = D(10) ** 40

# What an exchange says, and which of our checks says the same.
SAYS: dict[str, set[str]] = {
    "Filter failure: PRICE_FILTER": {"tick_size"},
    "Filter failure: LOT_SIZE": {"step_size", "quantity_bounds"},
    "Filter failure: PERCENT_PRICE": {"exchange_band"},
    "Filter failure: PERCENT_PRICE_BY_SIDE": {"exchange_band"},
    "Filter failure: MIN_NOTIONAL": {"min_notional"},
    "Filter failure: NOTIONAL": {"min_notional"},
    "Filter failure: MAX_POSITION": {"max_position"},
    "Filter failure: MAX_NUM_ORDERS": {"max_open_orders"},
    "Filter failure: MAX_NUM_ALGO_ORDERS": {"max_open_orders"},
    "Parameter 'price' has too much precision.": {"tick_size"},
    "Parameter 'stopPrice' has too much precision.": {"tick_size"},
    "Parameter 'quantity' has too much precision.": {"step_size"},
    "Market is closed.": {"instrument_open"},
    "This symbol is not permitted for this account.": {"instrument_open"},
    "Stop_loss_limit orders are not supported for this symbol.": {"instrument_open"},
    "Trading is currently disabled": {"instrument_open"},
    "no more than": {"tick_size", "step_size"},
    "Ensure this value is": {"quantity_bounds"},
    "order size is": {"min_notional"},
}
# The exchange measures from its own book when the order arrives: no plan can know that.
NOT_KNOWN_HERE = "Price is more than 20%"


@dataclass
class Tally:
    """What both sides said of every order.

    Attributes:
        said: how often the exchange gave each reason.
    """

    accepted: int = 0
    refused: int = 0
    excluded: int = 0
    said: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)

    def add(self, order: Order, ground: Ground, ours: set[str], theirs: str | None) -> None:
        if theirs is not None and NOT_KNOWN_HERE in theirs:
            self.excluded += 1
        elif (not ours) != (theirs is None) or not _same_reason(ours, theirs):
            self.differences.append(f"{_shown(order)}\n  we: {ours or 'accept'}\n  they: {theirs}")
        elif theirs is None:
            self.accepted += 1
        else:
            self.refused += 1
            self.said.update(ours)

    def check(self, orders: int, rules: set[str]) -> None:
        """Assert that they agreed, and that each rule was needed."""
        assert not self.differences, "\n".join(self.differences[:10])
        assert self.accepted > orders // 5
        assert self.refused > orders // 5
        assert self.excluded < orders // 5
        assert {rule for rule, count in self.said.items() if count >= 10} >= rules


def _same_reason(ours: set[str], theirs: str | None) -> bool:
    return theirs is None or any(said in theirs and names & ours for said, names in SAYS.items())


def _shown(order: Order) -> str:
    terms, worst = order.terms, to_text(order.worst_price)
    prices = f"limit {terms.limit_price}, stop {terms.stop_price}, worst {worst}"
    return f"{terms.symbol}: {terms.side} {terms.quantity:f} {terms.order_type}, {prices}"


def an_order(terms: OrderTerms, pricing: Pricing) -> Order:
    """Return the order that this plan would send."""
    until = START + timedelta(seconds=3)
    return Order("trd-1", terms, pricing.price, pricing.worst_price, START, until, None)


def a_touch(rule: Instrument, random: Random) -> tuple[Decimal, Decimal]:
    """Return a bid and an ask that leave room for the instrument's limits now and then."""
    tick = rule.tick_size
    least = max(rule.min_price or tick, tick) * random.choice((2, 10, 1000))
    most = rule.max_price or tick * 10**6
    middle = random.choice((least, (least + most) / 2, most / random.choice((2, 4, 50))))
    bid = max(middle // tick * tick, tick * 2)
    return bid, bid + tick


class BinanceGround:
    """A simulator that lists the recorded symbols of one file, changed at random or not."""

    def __init__(self, rows: list[dict[str, Any]], folder: Any, seed: int) -> None:
        self.rows, self.random, self.folder = rows, Random(seed), folder
        path = folder / f"exchangeinfo-{seed}.json"
        path.write_text(changed_rules.as_document(rows), encoding="utf-8")
        listed = binance_simulator.recorded(path)
        self.sim = binance_simulator.Simulator(FrozenClock(), instruments=listed)
        self.account = self.sim.add_account({})

    async def grounds(self) -> list[tuple[str, Ground]]:
        """Return what orders on each symbol are judged by, as an adapter learns it."""
        urls = (self.sim.rest_url, self.sim.ws_api_url, self.sim.stream_url)
        clock = FrozenClock()
        context = Context(self.folder, clock, ScriptedPrices(clock), simulators={"binance": urls})
        catalogue = TinyCatalogue(context)
        await catalogue.load("binance", "testnet")
        market = catalogue.market("binance", "testnet")
        found = []
        for rule in read_binance(self.rows):
            quote = a_quote(rule, *self._open(rule))
            reference = None
            if rule.price_band is not None:
                reference = await market.reference_price(rule.symbol)
            permissions = frozenset(self.account.permissions)
            ground = Ground(rule, quote, reference, permissions, binance.CAPABILITIES)
            found.append((rule.code, ground))
        await catalogue.close()
        return found

    def _open(self, rule: Instrument) -> tuple[Decimal, Decimal]:
        """Give a symbol a touch, and in turn a reference price, an average or neither."""
        bid, ask = a_touch(rule, self.random)
        self.sim.set_touch(rule.code, bid, ask)
        kind = self.random.randrange(3)
        if kind == 0:
            self.sim.set_reference_price(rule.code, bid)
        elif kind == 1:
            self.sim.print_trade(rule.code, ask)
        return bid, ask

    def verdict(self, code: str, order: Order) -> str | None:
        """Return why the exchange refuses, None if it does not: its door, without the wire."""
        sent = {name: str(value) for name, value in order_params(order, code).items()}
        try:
            trading.test(BinanceCall(self.sim.world, Params(sent), "rest", self.account))
        except ApiError as error:
            return error.msg
        return None


async def binance_grounds(folder: Any, seed: int) -> AsyncIterator[BinanceGround]:
    dice = Random(seed)
    for number, path in enumerate(EXCHANGE_INFOS):
        for changes in (0, 1, 2):
            rows = [changed_rules.change(row, changes, dice) for row in binance_rows(path)]
            ground = BinanceGround(rows, folder, seed * 100 + number * 10 + changes)
            async with ground.sim:
                yield ground


async def judge_binance(folder: Any, seed: int, orders: int) -> Tally:
    tally, dice = Tally(), Dice(seed)
    each = orders // (3 * len(EXCHANGE_INFOS)) + 1
    async for ground in binance_grounds(folder, seed):
        listed = await ground.grounds()
        for _ in range(each):
            code, here = dice.random.choice(listed)
            terms = dice.order(here)
            pricing, ours = our_verdict(terms, here)
            order = an_order(terms, pricing)
            tally.add(order, here, ours, ground.verdict(code, order))
    return tally


@pytest.mark.skipif(not EXCHANGE_INFOS, reason="no recorded exchangeInfo beside the repository")
async def test_our_rules_and_binances_agree_on_thousands_of_orders(tmp_path):
    tally = await judge_binance(tmp_path, 1, QUICK)

    tally.check(QUICK, set(RULES))


@pytest.mark.soak
@pytest.mark.skipif(not EXCHANGE_INFOS, reason="no recorded exchangeInfo beside the repository")
@pytest.mark.parametrize("seed", range(2, 22))
async def test_our_rules_and_binances_agree_on_many_thousands_of_orders(tmp_path, seed):
    tally = await judge_binance(tmp_path, seed, 10_000)

    tally.check(10_000, set(RULES))


# --- Bitstamp ---

BITSTAMP_RULES = {"instrument_open", "tick_size", "step_size", "quantity_bounds", "min_notional"}
BITSTAMP_FILES = list(bitstamp_files())


class BitstampGround:
    """A simulator that lists the recorded spot markets, some with the documented limits."""

    def __init__(self, rows: list[dict[str, Any]], seed: int) -> None:
        random = Random(seed)
        spot = [row for row in rows if row["market_type"] == "SPOT"]
        self.rows = [changed_rules.change_market(row, random) for row in spot]
        self.sim = bitstamp_simulator.Simulator(FrozenClock(), seed, self.rows)
        owned = {row[f"{part}_currency"] for row in rows for part in ("base", "counter")}
        self.account = self.sim.add_account(dict.fromkeys(owned, ENDLESS))
        self._touches = {
            rule.code: (rule, a_touch(rule, random))
            for rule in read_bitstamp(self.rows).instruments.values()
        }

    def grounds(self) -> Iterator[tuple[str, Ground]]:
        """Yield what orders on each market are judged by."""
        for code, (rule, touch) in self._touches.items():
            quote = a_quote(rule, *touch)
            yield code, Ground(rule, quote, None, frozenset(), bitstamp.CAPABILITIES)

    def verdict(self, code: str, order: Order) -> str | None:
        """Place the order at its door and take it away again."""
        self.sim.set_touch(code, *self._touches[code][1])
        place = {"side": str(order.terms.side), "market": code}
        call = BitstampCall(self.sim, terms_of(order), place, NO_FAULT, self.account)
        try:
            order_api.place_limit(call)
        except Refusal as refusal:
            return str(refusal.body["response_explanation"])
        for left in self.sim.engine.working(self.account):
            self.sim.engine.cancel(left)
        return None


def judge_bitstamp(seed: int, orders: int) -> Tally:
    tally, dice = Tally(), Dice(seed)
    for number, (_, rows) in enumerate(BITSTAMP_FILES):
        ground = BitstampGround(rows, seed + number)
        listed = list(ground.grounds())
        for _ in range(orders // len(BITSTAMP_FILES) + 1):
            code, here = dice.random.choice(listed)
            terms = dice.order(here)
            if here.instrument.max_quantity == NO_MAXIMUM < terms.quantity:
                continue  # A guard of ours where the exchange names no largest quantity.
            pricing, ours = our_verdict(terms, here)
            order = an_order(terms, pricing)
            tally.add(order, here, ours, ground.verdict(code, order))
    return tally


@pytest.mark.skipif(not BITSTAMP_FILES, reason="no recorded markets beside the repository")
async def test_our_rules_and_bitstamps_agree_on_thousands_of_orders():
    judge_bitstamp(1, QUICK).check(QUICK, BITSTAMP_RULES)


@pytest.mark.soak
@pytest.mark.skipif(not BITSTAMP_FILES, reason="no recorded markets beside the repository")
@pytest.mark.parametrize("seed", range(2, 22))
async def test_our_rules_and_bitstamps_agree_on_many_thousands_of_orders(seed):
    judge_bitstamp(seed, 10_000).check(10_000, BITSTAMP_RULES)
