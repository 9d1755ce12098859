"""Tries mutants: copies the tree, changes one guard there, and runs the tests that must notice."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from time import monotonic

from tests.mutants.mutant import HOME, Mutant, mutated

PARTS = ("backend", "mcp_server", "kb", "tests", "conftest.py", "pyproject.toml", "README.md")
LONGEST_S = 180.0
_MEMORY = Path("/dev/shm")
_LEFT_OUT = shutil.ignore_patterns("__pycache__", ".hypothesis", "node_modules")
_BROKEN = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
_CANARY = "this is the copy and not the tree"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant.

    Attributes:
        word: `killed`, `survived`, or `error`: the list or the harness is wrong.
        by: the test that noticed, or what is wrong.
    """

    mutant: Mutant
    word: str
    by: str
    seconds: float

    @property
    def well(self) -> bool:
        """Say whether it ended as the list says."""
        return self.word == ("survived" if self.mutant.equivalent else "killed")


class Copy:
    """A copy of the tree, in which one mutant at a time is tried."""

    def __init__(self, folder: Path, source: Path = HOME) -> None:
        self.home = folder / "tree"
        self._scratch = folder / "scratch"
        for part in PARTS:
            whole = source / part
            if whole.is_dir():
                ignored = _LEFT_OUT if source == HOME else None  # A copy's bytecode is its own.
                shutil.copytree(whole, self.home / part, ignore=ignored)
            elif whole.exists():
                shutil.copy2(whole, self.home / part)

    def run(self, tests: Sequence[str], *options: str, cache: bool = False) -> tuple[int, str]:
        """Run tests here; return pytest's code, None's place taken by -1, and what it printed.

        Args:
            cache: keep the bytecode; never that of a mutant, which must not outlive it.
        """
        environment = {k: v for k, v in os.environ.items() if not k.startswith("EXEC_")}
        environment["PYTHONPATH"] = str(self.home)
        environment["PYTHONDONTWRITEBYTECODE"] = "" if cache else "1"
        command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider"]
        command += [f"--rootdir={self.home}", f"--basetemp={self._scratch}", *options]
        command += [f"tests/{test}" for test in tests]
        process = subprocess.Popen(
            command,
            cwd=self.home,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            told, _ = process.communicate(timeout=None if cache else LONGEST_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return -1, ""
        return process.returncode, told

    @contextmanager
    def changed(self, texts: dict[str, str]) -> Iterator[None]:
        """Change these files for a while; their age changes with them, so no bytecode fits."""
        before = {
            file: ((self.home / file).read_bytes(), (self.home / file).stat()) for file in texts
        }
        try:
            for file, text in texts.items():
                (self.home / file).write_text(text, encoding="utf-8")
                os.utime(self.home / file, (1, 1))
            yield
        finally:
            for file, (content, stat) in before.items():
                (self.home / file).write_bytes(content)
                os.utime(self.home / file, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    def prove(self, test: str) -> None:
        """Make sure that tests run here import what stands here."""
        with self.changed({"backend/__init__.py": f"raise RuntimeError({_CANARY!r})\n"}):
            code, told = self.run([test], "-x")
        if not code or _CANARY not in told:
            raise SystemExit(f"the tests do not import the copy:\n{told}")

    def attempt(self, mutant: Mutant) -> Verdict:
        """Try one mutant."""
        begun = monotonic()
        try:
            with self.changed(mutated(mutant, self.home)):
                word, by = verdict(*self.run(mutant.tests, "-x"))
        except ValueError as error:
            word, by = "error", str(error)
        return Verdict(mutant, word, by, monotonic() - begun)


def verdict(code: int, told: str) -> tuple[str, str]:
    """Return the verdict's word, and who noticed or what is wrong, of a run of pytest."""
    if code == 0:
        return "survived", ""
    if code == -1:
        return "killed", f"nothing ended within {LONGEST_S:.0f} s"
    noticed = _BROKEN.search(told)
    if code in (1, 2) and noticed:
        return "killed", noticed[1].removeprefix("tests/")
    return "error", f"pytest ended with {code}: {told[-300:]}"


def attempts(mutants: Sequence[Mutant], workers: int) -> Iterator[Verdict]:
    """Try mutants, several at once, each worker in a copy of its own; yield as they end.

    Raises:
        SystemExit: a test fails without any mutant, or the copy is not what is imported.
    """
    tests = list(dict.fromkeys(test for mutant in mutants for test in mutant.tests))
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        first = Copy(Path(folder) / "0")
        sys.stderr.write(f"{len(tests)} tests without a mutant\n")
        code, told = first.run(tests, "-n", str(workers), cache=True)
        if code:
            raise SystemExit(f"the tests fail without a mutant:\n{told[-6000:]}")
        first.prove(tests[0])
        free: SimpleQueue[Copy] = SimpleQueue()
        free.put(first)
        for number in range(1, workers):
            free.put(Copy(Path(folder) / str(number), first.home))

        def one(mutant: Mutant) -> Verdict:
            copy = free.get()
            try:
                return copy.attempt(mutant)
            finally:
                free.put(copy)

        with ThreadPoolExecutor(workers) as pool:
            yield from pool.map(one, mutants)
