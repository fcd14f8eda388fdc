"""A column that says who wrote the row: the actor where nobody is claimed to be."""

import psycopg
import pytest

pytestmark = pytest.mark.any_server


@pytest.fixture(params=[False, True], ids=["by row", "bulk"])
def page(su, request):
    """A table that says who wrote each row; gives its events: action, type and id of the actor."""
    su.execute(
        "create table public.page (id int primary key, body text, updated_by text, updated_at timestamptz, seen int)"
    )
    su.execute(
        "select audit.track('public.page', actor => 'updated_by', ignore => '{seen}', bulk => %s)", [request.param]
    )
    return lambda: su.execute(
        "select action, actor_type, actor_id from audit.event where resource_type = 'page' order by id"
    ).fetchall()


def test_who_wrote_the_row_is_the_actor(su, page):
    su.execute("insert into public.page values (1, 'a', 'kim', now())")
    su.execute("update public.page set body = 'b', updated_by = 'lee'")
    assert page() == [("page.created", "user", "kim"), ("page.updated", "user", "lee")]


def test_whoever_is_claimed_comes_first(su, page):
    with su.transaction():
        su.execute("select audit.set_actor('zed')")
        su.execute("insert into public.page values (1, 'a', 'kim', now())")
    assert page() == [("page.created", "user", "zed")]


def test_a_column_that_was_not_written_says_nothing_of_who_wrote_the_others(su, page):
    su.execute("insert into public.page values (1, 'a', 'kim', now())")
    su.execute("update public.page set body = 'b'")
    # (By the time beside it: kim once more.)
    su.execute("update public.page set body = 'c', updated_by = 'kim', updated_at = now() + interval '1 s'")
    su.execute("delete from public.page")
    assert [actor for _, *actor in page()] == [
        ["user", "kim"], ["database", "postgres"], ["user", "kim"], ["database", "postgres"],
    ]  # fmt: skip


@pytest.mark.parametrize("nobody", ["", None])
def test_nobody_is_no_actor(su, page, nobody):
    su.execute("insert into public.page values (1, 'a', %s, now())", [nobody])
    assert page() == [("page.created", "database", "postgres")]


def test_a_number_a_uuid_and_a_renamed_column_are_taken_as_they_are_written(su):
    for name, kind, value in (("note", "bigint", "42"), ("sheet", "uuid", "0d4e6f9a-7f0b-4a0e-9a53-1d2c3b4a5f60")):
        su.execute(f"create table public.{name} (id int primary key, edited_by {kind})")
        su.execute(f"select audit.track('public.{name}', actor => 'edited_by')")
        su.execute(f"alter table public.{name} rename edited_by to changed_by")
        su.execute(f"insert into public.{name} values (1, '{value}')")
        (found,) = su.execute("select actor_id from audit.event where resource_type = %s", [name]).fetchone()
        assert found == value


def test_a_column_that_is_dropped_leaves_the_database_role(su, page):
    su.execute("alter table public.page drop column updated_by")
    su.execute("insert into public.page values (1, 'a', now())")
    assert page() == [("page.created", "database", "postgres")]


def test_the_events_of_such_an_actor_are_found_and_erased_like_others(su, page):
    su.execute("insert into public.page values (1, 'a', 'kim@acme.example', now())")
    of_actor = (
        "select count(*) from audit_internal.newest_events(audit.filter(jsonb_build_object('actor_id', %s::text)), 10)"
    )
    assert su.execute(of_actor, ["kim@acme.example"]).fetchone() == (1,)
    su.execute("select audit.erase_actor('kim@acme.example', 'request 17')")
    assert "kim@acme" not in str(su.execute("select * from audit.event where resource_type = 'page'").fetchall())


@pytest.mark.parametrize(
    ("actor", "columns", "sqlstate"),
    [("nobody", "a text", "PT002"), ("api_token", "api_token text", "PT004"), ("a", "a text", "PT004")],
)
def test_what_can_be_no_actor_is_refused(su, actor, columns, sqlstate):
    su.execute(f"create table public.leaf (id int primary key, {columns})")
    with pytest.raises(psycopg.Error) as refused:
        su.execute(
            "select audit.track('public.leaf', actor => %s, secret => %s)",
            [actor, ["a"] if "a text" in columns and actor == "a" else []],
        )
    assert refused.value.sqlstate == sqlstate
    assert refused.value.diag.message_hint
