"""The send journal: a line is there before anything leaves, or it is said that it is not."""

import os
import resource
import zlib

import pytest

from backend.domain.errors import Refused
from backend.journal import Dispatch, Head, Journal, Line, Switch


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
    assert Journal(tmp_path / "sends.log").name is None


def test_every_kind_of_line_is_read_back_and_a_later_programs_is_counted(tmp_path):
    lines: list[Line] = [
        Head(1, "a"),
        a_line(2),
        Switch(3, "b", "symbol:AAPL", True, "a test", "operator"),
    ]
    journal = Journal(tmp_path / "sends.log")
    for line in lines:
        journal.append(line)
    body = b'{"audit_seq":4,"audit_hash":"c","what":"unheard of"}'
    with journal.path.open("ab") as file:
        file.write(b"%08x %s\n" % (zlib.crc32(body), body))

    assert journal.all() == lines
    assert journal.damaged == 1
    journal.close()


def test_a_journal_keeps_its_name_and_another_has_another(tmp_path):
    one, other = Journal(tmp_path / "one.log"), Journal(tmp_path / "other.log")
    one.append(Head(1, "a"))
    before = one.name
    one.append(a_line(2))
    other.append(Head(2, "b"))

    assert one.name == before is not None
    assert other.name not in (before, None)
    one.close()
    other.close()


def test_a_journal_that_is_deleted_or_replaced_meanwhile_is_opened_anew(tmp_path):
    journal = Journal(tmp_path / "sends.log")
    journal.append(a_line(1))
    journal.path.unlink()
    journal.append(a_line(2))
    journal.path.rename(tmp_path / "away.log")
    (tmp_path / "sends.log").write_bytes(b"")
    journal.append(a_line(3))

    assert Journal(tmp_path / "away.log").all() == [a_line(2)]
    assert journal.all() == [a_line(3)]
    journal.close()


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


def test_a_line_that_cannot_be_synced_is_not_there(tmp_path):
    os.mkfifo(tmp_path / "sends.log")  # It takes what is written, and no fsync.
    journal = Journal(tmp_path / "sends.log")

    with pytest.raises(Refused, match="nothing was sent"):
        journal.append(a_line(1))


@pytest.fixture
def short_files():
    """Lets no file of this process grow beyond 600 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_half_a_line_is_no_line(tmp_path, short_files):
    journal = Journal(tmp_path / "sends.log")
    journal.append(a_line(1))

    with pytest.raises(Refused, match="nothing was sent"):
        journal.append(a_line(2))

    assert journal.size == 600
    assert journal.all() == [a_line(1)]


def test_after_a_line_that_could_not_be_synced_there_is_no_other(tmp_path):
    os.mkfifo(tmp_path / "sends.log")
    journal = Journal(tmp_path / "sends.log")
    with pytest.raises(Refused):
        journal.append(a_line(1))
    (tmp_path / "sends.log").unlink()

    with pytest.raises(Refused, match="restart the server"):
        journal.make_ready()
