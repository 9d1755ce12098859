"""Each invariant can be broken, and is then named with its rows; healthy books break none."""

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from backend.database import Transaction, sqlite3
from backend.journal import Dispatch, Journal, Line
from backend.services.invariants import RULES, Watch, check
from backend.store import restored
from backend.testing import stack

APPROVED = {"limits": {"approval_threshold": "0"}, "identifier": "careful"}
AUDIT_IS_OPEN = "DROP TRIGGER audit_is_never_updated; DROP TRIGGER audit_is_never_deleted;"


@dataclass
class Home:
    """Books of all kinds of trades.

    Attributes:
        ids: a trade id by what became of the trade.
    """

    database: Path
    journal: list[Line]
    ids: dict[str, str]
    now: datetime


async def live(folder: Path) -> Home:
    """Let every kind of trade happen on paper accounts."""
    async with stack(folder) as s:
        await s.operator.post(
            "/api/v1/accounts", json={"exchange": "paper", "name": "careful", **APPROVED}
        )
        ids = {}

        async def trade(name: str, *args: Any, confirm: bool = True, **more: Any) -> None:
            planned = await s.plan(*args, **more)
            ids[name] = planned.trade_id
            if name == "approved":
                await s.approve(planned)
            if confirm:
                await s.confirm(planned)
            await s.advance(1)

        await trade("executed", "AAPL", "buy", 10)
        await trade("sold", "AAPL", "sell", 3)
        s.faults.partial(Decimal(4))
        await trade("part", "SPY", "buy", 5, order_type="limit", limit_price="540")
        s.faults.reject()
        await trade("rejected", "AAPL", "buy", 2)
        s.faults.unavailable()
        await trade("not_sent", "AAPL", "buy", 2)
        s.faults.lose_request()
        await trade("absent", "AAPL", "buy", 1)
        s.faults.lose_answer()
        await trade("found", "AAPL", "buy", 4)
        await s.advance(4)
        await trade("cancelled", "AAPL", "buy", 5, confirm=False)
        await s.cancel(ids["cancelled"])
        await trade("expired", "AAPL", "buy", 6, confirm=False)
        await s.advance(61)
        await trade("approved", "AAPL", "buy", 7, account_id="paper:careful")
        switch = {"scope": "symbol", "symbol": "SPY", "reason": "news"}
        await s.operator.post("/api/v1/risk/kill-switch", json=switch)
        await s.operator.post("/api/v1/risk/kill-switch/release", json=switch)
        await trade("working", "AAPL", "buy", 1, order_type="limit", limit_price="200")
        await trade("pending", "AAPL", "buy", 8, confirm=False)
        s.faults.lose_request()
        await trade("executing", "AAPL", "buy", 9)
        desk = s.backend.desk
        path, lines = desk.database.path, desk.journal.all()
    return Home(path, lines, ids, s.clock())


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return asyncio.run(live(tmp_path_factory.mktemp("healthy")))


class Books:
    """A copy of the healthy home, to be damaged."""

    def __init__(self, home: Home, folder: Path) -> None:
        self.home, self.journal, self.ids = home, list(home.journal), home.ids
        self.now = home.now
        shutil.copy(home.database, folder / "books.db")
        self.connection = sqlite3.connect(str(folder / "books.db"), isolation_level=None)
        self.connection.row_factory = sqlite3.Row
        self.tx = Transaction(self.connection, lambda: self.now)

    def damage(self, sql: str) -> None:
        """Run statements; `{name}` is the id of that trade, in quotes."""
        quoted = {name: f"'{trade_id}'" for name, trade_id in self.ids.items()}
        self.connection.executescript(sql.format(**quoted))

    def found(self, watch: Watch | None = None) -> dict[str, list[str]]:
        """Return what is broken, by invariant."""
        found: dict[str, list[str]] = {}
        for broken in check(self.tx, self.journal, watch):
            found.setdefault(broken.invariant, []).append(broken.text)
        return found

    def line(self, name: str) -> Dispatch:
        """Return the journal's line of a trade."""
        sent = [line for line in self.journal if isinstance(line, Dispatch)]
        return next(line for line in sent if line.trade_id == self.ids[name])

    def put(self, name: str, line: Dispatch) -> None:
        """Put a line where the trade's own was."""
        self.journal[self.journal.index(self.line(name))] = line


