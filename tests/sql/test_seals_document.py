"""docs/security/seals.md, read as a stranger would: every digest again, in plain Python, from the rows alone."""

import hashlib
import json
from datetime import UTC

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.verifying import problems

pytestmark = pytest.mark.any_server


NOTHING = b"\0" * 32


def sha256(*pieces):
    return hashlib.sha256(b"".join(pieces)).digest()


def canonical(*elements):
    return "[" + ", ".join(elements) + "]"


def text(value):
    return "null" if value is None else json.dumps(value, ensure_ascii=False)


def number(value):
    return "null" if value is None else str(value)


def moment(value):
    return "null" if value is None else text(value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))


def texts(values):
    return "null" if values is None else "[" + ",".join(text(value) for value in values) + "]"


def members(row):
    """Name and value of each member of a row, in its order; values as they stand there, to the byte."""

    def skip(place):
        """Where the value that begins here ends."""
        depth, inside = 0, False
        while True:
            sign = row[place]
            if inside:
                if sign == "\\":
                    place += 1
                elif sign == '"':
                    inside = False
            elif sign == '"':
                inside = True
            elif sign in "{[":
                depth += 1
            elif sign in "}]":
                if depth == 0:
                    return place
                depth -= 1
            elif sign == "," and depth == 0:
                return place
            place += 1

    found, place = [], 1
    while row[place] != "}":
        name, ends = json.JSONDecoder().raw_decode(row, place)
        end = skip(ends + 2)
        found.append((name, row[ends + 2 : end]))
        place = end + 2 if row[end] == "," else end
    return found


