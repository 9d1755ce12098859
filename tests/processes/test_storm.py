"""Eight processes rush at the same trades: one winner each, and the truth for everybody."""

from decimal import Decimal

import pytest

from tests.processes.books import Ours
from tests.processes.storm import campaign, judged

pytestmark = pytest.mark.anyio
PROCESSES, TRADES = 8, 100


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
async def test_of_each_trade_one_claim_or_cancel_or_its_expiry_wins(zygote, tmp_path, journal):
    tally = await campaign(zygote, tmp_path / "town", journal, PROCESSES, TRADES)

    assert tally.wrong == []
    assert tally.trades == TRADES
    assert tally.attempts > (PROCESSES - 1) * TRADES
    assert min(tally.ended[how] for how in ("executed", "cancelled", "expired")) > 0


@pytest.mark.parametrize(
    ("status", "attempts", "lies"),
    [
        ("executed", [("claim", True, "executed"), ("cancel", False, "executing")], 0),
        ("executed", [("claim", True, "executed"), ("claim", True, "executed")], 1),
        ("executed", [("claim", True, "executed"), ("cancel", True, "cancelled")], 2),
        ("executed", [("claim", True, "executed"), ("claim", False, "pending")], 1),
        ("cancelled", [("cancel", True, "cancelled"), ("claim", False, "cancelled")], 0),
        ("expired", [("cancel", False, "expired"), ("claim", False, "cancelled")], 1),
        ("expired", [("claim", True, "expired")], 1),
        ("pending", [("claim", False, "pending")], 1),
    ],
)
def test_two_winners_and_a_lie_are_seen(status, attempts, lies):
    made = [["trd-a", word, won, told, None, 0.0, 0] for word, won, told in attempts]
    ours = Ours("paper", status, None, None, Decimal(0), 0)

    assert len(judged(made, {"trd-a": ours})) == lies
