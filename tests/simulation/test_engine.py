"""The engine keeps its word: time, order, faults and deaths are as the seed says."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from backend import database
from backend.domain.errors import Refused
from backend.journal import Head, Journal
from tests.simulation.loop import SCHEDULES, Endless
from tests.simulation.process import Gone, Process
from tests.simulation.sim import Sim, simulate
from tests.simulation.small_world import digest, trade_at_both_exchanges

sqlite3 = database.sqlite3
PORT = 7000


def plain(main: Callable[[Sim], Awaitable[Any]], seed: int = 1) -> Any:
    """Run a world in which nothing goes wrong but what is forced."""

    async def calm(sim: Sim) -> Any:
        sim.sites.rates = {}
        return await main(sim)

    return simulate(seed, calm)


async def echo(sim: Sim, heard: list[bytes] | None = None) -> Process:
    """Start a server that answers each line with the same."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                if heard is not None:
                    heard.append(line)
                writer.write(line)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = sim.process("server.1")
    await server.ask(asyncio.start_server(answer, "127.0.0.1", PORT))
    return server


async def say(line: bytes = b"hello\n", within_s: float = 30.0) -> str:
    """Say one line on a new connection; return what came of it."""
    try:
        async with asyncio.timeout(within_s):
            reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
            try:
                writer.write(line)
                return (await reader.readline()).decode()
            finally:
                writer.close()
    except TimeoutError:
        return "silence"
    except ConnectionError as error:
        return type(error).__name__


# --- time and order ---


def test_an_hour_passes_at_once_when_nobody_has_anything_to_do() -> None:
    async def main(sim: Sim) -> tuple[float, float]:
        began, clock = sim.loop.time(), sim.clock()
        await asyncio.sleep(3600)
        sim.clock.step(-10)
        return sim.loop.time() - began, (sim.clock() - clock).total_seconds()

    passed, on_the_clock = plain(main)
    assert passed == pytest.approx(3600)
    assert on_the_clock == pytest.approx(3590)


def test_the_seed_ends_when_somebody_waits_for_what_never_comes() -> None:
    async def main(sim: Sim) -> None:
        await sim.loop.create_future()

    with pytest.raises(Endless, match="waits for ever"):
        plain(main)


def test_the_seed_ends_when_it_takes_too_many_steps() -> None:
    async def main(sim: Sim) -> None:
        sim.loop.max_steps = 1000
        for _ in range(2000):
            await asyncio.sleep(0)

    with pytest.raises(Endless, match="1001 steps"):
        plain(main)


def test_two_seeds_run_two_tasks_in_another_order_when_the_dice_choose() -> None:
    async def main(sim: Sim) -> tuple[int, ...]:
        order: list[int] = []

        async def work(number: int) -> None:
            for _ in range(3):
                order.append(number)
                await asyncio.sleep(0)

        sim.loop.use("random")
        tasks = [sim.loop.create_task(work(number)) for number in range(3)]
        await asyncio.gather(*tasks)
        return tuple(order)

    orders = [plain(main, seed) for seed in (1, 2, 3)]
    assert len(set(orders)) > 1
    assert orders == [plain(main, seed) for seed in (1, 2, 3)]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_bytes_keep_their_order_when_they_are_split_and_late(schedule: Any) -> None:
    async def main(sim: Sim) -> str:
        sim.loop.use(schedule)
        await echo(sim)
        sim.sites.force("net world->server: split", 3)
        reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
        for number in range(20):
            if number == 7:
                sim.sites.force("net world->server: late")
            writer.write(b"%d " % number)
        writer.write(b"\n")
        line = await reader.readline()
        writer.close()
        return line.decode()

    assert plain(main).split() == [str(number) for number in range(20)]


# --- the network's words ---


@pytest.mark.parametrize(
    ("word", "answer", "arrived"),
    [
        ("->server connect: refuse", "ConnectionRefusedError", False),
        ("->server connect: hang", "silence", False),
        ("->server: reset before", "ConnectionResetError", False),
        ("->server: reset after", "ConnectionResetError", True),
        ("->server: drop", "silence", False),
        ("->server: silence", "silence", False),
        ("->server: split", "hello\n", True),
        ("->server: late", "hello\n", True),
    ],
)
def test_a_request_ends_as_its_fault_word_says(word: str, answer: str, arrived: bool) -> None:
    async def main(sim: Sim) -> tuple[str, list[bytes], int]:
        heard: list[bytes] = []
        await echo(sim, heard)
        site = f"net world{word}"
        sim.sites.force(site)
        told = await say()
        again = await say(b"again\n")
        assert again == "again\n", "one connection was meant"
        return told, heard, sim.sites.hits[site]

    told, heard, hits = plain(main)
    assert (told, b"hello\n" in heard, hits) == (answer, arrived, 1)


