"""Actors from a Django application, as docs/apps shows it: in `atomic`, with ATOMIC_REQUESTS, and in autocommit."""

import asyncio
import contextlib
import sys
from types import ModuleType

import httpx
import pytest
from tests.apps.conftest import ADD_TEAM, ANN, APPS, event
from tests.documents import python_of

pytestmark = pytest.mark.any_server

WHO = {"id": "7", "label": "ann@acme.example", "request_id": "req_1"}
ADD = ADD_TEAM.format("%s")


class Views:
    """What each request of a test does: `views.run = lambda request: …`."""

    run = staticmethod(lambda request: None)

    def __call__(self, request):
        from django.http import HttpResponse

        self.run(request)
        return HttpResponse("done")

    async def asynchronous(self, request, name):
        from django.http import HttpResponse

        await self.act(name)
        return HttpResponse("done")


class Identify:
    """Stands in for AuthenticationMiddleware: whoever has an `Authorization` is Ann, and the look-up queries."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        from django.contrib.auth.models import AnonymousUser
        from django.utils.functional import SimpleLazyObject

        request.user = SimpleLazyObject(lambda: ann() if "Authorization" in request.headers else AnonymousUser())
        return self.get_response(request)


def ann():
    from django.contrib.auth.models import User
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("select 1")
    return User(pk=7, username=ANN["label"])


@pytest.fixture(scope="module")
def django(app_db):
    """Django, set up on the module's database, with what the document has as its module `audit_actor`."""
    import django
    from django.conf import settings
    from django.urls import path

    views, project = Views(), ModuleType("project_of_the_tests")
    project.urlpatterns, project.Identify = [path("", views), path("asynchronous/<name>", views.asynchronous)], Identify
    sys.modules[project.__name__] = project
    settings.configure(
        ALLOWED_HOSTS=["*"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "HOST": str(app_db.server.socket_dir),
                "PORT": "5432",
                "NAME": app_db.name,
                "USER": "app",
                "OPTIONS": {"options": "-c search_path=nemo"},
            }
        },
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
        MIDDLEWARE=[f"{project.__name__}.Identify", "audit_actor.ActorMiddleware"],
        ROOT_URLCONF=project.__name__,
        SECRET_KEY="x",
    )
    django.setup()
    python_of(APPS / "django.md", "audit_actor")
    yield views
    from django.db import connections

    connections.close_all()


@pytest.fixture
def send(django):
    """Send a request that runs this, with Ann's name or without."""
    from django.test import Client

    def sending(run, by_ann=True):
        django.run = run
        headers = {"X-Request-Id": "req_1", **({"Authorization": "Ann"} if by_ann else {})}
        assert Client().get("/", headers=headers).status_code == 200

    return sending


@pytest.fixture
def atomic_requests(django):
    from django.db import connection

    connection.settings_dict["ATOMIC_REQUESTS"] = True
    yield
    connection.settings_dict["ATOMIC_REQUESTS"] = False


@pytest.fixture(scope="module")
def team(django):
    """A model on the table nemo.team, and how to add one."""
    from django.db import models

    class Team(models.Model):
        id = models.UUIDField(primary_key=True)
        name = models.TextField()

        class Meta:
            app_label, managed, db_table = "auth", False, "team"

    return Team


def add(name):
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(ADD, [name])


def test_in_autocommit_each_write_has_the_actor(send, recorded, check):
    send(lambda _: (add("first"), add("second")))
    assert recorded() == [event("first", WHO), event("second", WHO)]
    check("django.md")


def test_the_orm_in_autocommit_has_the_actor(send, team, recorded):
    add("to be renamed")
    send(lambda _: team.objects.filter(name="to be renamed").update(name="renamed"))
    send(lambda _: team.objects.get(name="renamed").delete())
    assert recorded() == [event("to be renamed"), event("renamed", WHO), event("renamed", WHO)]


