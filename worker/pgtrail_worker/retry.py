"""When to try again. Pure: randomness is passed in."""

from collections.abc import Callable

from pgtrail_worker.verdict import Failed

SCHEDULE = (5.0, 30.0, 120.0, 600.0, 1800.0, 3600.0)
"""Seconds before the second, third, … attempt; the last holds for all that follow. There is no last attempt."""

PROBE = 900.0
"""Seconds between the probes of a destination that needs attention."""

SUSPENDED_AFTER = 5 * 86_400.0
"""Seconds without a success after which it is probed hourly, whatever the response; as in ``audit.cursor_state``."""

JITTER = 0.2
"""Each wait is longer or shorter by up to this fraction, so that destinations do not all come back at once."""


def retry_delay(failures: int, failing_for: float, failed: Failed, uniform: Callable[[float, float], float]) -> float:
    """Seconds to wait before the next attempt.

    :param failures: failed attempts since the last success, before this one.
    :param failing_for: seconds since the first of them.
    :param uniform: such as ``random.uniform``.
    """
    if failures == 0 and failed.retry_at_once:
        return failed.retry_after
    step = SCHEDULE[min(failures - failed.retry_at_once, len(SCHEDULE) - 1)]
    if failing_for >= SUSPENDED_AFTER:
        step = SCHEDULE[-1]
    elif failed.hold:
        step = PROBE
    return max(step * uniform(1 - JITTER, 1 + JITTER), failed.retry_after)
