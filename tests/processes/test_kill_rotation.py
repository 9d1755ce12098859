"""kill -9 between every two steps of a rotation: every credential stays readable."""

import asyncio
import sys

import pytest

from backend.services import vault
from backend.services.vault import open_vault
from backend.testing import stack
from tests.processes.rotator import STEPS
from tests.processes.started import ROOT, afterwards
from tests.services.vaults import assert_all_kept, credentials_of, keep, keep_three

pytestmark = pytest.mark.anyio
# How many sealing keys the text has, beside the one of the rotation before.
KEYS = dict(zip(STEPS, (1, 2, 2, 2, 1), strict=True))


@pytest.mark.parametrize("step", STEPS)
async def test_a_process_killed_in_a_rotation_leaves_every_row_readable(tmp_path, step):
    home = tmp_path / "home"
    async with stack(home) as opened:
        made = await keep_three(opened)
        await vault.rotate(opened.backend.desk, opened.backend.vault, "operator")
    before = (home / "vault.key").read_text()

    killed = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.processes.rotator", str(home), step), cwd=ROOT
    )
    code = await killed.wait()

    after = (home / "vault.key").read_text()
    assert code == -9
    assert len(after.splitlines()) - 1 == KEYS[step]
    assert (after == before) is (step == STEPS[0])
    async with afterwards(home) as opened:
        await assert_all_kept(opened, made)
        await keep(opened, made["one"], credentials_of("one"))
        await vault.rotate(opened.backend.desk, opened.backend.vault, "operator")
        await assert_all_kept(opened, made, open_vault(home))
        assert len((home / "vault.key").read_text().splitlines()) == 2
        assert not (home / "vault.key.new").exists()
