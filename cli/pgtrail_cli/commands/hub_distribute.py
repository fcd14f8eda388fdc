"""``pgtrail hub distribute``: old months lie on another server, or on the nodes of Citus, and are read from there."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import click
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from pgtrail_cli.connection import Connection, open_connection, with_connection
from pgtrail_cli.errors import NotUnderstood, PgtrailError
from pgtrail_cli.filters import QUERIES
from pgtrail_cli.render import console, local_time, plain_table, printable

SCHEMA = "audit_history"
TRUSTED = {"password_required": "false"}
SERVER_PARAMETERS = ("host", "hostaddr", "port", "dbname", "sslmode", "sslrootcert")


@dataclass(frozen=True, slots=True)
class Month:
    """A line of the plan.

    :param server: where the events of organizations lie; None: in this database.
    """

    partition: str
    begins: datetime
    ends: datetime
    events: int
    server: str | None
    kept_because: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.partition.split(".", 1)[1].strip('"')

    @property
    def remote_name(self) -> str:
        return f"{SCHEMA}.{self.name}"


@click.command()
@click.option(
    "--to", metavar="DSN", help="The server that takes the months, or this database itself where it has Citus."
)
@click.option("--plan", "only_plan", is_flag=True, help="Say which months can go, and which have gone.")
@click.option("--gather", metavar="MONTH", multiple=True, help="Take this month back, like 2025-01; can be repeated.")
@with_connection
def distribute(connection: Connection, to: str | None, only_plan: bool, gather: tuple[str, ...]) -> None:
    """Let old months lie on another server, or distributed by Citus, and read them from there.

    A month before the last one goes when it is sealed and every destination has it: the events of its organizations;
    events of none, and what comes late, stay. Everything goes on reading audit.event. Where the server at --to has the
    extension citus, the month is distributed by organization, in columns. Nothing is changed in a month that has gone:
    to erase a person, gather it first.

    \b
    Example:
      pgtrail hub distribute --plan
      pgtrail hub distribute --to 'host=history dbname=history user=pgtrail'
      pgtrail hub distribute --gather 2025-01
    """
    if only_plan:
        _show(_months(connection))
    elif gather:
        _gather(connection, gather, to)
    elif to is None:
        raise NotUnderstood("where to?", "give --to DSN, --gather MONTH, or --plan")
    else:
        with open_connection(to) as there:
            _prepare(connection, there, to)
            connection.execute(QUERIES["sweep_history"])
            connection.execute(QUERIES["part_keys"])
            _distribute(connection, there)


def _months(connection: Connection) -> list[Month]:
    rows = connection.execute(QUERIES["distribution_plan"]).fetchall()
    return [
        Month(partition, begins, ends, events, server, tuple(reasons))
        for partition, begins, ends, events, server, reasons in rows
    ]


def _show(months: list[Month]) -> None:
    if not months:
        click.echo("pgtrail: no month is old enough: this one and the last stay", err=True)
        return
    table = plain_table("Month", "Begins", "Events", "Where")
    for month in months:
        where = f"on {month.server}" if month.server else f"here: {'; '.join(month.kept_because) or 'it can go'}"
        table.add_row(month.partition, local_time(month.begins), f"{month.events:,}", printable(where))
    console().print(table)


def _prepare(connection: Connection, there: Connection, to: str) -> None:
    """The foreign server, and who each role is there that sees every organization, where they are not there yet."""
    (name, exists) = connection.execute(QUERIES["foreign_server"]).fetchone() or ("", False)
    server = sql.Identifier(name)
    try:
        if not exists:
            # (Where the user's own extensions go: our search_path has only pg_catalog to put it in.)
            connection.execute_as_given("create extension if not exists postgres_fdw")
        with connection.transaction():
            if not exists:
                _make_server(connection, server, there, to)
            password = there.info.password
            user = _options({"user": there.info.user, **({"password": password} if password else TRUSTED)})
            for (reader,) in connection.execute(QUERIES["unmapped_readers"]).fetchall():
                connection.execute(
                    sql.SQL("create user mapping for {} server {} options ({})").format(
                        sql.Identifier(reader), server, user
                    )
                )
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.FeatureNotSupported) as error:
        raise PgtrailError(
            f"the foreign server {name} can't be made: {error.diag.message_primary}",
            "let a superuser run this once, with the package that has postgres_fdw installed",
        ) from error


def _make_server(connection: Connection, server: sql.Identifier, there: Connection, to: str) -> None:
    given = {**{key: str(value) for key, value in there.info.get_parameters().items()}, **_given(to)}
    options = {key: given[key] for key in SERVER_PARAMETERS if given.get(key)}
    connection.execute(
        sql.SQL("create server {} foreign data wrapper postgres_fdw options ({})").format(server, _options(options))
    )
    connection.execute(sql.SQL("grant usage on foreign server {} to audit_owner").format(server))


def _given(dsn: str) -> dict[str, str]:
    return {key: str(value) for key, value in conninfo_to_dict(dsn).items() if value is not None}


def _options(options: dict[str, str]) -> sql.Composable:
    return sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(key), sql.Literal(value)) for key, value in options.items()
    )


def _distribute(connection: Connection, there: Connection) -> None:
    waiting = 0
    for month in _months(connection):
        if month.server is not None:
            continue
        if month.kept_because:
            waiting += 1
            click.echo(f"pgtrail: kept {month.partition}: {printable('; '.join(month.kept_because))}", err=True)
            continue
        (up_to_id,) = connection.execute(
            QUERIES["highest_id"], {"begins": month.begins, "ends": month.ends}
        ).fetchone() or (None,)
        by_citus = _copy(connection, there, month, up_to_id)
        parameters = {"partition": month.partition, "remote_name": month.remote_name, "up_to_id": up_to_id}
        (events,) = connection.execute(QUERIES["distribute_month"], parameters).fetchone() or (0,)
        click.echo(month.partition)
        click.echo(f"pgtrail: {events:,} events{', by organization and in columns' if by_citus else ''}", err=True)
    if waiting:
        raise SystemExit(1)


def _copy(connection: Connection, there: Connection, month: Month, up_to_id: int) -> bool:
    """Write the events of a month's organizations over there, in a table of their own; whether Citus has it."""
    owner = _owner(connection)
    table = sql.Identifier(SCHEMA, month.name)
    by_citus = there.execute("select from pg_extension where extname = 'citus'").fetchone() is not None
    with there.transaction():
        if there.execute("select to_regnamespace(%s) is null", [SCHEMA]).fetchone() == (True,):
            there.execute(sql.SQL("create schema {}").format(sql.Identifier(SCHEMA)))
        _drop(there, month.remote_name, owner)
        definition = {"remote_name": month.remote_name, "access_method": "columnar" if by_citus else None}
        for (statement,) in connection.execute(QUERIES["history_definition"], definition):
            there.execute(statement)
        there.execute(sql.SQL("comment on table {} is {}").format(table, sql.Literal(owner)))
        if by_citus:
            there.execute("select create_distributed_table(%s, 'org_id')", [month.remote_name])
        (columns,) = connection.execute(QUERIES["history_columns"]).fetchone() or ("",)
        names = sql.SQL(columns)
        query = sql.SQL(QUERIES["history_events"]).format(
            columns=names,
            begins=sql.Literal(month.begins),
            ends=sql.Literal(month.ends),
            up_to_id=sql.Literal(up_to_id),
        )
        with (
            connection.cursor().copy(query) as events,
            there.cursor().copy(sql.SQL("copy {} ({}) from stdin (format binary)").format(table, names)) as copied,
        ):
            for chunk in events:
                copied.write(chunk)
        there.execute(sql.SQL("analyze {}").format(table))
    return by_citus


