from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrail_worker.verdict import Answer, Cause, Delivered, Failed, judge, retry_after_seconds

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_2xx_is_a_delivery(status: int) -> None:
    assert judge(Answer(status, 0.1), NOW) == Delivered()


@pytest.mark.parametrize(
    "status", [100, 301, 302, 307, 308, 400, 401, 403, 404, 408, 410, 413, 422, 429, 500, 503, 599]
)
def test_nothing_else_is_a_delivery_a_redirect_included(status: int) -> None:
    assert isinstance(judge(Answer(status, 0.1), NOW), Failed)


@pytest.mark.parametrize(
    ("answer", "at_least", "at_once"),
    [
        (Answer(None, 0.2, Cause.REFUSED), 0, True),
        (Answer(None, 3.0, Cause.REFUSED), 0, False),
        (Answer(None, 20.0, Cause.TIMED_OUT), 60, False),
        (Answer(None, 0.2, Cause.BROKEN), 0, False),
        (Answer(429, 0.1), 60, False),
        (Answer(429, 0.1, retry_after="5"), 60, False),
        (Answer(429, 0.1, retry_after="600"), 600, False),
        (Answer(503, 0.1, retry_after="90"), 90, False),
        (Answer(500, 0.1), 0, False),
    ],
)
def test_how_long_a_receiver_is_left_alone(answer: Answer, at_least: float, at_once: bool) -> None:
    failed = judge(answer, NOW)
    assert isinstance(failed, Failed)
    assert (failed.at_least, failed.at_once) == (at_least, at_once)


def test_retry_after_is_read_in_both_its_forms() -> None:
    assert retry_after_seconds("120", NOW) == 120
    assert retry_after_seconds(format_datetime(NOW + timedelta(minutes=5), usegmt=True), NOW) == 300


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "soon",
        "-5",
        "1e9",
        "٣",
        "Mon, 99 Foo 2026",
        "Mon, 1 Jan 99999999999999999999 00:00:00 GMT",
        "Mon, 1 Jan 2026 00:00:00 +99999999999999999",
    ],
)
def test_a_retry_after_that_can_not_be_read_asks_for_nothing(header: str | None) -> None:
    assert retry_after_seconds(header, NOW) == 0


@given(st.text())
def test_no_retry_after_puts_an_event_off_for_more_than_a_day_or_breaks_anything(header: str) -> None:
    assert 0 <= retry_after_seconds(header, NOW) <= 86_400


def test_a_retry_after_of_a_year_is_cut_to_a_day_and_one_in_the_past_asks_for_nothing() -> None:
    assert retry_after_seconds(str(365 * 86_400), NOW) == 86_400
    assert retry_after_seconds(format_datetime(NOW - timedelta(days=1)), NOW) == 0
