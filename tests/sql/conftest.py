"""A tracked table to write to, and what was recorded of it."""

import pytest


@pytest.fixture
def su(db):
    """A superuser's connection to `db` that says nothing of notices."""
    connection = db.connect()
    connection.add_notice_handler(lambda _: None)
    return connection


@pytest.fixture
def recorded(su):
    """The events of category `thing` so far: operation, resource id, the whole rows before and after, changed."""
    return lambda: su.execute(
        "select operation, resource_id, audit.row_before(event), after, changed from audit.event where category = 'thing' order by id"
    ).fetchall()


@pytest.fixture
def thing(su, recorded):
    """A tracked table public.thing (id, name, hits), hits ignored; gives `recorded`."""
    su.execute("create table public.thing (id int primary key, name text, hits int default 0)")
    su.execute("select audit.track('public.thing', 'thing', label => 'name', ignore => '{hits}')")
    return recorded


@pytest.fixture
def told(su):
    """The events about capture and protection since the last look: action, resource id, before, after."""
    last = su.execute("select coalesce(max(id), 0) from audit.event").fetchone()[0]

    def look():
        nonlocal last
        rows = su.execute(
            "select id, action, resource_id, before, after from audit.event where id > %s and category = 'audit' "
            r"and action ~ '\.(capture|protection|partition|table)_' and action <> 'audit.table_altered' order by id",
            [last],
        ).fetchall()
        last = max([last, *(row[0] for row in rows)])
        return [row[1:] for row in rows]

    return look


def unwatch(su):
    for statement in (
        "drop event trigger pgtrail_follow_ddl",
        "drop event trigger pgtrail_follow_drop",
        "drop event trigger pgtrail_extend_capture",
        "drop function audit_internal.extend_capture()",
        "drop event trigger pgtrail_follow_rewrite",
        "drop function audit_internal.fit_trigger(regclass, text, boolean, text[])",
    ):
        su.execute(statement)


@pytest.fixture
def unwatched(su):
    """As installed without a superuser: there are no event triggers."""
    unwatch(su)
