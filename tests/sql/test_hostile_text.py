"""Whatever stands in a text that a user controls: no write is lost, nothing of it runs, and it is read as it was written."""

import csv
import io
import itertools
import json
import random
import re
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from tests.verifying import problems

COUNT = 1000
FRAGMENTS = (
    *("'", "''", '"', '""', "\\", "$$", "$_$", "--", "/*", "*/", ";", "%", "%s", "%1$s", "%I", "{leaf}", "{", "}", "\n", "\r", "\t"),
    *("'; select public.run() --", '"; select public.run() --', "$$; select public.run(); --", "'||public.run()||'"),
    *("\\'; select public.run(); --", "*/ select public.run() /*", "') from public.run() --", "\"), public.run(), (\""),
    *("end $$; drop table public.canary; --", "${public.run()}", "{{7*7}}", "\nend; perform public.run(); begin\n"),
    *("=cmd|'/c calc'!A0", "+1+1", "-1", "@SUM(1)", "\t=1", "\r=1", "<script>alert(1)</script>", "&lt;", "</td>", "a\x1b[2J\x1b]0;x\x07"),
    *("\x01", "\x7f", "\x85", "\u200b", "\u202e", "\u2028", "\ufeff", "\ufffe", "\U0010ffff", "é", "e\u0301", "null", "NULL", "true"),
    *("[redacted]", ".", "..", "*", "**", "_", "\\1", "\x00".replace("\x00", "\\u0000"), "\\x00", "org_id", "old.name", "new.*", ""),
)  # fmt: skip


def texts(seed, count=COUNT, limit=200):
    """Random bytes that a text of Postgres can hold, fragments of SQL, markup and formulas, and mixtures of them."""
    chance = random.Random(seed)

    def noise():
        return "".join(
            chr(chance.choice((chance.randrange(1, 256), chance.randrange(1, 0xD800))))
            for _ in range(chance.randrange(20))
        )

    for number in range(count):
        parts = [chance.choice((noise, lambda: chance.choice(FRAGMENTS)))() for _ in range(chance.randrange(1, 6))]
        # Nothing compresses it: longer than any index entry may be.
        yield "".join(parts)[:limit] if number % 50 else "".join(chr(chance.randrange(1, 0xD800)) for _ in range(9000))


@pytest.fixture
def canary(db, su):
    """What must not run and must not go."""
    su.execute("create table public.canary (ran text); insert into public.canary values ('no')")
    su.execute(
        "create function public.run() returns text language plpgsql as $$ begin insert into public.canary values ('yes'); return ''; end $$"
    )
    yield
    assert db.connect().execute("select array_agg(ran) from public.canary").fetchone() == (["no"],)


@pytest.fixture
def app(db, su):
    """The application's own connection, which may do nothing but write to its table."""
    su.execute("create table public.thing (number int primary key, org text, name text, note jsonb)")
    su.execute("grant select, insert, update, delete, truncate on public.thing to app")
    su.execute("select audit.track('public.thing', 'thing', org => 'org', label => 'name')")
    su.execute("grant usage on schema public to app")
    return db.connect("app")


def test_in_a_row_and_in_an_actor(su, app, canary):
    written = list(texts("row"))
    actors = list(texts("actor"))
    chance = random.Random("settings")
    with app.transaction():
        for number, (text, actor) in enumerate(zip(written, actors, strict=True)):
            if number % 2:
                app.execute(
                    "select audit.set_actor(%s, %s, %s, null, %s, %s, %s)",
                    [actor, text, actor, text, actor, text],
                )
            else:
                setting = chance.choice(("pgtrail.actor", "request.jwt.claims"))
                claimed = chance.choice(
                    (actor, json.dumps(actor), json.dumps({"id": actor, "sub": actor, "ip": text, "type": [text]}))
                )
                app.execute("select set_config(%s, %s, true)", [setting, claimed])
            app.execute(
                "insert into public.thing values (%s, %s, %s, %s)",
                [number, actor, text, psycopg.types.json.Jsonb({text: actor})],
            )
            if number % 10 == 0:
                app.execute("update public.thing set name = %s, org = %s where number = %s", [actor, text, number])
    rows = su.execute(
        "select resource_id::int, resource_label, org_id, after, actor_id, actor_label, user_agent, reason from audit.event "
        "where category = 'thing' and operation = 'INSERT' order by id"
    ).fetchall()
    assert len(rows) == COUNT
    for number, (resource_id, label, org, after, actor_id, actor_label, agent, reason) in enumerate(rows):
        text, actor = written[number], actors[number]
        assert (resource_id, label) == (number, text[:200])
        assert org == actor if len(actor.encode()) <= 1000 else org.startswith(actor[:64] + "… sha256:")
        assert after == {"number": number, "org": actor, "name": text, "note": {text: actor}}
        if number % 2:
            assert (actor_id, actor_label, agent, reason) == (actor, text, text, text)
    app.execute("truncate public.thing")
    su.execute("select audit.seal()")
    assert problems(su) == []
    check_what_is_read(su)


