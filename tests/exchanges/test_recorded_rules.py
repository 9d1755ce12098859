"""Every rule of every recorded symbol: none dropped, each number exact, each boundary kept.

What the rules say is stated here once more, from the exchanges' own text, without our code.
"""

from collections.abc import Iterator
from decimal import Decimal as D
from typing import Any

import pytest

from backend.domain.instrument import Instrument, PriceBand
from tests.exchanges.recorded_markets import (
    EXCHANGE_INFOS,
    Row,
    binance_rows,
    bitstamp_files,
    read_binance,
    read_bitstamp,
)

# Filters that an Instrument carries, with every field that they may have.
CARRIED = {
    "PRICE_FILTER": {"minPrice", "maxPrice", "tickSize"},
    "PERCENT_PRICE": {"multiplierUp", "multiplierDown", "avgPriceMins"},
    "PERCENT_PRICE_BY_SIDE": {
        *("bidMultiplierUp", "bidMultiplierDown"),
        *("askMultiplierUp", "askMultiplierDown", "avgPriceMins"),
    },
    "LOT_SIZE": {"minQty", "maxQty", "stepSize"},
    # What applies to MARKET says nothing of us: a market order is sent as LIMIT.
    "MIN_NOTIONAL": {"minNotional", "applyToMarket", "avgPriceMins"},
    "NOTIONAL": {
        *("minNotional", "applyMinToMarket", "maxNotional", "applyMaxToMarket", "avgPriceMins"),
    },
    "MAX_NUM_ORDERS": {"maxNumOrders"},
    "MAX_NUM_ALGO_ORDERS": {"maxNumAlgoOrders"},
    "MAX_POSITION": {"maxPosition"},
}
NOT_OURS = {
    "MARKET_LOT_SIZE": "of type MARKET, which is never sent",
    "ICEBERG_PARTS": "of orders with icebergQty, which is never sent",
    "MAX_NUM_ICEBERG_ORDERS": "of orders with icebergQty, which is never sent",
    "TRAILING_DELTA": "of orders with trailingDelta, which is never sent",
    "MAX_NUM_ORDER_LISTS": "of order lists, which are never sent",
    "MAX_NUM_ORDER_AMENDS": "of amended orders, and no order is amended",
}
MARKET_FIELDS = {
    *("name", "market_symbol", "base_currency", "base_decimals", "counter_currency"),
    *("counter_decimals", "minimum_order_value", "maximum_order_value", "tick_size"),
    *("minimum_order_amount", "maximum_order_amount", "trading", "description", "market_type"),
}
FIELDS_NOT_OURS = {
    "instant_order_counter_decimals": "of instant orders, which are never sent",
    "instant_and_market_orders": "of those types: a market order is sent as limit IOC",
    "underlying_asset": "of derivatives",
    "payoff_type": "of derivatives",
    "contract_size": "of derivatives",
    "isin": "of derivatives",
}

OFF = D("0.1")
BINANCE = [(path.name, row) for path in EXCHANGE_INFOS for row in binance_rows(path)]
BITSTAMP = [(name, row) for name, rows in bitstamp_files() for row in rows]
SPOT = [(name, row) for name, row in BITSTAMP if row["market_type"] == "SPOT"]
# No recorded spot row has these, but they are documented: here on rows of their own.
DOCUMENTED = [
    {"tick_size": "0.25"},
    {"minimum_order_amount": "0.00100000", "maximum_order_amount": "10.00000000"},
    {"maximum_order_value": "500000.00000000"},
    {"trading": "Disabled"},
]
SPOT += [(f"documented {more}", SPOT[0][1] | more) for more in DOCUMENTED if SPOT]


def ids(rows: list[tuple[str, Row]]) -> list[str]:
    return [f"{row.get('symbol') or row['market_symbol']} of {name}" for name, row in rows]


of_binance = pytest.mark.parametrize("row", [row for _, row in BINANCE], ids=ids(BINANCE))
of_bitstamp = pytest.mark.parametrize("row", [row for _, row in SPOT], ids=ids(SPOT))


