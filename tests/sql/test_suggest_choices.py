"""What pgtrail suggest proposes for the columns of a table: secrets, labels, actors, and what is not audited."""

import pytest
from psycopg import sql
from tests.adopting import adopting, proposals, suggested

pytestmark = pytest.mark.any_server


@pytest.fixture
def advice(su):
    """Gives what is proposed for schema app: of a column of pgtrail suggest, by table."""

    def ask(column):
        query = "select relation::text, {} from pg_temp.suggestion order by 1"
        rows = proposals(su, "app", sql.SQL(query).format(sql.Identifier(column)))
        return {table.removeprefix("app."): value for table, value in rows if value not in (None, [])}

    su.execute("create schema app")
    return ask


# Secrets --------------------------------------------------------------------------------------------------------------

TOKENS = """
    create table app.person (id int primary key, email text);
    create table app.authtoken_token (key varchar(40) primary key, user_id int);
    create table app.totp_device (id int primary key, name text, key text, person_id int references app.person);
    create table app.oauth_token (id int primary key, code text, name text);
    create table app.feature_flag (key text primary key, enabled boolean);
    create table app.project (id int primary key, key text, identifier text);
"""


def test_a_token_is_a_secret_and_no_label(su, advice):
    su.execute(TOKENS)
    assert advice("secret") == {"authtoken_token": ["key"], "totp_device": ["key"], "oauth_token": ["code"]}
    assert advice("label") == {
        "person": "email",
        "totp_device": "name",
        "oauth_token": "name",
        "feature_flag": "key",
        "project": "key",
    }


RANDOM = "translate(encode(sha256(convert_to(%L || n, 'utf8')), 'base64'), '+/=', '')"


def test_values_that_look_random_are_secrets_whatever_their_column_is_called(su, advice):
    made = RANDOM.replace("%L", "'x'")
    su.execute(
        f"""
        create table app.feed (id int primary key, title text, key text);
        create table app.gateway (id int primary key, title text, access text);
        create table app.invite (id text primary key, name text);
        create table app.api_token (id text primary key, name text);
        create table app.article (id text primary key, name text, code text);
        create table app.flag (key text primary key);
        create table app.place (id text primary key, code text);
        insert into app.feed select n, 'Feed ' || n, left({made}, 32) from generate_series(1, 5) as n;
        insert into app.gateway select n, 'Gateway ' || n, 'tok_' || left({made}, 24) from generate_series(1, 5) as n;
        insert into app.invite select left({made}, 20), 'Invite ' || n from generate_series(1, 5) as n;
        insert into app.api_token select left({made}, 20), left({made}, 24) from generate_series(1, 5) as n;
        insert into app.article select left({made}, 24), 'Article ' || n, 'A-' || n from generate_series(1, 5) as n;
        insert into app.flag select 'use-feature-' || n from generate_series(1, 5) as n;
        -- Made of the time: all begin alike.
        insert into app.place select gen_random_uuid(), 'cjld2' || left({made}, 20) from generate_series(1, 5) as n;
        """
    )
    assert advice("secret") == {
        "feed": ["key"],
        "gateway": ["access"],
        "invite": ["id"],
        "api_token": ["id", "name"],
    }
    assert advice("label") == {
        "feed": "title", "gateway": "title", "invite": "name", "article": "name", "flag": "key", "place": "code",
    }  # fmt: skip


def test_no_random_value_is_written_into_the_file(su, advice):
    su.execute("create table app.setting (name text primary key, value text)")
    su.execute("insert into app.setting values ('theme', 'x'), ('4f9aK2mQ81xPz07LwB3c', 'y')")
    text = suggested(su, "app")
    assert "theme" in text
    assert "4f9aK2mQ81xPz07LwB3c" not in text


def test_settings_by_name_are_hidden_where_the_name_looks_secret(su, advice):
    su.execute(
        """
        create table app.settingsstore (id int primary key, key text, value text);
        create table app.sensitive_config (id int primary key, option text, value jsonb);
        create table app.product (id int primary key, name text, value numeric);
        create table app.secret (id int primary key, name text, value text);
        """
    )
    assert advice("secret") == {
        "settingsstore": ["value when key"],
        "sensitive_config": ["value.**.?", "value when option"],
        "secret": ["value"],
    }
    # What a setting is called is what people know it by.
    assert advice("label") == {
        "settingsstore": "key",
        "sensitive_config": "option",
        "product": "name",
        "secret": "name",
    }
    text = suggested(su, "app")
    assert "-- secret by name: value, in the rows whose key looks secret" in text


# Labels and actors ----------------------------------------------------------------------------------------------------

