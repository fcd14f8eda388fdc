"""The columns of an archive, for copying and writing. Pure: no I/O.

The columns of audit.event are what leaves are computed from (canonical.py, docs/security/seals.md); the others are what
Postgres showed of the event when its month was archived.
"""

from dataclasses import dataclass
from typing import LiteralString


@dataclass(frozen=True, slots=True)
class Column:
    """A column of audit.event, and of the Parquet files.

    :param type: DuckDB's.
    :param expression: the SQL expression, if it is not the column itself.
    """

    name: LiteralString
    type: LiteralString = "varchar"
    expression: LiteralString | None = None


EVENT = (
    Column("id", "bigint"),
    # (All 64 bits, in a type that every engine knows: most have no unsigned numbers.)
    Column("xid", "decimal(20, 0)"),
    Column("occurred_at", "timestamptz"),
    Column("org_id"),
    Column("category"),
    Column("action"),
    Column("operation"),
    Column("table_name"),
    Column("resource_type"),
    Column("resource_id"),
    Column("resource_label"),
    Column("actor_type"),
    Column("actor_id"),
    Column("actor_label"),
    # (As Postgres shows an address; and JSON to the byte, which a JSON type of others would not keep.)
    Column("actor_ip"),
    Column("user_agent"),
    Column("request_id"),
    Column("reason"),
    Column("db_role"),
    Column("client_addr"),
    Column("application_name"),
    Column("before"),
    Column("after"),
    Column("changed", expression="to_json(changed)"),
    Column("imported_from"),
    Column("node"),
    Column("node_id", "bigint"),
    Column("node_xid", "decimal(20, 0)"),
    Column("org_label", expression="audit_internal.label_of_org(org_id)"),
    Column("row_before", expression="audit.row_before(event)"),
    Column("details", expression="told.details"),
    # (Nearly always the same.)
    Column("summary", expression="nullif(summary.details, told.details)"),
    Column("fields", expression="nullif(fields.details, told.details)"),
)
LEAVES = (Column("seal", "bigint"), Column("id", "bigint"), Column("leaf"))
SALTS = (Column("kind"), Column("type"), Column("id"), Column("salt"))
ERASED = (Column("event_id", "bigint"), Column("part"), Column("commitment"), Column("salt"))
