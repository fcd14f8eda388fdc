"""Whatever a column holds: it is recorded as it is, and its seal holds, here and in a database that it was restored into."""

import os
import subprocess

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.verifying import problems

TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=12)
NUMBERS = st.sampled_from(
    ["NaN", "Infinity", "-Infinity", "0", "-0.0", "1.10", "1e-300", "12345678901234567890.123456789"]
)


def quoted(texts):
    """An array literal."""
    return texts.map(
        lambda each: "{" + ",".join('"' + t.replace("\\", "\\\\").replace('"', '\\"') + '"' for t in each) + "}"
    )


TYPES = {
    "boolean": st.sampled_from(["true", "false"]),
    "smallint": st.integers(-(2**15), 2**15 - 1).map(str),
    "bigint": st.integers(-(2**63), 2**63 - 1).map(str),
    "numeric": NUMBERS | st.decimals(allow_nan=False, allow_infinity=False).map(str),
    "real": NUMBERS.filter(lambda text: "e-300" not in text),
    "double precision": NUMBERS,
    "text": TEXT,
    "varchar(20)": TEXT,
    "char(15)": TEXT,
    "name": TEXT,
    "bytea": st.binary(max_size=20).map(lambda data: "\\x" + data.hex()),
    "uuid": st.uuids().map(str),
    "date": st.sampled_from(["infinity", "-infinity", "4713-01-01 BC", "2024-02-29", "294275-12-31"]),
    "timestamp": st.sampled_from(["infinity", "-infinity", "2026-11-23 10:00:00.000001", "0001-01-01 BC"]),
    "timestamptz": st.sampled_from(["infinity", "-infinity", "2026-11-23 10:00+05:30", "1900-01-01 00:00:00.1Z"]),
    "time": st.sampled_from(["24:00:00", "00:00:00.000001"]),
    "timetz": st.sampled_from(["10:00+05:30", "24:00:00-15:59"]),
    "interval": st.sampled_from(["1 year -2 days 03:04:05.6", "-1 mon", "0"]),
    "money": st.sampled_from(["1.50", "-3"]),
    "json": st.sampled_from(['{"a":1, "a": 2,"b":[1 ,2]}', "  [1.0,1.00]", '"\\u00e9"', "1e400", '{"":null}']),
    "jsonb": st.sampled_from(['{"a":1, "a": 2}', "[1.0,1.00]", "1e400", '{"x":{"y":[{}]}}']),
    "int4range": st.sampled_from(["empty", "[1,5)", "(,)", "[,3]"]),
    "tstzrange": st.sampled_from(["empty", "[2020-01-01,infinity)", "(,)"]),
    "int8multirange": st.sampled_from(["{}", "{[1,3),[5,9)}"]),
    "integer[]": st.sampled_from(["{}", "{1,NULL,3}", "{{1,2},{3,4}}", "[0:1]={5,6}"]),
    "text[]": quoted(st.lists(TEXT, max_size=3)),
    "bit(5)": st.sampled_from(["10101", "00000"]),
    "varbit": st.sampled_from(["", "1", "1010101010"]),
    "inet": st.sampled_from(["192.0.2.1", "192.0.2.1/24", "2001:db8::/32"]),
    "cidr": st.sampled_from(["10.0.0.0/8", "::/0"]),
    "macaddr": st.just("08:00:2b:01:02:03"),
    "macaddr8": st.just("08:00:2b:01:02:03:04:05"),
    "xml": st.sampled_from(["<a b='1'>&lt;</a>", "x"]),
    "tsvector": st.sampled_from(["'a':1A,2 'b'", ""]),
    "tsquery": st.sampled_from(["'a' & !'b'", ""]),
    "point": st.sampled_from(["(1,2)", "(NaN,Infinity)"]),
    "box": st.just("(1,1),(0,0)"),
    "path": st.just("[(0,0),(1,1)]"),
    "polygon": st.just("((0,0),(1,0),(1,1))"),
    "circle": st.just("<(0,0),1>"),
    "lseg": st.just("[(0,0),(1,1)]"),
    "line": st.just("{1,2,3}"),
    "pg_lsn": st.just("16/B374D848"),
    "xid8": st.just("18446744073709551615"),
    "oid": st.just("4294967295"),
    "regclass": st.just("pg_class"),
    '"char"': st.sampled_from(["a", ""]),
    "public.mood": st.sampled_from(["good", 'it\'s "bad"']),
    "public.moods": quoted(st.lists(st.just("good"), max_size=2)),
    "public.label": TEXT,
    "public.pair": st.sampled_from(['(1,"a,b")', "(,)", '(-1,"")']),
}
COLUMNS = [f"c{number}" for number in range(len(TYPES))]
ROWS = st.tuples(*(st.none() | values for values in TYPES.values()))


