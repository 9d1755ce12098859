"""The schema of `exec-mcp.db`, one function per step; sqlite-utils applies what is missing.

Money is canonical decimal TEXT: SQL neither adds nor compares it (Law 2). Times are
fixed-width UTC TEXT, so their order is the order of the texts.
"""

from typing import Any

from sqlite_utils import Migrations

migrations = Migrations("exec-mcp")

_CORE = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
    """CREATE TABLE accounts (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        exchange TEXT NOT NULL,
        identifier TEXT NOT NULL,
        name TEXT NOT NULL,
        environment TEXT NOT NULL CHECK (environment IN ('paper', 'testnet', 'demo', 'live')),
        currency TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('enabled', 'disabled')),
        settings TEXT NOT NULL,
        limits TEXT NOT NULL,
        credential_version INTEGER NOT NULL DEFAULT 1,
        ledger_version INTEGER NOT NULL DEFAULT 0,
        posted_at TEXT,
        break_reason TEXT,
        created_at TEXT NOT NULL,
        UNIQUE (exchange, identifier)) STRICT""",
    """CREATE TABLE tokens (
        kid TEXT PRIMARY KEY,
        principal TEXT NOT NULL,
        hash TEXT NOT NULL,
        scopes TEXT NOT NULL,
        accounts TEXT NOT NULL,
        limits TEXT NOT NULL,
        created_at TEXT NOT NULL,
        expires_at TEXT,
        revoked_at TEXT) STRICT""",
    "CREATE INDEX tokens_principal ON tokens (principal)",
    """CREATE TABLE trades (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        account INTEGER NOT NULL REFERENCES accounts (id),
        principal TEXT NOT NULL,
        token_kid TEXT NOT NULL,
        request_id TEXT,
        request_hash TEXT NOT NULL,
        plan_hash TEXT NOT NULL,
        status TEXT NOT NULL CHECK (status IN
            ('pending', 'executing', 'working', 'executed', 'cancelled', 'expired', 'failed')),
        reason TEXT,
        symbol TEXT NOT NULL,
        base TEXT NOT NULL,
        quote_currency TEXT NOT NULL,
        price_decimals INTEGER NOT NULL,
        side TEXT NOT NULL CHECK (side IN ('buy', 'sell')),
        quantity TEXT NOT NULL,
        order_type TEXT NOT NULL,
        limit_price TEXT,
        stop_price TEXT,
        time_in_force TEXT NOT NULL,
        price TEXT NOT NULL,
        worst_price TEXT NOT NULL,
        band_bps TEXT NOT NULL,
        quote TEXT NOT NULL,
        fee TEXT NOT NULL,
        fee_currency TEXT NOT NULL,
        notional TEXT,
        checks TEXT NOT NULL,
        rules_version TEXT NOT NULL,
        credential_version INTEGER NOT NULL,
        buying_power TEXT NOT NULL,
        approval_required INTEGER NOT NULL,
        approval_threshold TEXT,
        approved_by TEXT,
        approved_at TEXT,
        incident TEXT,
        created_at TEXT NOT NULL,
        expires_at TEXT NOT NULL,
        order_expires_at TEXT,
        claimed_at TEXT,
        finished_at TEXT,
        version INTEGER NOT NULL DEFAULT 1) STRICT""",
    "CREATE UNIQUE INDEX trades_request ON trades (principal, request_id)"
    " WHERE request_id IS NOT NULL",
    "CREATE INDEX trades_pending ON trades (account, expires_at, principal)"
    " WHERE status = 'pending'",
    "CREATE INDEX trades_claimed ON trades (account, principal, claimed_at)"
    " WHERE claimed_at IS NOT NULL",
    "CREATE INDEX trades_by_account ON trades (account, number)",
    """CREATE TABLE orders (
        trade_id TEXT PRIMARY KEY REFERENCES trades (id),
        account INTEGER NOT NULL REFERENCES accounts (id),
        state TEXT NOT NULL CHECK (state IN
            ('sending', 'unknown', 'open', 'partially_filled', 'filled', 'cancelled',
             'rejected', 'expired', 'not_sent', 'absent')),
        sign_time TEXT NOT NULL,
        valid_until TEXT NOT NULL,
        exchange_order_id TEXT,
        filled_quantity TEXT NOT NULL,
        filled_notional TEXT NOT NULL,
        reported_quantity TEXT NOT NULL,
        exchange_code TEXT,
        cancel_requested_at TEXT,
        not_found INTEGER NOT NULL DEFAULT 0,
        looked_up_at TEXT,
        updated_at TEXT NOT NULL,
        version INTEGER NOT NULL DEFAULT 1) STRICT, WITHOUT ROWID""",
    "CREATE INDEX orders_live ON orders (account, sign_time)"
    " WHERE state IN ('sending', 'unknown', 'open', 'partially_filled')",
    "CREATE INDEX orders_absent ON orders (account, updated_at) WHERE state = 'absent'",
    # An account belongs to one exchange, so the key needs no exchange.
    """CREATE TABLE fills (
        account INTEGER NOT NULL REFERENCES accounts (id),
        symbol TEXT NOT NULL,
        exchange_order_id TEXT NOT NULL,
        exchange_fill_id TEXT NOT NULL,
        trade_id TEXT REFERENCES trades (id),
        side TEXT NOT NULL,
        quantity TEXT NOT NULL,
        price TEXT NOT NULL,
        fee TEXT NOT NULL,
        fee_currency TEXT NOT NULL,
        liquidity TEXT NOT NULL,
        executed_at TEXT NOT NULL,
        booked_at TEXT NOT NULL,
        PRIMARY KEY (account, symbol, exchange_order_id, exchange_fill_id)
        ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX fills_trade ON fills (trade_id)",
    """CREATE TABLE balances (
        account INTEGER NOT NULL REFERENCES accounts (id),
        currency TEXT NOT NULL,
        total TEXT NOT NULL,
        held TEXT NOT NULL,
        version INTEGER NOT NULL DEFAULT 1,
        PRIMARY KEY (account, currency)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE holds (
        trade_id TEXT NOT NULL REFERENCES trades (id),
        account INTEGER NOT NULL REFERENCES accounts (id),
        currency TEXT NOT NULL,
        reserved TEXT NOT NULL,
        posted TEXT NOT NULL,
        voided TEXT NOT NULL,
        open INTEGER NOT NULL CHECK (open IN (0, 1)),
        PRIMARY KEY (trade_id, currency)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE postings (
        id INTEGER PRIMARY KEY,
        account INTEGER NOT NULL REFERENCES accounts (id),
        currency TEXT NOT NULL,
        amount TEXT NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('opening', 'fill', 'adjustment')),
        trade_id TEXT,
        exchange_fill_id TEXT,
        at TEXT NOT NULL) STRICT""",
    """CREATE TABLE positions (
        account INTEGER NOT NULL REFERENCES accounts (id),
        symbol TEXT NOT NULL,
        quantity TEXT NOT NULL,
        cost TEXT NOT NULL,
        realized_pnl TEXT NOT NULL,
        PRIMARY KEY (account, symbol)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE snapshots (
        id INTEGER PRIMARY KEY,
        account INTEGER NOT NULL REFERENCES accounts (id),
        at TEXT NOT NULL,
        currency TEXT NOT NULL,
        exchange_total TEXT NOT NULL,
        exchange_free TEXT NOT NULL,
        ledger_total TEXT NOT NULL) STRICT""",
    "CREATE INDEX snapshots_account ON snapshots (account, id)",
    """CREATE TABLE kill_switches (
        scope TEXT PRIMARY KEY,
        engaged INTEGER NOT NULL CHECK (engaged IN (0, 1)),
        epoch INTEGER NOT NULL,
        reason TEXT NOT NULL,
        by TEXT NOT NULL,
        at TEXT NOT NULL) STRICT, WITHOUT ROWID""",
    """CREATE TABLE daily_notionals (
        account INTEGER NOT NULL REFERENCES accounts (id),
        principal TEXT NOT NULL,
        day TEXT NOT NULL,
        notional TEXT NOT NULL,
        PRIMARY KEY (account, principal, day)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE leases (
        name TEXT PRIMARY KEY,
        owner TEXT NOT NULL,
        expires_at TEXT NOT NULL) STRICT, WITHOUT ROWID""",
    """CREATE TABLE audit (
        seq INTEGER PRIMARY KEY,
        at TEXT NOT NULL,
        event TEXT NOT NULL,
        actor TEXT NOT NULL,
        account INTEGER,
        trade_id TEXT,
        detail TEXT NOT NULL,
        previous TEXT NOT NULL,
        hash TEXT NOT NULL) STRICT""",
    """CREATE TRIGGER audit_is_never_updated BEFORE UPDATE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END""",
    """CREATE TRIGGER audit_is_never_replaced BEFORE INSERT ON audit
        WHEN EXISTS (SELECT 1 FROM audit WHERE seq >= NEW.seq)
        BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END""",
    """CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END""",
)


@migrations()
def core(database: Any) -> None:
    for statement in _CORE:
        database.execute(statement)


_REAL_EXCHANGES = (
    # A deleted account stays as the row that its trades refer to.
    "ALTER TABLE accounts ADD COLUMN deleted_at TEXT",
    # What the exchange said of the key when it was proved: permissions, as JSON.
    "ALTER TABLE accounts ADD COLUMN identity TEXT",
    # Apart from the account's data; the version stands on the account.
    """CREATE TABLE credentials (
        account INTEGER PRIMARY KEY REFERENCES accounts (id),
        version INTEGER NOT NULL,
        key_id TEXT NOT NULL,
        sealed BLOB NOT NULL,
        created_at TEXT NOT NULL) STRICT""",
    # The exchange's own documents, whole, as fetched: the last good set.
    """CREATE TABLE metadata (
        exchange TEXT NOT NULL,
        environment TEXT NOT NULL,
        version TEXT NOT NULL,
        content BLOB NOT NULL,
        fetched_at TEXT NOT NULL,
        PRIMARY KEY (exchange, environment)) STRICT, WITHOUT ROWID""",
    # The latest snapshot, beside the ledger: bounds what a live account may spend.
    """CREATE TABLE exchange_balances (
        account INTEGER NOT NULL REFERENCES accounts (id),
        currency TEXT NOT NULL,
        total TEXT NOT NULL,
        free TEXT NOT NULL,
        as_of TEXT NOT NULL,
        PRIMARY KEY (account, currency)) STRICT, WITHOUT ROWID""",
)


@migrations()
def real_exchanges(database: Any) -> None:
    for statement in _REAL_EXCHANGES:
        database.execute(statement)
