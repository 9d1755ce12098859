"""exchangeInfo becomes instruments: recorded documents, every filter, and what is malformed."""

import csv
import json
import time

import pytest

from backend.domain.money import is_multiple, to_text
from backend.exchanges.binance.metadata import own_rules, read_metadata
from tests.exchanges.recorded import recorded, recorded_json
from tests.exchanges.scripted import START, D

NEWEST = "binance/exchangeinfo/2025-08-07_api.binance.com.json"
RECORDED = (
    NEWEST,
    "binance/exchangeinfo/2021-10-12_api.binance.com.json",
    "binance/exchangeinfo/2023-04-10_api.binance.me.json",
)
LEAN = "binance/exchangeinfo/lean_symbol_properties_2026-08.csv"


def a_row(**changes):
    return {
        "symbol": "BTCUSDT",
        "status": "TRADING",
        "baseAsset": "BTC",
        "baseAssetPrecision": 8,
        "quoteAsset": "USDT",
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "MARKET", "STOP_LOSS_LIMIT"],
        "isSpotTradingAllowed": True,
        "filters": [],
        "permissions": [],
        "permissionSets": [["SPOT", "MARGIN"]],
        **changes,
    }


def rules(name, **fields):
    return {"filterType": name, **fields}


def read(*rows):
    return read_metadata(json.dumps({"serverTime": 1, "symbols": rows}).encode(), START)


def instrument(*filters, **changes):
    found = read(a_row(filters=list(filters), **changes)).instruments
    return next(iter(found.values()))


def test_the_rules_of_a_recorded_instrument_are_read():
    metadata = read_metadata(recorded(NEWEST).read_bytes(), START)
    btc = metadata.instruments["BTC/USDT"]

    shown = [btc.tick_size, btc.step_size, btc.min_quantity, btc.max_quantity, btc.min_notional]
    assert [to_text(one) for one in shown] == ["0.01", "0.00001", "0.00001", "9000", "5"]
    assert (btc.price_decimals, btc.quantity_decimals) == (2, 5)
    assert (btc.code, btc.status, btc.max_notional) == ("BTCUSDT", "trading", D(9_000_000))
    assert (btc.min_price, btc.max_price) == (D("0.01"), D(1_000_000))
    assert (btc.max_open_orders, btc.max_stop_orders) == (200, 5)
    assert btc.price_band is not None
    assert (btc.price_band.buy_up, btc.price_band.sell_down) == (D(5), D("0.2"))
    assert "SPOT" in btc.permissions[0]
    assert metadata.instruments["BCC/BTC"].status == "break"
    assert metadata.currencies["USDT"].decimals == 8


@pytest.mark.parametrize("name", RECORDED)
def test_every_recorded_instrument_is_on_its_own_rules(name):
    listed = recorded_json(name)["symbols"]
    metadata = read_metadata(recorded(name).read_bytes(), START)

    assert len(metadata.instruments) == len(listed)
    for found in metadata.instruments.values():
        assert found.code == found.base + found.quote
        assert found.tick_size > 0
        assert found.min_quantity >= found.step_size
        assert is_multiple(found.min_quantity, found.step_size)
        assert is_multiple(found.max_quantity, found.step_size)
        assert found.price_band is not None
        assert sorted(found.order_types or ()) == ["limit", "market", "stop", "stop_limit"]


def test_rules_agree_with_what_others_read_from_the_same_exchange():
    ours = read_metadata(recorded(NEWEST).read_bytes(), START).instruments
    by_code = {found.code: found for found in ours.values()}
    with recorded(LEAN).open(encoding="utf-8") as file:
        theirs = {row["symbol"]: row for row in csv.DictReader(file)}

    shared = set(by_code) & set(theirs)
    assert shared
    for code in shared:
        assert by_code[code].tick_size == D(theirs[code]["minimum_price_variation"])
        assert by_code[code].step_size == D(theirs[code]["lot_size"])


