"""Rights that somebody lacks, and who grants them, by name: of ``audit_owner``, and of a table's owner.

``audit_owner`` is a role of the whole cluster, which another installation may have made.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from pgtrail.connection import Connection
from pgtrail.errors import DatabaseError, PgtrailError
from pgtrail.queries import load

QUERIES = load("pgtrail")


def become_owner(connection: Connection) -> None:
    """See that this role may, where ``audit_owner`` is there already; grant it what it may grant itself.

    :raises PgtrailError: somebody else has to; the hint says who, and what.
    """
    row = connection.execute(QUERIES["standing_as_owner"]).fetchone()
    if row is None:
        return
    role, may_act, may_grant, has_options, granters = row
    if may_act:
        return
    grant = f"grant audit_owner to {role}" + (" with inherit true, set true" if has_options else "")
    if may_grant:
        # (The role is quoted by the server.)
        connection.execute(grant.encode())
        return
    raise PgtrailError(
        f"audit_owner is a role of this whole cluster, there is one already, and {role} may not act as it",
        f"let {', '.join([*granters, 'a superuser'])} run: {grant} (who has it may read every log of this cluster that "
        "they can connect to)",
    )


@contextmanager
def naming_owner(connection: Connection, table: str) -> Iterator[None]:
    """Where somebody else's table is refused, say whose it is, and what lets this role use it.

    :raises DatabaseError: it is refused.
    """
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        message = error.diag.message_primary or ""
        row = connection.execute(QUERIES["owner_of"], {"name": table}).fetchone()
        # (What is refused may as well be pgtrail's own: its functions.)
        if row is None or message.startswith(("permission denied for function", "permission denied for procedure")):
            raise
        owner, role, has_options = row
        options = " with inherit true" if has_options else ""
        raise DatabaseError(
            message,
            f"{table} belongs to {owner}: connect as {owner}, after: grant audit_admin to {owner}; "
            f"or run: grant {owner} to {role}{options}",
        ) from error