@pytest.fixture
def books(healthy: Home, tmp_path: Path) -> Iterator[Books]:
    opened = Books(healthy, tmp_path)
    yield opened
    opened.connection.close()


def test_books_of_every_kind_of_trade_break_nothing(books):
    statuses = {
        name: books.tx.value("SELECT status FROM trades WHERE id = ?", (trade_id,))
        for name, trade_id in books.ids.items()
    }

    assert books.found() == {}
    assert statuses == {
        **dict.fromkeys(("executed", "sold", "part", "found", "approved"), "executed"),
        **dict.fromkeys(("rejected", "not_sent", "absent"), "failed"),
        **{name: name for name in ("cancelled", "expired", "working", "pending", "executing")},
    }


def test_the_table_has_all_twelve():
    assert [rule.number for rule in RULES] == [f"I-{number}" for number in range(1, 13)]


@pytest.mark.parametrize(
    ("sql", "invariant", "says"),
    [
        (
            "UPDATE fills SET exchange_order_id = 'paper-99' WHERE trade_id = {executed}",
            "I-1",
            "more than one order of the exchange",
        ),
        (
            "UPDATE orders SET reported_quantity = '11' WHERE trade_id = {executed}",
            "I-2",
            "ended as filled with 10 booked, the exchange told of 11",
        ),
        (
            "UPDATE holds SET open = 0, voided = reserved WHERE trade_id = {working};"
            "UPDATE balances SET held = '3661.80' WHERE account = 1 AND currency = 'USD'",
            "I-2",
            "is working and its reservation is released",
        ),
        (
            "UPDATE orders SET filled_notional = '1' WHERE trade_id = {executed}",
            "I-4",
            "10 filled for 1, its fills are 10 for 2154",
        ),
        (
            "UPDATE balances SET held = '1' WHERE account = 1 AND currency = 'USD'",
            "I-5",
            "USD of account 1: held is 1, its holds keep",
        ),
        (
            "UPDATE holds SET posted = '2155' WHERE trade_id = {executed} AND currency = 'USD'",
            "I-5",
            "is closed and leaves -1 of 2154",
        ),
        (
            "UPDATE holds SET open = 1 WHERE trade_id = {executed}",
            "I-5",
            "is open, the trade is executed",
        ),
        (
            "UPDATE balances SET total = '7' WHERE account = 1 AND currency = 'USD'",
            "I-6",
            "USD of account 1: total is 7, its postings make",
        ),
        (
            "UPDATE postings SET exchange_fill_id = 'other' WHERE trade_id = {executed}",
            "I-6",
            "is not posted",
        ),
        (
            "INSERT INTO postings (account, currency, amount, kind, trade_id, exchange_fill_id, at)"
            " SELECT account, currency, '0', kind, trade_id, exchange_fill_id, at FROM postings"
            " WHERE trade_id = {executed}",
            "I-6",
            "is posted too often",
        ),
        (
            "UPDATE trades SET expires_at = claimed_at WHERE id = {executed}",
            "I-7",
            "was claimed at 2026-05-26T10:14:41-04:00, it expired at 2026-05-26T10:14:41-04:00",
        ),
        (
            "UPDATE trades SET finished_at = created_at WHERE id = {expired}",
            "I-7",
            "expired at",
        ),
        (
            AUDIT_IS_OPEN
            + "UPDATE audit SET at = '2020-01-01T00:00:00.000000+00:00' WHERE seq = 2",
            "I-7",
            "audit row 2 is of 2019-12-31T19:00:00-05:00, the one before of 2026-05-26",
        ),
        (
            "UPDATE orders SET state = 'cancelled' WHERE trade_id = {executed}",
            "I-8",
            "is cancelled, last told filled",
        ),
        (
            "UPDATE trades SET status = 'working' WHERE id = {executing}",
            "I-8",
            "is working, last told executing",
        ),
        (
            "UPDATE trades SET version = version + 1 WHERE id = {sold}",
            "I-8",
            "has version 4, it was changed 3 times",
        ),
        (
            AUDIT_IS_OPEN + "UPDATE audit SET detail = replace(detail, 'not_sent', 'open')"
            " WHERE trade_id = {not_sent}; UPDATE audit SET event = 'order.absent'"
            " WHERE trade_id = {not_sent} AND event = 'order.not_sent'",
            "I-8",
            "went from sending to absent",
        ),
        (AUDIT_IS_OPEN + "DELETE FROM audit WHERE seq = 2", "I-9", "rows and ends with number"),
        (
            "UPDATE trades SET claimed_at = '2026-05-26T14:14:00.000000+00:00' WHERE id = {found}",
            "I-9",
            "was claimed at 2026-05-26T10:14:00-04:00, the audit says",
        ),
        (
            AUDIT_IS_OPEN + "UPDATE audit SET detail = replace(detail, '[\"', '[\"x')"
            " WHERE trade_id = {executed} AND event = 'order.settled'",
            "I-9",
            "is 0 times in the audit",
        ),
        (
            "INSERT INTO kill_switches VALUES ('symbol:AAPL', 1, 1, 'why', 'who', '')",
            "I-10",
            "kill switch symbol:AAPL is engaged, and the audit says otherwise",
        ),
        (
            AUDIT_IS_OPEN + "UPDATE audit SET detail = replace(detail, 'symbol:SPY', 'global')"
            " WHERE event = 'kill_switch.engaged'",
            "I-10",
            "though kill switch global was engaged by audit row",
        ),
        (
            AUDIT_IS_OPEN + "UPDATE audit SET event = 'account.disabled' WHERE seq ="
            " (SELECT seq FROM audit WHERE event = 'account.added' AND account = 2)",
            "I-10",
            "though its account was disabled by audit row",
        ),
        ("INSERT INTO meta VALUES ('quarantine', 'why')", "I-10", "there is a quarantine"),
        (
            "UPDATE trades SET limit_price = '199.999' WHERE id = {working}",
            "I-11",
            "has price 199.999, not a multiple of 0.01",
        ),
        (
            "UPDATE trades SET worst_price = '215.39' WHERE id = {cancelled}",
            "I-11",
            "other terms than its plan hash is of",
        ),
        (
            "UPDATE trades SET approved_by = principal WHERE id = {approved}",
            "I-11",
            "was approved by its planner, agent",
        ),
        (
            "UPDATE trades SET approval_required = 1 WHERE id = {executed}",
            "I-11",
            "was claimed without the approval it needed",
        ),
        (
            "UPDATE orders SET valid_until = sign_time WHERE trade_id = {executed}",
            "I-11",
            "was sent from paper:main at",
        ),
    ],
)
def test_damage_is_named_by_exactly_its_invariant(books, sql, invariant, says):
    books.damage(sql)
    found = books.found()

    assert list(found) == [invariant], found
    assert any(says in text for text in found[invariant]), found