def check_what_is_read(su):
    """The CSV parses back to as many cells as there are, none a formula; each format is JSON."""
    with su.cursor().copy("copy (select * from audit.export) to stdout (format csv, header)") as copied:
        lines = b"".join(copied).decode()
    csv.field_size_limit(1 << 24)
    header, *cells = csv.reader(io.StringIO(lines, newline=""))
    (events,) = su.execute("select count(*) from audit.event").fetchone()
    assert len(cells) == events
    assert {len(row) for row in cells} == {len(header)}
    assert not [cell for row in cells for cell in row if cell.startswith(("=", "+", "@", "\t", "\r", "-"))]
    for (name,) in su.execute("select name from audit.format").fetchall():
        for (document,) in su.execute(
            sql.SQL("select audit_internal.{}(event) from audit.event where category = 'thing' and id % 10 = 0").format(
                sql.Identifier(f"render_{name}")
            )
        ):
            for line in document.split("\n"):
                assert isinstance(json.loads(line), dict), name


def test_in_the_names_of_tables_columns_resources_and_rules(db, su, canary):
    def identifiers(seed, count):
        """Names: at most 63 bytes, no two alike."""
        made = dict.fromkeys(text.encode()[:60].decode(errors="ignore") for text in texts(seed, 3 * count))
        return [name for name in made if name][:count]

    schemas, tables, leaves = identifiers("schemas", 20), identifiers("tables", 20), identifiers("leaves", 20)
    columns, words = identifiers("columns", COUNT), identifiers("words", 20)
    for number in range(20):
        own = columns[50 * number : 50 * number + 50]
        org, label, ignored, secret = own[:4]
        name = sql.Identifier(schemas[number], tables[number])
        su.execute(sql.SQL("create schema {}").format(sql.Identifier(schemas[number])))
        fields = sql.SQL(", ").join(sql.SQL("{} text").format(sql.Identifier(column)) for column in own)
        leaf = sql.Identifier(schemas[number], leaves[number])
        if number % 2:
            su.execute(sql.SQL("create table {} ({}, primary key ({}))").format(name, fields, sql.Identifier(own[5])))
        else:
            su.execute(
                sql.SQL("create table {} ({}, primary key ({key})) partition by hash ({key})").format(
                    name, fields, key=sql.Identifier(own[5])
                )
            )
            su.execute(
                sql.SQL("create table {} partition of {} for values with (modulus 1, remainder 0)").format(leaf, name)
            )
        su.execute(
            "select audit.track(to_regclass(%s), %s, %s, %s, %s, %s, %s)",
            [name.as_string(su), words[number], "teams", org, label, [ignored], [secret]],
        )
        with pytest.raises(psycopg.Error, match="is no action") as refused:
            su.execute("select audit.rule(to_regclass(%s), %s, 'teams', 'INSERT')", [name.as_string(su), words[number]])
        assert refused.value.sqlstate == "PT009"
        su.execute(sql.SQL("insert into {} values ({})").format(name, sql.SQL(", ").join(map(sql.Literal, own))))
        su.execute(sql.SQL("update {} set {} = 'other'").format(name, sql.Identifier(own[7])))
        su.execute(
            sql.SQL("alter table {} rename column {} to {}").format(
                name, sql.Identifier(own[6]), sql.Identifier(own[6][:20] + "'\"")
            )
        )
        su.execute(sql.SQL("truncate {}").format(name))
        rows = su.execute(
            "select operation, action, resource_type, org_id, resource_label, resource_id, before, after, changed "
            "from audit.event where table_name = %s order by id",
            [su.execute("select audit_internal.qualified_name(to_regclass(%s))", [name.as_string(su)]).fetchone()[0]],
        ).fetchall()
        assert [row[0] for row in rows] == ["INSERT", "UPDATE", "TRUNCATE"]
        _, action, resource, org_id, resource_label, resource_id, _, after, _ = rows[0]
        assert (action, resource) == (f"{words[number]}.created", words[number])
        assert (org_id, resource_label, resource_id) == (org, label, own[5])
        recorded = {column: column for column in own if column != ignored} | {secret: "[redacted]"}
        assert {key: value for key, value in after.items() if value != "[redacted]"} == {
            key: value for key, value in recorded.items() if after[key] != "[redacted]"
        }
        assert after[secret] == "[redacted]"
        assert rows[1][8] == [own[7]]
    assert su.execute("select problem, subject from audit.doctor()").fetchall() == []
    su.execute("select audit.recompile()")


