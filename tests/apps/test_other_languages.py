"""Actors from other languages' drivers: the statement that stands in each page, sent as its driver sends it."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from psycopg import pq
from tests.apps.conftest import ADD_TEAM, ANN, APPS, BOB, event
from tests.documents import blocks

pytestmark = pytest.mark.any_server

ADD = ADD_TEAM.format("$1")
TEXT_OID = 25


def statement_of(page, language):
    """The statement by which a page's example names the actor."""
    (code,) = blocks(APPS / page, language)
    (found,) = re.findall(r"""(['"`])(select audit\.set_actor\(.*\))\1""", code)
    return found[1]


def as_node_postgres(connection, statement, values):
    """Unnamed, each value as text of a type that the server finds out; without values a simple query."""
    if not values:
        return connection.exec_(statement.encode())
    return connection.exec_params(statement.encode(), encoded(values), param_types=[0] * len(values))


def as_pgx(connection, statement, values):
    """Prepared; described, and the values encoded in binary as what the server says they are."""
    if not values:
        return connection.exec_(statement.encode())
    prepared = connection.prepare(b"stmtcache_1", statement.encode())
    assert prepared.status == pq.ExecStatus.COMMAND_OK, prepared.error_message
    described = connection.describe_prepared(b"stmtcache_1")
    assert [described.param_type(n) for n in range(described.nparams)] == [TEXT_OID] * len(values)
    # (In Go there is no null in a string: it is empty.)
    given = [value or b"" for value in encoded(values)]
    result = connection.exec_prepared(b"stmtcache_1", given, [pq.Format.BINARY] * len(values))
    connection.exec_(b"deallocate stmtcache_1")
    return result


def as_rails(connection, statement, values):
    """A simple query, the values quoted into it by Rails: numbers bare, nil as NULL."""
    literals = iter(
        "NULL" if value is None else str(value) if isinstance(value, int) else f"'{value}'" for value in values
    )
    return connection.exec_(re.sub(r"\?|\$\d", lambda _: next(literals), statement).encode())


def encoded(values):
    return [None if value is None else str(value).encode() for value in values]


def in_transaction(connection, send, statement, actor, team):
    """What an example does: begin, name the actor, write, commit."""
    for sql, values in [("BEGIN", []), (statement, actor), (ADD, [team]), ("COMMIT", [])]:
        result = send(connection, sql, values)
        assert result.status in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK), result.error_message


DRIVERS = [
    pytest.param("node-postgres.md", "js", as_node_postgres, id="node-postgres"),
    pytest.param("pgx.md", "go", as_pgx, id="pgx"),
    pytest.param("rails.md", "ruby", as_rails, id="rails"),
]


@pytest.mark.parametrize(("page", "language", "send"), DRIVERS)
def test_the_statement_names_the_actor_as_its_driver_sends_it(app_db, recorded, check, page, language, send):
    connection = app_db.connect("app").pgconn
    statement = statement_of(page, language)
    in_transaction(connection, send, statement, [None, None, None], "of nobody")
    in_transaction(connection, send, statement, [7, None, None], "of a number")
    in_transaction(connection, send, statement, ANN.values(), "of Ann")
    assert recorded() == [
        event("of nobody"),
        ("of a number", "7", None, None, "app"),
        event("of Ann", ANN),
    ]
    send(connection, ADD, ["of nobody again"])
    assert recorded()[-1] == event("of nobody again")
    in_transaction(connection, send, statement, ANN.values(), "of Ann")
    check(page)


PROGRAM = """
const pg = require('pg')
{example}
async function main () {{
  const pool = new pg.Pool({{ ...JSON.parse(process.argv[2]), max: 1 }})
  const add = (team) => (client) => client.query({add}, [team])
  await acting(pool, {{ id: 'usr_bob', label: 'bob@acme.example', requestId: 'req_2' }}, add('of Bob'))
  await add('of nobody')(pool)
  await acting(pool, {{ id: 'usr_bob' }}, async (client) => {{
    await add('never')(client)
    throw new Error('refused')
  }}).catch((error) => {{ if (error.message !== 'refused') throw error }})
  await acting(pool, {{ id: 7 }}, add('of a number'))
  await acting(pool, {{}}, add('of nobody'))
  await acting(pool, {{ id: 'usr_ann', label: 'ann@acme.example', requestId: 'req_1' }}, add('of Ann'))
  await pool.end()
}}
main()
"""


def test_node_postgres_itself_does_so_too(app_db, recorded, tmp_path):
    modules = Path(sys.prefix) / "node" / "node_modules"
    if not (shutil.which("node") and (modules / "pg").is_dir()):
        pytest.skip("node and its package pg are not here: the page is checked by its statement alone")
    (example,) = blocks(APPS / "node-postgres.md", "js")
    program = tmp_path / "program.cjs"
    program.write_text(PROGRAM.format(example=example, add=json.dumps(ADD)))
    (tmp_path / "node_modules").symlink_to(modules)
    settings = {"host": str(app_db.server.socket_dir), "port": 5432, "user": "app", "database": app_db.name}
    done = subprocess.run(["node", program, json.dumps(settings)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert recorded() == [
        event("of Bob", BOB),
        event("of nobody"),
        ("of a number", "7", None, None, "app"),
        event("of nobody"),
        event("of Ann", ANN),
    ]
