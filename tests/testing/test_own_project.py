"""The kit in somebody else's project: the page's examples are that project."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "kb" / "testing.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE, re.DOTALL))

PYTEST = ("-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "--strict-markers")


def run(project: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the project's own tests, as its owner would."""
    return subprocess.run(
        [sys.executable, *PYTEST, *options],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def write(project: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text(text, encoding="utf-8")


def test_every_example_of_the_page_passes_in_a_project_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, FILES)

    ran = run(tmp_path)

    tests = len(re.findall(r"^(?:async )?def test_", PAGE, re.MULTILINE))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{tests + 1} passed" in ran.stdout, "one of them runs in two eras"


def test_the_kit_leaves_a_projects_other_tests_as_they_are(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "conftest.py": """
import pytest
from backend.testing import ChosenPrices

pytest_plugins = ["backend.testing"]

@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param

@pytest.fixture
async def bought(exec_mcp):
    return await exec_mcp.confirm(await exec_mcp.plan("AAPL", "buy", 10))
""",
            "test_mine.py": """
def test_mine(anyio_backend):
    assert anyio_backend in ("asyncio", "trio")

async def test_through_a_fixture_of_mine(bought):
    assert bought.status == "executed"
""",
        },
    )

    ran = run(tmp_path)

    assert "3 passed, 1 deselected" in ran.stdout, ran.stdout + ran.stderr


def test_a_project_with_its_own_backend_that_does_not_opt_in_notices_nothing(
    tmp_path: Path,
) -> None:
    write(
        tmp_path,
        {
            "backend/__init__.py": "mine = True",
            "conftest.py": "",
            "test_mine.py": "from backend import mine\n\ndef test_mine():\n    assert mine\n",
        },
    )

    ran = run(tmp_path, "--trace-config")

    assert "1 passed" in ran.stdout, ran.stdout + ran.stderr
    assert "exec_mcp" not in ran.stdout.replace(str(REPOSITORY), "")


@pytest.mark.parametrize("name", ["conftest.py", "test_expiry.py"])
def test_the_page_has_what_it_begins_with(name: str) -> None:
    assert name in FILES
