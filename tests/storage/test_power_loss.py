"""A loss of power at any storage call: what callers were told is true, and nothing is lost."""

import pytest

from tests.storage import vfs
from tests.storage.campaign import KEPT, LEFT_OUT, Job, play
from tests.storage.images import judge
from tests.storage.trading import images

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(bool(vfs.missing()), reason=f"{vfs.missing()}: SQLite cannot be watched"),
]


@pytest.mark.parametrize("variant", KEPT, ids=str)
async def test_what_was_told_before_the_power_went_is_true_when_it_is_back(room, variant):
    job = Job(variant, seed=4, count=13)

    assert await play(job, room) == [], job.command


@pytest.mark.parametrize("variant", LEFT_OUT, ids=str)
async def test_the_images_show_what_is_lost_when_a_sync_is_left_out(room, variant):
    home = room / "home"
    for number, image in enumerate(reversed(await images(home, variant, seed=3, count=25))):
        if await judge(image, home, room / str(number)):
            return
    raise AssertionError(f"nothing is lost with {variant}: the images tell nothing")
