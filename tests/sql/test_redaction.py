"""No secret is in the log, wherever in a row it stands."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb


def test_a_key_that_is_a_secret_tells_rows_apart_without_being_shown(su, recorded):
    su.execute("create table public.thing (token text primary key, n int)")
    su.execute("select audit.track('public.thing', 'thing')")
    su.execute("insert into public.thing values ('S3CRET', 1), ('S3CRET-2', 1)")
    su.execute("update public.thing set n = 2 where token = 'S3CRET'")
    events = recorded()
    assert events[2][1] in {events[0][1], events[1][1]}
    assert len({events[0][1], events[1][1]}) == 2
    assert "S3CRET" not in str(events)


def test_secrets_inside_json_are_redacted_wherever_the_path_leads(su, recorded):
    su.execute("create table public.thing (id int primary key, config jsonb)")
    su.execute(
        "select audit.track('public.thing', 'thing', secret => '{config.api_key,config.hooks.*.secret,config.deep.*.*}')"
    )
    config = {
        "api_key": "S3CRET", "level": 1, "none": None, "deep": {"a": {"b": "S3CRET", "c": None}},
        "hooks": [{"secret": "S3CRET", "url": "u"}, {"secret": None}, "S3CRET"],
    }  # fmt: skip
    su.execute("insert into public.thing values (1, %s), (2, '\"S3CRET\"'), (3, null), (4, '[]')", [json.dumps(config)])
    rows = [event[3]["config"] for event in recorded()]
    assert rows[0] == {
        "api_key": "[redacted]", "level": 1, "none": None, "deep": {"a": {"b": "[redacted]", "c": None}},
        "hooks": [{"secret": "[redacted]", "url": "u"}, {"secret": None}, "[redacted]"],
    }  # fmt: skip
    assert rows[1:] == ["[redacted]", None, []]


def test_columns_that_look_secret_are_redacted_unless_revealed(su, recorded):
    su.execute(
        'create table public.thing (id int primary key, "passwordHash" text, api_token text, max_tokens int, salt text, hashtag text)'
    )
    su.execute("select audit.track('public.thing', 'thing', reveal => '{salt}')")
    su.execute("insert into public.thing values (1, 'S3CRET', 'S3CRET', 4, 'sea', 'fox')")
    assert recorded()[0][3] == {
        "id": 1, "passwordHash": "[redacted]", "api_token": "[redacted]", "max_tokens": 4, "salt": "sea", "hashtag": "fox",
    }  # fmt: skip


def test_a_secret_column_stays_secret_when_it_is_renamed(su, recorded):
    su.execute("create table public.thing (id int primary key, plain text)")
    su.execute("select audit.track('public.thing', 'thing', secret => '{plain}')")
    su.execute("alter table public.thing rename column plain to open_text")
    su.execute("insert into public.thing values (1, 'S3CRET')")
    assert recorded()[0][3] == {"id": 1, "open_text": "[redacted]"}


def test_what_is_nested_too_deep_to_be_looked_through_is_hidden_and_costs_no_write(su, recorded):
    su.execute("create table public.thing (id int primary key, config jsonb)")
    su.execute("select audit.track('public.thing', 'thing', secret => '{config.**.token,config.**.key}')")
    depth = 3000
    su.execute("insert into public.thing values (1, %s)", ['{"a":' * depth + '{"token": "S3CRET"}' + "}" * depth])
    su.execute("insert into public.thing values (2, %s)", ['{"a":' * 20 + '{"token": "S3CRET"}' + "}" * 20])
    deep, shallow = recorded()
    assert deep[3] == {"id": 1, "config": "[redacted]"}
    assert "[redacted]" in str(shallow[3])
    assert "S3CRET" not in str(shallow[3])


def test_a_path_with_two_stars_finds_a_member_however_deep(su, recorded):
    su.execute("create table public.thing (id int primary key, config jsonb)")
    su.execute("select audit.track('public.thing', 'thing', secret => '{config.**.api_key}')")
    config = {
        "api_key": "S3CRET", "strategy": "latency", "models": ["a", {"api_key": {"v": "S3CRET"}, "url": "u"}],
        "deep": {"er": [[{"api_key": None}], {"api_key": ["S3CRET"]}]}, "text": '{"api_key": "S3CRET"}', "note": "{",
    }  # fmt: skip
    su.execute("insert into public.thing values (1, %s)", [json.dumps(config)])
    assert recorded()[0][3]["config"] == {
        "api_key": "[redacted]", "strategy": "latency", "models": ["a", {"api_key": "[redacted]", "url": "u"}],
        "deep": {"er": [[{"api_key": None}], {"api_key": "[redacted]"}]}, "text": "[redacted]", "note": "[redacted]",
    }  # fmt: skip


SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "a", "größe", "0"])
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abk*"), inner, max_size=3),
    max_leaves=12,
)


def without(value, name):
    """The law in another language: every member of this name hidden, unless it is null; all else as it was."""
    if isinstance(value, list):
        return [without(element, name) for element in value]
    if not isinstance(value, dict):
        return value
    return {
        key: without(member, name) if key != name or member is None else "[redacted]" for key, member in value.items()
    }


@given(document=DOCUMENTS)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_two_stars_hide_every_member_of_the_name_and_nothing_else(su, document):
    assert su.execute("select audit.redact(%s, '{**,k}')", [Jsonb(document)]).fetchone()[0] == without(document, "k")


@pytest.mark.parametrize(
    "name",
    [
        "api_key", "apiKey", "LANGFUSE_SECRET_KEY", "aws_access_key_id", "client_secret", "Authorization", "extra_headers", "callback_vars",
        "auth_token", "redis_password", "database_url", "webhook_url", "vertex_credentials",
    ],
)  # fmt: skip
def test_a_question_mark_is_any_member_that_looks_secret(su, name):
    document = {"list": [{name: "s3cret", "mode": "on"}], name: {"deep": 1}}
    redacted = su.execute("select audit.redact(%s, '{**,?}')", [Jsonb(document)]).fetchone()[0]
    assert redacted == {"list": [{name: "[redacted]", "mode": "on"}], name: "[redacted]"}


@pytest.mark.parametrize(
    "name",
    [
        "mode",
        "max_tokens",
        "input_cost_per_token",
        "key_alias",
        "api_key_alias",
        "token_url",
        "auth_type",
        "tokenizer",
        "monkey",
        "keys_rpm_limit",
    ],
)
def test_what_only_tells_of_a_secret_stays(su, name):
    assert su.execute("select audit.redact(%s, '{**,?}')", [Jsonb({name: "kept"})]).fetchone()[0] == {name: "kept"}


WORDS = [
    "api",
    "key",
    "keys",
    "access",
    "secret",
    "token",
    "password",
    "hash",
    "salt",
    "auth",
    "authorization",
    "bearer",
    "cookie",
    "jwt",
    "headers",
    "callback",
    "vars",
    "connection",
    "string",
    "dsn",
    "signature",
    "certificate",
    "database",
    "webhook",
    "url",
    "otp",
    "cvv",
    "credential",
    "private",
    "value",
    "per",
    "type",
    "name",
    "x",
]
VALUES = (
    "sk-abcdefgh1 pk_abcdefghijklmnop12 ghp_abcdefghijklmnop12 xoxb-abcdefghijklmnop12 glpat-abcdefghijklmnop12 AKIAABCDEFGHIJKLMNOP "
    "eyJhbGciOiJIUzI1.x $2b$12$abcdef $argon2id$v pbkdf2_sha256$1 scrypt$x postgres://ann:pw@host/db "
    + "0123456789abcdef"
    * 4
).split()


@pytest.mark.any_server
def test_the_quick_look_passes_over_nothing_that_the_others_find(su):
    names = [f"{one}{between}{other}" for one in WORDS for other in WORDS for between in ("_", "-")]
    names += [f"{one}{other.title()}" for one in WORDS for other in WORDS]
    overlooked = (
        "select told from unnest(%s::text[]) as told where (audit.looks_secret_within(told) or audit.value_looks_secret(told)) "
        "and not audit.may_hold_secret(jsonb_build_object(told, 1)::text)"
    )
    assert su.execute(overlooked, [names + VALUES]).fetchall() == []
    assert (
        su.execute(
            "select told from unnest(%s::text[]) as told where not audit.value_looks_secret(told)", [VALUES]
        ).fetchall()
        == []
    )
    assert su.execute('select audit.may_hold_secret(\'{"name": "ann", "size": 3}\')').fetchone() == (False,)
