"""The guards of the protocol: each is one check or one order of steps in the code.

A mutant switches one off. `HOLES` are guards that the code does not have (yet).
"""

from dataclasses import dataclass, field, replace
from enum import Enum


class Ids(Enum):
    """What a client order id is worth at the exchange."""

    FOR_EVER = "unique for ever"
    AMONG_OPEN = "unique among open orders"
    NEVER = "not checked"


@dataclass(frozen=True, slots=True)
class Guards:
    """True: the guard is there. See `mutants.py` for the line that each stands for."""

    # The claim.
    claim_once: bool = True
    claim_in_time: bool = True
    now_under_the_lock: bool = True
    claim_refuses_kill: bool = True
    claim_refuses_quarantine: bool = True
    claim_refuses_clock_behind: bool = True
    order_row_with_the_claim: bool = True
    high_water: bool = True
    # The send.
    claim_before_send: bool = True
    journal_before_send: bool = True
    gate: bool = True
    gate_after_journal: bool = True
    gate_counts_suspension: bool = True
    signed_is_stored: bool = True
    one_attempt: bool = True
    # Settling.
    no_answer_is_unknown: bool = True
    written_is_unknown: bool = True
    error_is_unknown: bool = True
    repeated_is_unknown: bool = True
    order_edges: bool = True
    trade_edges: bool = True
    fills_once: bool = True
    fills_in_any_state: bool = True
    final_needs_fills: bool = True
    outcome_by_fills: bool = True
    void_only_the_rest: bool = True
    void_at_the_end: bool = True
    ack_is_not_final: bool = True
    unknown_order_is_no_evidence: bool = True
    # Reconciling.
    after_validity: bool = True
    margin: bool = True
    enough_answers: bool = True
    spacing: bool = True
    error_is_no_evidence: bool = True
    asked_before_the_answer: bool = True
    exchange_clock: bool = True
    clock_learnt: bool = True
    closed_orders_too: bool = True
    history: bool = True
    twins: bool = True
    fills_of_history: bool = True
    clock_stored: bool = True
    never_sent_again: bool = True
    cancel_repeated: bool = True
    live_after_end_cancelled: bool = True
    unknown_looked_up: bool = True
    # Plans and the kill switch.
    cancel_only_pending: bool = True
    sweep_only_pending: bool = True
    sweep: bool = True
    kill_ends_plans: bool = True
    kill_waits: bool = True
    # The start.
    journal_after_claim: bool = True
    fence: bool = True
    fence_reads_journal_first: bool = True
    fence_recovers: bool = True
    fence_keeps_validity: bool = True
    fence_voids_plans: bool = True
    copy_mark: bool = True
    fence_once: bool = True
    place: bool = True
    journal_has_kills: bool = True
    # What is assumed of the exchange.
    exchange_refuses_late: bool = True
    seen_within_margin: bool = True
    nonce: bool = True
    # Not in the code (yet): see `holes.HOLES`.
    stamped_in_the_claim: bool = True
    gate_at_the_wire: bool = True
    by_hand_asks_the_exchange: bool = True
    spaced_from_the_answer: bool = True
    plan_ages_on_true_time: bool = True
    journal_elsewhere: bool = True
    journal_has_ends: bool = True


@dataclass(frozen=True, slots=True)
class Model:
    """A configuration: who takes part, and what may go wrong.

    Attributes:
        own_clock: the exchange runs on our clock, as paper does; else on true time.
        apart: a reconciler reads the exchange's clock some time before it asks.
        answers, margin: how many "not found" answers, how long after validity.
        last: when time stops. By then everything that ages has aged.
        cancels: orders are cancelled. dismiss: plans are.
        steps: bits: our clock steps forward, back.
        marked: the copy was made by `exec-mcp backup`, which marks it.
        in_place: the copy is written over the old file, as a volume is rolled back: nothing
            tells that it is another file.
        second_start: another server of the same home starts.
        lag: an accepted order is not seen at once.
        blind: look-ups may find nothing for a moment.
        hidden: bits: an order may hide from look-ups by id: 1 only from them, 2 in the history
            it goes by another id, 4 it is not there at all.
        fills_lag: a look-up may tell of fills without bringing them.
        doubles: a request may arrive twice; the exchange refuses a used nonce.
        late_fill: the exchange fills an order that it had called over.
        late_entry: the exchange takes an order after its validity.
        by_hand: an operator settles as absent.
        ages: a plan must not live on in true time while our clock is behind.
    """

    name: str
    ids: Ids = Ids.NEVER
    own_clock: bool = False
    apart: bool = False
    answers: int = 2
    margin: int = 1
    last: int = 5
    callers: int = 2
    reconcilers: int = 1
    dismiss: bool = False
    cancels: bool = False
    kill: bool = False
    steps: int = 0
    restore: bool = False
    marked: bool = False
    in_place: bool = True
    second_start: bool = False
    lag: bool = True
    blind: bool = False
    hidden: int = 0
    fills_lag: bool = False
    stream: bool = True
    doubles: bool = False
    late_fill: bool = False
    late_entry: bool = False
    by_hand: bool = False
    ages: bool = False
    guards: Guards = field(default_factory=Guards)

    @property
    def journals(self) -> bool:
        """Say whether the journal is looked at, so that its lines make a difference."""
        return self.restore or self.second_start

    def without(self, *names: str) -> "Model":
        """Return this configuration with guards switched off."""
        off: dict[str, bool] = dict.fromkeys(names, False)
        return replace(self, guards=replace(self.guards, **off))
