"""Actors from a FastAPI application, as docs/apps shows it, with psycopg's pool and with SQLAlchemy."""

import asyncio
import contextlib
from types import SimpleNamespace

import httpx
import psycopg_pool
import pytest
import sqlalchemy
from fastapi import Depends, FastAPI, HTTPException
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from tests.apps.conftest import ADD_TEAM, ANN, APPS, BOB, event
from tests.documents import python_of

pytestmark = pytest.mark.any_server

page = python_of(APPS / "fastapi.md")
orm = python_of(APPS / "sqlalchemy.md")

ADD = ADD_TEAM.format("%s")
PEOPLE = {"ann": ANN, "bob": BOB}


async def who(connection):
    return PEOPLE.get(connection.headers.get("authorization", ""))


async def call(app, path, person=None):
    """The status of one request over a connection of its own."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://app.example") as client:
        answer = await client.post(path, headers={"Authorization": person} if person else {})
    return answer.status_code


@pytest.fixture
async def by_pool(app_db):
    """An application on a pool of two connections."""
    app = FastAPI()
    app.add_middleware(page.ActorMiddleware, who=who)

    @app.post("/add/{name}")
    async def add(name: str, connection: page.Transaction) -> None:
        await connection.execute(ADD, [name])

    @app.post("/refuse/{name}")
    async def refuse(name: str, connection: page.Transaction) -> None:
        await connection.execute(ADD, [name])
        raise HTTPException(409)

    @app.post("/fail-at-commit")
    async def fail_at_commit(connection: page.Transaction) -> None:
        await connection.execute(
            "create temporary table late (id int unique deferrable initially deferred) on commit drop"
        )
        await connection.execute("insert into late values (1), (1)")

    async with psycopg_pool.AsyncConnectionPool(app_db.dsn("app"), min_size=1, max_size=2, open=False) as pool:
        app.state.pool = pool
        yield app


@pytest.fixture
async def by_orm(app_db, monkeypatch):
    """An application with the same middleware, on SQLAlchemy: synchronous endpoints and asynchronous ones."""
    # As the document says: one variable, imported from the module of sqlalchemy.md.
    monkeypatch.setattr(page, "actor", orm.actor)
    app = FastAPI()
    app.add_middleware(page.ActorMiddleware, who=who)
    url = f"postgresql+psycopg://app@/{app_db.name}?host={app_db.server.socket_dir}&port=5432"
    engines = SimpleNamespace(plain=sqlalchemy.create_engine(url), asynchronous=create_async_engine(url))
    orm.audited(engines.plain)
    orm.audited(engines.asynchronous)

    @app.post("/plain/{name}")
    def plain(name: str) -> None:
        with Session(engines.plain) as session, session.begin():
            session.execute(sqlalchemy.text(ADD_TEAM.format(":name")), {"name": name})

    @app.post("/asynchronous/{name}")
    async def asynchronous(name: str) -> None:
        async with AsyncSession(engines.asynchronous) as session, session.begin():
            await session.execute(sqlalchemy.text(ADD_TEAM.format(":name")), {"name": name})

    yield app
    engines.plain.dispose()
    await engines.asynchronous.dispose()


async def test_a_request_writes_as_who_sent_it_and_one_without_as_the_database_role(by_pool, recorded, check):
    assert await call(by_pool, "/add/bobs", "bob") == 200
    assert await call(by_pool, "/add/nobodys") == 200
    assert await call(by_pool, "/add/anns", "ann") == 200
    assert recorded() == [event("bobs", BOB), event("nobodys"), event("anns", ANN)]
    check("fastapi.md")


async def test_a_request_that_is_refused_leaves_nothing(by_pool, recorded):
    assert await call(by_pool, "/refuse/anns", "ann") == 409
    assert recorded() == []


async def test_a_commit_that_fails_is_no_success(by_pool):
    assert await call(by_pool, "/fail-at-commit", "ann") == 500


async def test_requests_at_the_same_time_keep_their_own_actors(by_pool, recorded):
    await asyncio.gather(*(call(by_pool, f"/add/{person}", person) for person in ["ann", "bob"] * 10))
    events = recorded()
    assert len(events) == 20
    assert all(actor == f"usr_{name}" for name, actor, *_ in events)


@pytest.mark.parametrize("kind", ["plain", "asynchronous"])
async def test_with_sqlalchemy_each_request_has_its_actor_too(by_orm, recorded, kind):
    await asyncio.gather(*(call(by_orm, f"/{kind}/{person}", person) for person in ["ann", "bob"] * 5))
    await call(by_orm, f"/{kind}/nobodys")
    *events, last = recorded()
    assert len(events) == 10
    assert all(actor == f"usr_{name}" for name, actor, *_ in events)
    assert last == event("nobodys")


async def test_what_a_plain_dependency_sets_is_lost(by_pool, recorded):
    def say_who():
        page.actor.set(ANN)

    @by_pool.post("/plainly", dependencies=[Depends(say_who)])
    async def plainly(connection: page.Transaction) -> None:
        await connection.execute(ADD, ["of nobody"])

    assert await call(by_pool, "/plainly") == 200
    assert recorded() == [event("of nobody")]


async def test_a_lifespan_is_no_request(app_db):
    begun = []

    @contextlib.asynccontextmanager
    async def lifespan(_):
        begun.append(page.actor.get())
        yield

    app = FastAPI(lifespan=lifespan)
    app.add_middleware(page.ActorMiddleware, who=who)
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent = []

    async def receive():
        return next(messages)

    async def send(message):
        sent.append(message["type"])

    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
    assert (begun, sent) == ([None], ["lifespan.startup.complete", "lifespan.shutdown.complete"])
