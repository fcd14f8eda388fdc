"""What an uninstall would take away, and what stands in its way."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pgtrail.connection import Connection
from pgtrail.errors import NotMigrated, PgtrailError
from pgtrail.install import MIGRATION_LOCK
from pgtrail.uninstall import QUERIES


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a destination has still to get: events (counted to 100,000; None: not known), dead letters, replays."""

    name: str
    events: int | None
    dead_letters: int
    replays: int

    def __str__(self) -> str:
        if self.events is None:
            return f"{self.name} (what it has not got is not known: its filters fail)"
        parts = [(self.events, "event"), (self.dead_letters, "dead letter"), (self.replays, "replay")]
        waiting = ", ".join(f"{number:,} {what}{'s' if number > 1 else ''}" for number, what in parts if number)
        return f"{self.name} ({f'has not got {waiting}' if waiting else 'has got everything'})"

    @property
    def waits(self) -> bool:
        """Whether anything would be lost to it."""
        return self.events is None or bool(self.events or self.dead_letters or self.replays)


@dataclass(frozen=True, slots=True)
class Role:
    """One of pgtrail's roles, and what keeps it: its use elsewhere and by others, and its rights in this database."""

    name: str
    used: list[str]
    rights: list[str]


@dataclass(frozen=True, slots=True)
class MarkedTable:
    """A table of the application's that has triggers, policies or grants of ours.

    :param owned: whether we may take them away.
    :param lock: the statement that locks it and its partitions; None: it needs no lock.
    :param statements: what leaves it as it was.
    """

    relation: int
    name: str
    owned: bool
    lock: str | None
    statements: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is installed.

    :param events: how many are in the log, with the first's and the last's time.
    :param workers: those that were heard of within a minute.
    :param sessions: pgtrail's other connections.
    :param dependents: what of the application's would go with the schema.
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

    def obstacles(self, *, despite_holds: bool, even_undelivered: bool, cascade: bool) -> Iterator[PgtrailError]:
        """Why it must not be done unless somebody says so."""
        if self.holds and not despite_holds:
            yield PgtrailError(
                f"legal holds are in force: {', '.join(self.holds)}",
                "release them: pgtrail retention release NAME; or give --despite-holds",
            )
        waiting = [delivery for delivery in self.deliveries if delivery.waits]
        if waiting and not even_undelivered:
            yield PgtrailError(
                f"not everything has been delivered: {', '.join(map(str, waiting))}",
                "let pgtrail forward finish, or give --even-undelivered",
            )
        if self.dependents and not cascade:
            yield PgtrailError(
                f"these would go with it, and are not pgtrail's: {', '.join(self.dependents)}",
                "drop or change them, or give --cascade to drop them too",
            )
        if self.callers and not cascade:
            yield PgtrailError(
                f"these functions name the schema audit, and may fail without it: {', '.join(self.callers)}",
                "change them, or give --cascade to leave them as they are",
            )


def look(connection: Connection) -> Plan:
    """What is installed. Keeps migrations waiting as long as the connection is open.

    :raises PgtrailError: nothing is, or this role can't take it away.
    """
    database = _check_standing(connection)
    events, first, last, partitions, seals, tracked, holds, workers = _one(connection, "contents")
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
    """The application's tables on which there is anything of ours."""
    return [MarkedTable(*row) for row in connection.execute(QUERIES["marked_tables"])]


def roles(connection: Connection) -> list[Role]:
    """Those of pgtrail's roles that there are."""
    return [Role(*row) for row in connection.execute(QUERIES["roles"])]


def _check_standing(connection: Connection) -> str:
    """The database's name.

    :raises PgtrailError: there is no pgtrail, or this role can't take it away.
    """
    database, role, installed, superuser, owner = _one(connection, "standing")
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
            f"{role} does not own {', '.join(foreign)}, and can't take pgtrail's triggers from there",
            "connect as a role that is in their owners, or as a superuser",
        )
    for tie, hint in connection.execute(QUERIES["hub_ties"]):
        raise PgtrailError(f"the database {database} can't lose pgtrail: {tie}", hint)
    if not _one(connection, "migrations_wait", {"key": MIGRATION_LOCK})[0]:
        raise PgtrailError(
            "another pgtrail migrate or uninstall is at work in this database", "wait until it is done, and look again"
        )
    return str(database)


def _one(connection: Connection, name: str, parameters: dict[str, int] | None = None) -> tuple[Any, ...]:
    row = connection.execute(QUERIES[name], parameters).fetchone()
    assert row is not None
    return row


def names(connection: Connection, name: str) -> list[str]:
    """The one column of a query."""
    return [row[0] for row in connection.execute(QUERIES[name])]
