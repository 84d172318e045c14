"""What a mailbox's cursor leaves alone when the server numbers its mails anew."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from services.ingest.store.mailboxes import LEEWAY, Cursor

BEGAN = datetime(2026, 11, 21, 9, 30, 0, 700_000, tzinfo=UTC)
CURSOR = Cursor(uidvalidity=2, last_uid=0, not_before=BEGAN, anew_to=7)


def test_a_mail_of_the_second_in_which_reading_began_is_read_although_its_time_has_no_fractions() -> None:
    assert not CURSOR.skips(7, BEGAN.replace(microsecond=0))


def test_a_mail_from_before_reading_began_is_left_alone_with_leeway_for_a_clock_that_is_behind() -> None:
    assert not CURSOR.skips(7, BEGAN - LEEWAY)
    assert CURSOR.skips(7, BEGAN - LEEWAY - timedelta(seconds=1))


def test_a_mail_that_came_after_the_new_numbers_is_read_whatever_its_time_says() -> None:
    assert not CURSOR.skips(8, BEGAN - timedelta(days=9))


def test_a_mailbox_read_from_its_first_mail_leaves_none_alone() -> None:
    assert not Cursor(uidvalidity=2, last_uid=0, not_before=None, anew_to=7).skips(1, BEGAN - timedelta(days=9))
