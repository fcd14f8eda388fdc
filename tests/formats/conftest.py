"""Every action that pgtrail records, and events such as nobody would think of, rendered in any format."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.types.json import Jsonb
from tests.conftest import Database, clone

from pgtrail_cli.demo import scenario

EXAMPLES = 50

SELF_AUDIT = """
    select audit.add_destination('siem', 'https://siem.example/hook');
    select audit.pause_destination('siem');
    select audit.pause_destination('siem', false);
    select audit.rotate_secret('siem');
    select audit.replay_events('siem', 'the SIEM lost them', since => now());
    select audit.remove_destination('siem');
    select audit.grant_org('reader', 'org_1');
    select audit.revoke_org('reader', 'org_1');
    create table public.thing (
        id int primary key,
        enabled boolean not null default true,
        disabled boolean not null default false
    );
    select audit.track('public.thing', 'thing');
    select audit.rule('public.thing', 'thing.switched', 'thing', 'UPDATE', 'new.enabled <> old.enabled');
    insert into public.thing values (1), (2);
    update public.thing set enabled = false where id = 1;
    update public.thing set enabled = true where id = 1;
    update public.thing set disabled = true where id = 1;
    update public.thing set disabled = false where id = 1;
    truncate public.thing;
    select audit.drop_rule('public.thing', 'thing.switched');
    select audit.untrack('public.thing');
"""
"""What operators do, a resource of somebody else's, and a TRUNCATE."""

ACTIONS = {*scenario.ACTIONS, "audit.ping", "audit.destination_added", "thing.switched", "thing.deleted"}

Check = Callable[[dict[str, Any], str], None]
"""A test of one event, as it stands in audit.event, and what it was rendered as."""

# No NUL and no surrogates: jsonb takes neither.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
NASTY = st.sampled_from(
    ["", " ", "a@b.example", "a b@c", "@", "\r\n", '"', "\\", "%2F", 'key,"x"', "ä/ö", "\x7f", "\u2028", "🦊"]
)
LABEL = st.none() | TEXT | NASTY
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
ROW = st.dictionaries(TEXT | st.sampled_from(["role", "status", "enabled", "disabled"]), JSON, max_size=4)
CHANGED = st.sampled_from([["enabled"], ["disabled"]]) | st.lists(TEXT, max_size=3)
CHANGES = st.one_of(
    st.fixed_dictionaries({"operation": st.none()}),
    st.fixed_dictionaries({"operation": st.just("INSERT"), "after": ROW}),
    st.fixed_dictionaries({"operation": st.just("UPDATE"), "before": ROW, "after": ROW, "changed": CHANGED}),
    st.fixed_dictionaries({"operation": st.sampled_from(["DELETE", "TRUNCATE"]), "before": ROW}),
)
LABELS = (
    *("org_id", "resource_id", "resource_label", "actor_id", "actor_label", "user_agent", "request_id", "reason"),
    *("table_name", "application_name"),
)
SURROUNDINGS = st.fixed_dictionaries(
    {
        "id": st.integers(0, 2**63 - 1),
        "category": st.sampled_from(["api_keys", "members", "password", "teams", "audit", "custom"]),
        "action": st.sampled_from(["thing.done", *scenario.ACTIONS]),
        "resource_type": st.sampled_from(["member", "profile", "key", "team", "thing"]),
        "actor_type": st.sampled_from(["user", "service", "api_key", "database", "robot"]),
        "actor_ip": st.none() | st.ip_addresses().map(str),
        "client_addr": st.none() | st.ip_addresses().map(str),
        "occurred_at": st.sampled_from(
            ["2026-11-23T09:30:00.123456Z", "1969-12-31T23:59:59.999999Z", "2999-01-01T00:00:00+05"]
        ),
    }
    | dict.fromkeys(LABELS, LABEL)
)
EVENTS = st.tuples(SURROUNDINGS, CHANGES).map(lambda parts: parts[0] | parts[1])


@dataclass(frozen=True)
class Rendered:
    event: dict[str, Any]
    text: str


def _function(name: str) -> sql.Identifier:
    return sql.Identifier("audit_internal", f"render_{name}")


@pytest.fixture(scope="session")
def rendered(server, nemo_template):
    """Plays an organization's day and an operator's, once; gives every event of it, and a ping, in a format."""
    yield from (renderer(played) for played in clone(server, nemo_template))


def renderer(database: Database) -> Callable[[str], list[Rendered]]:
    app, operator = database.connect("app"), database.connect()
    operator.add_notice_handler(lambda _: None)
    scenario.play(app)
    operator.execute(SELF_AUDIT)
    query = sql.SQL(
        "select to_jsonb(event) || jsonb_build_object('row_before', audit.row_before(event)), {}(event) from ("
        "select event from audit.event union all select audit_internal.ping_event()) as every"
    )

    def render(name: str) -> list[Rendered]:
        events = [Rendered(*row) for row in operator.execute(query.format(_function(name)))]
        assert {event.event["action"] for event in events} >= ACTIONS
        return events

    return render


@pytest.fixture
def render_made(db):
    """An event of which only what matters is given, in a format."""
    connection = db.connect()
    query = sql.SQL(
        "select to_jsonb(event) || jsonb_build_object('row_before', audit.row_before(event)), {}(event) "
        "from jsonb_populate_record(null::audit.event, %s) as event"
    )

    def render(name: str, **fields: Any) -> Rendered:
        made = {"id": 1, "occurred_at": "2026-11-23T09:30:00Z", "category": "api_keys", "action": "key.updated"}
        made |= {"resource_type": "key", "actor_type": "user", "db_role": "app"} | fields
        row = connection.execute(query.format(_function(name)), [Jsonb(made)]).fetchone()
        assert row is not None
        return Rendered(*row)

    return render


@pytest.fixture
def holds_of_any_event(render_made):
    """Tries a check of a format on events with any text, null and JSON in them."""

    def try_it(name: str, check: Check) -> None:
        @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(EVENTS)
        def it_holds(event: dict[str, Any]) -> None:
            made = render_made(name, **event)
            check(made.event, made.text)

        it_holds()

    return try_it


@pytest.fixture(scope="session")
def one_line():
    """Parses JSON that must stand on one line; refuses what JSON proper doesn't know (NaN) and duplicate names."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({name for name, _ in pairs}) == len(pairs)
        return dict(pairs)

    def parse(text: str) -> Any:
        assert not any(ord(letter) < 0x20 for letter in text)
        return json.loads(text, parse_constant=refuse, object_pairs_hook=unique)

    return parse
