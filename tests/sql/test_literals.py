"""What runs in a writer's session is parsed there: a backslash in '…' is whatever the session has it be."""

import pytest
from psycopg.types.json import Jsonb
from tests.sql.literals import plain_literals

PINNED = {"unchanged_check_sql", "reads_other_rows", "parse_condition", "condition_syntax_error"}
"""Run while a table is compiled, or a rule is checked."""
ODD = r"a\'b\\c"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        (r"select 'a\b'", [r"'a\b'"]),
        (r"select E'a\\b', 'c'", ["'c'"]),
        ("select 'a'\n    'b\\c'", ["'a'\n    'b\\c'"]),
        ("select E'a'\n    'b\\\\c'", []),
        (r"""select "it's", 'a\b' -- it's '\d'""", [r"'a\b'"]),
        (r"select $re$ '\d' $re$, /* '\d' */ E'\'', 'it''s'", ["'it''s'"]),
    ],
)
@pytest.mark.any_server
def test_literals_are_found(source, found):
    assert [token.group() for token in plain_literals(source)] == found


def with_backslashes(su, which):
    return {
        (name, token.group())
        for name, source in su.execute(
            f"select proname, prosrc from pg_proc where pronamespace = any ('{{audit,audit_internal}}'::regnamespace[]) and proname {which} '^(capture|read|find) '"
        )
        for token in plain_literals(source)
        if "\\" in token.group()
    }


def test_no_function_has_a_literal_that_means_something_else_in_some_sessions(su):
    assert {name for name, _ in with_backslashes(su, "!~")} <= PINNED


@pytest.fixture
def odd(su):
    """A tracked table all of whose names and settings have backslashes."""
    su.execute(
        f'create schema "s{ODD}"; create table "s{ODD}"."t{ODD}" (id int primary key, "team{ODD}" int, "label{ODD}" text, "json{ODD}" jsonb)'
    )
    su.execute(f'create table "s{ODD}"."team{ODD}" ("id{ODD}" int primary key, "org{ODD}" text)')
    su.execute(f'insert into "s{ODD}"."team{ODD}" values (1, %s)', [ODD])
    su.execute(
        "select audit.track(%s, %s, org => %s, label => %s, secret => %s)",
        [
            f'"s{ODD}"."t{ODD}"',
            f"resource{ODD}",
            f'"team{ODD}" -> "s{ODD}"."team{ODD}"."org{ODD}"',
            f"label{ODD}",
            [f"json{ODD}.k{ODD}"],
        ],
    )
    return f'"s{ODD}"."t{ODD}"'


def test_no_compiled_function_has_one(su, odd):
    assert with_backslashes(su, "~") == set()


def test_a_condition_with_a_backslash_means_the_same_in_every_session(db, su):
    """Postgres writes it back as a plain literal, so the function that it is compiled into pins how that is read."""
    su.execute("create table public.thing (id int primary key, name text)")
    su.execute("select audit.track('public.thing')")
    su.execute("select audit.rule('public.thing', 'thing.numbered', 'thing', 'UPDATE', %s)", [r"new.name ~ '^\d+$'"])
    su.execute(
        "select audit.rule('public.thing', 'thing.odd', 'thing', 'UPDATE', %s)", [r"new.name in ('\', ' or true --')"]
    )
    su.execute("grant select, update on public.thing to app; insert into public.thing values (1, 'a')")
    app = db.connect("app")
    app.execute("set standard_conforming_strings = off; set escape_string_warning = off")
    for name in ("12", "d", "\\"):
        app.execute("update public.thing set name = %s", [name])
    assert su.execute("select action from audit.event where operation = 'UPDATE' order by id").fetchall() == [
        ("thing.numbered",), ("thing.updated",), ("thing.odd",),
    ]  # fmt: skip


@pytest.mark.parametrize("setting", ["on", "off"])
def test_a_writers_session_has_no_say_in_what_is_recorded(db, su, odd, setting):
    su.execute(f'grant usage on schema "s{ODD}" to app; grant insert, update, truncate on {odd} to app')
    app = db.connect("app")
    app.execute(f"set escape_string_warning = on; set standard_conforming_strings = {setting}")
    heard = []
    app.add_notice_handler(lambda notice: heard.append(notice.message_primary))
    app.execute(f"insert into {odd} values (1, 1, %s, %s)", ["back\\slash", Jsonb({"k\\'": 1, f"k{ODD}": ["S3CRET"]})])
    app.execute(f"truncate {odd}")
    assert heard == []
    rows = su.execute(
        "select resource_type, org_id, resource_label, coalesce(after, before) from audit.event where category <> 'audit' order by id"
    ).fetchall()
    assert len(rows) == 2
    for kind, org, label, values in rows:
        assert (kind, org, label) == (f"resource{ODD}", ODD, "back\\slash")
        assert values[f"json{ODD}"] == {"k\\'": 1, f"k{ODD}": "[redacted]"}


SECRETS = {
    "nested": {"x": "S3CRET"},
    "a": {"clientSecret": "S3CRET", "list": [{"db_password": "S3CRET", 'quo"ted\\': "S3CRET"}]},
    "json": '{"password": "S3CRET", "u": "\\\\ \\""}',
    "open": 'a "quoted" \\ value',
}


@pytest.mark.parametrize("setting", ["on", "off"])
def test_secrets_in_json_are_redacted_in_every_session(db, su, setting):
    su.execute("create table public.thing (id int primary key, settings jsonb)")
    su.execute(
        "select audit.track('public.thing', secret => %s)",
        [["settings.nested", "settings.**.?", 'settings.a.list.quo"ted\\']],
    )
    su.execute("grant insert on public.thing to app")
    app = db.connect("app")
    app.execute(f"set standard_conforming_strings = {setting}")
    app.execute("insert into public.thing values (1, %s)", [Jsonb(SECRETS)])
    (settings,) = su.execute(
        "select after -> 'settings' from audit.event where table_name = 'public.thing' and operation = 'INSERT'"
    ).fetchone()
    assert "S3CRET" not in str(settings)
    assert settings["open"] == SECRETS["open"]


@pytest.mark.parametrize("setting", ["on", "off"])
def test_names_are_judged_alike_in_every_session(db, su, setting):
    su.execute("create table public.thing (id int primary key)")
    su.execute("select audit.track('public.thing')")
    su.execute(f"set standard_conforming_strings = {setting}")
    su.execute(
        'alter table public.thing add column "clientSecret" text, add column password_2 text, add column max_tokens int'
    )
    assert su.execute("select secret from audit.tracked_table where name = 'public.thing'").fetchone() == (
        ["clientSecret", "password_2"],
    )
