"""Write what `pgtrail verify` expects of schema audit, from fresh databases on every PostgreSQL that is found.

Example:
  python docs/integrity.py
"""

import json
import tempfile
from collections import defaultdict
from pathlib import Path

import psycopg

from pgtrail.install import migrate
from pgtrail.server.binaries import find_binaries
from pgtrail.server.embedded import EmbeddedPostgres
from pgtrail.verify import QUERIES
from pgtrail.verify.integrity import digests

TARGET = Path(__file__).parents[1] / "lib" / "pgtrail" / "verify" / "expected.json"
BUILDER = "create role builder login createrole; create database plain owner builder; create database hub"


def main() -> None:
    """Install with and without a superuser, and as a hub; keep each form of each object."""
    forms: list[dict[str, str]] = []
    for binaries in find_binaries():
        with tempfile.TemporaryDirectory(prefix="pgtrail-", dir="/dev/shm") as folder:
            Path(folder).chmod(0o755)
            with EmbeddedPostgres(Path(folder) / "data", binaries, {"fsync": "off"}) as server:
                with psycopg.connect(server.dsn(), autocommit=True) as connection:
                    for statement in BUILDER.split("; "):
                        connection.execute(statement)
                for dsn in (server.dsn("plain", "builder"), server.dsn("postgres"), server.dsn("hub")):
                    migrate(dsn)
                    with psycopg.connect(dsn, autocommit=True) as connection:
                        if connection.info.dbname == "hub":
                            connection.execute("select audit.init_hub()")
                        connection.execute("set search_path = pg_catalog, pg_temp")
                        forms.append(digests(connection.execute(QUERIES["facts"], {})))
    expected: dict[str, set[str | None]] = defaultdict(set)
    for name in {name for form in forms for name in form}:
        expected[name] = {form.get(name) for form in forms}
    lines = [
        f"{json.dumps(name)}: {json.dumps(sorted(known, key=str), ensure_ascii=False)}"
        for name, known in sorted(expected.items())
    ]
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