JOINED = """
    create table app.organization (id int primary key, name text);
    create table app.person (id int primary key, email text, password text);
    create table app.team (id int primary key, organization_id int references app.organization, name text);
    create table app.team_member (team_id int references app.team, person_id int references app.person, primary key (team_id, person_id));
    create table app.org_member (id int primary key, organization_id int not null references app.organization, person_id int not null references app.person, added_by int references app.person);
    create table app.credential (id int primary key, person_id int not null references app.person, team_id int references app.team, blob text);
    create table app.otp_device (id int primary key, credential_id int references app.credential, key text);
    create table app.domain (id int primary key, organization_id int references app.organization, verified boolean);
    create table app.skill (id int primary key, title text);
    create table app.person_skill (person_id int, skill_id int, level int);
    create table app.model_key (id int primary key, team_id int not null references app.team);
    create table app.model_default (id int primary key, team_id int not null references app.team, key_id int not null references app.model_key);
    create table app.vault (code text primary key, note int);
    create table app.vault_share (id int primary key, vault_id text references app.vault);
"""


def test_what_has_no_label_goes_by_those_it_refers_to(su, advice):
    su.execute(JOINED)
    labels = advice("label")
    assert labels == {
        "organization": "name",
        "person": "email",
        "team": "name",
        "skill": "title",
        # What tells rows apart, people first; else what is never null. The organization is known besides.
        "team_member": "person_id -> app.person.email + team_id -> app.team.name",
        "org_member": "person_id -> app.person.email",
        "credential": "person_id -> app.person.email",
        "otp_device": "credential_id -> app.credential.person_id -> app.person.email",
        "person_skill": "person_id -> app.person.email + skill_id -> app.skill.title",
        # A team once, not by its key once more.
        "model_key": "team_id -> app.team.name",
        "model_default": "team_id -> app.team.name",
        # But better than nothing.
        "domain": "organization_id -> app.organization.name",
    }


def test_a_label_leads_to_no_secret(su, advice):
    su.execute(
        """
        create table app.invite (id int primary key, code text);
        create table app.invite_use (id int primary key, invite_id int not null references app.invite);
        create table app.invoice (id int primary key, code text);
        create table app.invoice_line (id int primary key, invoice_id int not null references app.invoice);
        create table app.gateway (id int primary key, name text);
        create table app.gateway_route (id int primary key, gateway_id int references app.gateway);
        select audit.track('app.gateway', 'gateway', secret => '{name}');
        """
    )
    assert advice("label") == {"invoice": "code", "invoice_line": "invoice_id -> app.invoice.code"}


def test_the_column_that_says_who_changed_a_row_is_its_actor(su, advice):
    su.execute(
        """
        create table app.person (id int primary key, email text);
        create table app.region (id int primary key, name text);
        create table app.budget (id int primary key, created_by text, updated_by text);
        create table app.page (id int primary key, last_edited_by int references app.person, updated_by_email text);
        create table app.asset (id int primary key, "modifiedBy" int references app.person);
        create table app.folder (id int primary key, changed_by uuid, user_updated text);
        -- Who made it says nothing of who changes it later; a place is nobody; a number may be anything.
        create table app.draft (id int primary key, created_by text);
        create table app.parcel (id int primary key, updated_by int references app.region);
        create table app.letter (id int primary key, updated_by int);
        create table app.signed (id int primary key, updated_by_token text, updated_at timestamptz);
        """
    )
    assert advice("actor") == {
        "budget": "updated_by",
        "page": "updated_by_email",
        "asset": "modifiedBy",
        "folder": "changed_by",
    }
    text = suggested(su, "app")
    assert "\n    actor => 'updated_by');" in text


@pytest.mark.parametrize("column", ["name", "org_id", "updated_by", "hits", "status", "api_key"])
def test_a_virtual_generated_column_is_proposed_for_nothing(su, advice, column):
    if su.info.server_version < 180000:
        pytest.skip("virtual generated columns came with 18")
    kind, made = ("int", "1") if column == "hits" else ("text", "'x' || id::text")
    su.execute(f"create table app.member (id int primary key, {column} {kind} generated always as ({made}) virtual)")
    su.execute("create table app.other (id int primary key, member_id int references app.member, org_id text)")
    query = "select relation::text from pg_temp.column_fact where name = %s"
    assert ("app.member",) not in proposals(su, "app", query, [column])
    assert "member" not in {
        **advice("label"),
        **advice("actor"),
        **advice("ignore"),
        **advice("secret"),
        **advice("org"),
    }


# Counters -------------------------------------------------------------------------------------------------------------

COUNTERS = """
    create table app.app_settings (id int primary key, auth_login_attempts int, view_count int, failed_attempts int default 0);
    create table app.login_policy (id int primary key, attempts int, failed_logins_count int);
    create table app.rate_limit (id int primary key, requests int);
    create table app.account (id int primary key, failed_login_attempts int default 0, attempts int, login_attempts int default 5);
    create table app.deployment (id int primary key, replica_count int, max_attempts int, view_count int);
    create table app.article (id int primary key, title text, like_count int);
    create table app.parcel_item (id int primary key, title text, retry_count int default 0, worker_count int);
    create table app.quiet_item (id int primary key, title text, retry_count int default 0);
    create table app.used_item (id int primary key, title text, seat_count int, last_used_at timestamptz);
    create table app.booking (id int primary key, title text, activity_at timestamptz, polled_at timestamptz, starts_at timestamptz, active_at timestamptz);
"""


