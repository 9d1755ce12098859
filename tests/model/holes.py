"""Guards that the code does not have: each a weakness of the protocol as built or as planned.

Each has the trace that shows it. Once one is closed, it moves to `mutants.py`. `SPARE` are
guards whose removal the model does not notice, each with the reason.
"""

from tests.model.guards import Model
from tests.model.mutant import (
    ABSENCE,
    CLAIM,
    DISMISSED,
    PAIR,
    PAPER,
    RESTORE,
    TRADES,
    by_name,
    one,
)

_HOLES = (
    one(
        "asked_with_the_answer",
        PAPER,
        ABSENCE,
        "asked_at = await exchange.now()",
        "on paper the clock is ours: read ahead, put back, and only then asked",
    ),
    one(
        "plan_ages_on_true_time",
        Model("a plan ages", callers=1, steps=2, ages=True, last=7, stream=False),
        CLAIM,
        "expired = expire_due(tx, trade.account)",
        "while our clock is behind the mark time stands still: a plan outlives its 60 s by as"
        " much as the clock was put back",
    ),
    one(
        "journal_elsewhere",
        RESTORE,
        "backend/config.py",
        'home / "sends.log"',
        "a copy of the whole home brings its journal back with it: the fence sees nothing",
    ),
    one(
        "journal_has_kills",
        Model("kill switch and restore", callers=1, kill=True, restore=True, stream=False, last=3),
        "backend/journal.py",
        "One order that may have left",
        "a plain copy of before the kill switch, and nothing sent since: the switch is off",
    ),
    one(
        "journal_has_ends",
        DISMISSED,
        "backend/journal.py",
        "One order that may have left",
        "a plain copy of before the plan's end, and nothing sent since: the plan lives again",
    ),
)

_SPARE = (
    one(
        "trade_edges",
        PAIR,
        TRADES,
        "WHERE id = :id AND status IN ({marks})",
        "an order's trade moves only with its order, whose own edge decides; the ends of a plan"
        " are the mutants `cancel_only_pending` and `sweep_only_pending`",
    ),
    one(
        "claim_refuses_clock_behind",
        Model("our clock steps, no dismissal", callers=1, steps=2, last=6, stream=False),
        "backend/services/trading.py",
        "if tx.clock_behind:",
        "the mark alone keeps every promise of the model. This guard keeps `now` from standing"
        " still while plans are made: limits per minute and quotes' ages are not modelled",
    ),
)

HOLES = by_name(_HOLES)
SPARE = by_name(_SPARE)
