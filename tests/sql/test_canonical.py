"""What is hashed is described once for SQL and once for Python, and both, and the document, say the same."""

import json
import re
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import clone

from pgtrail.sql_functions import inline, sql_functions
from pgtrail.verify import QUERIES
from pgtrail.verify.canonical import (
    ACTOR_FIELDS,
    FIELDS,
    SEAL_FIELDS,
    Kept,
    commitment,
    event_of,
    event_with_text,
    leaf,
    leaf_salt,
    part_salt,
)

DOCUMENT = (Path(__file__).parents[2] / "docs" / "security" / "seals.md").read_text()
TEXT = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
ROW = st.dictionaries(TEXT, JSON, max_size=5) | JSON
BIGINT = st.integers(-(2**63), 2**63 - 1)
XID = st.integers(0, 2**64 - 1).map(str)
ADDRESS = st.ip_addresses().map(str) | st.just("2001:db8::/33") | st.just("10.0.0.0/8")
SALT = st.binary(min_size=32, max_size=32)
KINDS = {
    "xid": XID,
    "occurred_at": st.datetimes().map(lambda at: at.isoformat() + "Z"),
    "client_addr": ADDRESS,
    "actor_ip": ADDRESS,
    "before": ROW,
    "after": ROW,
    "changed": st.lists(TEXT, max_size=3),
    "node_id": BIGINT,
    "node_xid": XID,
}
EVENT = st.fixed_dictionaries(
    {
        name: BIGINT if name == "id" else st.none() | KINDS.get(name, TEXT)
        for name in (*FIELDS, *ACTOR_FIELDS, "resource_label", "before", "after")
    }
)
GIVEN = "from jsonb_populate_record(null::audit.event, %(event)s::jsonb) as event"
COLUMNS = ", ".join(
    f"audit_internal.rfc3339({name}) as {name}" if name == "occurred_at"
    # As Postgres shows an address, and JSON.
    else f"to_json(changed)::text as {name}" if name == "changed" else f"concat({name}) as {name}, {name} is null as no_{name}"
    for name in (*FIELDS, *ACTOR_FIELDS, "resource_label", "before", "after")
)  # fmt: skip


@pytest.fixture(scope="module")
def log(server, empty_template):
    with contextmanager(clone)(server, empty_template) as database:
        connection = database.connect()
        connection.execute("set timezone = 'UTC'")
        yield connection


def archived(log, event):
    """An event as an archive has it."""
    cursor = log.cursor(row_factory=psycopg.rows.dict_row)
    row = cursor.execute(f"select {COLUMNS} {GIVEN}", {"event": json.dumps(event)}).fetchone()
    return {name: None if row.get(f"no_{name}") else value for name, value in row.items()}


PROPERTY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)


@PROPERTY
@given(event=EVENT, secret=SALT, actor=st.none() | SALT, person=st.none() | SALT)
def test_sql_and_python_find_the_same_leaf(log, event, secret, actor, person):
    asked = {"event": json.dumps(event), "secret": secret, "actor": actor, "person": person}
    call = "audit_internal.event_leaf(event, %(secret)s::bytea, %(actor)s::bytea, %(person)s::bytea)"
    (called,) = log.execute(f"select hashed.leaf {GIVEN} cross join lateral {call} as hashed", asked).fetchone()
    (inlined,) = log.execute(
        f"select hashed.leaf {GIVEN} cross join lateral {inline(call)} as hashed", asked
    ).fetchone()
    assert called == inlined
    assert leaf(event_of(archived(log, event)), secret, actor, person) == called