@pytest.fixture
def wide(db, su):
    su.execute("create type public.mood as enum ('good', 'it''s \"bad\"'); create domain public.moods as public.mood[]")
    su.execute("create domain public.label as text; create type public.pair as (x int, y text)")
    columns = ", ".join(f"{column} {kind}" for column, kind in zip(COLUMNS, TYPES, strict=True))
    su.execute(f"create table public.thing (id int primary key, {columns})")
    su.execute("select audit.track('public.thing', 'thing')")
    return db


def possible(su, values):
    """The values, without xml where the server was built without it."""
    try:
        su.execute("select '<a/>'::xml")
    except psycopg.errors.FeatureNotSupported:
        return [None if kind == "xml" else value for kind, value in zip(TYPES, values, strict=True)]
    return list(values)


def check(su, image, row):
    """What is recorded is what to_jsonb says of the row, but for char(n), which JSON shows as it is stored."""
    expected = su.execute("select to_jsonb(thing) from public.thing").fetchone()
    assert row == expected[0], image


NO_WAY_BACK = {
    # Arrays forget their lower bounds in JSON; and json's own text is kept by jsonb as a value, without its spaces and doubles.
    "integer[]", "json",
}  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(first=ROWS, second=ROWS)
def test_every_value_of_every_type_is_recorded_and_comes_back(wide, su, first, second):
    first, second = possible(su, first), possible(su, second)
    su.execute("truncate public.thing")
    names, holes = ", ".join(COLUMNS), ", ".join(f"%s::{kind}" for kind in TYPES)
    su.execute(f"insert into public.thing (id, {names}) values (1, {holes})", first)
    inserted = su.execute("select after from audit.event order by id desc limit 1").fetchone()[0]
    check(su, "insert", inserted)
    stored = su.execute("select thing from public.thing").fetchone()
    su.execute(f"update public.thing set ({names}) = row({holes})", second)
    event = su.execute(
        "select audit.row_before(event), after, changed from audit.event where operation = 'UPDATE' order by id desc limit 1"
    ).fetchone()
    if su.execute("select thing from public.thing").fetchone() != stored:
        check(su, "update", event[1])
        assert event[0] == inserted
        assert event[2]
    for column, kind in zip(COLUMNS, TYPES, strict=True):
        if kind not in NO_WAY_BACK:
            again = su.execute(
                f"select row(thing.{column})::record *= row((jsonb_populate_record(null::public.thing, to_jsonb(thing))).{column})::record from public.thing"
            ).fetchone()
            assert again == (True,) or kind in ("json", "real", "double precision", "point"), kind
    su.execute("delete from public.thing")
    while su.execute("select number from audit.seal() where number is not null").fetchone():
        pass
    assert problems(su) == []


def run(server, *command):
    done = subprocess.run(
        [server.binaries.bin_dir / command[0], *command[1:]], capture_output=True, text=True, check=False,
        env={**os.environ, "PGOPTIONS": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=1, phases=[Phase.generate]
)
@given(rows=st.lists(ROWS, min_size=5, max_size=5))
def test_after_dump_and_restore_every_event_and_every_seal_is_the_same(wide, su, bare_db, folder, server, rows):
    names, holes = ", ".join(COLUMNS), ", ".join(f"%s::{kind}" for kind in TYPES)
    for number, values in enumerate(rows):
        su.execute(f"insert into public.thing (id, {names}) values ({number}, {holes})", possible(su, values))
    su.execute("select audit.seal(7), audit.seal(7), audit.seal()")
    su.execute("update public.thing set c0 = false")
    events = su.execute("select event::text from audit.event order by id").fetchall()
    file = folder / "dump"
    run(server, "pg_dump", "--format=custom", f"--file={file}", wide.dsn())
    run(server, "pg_restore", f"--dbname={bare_db.dsn()}", str(file))
    there = bare_db.connect()
    assert there.execute("select event::text from audit.event order by id").fetchall() == events
    there.execute("update public.thing set c0 = true")
    while there.execute("select number from audit.seal() where number is not null").fetchone():
        pass
    assert problems(there) == []
    with pytest.raises(psycopg.Error):
        there.execute("delete from audit.event")
