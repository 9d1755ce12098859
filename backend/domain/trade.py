"""A trade: our two-phase object, which becomes at most one order.

          plan               confirm: claim                the exchange says
(nothing) ────▶ pending ───────────────▶ executing ─────────▶ working ─────▶ executed
                 │   │                    │                    └───────────▶ failed
          cancel │   │ now >= expires_at  └──▶ executed | failed
                 ▼   ▼
          cancelled  expired
"""

import base64
import hashlib
import json
import re
import secrets
from enum import StrEnum

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_TRADE_ID = re.compile(r"trd-[a-z2-7]{20}", re.ASCII)


class TradeStatus(StrEnum):
    PENDING = "pending"
    EXECUTING = "executing"
    WORKING = "working"
    EXECUTED = "executed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    FAILED = "failed"


_T = TradeStatus
FINISHED = frozenset({_T.EXECUTED, _T.CANCELLED, _T.EXPIRED, _T.FAILED})

# Terminal -> terminal happens on evidence from the exchange only, with an incident.
TRADE_EDGES: dict[TradeStatus, frozenset[TradeStatus]] = {
    _T.PENDING: frozenset({_T.EXECUTING, _T.CANCELLED, _T.EXPIRED}),
    _T.EXECUTING: frozenset({_T.WORKING, _T.EXECUTED, _T.FAILED}),
    _T.WORKING: frozenset({_T.EXECUTED, _T.FAILED}),
    _T.FAILED: frozenset({_T.EXECUTED}),
    _T.EXECUTED: frozenset(),
    _T.CANCELLED: frozenset(),
    _T.EXPIRED: frozenset(),
}


class FailReason(StrEnum):
    REJECTED = "rejected"
    NOT_SENT = "not_sent"
    ABSENT = "absent"
    NOT_FILLED = "not_filled"
    ORDER_CANCELLED = "order_cancelled"
    ORDER_EXPIRED = "order_expired"


class CancelReason(StrEnum):
    CALLER = "caller"
    OPERATOR_REJECTED = "operator_rejected"
    KILL_SWITCH = "kill_switch"
    ACCOUNT_DISABLED = "account_disabled"
    QUARANTINE = "quarantine"


def new_trade_id() -> str:
    """Return `trd-` and 20 random characters of lower-case base32: 100 bits."""
    return "trd-" + base64.b32encode(secrets.token_bytes(13)).decode()[:20].lower()


def is_trade_id(text: str) -> bool:
    """Say whether `text` has the form of our ids."""
    return bool(_TRADE_ID.fullmatch(text))


def digest(terms: dict[str, str | int | None]) -> str:
    """Return the SHA-256 of `terms` as canonical JSON, in hex."""
    return hashlib.sha256(_CANONICAL(terms).encode()).hexdigest()
