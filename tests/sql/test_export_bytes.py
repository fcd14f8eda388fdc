"""The CSV's cells, byte for byte: quick forms say what the plain ones would, whatever the value."""

import csv
import io
import random
import re

import pytest
from psycopg.types.json import Jsonb

from pgtrail.archive.formats import BLANKS, spreadsheet_safe

SIGNS = [
    "",
    "=",
    "+",
    "-",
    "@",
    "\t",
    "\r",
    "\n",
    " ",
    "'",
    '"',
    "0",
    "9",
    "<",
    "?",
    "A",
    "a",
    "é",
    "\u00ad",
    "＝",
    "𝒳",
    ",",
    "\\",
    "\x01",
    "\u00a0",
    "\u2028",
    "\u200b",
    "\u3000",
    "\ufeff",
    "－",
    "＠",
]
BLANK = "[\x01-\x20\x7f\u0085\u00a0\u00ad\u200b\u2028\u3000\ufeff]*"

PLAIN_DETAILS = """
    (
        select jsonb_object_agg(name, jsonb_build_object('before', before -> name, 'after', after -> name))
        from (
            select unnest(changed)
            union all
            select key from jsonb_each(coalesce(before, after)) where changed is null and value <> 'null'
        ) as told (name)
    )
"""


@pytest.mark.any_server
def test_a_cell_is_marked_where_its_first_sign_would_begin_a_formula(db):
    choose = random.Random(4711)
    cells = [None, *SIGNS, *("".join(choose.choices(SIGNS, k=choose.randint(1, 5))) for _ in range(5000))]
    found = db.connect().execute(
        "select cell, audit_internal.spreadsheet_safe(cell) from unnest(%s::text[]) as cell", [cells]
    )
    begins = re.compile(f"[\t\n\r]|{BLANK}[-=+@＝＋－＠]")
    plain = [cell and (f"'{cell}" if begins.match(cell) else cell) for cell in cells]
    rows = found.fetchall()
    assert [row for row, expected in zip(rows, plain, strict=True) if row[1] != expected] == []
    assert [cell for cell in cells if cell and spreadsheet_safe(cell) != plain[cells.index(cell)]] == []


@pytest.mark.any_server
def test_what_nobody_sees_before_a_formula_is_the_same_to_an_archive(db):
    assert db.connect().execute("select audit_internal.invisible_characters()").fetchone() == (BLANKS,)


HOSTILE = ["=1+1", "\n=1", "\ufeff＝cmd()", "\u00a0@x", 'a"b,c\nd', "", "x" * 40_000, "=" * 40_000, "null", "5", "é🦊"]


@pytest.mark.any_server
def test_each_field_is_a_row_and_no_cell_of_it_a_formula(db):
    su = db.connect()
    rows = [
        ("UPDATE", {"a": 1, "b": -5, "c": {"x": {"y": "=1"}, "z": 1}}, {"a": 2, "b": -6, "c": {"x": {"y": "@2"}, "z": 1}}, ["a", "b", "c"]),
        *(("UPDATE", {name[:60]: name}, {name[:60]: [name]}, [name[:60]]) for name in HOSTILE),
        ("INSERT", None, {"a": None, "b": True}, None),
        ("TRUNCATE", None, None, None),
    ]  # fmt: skip
    for operation, before, after, changed in rows:
        su.execute(
            "insert into audit.event (occurred_at, category, action, operation, resource_type, resource_id, actor_type, actor_id, "
            "before, after, changed) values ('2020-01-05 12:00:00.123456+00', 'teams', 'team.updated', %s, 'team', '-1', 'database', "
            "'postgres', %s, %s, %s)",
            [operation, before and Jsonb(before), after and Jsonb(after), changed],
        )
    with su.cursor().copy(
        "copy (select * from audit.export_fields where date_utc = '2020-01-05') to stdout (format csv, header)"
    ) as pieces:
        found = list(csv.DictReader(io.StringIO(b"".join(pieces).decode(), newline="")))
    told = [(row["field"], row["before"], row["after"]) for row in found]
    assert told[:4] == [("a", "1", "2"), ("b", "-5", "-6"), ("c.x.y", "'=1", "'@2"), ("'=1+1", "'=1+1", '["=1+1"]')]
    assert told[-2:] == [("b", "", "true"), ("", "", "")]
    assert len(told) == 4 + len(HOSTILE) - 1 + 2
    assert {row["timestamp_utc"] for row in found} == {"2020-01-05T12:00:00.123456"}
    assert {row["actor"] for row in found} == {"postgres"}
    assert {row["resource"] for row in found} == {"'-1"}
    cells = [cell for row in found for name, cell in row.items() if name not in ("id", "before", "after")]
    assert [cell for cell in cells if cell.lstrip(BLANKS)[:1] in set("=+-@＝＋－＠") - {""}] == []
    assert max(map(len, cells)) < 32_767


