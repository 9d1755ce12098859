"""How often, and how: few examples in `make test`, always the same; many in the long run.

`EXEC_SOAK_EXAMPLES` is how many the long run makes of each: see `soak`.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.properties.home import Home
from tests.properties.machine import Lives
from tests.soak.figures import Figure, tell

SOAK = int(os.environ.get("EXEC_SOAK_EXAMPLES", "0"))
DEFAULT = 50_000
_QUICK_LIVES, _QUICK_STEPS, _SOAK_STEPS = 60, 7, 5


def examples(quick: int) -> settings:
    """Return how a property is tried: `quick` examples, or as many as the long run wants."""
    return settings(
        max_examples=SOAK or quick,
        deadline=None,
        derandomize=not SOAK,
        database=None,
        print_blob=bool(SOAK),
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )


PROPERTIES = examples(60)


def run_lives(home: Home) -> None:
    """Live some lives; the long run looks at the whole books at the end of each life only."""

    class Here(Lives):
        pass

    Here.home, Here.thorough = home, not SOAK
    steps = _SOAK_STEPS if SOAK else _QUICK_STEPS
    how = settings(examples(_QUICK_LIVES), stateful_step_count=steps)
    run_state_machine_as_test(Here, settings=how)


def soak(package: str, file: str) -> int:
    """Run a package's tests at length; figures to standard output, all else to standard error.

    Returns:
        the exit code: 1 where something failed.
    """
    parser = argparse.ArgumentParser(prog=f"python -m tests.{package}")
    parser.add_argument("--soak", action="store_true", help="the long run")
    parser.add_argument("--count", type=int, default=DEFAULT, help="examples of each")
    parser.add_argument("--only", default="", help="words of the tests to run, as pytest's -k")
    options = parser.parse_args()
    count = options.count if options.soak else 0
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        # The number of examples is read when the tests are loaded: by a process of their own.
        command = [sys.executable, "-m", "pytest", "-v", f"--junitxml={report}", "-k", options.only]
        environment = {**os.environ, "EXEC_SOAK_EXAMPLES": str(count)}
        tests = [str(Path(file).parent)]
        code = subprocess.run([*command, *tests], stdout=sys.stderr, env=environment).returncode
        for figure in _figures(package, report, count) if count else ():
            tell(figure)
    return 1 if code else 0


def _figures(campaign: str, report: Path, count: int) -> Iterator[Figure]:
    for case in ElementTree.parse(report).iter("testcase"):
        failed = case.find("failure") is not None or case.find("error") is not None
        words = case.attrib["name"].removeprefix("test_").replace("_", " ")
        value = f"{count:,} examples in {float(case.attrib['time']):.0f} s"
        yield Figure(campaign, words, value + ", one fails" * failed, "none fails", not failed)
