"""An event loop in virtual time: the dice say who runs next, and nothing ever waits."""

from __future__ import annotations

import asyncio
import heapq
import random
import socket
import threading
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from tests.simulation.network import Network
    from tests.simulation.process import Process

Schedule = Literal["fifo", "processes", "random"]
SCHEDULES: tuple[Schedule, ...] = ("fifo", "processes", "random")

# What one step takes: time goes on even while everybody is busy.
STEP_S = 5e-6
CURRENT: ContextVar[Process | None] = ContextVar("process", default=None)


class Died(BaseException):
    """The simulated process was killed right here; nobody may catch this."""


class Endless(Exception):
    """The seed took too many steps, too much time, or waits for what will never come."""


class SimHandle(events.Handle):
    """A callback, and whose work it is."""

    __slots__ = ("process",)
    process: Process | None


class SimTimer(events.TimerHandle):
    """A callback for later, and whose work it is."""

    __slots__ = ("process",)
    process: Process | None


class SimTask(asyncio.Task[Any]):
    """A task whose place in a set does not depend on its address."""

    def __init__(self, number: int, coro: Coroutine[Any, Any, Any], **given: Any) -> None:
        self.number = number
        context = given.get("context")
        self.process = CURRENT.get() if context is None else context.get(CURRENT)
        super().__init__(coro, **given)

    def __hash__(self) -> int:
        return self.number


AnyHandle = SimHandle | SimTimer


class Ready(Protocol):
    """Handles that could run now."""

    def put(self, handle: AnyHandle) -> None: ...
    def take(self) -> AnyHandle | None:
        """Return the next one, or None."""


class Fifo:
    """As asyncio does it."""

    def __init__(self) -> None:
        queue: deque[AnyHandle] = deque()
        self._queue = queue
        self.put = queue.append

    def take(self) -> AnyHandle | None:
        return self._queue.popleft() if self._queue else None


class AnyOfThem:
    """Whichever the dice say."""

    def __init__(self, dice: random.Random) -> None:
        ready: list[AnyHandle] = []
        self._ready = ready
        self._random = dice.random
        self.put = ready.append

    def take(self) -> AnyHandle | None:
        ready = self._ready
        if len(ready) > 1:
            at = int(self._random() * len(ready))
            ready[at], ready[-1] = ready[-1], ready[at]
        return ready.pop() if ready else None


class AnyProcess:
    """Each process in order, as asyncio does it; the dice say which process is next."""

    def __init__(self, dice: random.Random) -> None:
        self._queues: dict[int, deque[AnyHandle]] = {}
        self._random = dice.random

    def put(self, handle: AnyHandle) -> None:
        number = 0 if handle.process is None else handle.process.number
        queue = self._queues.get(number)
        if queue is None:
            queue = self._queues[number] = deque()
        queue.append(handle)

    def take(self) -> AnyHandle | None:
        waiting = [queue for queue in self._queues.values() if queue]
        if not waiting:
            return None
        at = int(self._random() * len(waiting)) if len(waiting) > 1 else 0
        return waiting[at].popleft()