@pytest.mark.parametrize(
    ("word", "answer"),
    [("reset before", "ConnectionResetError"), ("drop", "silence"), ("silence", "silence")],
)
def test_the_request_arrives_when_its_answer_is_lost(word: str, answer: str) -> None:
    async def main(sim: Sim) -> tuple[str, list[bytes]]:
        heard: list[bytes] = []
        await echo(sim, heard)
        sim.sites.force(f"net server->world: {word}")
        return await say(), heard

    assert plain(main) == (answer, [b"hello\n"])


def test_a_part_arrives_when_a_segment_is_truncated() -> None:
    async def main(sim: Sim) -> bytes:
        await echo(sim)
        sim.sites.force("net server->world: truncate")
        reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
        writer.write(b"0123456789" * 100 + b"\n")
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1001)
        got = bytes(reader._buffer)  # type: ignore[attr-defined]
        writer.close()
        return got

    got = plain(main)
    assert 0 < len(got) < 1001
    assert (b"0123456789" * 100).startswith(got)


def test_the_silent_are_reset_and_the_hanging_refused_when_the_network_heals() -> None:
    async def main(sim: Sim) -> list[str]:
        await echo(sim)
        sim.sites.force("net world->server: silence")
        silent = asyncio.create_task(say(within_s=600))
        await asyncio.sleep(1)
        sim.sites.force("net world->server connect: hang")
        hanging = asyncio.create_task(say(within_s=600))
        await asyncio.sleep(60)
        sim.network.heal()
        return [await silent, await hanging, await say()]

    assert plain(main) == ["ConnectionResetError", "ConnectionRefusedError", "hello\n"]


def test_nothing_goes_wrong_by_itself_unless_the_sites_are_enabled() -> None:
    async def main(sim: Sim) -> tuple[int, int]:
        sim.sites.rates = {"reset before": 1.0}
        sim.sites.share = 1.0
        await echo(sim)
        assert await say() == "hello\n"
        before = sum(sim.sites.hits.values())
        sim.sites.enabled = True
        assert await say() == "ConnectionResetError"
        return before, sum(sim.sites.hits.values())

    assert simulate(1, main) == (0, 1)


# --- processes ---


@pytest.mark.parametrize(("goodbye", "seen"), [(True, "ConnectionResetError"), (False, "silence")])
def test_a_killed_process_runs_nothing_more_and_its_peer_hears_of_it(
    goodbye: bool, seen: str
) -> None:
    ran: list[str] = []

    async def live() -> None:
        try:
            while True:
                await asyncio.sleep(1)
                ran.append("step")
        finally:
            ran.append("finally")

    async def main(sim: Sim) -> tuple[str, list[str]]:
        server = await echo(sim)
        server.start(live())
        reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
        await asyncio.sleep(2.5)
        server.kill(goodbye=goodbye)
        steps = list(ran)
        try:
            async with asyncio.timeout(60):
                await reader.read()
            told = "an end"
        except (ConnectionError, TimeoutError) as error:
            told = "silence" if isinstance(error, TimeoutError) else type(error).__name__
        writer.close()
        assert await say() == ("ConnectionRefusedError" if goodbye else "silence")
        await asyncio.sleep(60)
        assert ran == steps
        return told, steps

    assert plain(main) == (seen, ["step", "step"])


def test_who_asked_hears_that_it_is_gone_when_the_process_dies_at_a_step() -> None:
    async def work(ran: list[str]) -> None:
        try:
            await asyncio.sleep(5)
        finally:
            ran.append("finally")

    async def main(sim: Sim) -> list[str]:
        ran: list[str] = []
        process = sim.process("server.1")
        deaths: list[str] = []
        process.on_death(lambda: deaths.append("died"))
        asked = asyncio.create_task(process.ask(work(ran)))
        await asyncio.sleep(1)
        sim.sites.force("step: kill")
        with pytest.raises(Gone):
            await asked
        with pytest.raises(Gone):
            await process.ask(work(ran))
        return ran + deaths

    assert plain(main) == ["died"]


def test_a_suspended_process_waits_while_the_others_go_on() -> None:
    async def main(sim: Sim) -> tuple[str, float]:
        server = await echo(sim)
        server.suspend(5)
        began = sim.loop.time()
        assert await say(within_s=1) == "silence"
        return await say(), sim.loop.time() - began

    answer, took = plain(main)
    assert answer == "hello\n"
    assert 5 < took < 6


# --- disks ---


def table(sim: Sim, folder: Path) -> tuple[Process, Any]:
    """Make a table, and return a process with a connection to it."""
    path = folder / "book.db"
    with sqlite3.connect(str(path)) as made:
        made.execute("CREATE TABLE IF NOT EXISTS t(a)")
    made.close()
    process = sim.process("server.1")

    async def connect() -> Any:
        given: dict[str, Any] = {"isolation_level": None}
        return vars(database)["sqlite3"].connect(str(path), **given)

    return process, connect


