"""Suggestions: on tables that we did not design, whatever they are called, and on those that we did."""

import re
import subprocess
from pathlib import Path

import psycopg
import pytest
from tests import real_schemas
from tests.adopting import proposals, suggested
from tests.conftest import clone, required

from pgtrail_cli.demo import scenario

pytestmark = pytest.mark.any_server

DOCUMENT = Path(__file__).parents[2] / "docs" / "dba" / "suggest.md"


def apply(database, text):
    """Apply a file with psql, as a person would; each statement by itself, the first error ends it."""
    done = subprocess.run(
        [database.server.binaries.bin_dir / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", database.dsn()],
        input=text, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.fixture
def quiet(db):
    connection = db.connect()
    connection.add_notice_handler(lambda _: None)
    return connection


# The reference application --------------------------------------------------------------------------------------------

SETTINGS = """
    select name, resource, category, org, label, array(select unnest(ignore) order by 1),
        array(select path from unnest(secret) as path where path !~ ' when ' order by 1), personal
    from audit.tracked_table order by name
"""
RULES = """
    select tracked_table.name, rule.operation, rule.action, rule.category
    from audit.rule join audit.tracked_table using (relation)
    where action not in ('settings.router_updated', 'data_policy.updated', 'settings.updated')
    order by 1, 2, rule.id
"""
EVENTS = """
    select action, category, operation, resource_type, resource_label, changed, org_id is not null, before ?| '{spend}', after::text ~ 'demo-secret'
    from audit.event where category <> 'audit' and id > %s order by id
"""


def test_on_the_reference_application_it_proposes_what_was_written_by_hand(server, empty_template, nemo):
    """Settings, rules, and the events of a day in which every action of the catalogue occurs: all are the same."""
    for database in clone(server, empty_template):
        su = database.connect()
        real_schemas.nemo(su)
        apply(database, suggested(su, "nemo"))
        by_hand = nemo.connect()
        for compared in (SETTINGS, RULES):
            assert su.execute(compared).fetchall() == by_hand.execute(compared).fetchall()
        told = []
        for connection in (su, by_hand):
            (last,) = connection.execute("select coalesce(max(id), 0) from audit.event").fetchone()
            scenario.play(connection)
            told.append(connection.execute(EVENTS, [last]).fetchall())
        assert told[0] == told[1]
        assert {event[0] for event in told[0]} >= set(scenario.ACTIONS)
        assert [event for event in told[0] if event[8]] == []


def test_applied_again_it_has_nothing_more_to_say(server, empty_template):
    for database in clone(server, empty_template):
        su = database.connect()
        real_schemas.nemo(su)
        text = suggested(su, "nemo")
        assert text == suggested(su, "nemo")
        apply(database, text)
        apply(database, text)
        again = suggested(su, "nemo")
        assert "\nselect audit." not in again
        assert again.count("tracked already") == 8


# Real schemas ---------------------------------------------------------------------------------------------------------

COUNTS = """
    select
        count(*), count(*) filter (where left_out is null),
        count(*) filter (where left_out is null and org is not null and org_why !~ 'through'),
        count(*) filter (where left_out is null and org_why ~ 'through'),
        count(*) filter (where left_out is null and label is not null),
        sum(cardinality(ignore)) filter (where left_out is null),
        (select count(*) from pg_temp.suggestion, unnest(secret) as path where left_out is null and path !~ '\\.\\*\\*\\.| when '),
        (select count(distinct split_part(path, '.', 1) || relation) from pg_temp.suggestion, unnest(secret) as path where left_out is null and path ~ '\\.\\*\\*\\.'),
        (select count(*) from pg_temp.suggestion, unnest(secret) as path where left_out is null and path ~ ' when '),
        count(*) filter (where left_out is null and actor is not null),
        (select count(*) from pg_temp.proposed_rule where not optional),
        count(distinct category) filter (where left_out is null and category not in (select name from audit.category))
    from pg_temp.suggestion
"""


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", ["litellm", "django", "medusa", "nemo"])
def test_what_it_finds_in_a_real_schema_can_be_applied_and_is_what_the_document_says(db, quiet, name):
    if name == "medusa" and not real_schemas.MEDUSA_FOLDER.is_dir():
        required("Medusa's packages are not installed: make .venv/programs.stamp")
    getattr(real_schemas, name)(quiet)
    quiet.execute("set search_path = public")
    (counts,) = proposals(quiet, name, COUNTS)
    assert f"| {name} | " + " | ".join(map(str, counts)) + " |" in DOCUMENT.read_text()
    text = suggested(quiet, name)
    assert (
        text.splitlines()[3].startswith(f"-- Proposed: {counts[1]}. Left out: {counts[0] - counts[1]}.")
        or counts[2] == 0
    )
    apply(db, text)
    assert quiet.execute(
        "select count(*) from audit.tracked_table where not starts_with(name, 'audit.')"
    ).fetchone() == (counts[1],)
    assert quiet.execute(
        "select count(*) from audit.rule join audit.tracked_table using (relation) where not starts_with(name, 'audit.')"
    ).fetchone() == (counts[10],)
    # No rule is silently without effect.
    assert quiet.execute("select action from audit.rule where problem is not null").fetchall() == []


@pytest.mark.timeout(400)
def test_on_litellm_keys_teams_and_people_are_told_apart_and_no_token_is_shown(db, quiet):
    real_schemas.litellm(quiet)
    apply(db, suggested(quiet, "litellm"))
    quiet.execute(
        """
        insert into "LiteLLM_BudgetTable" (budget_id, created_by, updated_by) values ('b', 'x', 'x');
        insert into "LiteLLM_OrganizationTable" (organization_id, organization_alias, budget_id, created_by, updated_by, models)
            values ('o', 'Acme', 'b', 'x', 'x', '{}');
        insert into "LiteLLM_TeamTable" (team_id, team_alias, organization_id) values ('t', 'Search', 'o');
        insert into "LiteLLM_VerificationToken" (token, key_alias, team_id) values ('S3CRET', 'ci', 't');
        update "LiteLLM_VerificationToken" set spend = spend + 1, last_active = now();
        update "LiteLLM_VerificationToken" set blocked = true;
        update "LiteLLM_VerificationToken" set token = 'S3CRET2';
        insert into "LiteLLM_UserTable" (user_id, user_email, password, team_id) values ('u', 'a@acme', 'S3CRET', 't');
        update "LiteLLM_UserTable" set user_role = 'admin';
        update "LiteLLM_UserTable" set password = 'S3CRET2';
        insert into "LiteLLM_ProxyModelTable" (model_id, model_name, litellm_params, created_by, updated_by)
            values ('m', 'gpt', '{"api_key": "S3CRET", "rpm": 1}', 'x', 'x');
        """
    )
    events = quiet.execute(
        "select action, category, resource_label, org_id from audit.event where category <> 'audit' order by id"
    ).fetchall()
    assert events == [
        ("budget.created", "budgets", None, None),
        ("organization.created", "organization", "Acme", "o"),
        ("team.created", "teams", "Search", "o"),
        ("key.created", "api_keys", "ci", "o"),
        ("key.blocked", "api_keys", "ci", "o"),
        ("key.rotated", "api_keys", "ci", "o"),
        ("user.created", "users", "a@acme", "o"),
        ("user.role_changed", "users", "a@acme", "o"),
        ("password.changed", "password", "a@acme", "o"),
        ("proxy_model.created", "proxy_models", "gpt", None),
    ]
    assert quiet.execute("select count(*) from audit.event where event::text ~ 'S3CRET'").fetchone() == (0,)


# Whatever they are called ---------------------------------------------------------------------------------------------

HOSTILE = [
    "x\n; drop table victim.safe; --",
    "y\r\nselect 1/0; --",
    'it\'s "quoted" and \\ slashed\\',
    "*/ drop table victim.safe; /*",
    "$$; drop table victim.safe; $$",
    "Таблица 🦊 ключей",
    "right\u202eto\u2066left\u2028\u0085\u200b",
    "select",
    "MixedCase",
    " ",
    "%s %I %L",
    ":victim :'x' \\! touch /tmp/x",
    "a,b -> c.d",
    "x" * 63,
    "%1$s%2$s%",
    "'); drop table victim.safe; --",
    "\\'); drop table victim.safe; --",
    'U&"\\0027" || x',
    "{}{leaf}$1",
]


def test_no_name_gets_out_of_its_place(db, quiet):
    quiet.execute("create schema victim; create table victim.safe (id int)")
    quiet.execute('create schema "sch\n;drop table victim.safe;--"')
    quoted = psycopg.sql.Identifier
    for name in HOSTILE:
        quiet.execute(
            psycopg.sql.SQL(
                "create table {} ({} int primary key, {} text, {} jsonb, status text check (status in ({}, 'active')), deleted_at timestamp)"
            ).format(
                quoted('sch\n;drop table victim.safe;--', name), quoted(name[:40]), quoted(name[:40] + " token"),
                quoted(name[:40] + " config"), psycopg.sql.Literal(name),
            )
        )  # fmt: skip
        quiet.execute(
            psycopg.sql.SQL("insert into {} values (1, 'x', {}, 'active')").format(
                quoted('sch\n;drop table victim.safe;--', name), psycopg.sql.Literal(psycopg.types.json.Jsonb({name + " secret": name, "token": 1}))
            )
        )  # fmt: skip
    text = suggested(quiet, "sch\n;drop table victim.safe;--")
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\x85\u2028\u202e\u2066\u200b]", text)
    starts = r"(--( |$)|select audit\.(track|rule)\(E?'|insert into audit\.category |set client_encoding|    (org|label|ignore|secret|actor) => |    E?'|$)"
    assert [line for line in text.splitlines() if not re.match(starts, line)] == []
    apply(db, text)
    assert quiet.execute(
        "select count(*) from audit.tracked_table where not starts_with(name, 'audit.')"
    ).fetchone() == (len(HOSTILE),)
    assert quiet.execute("select count(*) from victim.safe").fetchone() == (0,)
    quiet.execute(
        psycopg.sql.SQL("update {} set deleted_at = now()").format(
            quoted("sch\n;drop table victim.safe;--", HOSTILE[0])
        )
    )
    assert quiet.execute("select count(*) from audit.event where action like '%.deleted'").fetchone() == (1,)


# Kinds of tables, and who asks ----------------------------------------------------------------------------------------

KINDS = """
    create schema app;
    set search_path = app;
    create table organization (id int primary key, name text);
    create table team (id int primary key, org_id int references organization, name text);
    create table project (id int primary key, team int references team, "OwnerOrg" int references organization, title text);
    create table task_list (id int primary key, project_id int, team_id int not null, title text);
    create table api_key (id int primary key, task_list_id int references task_list, name text, token_count int, token_expires_at timestamptz, key_hash text);
    create table person (id int primary key, nick text);
    create table region (id int primary key, name text, plain text, note text, details jsonb, config json, updated_at timestamptz, hits int);
    create table region_hits (region_id int primary key references region, hits int, views int);
    create table measurement (id int, at timestamptz) partition by range (at);
    create table measurement_1 partition of measurement default;
    create table grown (id int, at timestamptz);
    create table asset (id int primary key, name text);
    create table vehicle (primary key (id)) inherits (asset);
    create table car (primary key (id)) inherits (vehicle);
    create table schema_migrations (version text primary key);
    create table user_sessions (id int primary key, token text);
    create view everything as select 1 as one;
    create materialized view counted as select 1 as one;
    create foreign data wrapper nowhere;
    create server nowhere foreign data wrapper nowhere;
    create foreign table away (id int) server nowhere;
    insert into region select n, 'r', 'sk-' || repeat('a', 20), null,
        '{"sinks": [{"webhook-token": "x", "size": 1}]}', '{"api-key": "x"}' from generate_series(1, 3) as n;
    insert into grown select n, now() from generate_series(1, 1500) as n;
    select audit.track('app.person', 'person');
    select pg_stat_force_next_flush();
"""


@pytest.fixture
def kinds(db, quiet):
    for statement in KINDS.split(";"):
        quiet.execute(statement)
    quiet.execute("set search_path = public")
    return quiet


def advice(connection, column):
    return dict(
        proposals(
            connection,
            "app",
            psycopg.sql.SQL("select relation::text, {} from pg_temp.suggestion where {} is not null")
            .format(psycopg.sql.Identifier(column), psycopg.sql.Identifier(column)),
        )
    )  # fmt: skip


def test_what_is_no_table_or_records_nothing_that_a_person_does_is_left_out_with_the_reason(kinds):
    left_out = advice(kinds, "left_out")
    said = {table.removeprefix("app."): re.sub(r"[:,;] .*", "", why) for table, why in left_out.items()}
    assert said == {
        "person": "tracked already",
        "region_hits": "nothing but counters beside its key",
        "measurement_1": "a partition of app.measurement",
        "grown": "only ever added to",
        "schema_migrations": "bookkeeping of the schema",
        "user_sessions": "sessions and one-time codes",
        "everything": "it is a view",
        "counted": "it is a view",
        "away": "it is a foreign table",
    }
    text = suggested(kinds, "app")
    assert "\n--     select audit.track('app.user_sessions', 'user_session'" in text
    assert not re.search(r"select audit.track\('app.(everything|counted|away|measurement_1|person)'", text)
    assert "-- note: it has no key" in text


def test_an_organization_is_found_through_keys_that_are_declared_and_that_are_not(db, kinds):
    assert advice(kinds, "org") == {
        "app.organization": "id",
        "app.team": "org_id",
        "app.project": '"OwnerOrg", team -> app.team.org_id',
        "app.task_list": 'team_id -> app.team.org_id, project_id -> app.project."OwnerOrg"',
        "app.api_key": 'task_list_id -> app.task_list.team_id -> app.team.org_id, task_list_id -> app.task_list.project_id -> app.project."OwnerOrg"',
    }
    apply(db, suggested(kinds, "app"))
    kinds.execute(
        "insert into app.organization values (7, 'Acme'); insert into app.team values (1, 7, 'Search');"
        "insert into app.project values (1, 1, null, 'p'); insert into app.task_list values (1, 1, 1, 'l'); insert into app.api_key values (1, 1, 'k')"
    )
    found = kinds.execute(
        "select resource_type, org_id from audit.event where category <> 'audit' order by id"
    ).fetchall()
    assert found == [(kind, "7") for kind in ("organization", "team", "project", "task_list", "key")]


def test_a_sample_of_rows_shows_secrets_that_no_name_does_and_a_time_is_none(kinds):
    assert advice(kinds, "secret")["app.region"] == [
        "plain", "details.**.?", "config.**.?",
    ]  # fmt: skip
    assert advice(kinds, "label")["app.region"] == "name"
    assert "token_expires_at" not in advice(kinds, "secret")["app.api_key"]
    assert advice(kinds, "ignore")["app.api_key"] == ["token_count"]


def test_a_key_or_a_code_in_a_table_of_tokens_is_a_secret_and_so_is_what_looks_drawn_by_lot(db, quiet):
    quiet.execute(
        """
        create schema shop;
        create table shop.authtoken_token (key varchar(40) primary key, user_id int, created timestamptz);
        create table shop.totp_device (id int primary key, key varchar(80), name text);
        create table shop.oauth_grant (id int primary key, code text, scope text);
        create table shop.invitation (id int primary key, code text, email text);
        create table shop.coupon (id int primary key, code text, title text);
        create table shop.country (code text primary key, name text);
        create table shop.machine (id int primary key, key text, name text, access_code text);
        create table shop.printer (id int primary key, name text, key text);
        create table shop.device (id int primary key, name text, pin_seen boolean, token_days int);
        insert into shop.coupon values (1, 'SUMMER-2026', 'Summer');
        insert into shop.country values ('de', 'Germany');
        insert into shop.machine values (1, 'x7YdPq2mN8vRk4LsT1wZ', 'north', '77');
        insert into shop.printer values (1, 'JBSWY3DPEHPK3PXP', 'big');
        """
    )
    secrets = dict(proposals(quiet, "shop", "select relation::text, secret from pg_temp.suggestion"))
    assert secrets == {
        "shop.authtoken_token": ["key"],
        "shop.totp_device": ["key"],
        # (Left out, as a one-time code; audit.track() knows it all the same.)
        "shop.oauth_grant": [],
        "shop.invitation": ["code"],
        "shop.coupon": [],
        "shop.country": [],
        "shop.machine": ["key", "access_code"],
        # (One value alone shows nothing where a name is expected.)
        "shop.printer": [],
        "shop.device": [],
    }
    apply(db, suggested(quiet, "shop"))
    db.connect().execute("select audit.track('shop.oauth_grant')")
    quiet.execute("insert into shop.oauth_grant values (1, 'S3CRET')")
    quiet.execute(
        "insert into shop.authtoken_token values ('S3CRET', 1); insert into shop.totp_device values (1, 'S3CRET', 'phone')"
    )
    told = quiet.execute(
        "select array_agg(event::text), count(*) from audit.event where category <> 'audit'"
    ).fetchone()
    assert "S3CRET" not in str(told)
    assert told[1] >= 3


def test_who_may_not_read_the_rows_is_told_so_and_gets_a_proposal_by_names(db, kinds):
    kinds.execute("grant usage on schema app to admin; alter table app.team owner to app")
    admin = db.connect("admin")
    text = suggested(admin, "app")
    assert "-- note: its rows can't be read by this role: judged by names alone" in text
    assert "-- note: only its owner, app, or who has TRIGGER on it can apply this" in text
    assert "select audit.track('app.team', 'team', 'teams',\n    org => 'org_id'," in text
    assert "webhook-token" not in text


def test_a_locked_table_holds_nobody_up(db, kinds):
    with kinds.transaction():
        kinds.execute("lock table app.region")
        assert "-- note: it is locked: judged by names alone" in suggested(db.connect(), "app")


def test_a_value_of_a_type_with_a_cast_of_its_own_is_not_looked_at(db, quiet):
    quiet.execute(
        """
        create type public.trap as (x int);
        create function public.sprung(public.trap) returns text language plpgsql as $$ begin raise 'sprung'; end $$;
        create cast (public.trap as text) with function public.sprung(public.trap) as implicit;
        create domain public.word as text;
        create table public.bait (id int primary key, status public.trap, plan public.trap, name public.word, password text);
        insert into public.bait values (1, row(1), row(1), 'n', 'x');
        """
    )
    text = suggested(quiet, "public")
    apply(db, text)
    assert "'plan.changed'" not in text


def test_a_schema_that_is_not_there_or_is_not_an_applications_is_refused(quiet):
    for name in ("nope", "audit", "pg_catalog", "pgtrail_meta", 'x"; drop table y'):
        with pytest.raises(psycopg.Error, match="there is no schema") as raised:
            suggested(quiet, name)
        assert raised.value.sqlstate == "PT002"
        assert "public" in raised.value.diag.message_hint
    quiet.execute("create schema empty")
    assert suggested(quiet, "empty").splitlines()[3:] == [
        "-- No organization was found: no column such as org_id, no table of organizations. Events belong to none.",
        "-- Proposed: 0. Left out: 0.",
    ]


def test_the_command_prints_the_same_and_says_in_a_line_what_it_does_not_know(db, kinds, pgtrail):
    done = pgtrail("suggest", "app", dsn=db.dsn())
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == suggested(kinds, "app") + "\n"
    refused = pgtrail("suggest", "nope", dsn=db.dsn())
    assert (refused.returncode, refused.stdout) == (1, "")
    assert len(refused.stderr.splitlines()) == 1
    assert "app, public" in refused.stderr
