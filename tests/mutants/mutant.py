"""What a code mutant is, and the files that mutants stand in."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HOME = Path(__file__).parents[2]

CLAIM = "backend/services/claim.py"
EXECUTION = "backend/services/execution.py"
SETTLE = "backend/services/settle.py"
ABSENCE = "backend/services/absence.py"
RECONCILE = "backend/services/reconcile.py"
FENCE = "backend/services/fence.py"
EXPIRY = "backend/services/expiry.py"
RISK = "backend/services/risk.py"
PLANNING = "backend/services/planning.py"
APPROVAL = "backend/services/approval.py"
TRADING = "backend/services/trading.py"
TRADES = "backend/store/trades.py"
ORDERS = "backend/store/orders.py"
LEDGER = "backend/store/ledger.py"
CONTROLS = "backend/store/controls.py"
TOKENS = "backend/store/tokens.py"
AUDIT = "backend/store/audit.py"
JOURNAL = "backend/journal.py"
DISK = "backend/disk.py"
DATABASE = "backend/database.py"
MONEY = "backend/domain/ledger.py"
STATES = "backend/domain/trade.py"
ORDER_STATES = "backend/domain/order.py"
CHECKS = "backend/risk/__init__.py"

Edit = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One guard, taken away or bent.

    Attributes:
        file, old, new: `old` stands exactly once in `file` and is replaced by `new`.
        why: what the guard is for.
        breaks: the invariant, law or row of the failure matrix that fails without it.
        tests: what must notice, the likeliest first: files or node ids under `tests/`.
        also: further edits, where two guards do the same and both must go.
        equivalent: why no test can notice; "" where one must.
    """

    name: str
    file: str
    old: str
    new: str
    why: str
    breaks: str
    tests: tuple[str, ...]
    also: tuple[Edit, ...] = ()
    equivalent: str = ""

    @property
    def edits(self) -> tuple[Edit, ...]:
        """Return every replacement: file, old, new."""
        return ((self.file, self.old, self.new), *self.also)


def _of(file: str) -> Callable[..., tuple[str, ...]]:
    """Return what names tests of a file: those of these names, or else all of it."""

    def named(*names: str) -> tuple[str, ...]:
        return tuple(f"{file}::test_{name}" for name in names) or (file,)

    return named


confirms = _of("services/test_confirm.py")
settles = _of("services/test_settle.py")
reconciles = _of("services/test_reconcile.py")
rounds = _of("services/test_reconcile_rounds.py")
plans = _of("services/test_plan.py")
views = _of("services/test_risk_view.py")
stores = _of("services/test_storage.py")
fences = _of("services/test_fence.py")
journals = _of("test_journal.py")
restarts = _of("services/test_restart.py")
standstills = _of("services/test_standstill.py")
sums = _of("domain/test_ledger.py")
states = _of("domain/test_states.py")
checks = _of("risk/test_checks.py")
limits = _of("risk/test_limits.py")


def mutated(mutant: Mutant, home: Path = HOME) -> dict[str, str]:
    """Return the text of each file that the mutant changes, changed.

    Raises:
        ValueError: a text is not found exactly once: the list is out of date.
    """
    texts: dict[str, str] = {}
    for file, old, new in mutant.edits:
        text = texts.get(file) or (home / file).read_text(encoding="utf-8")
        if (found := text.count(old)) != 1:
            raise ValueError(f"{mutant.name} does not apply: {file} has its text {found} times")
        texts[file] = text.replace(old, new)
    return texts