@PROPERTY
@given(event=EVENT, secret=SALT, actor=st.none() | SALT, person=st.none() | SALT)
def test_sql_and_python_find_the_same_parts_and_commitments(log, event, secret, actor, person):
    row = archived(log, event)
    ours = event_of(row)
    asked = {"event": json.dumps(event), "secret": secret, "actor": actor, "person": person}
    found = log.execute(
        "select parts.side, parts.part, parts.content, "
        "audit_internal.commitment(audit_internal.part_salt(part, audit_internal.leaf_salt(%(secret)s, event.id), %(actor)s, %(person)s), content) "
        f"{GIVEN} cross join lateral audit_internal.parts(event) with ordinality as parts (side, part, content, place) order by place",
        asked,
    ).fetchall()
    assert [tuple(one[:3]) for one in found] == list(ours.parts())
    salt = leaf_salt(secret, ours.id)
    for _, part, content, committed in found:
        assert commitment(part_salt(part, salt, actor, person), content) == committed
    # Whatever was kept of a part stands for it.
    kept = {part: Kept(committed, None) for _, part, _, committed in found}
    assert leaf(ours, secret, None, None, kept) == leaf(ours, secret, actor, person)


@PROPERTY
@given(event=EVENT)
def test_an_event_is_the_same_whether_it_comes_from_an_archive_or_as_text(log, event):
    (text, actor) = log.execute(
        f"select audit_internal.event_text(event, null, null, null, null), audit_internal.actor_part(event) {GIVEN}",
        {"event": json.dumps(event)},
    ).fetchone()
    ours = event_of(archived(log, event))
    assert event_with_text(text, actor, ours.label, ours.before, ours.after) == ours


def named(words):
    return re.findall(r"`(\w+)`", words)


def test_the_document_names_the_same_fields_in_the_same_order():
    event = re.search(r'in this order: `"pgtrail event 1"`,(.*?), the commitment to', DOCUMENT, re.DOTALL)
    seal = re.search(r'in this order: `"pgtrail seal 1"`,(.*?)\.\n', DOCUMENT, re.DOTALL)
    actor = re.search(r"- `actor`: the canonical text of `(.*?)`;", DOCUMENT)
    assert tuple(named(event[1])) == FIELDS
    assert tuple(named(seal[1])) == SEAL_FIELDS
    assert tuple(actor[1].split(", ")) == ACTOR_FIELDS


def test_every_column_of_an_event_and_of_a_seal_is_hashed_but_those_that_are_derived(log):
    columns = "select attname from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped"
    of_event = {name for (name,) in log.execute(columns, ["audit.event"])}
    of_seal = {name for (name,) in log.execute(columns, ["audit.seal"])}
    assert of_event - {*FIELDS, *ACTOR_FIELDS} == {"resource_label", "before", "after", "resource_hash"}
    assert of_seal - {*SEAL_FIELDS} == {"hash"}


def test_verify_calls_no_function_of_the_database():
    for name, query in QUERIES.items():
        assert not re.search(r"\baudit(_internal)?\.\w+\(", query), name


def test_a_body_takes_the_arguments_of_its_call():
    assert "pg_catalog.to_json(a.b)::text, ': ', f(x, ',)')::text" in inline(
        "audit_internal.member_part(a.b, f(x, ',)'))"
    )
    assert "'pgtrail event 1'" in inline("audit_internal.event_text(pgtrail, null, null, null, null)")
    assert inline("select audit.event") == "select audit.event"
    with pytest.raises(KeyError):
        inline("audit.nothing_of_ours()")
    with pytest.raises(ValueError, match="zip"):
        inline("audit_internal.member_part(a)")


def test_what_is_hashed_uses_functions_and_operators_of_postgres_alone():
    text = (Path(__file__).parents[2] / "sql" / "seal" / "canonical.sql").read_text()
    names = re.findall(r"^create or replace function audit(?:_internal)?\.(\w+)", text, re.MULTILINE)
    assert {"parts", "event_text", "event_leaf", "seal_text"} <= {*names}
    for name in {*names} - {"merkle_parents", "merkle_root"}:
        body = re.sub(r"'(?:[^']|'')*'", "''", inline(sql_functions()[name].body))
        assert {*re.findall(r"(?<![.\w])(\w+)\(", body)} <= {"coalesce", "operator"}, name
        assert not re.search(r"(?<!\.)\|\|", body), name
