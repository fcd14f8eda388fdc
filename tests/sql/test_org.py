"""The organization of a row that has no column for it: found through other tables when the event is written."""

import psycopg
import pytest

pytestmark = pytest.mark.any_server

SHOP = """
create table public.team (id uuid primary key default gen_random_uuid(), "Org Id" text, name text, api_secret text);
create table public.project (id int primary key, team_id uuid references public.team on delete cascade);
create table public.task (
    id int primary key, project_id int references public.project on delete cascade, "directOrg" text, title text
);
"""
WAY = '"directOrg", project_id -> project.team_id -> public.team."Org Id"'


@pytest.fixture
def shop(su):
    """A task's organization is its own, or else that of its project's team; and who reads their events."""
    su.execute(SHOP)
    su.execute("select audit.track('public.task', org => %s, label => 'title')", [WAY])
    su.execute("insert into public.team (\"Org Id\", name) values ('acme', 'one')")
    su.execute("insert into public.project select 1, id from public.team")
    return lambda: su.execute(
        "select action, org_id, resource_id from audit.event where resource_type = 'task' order by id"
    ).fetchall()


def org_of(su):
    return su.execute("select org from audit.tracked_table where resource = 'task'").fetchone()[0]


def test_the_first_way_that_leads_to_an_organization_counts(su, shop):
    su.execute("insert into public.task values (1, 1, null, 'a'), (2, 1, 'beta', 'b'), (3, null, null, 'c')")
    su.execute("update public.task set title = 'd'")
    su.execute("truncate public.task")
    orgs = {"1": "acme", "2": "beta", "3": None}
    assert shop() == [
        (f"task.{action}", org, task) for action in ("created", "updated", "deleted") for task, org in orgs.items()
    ]


def test_what_goes_with_its_team_keeps_the_organization_that_it_had(su, shop):
    su.execute("insert into public.task values (1, 1, null, 'a')")
    su.execute("delete from public.team")
    assert shop() == [("task.created", "acme", "1"), ("task.deleted", "acme", "1")]


def test_names_on_the_way_are_followed(su, shop):
    su.execute('alter table public.team rename to "The Team"')
    su.execute('alter table public."The Team" rename column "Org Id" to org')
    su.execute("alter table public.project rename column id to number")
    su.execute("alter table public.task rename column project_id to project")
    su.execute("create schema elsewhere")
    su.execute("alter table public.project set schema elsewhere")
    su.execute("insert into public.task values (1, 1, null, 'a')")
    assert shop() == [("task.created", "acme", "1")]
    assert org_of(su) == '"directOrg", project -> elsewhere.project.team_id -> public."The Team".org'
    assert su.execute("select count(*) from audit.doctor() where problem like 'compiled%'").fetchone() == (0,)


@pytest.mark.parametrize(
    "loss",
    [
        'alter table public.team drop column "Org Id"',
        "drop table public.team cascade",
        "drop table public.project cascade",
    ],
)
def test_a_way_that_is_dropped_is_said_and_costs_no_write(su, shop, loss):
    said = []
    su.add_notice_handler(lambda notice: said.append(notice.message_primary))
    su.execute(loss)
    su.execute("insert into public.task values (1, null, null, 'a'), (2, null, 'beta', 'b')")
    assert shop() == [("task.created", None, "1"), ("task.created", "beta", "2")]
    assert org_of(su) == '"directOrg"'
    assert "pgtrail: the path from public.task to its organization no longer exists" in said


def test_to_track_again_changes_nothing(su, shop):
    count = "select count(*) from audit.event where resource_type = 'tracked_table' and resource_label = 'public.task'"
    before = su.execute(count).fetchone()
    su.execute("select audit.track('public.task', org => %s, label => 'title')", [WAY])
    su.execute("select audit.track('public.task', org => %s, label => 'title')", [org_of(su)])
    assert su.execute(count).fetchone() == before == (1,)
    su.execute("select audit.track('public.task', org => 'directOrg', label => 'title')")
    assert su.execute("select count(*) from audit.path_step").fetchone() == (0,)


def test_row_level_security_on_the_way_hides_no_organization(db, su, shop):
    su.execute("alter table public.team enable row level security, force row level security")
    su.execute("grant insert on public.task to app")
    db.connect("app").execute("insert into public.task values (1, 1, null, 'a')")
    assert shop() == [("task.created", "acme", "1")]