def test_a_journal_with_two_lines_of_a_trade_breaks_the_first(books):
    books.journal.append(books.line("executed"))

    assert books.found() == {"I-1": [f"{books.ids['executed']} stands 2 times in the send journal"]}


@pytest.mark.parametrize("name", ["cancelled", "expired", "pending"])
def test_a_journal_line_of_what_was_never_claimed_breaks_the_third(books, name):
    trade = restored.trade_row(books.tx, books.ids[name])
    books.journal.append(replace(books.line("executed"), trade_id=books.ids[name], trade=trade))

    assert books.found() == {"I-3": [f"{books.ids[name]} is {name} and stands in the send journal"]}


def test_an_order_of_a_cancelled_trade_breaks_the_third(books):
    books.damage(
        "UPDATE orders SET trade_id = {cancelled} WHERE trade_id = {executing};"
        "UPDATE trades SET status = 'cancelled' WHERE id = {executing}"
    )

    assert (
        f"{books.ids['cancelled']} is cancelled and has an order, unknown" in books.found()["I-3"]
    )


def test_a_journal_line_of_no_trade_breaks_the_ninth(books):
    books.journal.append(replace(books.line("executed"), trade_id="trd-gone"))

    assert books.found() == {"I-9": ["trd-gone has rows in journal, and is no trade"]}


