"""What becomes of the log when the application's schema or the database itself is worked on."""

from collections.abc import Callable

from tests.adoption.ground import Failed, Ground
from tests.adoption.log import events_after, last_event


def schema(ground: Ground, database: str | None = None) -> str:
    """The schema as pg_dump writes it, without the token that it makes up each time."""
    dump = ground.postgres("pg_dump", "--schema-only", ground.server.dsn(database or ground.database))
    return "\n".join(line for line in dump.splitlines() if not line.startswith(("\\restrict", "\\unrestrict")))


def captures(ground: Ground, write: str, database: str | None = None) -> None:
    """A write leaves an event."""
    with ground.connect(database) as connection:
        last = last_event(connection)
        connection.execute(write)
        if not events_after(connection, last):
            raise Failed(f"no event of: {write}")


def migrated_down_and_up(ground: Ground, down: Callable[[], None], up: Callable[[], None], write: str) -> None:
    """A migration is taken back and made again; what it leaves is tracked as before, and `doctor` has nothing to say."""
    down()
    captures(ground, write)
    up()
    ground.pgtrail("doctor")
    captures(ground, write)


def dumped_and_restored(ground: Ground, write: str) -> None:
    """The copy of the database records, and its history verifies."""
    copy, file = f"{ground.database}_copy", ground.folder / "copy.dump"
    ground.pgtrail("seal")
    ground.postgres("pg_dump", "--format=custom", f"--file={file}", ground.dsn)
    with ground.connect("postgres") as connection:
        connection.execute(f'create database "{copy}"')
    try:
        ground.postgres("pg_restore", "--exit-on-error", f"--dbname={ground.server.dsn(copy)}", file)
        ground.pgtrail("doctor", database=copy)
        captures(ground, write, copy)
        ground.pgtrail("seal", database=copy)
        ground.pgtrail("verify", database=copy)
    finally:
        file.unlink()
        with ground.connect("postgres") as connection:
            connection.execute(f'drop database "{copy}" with (force)')


def uninstalled(ground: Ground, before: str) -> None:
    """The schema is what it was before pgtrail came."""
    ground.pgtrail("uninstall", "--no-export", "--yes")
    after = schema(ground)
    if after != before:
        (ground.folder / "schema_before.sql").write_text(before)
        (ground.folder / "schema_after.sql").write_text(after)
        raise Failed(f"the schema differs: see schema_before.sql and schema_after.sql in {ground.folder}")