def merkle_tree_hash(leaves):
    """RFC 6962, 2.1, as it is written there: recursively."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\1", merkle_tree_hash(leaves[:split]), merkle_tree_hash(leaves[split:]))


class Reader:
    """The rows of a database, as the document says."""

    def __init__(self, connection):
        self.connection = connection
        self.salts = {(k, t, i): s for k, t, i, s in self.rows("select kind, type, id, salt from audit.salt")}
        self.secrets = dict(self.rows("select number, secret from audit.seal_leaves"))
        self.erased = {
            (i, p): c
            for i, p, c in self.rows("select event_id, part, commitment from audit.erased_part where not superseded")
        }
        names = [
            r[0]
            for r in self.rows(
                "select attname from pg_attribute where attrelid = 'audit.seal'::regclass and attnum > 0 order by attnum"
            )
        ]
        columns = ", ".join(
            f"{n}::text" if n.endswith(("snapshot", "xid")) or n == "system_identifier" else n for n in names
        )
        self.seals = [
            dict(zip(names, r, strict=True)) for r in self.rows(f"select {columns} from audit.seal order by number")
        ]

    def rows(self, sql, *arguments):
        return self.connection.execute(sql, *arguments).fetchall()

    def events(self, seal):
        epochs = [later["epoch"] for later in self.seals if later["epoch"] > seal["epoch"]]
        names = (
            "id", "xid", "occurred_at", "org_id", "category", "action", "operation", "table_name", "resource_type", "resource_id",
            "request_id", "reason", "actor_type", "db_role", "client_addr", "application_name", "changed", "actor_id", "actor_label",
            "actor_ip", "user_agent", "resource_label", "before", "after", "imported_from", "node", "node_id", "node_xid",
        )  # fmt: skip
        columns = ", ".join(f"{n}::text" if n in ("xid", "node_xid", "before", "after") else n for n in names)
        # An address as Postgres shows it.
        columns = columns.replace("client_addr", "client_addr || ''").replace("actor_ip", "actor_ip || ''")
        return [
            dict(zip(names, r, strict=True))
            for r in self.rows(
                f"select {columns} from audit.event where id > %s and id <= %s "
                "and pg_visible_in_snapshot(xid, %s::pg_snapshot) and not pg_visible_in_snapshot(xid, %s::pg_snapshot) order by id",
                [
                    seal["above_id"],
                    min([*epochs, seal["up_to_id"] or 2**63 - 1]),
                    seal["to_snapshot"],
                    seal["from_snapshot"],
                ],
            )
        ]

    def commitment(self, event, part, content, salt):
        return self.erased.get((event["id"], part)) or sha256(salt, content.encode())

    def leaf(self, event, seal):
        leaf_salt = sha256(self.secrets[seal["number"]], event["id"].to_bytes(8, "big", signed=True))
        person = None
        if event["resource_type"] in seal["personal"]:
            person = self.salts.get(("resource", event["resource_type"], event["resource_id"]))

        def field(part, content):
            salt = leaf_salt if person is None else sha256(person, leaf_salt, part.encode())
            return self.commitment(event, part, content, salt).hex()

        def row(side):
            if event[side] is None:
                return "null"
            return text(
                "".join(field(f"{side}.{name}", f"{text(name)}: {value}") for name, value in members(event[side]))
            )

        actor = canonical(*map(text, (event["actor_id"], event["actor_label"], event["actor_ip"], event["user_agent"])))
        actor_salt = self.salts.get(("actor", event["actor_type"], event["actor_id"])) or leaf_salt
        label = event["resource_label"]
        content = canonical(
            text("pgtrail event 1"),
            number(event["id"]),
            text(event["xid"]),
            moment(event["occurred_at"]),
            *(
                text(event[name])
                for name in ("org_id", "category", "action", "operation", "table_name", "resource_type")
            ),
            *(text(event[name]) for name in ("resource_id", "request_id", "reason", "actor_type", "db_role")),
            text(event["client_addr"]),
            text(event["application_name"]),
            texts(event["changed"]),
            text(event["imported_from"]),
            text(event["node"]),
            number(event["node_id"]),
            text(event["node_xid"]),
            text(self.commitment(event, "actor", actor, actor_salt).hex()),
            "null" if label is None else text(field("label", text(label))),
            row("before"),
            row("after"),
        )
        return sha256(b"\0", leaf_salt, content.encode())

    def seal_hash(self, seal):
        content = canonical(
            text("pgtrail seal 1"),
            number(seal["number"]),
            moment(seal["sealed_at"]),
            text(seal["system_identifier"]),
            text(seal["from_snapshot"]),
            moment(seal["from_time"]),
            text(seal["from_xid"]),
            number(seal["from_id"]),
            text(seal["to_snapshot"]),
            moment(seal["to_time"]),
            *(number(seal[name]) for name in ("epoch", "above_id", "up_to_id", "events", "first_id", "last_id")),
            texts(seal["personal"]),
            texts(seal["months"]),
            text(seal["root"].hex()),
            text(seal["previous"].hex()),
        )
        return sha256(content.encode())


def recompute(connection):
    """Hold everything against what the database says; how many events."""
    reader = Reader(connection)
    previous, events = NOTHING, 0
    for seal in reader.seals:
        leaves = [reader.leaf(event, seal) for event in reader.events(seal)]
        assert len(leaves) == seal["events"]
        assert merkle_tree_hash(leaves) == seal["root"]
        assert seal["previous"] == previous
        assert reader.seal_hash(seal) == seal["hash"]
        previous = seal["hash"]
        events += len(leaves)
    return events


def seal_all(connection, most=65536):
    while connection.execute("select number from audit.seal(%s) where number is not null", [most]).fetchone():
        pass


def test_another_program_finds_the_same_digests(nemo):
    su, app = nemo.connect(), nemo.connect("app", application_name='gate"way\\ \x01\u2028é')
    org = su.execute("insert into nemo.organization (name, slug) values ('A', 'a') returning id").fetchone()[0]
    seal_all(su)
    with app.transaction():
        app.execute("select audit.set_actor('ann', 'Ann \"A\"', 'user', '2001:db8::/33', E'a\\tb\\n', 'r', E'\\u001f')")
        app.execute("insert into nemo.profile (org_id, email, full_name) values (%s, 'ann@x.example', 'Ann')", [org])
        for number_ in range(20):
            app.execute(
                "insert into nemo.team (org_id, name, rpm_limit) values (%s, %s, %s)", [org, f"t{number_}", number_]
            )
    app.execute("update nemo.team set rpm_limit = 1.0, description = E'\\\\ \"x\" \\b'")
    seal_all(su, 7)
    su.execute("select audit.erase_actor('ann', 'ticket 1', '{ann@x.example}')")
    su.execute("delete from nemo.team")
    seal_all(su)
    assert recompute(su) == su.execute("select count(*) from audit.event").fetchone()[0] > 60


ANYTHING = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=30)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=20)
@given(values=st.lists(st.tuples(ANYTHING, ANYTHING, ANYTHING), min_size=1, max_size=9), most=st.integers(1, 5))
def test_whatever_the_texts_and_however_many_leaves(su, values, most):
    su.execute("create table if not exists public.thing (id serial primary key, name text, email text)")
    su.execute("select audit.track('public.thing', 'thing', label => 'name')")
    for name, email, actor in values:
        with su.transaction():
            su.execute("select audit.set_actor(%s, %s, reason => %s)", [actor, name, email])
            su.execute("insert into public.thing (name, email) values (%s, %s)", [name, email])
    seal_all(su, most)
    recompute(su)
    assert problems(su) == []
