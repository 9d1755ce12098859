"""Paper accounts that mirror an exchange, and plans whose rules change before the confirm."""

from decimal import Decimal
from typing import Any

import pytest

from tests.exchanges.tiny import BTC
from tests.services.mirrors import (
    LIVE,
    MIRRORED,
    add_mirrored,
    install,
    markets,
    mirrored,
    plan_btc,
)
from tests.services.spoken import Reply, approve, assert_whole, confirm, funds, look, row

pytestmark = pytest.mark.anyio
D = Decimal
LIMIT = {"order_type": "limit", "limit_price": "90"}
CHINESE = "币安人生/USDT"


async def get(stack, path: str, **query: Any) -> Reply:
    return Reply(await stack.http.get(f"/api/v1{path}", params=query))


# --- trading on another exchange's rules, prices and fees ---


async def test_a_mirrored_account_plans_and_executes_at_the_live_touch(exec_mcp):
    await mirrored(exec_mcp)

    made = await plan_btc(exec_mcp)
    done = await confirm(exec_mcp, made)

    assert (made["environment"], made["exchange"], made["quote"]["source"]) == (
        "paper",
        "paper",
        "tiny",
    )
    assert (made["price"], made["reserved_buying_power"]) == (D("100.00"), D(200))
    assert (made["fee"], made["fee_currency"]) == (D("0.004"), "BTC")
    assert (done.status, done["executed_price"]) == ("executed", D(100))
    assert await funds(exec_mcp, MIRRORED) == {"BTC": ("1.996", "0"), "USDT": ("99800", "0")}
    await assert_whole(exec_mcp)


async def test_the_account_is_shown_with_the_fees_and_instruments_of_the_mirrored(exec_mcp):
    await mirrored(exec_mcp)

    told = await get(exec_mcp, f"/accounts/{MIRRORED}", symbol="btc-usdt")
    one = await get(exec_mcp, "/markets/BTC/USDT", account_id=MIRRORED)

    assert (told["fees"]["maker_bps"], told["fees"]["taker_bps"]) == (10, 20)
    assert told["fees"]["currency"] == "received"
    assert (told["settings"], told["instrument_count"]) == ({"mirror": "tiny"}, 1)
    assert told["instruments"][0]["code"] == "BTCUSDT"
    assert one["mirror"] == "tiny"
    assert one["order_types"] == ["limit", "market", "stop_limit"]


async def test_its_instruments_are_listed_beside_papers_own(exec_mcp):
    await mirrored(exec_mcp)

    listed = await get(exec_mcp, "/markets", query="BTC/USDT")

    told = [(m.get("mirror"), m["tick_size"], m["min_notional"]) for m in listed["markets"]]
    assert told == [(None, D("0.01"), D(1)), ("tiny", D("0.01"), D(10))]


async def test_an_order_type_that_the_mirrored_exchange_lacks_is_refused(exec_mcp):
    await mirrored(exec_mcp)

    refused = await plan_btc(exec_mcp, order_type="stop", stop_price="120")
    taken = await plan_btc(exec_mcp, order_type="stop_limit", stop_price="120", limit_price="121")

    assert refused.code == "instrument_open"
    assert "supported: limit, market, stop_limit" in refused["detail"]
    assert taken.http == 201


async def test_what_the_exchange_lets_only_some_accounts_trade_a_mirrored_account_may(exec_mcp):
    market = install(exec_mcp)
    market.change(permissions=[["SPOT"], ["GROUP_7", "GROUP_8"]])
    await add_mirrored(exec_mcp)

    assert (await plan_btc(exec_mcp)).http == 201


@pytest.mark.parametrize(
    ("mirror", "word"),
    [
        ("other", "there is no exchange other"),
        ("paper", "there is no exchange paper"),
        ("tiny:moon", "tiny has no environment moon"),
        ("TINY", "exchange:environment"),
    ],
)
async def test_a_mirror_that_is_not_there_is_refused_with_a_sentence(exec_mcp, mirror, word):
    install(exec_mcp)

    refused = await add_mirrored(exec_mcp, settings={"mirror": mirror})

    assert (refused.http, refused.code) == (400, "invalid_request")
    assert word in refused["detail"]


async def test_a_currency_in_which_the_exchange_does_not_deal_is_refused_and_can_be_mended(
    exec_mcp,
):
    install(exec_mcp)

    refused = await add_mirrored(exec_mcp, currency="USD")
    added = await add_mirrored(exec_mcp)

    assert (refused.http, refused.code) == (400, "invalid_request")
    assert "such as USDT" in refused["detail"]
    assert added.http == 201