def filters_of(row: Row) -> dict[str, dict[str, Any]]:
    return {one["filterType"]: one for one in row["filters"]}


# --- Binance ---


def ask_filters(row: Row, side: str, price: D, quantity: D, reference: D) -> set[str]:
    """Return the filters that a LIMIT order fails, as binance.md says of each."""
    failed = set()
    for name, rule in filters_of(row).items():
        number = {key: D(value) for key, value in rule.items() if key in CARRIED.get(name, ())}
        if name == "PRICE_FILTER":
            passes = _in_range(price, number["minPrice"], number["maxPrice"], number["tickSize"])
        elif name == "LOT_SIZE":
            passes = _in_range(quantity, number["minQty"], number["maxQty"], number["stepSize"])
        elif name == "PERCENT_PRICE":
            down, up = number["multiplierDown"], number["multiplierUp"]
            passes = reference * down <= price <= reference * up
        elif name == "PERCENT_PRICE_BY_SIDE":
            word = {"buy": "bid", "sell": "ask"}[side]
            down, up = number[f"{word}MultiplierDown"], number[f"{word}MultiplierUp"]
            passes = reference * down <= price <= reference * up
        elif name == "MIN_NOTIONAL":
            passes = price * quantity >= number["minNotional"]
        elif name == "NOTIONAL":
            passes = number["minNotional"] <= price * quantity <= number["maxNotional"]
        else:
            continue
        if not passes:
            failed.add(name)
    return failed


def _in_range(value: D, least: D, most: D, step: D) -> bool:
    """Each of the three is off where it is 0."""
    return (
        (not least or value >= least)
        and (not most or value <= most)
        and (not step or value % step == 0)
    )


def ask_instrument(found: Instrument, side: str, price: D, quantity: D, reference: D) -> set[str]:
    """Return the names, of ours, of the rules that an order breaks."""
    violations = (
        found.price_violation(price),
        found.step_violation(quantity),
        found.bounds_violation(quantity),
        found.notional_violation(quantity, price),
        found.band_violation(side, price, reference),
    )
    return {one.rule for one in violations if one is not None}


OUR_NAMES = {
    "PRICE_FILTER": {"tick_size"},
    "LOT_SIZE": {"step_size", "quantity_bounds"},
    "PERCENT_PRICE": {"exchange_band"},
    "PERCENT_PRICE_BY_SIDE": {"exchange_band"},
    "MIN_NOTIONAL": {"min_notional"},
    "NOTIONAL": {"min_notional"},
}


