"""A table that leads to an organization runs no code of its owner's as audit_owner, and gives nobody what they may not read."""

import psycopg
import pytest

SPY = """
create table public.ran (who text);
create function public.spy(value int) returns int language plpgsql immutable as
$$ begin insert into public.ran values (current_user); return value; exception when others then
   raise notice 'ran as %', current_user; return value; end $$;
alter function public.spy(int) owner to app;
grant insert, select on public.ran to public;
create table public.parent (id int primary key, org text, note text, hidden_secret text);
create table public.child (id int primary key, parent_id int);
alter table public.parent owner to app; alter table public.child owner to app;
insert into public.parent values (1, 'acme', 'n', 's'), (2, 'beta', 'n', 's');
"""
WAY = "parent_id -> public.parent.org"


@pytest.fixture
def ways(su):
    """A child whose organization is its parent's; both are app's, who has a function that tells as whom it runs."""
    su.execute("grant create on schema public to app")
    su.execute(SPY)
    su.execute("select audit.track('public.child', org => %s)", [WAY])


def ran_as(app, statement):
    told = []
    app.add_notice_handler(lambda notice: told.append(notice.message_primary))
    try:
        app.execute(statement)
    except psycopg.Error as error:
        told.append(error.diag.message_primary)
    told += [f"ran as {who}" for (who,) in app.execute("select who from public.ran").fetchall()]
    return [line for line in told if "ran as audit_owner" in line]


@pytest.mark.parametrize(
    "trap",
    [
        "create index on public.parent (id) where public.spy(3) = 3",
        "create index on public.parent ((public.spy(7)))",
        "create statistics public.known on (public.spy(7)), (id + 1) from public.parent",
        "alter table public.parent add check (public.spy(3) = 3); alter role app set constraint_exclusion = on",
        "alter table public.parent enable row level security; create policy zzz on public.parent using (public.spy(3) = 3)",
        ("alter table public.parent enable row level security; "
        "alter policy pgtrail_truncate on public.parent using (public.spy(id) > 0)"),
        ("create type public.k as (v int); "
        "create function public.k_to_int(public.k) returns int language sql as 'select public.spy(($1).v)'; "
        "create cast (public.k as int) with function public.k_to_int(public.k) as implicit; "
        "alter table public.parent drop constraint parent_pkey; alter table public.parent alter id type public.k using row(id)::public.k"),
    ],
)  # fmt: skip
def test_code_of_the_owner_of_a_parent_never_runs_as_audit_owner(db, su, ways, trap):
    owner = db.connect("app")
    owner.add_notice_handler(lambda _: None)
    try:
        owner.execute(trap)
        assert ran_as(db.connect("app"), "insert into public.child values (1, 1)") == []
        su.execute("reset role")
    finally:
        su.execute("alter role app reset constraint_exclusion")


@pytest.mark.parametrize(
    ("grant", "column"),
    [
        ("grant select (note) on public.parent to admin", "note"),
        ("grant select on public.parent to admin; alter table public.parent enable row level security", "note"),
        ("grant select on public.parent to admin; select audit.track('public.parent')", "hidden_secret"),
    ],
    ids=["without the key", "rows are hidden", "a secret"],
)
def test_a_way_shows_nobody_what_they_may_not_read(db, su, ways, grant, column):
    su.execute(grant)
    su.execute("create table public.mine (id int primary key); alter table public.mine owner to admin")
    with pytest.raises(psycopg.Error, match=r"you may not read|is a secret") as refused:
        db.connect("admin").execute("select audit.track('public.mine', org => %s)", [f"id -> public.parent.{column}"])
    assert refused.value.sqlstate == "PT033"


def test_a_snapshot_shows_an_admin_nothing_that_they_may_not_read(db, su, ways):
    su.execute("create table public.mine (id int primary key); alter table public.mine owner to admin")
    admin = db.connect("admin")
    admin.add_notice_handler(lambda _: None)
    admin.execute("select audit.track('public.mine')")
    for leaf in ("public.child", "audit.destination_secret"):
        with pytest.raises(psycopg.Error):
            admin.execute("select audit_internal.record_baseline_batch('public.mine', %s, 0, 100)", [leaf])
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            admin.execute("select audit_internal.record_baseline_batch(%s, %s, 0, 100)", [leaf, leaf])


@pytest.mark.parametrize(
    "change",
    [
        "alter table public.parent alter id type text",
        "create policy r on public.parent as restrictive using (true); alter table public.parent enable row level security",
    ],
)
def test_a_way_that_its_owner_blocks_costs_no_write(db, su, ways, change):
    db.connect("app").execute(change)
    db.connect("app").execute("insert into public.child values (1, 1)")
    assert su.execute("select action, org_id from audit.event where resource_type = 'child'").fetchall() == [
        ("child.created", None)
    ]