async def test_each_environment_has_rules_of_its_own(exec_mcp):
    install(exec_mcp)
    module: Any = exec_mcp.backend.desk.exchanges["tiny"]
    module.markets["testnet"].change(step_size="1", min_quantity="1")
    await add_mirrored(exec_mcp)
    await add_mirrored(exec_mcp, "test", settings={"mirror": "tiny:testnet"})

    live = await plan_btc(exec_mcp, quantity="0.5")
    test = await plan_btc(exec_mcp, quantity="0.5", account_id="paper:test")

    assert (live.http, test.code) == (201, "step_size")


async def test_a_resting_order_meets_the_live_touch_after_a_restart(exec_mcp):
    await mirrored(exec_mcp)
    made = await plan_btc(exec_mcp, **LIMIT)
    assert (await confirm(exec_mcp, made)).status == "working"

    await exec_mcp.restart()
    market = install(exec_mcp)
    market.prices.touches["BTC/USDT"] = ("89.00", "89.50")
    await exec_mcp.advance(31)
    done = await look(exec_mcp, made)

    assert (done.status, done["executed_price"]) == ("executed", D(90))
    await assert_whole(exec_mcp)


async def test_no_pair_is_asked_for_that_the_exchange_does_not_list(exec_mcp):
    market = install(exec_mcp)
    market.rows = [BTC, {**BTC, "symbol": "ETH/BTC"}]
    market.prices.touches["ETH/BTC"] = ("0.05", "0.06")
    await add_mirrored(exec_mcp)

    near = {"order_type": "limit", "limit_price": "0.06"}
    made = await plan_btc(exec_mcp, symbol="ETH/BTC", quantity=200, **near)

    assert made.code == "buying_power"
    assert set(market.prices.asked) == {"ETH/BTC", "BTC/USDT"}  # Never BTC/BNB or USDT/BTC.


async def test_a_symbol_in_chinese_goes_all_the_way(exec_mcp):
    market = install(exec_mcp)
    market.rows = [BTC, {**BTC, "symbol": CHINESE}]
    market.prices.touches[CHINESE] = ("0.99", "1.00")
    await add_mirrored(exec_mcp)

    listed = await get(exec_mcp, "/markets", query="人生")
    one = await get(exec_mcp, f"/markets/{CHINESE}", account_id=MIRRORED)
    made = await plan_btc(exec_mcp, symbol=CHINESE, quantity=20)
    spelt = await exec_mcp.plan("币安人生usdt", "buy", 20, account_id=MIRRORED)
    done = await confirm(exec_mcp, made)
    body = {"reason": "a test", "scope": "symbol", "symbol": CHINESE, "account_id": MIRRORED}
    stopped = Reply(await exec_mcp.http.post("/api/v1/risk/kill-switch", json=body))
    refused = await plan_btc(exec_mcp, symbol=CHINESE, quantity=20)
    other = await plan_btc(exec_mcp)

    assert [m["symbol"] for m in listed["markets"]] == [CHINESE]
    assert one["symbol"] == made["symbol"] == spelt["symbol"] == CHINESE
    assert (done.status, done["new_position"]["symbol"]) == ("executed", CHINESE)
    assert stopped["symbol"] == CHINESE
    assert (refused.code, other.http) == ("kill_switch", 201)


async def test_the_agent_may_write_a_symbol_as_the_exchange_does(exec_mcp):
    await mirrored(exec_mcp)

    made = await exec_mcp.plan("btcusdt", "buy", 2, account_id=MIRRORED)
    one = await exec_mcp.call("get_market", symbol="BTCUSDT", account_id=MIRRORED)
    unknown = await plan_btc(exec_mcp, symbol="BTCUSD")

    assert made["symbol"] == one["symbol"] == "BTC/USDT"
    assert unknown.code == "unknown_symbol"
    assert "did you mean BTC/USDT" in unknown["detail"]


# --- rules that change between the plan and its confirm ---


