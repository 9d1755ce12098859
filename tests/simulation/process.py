"""Simulated operating-system processes: whose work is what, and an end without a goodbye."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from tests.simulation.loop import CURRENT, Died, SimTask

if TYPE_CHECKING:
    from tests.simulation.sim import Sim

T = TypeVar("T")


class Gone(ConnectionError):
    """The process died before it answered, or was dead already."""


class Resource(Protocol):
    """What the kernel takes back from a dead process."""

    def take_back(self) -> None: ...


class Process:
    """One life of a process; the next life is another `Process`, perhaps of the same name.

    Attributes:
        name: for traces; kind: what stands before its first dot, for the names of sites.
        number: of all processes of the seed.
        alive: False: nothing of it ever runs again.
        asleep_until: virtual time until which it is suspended.
        exposed: steps, statements and files of it are fault sites.
        left: the tasks that it left unfinished when it died.
        resources: what is taken back when it dies, in the order in which it was had.
    """

    def __init__(self, sim: Sim, name: str, number: int, *, exposed: bool = True) -> None:
        self._sim = sim
        self._context: Context = copy_context()
        self._context.run(CURRENT.set, self)
        self._at_end: list[tuple[Callable[[], Any], Context]] = []
        self.name = name
        self.kind = name.partition(".")[0]
        self.number = number
        self.alive = True
        self.asleep_until = 0.0
        self.exposed = exposed
        self.resources: dict[Resource, None] = {}
        self.left: list[SimTask] = []

    def __repr__(self) -> str:
        return f"<{self.name}{'' if self.alive else ', dead'}>"

    def start(self, work: Coroutine[Any, Any, T], name: str | None = None) -> asyncio.Task[T]:
        """Run `work` as this process.

        The task never ends if the process dies first: from outside, `ask` instead.
        """
        if not self.alive:
            work.close()
            raise Gone(f"{self.name} is dead")
        context = self._context.copy()
        return self._sim.loop.create_task(work, name=name, context=context)

    async def ask(self, work: Coroutine[Any, Any, T]) -> T:
        """Let this process do `work`, and wait for its result from outside.

        Whoever goes away stops waiting; the work goes on, as behind a broken connection.

        Raises:
            Gone: the process was killed, or is dead.
        """
        answer: asyncio.Future[T] = self._sim.loop.create_future()

        def done(task: asyncio.Task[T]) -> None:
            if answer.done():
                if not task.cancelled():
                    task.exception()  # Nobody is left to hear of it.
            elif task.cancelled():
                answer.cancel()
            elif (error := task.exception()) is not None:
                answer.set_exception(error)
            else:
                answer.set_result(task.result())

        def died() -> None:
            if not answer.done():
                answer.set_exception(Gone(f"{self.name} died"))

        self.start(work).add_done_callback(done, context=self._context.copy())
        entry = self.on_death(died)
        try:
            return await answer
        finally:
            if entry in self._at_end:
                self._at_end.remove(entry)

    def on_death(self, then: Callable[[], Any]) -> tuple[Callable[[], Any], Context]:
        """Call `then`, as whoever asks for it now, soon after this process was killed."""
        entry = (then, copy_context())
        self._at_end.append(entry)
        return entry

    def kill(self, *, goodbye: bool = True) -> None:
        """End it as `kill -9` does; called by itself, the caller raises `Died` next.

        Nothing of it runs any more, not even a `finally`. Open transactions are rolled back.

        Args:
            goodbye: its peers see a reset. False: the machine is gone, and nobody hears.
        """
        if not self.alive:
            return
        sim, loop = self._sim, self._sim.loop
        self.alive = False
        sim.trace.add(f"{self.name} {'killed' if goodbye else 'lost its power'}")
        self.left = loop.unfinished(self)
        for resource in list(self.resources):
            resource.take_back()
        sim.network.end_of(self, goodbye)
        for then, context in self._at_end:
            loop.call_soon(then, context=context)
        self._at_end.clear()

    def suspend(self, seconds: float) -> None:
        """Stop it for a while, as SIGSTOP or a paused machine does; its peers go on."""
        self.asleep_until = max(self.asleep_until, self._sim.loop.time() + seconds)
        self._sim.trace.add(f"{self.name} suspended for {seconds:.3f} s")


def die(process: Process, *, goodbye: bool = True) -> None:
    """Kill the process that is running right here.

    Raises:
        Died: always.
    """
    process.kill(goodbye=goodbye)
    raise Died(process.name)
