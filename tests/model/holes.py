"""Guards that the code does not have: each a weakness of the protocol as built or as planned.

Each has the trace that shows it. Once one is closed, it moves to `mutants.py`. `SPARE` are
guards whose removal the model does not notice, each with the reason.
"""

from tests.model.guards import Model
from tests.model.mutant import (
    CLAIM,
    DISMISSED,
    PAIR,
    RESTORE,
    TRADES,
    by_name,
    one,
)

_HOLES = (
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
        "a volume that is rolled back whole brings its journal back with it, in the same files:"
        " only live orders and balances at the exchange tell, some seconds after the start",
    ),
    one(
        "journal_has_ends",
        DISMISSED,
        "backend/journal.py",
        "when a server stops in order",
        "a server that is killed leaves no mark: a copy of before a plan's end, written over the"
        " old file, and nothing sent since: the plan lives again, at most for its time",
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
