"""What a mutant is, and the smallest configurations that notice one."""

from collections.abc import Iterable
from dataclasses import dataclass

from tests.model.guards import Ids, Model

EXECUTION = "backend/services/execution.py"
CLAIM = "backend/services/claim.py"
SETTLE = "backend/services/settle.py"
RECONCILE = "backend/services/reconcile.py"
ABSENCE = "backend/services/absence.py"
TRADES = "backend/store/trades.py"
ORDERS = "backend/store/orders.py"
LEDGER = "backend/store/ledger.py"
RISK = "backend/services/risk.py"
FENCE = "backend/services/fence.py"

PLAIN = Model("one confirm, one reconciler", callers=1)
RACE = Model("two confirms", cancels=True)
QUICK = Model("without a stream", callers=1, stream=False)
CANCEL = Model("a live order is cancelled", callers=1, cancels=True)
KILL = Model("kill switch", kill=True, last=4)
CLOCK = Model("our clock steps", callers=1, dismiss=True, steps=3, last=7, stream=False)
FORWARD = Model("our clock steps forward", callers=1, steps=1, last=7, stream=False)
ONE_ANSWER = Model("one answer is enough", callers=1, answers=1, stream=False)
PAPER = Model(
    "an exchange on our clock",
    ids=Ids.FOR_EVER,
    own_clock=True,
    answers=1,
    margin=0,
    lag=False,
    callers=1,
    steps=3,
    last=7,
    stream=False,
    apart=True,
)
RESTORE = Model("a copy is restored", restore=True, stream=False, last=4)
DISMISSED = Model("dismissed, and restore", callers=1, dismiss=True, restore=True, stream=False)
BACKUP = Model(
    "a backup is restored", callers=1, dismiss=True, restore=True, marked=True, stream=False
)
WHOLE = Model(
    "the whole home is restored", restore=True, in_place=False, stream=False, last=3
).without("journal_elsewhere")
SECOND = Model("a second server starts", callers=1, second_start=True, stream=False)
BLIND = Model("look-ups go blind", callers=1, blind=True, stream=False, last=7)
HIDDEN = Model("an order hides", callers=1, hidden=1, stream=False)
RENAMED = Model("an order is renamed", callers=1, hidden=2, stream=False)
FORGOTTEN = Model("an order is forgotten", callers=1, hidden=4, stream=False)
TWICE = Model("requests come twice", callers=1, doubles=True, stream=False)
PAIR = Model("two reconcilers", callers=1, reconcilers=2, cancels=True)
LATE_FILL = Model("a fill after the end", callers=1, late_fill=True)
LATE_ENTRY = Model("entry after validity", callers=1, late_entry=True, stream=False, lag=False)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A guard taken away.

    Attributes:
        guards: what is switched off: one, or a guard together with the one that doubles it.
        model: the smallest configuration that notices.
        where: file and text of the line that it stands for.
        why: what the guard is for, or why its removal goes unnoticed.
    """

    name: str
    guards: tuple[str, ...]
    model: Model
    where: tuple[str, str]
    why: str

    @property
    def mutated(self) -> Model:
        return self.model.without(*self.guards)


def by_name(mutants: Iterable[Mutant]) -> dict[str, Mutant]:
    return {mutant.name: mutant for mutant in mutants}


def one(guard: str, model: Model, file: str, text: str, why: str, *more: str) -> Mutant:
    return Mutant(guard, (guard, *more), model, (file, text), why)
