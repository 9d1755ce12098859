"""Block while a kill switch covers the order: global, of the account, or of the symbol."""

from backend.risk import ALWAYS, Finding, RiskView, blocked

PRECEDENCE = 10
LIMIT = ALWAYS


def check(view: RiskView, limit: str) -> Finding:
    if view.kill_switch is None:
        return Finding("pass")
    return blocked(f"the kill switch is engaged ({view.kill_switch}); an operator must resume")