def test_a_counter_is_one_by_what_it_counts_or_by_the_statistics_and_never_among_settings(su, advice):
    su.execute(COUNTERS)
    for table in ("parcel_item", "used_item"):
        su.execute(f"insert into app.{table} (id, title) select n, 'x' from generate_series(1, 5) as n")
        # One statement each, as an application does.
        su.execute(f"do $$ begin for n in 1..30 loop update app.{table} set title = 'x' || n; end loop; end $$")
    su.execute("update app.parcel_item set retry_count = id, worker_count = 2")
    su.execute("select pg_stat_force_next_flush()")
    su.execute("analyze app.parcel_item")
    assert advice("ignore") == {
        "account": ["failed_login_attempts", "attempts"],
        "deployment": ["view_count"],
        "article": ["like_count"],
        # Not what has one value in all rows, nor beside what moves for certain.
        "parcel_item": ["retry_count"],
        "used_item": ["last_used_at"],
        "booking": ["activity_at", "polled_at"],
    }


@pytest.mark.parametrize(
    ("default", "number"),
    [("5", 5), ("'5'", 5), ("5::bigint", 5), ("(-2)", -2), ("1.5", 1.5), ("0", 0), ("random()", None), ("1 + 1", None), (None, None)],
)  # fmt: skip
def test_the_default_of_a_number_is_known(su, default, number):
    su.execute(f"create table public.thing (id numeric {'default ' + default if default else ''})")
    assert adopting(su, "suggest", "select pg_temp.default_number('public.thing', 1::smallint)") == [(number,)]


@pytest.mark.parametrize(
    ("value", "is_random"),
    [
        ("9944b09199c62bcf9418ad846dd0e4bbdfc6ee4b", True),
        ("aB3xK9fLq2ZmN8pRt5Wy", True),
        ("JBSWY3DPEHPK3PXP", True),
        ("q7w2e9r4t1y8u3i6o5p0", True),
        ("550e8400-e29b-41d4-a716-446655440000", False),
        ("version-2024-release-notes", False),
        ("getUserNameByIdentifier", False),
        ("2024-01-01T00:00:00.000Z", False),
        ("20240101120000123456", False),
        ("DE89370400440532013000", False),
        ("the quick brown fox 1234", False),
        ("a1b2c3", False),
        ("production-server-12.example", False),
    ],
)
def test_a_random_text_is_known(su, value, is_random):
    assert su.execute("select audit_internal.value_looks_random(%s)", [value]).fetchone() == (is_random,)


# Applied --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tables", [TOKENS, JOINED, COUNTERS], ids=["tokens", "joined", "counters"])
def test_what_is_proposed_can_be_applied(su, tables):
    su.execute("create schema app")
    su.execute(tables)
    for _ in range(2):
        su.execute(suggested(su, "app"))
    assert su.execute("select count(*) from audit.tracked_table where starts_with(name, 'app.')").fetchone()[0] >= 6


def test_events_of_what_was_applied_are_readable_and_tell_no_token(su):
    su.execute("create schema app")
    su.execute(JOINED)
    su.execute(
        """
        create table app.api_token (key text primary key, person_id int references app.person);
        create table app.site_setting (name text primary key, value text, updated_by text);
        """
    )
    su.execute(suggested(su, "app"))
    su.execute(
        """
        insert into app.organization values (1, 'Acme');
        insert into app.person values (4, 'ann@acme.example', 'S3CRET');
        insert into app.team values (6, 1, 'Platform');
        insert into app.team_member values (6, 4);
        delete from app.team_member;
        insert into app.api_token values ('S3CRET-token', 4);
        insert into app.site_setting values ('stripe_secret_key', 'S3CRET', 'bob'), ('theme', 'dark', 'bob');
        """
    )
    events = su.execute(
        "select action, resource_label, actor_id, after ->> 'value' from audit.event where resource_type in ('team_member', 'key', 'site_settings') order by id"
    ).fetchall()
    assert events == [
        ("team_member.created", "ann@acme.example → Platform", "postgres", None),
        ("team_member.removed", "ann@acme.example → Platform", "postgres", None),
        ("key.created", "ann@acme.example", "postgres", None),
        ("site_settings.updated", "stripe_secret_key", "bob", "[redacted]"),
        ("site_settings.updated", "theme", "bob", "dark"),
    ]
    assert su.execute("select count(*) from audit.event where event::text ~ 'S3CRET'").fetchone() == (0,)
