"""What is recorded does not depend on the settings of the session that writes: 12 settings × 12 types × each way to write."""

import contextlib

import pytest

pytestmark = pytest.mark.any_server

SETTINGS = {
    "TimeZone": ("UTC", "Europe/Berlin"),
    "DateStyle": ("ISO, MDY", "SQL, DMY"),
    "IntervalStyle": ("postgres", "iso_8601"),
    "extra_float_digits": ("1", "-4"),
    "bytea_output": ("hex", "escape"),
    "lc_monetary": ("C", "C.utf8"),
    "quote_all_identifiers": ("off", "on"),
    "standard_conforming_strings": ("on", "off"),
    "search_path": ("public", '"$user", elsewhere, pg_catalog'),
    "xmlbinary": ("base64", "hex"),
    "array_nulls": ("on", "off"),
    "lc_numeric": ("C", "C.utf8"),
}
TYPES = {
    "timestamptz": ("2026-07-01 12:00:00.123456+00", "2026-07-01 12:00:00.123457+00"),
    "timestamp": ("2026-07-01 12:00:00.5", "2026-01-07 12:00:00.5"),
    "date": ("2026-07-01", "2026-01-07"),
    "interval": ("1 year 2 days 03:04:05.6", "-1 year 2 days -03:04:05.6"),
    "float8": ("0.30000000000000004", "0.3"),
    "float4": ("0.1", "0.10000001"),
    "bytea": (r"\x00ff5c", r"\x00ff5d"),
    "tstzrange": ("[2026-07-01 12:00+00,2026-07-02 12:00+00)", "[2026-07-01 12:00+00,)"),
    "datemultirange": ("{[2026-07-01,2026-07-05)}", "{[2026-01-07,2026-07-05)}"),
    "money": ("1234.50", "1234.51"),
    "public.reading": ('("2026-07-01 12:00:00+00",0.30000000000000004)', '("2026-07-01 12:00:00+00",0.3)'),
    "regclass": ('elsewhere."Order"', "elsewhere.select"),
}
"""Of each, two values that look alike in some session."""
LIFE = """
    insert into public.thing select first, first, first from elsewhere.source;
    update public.thing set value = (select second from elsewhere.source);
    delete from public.thing;
    insert into public.thing select second, first, second from elsewhere.source;
    truncate public.thing;
"""
EVENTS = """
    select split_part(action, '.', 2), resource_id, resource_label, org_id, before, after, changed
    from audit.event where table_name = 'public.thing' and id > %s order by id
"""


@contextlib.contextmanager
def session_with(db, settings):
    with db.connect() as session:
        for name, value in settings.items():
            session.execute("select set_config(%s, %s, false)", [name, value])
        yield session


@pytest.fixture(params=[True, False], ids=["by key", "by digest"])
def thing(request, su):
    """A table whose one value is a row's id (or the digest of all of it is), its label and its organization."""

    def create(of_type):
        first, second = TYPES[of_type]
        su.execute("create schema elsewhere")
        su.execute('create table elsewhere."Order" (); create table elsewhere.select ()')
        su.execute("create type public.reading as (at timestamptz, value float8)")
        # (A literal would be read by the session's own date style.)
        su.execute(f"create table elsewhere.source (first {of_type}, second {of_type})")
        su.execute("insert into elsewhere.source values (%s, %s)", [first, second])
        su.execute(f"create table public.thing (value {of_type}, ident {of_type}, place {of_type})")
        if request.param:
            su.execute("alter table public.thing add primary key (ident)")

    return create


def track(su, resource="thing"):
    su.execute("select audit.track('public.thing', %s, 'settings', org => 'place', label => 'ident')", [resource])


def last_id(su):
    return su.execute("select coalesce(max(id), 0) from audit.event").fetchone()[0]


@pytest.mark.parametrize("of_type", TYPES)
def test_a_value_is_recorded_in_one_form_whatever_the_sessions_settings(db, su, thing, of_type):
    thing(of_type)
    track(su)
    usual = None
    for name, values in SETTINGS.items():
        for value in values:
            before = last_id(su)
            with session_with(db, {name: value}) as session:
                for statement in LIFE.strip().split(";")[:-1]:
                    session.execute(statement)
            events = su.execute(EVENTS, [before]).fetchall()
            usual = usual or events
            assert events == usual, (name, value)
    assert [event[0] for event in usual] == ["created", "updated", "deleted", "created", "deleted"]


@pytest.mark.parametrize("of_type", TYPES)
def test_a_baseline_has_the_form_that_triggers_give(db, su, thing, of_type):
    thing(of_type)
    odd = {name: value for name, (_, value) in SETTINGS.items()}
    write = "insert into public.thing select first, first, first from elsewhere.source"
    su.execute(write)
    track(su, "observed")
    with session_with(db, odd) as session:
        session.execute("call audit.record_baseline('public.thing')")
    track(su, "created")
    su.execute("delete from public.thing")
    su.execute(write)
    with session_with(db, odd) as session:
        # It has an event of this row.
        session.execute("call audit.record_baseline('public.thing')")
    observed, _, created = su.execute(EVENTS, [0]).fetchall()
    assert observed[1:] == created[1:]