class SimLoop(asyncio.BaseEventLoop):
    """The loop of one seed.

    Attributes:
        steps: handles that ran so far.
        max_steps, max_s: the limits of the seed, in handles and in seconds of virtual time.
        errors: what asyncio would have logged: callbacks and tasks that failed unheard.
        before_step: asked before a step of a process that can be hit: may it run?
    """

    def __init__(self, dice: random.Random, schedule: Schedule = "fifo") -> None:
        super().__init__()
        self._dice = dice
        self._now = 0.0
        self._timers: list[tuple[float, int, AnyHandle]] = []
        self._count = 0
        self._tasks_made = 0
        self._home = threading.get_ident()
        self.network: Network
        self.steps = 0
        self.max_steps = 3_000_000
        self.max_s = 7 * 86_400.0
        self.errors: list[dict[str, Any]] = []
        self.before_step: Callable[[Process], bool] = lambda process: True
        self.dropped: list[AnyHandle] = []
        self._sim_ready: Ready = Fifo()
        self.use(schedule)

    def use(self, schedule: Schedule) -> None:
        """Choose how the next handle is picked from here on."""
        made: dict[Schedule, Callable[[], Ready]] = {
            "fifo": Fifo,
            "processes": lambda: AnyProcess(self._dice),
            "random": lambda: AnyOfThem(self._dice),
        }
        before, self._sim_ready = self._sim_ready, made[schedule]()
        self.schedule = schedule
        while (handle := before.take()) is not None:
            self._sim_ready.put(handle)

    # --- time ---

    def time(self) -> float:
        """Return virtual seconds."""
        return self._now

    def stall(self, seconds: float) -> None:
        """Let time pass in the middle of a step, as a slow disk does."""
        self._now += seconds

    # --- who runs ---

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        self._check_closed()  # type: ignore[attr-defined]
        handle = SimHandle(callback, args, self, context)
        handle.process = handle._context.get(CURRENT)  # type: ignore[attr-defined]
        self._sim_ready.put(handle)
        return handle

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        if threading.get_ident() != self._home:
            raise RuntimeError("a real thread meddles with virtual time")
        return self.call_soon(callback, *args, context=context)

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        self._check_closed()  # type: ignore[attr-defined]
        timer = SimTimer(when, callback, args, self, context)
        timer.process = timer._context.get(CURRENT)  # type: ignore[attr-defined]
        self._put_off(timer, when)
        return timer

    def _put_off(self, handle: AnyHandle, when: float) -> None:
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, handle))

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass  # It is skipped when its time comes.

    def create_task(
        self, coro: Any, *, name: Any = None, context: Context | None = None
    ) -> SimTask:
        self._check_closed()  # type: ignore[attr-defined]
        self._tasks_made += 1
        number = self._tasks_made
        # The default name counts through all seeds of a real process.
        name = name or f"task {number}"
        return SimTask(number, coro, loop=self, name=name, context=context)

    def _run_once(self) -> None:
        while not self._stopping:  # type: ignore[attr-defined]
            self._now += STEP_S
            self._wake()
            handle = self._sim_ready.take()
            if handle is None:
                self._jump()
            elif not handle._cancelled and self._may_run(handle):
                self.steps += 1
                if self.steps > self.max_steps or self._now > self.max_s:
                    raise Endless(f"{self.steps} steps, {self._now:.0f} s")
                handle._run()

    def _may_run(self, handle: AnyHandle) -> bool:
        process = handle.process
        if process is None:
            return True
        if process.alive and process.asleep_until > self._now:
            self._put_off(handle, process.asleep_until)
            return False
        if process.alive and (not process.exposed or self.before_step(process)):
            return True
        # Dropping its last reference could run code of the dead.
        self.dropped.append(handle)
        return False

    def _wake(self) -> None:
        timers, now = self._timers, self._now
        while timers and timers[0][0] <= now:
            self._sim_ready.put(heapq.heappop(timers)[2])

    def _jump(self) -> None:
        timers = self._timers
        while timers and timers[0][2]._cancelled:
            heapq.heappop(timers)
        if not timers:
            raise Endless("nothing is ready and nothing is due: somebody waits for ever")
        self._now = max(self._now, timers[0][0])

    def unfinished(self, process: Process) -> list[SimTask]:
        """Return the tasks of a process that have not ended, in the order they were made."""
        found = [task for task in asyncio.all_tasks(self) if isinstance(task, SimTask)]
        return sorted((t for t in found if t.process is process), key=hash)

    # --- what the operating system gives ---

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        task = context.get("task") or context.get("future")
        process = task.process if isinstance(task, SimTask) else None
        # The dead have nobody left to hear of it.
        if isinstance(context.get("exception"), Died) or (process and not process.alive):
            return
        self.errors.append(context)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Run it here and now; its result comes a little later."""
        future: asyncio.Future[Any] = self.create_future()
        tell: Callable[[Any], None]
        try:
            result, tell = func(*args), future.set_result
        except Exception as error:  # noqa: BLE001 - an executor hands on whatever was raised
            result, tell = error, future.set_exception

        def settle() -> None:
            if not future.done():
                tell(result)

        self.call_later(self._dice.uniform(0.0005, 0.005), settle)
        return future

    async def getaddrinfo(self, host: Any, port: Any, **more: Any) -> list[Any]:
        """Everything is on loopback."""
        kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        return [(*kind, "", ("127.0.0.1", port))]

    async def create_connection(
        self, protocol_factory: Callable[[], Any], host: Any = None, port: Any = None, **more: Any
    ) -> tuple[asyncio.Transport, Any]:
        return await self.network.connect(protocol_factory, int(port))

    async def create_server(  # type: ignore[override]
        self, protocol_factory: Callable[[], Any], host: Any = None, port: Any = None, **more: Any
    ) -> asyncio.AbstractServer:
        return self.network.listen(protocol_factory, int(port or 0))