def rows(folder: Path) -> int:
    seen = sqlite3.connect(str(folder / "book.db"))
    count = seen.execute("SELECT count(*) FROM t").fetchone()[0]
    seen.close()
    return int(count)


@pytest.mark.parametrize(
    ("site", "told", "committed"),
    [
        ("BEGIN IMMEDIATE: busy", 5, 0),
        ("INSERT: full", 13, 0),
        ("INSERT: full, rolled back", 13, 0),
        ("INSERT: io", 10, 0),
        ("COMMIT: busy", 5, 0),
        ("COMMIT: io, done", 10, 1),
        ("COMMIT: io, not done", 10, 0),
        ("COMMIT: stall", None, 1),
    ],
)
def test_a_statement_fails_as_its_fault_word_says(
    tmp_path: Path, site: str, told: int | None, committed: int
) -> None:
    async def main(sim: Sim) -> int | None:
        process, connect = table(sim, tmp_path)

        async def write() -> int | None:
            connection = await connect()
            sim.sites.force(f"sql book {site}")
            try:
                for sql in ("BEGIN IMMEDIATE", "INSERT INTO t VALUES(1)", "COMMIT"):
                    connection.execute(sql)
            except sqlite3.OperationalError as error:
                still_open = connection.in_transaction
                assert still_open == (site in ("INSERT: full", "INSERT: io", *_OPEN)), site
                return int(error.sqlite_errorcode)
            finally:
                connection.close()
            return None

        return await process.ask(write())

    assert plain(main) == told
    assert rows(tmp_path) == committed


_OPEN = ("COMMIT: busy", "COMMIT: io, not done")


@pytest.mark.parametrize(
    ("site", "committed"),
    [("INSERT: kill", 0), ("COMMIT: kill before", 0), ("COMMIT: kill after", 1)],
)
def test_what_was_not_committed_is_gone_when_the_process_dies_at_a_statement(
    tmp_path: Path, site: str, committed: int
) -> None:
    async def main(sim: Sim) -> tuple[bool, int]:
        process, connect = table(sim, tmp_path)
        after: list[int] = []

        async def write() -> None:
            connection = await connect()
            sim.sites.force(f"sql book {site}")
            try:
                for sql in ("BEGIN IMMEDIATE", "INSERT INTO t VALUES(1)", "COMMIT"):
                    connection.execute(sql)
            finally:
                # The way up of a dead process touches nothing.
                connection.execute("INSERT INTO t VALUES(2)")
                after.append(1)

        with pytest.raises(Gone):
            await process.ask(write())
        return process.alive, len(after)

    assert plain(main) == (False, 0)
    assert rows(tmp_path) == committed


@pytest.mark.parametrize(
    ("word", "lines"),
    [("full", 0), ("cut", 0), ("fsync", 1), ("kill before", 0), ("kill after", 1)],
)
def test_a_line_of_the_journal_is_there_or_not_as_the_word_says(
    tmp_path: Path, word: str, lines: int
) -> None:
    path = tmp_path / "sends.log"

    async def main(sim: Sim) -> bool:
        process = sim.process("server.1")

        async def append() -> None:
            sim.journal(path).append(Head(1, "first"))
            sim.sites.force(f"disk sends.log: {word}")
            sim.journal(path).append(Head(2, "second"))

        with pytest.raises(Gone if word.startswith("kill") else Refused):
            await process.ask(append())
        return process.alive

    assert plain(main) is not word.startswith("kill")
    assert list(Journal(path).each())[1:] == [Head(2, "second")] * lines


# --- whole worlds ---


def test_a_trade_is_done_at_both_exchanges_in_virtual_time(tmp_path: Path) -> None:
    async def main(sim: Sim) -> list[str]:
        return await trade_at_both_exchanges(sim, tmp_path)

    assert plain(main) == ["executed", "executed"]


def test_a_seed_has_the_same_trace_in_another_process(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.simulation.small_world", str(tmp_path / "there"), "3"]
    given = {**os.environ, "PYTHONHASHSEED": "77"}
    told = subprocess.run(command, capture_output=True, text=True, check=True, env=given)
    assert told.stdout.split() == [digest(3, tmp_path / "here")]


def test_nothing_is_left_when_fifty_seeds_have_run() -> None:
    async def main(sim: Sim) -> None:
        sim.sites.enabled = True
        server = await echo(sim)
        for _ in range(5):
            await say(within_s=1)
        server.kill()

    def held() -> tuple[int, int]:
        gc.collect()
        return len(gc.get_objects()), len(os.listdir("/proc/self/fd"))

    def run(seeds: range) -> None:
        for seed in seeds:
            simulate(seed, main)

    run(range(5))
    before = held()
    run(range(5, 55))
    after = held()
    assert after[1] == before[1]
    assert after[0] - before[0] < 50
