"""Names the grant that a role lacks, and who can grant it: of ``audit_owner``, or of a table's owner.

``audit_owner`` is a role of the whole cluster, which another installation may have created.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from pgtrail.connection import Connection
from pgtrail.errors import DatabaseError, PgtrailError
from pgtrail.queries import load

QUERIES = load("pgtrail")


def become_owner(connection: Connection) -> None:
    """Make sure that this role may act as ``audit_owner``, if that exists; grant it if this role can.

    :raises PgtrailError: another role has to grant it; the hint names the roles and the statement.
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
        f"audit_owner is a role of the whole cluster and exists already, and {role} may not act as it",
        f"let {', '.join([*granters, 'a superuser'])} run: {grant} (with it, {role} can read every log of this cluster "
        "that it can connect to)",
    )


@contextmanager
def naming_owner(connection: Connection, table: str) -> Iterator[None]:
    """If access to a table is refused, name its owner and the grant that would help.

    :raises DatabaseError: access was refused.
    """
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        message = error.diag.message_primary or ""
        row = connection.execute(QUERIES["owner_of"], {"name": table}).fetchone()
        # (It may be a function of pgtrail's that was refused.)
        if row is None or message.startswith(("permission denied for function", "permission denied for procedure")):
            raise
        owner, role, has_options = row
        options = " with inherit true" if has_options else ""
        raise DatabaseError(
            message,
            f"{table} belongs to {owner}: connect as {owner}, after: grant audit_admin to {owner}; "
            f"or run: grant {owner} to {role}{options}",
        ) from error
