"""What an uninstall would remove, and the obstacles to it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from pgtrail.connection import Connection
from pgtrail.errors import NotMigrated, PgtrailError
from pgtrail.install import MIGRATION_LOCK
from pgtrail.uninstall import QUERIES


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a destination has not received: events (counted to 100,000; None: unknown), dead letters, replays."""

    name: str
    events: int | None
    dead_letters: int
    replays: int

    def __str__(self) -> str:
        if self.events is None:
            return f"{self.name} (what it has not received is unknown: its filters fail)"
        parts = [(self.events, "event"), (self.dead_letters, "dead letter"), (self.replays, "replay")]
        waiting = ", ".join(f"{number:,} {what}{'s' if number > 1 else ''}" for number, what in parts if number)
        return f"{self.name} ({f'has not received {waiting}' if waiting else 'has received everything'})"

    @property
    def is_waiting(self) -> bool:
        """Whether it would miss anything."""
        return self.events is None or bool(self.events or self.dead_letters or self.replays)


@dataclass(frozen=True, slots=True)
class Role:
    """One of pgtrail's roles, and why it is kept: its use elsewhere or by others, or its rights in this database."""

    name: str
    used: list[str]
    rights: list[str]


@dataclass(frozen=True, slots=True)
class MarkedTable:
    """A table of the application's with triggers, policies or grants of pgtrail's.

    :param owned: whether this role may remove them.
    :param lock: the statement that locks it and its partitions; None: it needs no lock.
    :param statements: the statements that remove them.
    """

    relation: int
    name: str
    owned: bool
    lock: str | None
    statements: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is installed.

    :param events: how many are in the log; first and last are their times.
    :param workers: those seen within the last minute.
    :param sessions: pgtrail's other connections.
    :param dependents: objects of the application's that would be dropped with the schema.
    :param callers: the application's functions whose text names the schema.
    """

    database: str
    events: int
    first: datetime | None
    last: datetime | None
    partitions: int
    seals: int
    tracked: list[str]
    holds: list[str]
    workers: list[str]
    sessions: list[str]
    deliveries: list[Delivery]
    event_triggers: list[str]
    roles: list[Role]
    dependents: list[str]
    callers: list[str]

    def obstacles(self, *, ignore_holds: bool, include_undelivered: bool, cascade: bool) -> Iterator[PgtrailError]:
        """What prevents it, unless an option allows it."""
        if self.holds and not ignore_holds:
            yield PgtrailError(
                f"legal holds are in force: {', '.join(self.holds)}",
                "release them: pgtrail retention release NAME; or give --ignore-holds",
            )
        waiting = [delivery for delivery in self.deliveries if delivery.is_waiting]
        if waiting and not include_undelivered:
            yield PgtrailError(
                f"not everything has been delivered: {', '.join(map(str, waiting))}",
                "let pgtrail forward finish, or give --include-undelivered",
            )
        if self.dependents and not cascade:
            yield PgtrailError(
                f"these would be dropped with it, and are not pgtrail's: {', '.join(self.dependents)}",
                "drop or change them, or give --cascade to drop them too",
            )
        if self.callers and not cascade:
            yield PgtrailError(
                f"these functions name the schema audit, and may fail without it: {', '.join(self.callers)}",
                "change them, or give --cascade to leave them as they are",
            )


def look(connection: Connection) -> Plan:
    """What is installed. Migrations wait as long as the connection is open.

    :raises PgtrailError: pgtrail is not installed, or this role can't remove it.
    """
    database = _check_rights(connection)
    events, first, last, partitions, seals, tracked, holds, workers = connection.fetch_one(QUERIES["contents"])
    return Plan(
        database,
        events,
        first,
        last,
        partitions,
        seals,
        tracked,
        holds,
        workers,
        names(connection, "sessions"),
        [Delivery(*row) for row in connection.execute(QUERIES["deliveries"])],
        names(connection, "event_triggers"),
        roles(connection),
        names(connection, "dependents"),
        names(connection, "callers"),
    )


def marked_tables(connection: Connection) -> list[MarkedTable]:
    """The application's tables with anything of pgtrail's on them."""
    return [MarkedTable(*row) for row in connection.execute(QUERIES["marked_tables"])]


def roles(connection: Connection) -> list[Role]:
    """Those of pgtrail's roles that exist."""
    return [Role(*row) for row in connection.execute(QUERIES["roles"])]


def _check_rights(connection: Connection) -> str:
    """The database's name.

    :raises PgtrailError: pgtrail is not installed, or this role can't remove it.
    """
    database, role, installed, superuser, owner = connection.fetch_one(QUERIES["standing"])
    if not installed:
        raise NotMigrated(f"the database {database} has no pgtrail", "is it another one? Name it in --dsn")
    if not owner:
        raise PgtrailError(f"{role} can't uninstall pgtrail", "connect as the role that installed it, or a superuser")
    event_triggers = names(connection, "event_triggers")
    if event_triggers and not superuser:
        raise PgtrailError(
            f"a superuser installed pgtrail, so {role} can't drop its event triggers", "connect as a superuser"
        )
    foreign = [table.name for table in marked_tables(connection) if not table.owned]
    if foreign:
        raise PgtrailError(
            f"{role} does not own {', '.join(foreign)}, and can't remove pgtrail's triggers from there",
            "connect as a member of their owners, or as a superuser",
        )
    for obstacle, hint in connection.execute(QUERIES["hub_obstacles"]):
        raise PgtrailError(f"pgtrail can't be removed from the database {database}: {obstacle}", hint)
    if not connection.call("pg_try_advisory_lock", MIGRATION_LOCK):
        raise PgtrailError(
            "another pgtrail migrate or uninstall is running in this database", "wait until it is done, and look again"
        )
    return str(database)


def names(connection: Connection, name: str) -> list[str]:
    """The one column of a query."""
    return [row[0] for row in connection.execute(QUERIES[name])]
