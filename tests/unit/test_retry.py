from hypothesis import given
from hypothesis import strategies as st

from pgtrail_worker.retry import JITTER, SCHEDULE, delay
from pgtrail_worker.verdict import Failed


def middle(low: float, high: float) -> float:
    return (low + high) / 2


def test_the_waits_grow_to_an_hour_and_stay_there_for_ever() -> None:
    waits = [delay(failures, Failed("x"), middle) for failures in range(9)]
    assert waits == [5, 30, 120, 600, 1800, 3600, 3600, 3600, 3600]


def test_a_connection_that_failed_at_once_is_tried_at_once_and_then_as_any_other() -> None:
    failed = Failed("x", at_once=True)
    assert [delay(failures, failed, middle) for failures in range(4)] == [0, 5, 30, 120]


@given(st.integers(0, 10_000), st.floats(0, 86_400), st.booleans(), st.randoms())
def test_no_wait_is_shorter_than_what_the_receiver_asked_for_nor_longer_than_that_and_the_schedule(
    failures: int, at_least: float, at_once: bool, random: st.DataObject
) -> None:
    wait = delay(failures, Failed("x", at_least, at_once), random.uniform)  # type: ignore[attr-defined]
    assert at_least <= wait <= max(at_least, SCHEDULE[-1] * (1 + JITTER))
