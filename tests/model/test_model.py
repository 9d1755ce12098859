"""The protocol, searched whole: no state breaks a promise, none is a dead end, no guard is idle."""

from dataclasses import fields
from pathlib import Path

import pytest

from tests.model.__main__ import main
from tests.model.configurations import CORE, SMALL
from tests.model.explore import explore
from tests.model.guards import Guards, Model
from tests.model.holes import HOLES, SPARE
from tests.model.invariants import broken
from tests.model.mutant import Mutant
from tests.model.mutants import MUTANTS
from tests.model.protocol import first

ROOT = Path(__file__).parents[2]


def name_of(model: Model) -> str:
    return model.name


@pytest.mark.parametrize("model", CORE, ids=name_of)
def test_the_core_breaks_no_invariant_and_can_always_come_to_rest(model: Model) -> None:
    found = explore(model)

    assert found.broken == "", found.told()
    assert found.states > 100_000


@pytest.mark.parametrize("model", SMALL, ids=name_of)
def test_one_trouble_more_breaks_no_invariant_either(model: Model) -> None:
    found = explore(model)

    assert found.broken == "", found.told()
    assert found.states > 10_000


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_a_protocol_without_this_guard_is_found_out(mutant: Mutant) -> None:
    assert explore(mutant.mutated).broken


@pytest.mark.parametrize("hole", HOLES.values(), ids=HOLES)
def test_what_the_code_does_not_guard_yet_has_a_trace(hole: Mutant) -> None:
    assert explore(hole.mutated).broken


@pytest.mark.parametrize("spare", SPARE.values(), ids=SPARE)
def test_a_guard_that_only_serves_what_is_not_modelled_is_not_missed(spare: Mutant) -> None:
    assert explore(spare.mutated).broken == ""


def test_every_guard_is_taken_away_by_somebody() -> None:
    known = (MUTANTS | HOLES | SPARE).values()
    removed = {guard for mutant in known for guard in mutant.guards}

    assert removed == {guard.name for guard in fields(Guards)}
    assert len(MUTANTS) >= 30


@pytest.mark.parametrize("mutant", (MUTANTS | HOLES | SPARE).values(), ids=lambda m: m.name)
def test_the_line_that_a_guard_stands_for_is_there(mutant: Mutant) -> None:
    file, text = mutant.where
    assert text in (ROOT / file).read_text(encoding="utf-8"), f"{file}: {text}"


def test_the_trace_of_a_timeout_taken_for_a_failure_names_its_steps(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["--mutant", "no_answer_is_unknown"])

    told = capsys.readouterr().out
    steps = [line.split(". ")[1].split("  ")[0] for line in told.splitlines() if ". " in line[:5]]
    assert steps == [
        "plan: reserves",
        "confirm: prepares",
        "claim: pending -> executing, order `sending`",
        "journal: writes the line",
        "send: the request leaves",
        "confirm: no answer, the outcome is unknown",
        "exchange: accepts the order",
    ]
    assert "no_answer_is_unknown" in told
    assert "I-2, 7 steps" in told
    assert "trade failed, order not_sent, hold released, exchange live 0/2" in told


def test_the_trace_of_an_engage_that_does_not_wait_names_its_steps(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["--mutant", "kill_waits"])

    told = capsys.readouterr().out
    assert "engage: answers that nothing more leaves" in told
    assert told.rstrip().splitlines()[-1].split(". ")[1].startswith("send: the request leaves")


def test_the_first_state_is_whole_and_a_spoilt_one_is_not() -> None:
    model = CORE[0]
    start = first(model)

    assert broken(start, model) == 0
    assert broken(bytes([4, *start[1:]]), model) == 5  # Executed, and no hold was released.
