"""What comes over an exchange's sockets and in its lists of rules, with something wrong in it."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import msgspec

from backend.domain.errors import ExchangeUnavailable, OutcomeUnknown
from backend.domain.instrument import Instrument
from backend.domain.quote import Quote
from backend.exchanges import Metadata, NoCatalogue
from backend.exchanges.binance import metadata as binance_rules
from backend.exchanges.binance.codes import Codes
from backend.exchanges.binance.stream import UserStream
from backend.exchanges.bitstamp import metadata as bitstamp_rules
from backend.exchanges.bitstamp.orders import Memory
from backend.exchanges.bitstamp.stream import Stream
from backend.prices.binance import HOSTS, BinancePrices
from backend.prices.bitstamp import ADDRESSES, BitstampPrices
from tests.exchanges.scripted import START
from tests.fuzz.mutations import Change

D = Decimal
NOW = datetime(2026, 9, 15, 8, 8, 20, tzinfo=UTC)
EXECUTION: Mapping[str, Any] = {
    "e": "executionReport", "E": 1789459694223, "s": "BTCUSDT", "c": "trd-" + "a" * 20, "S": "BUY",
    "o": "LIMIT", "f": "GTC", "q": "0.10000000", "p": "50000.00000000", "P": "0.00000000", "C": "",
    "x": "TRADE", "X": "PARTIALLY_FILLED", "r": "NONE", "i": 4293153, "l": "0.05000000",
    "z": "0.05000000", "L": "50000.00000000", "n": "0.00005000", "N": "BTC", "T": 1789459694223,
    "t": 77, "I": 8641984, "w": False, "m": False, "O": 1789459694000, "Z": "2500.00000000",
}  # fmt: skip
ORDER: Mapping[str, Any] = {
    "data": {
        "id": 2050558851342339, "id_str": "2050558851342339", "order_type": 0, "order_subtype": 2,
        "datetime": "1789459694", "microtimestamp": "1789459694223000", "amount": 0.005,
        "amount_str": "0.005000", "amount_traded": "0", "amount_at_create": "0.005000",
        "price": 2468, "price_str": "2468.00", "client_order_id": "trd-" + "a" * 20,
        "trade_account_id": 0,
    },
    "channel": "private-my_orders_ethusdt-4416057", "event": "order_created",
    "trade_account_id": 0, "event_id": "00065b81-20", "pre_event_id": "00065b81-10",
    "order_source": "orderbook",
}  # fmt: skip
TRADE: Mapping[str, Any] = {
    "data": {
        "id": 635698396, "amount": "0.005000", "price": "2468.04", "side": "buy", "fee": "0.04936",
        "microtimestamp": "1789459694223000", "order_id": "2050558851342339",
        "trade_account_id": 0,
    },
    "channel": "private-my_trades_ethusdt-4416057", "event": "trade", "trade_account_id": 0,
}  # fmt: skip
BINANCE_RULES: Mapping[str, Any] = {
    "timezone": "UTC", "exchangeFilters": [
        {"filterType": "EXCHANGE_MAX_NUM_ORDERS", "maxNumOrders": 1000},
    ],
    "symbols": [{
        "symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "baseAssetPrecision": 8,
        "quoteAsset": "USDT", "quotePrecision": 8, "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "STOP_LOSS_LIMIT"], "isSpotTradingAllowed": True,
        "permissionSets": [["SPOT"]],
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000.00",
             "tickSize": "0.01"},
            {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "9000", "stepSize": "0.001"},
            {"filterType": "PERCENT_PRICE_BY_SIDE", "bidMultiplierUp": "5", "avgPriceMins": 5,
             "bidMultiplierDown": "0.2", "askMultiplierUp": "5", "askMultiplierDown": "0.2"},
            {"filterType": "NOTIONAL", "minNotional": "5", "applyMinToMarket": True,
             "maxNotional": "9000000", "applyMaxToMarket": False, "avgPriceMins": 5},
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
            {"filterType": "MAX_POSITION", "maxPosition": "100"},
        ],
    }],
}  # fmt: skip
MY_FILTERS: Mapping[str, Any] = {
    "exchangeFilters": [{"filterType": "EXCHANGE_MAX_NUM_ORDERS", "maxNumOrders": 100}],
    "symbolFilters": [],
    "assetFilters": [{"filterType": "MAX_ASSET", "asset": "USDT", "limit": "1000.00000000"}],
}
CURRENCIES = [
    {"currency": "BTC", "name": "Bitcoin", "type": "crypto", "decimals": 8, "deposit": "Enabled"},
    {"currency": "USD", "name": "US dollar", "type": "fiat", "decimals": 2},
]
MARKETS = [{
    "name": "BTC/USD", "market_symbol": "btcusd", "base_currency": "BTC", "base_decimals": 8,
    "counter_currency": "USD", "counter_decimals": 0, "minimum_order_value": "10",
    "minimum_order_amount": "0.00000100", "maximum_order_amount": "100", "tick_size": "1",
    "maximum_order_value": "5000000", "trading": "Enabled", "description": "Bitcoin / US dollar",
    "market_type": "SPOT",
}]  # fmt: skip
TOUCH = {"u": 400900217, "s": "BTCUSDT", "b": "50000.00", "B": "1", "a": "50000.01", "A": "2"}
BOOK = {
    "event": "data", "channel": "order_book_btcusd",
    "data": {"timestamp": "1789459694", "microtimestamp": "1789459694223000",
             "bids": [["49990", "1"]], "asks": [["50000", "1.5"]]},
}  # fmt: skip
PRINT = {"event": "trade", "channel": "live_trades_btcusd", "data": {"price_str": "50000"}}


def text(document: Any) -> bytes:
    return json.dumps(document).encode()


# --- rules ---


def check_rules(change: Change, exchange: str) -> None:
    """Rules are read as they stand, or not at all."""
    with suppress(ValueError):
        if exchange == "binance":
            found = binance_rules.read_metadata(change(text(BINANCE_RULES)), START)
        else:
            parts = change(text(CURRENCIES)), change(text(MARKETS))
            found = bitstamp_rules.read(bitstamp_rules.document(*parts), START)
        usable(found)


def usable(found: Metadata) -> None:
    """Say that orders can be judged by these rules without anything breaking."""
    for one in found.instruments.values():
        _judged(one)


def _judged(one: Instrument) -> None:
    assert one.tick_size > 0, one
    assert one.step_size > 0, one
    assert one.min_quantity > 0, one
    assert one.min_notional >= 0, one
    for value in (D("0.5"), D("123.456"), one.min_quantity, one.tick_size):
        violations = (
            one.price_violation(value), one.step_violation(value), one.bounds_violation(value),
            one.notional_violation(value, value), one.band_violation("buy", value, D(7)),
        )  # fmt: skip
        assert all(v is None or len(v.detail) < 2000 for v in violations)


def check_own_rules(change: Change) -> None:
    rules = binance_rules.read_metadata(text(BINANCE_RULES), START)
    with suppress(ValueError):
        _judged(binance_rules.own_rules(rules.instruments["BTC/USDT"], change(text(MY_FILTERS))))


# --- private streams ---


class _Socket:
    """What a subscription of the stream returns."""

    connected = True

    def __init__(self) -> None:
        self.opened_at = START

    async def close(self) -> None:
        return None


async def binance_events(frames: list[bytes]) -> list[Any]:
    """Return what the stream told of these events before it ended."""
    takes: list[Any] = []

    async def subscribe(take: Any) -> Any:
        takes.append(take)
        return _Socket()

    stream = UserStream(subscribe, Codes(NoCatalogue(), "testnet"), lambda: START)
    told = []
    with suppress(ExchangeUnavailable, OutcomeUnknown):
        async for event in stream.events():
            told.append(event.report)
            if len(told) == 1:
                for frame in frames:
                    takes[-1](msgspec.Raw(frame))
                takes[-1](None)
    await stream.close()
    return told


def check_binance_events(loop: asyncio.AbstractEventLoop, first: Change, second: Change) -> None:
    """Events are told, or the stream ends or asks for a look: none is swallowed."""
    frames = [first(text(EXECUTION)), second(text({**EXECUTION, "x": "CANCELED", "I": 8641985}))]
    told = loop.run_until_complete(binance_events(frames))
    assert told[0] is None
    for report in filter(None, told):
        assert report.quantity >= 0
        assert report.filled_quantity >= 0
        assert all(fill.quantity > 0 for fill in report.fills)


class _Market:
    """The public side that a stream asks for the time."""

    addresses = ADDRESSES["testnet"]

    def clock(self) -> datetime:
        return NOW

    now = clock


class _Door:
    """Answers a replay with rows."""

    subaccount_id = ""

    def __init__(self, replayed: bytes) -> None:
        self.market = _Market()
        self._replayed = replayed

    async def send(self, *given: Any, **more: Any) -> Any:
        from backend.exchanges.bitstamp import answers
        from backend.wire import Answer

        return answers.read(Answer(200, {}, self._replayed))


async def _nobody(order_id: str) -> None:
    raise OutcomeUnknown("nobody answers")


async def bitstamp_events(frames: list[bytes], replayed: bytes) -> list[list[Any]]:
    """Return what the stream makes of each frame; None: the connection would end."""
    from backend.exchanges.bitstamp.link import _decoded

    stream = Stream(_Door(replayed), Memory(), _nobody)  # type: ignore[arg-type]
    stream.watch("ETH/USDT")
    told = []
    for frame in frames:
        try:
            read = _decoded(frame)
        except ValueError:
            break
        told.append(await stream._news(SimpleNamespace(), read))  # type: ignore[arg-type]
    return told


def check_bitstamp_events(
    loop: asyncio.AbstractEventLoop, first: Change, second: Change, replay: Change
) -> None:
    """Frames are told, ask for a look, or end the connection."""
    rows = [{**ORDER, "event_id": "00065b81-15", "pre_event_id": "00065b81-10"}]
    frames = [
        text({**ORDER, "event_id": "00065b81-10", "pre_event_id": ""}),
        first(text(ORDER)),
        second(text(TRADE)),
        text({**ORDER, "event": "order_deleted", "event_id": "x", "pre_event_id": "00065b81-20"}),
    ]
    told = loop.run_until_complete(bitstamp_events(frames, replay(text(rows))))
    for event in (event for events in told for event in events):
        report = event.report
        if report is not None:
            assert report.quantity != 0
            assert all(fill.quantity > 0 for fill in report.fills), report


# --- public prices ---


async def _quotes(frames: list[bytes]) -> AsyncIterator[Quote | None]:
    binance = BinancePrices(HOSTS["testnet"], lambda: NOW)
    for frame in frames[:1]:
        binance._stream._take(frame)
    if "BTCUSDT" in binance._stream.newest:
        yield await binance.quote("BTC/USDT")
    await binance.close()
    bitstamp = BitstampPrices(ADDRESSES["testnet"], lambda: NOW)
    bitstamp._wanted["btcusd"] = None
    for frame in frames[1:]:
        try:
            bitstamp._take(frame)
        except (UnicodeDecodeError, RecursionError):
            break
    if "btcusd" in bitstamp._touches:
        yield await bitstamp.quote("BTC/USD")
    await bitstamp.close()


def check_prices(loop: asyncio.AbstractEventLoop, change: Change) -> None:
    """A quote has two sides that do not cross, or there is none."""
    frames = [change(text(one)) for one in (TOUCH, PRINT, BOOK)]

    async def whole() -> list[Quote | None]:
        return [quote async for quote in _quotes(frames)]

    for quote in filter(None, loop.run_until_complete(whole())):
        assert 0 < quote.bid < quote.ask
        assert quote.last.is_finite()
        assert quote.last > 0
        assert quote.as_of - NOW < timedelta(seconds=1)
