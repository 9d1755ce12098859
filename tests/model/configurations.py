"""What is searched whole. `CORE` in every test run, `ALL` under `make soak`."""

from dataclasses import replace

from tests.model.guards import Guards, Ids, Model
from tests.model.mutant import BACKUP, WHOLE

# As the code is: what `holes.HOLES` lists is switched off, where it makes no difference.
AS_BUILT = Guards(
    plan_ages_on_true_time=False,
    journal_has_ends=False,
)

_PAPER = Model("paper", Ids.FOR_EVER, own_clock=True, answers=1, margin=0, lag=False)


def _each(model: Model) -> tuple[Model, ...]:
    """Return the configuration once for each meaning of a client order id."""
    return tuple(replace(model, name=f"{model.name}, ids {i.value}", ids=i) for i in Ids)


# Two confirms, cancel, sweeper, dismissal, a reconciler, crashes, and a network that loses,
# delays and doubles answers: with each of the three meanings of a client order id.
CORE = _each(Model("core", cancels=True, dismiss=True, apart=True, guards=AS_BUILT))

# Small enough for every test run: one thing more that may go wrong, each.
SMALL = (
    replace(_PAPER, name="paper", cancels=True, apart=True, guards=AS_BUILT),
    Model("an order hides", callers=1, hidden=7, stream=False, apart=True, guards=AS_BUILT),
    Model(
        "look-ups go blind",
        callers=1,
        blind=True,
        stream=False,
        last=7,
        apart=True,
        guards=AS_BUILT,
    ),
    Model("look-ups without fills", callers=1, fills_lag=True, apart=True, guards=AS_BUILT),
    Model("requests come twice", callers=1, doubles=True, apart=True, guards=AS_BUILT),
    Model("a fill after the end", callers=1, late_fill=True, apart=True, guards=AS_BUILT),
    Model(
        "entry after validity", callers=1, late_entry=True, lag=False, apart=True, guards=AS_BUILT
    ),
    Model(
        "a second server starts",
        callers=1,
        second_start=True,
        stream=False,
        apart=True,
        guards=AS_BUILT,
    ),
    Model(
        "a copy is restored",
        callers=1,
        restore=True,
        stream=False,
        last=4,
        apart=True,
        guards=AS_BUILT,
    ),
    replace(BACKUP, apart=True, guards=AS_BUILT),
    replace(WHOLE, apart=True),
)

_LARGE = (
    Model("two reconcilers", reconcilers=2, cancels=True, apart=True, guards=AS_BUILT),
    Model(
        "two reconcilers, blind",
        callers=1,
        reconcilers=2,
        blind=True,
        stream=False,
        last=7,
        apart=True,
        guards=AS_BUILT,
    ),
    Model(
        "three troubles with look-ups",
        blind=True,
        hidden=7,
        fills_lag=True,
        cancels=True,
        apart=True,
        guards=AS_BUILT,
    ),
    Model("kill switch", kill=True, cancels=True, last=4),
    Model("kill switch, clock back", callers=1, kill=True, steps=2, stream=False),
    Model("kill switch, clock forward", callers=1, kill=True, steps=1, last=7, stream=False),
    Model("kill switch, restore", callers=1, kill=True, restore=True, stream=False, last=4),
    Model(
        "clock", callers=1, dismiss=True, steps=3, last=7, stream=False, apart=True, guards=AS_BUILT
    ),
    replace(
        _PAPER,
        name="paper, clock",
        callers=1,
        dismiss=True,
        steps=3,
        last=7,
        stream=False,
        apart=True,
    ),
    Model("a plan ages", callers=1, steps=3, ages=True, last=7, stream=False),
    Model("by hand", callers=1, by_hand=True, steps=3, last=7, stream=False, lag=False),
)

ALL = (
    *CORE,
    *SMALL,
    *_LARGE,
    Model("restore, second start", callers=1, restore=True, second_start=True, stream=False),
    *_each(Model("restore", restore=True, dismiss=True, cancels=True, stream=False, last=4)),
)
