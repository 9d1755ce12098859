"""Warn, or block, when the same order was planned or confirmed here within 60 seconds."""

from backend.risk import Finding, Limit, RiskView

PRECEDENCE = 140
LIMIT = Limit(paper="warn", live="warn", choices=("off", "warn", "block"))


def check(view: RiskView, limit: str) -> Finding:
    if limit == "off":
        return Finding("not_run", detail="switched off")
    if view.twin is None:
        return Finding("pass")
    return Finding(limit, detail=f"the same order is in {view.twin}, less than 60 s old")
