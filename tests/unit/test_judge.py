import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrail_worker.judge import is_acknowledged, judge
from pgtrail_worker.response import Cause, Response, retry_after_seconds
from pgtrail_worker.verdict import (
    Delivered,
    Failed,
    Hold,
    Partial,
    Poison,
    Reads,
    ResponseRules,
    TooLarge,
)

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
WEBHOOK = ResponseRules()
SPLUNK = ResponseRules(
    Reads.CODE,
    success_statuses=frozenset({200}),
    poison_statuses=frozenset({400}),
    poison_codes=frozenset({5, 6, 12, 13, 15}),
    configuration_codes=frozenset({1, 2, 3, 4, 7, 10, 11, 14, 16, 21, 22}),
    success_codes=frozenset({0, 24, 25}),
)
ELASTIC = ResponseRules(Reads.ITEMS, success_statuses=frozenset({200}), poison_statuses=frozenset({400}))
DATADOG = ResponseRules(success_statuses=frozenset({202}), poison_statuses=frozenset({400}))


def answer(status, body=b"", **more):
    return Response(status, 0.1, body=body if isinstance(body, bytes) else json.dumps(body).encode(), **more)


def verdict(status, body=b"", rules=WEBHOOK, events=1, **more):
    return judge(answer(status, body, **more), rules, events, NOW)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_2xx_of_a_webhook_is_a_delivery(status):
    assert verdict(status) == Delivered()


@pytest.mark.parametrize(
    "status", [100, 301, 302, 307, 308, 400, 401, 403, 404, 408, 410, 413, 422, 429, 500, 503, 599]
)
def test_nothing_else_is_a_delivery_a_redirect_included(status):
    assert not isinstance(verdict(status), Delivered)


@pytest.mark.parametrize("status", [200, 201, 204, 206])
def test_a_2xx_that_is_not_the_formats_own_is_no_delivery(status):
    assert isinstance(verdict(status, rules=DATADOG), Failed)
    assert verdict(202, rules=DATADOG) == Delivered()


@pytest.mark.parametrize(
    ("status", "kind", "hold"),
    [
        (400, Poison, None), (415, Poison, None), (422, Poison, None), (413, TooLarge, None),
        (401, Failed, Hold.ATTENTION), (403, Failed, Hold.ATTENTION), (404, Failed, Hold.ATTENTION),
        (410, Failed, Hold.GONE), (409, Failed, None), (500, Failed, None), (302, Failed, None),
    ],
)  # fmt: skip
def test_what_a_status_asks_for(status, kind, hold):
    made = verdict(status)
    assert isinstance(made, kind)
    assert getattr(made, "hold", None) is hold


@pytest.mark.parametrize(
    ("made", "retry_after", "retry_at_once", "hold"),
    [
        (Response(None, 0.2, Cause.REFUSED), 0, True, None),
        (Response(None, 3.0, Cause.REFUSED), 0, False, None),
        (Response(None, 0.2, Cause.UNRESOLVED), 0, True, None),
        (Response(None, 20.0, Cause.TIMED_OUT), 60, False, None),
        (Response(None, 0.2, Cause.BROKEN), 0, False, None),
        (Response(None, 0.2, Cause.FORBIDDEN), 0, False, Hold.ATTENTION),
        (Response(None, 0.2, Cause.UNTRUSTED), 0, False, Hold.ATTENTION),
        (Response(None, 0.0, Cause.NO_SECRET), 0, False, Hold.ATTENTION),
        (Response(408, 0.1), 60, False, None),
        (Response(504, 0.1), 60, False, None),
        (Response(429, 0.1), 60, False, None),
        (Response(429, 0.1, retry_after="5"), 60, False, None),
        (Response(429, 0.1, retry_after="600"), 600, False, None),
        (Response(503, 0.1, retry_after="90"), 90, False, None),
        (Response(500, 0.1), 0, False, None),
    ],
)
def test_how_long_a_receiver_is_left_alone(made, retry_after, retry_at_once, hold):
    failed = judge(made, WEBHOOK, 1, NOW)
    assert isinstance(failed, Failed)
    assert (failed.retry_after, failed.retry_at_once, failed.hold) == (retry_after, retry_at_once, hold)


