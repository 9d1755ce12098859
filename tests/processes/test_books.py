"""The campaigns' own eyes: what must never be so, and what must come to agree, is seen."""

from dataclasses import replace
from decimal import Decimal

import pytest

from backend.database import sqlite3
from tests.processes.books import (
    Home,
    Ours,
    Theirs,
    claims_by_switch,
    differences,
    not_once,
    violations,
)

ONE = Decimal(1)
DONE = Ours("binance", "executed", None, "filled", ONE, 0)
FUNDS = {"BTC": ONE}
HOME = Home({"trd-a": DONE}, {"binance": FUNDS}, [])
THERE = Theirs([("trd-a", ONE, False)], FUNDS, [("trd-a", 1)])


def with_trade(**changed):
    return replace(HOME, trades={"trd-a": replace(DONE, **changed)})


def test_books_that_agree_are_found_to():
    assert violations(HOME, {"binance": THERE}) == []
    assert differences(HOME, {"binance": THERE}) == []


@pytest.mark.parametrize(
    ("home", "there", "why"),
    [
        (HOME, replace(THERE, orders=[*THERE.orders] * 2), "2 orders at binance"),
        (HOME, replace(THERE, received=[*THERE.received] * 2), "2 requests received by binance"),
        (replace(HOME, trades={}), THERE, "not in our books"),
        (with_trade(exchange="paper"), THERE, "not in our books"),
        (with_trade(status="pending", state=None), THERE, "although it is pending"),
        (with_trade(status="cancelled", state=None), THERE, "although it is cancelled"),
        (with_trade(incident="odd"), THERE, "incident odd"),
        (replace(HOME, stopped=["they differ"]), THERE, "stopped: they differ"),
    ],
)
def test_what_may_never_be_so_is_seen(home, there, why):
    assert any(why in one for one in violations(home, {"binance": there}))


@pytest.mark.parametrize(
    ("home", "there"),
    [
        (with_trade(state="unknown"), THERE),
        (with_trade(state="open"), THERE),
        (with_trade(filled=Decimal(2)), THERE),
        (HOME, replace(THERE, orders=[])),
        (HOME, replace(THERE, balances={"BTC": Decimal(2)})),
        (replace(HOME, balances={}), THERE),
    ],
)
def test_what_does_not_agree_is_seen(home, there):
    assert differences(home, {"binance": there}) != []


def test_the_audit_tells_a_claim_after_the_flag_and_a_second_end(tmp_path):
    book = sqlite3.connect(tmp_path / "exec-mcp.db")
    book.execute("CREATE TABLE audit (seq INTEGER PRIMARY KEY, event TEXT, trade_id TEXT)")
    told = [
        ("trade.claimed", "trd-a"),
        ("kill_switch.engaged", None),
        ("trade.claimed", "trd-b"),
        ("trade.cancelled", "trd-b"),
        ("kill_switch.released", None),
        ("trade.claimed", "trd-c"),
    ]
    book.executemany("INSERT INTO audit (event, trade_id) VALUES (?, ?)", told)
    book.commit()
    book.close()

    assert claims_by_switch(tmp_path) == (3, 1)
    assert [one.split()[0] for one in not_once(tmp_path)] == ["trd-b"]
