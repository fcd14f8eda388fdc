"""A day of an organization, as a gateway would write it: under an ordinary role that has no grant on `audit`.

Some transactions name their actor with ``audit.set_actor``, some carry ``request.jwt.claims`` as PostgREST sets them,
and some say nothing at all.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

Connection = psycopg.Connection[TupleRow]

ACTIONS = (
    *("key.created", "key.updated", "key.rotated", "key.deleted"),
    *("member.invited", "member.accepted", "member.role_changed", "member.updated", "member.removed"),
    *("team.created", "team.updated", "team.deleted"),
    *("organization.created", "organization.updated", "organization.deleted"),
    *("budget.created", "budget.updated", "budget.deleted"),
    *("guardrail.created", "guardrail.updated", "guardrail.deleted"),
    "plan.changed",
    *("settings.router_updated", "settings.updated"),
    "data_policy.updated",
    *("profile.created", "profile.updated", "profile.deleted"),
    "password.changed",
)
"""Every action of the catalogue; the scenario has them all."""


@dataclass(frozen=True, slots=True)
class Person:
    """A user who is signed in to the gateway."""

    id: str
    email: str


ANN = Person("usr_ann", "ann@acme.example")
BOB = Person("usr_bob", "bob@acme.example")
CLEO = Person("usr_cleo", "cleo@acme.example")


@contextmanager
def acting(app: Connection, person: Person, reason: str | None = None) -> Iterator[Connection]:
    """A transaction whose actor the gateway sets."""
    with app.transaction():
        app.execute(
            "select audit.set_actor(%s, %s, ip => '203.0.113.7', user_agent => 'Mozilla/5.0', reason => %s)",
            [person.id, person.email, reason],
        )
        yield app
    time.sleep(THINKING_SECONDS)


@contextmanager
def claiming(app: Connection, person: Person) -> Iterator[Connection]:
    """A transaction as PostgREST opens it."""
    with app.transaction():
        claims = json.dumps({"sub": person.id, "email": person.email, "role": "authenticated"})
        app.execute("select set_config('request.jwt.claims', %s, true)", [claims])
        yield app
    time.sleep(THINKING_SECONDS)


THINKING_SECONDS = 0.02
"""Between two transactions, about as people's requests reach a gateway."""


def play(app: Connection) -> None:
    """Do all of it: some 60 changes in some 45 transactions."""
    org = _found(app)
    teams = _people_and_teams(app, org)
    _keys_and_budgets(app, org, teams)
    _policies(app, org)
    _farewells(app, org)


def _insert(app: Connection, table: str, **row: object) -> str:
    """Insert a row; returns its id."""
    ((row_id,),) = app.execute(
        sql.SQL("insert into {} ({}) values ({}) returning id").format(
            sql.Identifier("nemo", table),
            sql.SQL(", ").join(map(sql.Identifier, row)),
            sql.SQL(", ").join(map(sql.Placeholder, row)),
        ),
        row,
    )
    return str(row_id)


def _found(app: Connection) -> str:
    with acting(app, ANN, "first sign-up"):
        org = _insert(app, "organization", name="Acme", slug="acme")
        for person, name in ((ANN, "Ann Arbor"), (BOB, "Bob Marlow"), (CLEO, "Cléo Ø. 🦊")):
            secret = f"$argon2id$demo-secret-{person.id}"
            _insert(app, "profile", org_id=org, email=person.email, full_name=name, password_hash=secret)
    with acting(app, ANN):
        app.execute("update nemo.organization set logo_url = 'https://acme.example/logo.svg' where id = %s", [org])
    with acting(app, ANN, "we outgrew pay as you go"):
        app.execute("update nemo.organization set plan_tier = 'tier_2', timezone = 'Europe/Oslo' where id = %s", [org])
    with claiming(app, ANN):
        app.execute("update nemo.organization set plan_tier = 'tier_3' where id = %s", [org])
    return org


def _people_and_teams(app: Connection, org: str) -> dict[str, str]:
    teams: dict[str, str] = {}
    for name, rpm in (("Search", 600), ("Support bots", 120), ("Skunkworks", 30)):
        with acting(app, ANN):
            teams[name] = _insert(app, "team", org_id=org, name=name, models=["gpt-6", "claude-5"], rpm_limit=rpm)
    with acting(app, BOB):
        app.execute("update nemo.team set rpm_limit = 900, tpm_limit = 2000000 where id = %s", [teams["Search"]])
    with acting(app, BOB):
        app.execute("update nemo.team set models = models || '{llama-5}' where org_id = %s", [org])
    for person, role in ((BOB, "admin"), (CLEO, "member"), (Person("usr_dan", "dan@acme.example"), "viewer")):
        with acting(app, ANN):
            app.execute(
                "insert into nemo.member (org_id, profile_id, email, role, invite_token_hash) values "
                "(%s, (select id from nemo.profile where email = %s), %s, %s, %s)",
                [org, person.email, person.email, role, f"demo-secret-invite-{person.id}"],
            )
        with claiming(app, person):
            app.execute(
                "update nemo.member set status = 'active', accepted_at = now() where email = %s", [person.email]
            )
    with acting(app, ANN, "Cléo leads Search now"):
        app.execute("update nemo.member set role = 'admin' where email = %s", [CLEO.email])
    with acting(app, ANN):
        app.execute("update nemo.member set team_id = %s where email = %s", [teams["Search"], CLEO.email])
    return teams