def test_in_an_atomic_block_all_writes_have_the_actor(send, recorded):
    from django.db import transaction

    def run(_):
        for block in ("first", "second"):
            with transaction.atomic():
                add(f"{block}: one")
                add(f"{block}: two")

    send(run)
    assert [name for name, actor, *_ in recorded() if actor == "7"] == [
        "first: one", "first: two", "second: one", "second: two",
    ]  # fmt: skip


def test_with_atomic_requests_the_request_is_one_transaction_by_the_actor(send, recorded, atomic_requests, app_db):
    send(lambda _: (add("first"), add("second")))
    assert recorded() == [event("first", WHO), event("second", WHO)]
    (transactions,) = (
        app_db.connect()
        .execute("select count(distinct xid) from (select xid from audit.event order by id desc limit 2) as newest")
        .fetchone()
    )
    assert transactions == 1


def test_a_rolled_back_savepoint_does_not_take_the_actor_with_it(send, recorded):
    from django.db import transaction

    def run(_):
        with transaction.atomic():
            for name in ("never", "nor this"):
                with contextlib.suppress(ZeroDivisionError), transaction.atomic():
                    add(name)
                    raise ZeroDivisionError
            add("after it")

    send(run)
    assert recorded() == [event("after it", WHO)]


def test_who_was_named_in_a_savepoint_that_is_rolled_back_is_named_again(send, recorded):
    from django.db import transaction

    def run(request):
        with transaction.atomic():
            add("before")
            with contextlib.suppress(ZeroDivisionError), transaction.atomic():
                request.user = ann()
                add("never")
                raise ZeroDivisionError
            add("after it")

    send(run, by_ann=False)
    assert recorded() == [event("before"), event("after it", WHO)]


def test_a_failed_statement_in_a_savepoint_leaves_the_request_whole(send, recorded):
    from django.db import DataError, connection, transaction

    def run(_):
        with transaction.atomic():
            with pytest.raises(DataError), transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("select 1 / 0")
            add("after it")

    send(run)
    assert recorded() == [event("after it", WHO)]


def test_who_is_known_only_within_the_transaction_is_named_from_then_on(send, recorded, atomic_requests):
    def run(request):
        add("before")
        request.user = ann()
        add("after")

    send(run, by_ann=False)
    assert recorded() == [event("before"), event("after", WHO)]


def test_a_transaction_that_was_open_before_the_request_has_the_actor_too(send, recorded):
    from django.db import transaction

    with transaction.atomic():
        add("before")
        send(lambda _: add("within"))
    assert recorded() == [event("before"), event("within", WHO)]


@pytest.mark.parametrize("mode", ["autocommit", "atomic_requests"])
def test_nobody_and_what_is_outside_a_request_write_as_the_database_role(send, recorded, request, mode):
    if mode != "autocommit":
        request.getfixturevalue(mode)
    send(lambda _: add("by Ann"))
    send(lambda _: add("by nobody"), by_ann=False)
    add("by a command")
    assert recorded() == [event("by Ann", WHO), event("by nobody"), event("by a command")]


async def test_asynchronous_views_at_the_same_time_keep_their_own_actors(django, recorded):
    from asgiref.sync import sync_to_async
    from django.core.handlers.asgi import ASGIHandler

    django.act = sync_to_async(add)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(ASGIHandler()), base_url="http://app.example") as client:

        async def send(name, headers):
            assert (await client.get(f"/asynchronous/{name}", headers=headers)).status_code == 200

        by_ann = {"Authorization": "Ann", "X-Request-Id": "req_1"}
        await asyncio.gather(*(send("by Ann", by_ann) if n % 2 else send("by nobody", {}) for n in range(10)))
    assert sorted(recorded()) == [event("by Ann", WHO)] * 5 + [event("by nobody")] * 5


def test_a_read_in_autocommit_costs_no_statement_more(send, django, team):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as queries:
        send(lambda _: list(team.objects.all()))
    assert [query["sql"].split()[0] for query in queries] == ["select", "SELECT"]
