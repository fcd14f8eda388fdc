"""A database whose application is one of the documents' examples, and what was recorded of it."""

import pytest
from tests.conftest import clone
from tests.documents import PROJECT, blocks, psql

APPS = PROJECT / "docs" / "apps"

ADD_TEAM = "insert into nemo.team (org_id, name) select id, {} from nemo.organization"
"""A write of the application's, of a team by this name."""

ANN = {"id": "usr_ann", "label": "ann@acme.example", "request_id": "req_1"}
BOB = {"id": "usr_bob", "label": "bob@acme.example", "request_id": "req_2"}


@pytest.fixture(scope="module")
def app_db(server, nemo_template):
    """A database with one organization, for all tests of a module."""
    for database in clone(server, nemo_template):
        database.connect().execute("insert into nemo.organization (name, slug) values ('Acme', 'acme')")
        yield database


@pytest.fixture
def recorded(app_db):
    """The events about teams since the test began: team, actor's id, label, request id, role that logged in."""
    su = app_db.connect()
    (last,) = su.execute("select coalesce(max(id), 0) from audit.event").fetchone()
    yield lambda: su.execute(
        "select resource_label, actor_id, actor_label, request_id, db_role from audit.event "
        "where id > %s and category = 'teams' order by id",
        [last],
    ).fetchall()
    su.close()


@pytest.fixture
def check(app_db):
    """Holds a page to what its line of SQL prints after its example has run as Ann."""

    def look(page):
        (statement,), (printed,) = blocks(APPS / page, "sql")[-1:], blocks(APPS / page, "text")
        assert psql(app_db.server, app_db.dsn(), statement) == printed + "\n"

    return look


def event(team, actor=None, login="app"):
    """What is recorded of a write; without an actor the role that logged in is it."""
    return (team, *(actor.values() if actor else (login, None, None)), login)
