"""Actors from applications by psycopg, SQLAlchemy and asyncpg, as docs/apps shows it."""

import asyncio
import contextlib
import uuid

import asyncpg
import psycopg
import psycopg_pool
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from tests.apps.conftest import ADD_TEAM, ANN, APPS, BOB, event
from tests.documents import python_of

pytestmark = pytest.mark.any_server

page = python_of(APPS / "psycopg.md")
orm = python_of(APPS / "sqlalchemy.md")
apg = python_of(APPS / "asyncpg.md")

ADD = ADD_TEAM.format("%s")


@pytest.fixture
def pool(app_db):
    with psycopg_pool.ConnectionPool(app_db.dsn("app"), min_size=1, max_size=1) as made:
        yield made


def url(driver, app_db):
    return f"postgresql+{driver}://app@/{app_db.name}?host={app_db.server.socket_dir}&port=5432"


@pytest.fixture
def engine(app_db):
    made = sqlalchemy.create_engine(url("psycopg", app_db))
    orm.audited(made)
    yield made
    made.dispose()


@pytest.fixture
def acting():
    """Sets SQLAlchemy's actor until the test's end."""
    token = orm.actor.set(None)
    yield orm.actor.set
    orm.actor.reset(token)


def team(name):
    return sqlalchemy.text(ADD_TEAM.format(":name")), {"name": name}


def test_psycopg_names_the_actor_and_the_next_on_the_same_connection_is_another(pool, recorded, check):
    with pool.connection() as connection, page.acting(connection, **BOB):
        connection.execute(ADD, ["of Bob"])
    with pool.connection() as connection:
        connection.execute(ADD, ["of nobody"])
    with pool.connection() as connection, page.acting(connection, **ANN):
        connection.execute(ADD, ["of Ann"])
    assert recorded() == [event("of Bob", BOB), event("of nobody"), event("of Ann", ANN)]
    check("psycopg.md")


@pytest.mark.parametrize("id", [7, uuid.UUID(int=7), None], ids=["number", "uuid", "nobody"])
def test_psycopg_takes_ids_of_any_type(pool, recorded, id):
    with pool.connection() as connection, page.acting(connection, id):
        connection.execute(ADD, ["typed"])
    assert recorded() == [("typed", str(id) if id else "app", None, None, "app")]


def test_psycopg_acts_on_a_connection_in_autocommit_and_leaves_no_actor(app_db, recorded):
    with psycopg.connect(app_db.dsn("app"), autocommit=True) as connection:
        with page.acting(connection, **ANN):
            connection.execute(ADD, ["of Ann"])
        connection.execute(ADD, ["of nobody"])
    assert recorded() == [event("of Ann", ANN), event("of nobody")]


def test_in_an_open_transaction_of_psycopg_the_actor_holds_to_its_end_unless_rolled_back(app_db, recorded):
    with psycopg.connect(app_db.dsn("app")) as connection:
        connection.execute("select 1")
        with page.acting(connection, **ANN):
            connection.execute(ADD, ["of Ann"])
        connection.execute(ADD, ["of Ann too"])
        connection.commit()
        connection.execute("select 1")
        with contextlib.suppress(ZeroDivisionError), page.acting(connection, **BOB):
            connection.execute(ADD, ["never"])
            raise ZeroDivisionError
        connection.execute(ADD, ["of nobody"])
    assert recorded() == [event("of Ann", ANN), event("of Ann too", ANN), event("of nobody")]


async def test_psycopg_asynchronous_tasks_on_a_pool_each_have_their_actor(app_db, recorded):
    async with psycopg_pool.AsyncConnectionPool(app_db.dsn("app"), min_size=2, max_size=2, open=False) as pool:

        async def act(number):
            async with pool.connection() as connection, page.acting_async(connection, f"usr_{number}"):
                await connection.execute(ADD, [f"of usr_{number}"])

        await asyncio.gather(*map(act, range(20)))
    events = recorded()
    assert len(events) == 20
    assert all(name == f"of {actor}" for name, actor, *_ in events)


def test_sqlalchemy_names_the_actor_of_sessions_and_of_core(engine, acting, recorded):
    acting(ANN)
    with Session(engine) as session:
        session.execute(*team("by a session"))
        session.commit()
        session.execute(*team("by its next transaction"))
        session.commit()
    with engine.begin() as connection:
        connection.execute(*team("by core"))
    acting(None)
    with Session(engine) as session, session.begin():
        session.execute(*team("forgotten"))
    names = ["by a session", "by its next transaction", "by core"]
    assert recorded() == [*(event(name, ANN) for name in names), event("forgotten")]


def test_sqlalchemy_keeps_the_actor_when_a_savepoint_is_rolled_back(engine, acting, recorded, check):
    acting(ANN)
    with Session(engine) as session, session.begin():
        with session.begin_nested() as savepoint:
            session.execute(*team("never"))
            savepoint.rollback()
        session.execute(*team("after it"))
    assert recorded() == [event("after it", ANN)]
    check("sqlalchemy.md")


@pytest.mark.parametrize("id", [7, uuid.UUID(int=7)], ids=["number", "uuid"])
def test_sqlalchemy_takes_ids_of_any_type(engine, acting, recorded, id):
    acting({"id": id, "label": None, "request_id": None})
    with engine.begin() as connection:
        connection.execute(*team("typed"))
    assert recorded() == [("typed", str(id), None, None, "app")]


def test_sqlalchemy_in_autocommit_writes_as_the_database_role(engine, acting, recorded):
    acting(ANN)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(*team("alone"))
    assert recorded() == [event("alone")]


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
async def test_sqlalchemy_asynchronous_sessions_each_have_their_actor(app_db, recorded, driver):
    engine = create_async_engine(url(driver, app_db), pool_size=2)
    orm.audited(engine)

    async def act(number):
        orm.actor.set({"id": f"usr_{number}", "label": None, "request_id": None})
        async with AsyncSession(engine) as session, session.begin():
            await session.execute(*team(f"of usr_{number}"))

    await asyncio.gather(*map(act, range(5)))
    await engine.dispose()
    events = recorded()
    assert len(events) == 5
    assert all(name == f"of {actor}" for name, actor, *_ in events)


async def test_asyncpg_names_the_actor_and_the_next_on_the_same_connection_is_another(app_db, recorded, check):
    add = ADD_TEAM.format("$1")
    settings = {"host": str(app_db.server.socket_dir), "port": 5432, "user": "app", "database": app_db.name}
    async with asyncpg.create_pool(**settings, min_size=1, max_size=1) as pool:
        async with apg.acting(pool, **BOB) as connection:
            await connection.execute(add, "of Bob")
        await pool.execute(add, "of nobody")
        with contextlib.suppress(ZeroDivisionError):
            async with apg.acting(pool, **BOB) as connection:
                await connection.execute(add, "never")
                raise ZeroDivisionError
        async with apg.acting(pool, **ANN) as connection:
            await connection.execute(add, "of Ann")
    assert recorded() == [event("of Bob", BOB), event("of nobody"), event("of Ann", ANN)]
    check("asyncpg.md")