def test_a_price_filter_of_zeros_is_off_and_the_tick_is_the_precision():
    off = rules("PRICE_FILTER", minPrice="0.00", maxPrice="0.00", tickSize="0.00")
    found = instrument(off, quotePrecision=4)

    assert (found.tick_size, found.min_price, found.max_price) == (D("0.0001"), None, None)


def test_quantity_bounds_are_rounded_inwards_to_the_step():
    found = instrument(rules("LOT_SIZE", minQty="0.15", maxQty="9.99", stepSize="0.1"))

    assert (found.min_quantity, found.max_quantity) == (D("0.2"), D("9.9"))


def test_no_lot_size_means_the_precision_of_the_base():
    found = instrument(baseAssetPrecision=2)

    assert (found.step_size, found.min_quantity) == (D("0.01"), D("0.01"))
    assert is_multiple(found.max_quantity, found.step_size)


def test_the_market_lot_size_changes_nothing_not_even_the_version():
    plain = instrument(rules("LOT_SIZE", minQty="1", maxQty="9", stepSize="1"))
    other = instrument(
        rules("LOT_SIZE", minQty="1", maxQty="9", stepSize="1"),
        rules("MARKET_LOT_SIZE", minQty="0", maxQty="97.1", stepSize="0"),
    )

    assert plain == other


@pytest.mark.parametrize(
    ("filters", "least", "most"),
    [
        ((rules("MIN_NOTIONAL", minNotional="10"),), "10", None),
        ((rules("NOTIONAL", minNotional="5", maxNotional="900"),), "5", "900"),
        ((rules("NOTIONAL", minNotional="5"), rules("MIN_NOTIONAL", minNotional="6")), "6", None),
        ((), "0", None),
    ],
)
def test_both_notional_filters_count(filters, least, most):
    found = instrument(*filters)

    assert found.min_notional == D(least)
    assert found.max_notional == (None if most is None else D(most))


def test_a_band_without_sides_is_for_both():
    rule = rules("PERCENT_PRICE", multiplierUp="5", multiplierDown="0.2", avgPriceMins=0)
    band = instrument(rule).price_band

    assert (band.buy_up, band.buy_down) == (band.sell_up, band.sell_down) == (D(5), D("0.2"))
    assert band.minutes == 0


def test_a_position_limit_is_kept():
    assert instrument(rules("MAX_POSITION", maxPosition="10.5")).max_position == D("10.5")
    assert instrument().max_position is None


def test_an_unknown_filter_status_and_order_type_are_tolerated():
    found = instrument(
        rules("NEW_RULE", anything=[1, {"x": None}]), status="CANCEL_ONLY", orderTypes=["NEW_TYPE"]
    )

    assert found.status == "cancel_only"
    assert found.order_types == frozenset()


def test_stop_orders_need_their_own_type_and_market_orders_only_limit():
    assert instrument(orderTypes=["LIMIT"]).order_types == {"market", "limit"}
    assert instrument(orderTypes=["MARKET"]).order_types == frozenset()


def test_an_instrument_without_spot_trading_is_not_trading():
    assert instrument(isSpotTradingAllowed=False).status == "no_spot_trading"


def test_permissions_of_years_ago_are_one_set():
    old = instrument(permissions=["SPOT", "MARGIN"], permissionSets=None)
    new = instrument(permissionSets=[["SPOT"], ["TRD_GRP_004", "TRD_GRP_005"]])

    assert old.permissions == (frozenset({"SPOT", "MARGIN"}),)
    assert new.permissions == (frozenset({"SPOT"}), frozenset({"TRD_GRP_004", "TRD_GRP_005"}))


def test_a_symbol_in_any_script_keeps_its_letters():
    found = instrument(symbol="币安人生USDT", baseAsset="币安人生")

    assert (found.symbol, found.code) == ("币安人生/USDT", "币安人生USDT")


def test_the_version_follows_the_rules_and_not_the_time_or_the_order_of_rows():
    one = a_row()
    two = a_row(symbol="ETHUSDT", baseAsset="ETH")
    changed = a_row(status="HALT")

    whole = read(one, two)
    later = json.dumps({"serverTime": 2, "symbols": [two, one]}).encode()
    assert whole.version == read_metadata(later, START).version
    assert whole.version != read(changed, two).version
    assert (
        whole.instruments["ETH/USDT"].version == read(changed, two).instruments["ETH/USDT"].version
    )


