"""Actors from the claims of PostgREST's and Supabase's requests: the statements that PostgREST issues, as its login role."""

import json

import psycopg
import pytest
from tests.apps.conftest import ADD_TEAM, ANN, APPS, event
from tests.documents import blocks

pytestmark = pytest.mark.any_server

ROLES = ["anon", "authenticated", "service_role"]
ADD = ADD_TEAM.format("$1").encode()
LOGIN = "authenticator"

USER = {"sub": ANN["id"], "email": ANN["label"], "role": "authenticated"}
HEADERS = {"x-request-id": ANN["request_id"], "user-agent": "curl/8"}


@pytest.fixture(scope="module")
def postgrest_db(app_db):
    """The roles of PostgREST and Supabase, which may write to the teams."""
    su = app_db.connect()
    su.execute(f"create role {LOGIN} login noinherit")
    for role in ROLES:
        su.execute(f"create role {role}")
        su.execute(f"grant {role} to {LOGIN}")
        su.execute(f"grant usage on schema nemo to {role}")
        su.execute(f"grant select on nemo.organization to {role}")
        su.execute(f"grant insert on nemo.team to {role}")
    yield app_db
    for role in [*ROLES, LOGIN]:
        su.execute(f"drop owned by {role}")
        su.execute(f"drop role {role}")


@pytest.fixture
def request_by(postgrest_db):
    """Send what PostgREST (12 to 14) sends for a POST: extended protocol, every value a parameter of no type."""
    connection = postgrest_db.connect(LOGIN).pgconn

    def run(statement, *values):
        result = connection.exec_params(statement, [value.encode() for value in values], param_types=[0] * len(values))
        assert not result.error_message, result.error_message

    def requesting(claims, team, headers=None, pre_request=False, method="POST"):
        role = claims.get("role", "anon")
        # (PostgREST adds the role to the claims, also where there is no token.)
        settings = {
            "search_path": '"nemo", "public"',
            "role": role,
            "request.jwt.claims": json.dumps(claims | {"role": role}),
            "request.method": method,
            "request.path": "/team",
            "request.headers": json.dumps(headers or {}),
            "request.cookies": "{}",
        }
        run(b"BEGIN ISOLATION LEVEL READ COMMITTED READ " + (b"WRITE" if method == "POST" else b"ONLY"))
        setters = ", ".join(f"set_config('{name}', ${n}, true)" for n, name in enumerate(settings, 1))
        run(f"select {setters}".encode(), *settings.values())
        if pre_request:
            run(b'select "public"."say_who"()')
        if method == "POST":
            run(ADD, team)
        run(b"COMMIT")

    return requesting


@pytest.fixture(params=["postgrest.md", "supabase.md"])
def page(request, postgrest_db):
    """A page, its function created, and no trace of what else it sets for the login role."""
    su = postgrest_db.connect()
    su.execute(blocks(APPS / request.param, "sql")[0])
    yield request.param
    su.execute(f"drop function public.say_who(); alter role {LOGIN} reset all")


def test_a_token_is_the_actor_and_the_login_role_stands_beside_it(request_by, recorded):
    request_by(USER, "of Ann")
    assert recorded() == [("of Ann", ANN["id"], ANN["label"], None, LOGIN)]


@pytest.mark.parametrize(
    "claims",
    [{}, {"role": "anon", "iss": "supabase"}, {"role": "service_role", "iss": "supabase"}],
    ids=["no token", "anon", "service_role"],
)
def test_without_a_subject_the_actor_is_the_role_that_was_switched_to(request_by, recorded, claims):
    request_by(claims, "of a role")
    assert recorded() == [("of a role", claims.get("role", "anon"), None, None, LOGIN)]


def test_the_next_request_on_the_connection_is_nobody_elses(request_by, recorded):
    request_by(USER, "of Ann")
    request_by({}, "of nobody")
    assert recorded()[1] == ("of nobody", "anon", None, None, LOGIN)


def test_a_subject_that_is_no_text_is_taken_as_it_is_written(request_by, recorded):
    request_by({"sub": 7, "email": None, "role": "authenticated"}, "of a number")
    assert recorded() == [("of a number", "7", None, None, LOGIN)]


def test_claims_that_an_application_garbles_do_not_cost_it_its_write(postgrest_db, recorded):
    with psycopg.connect(postgrest_db.dsn("app")) as connection:
        connection.execute("select set_config('request.jwt.claims', '{\"sub\":', true)")
        connection.execute(ADD_TEAM.format("%s"), ["garbled"])
    assert recorded() == [event("garbled")]


def test_the_pages_function_adds_the_request(page, request_by, recorded, check):
    request_by(USER, "of Ann", HEADERS, pre_request=True)
    assert recorded() == [("of Ann", *ANN.values(), LOGIN)]
    check(page)


def test_the_pages_function_leaves_anonymous_requests_to_the_role(page, request_by, recorded):
    request_by({}, "of nobody", HEADERS, pre_request=True)
    assert recorded() == [("of nobody", "anon", None, None, LOGIN)]


def test_the_pages_function_lets_reads_be(page, request_by, recorded):
    request_by(USER, "", HEADERS, pre_request=True, method="GET")
    assert recorded() == []


@pytest.mark.parametrize("page", ["supabase.md"], indirect=True)
@pytest.mark.parametrize("role", ["anon", "authenticated"])
@pytest.mark.usefixtures("page")
def test_only_the_service_role_is_believed_whom_it_acts_for(request_by, recorded, role):
    headers = {**HEADERS, "x-actor-id": "usr_bob", "x-actor-label": "bob@acme.example"}
    request_by({"role": "service_role"}, "of Bob", headers, pre_request=True)
    request_by({"role": "service_role"}, "of the server", HEADERS, pre_request=True)
    request_by({**USER, "role": role}, "of Ann", headers, pre_request=True)
    assert recorded() == [
        ("of Bob", "usr_bob", "bob@acme.example", "req_1", LOGIN),
        ("of the server", "service_role", None, None, LOGIN),
        ("of Ann", *ANN.values(), LOGIN),
    ]
