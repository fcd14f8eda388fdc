"""No secret is in the log, wherever in a row it stands."""

import json
import re
from pathlib import Path

import psycopg
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


@pytest.mark.parametrize(
    "key",
    [
        "primary key (tenant, token)",
        "unique (token)",
        "unique (tenant, token)",
        "primary key (config)",
        "unique (tenant, config)",
    ],
)
def test_whatever_key_a_secret_is_part_of_it_is_not_shown(su, recorded, key):
    su.execute(
        f"create table public.thing (tenant text not null, token text not null, config jsonb not null, n int, {key})"
    )
    su.execute("select audit.track('public.thing', 'thing', secret => '{config.api_key}')")
    su.execute("""insert into public.thing values ('a', 'S3CRET', '{"api_key": "S3CRET"}', 1)""")
    su.execute("""insert into public.thing values ('b', 'S3CRET-2', '{"api_key": "S3CRET-2"}', 1)""")
    su.execute("update public.thing set n = 2 where tenant = 'a'")
    events = recorded()
    assert len({events[0][1], events[1][1]}) == 2
    assert events[2][1] == events[0][1]
    assert "S3CRET" not in str(su.execute("select array_agg(event::text) from audit.event as event").fetchone())


def test_a_column_that_is_given_a_secrets_name_is_one_from_then_on(su, recorded):
    said = []
    su.add_notice_handler(lambda notice: said.append(notice.message_primary))
    su.execute("create table public.thing (id int primary key, note text, hits int, owner text)")
    su.execute("select audit.track('public.thing', 'thing', label => 'note', org => 'owner')")
    su.execute("insert into public.thing values (1, 'ann', 0, 'acme')")
    said.clear()
    su.execute("alter table public.thing rename column note to db_pass")
    assert [text for text in said if "db_pass" in text and "redacted" in text]
    assert [text for text in said if 'the label "db_pass"' in text]
    su.execute("alter table public.thing rename column owner to api_token")
    assert [text for text in said if 'has lost its organization "owner"' in text]
    su.execute("insert into public.thing values (2, 'S3CRET', 0, 'S3CRET')")
    assert recorded()[1][3] == {"id": 2, "db_pass": "[redacted]", "hits": 0, "api_token": "[redacted]"}
    assert "S3CRET" not in str(su.execute("select array_agg(event::text) from audit.event as event").fetchone())
    # And so it is with another secret's name, or again one of none.
    su.execute("alter table public.thing rename column db_pass to remark")
    su.execute("alter table public.thing rename column hits to pin")
    su.execute("insert into public.thing values (3, 'S3CRET', 4711, null)")
    assert recorded()[2][3] == {"id": 3, "remark": "[redacted]", "pin": "[redacted]", "api_token": None}


def test_an_organization_of_another_table_can_not_become_secret(su):
    su.execute("create table public.team (id int primary key, owner text)")
    su.execute("create table public.thing (id int primary key, team_id int references public.team)")
    su.execute("select audit.track('public.thing', org => 'team_id -> public.team.owner')")
    with pytest.raises(psycopg.Error, match="is the organization or the label of") as raised:
        su.execute("select audit.track('public.team', secret => '{owner}')")
    assert raised.value.sqlstate == "PT073"
    assert raised.value.diag.message_hint


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


TEXTS = [
    "",
    "a",
    ": ",
    ", ",
    "}, {",
    '"',
    'a"b',
    "\\",
    '\\"',
    "größe",
    "\n",
    "null",
    "[redacted]",
    "{",
    ' {"',
    "\t[",
    "x {",
    '{"k": 1}',
    '"k": ',
]
NAMES = ["k", "api_key", "max_tokens", "*", "**", "?", "", ": ", ", ", 'a"b', "\\", "größe", "to\nken", "null", "{"]
TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-2, 2) | st.sampled_from(TEXTS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=20,
)
PATHS = st.lists(st.sampled_from(["*", "**", "**", "?", "k", "api_key", 'a"b', "\\", ", ", "null"]), max_size=4)


