"""Block on an account that is disabled, or stopped because something does not add up."""

from backend.risk import ALWAYS, Finding, RiskView, blocked

PRECEDENCE = 20
LIMIT = ALWAYS


def check(view: RiskView, limit: str) -> Finding:
    if not view.enabled:
        return blocked(f"account {view.account_id} is disabled")
    if view.stopped:
        return blocked(f"account {view.account_id} takes no new risk: {view.stopped}")
    return Finding("pass")
