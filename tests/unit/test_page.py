"""The page's pure parts: a URL is read as it was written, nothing of a change is lost, bars are in order."""

import itertools
import json
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtrail.details import State, compare, indented, parse_json, printable, printable_json, short_changes
from pgtrail_web import chart
from pgtrail_web.errors import InvalidRequest
from pgtrail_web.filters import Cursor, Filters, parse

TEXTS = st.text(max_size=40).map(lambda text: text.replace("\x00", "").strip())
NAMED = TEXTS.filter(bool)
DAYS = st.dates()
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def filters(draw):
    first, last = sorted([draw(DAYS), draw(DAYS)])
    chosen = draw(st.sampled_from(["preset", "first", "last", "both"]))
    one = draw(
        st.sampled_from(
            [{}, {"actor_type": "user", "actor_id": draw(NAMED)}, {"resource_type": "key", "resource_id": draw(NAMED)}]
        )
    )
    return Filters(
        categories=tuple(dict.fromkeys(draw(st.lists(NAMED, max_size=3)))),
        range=draw(st.sampled_from(["today", "7d", "30d", "all"])) if chosen == "preset" else "custom",
        first=first if chosen in ("first", "both") else None,
        last=last if chosen in ("last", "both") else None,
        action=draw(TEXTS), actor=draw(TEXTS), resource=draw(TEXTS), q=draw(TEXTS), org=draw(TEXTS), node=draw(TEXTS),
        size=draw(st.sampled_from([50, 200, 1000])),
        before=draw(st.none() | st.builds(Cursor, st.integers(0, 10**16), st.integers(0, 10**12))),
        **one,
    )  # fmt: skip


@given(filters())
def test_a_url_is_read_as_it_was_written(wanted):
    assert parse(wanted.parameters()) == wanted


@given(st.lists(st.tuples(st.sampled_from([*Filters.__slots__, "q", "from", "to", "category"]), st.text(max_size=30))))
def test_whatever_a_url_says_it_is_read_or_refused_in_a_sentence(pairs):
    refusal = None
    try:
        parse(pairs)
    except InvalidRequest as refused:
        refusal = refused
    assert refusal is None or (str(refusal) and refusal.hint)


@given(VALUES, VALUES, st.sampled_from(["INSERT", "UPDATE", "DELETE", "TRUNCATE"]))
def test_a_comparison_has_every_value_of_both_sides(before, after, operation):
    rows = list(compared(before, after, operation, changed=before != after))
    shown = "\n".join(text for row in rows for text in (row.name, row.before, row.after) if text is not None)
    for side, there in ((before, operation != "INSERT"), (after, operation in ("INSERT", "UPDATE"))):
        for text in strings_of(side) if there else ():
            assert printable(text) in shown or printable(json.dumps(text, ensure_ascii=False)) in shown or text == ""
    assert shown.replace("\n", "").isprintable()


def compared(before, after, operation="UPDATE", *, changed=True):
    texts = {"before": json.dumps(before, ensure_ascii=False), "after": json.dumps(after, ensure_ascii=False)}
    return compare([{"field": "config", "changed": changed} | texts], operation)


def strings_of(value):
    if isinstance(value, str):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from strings_of(inner)


def test_unequal_parts_of_json_are_marked_and_equal_ones_are_not():
    before = {"limits": {"rpm": 60, "tpm": 1}, "rules": [{"id": 1}], "gone": 1}
    after = {"limits": {"rpm": 120, "tpm": 1}, "rules": [{"id": 1}, {"id": 2}], "new": "x"}
    rows = compared(before, after)
    assert [(row.name, row.depth, row.state) for row in rows] == [
        ("config", 0, State.CHANGED), ("gone", 1, State.REMOVED), ("limits", 1, State.CHANGED), ("rpm", 2, State.CHANGED),
        ("tpm", 2, State.SAME), ("new", 1, State.ADDED), ("rules", 1, State.CHANGED), ("[0]", 2, State.SAME), ("id", 3, State.SAME),
        ("[1]", 2, State.ADDED), ("id", 3, State.ADDED),
    ]  # fmt: skip


def test_json_that_is_deeper_than_anybody_reads_is_shown_whole():
    deep = "end"
    for _ in range(50):
        deep = {"k": deep}
    rows = list(compared(deep, None, "DELETE"))
    assert len(rows) < 20
    assert "end" in rows[-1].before


NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,400})(\.[0-9]{1,400})?", fullmatch=True)


@given(NUMBERS, NUMBERS | st.sampled_from(["true", "false", '"1"', '"0"']))
def test_numbers_are_shown_and_compared_as_they_are_written(before, after):
    fields = [{"field": "f", "before": f'{{"n": {before}}}', "after": f'{{"n": {after}}}', "changed": True}]
    _, number = compare(fields, "UPDATE")
    assert number.before == before
    assert (number.state is State.SAME) == (before == after)


@pytest.mark.parametrize(
    "text", ["1" * 5000, f"1e{'9' * 5}", "[" * 5000 + "]" * 5000, '{"a":' * 3000 + "1" + "}" * 3000]
)
def test_json_that_python_can_not_read_is_shown_as_it_is_written(text):
    (row,) = compare([{"field": "f", "before": "1", "after": text, "changed": True}], "UPDATE")
    assert row.after == text
    ((change,), _) = short_changes({"f": {"before": None, "after": parse_json(text)}}, "UPDATE")
    assert change.after.startswith(text[:50])


@given(st.text(max_size=200))
def test_json_says_the_same_when_what_can_not_be_seen_is_escaped(text):
    shown = printable_json(json.dumps({"text": text}, ensure_ascii=False, indent=1))
    assert json.loads(shown) == {"text": text}
    assert shown.replace("\n", "").isprintable()


@given(VALUES)
def test_json_is_indented_unless_it_is_too_deep(value):
    assert json.loads(indented(json.dumps(value))) == value


def test_json_that_is_too_deep_is_not_indented():
    deep = "[" * 5000 + "]" * 5000
    assert indented(deep) == deep


def test_a_line_mentions_what_tells_something_and_says_how_much_more_there_is():
    details = {f"field_{n}": {"before": None, "after": n + 1} for n in range(7)} | {
        "org_id": {"before": None, "after": "x"}
    }
    changes, more = short_changes(details, "INSERT")
    assert ([change.field for change in changes], more) == ([f"field_{n}" for n in range(4)], 3)


@pytest.mark.parametrize("unit", ["day", "week", "month"])
@given(
    st.lists(
        st.tuples(st.dates(date(2024, 1, 1), date(2026, 12, 31)), st.sampled_from("abc"), st.integers(1, 10**6)),
        max_size=20,
    )
)
def test_bars_are_in_order_and_hold_every_event(unit, found):
    def begin(day):
        return {"day": day, "week": day - timedelta(days=day.weekday()), "month": day.replace(day=1)}[unit]

    counts = [chart.Count(begin(day), category, events) for day, category, events in found]
    bars = chart.bars(counts, unit, None, date(2024, 1, 1), ["a", "b"])
    assert sum(bar.events for bar in bars) == sum(count.events for count in counts)
    assert all(one.last + timedelta(days=1) == other.first for one, other in itertools.pairwise(bars))
    for bar in bars:
        assert sum(part.events for part in bar.parts) == bar.events
        assert 0 <= bar.x <= bar.x + bar.width <= chart.WIDTH
        assert all(0 <= part.y <= chart.HEIGHT for part in bar.parts)