def redacted(value, paths):
    """The law in another language: what is left of a value for which any of the paths are still to be gone."""
    paths = {path if set(path) - {"**"} else () for path in paths}
    if value is None or not paths:
        return value
    if () in paths:
        return "[redacted]"
    if isinstance(value, str):
        may_be_json = re.match(r'\s*[\[{"]', value)
        return "[redacted]" if may_be_json or any(path[0] != "**" for path in paths) else value
    if isinstance(value, list):
        return [redacted(element, {after for path in paths for after in past_element(path)}) for element in value]
    if isinstance(value, dict):
        return {
            name: redacted(member, {after for path in paths for after in past(path, name)})
            for name, member in value.items()
        }
    return value


def past_element(path):
    if path[0] == "*":
        yield path[1:]
    else:
        yield path
        following = path[1:]
        while path[0] == "**" and following and following[0] == "**":
            following = following[1:]
        if path[0] == "**" and following and following[0] == "*":
            yield following[1:]


def past(path, name):
    while path and path[0] == "**":
        yield path
        path = path[1:]
    if path and (path[0] == "*" or (name == "api_key" if path[0] == "?" else path[0] == name)):
        yield path[1:]


@given(document=TREES, path=PATHS)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_at_a_path_is_hidden_and_nothing_else(su, document, path):
    found = su.execute("select audit.redact(%s, %s)", [Jsonb(document), path]).fetchone()[0]
    assert found == redacted(json.loads(json.dumps(document)), {tuple(path)})