def refusal(su, statement, arguments):
    """Runs it: the SQLSTATE with which it was refused, or none."""
    try:
        su.execute(statement, arguments)
    except psycopg.Error as refused:
        return refused.sqlstate
    return None


def test_in_a_destination_and_in_filters(su, canary):
    for number, text in enumerate(texts("destination")):
        calls = [
            (
                "select audit.add_destination(%s, 'https://siem.example', options => jsonb_build_object('actions', %s::text[], 'orgs', %s::text[]))",
                [f"d{number}", [text], [text]],
            ),
            ("select audit.add_destination(%s, %s)", [text, f"https://siem.example/{text}"]),
            (
                "select audit.add_destination(%s, 'https://siem.example', 'splunk_hec', jsonb_build_object('token', %s::text))",
                [f"t{number}", text],
            ),
            ("select audit.place_hold(%s, %s, %s)", [text, text, text]),
            ("select audit.grant_org(%s, %s)", [text, text]),
            ("select audit.pause_destination(%s, true)", [text]),
            ("select audit.set_retention('30 days', %s)", [text]),
            ("select audit.erase_actor(%s, %s)", [text, text]),
        ]
        for statement, arguments in calls:
            # Taken, or refused by a rule of ours that says what to do.
            state = refusal(su, statement, arguments)
            assert state is None or state.startswith("PT"), (state, statement, text)
        matched = su.execute(
            "select audit.matches_filter(event, jsonb_populate_record(null::audit.filter, (select jsonb_object_agg(name, %(t)s::text[]) from unnest('{categories,actions,orgs,actors,resources,nodes}'::text[]) as name))) from audit.event limit 1",
            {"t": [text]},
        ).fetchone()
        assert matched in ((True,), (False,)), text
    # As itself, a text matches itself and nothing else.
    patterns = [text for text in texts("patterns") if "*" not in text and "\x01" not in text and len(text) <= 200]
    pairs = list(itertools.pairwise(patterns))
    found = su.execute(
        "select own ~ audit_internal.glob(array[own]), other ~ audit_internal.glob(array[own]), own = other from unnest(%s::text[], %s::text[]) as pair (own, other)",
        [[own for own, _ in pairs], [other for _, other in pairs]],
    ).fetchall()
    assert all(matches_itself and matches_other == same for matches_itself, matches_other, same in found)


def test_no_generated_text_is_a_template():
    """What format() has made has names in it, which may look like "%1$s": it is concatenated, never formatted again."""
    templates = re.compile(r"(?<![\w%])format\(\s*(.{12})", re.DOTALL)
    found = [
        f"{file.name}: {match[1]}"
        for file in sorted((Path(__file__).parents[2] / "sql").rglob("*.sql"))
        for match in templates.finditer(re.sub(r"--[^\n]*", "", file.read_text()))
        # A literal, or one of several.
        if not re.match(r"E?'|\$\w*\$|case\b", match[1])
    ]
    assert found == []
