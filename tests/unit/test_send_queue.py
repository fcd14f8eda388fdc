"""What is sent next, whatever a receiver answers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgtrail_worker.batch import Batch, Framing, RequestLimits
from pgtrail_worker.send_queue import SendQueue
from pgtrail_worker.verdict import Delivered, Failed, Hold, Partial, Poison, TooLarge

ARRAY = Framing(b"[", b",", b"]")


def batch(count, keys=None, size=4, dead_in_row=0):
    pieces = [str(n).zfill(size).encode() for n in range(1, count + 1)]
    ids = list(range(1, count + 1))
    return Batch(1, ids, keys or list(range(count)), [size] * count, b",".join(pieces), dead_in_row=dead_in_row)


def sending(count, *, keys=None, events=100, size_limit=10_000, size=4, dead_in_row=0):
    return SendQueue(batch(count, keys, size, dead_in_row), ARRAY, RequestLimits(events, size_limit))


def ids(request):
    return [position + 1 for position in request.positions]


def drive(made, respond, in_flight=1, order=None):
    """Send until it is done; the ids of each request, and everything that came of it."""
    sent, flying, delivered, dead, through = [], [], [], [], 0
    failure = None
    for _ in range(100_000):
        while len(flying) < in_flight and (request := made.next_request()):
            sent.append(ids(request))
            flying.append(request)
        if not flying:
            break
        request = flying.pop(order(len(flying)) if order else 0)
        too_large = made.record(request, respond(ids(request)), 400)
        if too_large is not None:
            piece = b"x" * (made.size_of(too_large) // 2)
            made.shorten(too_large, piece if len(piece) > 1 else None, 413, "too large")
        outcome = made.take_outcome()
        delivered += outcome.delivered
        dead += [each.event_id for each in outcome.dead]
        assert outcome.through >= through, "it never goes back"
        through = outcome.through
        failure = outcome.failure
    else:
        pytest.fail("it never ends")
    return sent, delivered, dead, through, failure


def test_a_request_is_as_large_as_the_limits_allow():
    sent, delivered, *_, through, _ = drive(sending(10, events=4), lambda _: Delivered())
    assert sent == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]
    assert delivered == list(range(1, 11))
    assert through == 10
    sent, *_ = drive(sending(5, size_limit=2 + 4 + 1 + 4), lambda _: Delivered())
    assert sent == [[1, 2], [3, 4], [5]]


def test_neighbours_are_sent_as_they_were_rendered_and_others_are_joined():
    made = sending(5)
    request = made.next_request()
    assert request.body == b"[0001,0002,0003,0004,0005]"
    made.record(request, Partial((1, 3), (), None), 200)
    assert made.next_request().body == b"[0001,0003,0005]"


def test_413_halves_and_the_next_batch_begins_smaller():
    limits = RequestLimits(100, 10_000)
    made = SendQueue(batch(8), ARRAY, limits)
    sent, delivered, dead, *_ = drive(made, lambda chosen: TooLarge("413") if len(chosen) > 2 else Delivered())
    assert len(sent[0]) == 8
    assert all(len(request) <= 4 for request in sent[1:])
    assert (delivered, dead) == (list(range(1, 9)), [])
    assert len(SendQueue(batch(8), ARRAY, limits).next_request().positions) < 8


def test_an_event_that_is_too_large_alone_is_shortened_until_it_passes():
    made = sending(3, size=100)
    sizes = []

    def respond(chosen):
        if 2 in chosen:
            sizes.append(made.size_of(2))
            return TooLarge("413") if sizes[-1] > 30 or len(chosen) > 1 else Delivered()
        return Delivered()

    _, delivered, dead, *_ = drive(made, respond)
    assert sorted(delivered) == [1, 2, 3]
    assert dead == []
    assert sizes[-1] == 25


def test_one_that_can_not_be_shortened_any_more_is_a_dead_letter():
    _, delivered, dead, through, failure = drive(
        sending(3), lambda chosen: TooLarge("413") if 2 in chosen else Delivered()
    )
    assert (delivered, dead, through, failure) == ([1, 3], [2], 3, None)


def test_the_one_event_that_is_refused_is_found_and_the_rest_goes_on():
    sent, delivered, dead, through, failure = drive(
        sending(1000, events=1000), lambda chosen: Poison("400") if 700 in chosen else Delivered()
    )
    assert dead == [700]
    assert sorted(delivered) == [n for n in range(1, 1001) if n != 700]
    assert (through, failure) == (1000, None)
    assert len(sent) <= 25, "by halves, not one by one"


def test_more_than_20_dead_letters_in_a_row_stop_it():
    _, delivered, dead, through, failure = drive(sending(100, events=100), lambda _: Poison("400"))
    assert (delivered, dead, through) == ([], list(range(1, 21)), 20)
    assert failure.failed.hold is Hold.ATTENTION
    assert failure.event_id == 21


def test_dead_letters_in_a_row_are_counted_across_batches_and_a_delivery_begins_anew():
    _, _, dead, _, failure = drive(sending(5, events=1, dead_in_row=18), lambda _: Poison("400"))
    assert (dead, failure.event_id) == ([1, 2], 3)
    _, _, dead, _, failure = drive(
        sending(5, events=1, dead_in_row=18), lambda chosen: Delivered() if chosen == [2] else Poison("400")
    )
    assert (dead, failure) == ([1, 3, 4, 5], None)


def test_a_failure_stops_it_and_what_was_delivered_ahead_counts():
    made = sending(3, events=1)
    first, second = made.next_request(), made.next_request()
    made.record(second, Delivered(), 204)
    made.record(first, Failed("500"), 500)
    assert made.next_request() is None
    outcome = made.take_outcome()
    assert (outcome.delivered, outcome.through, outcome.failure.event_id) == ((2,), 0, 1)
    assert made.stopped
    assert not made.complete


def test_only_what_failed_of_a_request_is_left():
    made = sending(4)
    made.record(made.next_request(), Partial((0, 3), ((1, "400"),), Failed("429")), 200)
    outcome = made.take_outcome()
    assert outcome.delivered == (1, 4)
    assert [each.event_id for each in outcome.dead] == [2]
    assert (outcome.through, outcome.failure.event_id) == (2, 3)


def test_splunk_goes_on_behind_the_event_at_which_it_stopped():
    bad = {3, 7}

    def respond(chosen):
        for at, event_id in enumerate(chosen):
            if event_id in bad:
                return Partial(tuple(range(at)), ((at, "code 6"),))
        return Delivered()

    sent, delivered, dead, *_ = drive(sending(10), respond)
    assert sent == [list(range(1, 11)), [4, 5, 6, 7, 8, 9, 10], [8, 9, 10]]
    assert (sorted(delivered), dead) == ([1, 2, 4, 5, 6, 8, 9, 10], [3, 7])


def test_of_one_resource_one_request_is_in_flight():
    made = sending(5, keys=[1, 1, 2, 1, 3], events=1)
    assert [ids(request) for request in iter(made.next_request, None)] == [[1], [3], [5]]


def test_a_time_out_makes_the_next_request_smaller_and_successes_larger():
    limits = RequestLimits(100, 10_000)
    made = SendQueue(batch(100), ARRAY, limits)
    made.record(made.next_request(), Failed("no response in time", shrink=True), None)
    sent, *_ = drive(SendQueue(batch(100), ARRAY, limits), lambda _: Delivered())
    assert [len(request) for request in sent] == [50, 50]
    limits.probe()
    sent, *_ = drive(SendQueue(batch(100), ARRAY, limits), lambda _: Delivered())
    assert [len(request) for request in sent] == [1, 2, 4, 8, 16, 32, 37]


@settings(max_examples=300)
@given(data=st.data())
def test_whatever_a_receiver_answers_each_event_ends_once_and_in_the_order_of_its_resource(data):
    count = data.draw(st.integers(1, 40))
    keys = data.draw(st.lists(st.integers(0, 5), min_size=count, max_size=count))
    poison = set(data.draw(st.lists(st.integers(1, count), max_size=8)))
    most = data.draw(st.integers(1, count))
    received = []
    in_order = True

    def respond(chosen):
        nonlocal in_order
        if len(chosen) > most:
            return TooLarge("413")
        if data.draw(st.integers(0, 30)) == 0:
            return Failed("500")
        bad = [at for at, event_id in enumerate(chosen) if event_id in poison]
        kind = data.draw(st.sampled_from(["whole", "stops", "items"]))
        if kind == "stops" and bad:
            received.extend(chosen[: bad[0]])
            return Partial(tuple(range(bad[0])), ((bad[0], "code 6"),))
        if kind == "items":
            again = data.draw(st.sets(st.sampled_from(range(len(chosen))), max_size=len(chosen)))
            good = [at for at in range(len(chosen)) if at not in bad and at not in again]
            received.extend(chosen[at] for at in good)
            left = len(good) + len(bad) < len(chosen)
            # A receiver that takes later events of a request and not earlier ones disorders them itself.
            in_order = in_order and not left
            return Partial(tuple(good), tuple((at, "400") for at in bad), Failed("429") if left else None)
        if bad:
            return Poison("400")
        received.extend(chosen)
        return Delivered()

    made = sending(count, keys=keys, events=data.draw(st.integers(1, count)))
    in_flight = data.draw(st.integers(1, 6))
    _, delivered, dead, through, failure = drive(
        made, respond, in_flight, order=lambda most: data.draw(st.integers(0, most - 1)) if most else 0
    )
    settled = [*delivered, *dead]
    assert len(set(settled)) == len(settled), "each once"
    assert set(dead) <= poison
    assert sorted(received) == sorted(delivered), "what the receiver has is what is settled"
    if failure is None:
        assert sorted(settled) == list(range(1, count + 1))
    assert set(range(1, through + 1)) <= set(settled)
    if in_order:
        for key in set(keys):
            of_one = [event_id for event_id in received if keys[event_id - 1] == key]
            assert of_one == sorted(of_one)