LARGE = {
    "small objects": lambda size: [{"a": n} for n in range(size // 10)],
    "suspected names": lambda size: [{"max_tokens": n, "name": "x"} for n in range(size // 32)],
    "secrets": lambda size: [{"id": n, "api_key": "x"} for n in range(size // 30)],
    "secret objects": lambda size: [{"api_key": {}, "b": 1} for n in range(size // 24)],
    "a secret array": lambda size: {"api_key": [[] for n in range(size // 4)]},
    "names that are data": lambda size: {f"key_{n}": n for n in range(size // 16)},
    "strings that begin as JSON does": lambda size: ["{" for n in range(size // 5)],
    "numbers": lambda size: {"vector": [n / 8 for n in range(size // 8)], "api_key": "x"},
    "quotation marks": lambda size: ['"\\' * (size // 4)],
    "names that are alike": lambda size: {"a" * n: {"api_key": n} for n in range(int(size**0.5))},
    "levels": lambda size: nested(min(size // 8, 900), {"token": "x" * size}),
}


def nested(levels, value):
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize("path", ["{**,?}", "{*,*,api_key}", "{**,api_key,**,b}", "{*}"])
@pytest.mark.parametrize("kind", LARGE)
def test_redacting_takes_time_in_proportion(su, kind, path):
    small, large = (seconds(su, "audit.redacted(%s, %s)", LARGE[kind](size), path) for size in (100_000, 400_000))
    # Four times the text. (Ten times would be seen: quadratic, it takes sixteen times.)
    assert large < 10 * small + 0.02
    assert large < 5


def spent(connection):
    """Seconds of a processor that the server has spent on a connection: what else the machine does has no part in it."""
    return int(Path(f"/proc/{connection.info.backend_pid}/schedstat").read_text().split()[0]) / 1e9


def seconds(connection, call, document, *arguments):
    """The least of three."""
    connection.execute("create temporary table if not exists document (value jsonb)")
    connection.execute("truncate document")
    connection.execute("insert into document values (%s)", [Jsonb(document)])
    taken = []
    for _ in range(3):
        began = spent(connection)
        connection.execute(f"select {call.replace('%s', 'value', 1)} is null from document", arguments)
        taken.append(spent(connection) - began)
    return min(taken)


@pytest.mark.parametrize("levels", [1, 100, 999, 1000, 1001, 3000])
def test_nesting_is_looked_through_or_hidden_as_a_whole(su, levels):
    # (As text: Python's own limit is a thousand.)
    document = '{"a": ' * levels + '{"name": "ann", "token": "S3CRET"}' + "}" * levels
    for path in ("{**,?}", "{**,token}", "{**,a,**,token}"):
        began = spent(su)
        found = su.execute("select audit.redacted(%s, %s)::text", [document, path]).fetchone()[0]
        assert spent(su) - began < 1
        if levels < 1000:
            assert found == document.replace("S3CRET", "[redacted]")
        else:
            assert found == '"[redacted]"'


def test_a_write_of_a_large_value_is_not_held_up(su, recorded):
    su.execute("create table public.thing (id int primary key, config jsonb)")
    su.execute("select audit.track('public.thing', 'thing', secret => '{config.**.?}')")
    document = [{"a": n, "b": {"c": "x"}, "max_tokens": 5} for n in range(30_000)]
    began = spent(su)
    su.execute("insert into public.thing values (1, %s)", [Jsonb(document)])
    assert spent(su) - began < 5
    assert recorded()[0][3]["config"] == document


SECRETS = """
    password passwords passwordHash userPassword DBPass db_pass dbpassword basic_auth_pass smtp_pass pass passcode pwd secret secrets clientSecret
    token tokens accessToken access_tokens refresh_tokens user_tokens device_tokens id_token JWTToken token1 api_token oauth_tokens hash hashes salt
    private_key privateKeys private_keys credentials otp cvv api_key api_keys apikey APIKey APIKeys api_key_2 api_key_old encrypted_api_key access_key
    account_key signing_key stripe_api_keys service_role_key app_key aws_secret_access_key key_pem jwt totp mfa_seed recovery_codes backup_codes
    authorization bearer cookie cookies dsn connection_string conn_str ssn pin user_pin
    webhook_url slackWebhookUrl slack_webhook discord_webhooks database_url database_urls redisURL redis_url mongo_uri amqp_url connection_url postgres_uri broker_url signed_url
"""
PLAIN = """
    passport_no passenger compass compassion bypass passed passing pass_count boarding_pass passwordless_enabled key keyboard monkey key_prefix key_alias primary_key foreign_key
    public_key sort_key object_key hashtag secretary author authors tokenizer token_limit token_count token_ids max_tokens max_new_tokens max_completion_tokens tokens_used
    tokens_remaining tokens_per_minute n_tokens num_tokens prompt_tokens prompt_tokens_details completion_tokens total_tokens total_prompt_tokens input_tokens output_tokens
    cached_tokens cache_read_input_tokens reasoning_tokens budget_tokens daily_tokens eos_token input_cost_per_token price_per_1k_tokens
    name url logo_url callback_url homepage_url has_webhook spinning turkey
"""


WITH_SECRETS = {
    "small objects": lambda size: [{"id": n, "token": "x"} for n in range(size // 28)],
    "secrets by their form": lambda size: [f"sk-{n:012}" for n in range(size // 19)],
    "JSON in strings": lambda size: ['{"token": 1}'] * (size // 20),
    "JSON in strings in strings": lambda size: nested_text(8, {"token": "x", "rest": "y" * (size // 500)}),
    "strings that begin as JSON does": lambda size: ["{token"] * (size // 10),
    "levels": lambda size: nested(min(size // 8, 900), {"token": "x", "rest": "y" * size}),
}


def nested_text(levels, value):
    for _ in range(levels):
        value = {"a": json.dumps(value)}
    return value


@pytest.mark.parametrize("kind", WITH_SECRETS)
def test_an_imported_row_is_rid_of_its_secrets_in_proportion(su, kind):
    small, large = (seconds(su, "audit.without_secrets(%s)", WITH_SECRETS[kind](size)) for size in (50_000, 200_000))
    assert large < 10 * small + 0.02
    assert large < 5
    # (Of many strings that may be JSON, a thousand are looked into; none of the rest is shown.)
    assert su.execute("select audit.without_secrets(value) = value from document").fetchone() == (False,)


@pytest.mark.any_server
def test_names_are_taken_for_those_of_secrets_by_their_words(su):
    judged = "select name from unnest(%s::text[]) as name where audit.looks_secret(name) = %s"
    assert su.execute(judged, [SECRETS.split(), False]).fetchall() == []
    assert su.execute(judged, [PLAIN.split(), True]).fetchall() == []
    # In JSON too, and the quick look passes over none of them.
    within = "select name from unnest(%s::text[]) as name where not audit.looks_secret_within(name) or not audit.may_name_secret(name)"
    assert su.execute(within, [SECRETS.split()]).fetchall() == []


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
        "primary_key",
        "prompt_tokens",
        "total_tokens",
        "tokens_used",
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
    "tokens",
    "passwords",
    "pass",
    "redis",
    "uri",
    "slack",
    "hook",
    "backup",
    "codes",
    "conn",
    "str",
    "signed",
    "creds",
    "pin",
    "mnemonic",
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
