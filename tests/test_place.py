"""Which file it is: the same one after it was moved and written over, another one as a copy."""

import shutil
import sys

import pytest

from backend.place import place_of


def test_a_file_stays_the_same_when_it_is_written_renamed_and_moved_with_its_folder(tmp_path):
    path = tmp_path / "home" / "a.db"
    path.parent.mkdir()
    path.write_text("one")
    before = place_of(path)

    path.write_text("two")
    path.chmod(0o600)
    path.rename(path.with_name("b.db"))
    (tmp_path / "home").rename(tmp_path / "moved")

    assert place_of(tmp_path / "moved" / "b.db") == before


def test_a_copy_is_another_file(tmp_path):
    path = tmp_path / "a.db"
    path.write_text("one")

    shutil.copy2(path, tmp_path / "b.db")

    assert place_of(tmp_path / "b.db") != place_of(path)


@pytest.mark.skipif(sys.platform != "linux", reason="when a file was made is not told everywhere")
def test_a_file_made_anew_under_the_same_name_is_another_one(tmp_path):
    path = tmp_path / "a.db"
    path.write_text("one")
    before = place_of(path)

    for _ in range(100_000):  # Times are as fine as the kernel's tick: a few milliseconds.
        path.unlink()
        path.write_text("one")
        if place_of(path) != before:
            break

    assert place_of(path) != before


def test_a_file_that_is_not_there_is_told_so(tmp_path):
    with pytest.raises(FileNotFoundError):
        place_of(tmp_path / "a.db")
