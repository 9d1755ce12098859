from datetime import UTC, datetime, timedelta, timezone

import pytest

from backend.domain.clock import (
    elapsed_s,
    from_row,
    process_name,
    session_end,
    system_clock,
    to_et,
    to_row,
)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-05-26T14:14:55", "2026-05-26T10:14:55-04:00"),
        ("2026-12-01T15:00:07.999999", "2026-12-01T10:00:07-05:00"),
        # Spring: 01:59:59 is followed by 03:00:00.
        ("2026-03-08T06:59:59", "2026-03-08T01:59:59-05:00"),
        ("2026-03-08T07:00:00", "2026-03-08T03:00:00-04:00"),
        # Autumn: 01:30 happens twice; the offset tells them apart.
        ("2026-11-01T05:30:00", "2026-11-01T01:30:00-04:00"),
        ("2026-11-01T06:30:00", "2026-11-01T01:30:00-05:00"),
        # A new year in UTC is still the old one in New York.
        ("2027-01-01T04:59:59", "2026-12-31T23:59:59-05:00"),
    ],
)
def test_a_stamp_is_eastern_time_with_the_offset_of_its_day(moment: str, expected: str) -> None:
    assert to_et(utc(moment)) == expected
    assert datetime.fromisoformat(expected) == utc(moment).replace(microsecond=0)


def test_a_stamp_does_not_depend_on_the_zone_it_was_given_in() -> None:
    tokyo = timezone(timedelta(hours=9))
    assert to_et(utc("2026-05-26T14:14:55").astimezone(tokyo)) == "2026-05-26T10:14:55-04:00"


@pytest.mark.parametrize(
    ("after", "session", "end"),
    [
        ("2026-05-26T14:00:00", "us_equity", "2026-05-26T20:00:00"),
        ("2026-05-26T19:59:59.999999", "us_equity", "2026-05-26T20:00:00"),
        ("2026-05-26T20:00:00", "us_equity", "2026-05-27T20:00:00"),
        ("2026-05-26T20:00:00.000001", "us_equity", "2026-05-27T20:00:00"),
        ("2026-05-27T03:59:59", "us_equity", "2026-05-27T20:00:00"),
        ("2026-12-01T20:59:59", "us_equity", "2026-12-01T21:00:00"),
        # Saturday's close before the clocks change, to Sunday's after: 23 and 25 hours.
        ("2026-03-07T21:00:00", "us_equity", "2026-03-08T20:00:00"),
        ("2026-10-31T20:00:00", "us_equity", "2026-11-01T21:00:00"),
        ("2026-03-08T06:30:00", "us_equity", "2026-03-08T20:00:00"),
        ("2026-11-01T05:30:00", "us_equity", "2026-11-01T21:00:00"),
        ("2026-05-26T14:00:00", "continuous", "2026-05-27T00:00:00"),
        ("2026-05-27T00:00:00", "continuous", "2026-05-28T00:00:00"),
        ("2026-05-26T23:59:59.999999", "continuous", "2026-05-27T00:00:00"),
        ("2026-12-31T12:00:00", "continuous", "2027-01-01T00:00:00"),
        ("2028-02-28T12:00:00", "continuous", "2028-02-29T00:00:00"),
    ],
)
def test_a_session_ends_at_its_own_hour(after: str, session: str, end: str) -> None:
    assert session_end(utc(after), session) == utc(end)
    assert session_end(utc(after), session).utcoffset() == timedelta(0)


def test_the_order_of_rows_is_the_order_of_times() -> None:
    moments = [
        utc("2026-11-01T05:59:59.999999"),
        utc("2026-11-01T06:00:00"),
        utc("2026-11-01T06:00:00.000001"),
        utc("2026-11-01T16:00:00"),
        utc("2027-01-01T00:00:00"),
    ]
    rows = [to_row(moment) for moment in moments]

    assert rows == sorted(rows)
    assert len({len(row) for row in rows}) == 1
    assert [from_row(row) for row in rows] == moments


def test_the_systems_clock_is_aware_and_in_utc() -> None:
    assert system_clock().utcoffset() == timedelta(0)


def test_the_suspension_proof_clock_never_runs_back() -> None:
    seen = [elapsed_s() for _ in range(100)]
    assert seen == sorted(seen)


def test_two_names_of_a_process_are_not_the_same() -> None:
    assert process_name() != process_name()
