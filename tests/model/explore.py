"""The search: every state that can be reached, the shortest way to a broken one, no dead end."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter

from tests.model.guards import Model
from tests.model.invariants import NAMES, broken, settled
from tests.model.protocol import first, ordered, steps
from tests.model.state import FLAG, State, describe

# After the faults have stopped these happen no more; a flagged order is not filled away either.
_LUCK = ("exchange: fills a lot", "exchange: ends the order")


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found.

    Attributes:
        states, transitions: how many were reached.
        broken: the invariant that failed, or `stuck` (no way to a settled state), or "".
        trace: the steps to it, each with the state that it leads to.
    """

    model: Model
    states: int
    transitions: int
    seconds: float
    broken: str = ""
    trace: tuple[tuple[str, State], ...] = ()

    def told(self) -> str:
        """Return the trace as text, one step a line."""
        lines = [f"{self.model.name}: {self.broken or 'safe'}, {len(self.trace)} steps"]
        for number, (words, state) in enumerate(self.trace, 1):
            lines.append(f"{number:3}. {words:58} {describe(state)}")
        return "\n".join(lines)


class _Search:
    def __init__(self, model: Model, live: bool) -> None:
        self._model = model
        self._live = live
        start = first(model)
        self._number: dict[State, int] = {start: 0}
        self._states = [start]
        self._parents = array("I", [0])
        self._words: dict[str, int] = {"": 0}
        self._word = array("B", [0])
        self._from, self._to = array("I"), array("I")  # Steps without fault or luck.
        self._transitions = 0

    def run(self) -> Found:
        began = perf_counter()
        bad, why = self._forward()
        if not why and self._live:
            bad = self._stuck()
            why = "" if bad < 0 else "stuck"
        return Found(
            self._model,
            len(self._states),
            self._transitions,
            perf_counter() - began,
            why,
            tuple(self._trace(bad)) if why else (),
        )

    def _forward(self) -> tuple[int, str]:
        model, number, states = self._model, self._number, self._states
        words, live = self._words, self._live
        for here, state in enumerate(states):  # It grows meanwhile: breadth first.
            for word, row in steps(state, model):
                after = ordered(row, model)
                self._transitions += 1
                there = number.get(after)
                if there is None:
                    there = number[after] = len(states)
                    states.append(after)
                    self._parents.append(here)
                    self._word.append(words.setdefault(word, len(words)))
                    if wrong := broken(after, model):
                        return there, NAMES[wrong]
                if live and there != here and not _is_luck(word, state):
                    self._from.append(here)
                    self._to.append(there)
        return -1, ""

    def _stuck(self) -> int:
        """Return the first state from which no settled state can be reached, -1 if none."""
        count = len(self._states)
        starts = array("I", bytes(4 * (count + 1)))
        for there in self._to:
            starts[there + 1] += 1
        for n in range(count):
            starts[n + 1] += starts[n]
        place, before = array("I", starts), array("I", bytes(4 * len(self._to)))
        for here, there in zip(self._from, self._to, strict=True):
            before[place[there]] = here
            place[there] += 1
        fine = bytearray(count)
        todo = [n for n, state in enumerate(self._states) if settled(state, self._model)]
        for n in todo:
            fine[n] = 1
        while todo:
            there = todo.pop()
            for n in range(starts[there], starts[there + 1]):
                if not fine[before[n]]:
                    fine[before[n]] = 1
                    todo.append(before[n])
        return fine.find(0)

    def _trace(self, number: int) -> Iterator[tuple[str, State]]:
        spoken = list(self._words)
        way = []
        while number:
            way.append((spoken[self._word[number]], self._states[number]))
            number = self._parents[number]
        yield from reversed(way)


def _is_luck(word: str, state: State) -> bool:
    return word.startswith(("fault", "an operator")) or bool(state[FLAG] and word in _LUCK)


def explore(model: Model, *, live: bool = True) -> Found:
    """Search everything; stop at the first state that breaks an invariant.

    Args:
        live: look for states that cannot come to rest, too.
    """
    return _Search(model, live).run()