def _owner(connection: Connection) -> str:
    (database,) = connection.execute(
        "select format('pgtrail: events of %s in cluster %s', current_database(), audit.system_identifier())"
    ).fetchone() or ("",)
    return str(database)


def _drop(there: Connection, remote_name: str, owner: str) -> None:
    """Drop what an attempt that failed left, and nothing of anybody else's."""
    found = there.execute(
        "select obj_description(oid, 'pg_class') from pg_class where oid = to_regclass(%s)", [remote_name]
    ).fetchone()
    if found is None:
        return
    if found[0] != owner:
        raise PgtrailError(
            f"there is a table {remote_name} already, and it is not this database's",
            "give --to another database: each log has one of its own",
        )
    there.execute(sql.SQL("drop table {}").format(sql.Identifier(*remote_name.split("."))))


def _gather(connection: Connection, months: tuple[str, ...], to: str | None) -> None:
    for partition, remote_name in list(_chosen(connection, months)):
        (events,) = connection.execute(QUERIES["gather_month"], {"partition": partition}).fetchone() or (0,)
        click.echo(partition)
        click.echo(f"pgtrail: {events:,} events are here again", err=True)
        if to is None:
            click.echo(f"pgtrail: {remote_name} stays over there, unread; with --to it is dropped", err=True)
        else:
            with open_connection(to) as there:
                _drop(there, remote_name, _owner(connection))


def _chosen(connection: Connection, months: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    distributed = {row[0]: row[2] for row in connection.execute(QUERIES["distributed_months"])}
    for month in months:
        partition = month if month in distributed else f"audit.event_{month.replace('-', '_')}"
        if partition not in distributed:
            raise PgtrailError(
                f"{printable(month)} is not distributed", "pgtrail hub distribute --plan lists the months"
            )
        yield partition, distributed[partition]