async def test_a_plan_remembers_the_version_of_its_rules(exec_mcp):
    market = await mirrored(exec_mcp)
    first = await plan_btc(exec_mcp)
    market.change(step_size="0.5")
    await markets(exec_mcp).refresh(*LIVE)
    second = await plan_btc(exec_mcp)

    versions = [
        (await row(exec_mcp, "SELECT rules_version FROM trades WHERE id = ?", made.trade_id))
        for made in (first, second)
    ]

    assert versions[0] != versions[1]
    now = markets(exec_mcp).metadata(*LIVE).instruments["BTC/USDT"].version
    assert versions[1] == {"rules_version": now}


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        ({"status": "halt"}, "instrument_open"),
        ({"order_types": ["stop_limit"]}, "instrument_open"),
        ({"tick_size": "0.07"}, "tick_size"),
        ({"min_price": "90.01"}, "tick_size"),
        ({"max_price": "89.99"}, "tick_size"),
        ({"step_size": "1.5"}, "step_size"),
        ({"min_quantity": "2.001"}, "quantity_bounds"),
        ({"max_quantity": "1.999"}, "quantity_bounds"),
        ({"min_notional": "180.01"}, "min_notional"),
        ({"max_notional": "179.99"}, "min_notional"),
        ({"price_band": ["0.91", "1.1"]}, "exchange_band"),
        ({"max_open_orders": 0}, "max_open_orders"),
        ({"max_position": "1.999"}, "max_position"),
    ],
    ids=str,
)
async def test_a_confirm_under_tightened_rules_is_refused_and_sends_nothing(exec_mcp, rules, code):
    market = await mirrored(exec_mcp)
    made = await plan_btc(exec_mcp, **LIMIT)
    market.change(**rules)
    await markets(exec_mcp).refresh(*LIVE)

    refused = await confirm(exec_mcp, made)

    assert (refused.http, refused.code) == (400, code)
    assert refused["current_status"] == "pending"
    assert exec_mcp.faults.attempts == []
    assert (await look(exec_mcp, made)).status == "pending"
    await assert_whole(exec_mcp)


@pytest.mark.parametrize(
    "rules",
    [{"tick_size": "10"}, {"step_size": "2", "min_quantity": "2"}, {"min_notional": "200"}],
    ids=str,
)
async def test_a_confirm_under_other_rules_that_still_fit_sends_exactly_the_plan(exec_mcp, rules):
    market = await mirrored(exec_mcp)
    made = await plan_btc(exec_mcp, order_type="limit", limit_price="100", time_in_force="ioc")
    market.change(**rules)
    await markets(exec_mcp).refresh(*LIVE)

    done = await confirm(exec_mcp, made)

    (sent,) = exec_mcp.faults.sent
    assert (done.status, done["executed_price"], done["quantity"]) == ("executed", D(100), D(2))
    assert (sent.terms.quantity, sent.terms.limit_price) == (D(2), D(100))
    assert (sent.price, sent.worst_price) == (made["price"], made["worst_price"])


@pytest.mark.parametrize("rules", [{"step_size": "0.01"}, {"step_size": "1.5"}], ids=["fits", "no"])
async def test_an_approval_does_not_outlive_the_rules_it_was_given_under(exec_mcp, rules):
    market = await mirrored(exec_mcp, limits={"approval_threshold": "0"})
    made = await plan_btc(exec_mcp)
    assert (await approve(exec_mcp, made)).http == 200
    market.change(**rules)
    await markets(exec_mcp).refresh(*LIVE)

    refused = await confirm(exec_mcp, made)

    assert (refused.http, refused.code) == (400, "plan_changed")
    assert "rules for BTC/USDT" in refused["detail"]
    assert exec_mcp.faults.attempts == []


async def test_an_approved_plan_under_unchanged_rules_executes(exec_mcp):
    await mirrored(exec_mcp, limits={"approval_threshold": "0"})
    made = await plan_btc(exec_mcp)
    await approve(exec_mcp, made)
    await markets(exec_mcp).refresh(*LIVE)

    assert (await confirm(exec_mcp, made)).status == "executed"


async def test_a_plan_on_an_instrument_that_was_delisted_is_refused(exec_mcp):
    market = await mirrored(exec_mcp)
    made = await plan_btc(exec_mcp)
    market.rows = [{**BTC, "symbol": "ETH/USDT"}]
    await markets(exec_mcp).refresh(*LIVE)

    refused = await confirm(exec_mcp, made)

    assert (refused.http, refused.code) == (400, "unknown_symbol")
    assert exec_mcp.faults.attempts == []


async def test_rules_that_another_process_refreshed_count_here_at_once(exec_mcp):
    await mirrored(exec_mcp)
    made = await plan_btc(exec_mcp)
    other = await exec_mcp.second_server()
    install(other).change(step_size="1.5")
    await markets(other).refresh(*LIVE)

    refused = await confirm(exec_mcp, made)

    assert refused.code == "step_size"
