import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrail_worker.retry import retry_delay
from pgtrail_worker.verdict import Failed, Hold

DAY = 86_400.0


def middle(low, high):
    return (low + high) / 2


def waits(failed, count=10):
    return [retry_delay(failures, 0, failed, middle) for failures in range(count)]


def test_the_waits_grow_to_an_hour_and_there_is_no_last_attempt():
    assert waits(Failed("x")) == [5, 30, 120, 600, 1800, 3600, 3600, 3600, 3600, 3600]


def test_a_connection_that_failed_quickly_is_tried_again_at_once_and_then_as_any_other():
    assert waits(Failed("x", retry_at_once=True), 5) == [0, 5, 30, 120, 600]


def test_what_needs_an_operator_is_probed_every_15_minutes_and_after_5_days_hourly():
    held = Failed("x", hold=Hold.ATTENTION)
    assert waits(held, 4) == [900, 900, 900, 900]
    assert retry_delay(100, 4.9 * DAY, held, middle) == 900
    assert retry_delay(100, 5.1 * DAY, held, middle) == 3600
    assert retry_delay(100, 365 * DAY, Failed("x"), middle) == 3600


@pytest.mark.parametrize("failures", [0, 3, 1000])
def test_a_receiver_that_asks_for_longer_gets_it(failures):
    assert retry_delay(failures, 0, Failed("x", retry_after=86_400), middle) == 86_400


@given(st.integers(0, 10_000), st.booleans(), st.sampled_from([None, *Hold]), st.randoms())
def test_no_wait_is_longer_than_72_minutes_unless_the_receiver_says_so(failures, at_once, hold, chance):
    wait = retry_delay(failures, 0, Failed("x", retry_at_once=at_once, hold=hold), chance.uniform)
    assert 0 <= wait <= 3600 * 1.2


def test_jitter_is_a_fifth():
    chance = random.Random(1)
    drawn = [retry_delay(0, 0, Failed("x"), chance.uniform) for _ in range(1000)]
    assert 4 <= min(drawn) < 4.1
    assert 5.9 < max(drawn) <= 6
