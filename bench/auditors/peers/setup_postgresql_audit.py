"""Has PostgreSQL-Audit audit the tables of schema public; runs in the peers' environment.

Usage: setup_postgresql_audit.py DSN
"""

import sys
from collections.abc import Sequence

import psycopg
import sqlalchemy as sa
from postgresql_audit import versioning_manager
from sqlalchemy import orm

TABLES: dict[str, Sequence[str]] = {
    "api_key": ["spend", "last_used_at", "updated_at"],
    "wide": [],
    "narrow": [],
}
"""With the columns that are left out."""


def main(dsn: str) -> None:
    """Models by reflection, the package's tables and functions, a set of triggers for each table."""
    engine = sa.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn))
    base = orm.declarative_base()
    versioning_manager.init(base)
    models = [
        type(
            name,
            (base,),
            {
                "__table__": sa.Table(name, base.metadata, autoload_with=engine),
                "__versioned__": {"exclude": list(excluded)} if excluded else {},
            },
        )
        for name, excluded in TABLES.items()
    ]
    orm.configure_mappers()
    with engine.begin() as connection:
        # The tables are there, so this makes the package's own, and what comes after them.
        base.metadata.create_all(connection)
        for model in models:
            excluded = model.__versioned__.get("exclude")
            connection.execute(versioning_manager.build_audit_table_query(model.__table__, excluded))


if __name__ == "__main__":
    main(sys.argv[1])