def test_nothing_stays_when_the_table_is_untracked(su, shop):
    su.execute("alter table public.team enable row level security")
    su.execute("select audit.track('public.project', org => 'team_id -> team.\"Org Id\"')")
    su.execute("select audit.untrack('public.task')")
    readable = "select has_table_privilege('audit_owner', %s, 'select')"
    assert su.execute(readable, ["public.team"]).fetchone() == (True,)
    su.execute("select audit.untrack('public.project')")
    assert su.execute(readable, ["public.team"]).fetchone() == (False,)
    assert su.execute(readable, ["public.project"]).fetchone() == (False,)
    assert (
        su.execute("select count(*) from pg_policy").fetchone()
        == su.execute(
            "select count(*) from pg_policy join pg_class on pg_class.oid = polrelid where relnamespace = 'audit'::regnamespace"
        ).fetchone()
    )


def test_a_table_that_leads_to_an_organization_stays_readable_when_it_is_untracked_itself(su, shop):
    su.execute("select audit.track('public.team', org => 'Org Id')")
    su.execute("select audit.untrack('public.team')")
    su.execute("insert into public.task values (1, 1, null, 'a')")
    assert shop() == [("task.created", "acme", "1")]


def test_a_partitioned_table_finds_its_organization_too(su, shop):
    su.execute("create table public.visit (id int primary key, task_id int) partition by range (id)")
    su.execute("create table public.visit_1 partition of public.visit for values from (0) to (100)")
    su.execute(
        "select audit.track('public.visit', org => 'task_id -> task.project_id -> project.team_id -> team.\"Org Id\"')"
    )
    su.execute("insert into public.task values (1, 1, null, 'a')")
    su.execute("insert into public.visit values (7, 1)")
    su.execute("truncate public.visit_1")
    assert su.execute(
        "select action, org_id from audit.event where resource_type = 'visit' order by id"
    ).fetchall() == [
        ("visit.created", "acme"),
        ("visit.deleted", "acme"),
    ]


@pytest.mark.parametrize(
    ("way", "says"),
    [
        ("project_id -> nope.team_id", 'there is no table for "nope.team_id"'),
        ("nope -> team.id", 'no column "nope"'),
        ('title -> team."Org Id"', "title is text and public.team.id is uuid"),
        ("project_id -> project.nope", 'no column "nope"'),
        ("project_id -> team_id", '"team_id" is not a column of a table'),
        ("project_id ->", '"" is not a column of a table'),
        ("directOrg, ", 'no column ""'),
        ("project_id -> visible.id", "is not a table"),
        ("project_id -> two.a", "no foreign key leads to"),
        ("mood -> moods.id", "no column"),
        ("code -> codes.id", "must be of types"),
        ('project_id -> "\'); drop table public.task; --".x', "there is no table"),
    ],
)
def test_a_way_that_leads_nowhere_is_refused(su, shop, way, says):
    su.execute("create view public.visible as select * from public.project")
    su.execute("create table public.two (a int, b int, primary key (a, b))")
    su.execute("create domain public.code as int check (value > 0); alter domain public.code owner to app")
    su.execute("create table public.codes (id public.code primary key)")
    su.execute("alter table public.task add column code public.code")
    with pytest.raises(psycopg.errors.Error) as refused:
        su.execute("select audit.track('public.task', org => %s)", [way])
    assert refused.value.sqlstate == "PT033"
    assert says in f"{refused.value.diag.message_primary} {refused.value.diag.message_hint}"


def test_an_admin_finds_no_secret_by_way_of_the_log(db, su, shop):
    # What audit_owner may read and the admin may not: another table that is tracked, and pgtrail's own secrets.
    su.execute("select audit.track('public.team')")
    su.execute("create table public.mine (id int primary key, team_id uuid, destination bigint)")
    su.execute("alter table public.mine owner to admin; grant usage on schema public to admin")
    admin = db.connect("admin")
    for way in ("team_id -> public.team.api_secret", "destination -> audit.destination_secret.secret"):
        with pytest.raises(psycopg.errors.Error, match="invalid path in") as refused:
            admin.execute("select audit.track('public.mine', org => %s)", [way])
        assert refused.value.sqlstate == "PT033"
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        admin.execute("insert into audit.path_step values ('public.mine', 'org', 1, 0, 'public.mine', null, 2)")