@pytest.mark.any_server
@pytest.mark.parametrize("zone", ["UTC", "America/St_Johns", "Asia/Kathmandu"])
def test_a_time_is_of_utc_to_the_microsecond(db, zone):
    connection = db.connect()
    connection.execute("select set_config('timezone', %s, false)", [zone])
    different = connection.execute(
        """
        select moment
        from (
            select timestamptz '1900-01-01 00:00:00.000001+00' + random() * interval '300 years' from generate_series(1, 20000)
            union all
            values (timestamptz '2026-03-29 01:00:00+00'), ('2024-02-29 23:59:59.999999+00'), ('2026-01-01 00:00:00+14'), ('infinity'), (null),
                ('0044-03-15 12:00:00+00 BC'), ('12026-01-01 00:00:00+00')
        ) as moments (moment)
        where audit_internal.rfc3339(moment) is distinct from to_char(moment at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        """
    ).fetchall()
    assert different == []


def value(choose, depth=0):
    kinds = [None, True, 0, -1.5, 1e20, "", "x", '"', "\\u0041", "é𝒳\n", "null"]
    if depth < 2 and choose.random() < 0.3:
        return {name: value(choose, depth + 1) for name in choose.sample(SIGNS, 2)}
    return [value(choose, 2)] if choose.random() < 0.1 else choose.choice(kinds)


@pytest.mark.any_server
def test_details_are_those_of_the_fields_that_changed_or_were_there(db):
    choose = random.Random(42)
    names = ["rpm_limit", "name", "", "a b", 'q"', "é", "x" * 70, "after", "before"]
    connection = db.connect()
    connection.execute("create temporary table sides (before jsonb, after jsonb, changed text[])")
    with connection.cursor() as cursor:
        rows = []
        for _ in range(3000):
            sides = [
                Jsonb({name: value(choose) for name in choose.sample(names, choose.randint(0, 6))}) for _ in range(2)
            ]
            kind = choose.choice(["one", "many", "came", "went", "both", "neither"])
            before = None if kind in ("came", "neither") else sides[0]
            after = None if kind in ("went", "neither") else sides[1]
            changed = {"one": choose.sample(names, 1), "many": choose.sample(names, choose.choice([0, 2, 5]))}.get(kind)
            rows.append((before, after, changed))
        cursor.executemany("insert into sides values (%s, %s, %s)", rows)
    different = connection.execute(
        f"""
        select before, after, changed
        from sides
        where audit_internal.details(before, after, changed)::text is distinct from {PLAIN_DETAILS}::text
            or (select told from audit_internal.aggregate_details(before, after, changed) as told)::text is distinct from {PLAIN_DETAILS}::text
            or case when cardinality(changed) = 1 then audit_internal.field_details(changed[1], before, after)::text is distinct from {PLAIN_DETAILS}::text end
        """
    ).fetchall()
    assert different == []