def test_a_count_with_an_exponent_is_refused():
    counted = json.dumps({"symbols": [a_row(filters=[rules("MAX_NUM_ORDERS", maxNumOrders=77)])]})

    with pytest.raises(ValueError, match="whole number"):
        read_metadata(counted.replace("77", "1e30").encode(), START)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b"{}",
        b"[]",
        b"null",
        b'{"symbols":[]}',
        b'{"symbols":[{}]}',
        b'{"symbols":[null]}',
        json.dumps(
            {"symbols": [a_row(filters=[{"filterType": "LOT_SIZE", "minQty": 1}])]}
        ).encode(),
        json.dumps({"symbols": [a_row(filters=[rules("LOT_SIZE", minQty="NaN")])]}).encode(),
        json.dumps({"symbols": [a_row(filters=[rules("LOT_SIZE", maxQty="1e9")])]}).encode(),
        json.dumps({"symbols": [a_row(baseAssetPrecision=10**30)]}).encode(),
        b'{"symbols":[{"symbol":1e99999999999999999999}]}',
        b"[" * 200_000 + b"]" * 200_000,
    ],
)
def test_a_document_that_is_not_one_is_refused(content):
    with pytest.raises(ValueError, match=r"."):
        read_metadata(content, START)


def test_three_and_a_half_thousand_instruments_are_read_in_well_under_a_second():
    row = recorded_json(NEWEST)["symbols"][3]
    rows = [{**row, "symbol": f"B{i}USDT", "baseAsset": f"B{i}"} for i in range(3600)]
    content = json.dumps({"symbols": rows}).encode()

    # Time of this process alone: the machine may be busy with something else.
    took_s = []
    for _ in range(3):
        before = time.process_time()
        metadata = read_metadata(content, START)
        took_s.append(time.process_time() - before)

    assert len(metadata.instruments) == 3600
    assert min(took_s) < 1


# --- the account's own filters ---


def test_an_accounts_own_filters_tighten_the_rules_and_never_loosen_them():
    lot = rules("LOT_SIZE", minQty="0.001", maxQty="9000", stepSize="0.001")
    rule = instrument(lot)
    answer = {
        "exchangeFilters": [{"filterType": "EXCHANGE_MAX_NUM_ORDERS", "maxNumOrders": 7}],
        "symbolFilters": [],
        "assetFilters": [
            {"filterType": "MAX_ASSET", "asset": "BTC", "limit": "0.5005"},
            {"filterType": "MAX_ASSET", "asset": "USDT", "limit": "900.00"},
        ],
    }

    own = own_rules(rule, json.dumps(answer).encode())

    assert own.max_quantity == D("0.500")
    assert own.max_notional == 900
    assert (own.account_max_orders, own.account_max_stops) == (7, None)
    loose: dict[str, list[str]] = {"exchangeFilters": [], "assetFilters": []}
    assert own_rules(rule, json.dumps(loose).encode()) == rule


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"exchangeFilters":[],"assetFilters":1}',
        b'{"exchangeFilters":1e99999999999999999999}',
        b"[" * 200_000 + b"]" * 200_000,
    ],
)
def test_own_filters_that_are_none_are_not_understood(content):
    with pytest.raises(ValueError, match="malformed"):
        own_rules(instrument(), content)


def test_filters_over_all_instruments_are_on_each():
    whole = [
        rules("EXCHANGE_MAX_NUM_ORDERS", maxNumOrders=1000),
        rules("EXCHANGE_MAX_NUM_ALGO_ORDERS", maxNumAlgoOrders=50),
    ]
    document = {"symbols": [a_row()], "exchangeFilters": whole}

    found = read_metadata(json.dumps(document).encode(), START).instruments

    assert {(i.account_max_orders, i.account_max_stops) for i in found.values()} == {(1000, 50)}