def test_a_journal_line_of_another_claim_breaks_the_ninth(books):
    books.put("executed", replace(books.line("executed"), audit_hash="0" * 64))

    (text,) = books.found()["I-9"]
    assert "stands in the send journal under another claim" in text


@pytest.mark.parametrize(
    ("name", "text"),
    [("quantity", "11"), ("side", "sell"), ("worst_price", "216"), ("time_in_force", "gtc")],
)
def test_a_journal_line_with_other_terms_breaks_the_eleventh(books, name, text):
    line = books.line("executed")
    books.put("executed", replace(line, trade={**line.trade, name: text}))

    (told,) = books.found()["I-11"]
    assert f"was sent with {name} {text}" in told


def test_a_claim_by_the_fence_needs_no_trace_of_before(books):
    books.damage(
        AUDIT_IS_OPEN
        + "DELETE FROM audit WHERE trade_id = {executing} AND event = 'trade.planned';"
        "UPDATE audit SET event = 'trade.planned', detail = '{{\"restored\":true}}' WHERE"
        " trade_id = {executing} AND event = 'trade.claimed'"
    )

    assert (
        f"{books.ids['executing']} has an order and no audit row trade.claimed"
        in (books.found()["I-9"])
    )


def watch(books: Books, ago: timedelta, **more: Any) -> Watch:
    return Watch("here", {1: books.now - ago}, {1: timedelta(seconds=60)}, **more)


def test_what_is_due_and_left_lying_breaks_the_twelfth(books):
    later = books.now + timedelta(seconds=5)
    books.damage(f"INSERT INTO leases VALUES ('keeper', 'here', '{later.isoformat()}')")
    assert books.found(watch(books, timedelta(seconds=60))) == {}

    books.now += timedelta(seconds=2)
    old = books.found(watch(books, timedelta(seconds=70)))
    assert list(old) == []  # Its own last change counts as a look.

    books.damage(
        "UPDATE orders SET updated_at = '2026-05-26T14:00:00.000000+00:00';"
        "UPDATE trades SET expires_at = '2026-05-26T14:14:42.000000+00:00' WHERE id = {pending}"
    )
    found = books.found(watch(books, timedelta(seconds=70)))["I-12"]
    assert f"{books.ids['pending']} expired at 2026-05-26T10:14:42-04:00 and is pending still" in (
        found
    )
    assert any(books.ids["working"] in text and "not looked at since" in text for text in found)
    assert any(books.ids["executing"] in text and "unsettled" in text for text in found)


def test_a_failing_account_breaks_the_twelfth_and_a_silent_exchange_does_not(books):
    later = books.now + timedelta(seconds=5)
    books.damage(
        f"INSERT INTO leases VALUES ('keeper', 'here', '{later.isoformat()}');"
        "UPDATE orders SET updated_at = '2026-05-26T14:00:00.000000+00:00'"
    )
    silent = Watch("here", {1: books.now - timedelta(hours=1)})
    failing = replace(silent, failing={1: "KeyError('a bug')"})

    assert books.found(silent) == {}
    assert all("is not looked at: KeyError" in text for text in books.found(failing)["I-12"])


def test_without_a_lease_nobody_is_late(books):
    books.now += timedelta(days=1)

    assert books.found(watch(books, timedelta(days=1))) == {}


@pytest.mark.parametrize(
    ("sql", "invariant"),
    [
        ("UPDATE trades SET quantity = 'ten' WHERE id = {executed}", "I-11"),
        ("UPDATE balances SET held = '1e3' WHERE account = 1", "I-5"),
        ("UPDATE postings SET amount = 'NaN' WHERE trade_id = {executed}", "I-6"),
    ],
)
def test_what_is_no_number_is_named_and_not_raised(books, sql, invariant):
    books.damage(sql)

    assert any("cannot be read: not a stored number" in text for text in books.found()[invariant])


def test_the_journal_is_read_as_it_stands_in_its_file(healthy):
    journal = Journal(healthy.database.parent / "sends.log")

    assert list(journal.each())[: len(healthy.journal)] == healthy.journal