def test_splunk_says_success_by_its_code_and_gives_a_number_to_ask_with():
    assert verdict(200, {"text": "Success", "code": 0}, SPLUNK) == Delivered()
    assert verdict(200, {"text": "Success", "code": 0, "ackId": 7}, SPLUNK) == Delivered(ack_id=7)
    # A queue, or the acknowledgements, are nearly full: the events are taken.
    assert verdict(200, {"text": "Queue is approaching capacity", "code": 24}, SPLUNK) == Delivered()
    assert verdict(200, {"text": "Ack channel is approaching capacity", "code": 25, "ackId": 8}, SPLUNK) == Delivered(8)
    for status, code in ((429, 24), (503, 25), (200, 17), (200, 26), (429, 26), (503, 27), (503, 23)):
        assert isinstance(verdict(status, {"code": code}, SPLUNK), Failed)
    assert is_acknowledged(answer(200, {"acks": {"7": True}}), 7)
    assert not is_acknowledged(answer(200, {"acks": {"7": False}}), 7)
    assert not is_acknowledged(answer(500, {"acks": {"7": True}}), 7)


@pytest.mark.parametrize("body", [b"", b"<html>welcome</html>", b"[]", {"text": "ok"}, {"code": "0"}])
def test_a_200_that_is_not_splunks_own_is_no_delivery(body):
    assert isinstance(verdict(200, body, SPLUNK), Failed)


def test_splunk_took_the_events_before_the_one_at_which_it_stopped():
    stopped = verdict(400, {"text": "Invalid data format", "code": 6, "invalid-event-number": 2}, SPLUNK, events=5)
    assert stopped == Partial((0, 1), ((2, "the receiver responded with HTTP 400, code 6"),))
    assert isinstance(verdict(400, {"code": 6}, SPLUNK, events=5), Poison)
    assert isinstance(verdict(400, {"code": 6, "invalid-event-number": 5}, SPLUNK, events=5), Poison)


@pytest.mark.parametrize(
    ("status", "code", "hold"),
    [(403, 4, Hold.ATTENTION), (400, 7, Hold.ATTENTION), (401, 2, Hold.ATTENTION), (503, 9, None), (500, 8, None)],
)
def test_what_splunks_codes_ask_for(status, code, hold):
    failed = verdict(status, {"code": code}, SPLUNK)
    assert isinstance(failed, Failed)
    assert failed.hold is hold


def test_a_400_of_a_proxy_before_splunk_buries_nothing():
    assert isinstance(verdict(400, b"<html>Bad Request</html>", SPLUNK), Failed)


def items(*statuses):
    return {"errors": True, "items": [{"create": {"status": status}} for status in statuses]}


def test_elastic_has_an_event_that_it_created_or_had_already():
    assert verdict(200, items(201, 409, 200), ELASTIC, events=3) == Delivered()


def test_of_elastics_items_only_what_failed_is_sent_again():
    made = verdict(200, items(201, 429, 400, 503, 201), ELASTIC, events=5)
    assert isinstance(made, Partial)
    assert made.delivered == (0, 4)
    assert [at for at, _ in made.poison] == [2]
    assert made.failed is not None
    assert made.failed.retry_after == 60


@pytest.mark.parametrize(
    "body", [b"", b"{}", {"items": []}, {"items": [{}]}, {"items": "x"}, {"took": 1, "errors": False}]
)
def test_an_elastic_that_accounts_for_no_event_has_stored_none(body):
    made = verdict(200, body, ELASTIC, events=2)
    assert isinstance(made, Failed)


def test_an_item_that_names_no_status_is_not_delivered():
    made = verdict(200, {"items": [{}, {"create": None}]}, ELASTIC, events=2)
    assert isinstance(made, Partial)
    assert made.delivered == ()
    assert made.failed is not None


def test_an_error_of_an_item_names_its_type_and_quotes_nothing_of_the_event():
    body = {
        "items": [{"create": {"status": 400, "error": {"type": "mapper_parsing_exception", "reason": "value S3CRET"}}}]
    }
    made = verdict(200, body, ELASTIC)
    assert isinstance(made, Partial)
    assert made.poison == ((0, "the receiver responded with 400 for the event (mapper_parsing_exception)"),)