def _keys_and_budgets(app: Connection, org: str, teams: dict[str, str]) -> None:
    keys = []
    for number, (name, team) in enumerate((("ci", "Search"), ("prod", "Search"), ("helpdesk", "Support bots"))):
        with acting(app, BOB):
            issued: dict[str, object] = {
                "key_prefix": f"sk-{number}",
                "key_hash": f"demo-secret-key-{number}",
                "rpm_limit": 60,
            }
            metadata = Jsonb({"env": name})
            keys.append(
                _insert(app, "api_key", org_id=org, team_id=teams[team], name=name, **issued, metadata=metadata)
            )
    with acting(app, BOB, "load test on Thursday"):
        app.execute("update nemo.api_key set rpm_limit = 120 where id = %s", [keys[1]])
    with acting(app, CLEO, "leaked in a log, INC-4711"):
        app.execute(
            "update nemo.api_key set key_hash = 'demo-secret-key-1b', key_prefix = 'sk-1b' where id = %s", [keys[1]]
        )
    with claiming(app, BOB):
        app.execute(
            "update nemo.api_key set ip_allowlist = '{10.0.0.0/8}', allowed_models = '{gpt-6}' where id = %s", [keys[0]]
        )
    # (Ignored columns: no events.)
    for key in keys:
        app.execute("update nemo.api_key set spend = spend + 0.02, last_used_at = now() where id = %s", [key])
    for name, limit, period in (("Monthly cap", 5000, "monthly"), ("Daily guard", 300, "daily")):
        with acting(app, ANN):
            _insert(app, "budget", org_id=org, name=name, team_id=teams["Search"], max_spend=limit, duration=period)
    with acting(app, ANN, "Q4 forecast"):
        app.execute("update nemo.budget set max_spend = 7500 where org_id = %s and name = 'Monthly cap'", [org])
    app.execute("update nemo.api_key set disabled = true where id = %s", [keys[2]])
    with acting(app, BOB):
        app.execute("delete from nemo.api_key where id = %s", [keys[2]])


def _policies(app: Connection, org: str) -> None:
    for name, kind, config in (
        ("No card numbers", "pii", {"entities": ["CREDIT_CARD"], "action": "mask"}),
        ("Jailbreaks", "prompt_injection", {"threshold": 0.8, "api_key": "demo-secret-guardrail"}),
    ):
        with acting(app, CLEO):
            _insert(app, "guardrail", org_id=org, name=name, kind=kind, config=Jsonb(config))
    with acting(app, CLEO, "too many false alarms"):
        app.execute(
            "update nemo.guardrail set config = config || '{\"threshold\": 0.9}' where org_id = %s and kind <> 'pii'",
            [org],
        )
    with acting(app, BOB):
        app.execute("update nemo.guardrail set enabled = false where org_id = %s and kind <> 'pii'", [org])
    for name, first, then in (
        ("router", {"strategy": "latency"}, {"strategy": "cost", "fallbacks": ["claude-5"]}),
        ("data_policy", {"retention_days": 30}, {"retention_days": 0, "training": False}),
        ("appearance", {"theme": "light"}, {"theme": "dark"}),
    ):
        for person, value in ((ANN, first), (BOB, then)):
            with acting(app, person):
                app.execute(
                    "insert into nemo.setting (org_id, name, value) values (%s, %s, %s) "
                    "on conflict (org_id, name) do update set value = excluded.value, updated_at = now()",
                    [org, name, Jsonb(value)],
                )


def _farewells(app: Connection, org: str) -> None:
    with claiming(app, CLEO):
        app.execute(
            "update nemo.profile set avatar_url = 'https://acme.example/cleo.png' where email = %s", [CLEO.email]
        )
    with claiming(app, CLEO):
        app.execute(
            "update nemo.profile set password_hash = '$argon2id$demo-secret-new' where email = %s", [CLEO.email]
        )
    with acting(app, BOB):
        app.execute("delete from nemo.guardrail where org_id = %s and kind = 'prompt_injection'", [org])
    with acting(app, ANN, "left the company"):
        app.execute("delete from nemo.member where email = 'dan@acme.example'")
    # A nightly job of the gateway, which sets no actor.
    with app.transaction():
        app.execute("delete from nemo.budget where org_id = %s and name = 'Daily guard'", [org])
        app.execute("delete from nemo.team where org_id = %s and name = 'Skunkworks'", [org])
    # Rolled back: not recorded.
    with app.transaction(force_rollback=True):
        app.execute("delete from nemo.organization where id = %s", [org])
    with app.transaction():
        trial = _insert(app, "organization", name="Trial Ltd", slug="trial")
        _insert(app, "profile", org_id=trial, email="eve@trial.example")
        _insert(app, "team", org_id=trial, name="Everyone")
    with acting(app, Person("svc_billing", "billing-sync"), "trial ended"):
        app.execute("delete from nemo.organization where id = %s", [trial])
