"""The send journal: a line is there before anything leaves, or it is said that it is not."""

import os

import pytest

from backend.domain.errors import Refused
from backend.journal import Dispatch, Journal


def a_line(number: int) -> Dispatch:
    return Dispatch(
        audit_seq=number,
        audit_hash=f"{number:064x}",
        trade_id=f"trd-{number}",
        account_id="paper:main",
        sign_time="2026-05-26T14:14:41.000000+00:00",
        valid_until="2026-05-26T14:14:43.000000+00:00",
        trade={"id": f"trd-{number}", "symbol": "BTC/USD", "approved_by": None, "version": 1},
        holds={"USD": "100.50"},
    )


def test_what_was_written_is_read_by_another_process_in_order(tmp_path):
    journal = Journal(tmp_path / "sends.log")
    for number in range(3):
        journal.append(a_line(number))

    told = Journal(tmp_path / "sends.log")

    assert told.all() == told.newest() == [a_line(0), a_line(1), a_line(2)]
    assert told.damaged == 0
    assert os.stat(journal.path).st_mode & 0o777 == 0o600
    journal.close()


def test_without_a_file_there_are_no_lines(tmp_path):
    assert Journal(tmp_path / "sends.log").all() == []


@pytest.mark.parametrize("kept", range(1, 40, 7))
def test_a_line_cut_by_a_crash_is_no_line_and_spoils_no_later_one(tmp_path, kept):
    path = tmp_path / "sends.log"
    journal = Journal(path)
    journal.append(a_line(1))
    whole = path.read_bytes()
    journal.append(a_line(2))
    journal.close()
    path.write_bytes(path.read_bytes()[: len(whole) + kept])

    assert Journal(path).all() == [a_line(1)]
    journal = Journal(path)
    journal.append(a_line(3))

    assert journal.all() == [a_line(1), a_line(3)]
    assert journal.damaged == 1
    journal.close()


def test_a_changed_line_is_counted_as_damaged(tmp_path):
    path = tmp_path / "sends.log"
    journal = Journal(path)
    journal.append(a_line(1))
    journal.append(a_line(2))
    journal.close()
    path.write_bytes(path.read_bytes().replace(b"trd-1", b"trd-9", 1))

    assert journal.all() == [a_line(2)]
    assert journal.damaged == 1


def test_only_the_end_of_a_long_journal_is_read_at_start(tmp_path):
    journal = Journal(tmp_path / "sends.log", tail_bytes=2000)
    for number in range(50):
        journal.append(a_line(number))

    newest = journal.newest()

    assert newest == [a_line(n) for n in range(50 - len(newest), 50)]
    assert 0 < len(newest) < 10
    assert journal.damaged == 0
    journal.close()


def test_a_journal_that_cannot_be_written_says_so_before_anything_leaves(tmp_path):
    journal = Journal(tmp_path / "nowhere" / "sends.log")

    with pytest.raises(Refused, match="nothing was sent") as caught:
        journal.make_ready()
    with pytest.raises(Refused, match="nothing was sent"):
        journal.append(a_line(1))

    assert caught.value.code == "storage"
