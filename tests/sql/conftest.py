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
    """The events of category `thing` so far: operation, resource id, before, after, changed."""
    return lambda: su.execute(
        "select operation, resource_id, before, after, changed from audit.event where category = 'thing' order by id"
    ).fetchall()


@pytest.fixture
def thing(su, recorded):
    """A tracked table public.thing (id, name, hits), hits ignored; gives `recorded`."""
    su.execute("create table public.thing (id int primary key, name text, hits int default 0)")
    su.execute("select audit.track('public.thing', 'thing', label => 'name', ignore => '{hits}')")
    return recorded
