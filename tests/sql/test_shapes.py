"""Small schemas of our own, with the shapes of real applications: tracked as suggested, and no secret is in the log.

In tests/shapes: the tables, then what is written. There, `5ecret-…` must not be in the log in any form, and `open-…` must be.
"""

import re
import subprocess
from pathlib import Path

import psycopg
import pytest
from tests.adopting import suggested
from tests.adoption.log import found

pytestmark = pytest.mark.any_server

SHAPES = {
    file.stem: file.read_text().split("-- writes\n") for file in sorted(Path(__file__).parents[1].glob("shapes/*.sql"))
}
TRACKED = "select relation::text from audit.tracked_table where not starts_with(name, 'audit.')"


def marked(prefix, text):
    return sorted(set(re.findall(rf"{prefix}-[a-z0-9-]*[a-z0-9]", text)))


def run(database, program, *arguments, input=None):
    command = [database.server.binaries.bin_dir / program, *arguments, database.dsn()]
    done = subprocess.run(command, input=input, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def track(database, connection, name):
    """As `pgtrail suggest` and psql do; the file."""
    file = suggested(connection, name)
    run(database, "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", input=file)
    return file


def log(database):
    """All of schema audit as pg_dump writes it, backslashes of JSON within those of COPY or not."""
    dump = run(database, "pg_dump", "--schema=audit", "--data-only", "--dbname")
    return dump + dump.replace("\\\\", "\\")


@pytest.fixture
def shape(db):
    """A schema by its name: makes its tables, and gives what is written to them."""
    connection = db.connect()
    connection.add_notice_handler(lambda _: None)

    def make(name):
        tables, writes = SHAPES[name]
        connection.execute(
            psycopg.sql.SQL("create schema {0}; set search_path = {0}").format(psycopg.sql.Identifier(name))
        )
        connection.execute(tables.encode())
        return connection, writes

    return make


def test_enough_secrets_are_written():
    assert sum(len(marked("5ecret", writes)) for _, writes in SHAPES.values()) >= 20


CALLED = {
    "gateway": {
        ("organization.created", "Acme", "ada"), ("team.created", "Search", "ada"), ("person.created", "ada@example.com", None),
        ("team_member.created", "ada@example.com → Search", None), ("team_member.role_changed", "ada@example.com → Search", None),
        ("team_member.removed", "ada@example.com → Search", None), ("key.created", "ci", "ada"), ("key.rotated", "ci", "bob"),
        ("key.blocked", "ci", "carol"), ("credential.created", "azure", "ada"), ("credential.rotated", "azure", "bob"),
    },
    "run_together": {
        ("user.created", "ada@example.com", None), ("project.created", "Streets", None),
        ("organization_member.created", "ada@example.com", None), ("project_member.created", "ada@example.com → Streets", None),
        ("project_member.removed", "ada@example.com → Streets", None), ("organization_member.removed", "ada@example.com", None),
        ("team_key.created", "ci", None), ("team_key.rotated", "ci", None), ("team_key.deactivated", "ci", None),
        ("webhook.created", "Signs", None), ("seating_plan.created", "Hall", None),
    },
    "settings": {
        ("organizer_settings.created", "contact_mail", None), ("organizer_settings.updated", "payment_stripe_secret_key", None),
        ("organizer_settings.deleted", "smtp_password_retired", None), ("sensitive_config.updated", "password", None),
        ("app_settings.updated", "open-project", None),
    },
    "tokens": {
        ("user.created", "ada@example.com", None), ("password.changed", "ada@example.com", None), ("user.role_changed", "ada@example.com", None),
        ("key.created", "ada@example.com", None), ("key.rotated", "ada@example.com", None), ("key.deleted", "ada@example.com", None),
        ("totp_device.created", "Phone", None), ("door_device.revoked", "Door", None),
        ("team_invite.created", "eve@example.com", None), ("team_invite.deleted", "eve@example.com", None),
    },
}  # fmt: skip
"""What must be among the events of each: action, label, and who did it where a column says so."""
EVENTS = "select action, resource_label, nullif(actor_id, session_user) from audit.event where category <> 'audit'"


@pytest.mark.parametrize("name", SHAPES)
def test_what_is_written_after_tracking_is_called_as_people_would_without_a_secret(db, shape, name):
    connection, writes = shape(name)
    track(db, connection, name)
    connection.execute(writes.encode())
    dump = log(db)
    assert [secret for secret in marked("5ecret", writes) if found(secret, dump)] == []
    assert [text for text in marked("open", writes) if text not in dump] == []
    assert CALLED[name] - set(connection.execute(EVENTS)) == set()


@pytest.mark.parametrize("name", SHAPES)
def test_of_rows_that_were_there_no_secret_is_in_the_file_nor_in_their_snapshot(db, shape, name):
    connection, writes = shape(name)
    connection.execute(writes.encode())
    file = track(db, connection, name)
    assert [secret for secret in marked("5ecret", writes) if found(secret, file)] == []
    for (table,) in connection.execute(TRACKED).fetchall():
        connection.execute(psycopg.sql.SQL("call audit.record_baseline({})").format(table))
    dump = log(db)
    assert [secret for secret in marked("5ecret", writes) if found(secret, dump)] == []
