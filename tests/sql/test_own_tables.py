"""How pgtrail records its own tables is its owner's to say: or who configures could have it record the secrets."""

import psycopg
import pytest

pytestmark = pytest.mark.any_server

DIRECTLY = (
    "update audit.tracked_table set secret = '{}' where name = 'audit.destination_secret'",
    "update audit.tracked_table set ignore = '{secret}' where name = 'audit.destination_secret'",
    "update audit.tracked_table set label = 'secret' where name = 'audit.destination_secret'",
    "update audit.tracked_table set relation = 'shop.item' where name = 'audit.destination_secret'",
    "update audit.tracked_table set relation = 'audit.salt' where name = 'shop.item'",
    "delete from audit.tracked_table where name = 'audit.destination_secret'",
    "delete from audit.tracked_table",
    (
        "insert into audit.tracked_table (relation, name, resource, category) "
        "values ('audit.salt', 'audit.salt', 'salt', 'audit')"
    ),
    (
        "insert into audit.tracked_table (relation, name, resource, category) "
        "values ('audit.destination_secret', 'x', 'x', 'audit') "
        "on conflict (relation) do update set secret = '{}'"
    ),
    (
        "insert into audit.rule (relation, operation, action, category) "
        "values ('audit.destination_secret', 'UPDATE', 'a.b', 'audit')"
    ),
    "update audit.rule set condition = 'false' where relation = 'audit.destination_secret'::regclass",
    "update audit.rule set relation = 'audit.destination_secret' where relation = 'shop.item'::regclass",
    "delete from audit.rule where relation = 'audit.destination_secret'::regclass",
)
CALLS = (
    "select audit.track('audit.destination_secret', category => 'audit', reveal => '{secret,previous}')",
    "select audit.track('audit.destination_secret', category => 'audit', ignore => '{secret,previous}')",
    "select audit.track('audit.salt', category => 'audit')",
    "select audit.untrack('audit.destination_secret')",
    "select audit.rule('audit.destination_secret', 'a.b', 'audit')",
    "select audit.drop_rule('audit.destination_secret', 'audit.destination_secret_rotated')",
)
SETTINGS = "select to_jsonb(t) - 'created_at' from audit.tracked_table as t order by name"
RULES = "select to_jsonb(r) from audit.rule as r order by id"


@pytest.fixture
def admin(su, db):
    """An admin of the log who owns a tracked table, and a destination whose secret is there to be rotated."""
    su.execute("create schema shop authorization admin")
    admin = db.connect("admin")
    admin.execute("create table shop.item (id bigint primary key, name text)")
    admin.execute("select audit.track('shop.item')")
    admin.execute("select audit.rule('shop.item', 'item.renamed', 'item')")
    admin.execute("select audit.add_destination('siem', 'https://siem.example')")
    return admin


def settings(su):
    return [su.execute(query).fetchall() for query in (SETTINGS, RULES)]


def secrets(su):
    return {
        value
        for row in su.execute("select secret, previous from audit.destination_secret")
        for value in row
        if value is not None
    }


def recorded_secrets(su, known):
    """Those that stand in clear anywhere in the log."""
    found = "select secret from unnest(%s::text[]) as secret where exists (select from audit.event where strpos(event::text, secret) > 0)"
    return su.execute(found, [list(known)]).fetchall()


@pytest.mark.parametrize("statement", [*DIRECTLY, *CALLS])
def test_an_admin_changes_nothing_about_the_log_s_own_tables(su, admin, statement):
    before, known = settings(su), secrets(su)
    with pytest.raises(psycopg.Error) as raised:
        admin.execute(statement)
    diag = raised.value.diag
    assert (diag.sqlstate, diag.message_hint is not None) == ("PT039", True), diag.message_primary
    assert "pgtrail's own" in diag.message_primary
    assert settings(su) == before

    admin.execute("select audit.recompile()")
    admin.execute("select audit.rotate_secret('siem')")
    assert recorded_secrets(su, known | secrets(su)) == []


def test_with_other_settings_a_rotated_secret_would_be_in_clear(su, admin):
    known = secrets(su)
    su.execute(DIRECTLY[0])
    admin.execute("select audit.recompile()")
    admin.execute("select audit.rotate_secret('siem')")
    assert {secret for (secret,) in recorded_secrets(su, known)} == known


@pytest.mark.parametrize("statement", [*DIRECTLY[:3], *CALLS[3:]])
@pytest.mark.parametrize("user", ["postgres", "audit_owner"])
def test_the_owner_and_a_superuser_do(su, admin, user, statement):
    if user == "audit_owner":
        su.execute("set role audit_owner")
    before = settings(su)
    su.execute(statement)
    assert settings(su) != before


def test_an_admin_goes_on_changing_other_tables(su, admin):
    admin.execute("update audit.tracked_table set ignore = '{name}' where name = 'shop.item'")
    admin.execute("delete from audit.rule where relation = 'shop.item'::regclass")
    admin.execute("select audit.rule('shop.item', 'item.renamed', 'item')")
    admin.execute("select audit.drop_rule('shop.item', 'item.renamed')")
    admin.execute("select audit.untrack('shop.item')")
    assert su.execute("select count(*) from audit.tracked_table where name = 'shop.item'").fetchone() == (0,)


def test_an_admin_recompiles_what_has_moved_and_forgets_what_is_gone(su, admin):
    # As without event triggers: only recompiling follows.
    su.execute("alter event trigger pgtrail_follow_ddl disable; alter event trigger pgtrail_follow_drop disable")
    su.execute("alter table audit.replay add column note text")
    su.execute("create table shop.gone (id int primary key)")
    su.execute("select audit.track('shop.gone')")
    su.execute("drop table shop.gone")
    assert admin.execute("select audit.recompile() > 5").fetchone() == (True,)
    numbers = "select column_numbers ? 'note' from audit.tracked_table where name = 'audit.replay'"
    assert su.execute(numbers).fetchone() == (True,)
    assert su.execute("select count(*) from audit.tracked_table where name = 'shop.gone'").fetchone() == (0,)


def test_an_own_table_that_is_altered_is_followed(su, admin):
    su.execute("alter table audit.replay rename column reason to why")
    assert su.execute("select label from audit.tracked_table where name = 'audit.replay'").fetchone() == ("why",)


@pytest.mark.parametrize(
    "statement",
    [
        "select audit.track('shop.item', org => 'id -> audit.destination_secret.secret')",
        "select audit_internal.store_paths('shop.item', 'id -> audit.destination_secret.secret', null)",
        "select audit_internal.store_paths('audit.destination_secret', 'destination_id -> shop.item.name', null)",
    ],
)
def test_no_way_to_an_organization_begins_in_an_own_table_or_leads_through_one(su, admin, statement):
    known = secrets(su)
    with pytest.raises(psycopg.Error):
        admin.execute(statement)
    (destination,) = su.execute("select id from audit.destination").fetchone()
    admin.execute("select audit.recompile()")
    admin.execute("insert into shop.item values (%s, 'x')", [destination])
    admin.execute("select audit.rotate_secret('siem')")
    assert recorded_secrets(su, known | secrets(su)) == []