@given(
    status=st.integers(100, 599), body=st.binary(max_size=200), reads=st.sampled_from(Reads), events=st.integers(1, 3)
)
def test_no_answer_breaks_anything_and_none_accounts_for_an_event_twice(status, body, reads, events):
    rules = ResponseRules(reads, success_statuses=frozenset({200}))
    made = judge(Response(status, 0.1, body=body), rules, events, NOW)
    if isinstance(made, Partial):
        named = [*made.delivered, *(at for at, _ in made.poison)]
        assert len(set(named)) == len(named) <= events


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    ["items", "create", "status", "error", "type", "code", "ackId", "invalid-event-number"]
                ),
                inner,
            )
        ),
    )
)
def test_no_json_of_an_answer_breaks_anything(body):
    for reads in Reads:
        judge(answer(200, body), ResponseRules(reads, success_statuses=frozenset({200})), 2, NOW)
        judge(
            answer(400, body),
            ResponseRules(reads, success_statuses=frozenset({200}), poison_codes=frozenset({6})),
            2,
            NOW,
        )


def test_retry_after_is_read_in_both_its_forms():
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
def test_a_retry_after_that_can_not_be_read_asks_for_nothing(header):
    assert retry_after_seconds(header, NOW) == 0


@given(st.text())
def test_no_retry_after_puts_an_event_off_for_more_than_a_day_or_breaks_anything(header):
    assert 0 <= retry_after_seconds(header, NOW) <= 86_400


def test_a_retry_after_of_a_year_is_cut_to_a_day_and_one_in_the_past_asks_for_nothing():
    assert retry_after_seconds(str(365 * 86_400), NOW) == 86_400
    assert retry_after_seconds(format_datetime(NOW - timedelta(days=1)), NOW) == 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
SAID = st.dictionaries(st.sampled_from(["code", "ackId", "invalid-event-number", "items", "acks", "text"]), JSON)
ITEMS = st.fixed_dictionaries(
    {"items": st.lists(st.dictionaries(st.sampled_from(["create", "index"]), JSON | st.fixed_dictionaries({"status": JSON}))
    | JSON, max_size=4)}
)  # fmt: skip


@given(
    status=st.integers(0, 999),
    body=st.binary(max_size=200) | (SAID | ITEMS | JSON).map(lambda said: json.dumps(said).encode()),
    rules=st.sampled_from([WEBHOOK, SPLUNK, ELASTIC, DATADOG]),
    events=st.integers(1, 4),
    after=st.none() | st.text(max_size=40) | st.from_regex(r"[A-Z][a-z]{2}, [0-9]+ [A-Z][a-z]{2} [0-9]+ .{0,20}"),
)
def test_whatever_a_receiver_says_it_is_a_verdict_about_the_events_of_the_request(status, body, rules, events, after):
    reached = judge(Response(status, 0.1, body=body, retry_after=after), rules, events, NOW)
    match reached:
        case Partial():
            named = [*reached.delivered, *(position for position, _ in reached.poison)]
            assert len(set(named)) == len(named)
            assert set(named) <= set(range(events))
        case Delivered():
            assert reached.ack_id is None or 0 <= reached.ack_id < 2**63
        case Failed():
            assert 0 <= reached.retry_after <= 86_400
    assert len(str(reached)) < 2000


@pytest.mark.parametrize(
    "body",
    [b"[" * 1_000_000, b'{"code":' * 100_000, b'{"code": ' + b"9" * 100_000 + b"}", b'{"code": 0' + b"0" * 4000 + b"1}",
     b"\xff\xfe", b'{"code": false}', b'{"code": 0.0}', b'{"code": "0"}', b'{"code": [0]}', b'{"code": NaN}', b"",
     b'{"code": -0.0}', b'{"code": 0, "code": 9}'],
)  # fmt: skip
def test_what_does_not_say_that_it_is_stored_is_not_delivered(body):
    reached = verdict(200, body, SPLUNK)
    assert isinstance(reached, Failed)
    assert len(reached.error) < 200


@pytest.mark.parametrize(
    "header",
    ["9" * 5000, "-1", "1e9", "NaN", "inf", "Fri, 31 Dec 9999 23:59:59 GMT", "Fri, 31 Dec 99999 23:59:59 GMT",
     "Mon, 01 Jan 0001 00:00:00 +2359", "Mon, 01 Jan 2026 00:00:00 +99999999", "\u0661\u0662", "0x10", "", ",", "Mon,",
     "1" + "\u00a0", "Mon, 99 Foo 2026 99:99:99 GMT"],
)  # fmt: skip
def test_a_retry_after_that_makes_no_sense_puts_nothing_off_for_longer_than_a_day(header):
    assert 0 <= retry_after_seconds(header, NOW) <= 86_400
