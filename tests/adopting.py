"""The functions of sql/adopt/, called as the commands call them: for one transaction, none of them stays."""

from contextlib import nullcontext

from psycopg import sql
from psycopg.abc import Params, Query
from psycopg.pq import TransactionStatus

from pgtrail.adoption import install
from pgtrail.queries import load


def adopting(
    connection, command: str, query: Query, parameters: Params | None = None, keep: bool = False, before: Query = ""
) -> list[tuple]:
    """The rows of a query over a command's functions; nothing that it did stays.

    :param keep: all but the functions stays.
    :param before: a statement that is executed before the query.
    """
    is_idle = connection.info.transaction_status == TransactionStatus.IDLE
    with connection.transaction(force_rollback=not keep) if is_idle or not keep else nullcontext():
        connection.execute(load("pgtrail")["settings"])
        install(connection, command)
        if before:
            connection.execute(before)
        rows = connection.execute(query, parameters).fetchall()
        if keep:
            connection.execute(load("pgtrail")["drop_adoption_code"])
    return rows


def suggested(connection, *schemas: str) -> str:
    """The file that `pgtrail suggest` writes."""
    rows = adopting(connection, "suggest", "select pg_temp.suggest(variadic %s)", [list(schemas)])
    return "\n".join(row[0] for row in rows)


def proposals(connection, schema: str, query: Query, parameters: Params | None = None) -> list[tuple]:
    """The rows of a query over what `pgtrail suggest` proposes for a schema: pg_temp.suggestion, pg_temp.proposed_rule."""
    propose = sql.SQL("select pg_temp.make_suggestions(array[{}])").format(schema)
    return adopting(connection, "suggest", query, parameters, before=propose)
