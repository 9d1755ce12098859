"""Every error this project raises, sorted by what the caller may do next.

* ExecError
  + Refused              we said no; nothing happened; change the request      400
    - TradeNotPending    carries the actual status and the whole trade
    - AwaitingApproval   the plan stays pending until an operator approves
  + Unauthorised         no token, or a bad one; nothing happened              401
  + Forbidden            the token lacks the scope; nothing happened           403
  + NotFound             no such thing, or somebody else's; nothing happened   404
  + RateLimited          too many requests; nothing happened                   429
  + ExchangeRejected     the exchange said no; the trade is failed             422
  + ExchangeUnavailable  the request never left; a new plan is safe            503
  + OutcomeUnknown       it may have happened; looked up, never sent again     202

The numbers are a table in `backend/api/http.py`; nothing below it knows HTTP.
"""

from collections.abc import Mapping
from typing import Any

# The closed list of codes. The name of a risk check is a code too: see `backend/risk`.
CODES = {
    "invalid_request": "the request is malformed: see detail",
    "invalid_number": "a number is not in plain decimal digits, or out of range",
    "unknown_symbol": "no such instrument on this exchange",
    "unsupported_order": "the exchange does not take this order type or time in force",
    "request_id_reused": "this request_id belongs to another order",
    "trade_not_pending": "the trade is no longer pending: see current_status and trade",
    "awaiting_approval": "an operator must approve this plan first",
    "approval_refused": "this approval is not possible: see detail",
    "price_moved": "the market left the planned band; the plan stays pending",
    "plan_changed": "rules, fees or credentials changed since the plan: plan again",
    "order_not_open": "the order is already final",
    "account_exists": "this account is already configured",
    "account_in_use": "the account has live orders",
    "quarantined": "the server takes no new risk until an operator has looked",
    "storage": "the disk or the database ails: see detail; nothing was sent",
    "clock": "the clock stepped back; plan and confirm wait until it catches up",
    "unauthorised": "no token, or one that is unknown, expired or revoked",
    "forbidden": "the token lacks the scope",
    "not_the_planner": "only the principal that planned a trade may confirm it",
    "not_found": "no such thing",
    "rate_limited": "too many requests: wait and try again",
    "too_large": "the request body is too large",
    "method_not_allowed": "wrong method",
    "unsupported_media_type": "send application/json",
    "exchange_rejected": "the exchange refused the order; nothing was filled",
    "exchange_unavailable": "the exchange was not reached; no byte was sent",
    "not_filled": "the order ended with nothing filled",
    "internal_error": "our fault: look at the server's log",
}


class ExecError(Exception):
    """Base of all of them.

    Args:
        code: one of `CODES`, or the name of a risk check.
        detail: a sentence for a person and a model: what was wrong, the rule,
            the value, what to do next.
        facts: further members of the problem object, such as `current_status`.
    """

    code = "internal_error"

    def __init__(self, detail: str, code: str | None = None, **facts: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or type(self).code
        self.facts: Mapping[str, Any] = facts


class Refused(ExecError):
    """We said no. Nothing happened; change the request."""

    code = "invalid_request"


class TradeNotPending(Refused):
    """The trade was claimed, cancelled or expired before. Carries `current_status`."""

    code = "trade_not_pending"


class AwaitingApproval(Refused):
    """A second person must approve first. The plan stays pending."""

    code = "awaiting_approval"


class Unauthorised(ExecError):
    """No token, or one that is unknown, expired or revoked."""

    code = "unauthorised"


class Forbidden(ExecError):
    """The token is good and lacks the scope."""

    code = "forbidden"


class NotFound(ExecError):
    """No such thing, or somebody else's: the two are never told apart."""

    code = "not_found"

    def __init__(self, detail: str = "no such thing, or not yours", **facts: Any) -> None:
        super().__init__(detail, None, **facts)


class RateLimited(ExecError):
    """Too many requests."""

    code = "rate_limited"


class ExchangeRejected(ExecError):
    """The exchange gave a definitive refusal from its closed list.

    Args:
        exchange_code: the exchange's own code, kept for the audit.
    """

    code = "exchange_rejected"

    def __init__(self, detail: str, exchange_code: str = "", **facts: Any) -> None:
        super().__init__(detail, None, **facts)
        self.exchange_code = exchange_code


class ExchangeUnavailable(ExecError):
    """No byte of the order left. A new plan is safe."""

    code = "exchange_unavailable"


class OutcomeUnknown(ExecError):
    """The order may have reached the exchange. It is looked up, never sent again."""

    code = "internal_error"


# What asking an exchange may end in instead of an answer: no evidence of anything.
# Silence is about one question; who is rate limited asks no further one either.
SILENCE = (ExchangeRejected, ExchangeUnavailable, OutcomeUnknown)
NO_ANSWER = (*SILENCE, RateLimited)