def boundary_orders(found: Instrument) -> Iterator[tuple[str, D, D, D]]:
    """Yield side, price, quantity and reference price at, just inside and just outside."""
    tick = found.tick_size
    least, most = found.min_price or tick, found.max_price or tick * 10**6
    for reference in (least * 5, (least + most) / 2 // tick * tick, most / 5 // tick * tick):
        band = found.price_band
        edges = [D(1)]
        if band is not None:
            edges += [band.buy_down, band.buy_up, band.sell_down, band.sell_up]
        prices = {least, most, *(reference * edge // tick * tick for edge in edges)}
        for price in (p + off for p in prices for off in (-tick, D(0), tick * OFF, tick)):
            for quantity in boundary_quantities(found, price):
                for side in ("buy", "sell"):
                    if price > 0 and quantity > 0:
                        yield side, price, quantity, reference


def boundary_quantities(found: Instrument, price: D) -> set[D]:
    step = found.step_size
    around = [found.min_quantity, found.max_quantity]
    if price > 0:
        around += [
            notional / price // step * step
            for notional in (found.min_notional, found.max_notional)
            if notional is not None
        ]
    return {q + off for q in around for off in (-step, D(0), step * OFF, step)}


@of_binance
def test_no_filter_and_no_field_of_one_is_unknown(row):
    for name, rule in filters_of(row).items():
        if name in NOT_OURS:
            continue
        assert name in CARRIED, f"{row['symbol']} has the filter {name}: carry it, or say why not"
        unknown = set(rule) - CARRIED[name] - {"filterType"}
        assert not unknown, f"{name} of {row['symbol']} says more: {sorted(unknown)}"


@of_binance
def test_every_number_of_a_filter_is_carried_exactly(row):
    (found,) = read_binance([row])
    rules = filters_of(row)
    price, lot = rules["PRICE_FILTER"], rules["LOT_SIZE"]

    carried = (found.tick_size, found.min_price, found.max_price, found.step_size)
    told = (price["tickSize"], price["minPrice"], price["maxPrice"], lot["stepSize"])
    assert carried == tuple(map(D, told))
    assert (found.min_quantity, found.max_quantity) == (D(lot["minQty"]), D(lot["maxQty"]))
    notional = rules.get("NOTIONAL") or rules["MIN_NOTIONAL"]
    most = notional.get("maxNotional")
    assert found.min_notional == D(notional["minNotional"])
    assert found.max_notional == (None if most is None else D(most))
    assert found.max_open_orders == rules["MAX_NUM_ORDERS"]["maxNumOrders"]
    assert found.max_stop_orders == rules["MAX_NUM_ALGO_ORDERS"]["maxNumAlgoOrders"]


@of_binance
def test_who_may_trade_it_how_and_when_is_carried(row):
    (found,) = read_binance([row])
    sets = row.get("permissionSets") or [row["permissions"]]

    assert (found.status == "trading") == (row["status"] == "TRADING")
    assert found.permissions == tuple(map(frozenset, sets))
    assert ("limit" in (found.order_types or ())) == ("LIMIT" in row["orderTypes"])
    assert ("stop" in (found.order_types or ())) == ("STOP_LOSS_LIMIT" in row["orderTypes"])


@of_binance
def test_the_band_is_carried_exactly(row):
    (found,) = read_binance([row])
    rules, band = filters_of(row), found.price_band
    sides = rules.get("PERCENT_PRICE_BY_SIDE")
    source = sides or rules["PERCENT_PRICE"]

    assert band is not None
    carried = (band.buy_up, band.buy_down, band.sell_up, band.sell_down)
    if sides is not None:
        names = ("bidMultiplierUp", "bidMultiplierDown", "askMultiplierUp", "askMultiplierDown")
        told = [D(sides[name]) for name in names]
    else:
        told = [D(source["multiplierUp"]), D(source["multiplierDown"])] * 2
    assert list(carried) == told
    assert band.minutes == source["avgPriceMins"]


@pytest.mark.skipif(not BINANCE, reason="no recorded exchangeInfo beside the repository")
def test_two_bands_leave_what_is_inside_both():
    both = {
        "filterType": "PERCENT_PRICE",
        "multiplierUp": "1.15",
        "multiplierDown": "0.85",
        "avgPriceMins": 5,
    }
    sides = {
        "filterType": "PERCENT_PRICE_BY_SIDE",
        "bidMultiplierUp": "1.1",
        "bidMultiplierDown": "0.8",
        "askMultiplierUp": "1.2",
        "askMultiplierDown": "0.9",
        "avgPriceMins": 5,
    }
    (found,) = read_binance([BINANCE[0][1] | {"filters": [both, sides]}])

    assert found.price_band == PriceBand(D("1.1"), D("0.85"), D("1.15"), D("0.9"), 5)


@of_binance
def test_an_instrument_judges_every_boundary_as_its_filters_do(row):
    (found,) = read_binance([row])
    judged = 0
    for side, price, quantity, reference in boundary_orders(found):
        failed = ask_filters(row, side, price, quantity, reference)
        broken = ask_instrument(found, side, price, quantity, reference)

        order = f"{side} {quantity} at {price}, reference {reference}: {failed} but we {broken}"
        for name in failed:
            assert OUR_NAMES[name] & broken, order
        for name in broken:
            assert any(name in OUR_NAMES[one] for one in failed), order
        judged += 1
    assert judged > 100


@of_binance
def test_the_nearest_value_that_is_offered_passes_the_filter(row):
    (found,) = read_binance([row])
    for side, price, quantity, reference in boundary_orders(found):
        notional = found.notional_violation(quantity, price)
        for near in notional.nearest if notional is not None else ():
            failed = ask_filters(row, side, price, near, reference)
            assert not failed & {"NOTIONAL", "MIN_NOTIONAL", "LOT_SIZE"}, (side, price, quantity)
        band = found.band_violation(side, price, reference)
        if band is not None:
            failed = ask_filters(row, side, band.nearest[0], quantity, reference)
            assert not failed & {"PERCENT_PRICE", "PERCENT_PRICE_BY_SIDE"}, (side, price)


# --- Bitstamp ---


def ask_market(row: Row, price: D, quantity: D) -> set[str]:
    """Return the rules that a limit order breaks, as bitstamp.md says of a market's fields."""
    tick = D(row.get("tick_size") or D(1).scaleb(-row["counter_decimals"]))
    rules = {
        "tick_size": price % tick == 0,
        "step_size": quantity % D(1).scaleb(-row["base_decimals"]) == 0,
        "quantity_bounds": D(row.get("minimum_order_amount", 0))
        <= quantity
        <= D(row.get("maximum_order_amount", "Infinity")),
        "min_notional": D(row["minimum_order_value"])
        <= price * quantity
        <= D(row.get("maximum_order_value", "Infinity")),
    }
    return {name for name, passes in rules.items() if not passes}


@pytest.mark.parametrize("row", [row for _, row in BITSTAMP], ids=ids(BITSTAMP))
def test_no_field_of_a_market_is_unknown(row):
    for name in row:
        assert name in MARKET_FIELDS or name in FIELDS_NOT_OURS, (
            f"{row['name']} has the field {name}: carry it, or say why not"
        )


@pytest.mark.parametrize("name", sorted({name for name, _ in BITSTAMP}))
def test_every_spot_market_is_listed_and_nothing_else(name):
    rows = [row for file, row in BITSTAMP if file == name]

    listed = read_bitstamp(rows).instruments

    assert list(listed) == [row["name"] for row in rows if row["market_type"] == "SPOT"]


@of_bitstamp
def test_every_number_of_a_market_is_carried_exactly(row):
    found = read_bitstamp([row]).instruments[row["name"]]

    tick = row.get("tick_size") or D(1).scaleb(-row["counter_decimals"])
    assert (found.tick_size, found.step_size) == (D(tick), D(1).scaleb(-row["base_decimals"]))
    assert found.min_notional == D(row["minimum_order_value"])
    most = row.get("maximum_order_value")
    assert found.max_notional == (None if most is None else D(most))
    assert found.min_quantity == D(row.get("minimum_order_amount", found.step_size))
    assert found.max_quantity == D(row.get("maximum_order_amount", found.max_quantity))
    assert (found.status == "trading") == (row["trading"] == "Enabled")
    assert (found.code, found.price_band) == (row["market_symbol"], None)


@of_bitstamp
def test_an_instrument_judges_every_boundary_as_its_market_does(row):
    found = read_bitstamp([row]).instruments[row["name"]]
    tick, judged = found.tick_size, 0
    for multiple in (1, 7, 1000, 123_457):
        for price in (tick * multiple, tick * multiple + tick * OFF):
            for quantity in boundary_quantities(found, price):
                if not 0 < quantity <= found.max_quantity * 2:
                    continue
                broken = ask_instrument(found, "buy", price, quantity, price)
                if "maximum_order_amount" not in row:
                    broken.discard("quantity_bounds")  # Of ours alone, beyond any order.
                assert broken == ask_market(row, price, quantity), f"{quantity} at {price}"
                judged += 1
    assert judged > 20
